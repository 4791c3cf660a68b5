/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <stdlib.h>

/* numpy's names of the types; a bfloat16 is made as its bits. */
static const char *const dtype_names[WEFT_TYPE_BF16 + 1] = {
    [WEFT_TYPE_F32] = "float32", [WEFT_TYPE_U8] = "uint8",
    [WEFT_TYPE_I8] = "int8",     [WEFT_TYPE_I32] = "int32",
    [WEFT_TYPE_I64] = "int64",   [WEFT_TYPE_BOOL] = "bool",
    [WEFT_TYPE_F16] = "float16", [WEFT_TYPE_F64] = "float64",
    [WEFT_TYPE_BF16] = "uint16",
};

static int load_dtypes(PyObject *numpy)
{
    for (size_t i = 0; i < sizeof(dtype_names) / sizeof(dtype_names[0]); i++) {
        if (dtype_names[i] && !door.dtypes[i]) {
            door.dtypes[i] = PyObject_CallMethod(numpy, "dtype", "s", dtype_names[i]);
            if (!door.dtypes[i]) {
                return -1;
            }
        }
    }
    return 0;
}

static int load_numpy(void)
{
    PyObject *numpy = PyImport_ImportModule("numpy");
    if (!numpy || load_dtypes(numpy)) {
        Py_XDECREF(numpy);
        return -1;
    }
    PyObject *types = PyImport_ImportModule("ml_dtypes");
    door.bfloat16 = types ? PyObject_GetAttrString(types, "bfloat16") : NULL;
    PyErr_Clear();
    Py_XDECREF(types);
    door.numpy_empty = PyObject_GetAttrString(numpy, "empty");
    Py_DECREF(numpy);
    return door.numpy_empty ? 0 : -1;
}

static PyObject *make_array(weft_tensor *tensor, PyObject *shape)
{
    if (!door.numpy_empty && load_numpy()) {
        return NULL;
    }
    PyObject *array = PyObject_CallFunctionObjArgs(door.numpy_empty, shape,
                                                   door.dtypes[tensor->type], NULL);
    Py_buffer buffer;
    if (!array || PyObject_GetBuffer(array, &buffer, PyBUF_WRITABLE)) {
        Py_XDECREF(array);
        return NULL;
    }
    /* It is nobody else's yet, so its memory stays where it is. */
    tensor->data = buffer.buf;
    PyBuffer_Release(&buffer);
    if (tensor->type == WEFT_TYPE_BF16 && door.bfloat16) {
        PyObject *bits = array;
        array = PyObject_CallMethod(bits, "view", "O", door.bfloat16);
        Py_DECREF(bits);
    }
    return array;
}

static dl_type dlpack_type(weft_type type)
{
    uint8_t code = DL_FLOAT;
    if (type == WEFT_TYPE_BF16) {
        code = DL_BFLOAT;
    } else if (type == WEFT_TYPE_BOOL) {
        code = DL_BOOL;
    } else if (type == WEFT_TYPE_U8) {
        code = DL_UINT;
    } else if (type == WEFT_TYPE_I8 || type == WEFT_TYPE_I32 || type == WEFT_TYPE_I64) {
        code = DL_INT;
    }
    return (dl_type){code, (uint8_t)(8 * weft_type_size(type)), 1};
}

/* Memory of a tensor, with what describes it in front. */
typedef struct own_tensor {
    dl_managed_versioned managed;
    int64_t dims[WEFT_MAX_RANK], strides[WEFT_MAX_RANK];
} own_tensor;

enum { DOOR_ALIGNMENT = 64 };

/* Called by the tensor's library when it is gone, maybe without the GIL. */
static void free_own(dl_managed_versioned *managed)
{
    free(managed->context);
}

static own_tensor *make_own(const weft_tensor *tensor, size_t size_bytes)
{
    size_t head =
        (sizeof(own_tensor) + DOOR_ALIGNMENT - 1) / DOOR_ALIGNMENT * DOOR_ALIGNMENT;
    void *block = NULL;
    if (size_bytes > SIZE_MAX - head ||
        posix_memalign(&block, DOOR_ALIGNMENT, head + size_bytes)) {
        return (own_tensor *)PyErr_NoMemory();
    }
    own_tensor *own = block;
    *own = (own_tensor){.managed = {.version = {DL_MAJOR_VERSION, DL_MINOR_VERSION},
                                    .context = block,
                                    .deleter = free_own,
                                    .tensor = {.data = (char *)block + head,
                                               .device_type = DL_CPU,
                                               .rank = tensor->rank,
                                               .type = dlpack_type(tensor->type),
                                               .dims = own->dims,
                                               .strides = own->strides}}};
    int64_t stride = 1;
    for (int32_t i = tensor->rank; i-- > 0;) {
        own->dims[i] = tensor->dims[i];
        own->strides[i] = stride;
        stride *= tensor->dims[i];
    }
    return own;
}

/* The memory is ours and the library wraps it: for PyTorch a seventh of the time that
 * its own allocation takes. */
static PyObject *make_tensor(weft_tensor *tensor, const dl_exchange *exchange)
{
    own_tensor *own = make_own(tensor, tensor->size_bytes);
    if (!own) {
        return NULL;
    }
    void *object = NULL;
    tensor->data = own->managed.tensor.data;
    return exchange->to_object(&own->managed, &object) ? NULL : object;
}

PyObject *door_make_output(weft_tensor *tensor, PyObject *shape,
                           const dl_exchange *exchange)
{
    PyObject *made =
        exchange ? make_tensor(tensor, exchange) : make_array(tensor, shape);
    static char nowhere[8]; /* what no elements may have as their address */
    if (made && !tensor->data) {
        tensor->data = nowhere;
    }
    return made;
}

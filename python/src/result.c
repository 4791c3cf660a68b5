/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

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

static int load_numpy_locked(void)
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
    door_array_learn(numpy);
    door.numpy_empty = PyObject_GetAttrString(numpy, "empty");
    Py_DECREF(numpy);
    return door.numpy_empty ? 0 : -1;
}

static int load_numpy(void)
{
    door_lock_acquire(&door.numpy_lock);
    int result = door.numpy_empty ? 0 : load_numpy_locked();
    door_lock_release(&door.numpy_lock);
    return result;
}

void door_meet_numpy(void)
{
    if (door.numpy_empty) {
        return;
    }
    PyObject *name = PyUnicode_FromString("numpy");
    PyObject *module = name ? PyImport_GetModule(name) : NULL;
    if (module) {
        (void)load_numpy(); /* if it cannot be loaded, an output says so */
    }
    PyErr_Clear();
    Py_XDECREF(module);
    Py_XDECREF(name);
}

static PyObject *make_array(weft_tensor *tensor, PyObject *shape)
{
    if (!door.numpy_empty && load_numpy()) {
        return NULL;
    }
    if (door_array_is_known() && !(tensor->type == WEFT_TYPE_BF16 && door.bfloat16)) {
        return door_array_make(tensor);
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

PyObject *door_make_output(weft_tensor *tensor, PyObject *shape,
                           const dl_exchange *exchange, door_spares *spares)
{
    PyObject *made = exchange ? door_make_tensor(tensor, exchange, spares)
                              : make_array(tensor, shape);
    static char nowhere[8]; /* what no elements may have as their address */
    if (made && !tensor->data) {
        tensor->data = nowhere;
    }
    return made;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

/* numpy's arrays as they lie in memory. numpy's C interface lets every compiled module
 * read an array's fields and call functions by a table; used here are only those that
 * have had their places since numpy 1.0 and have them in 2. By way of the buffer
 * protocol and numpy.empty, an array in and an array out cost a third of a
 * microsecond, as much as the kernel of a small model. Where numpy has another version
 * of its interface, or its fields and its attributes differ, these ways are taken. */

typedef struct array_fields {
    PyObject_HEAD void *data;
    int rank;
    const Py_ssize_t *dims, *strides;
    PyObject *base, *dtype;
    int flags;
} array_fields;

/* What begins an array's dtype in both. */
typedef struct dtype_fields {
    PyObject_HEAD PyTypeObject *scalar;
    char kind, letter, order, flags;
    int number;
} dtype_fields;

enum {
    ARRAY_DENSE = 0x1, /* row-major */
    ARRAY_ALIGNED = 0x100,
    ARRAY_WRITABLE = 0x400,
    ARRAY_WARNS = INT32_MIN, /* when it is written to */
};

/* Places in the table of functions. */
enum { VERSION_PLACE = 0, MAKE_PLACE = 94 };

typedef unsigned (*version_function)(void);
typedef PyObject *(*make_function)(PyTypeObject *type, PyObject *stolen_dtype, int rank,
                                   const Py_ssize_t *dims, const Py_ssize_t *strides,
                                   void *data, int flags, PyObject *base);

static struct {
    make_function make;
    bool has_fields;                /* those of dtypes are as believed */
    PyTypeObject *DOOR_SHARED type; /* owned, for ever; NULL: unknown; set last */
} numpy;

static bool has_type(PyObject *object)
{
    return (PyObject *)Py_TYPE(object) == (PyObject *)numpy.type;
}

static bool is_same_number(PyObject *a, PyObject *b)
{
    const dtype_fields *one = (const dtype_fields *)a, *other = (const dtype_fields *)b;
    return Py_TYPE(a) == Py_TYPE(b) && one->scalar == other->scalar &&
           one->order == other->order && one->number == other->number;
}

/* Most arrays share one dtype of their type; those that were pickled have their own. */
static bool has_dtype(const array_fields *array, weft_type type)
{
    PyObject *wanted = door.dtypes[type];
    return array->dtype == wanted ||
           (numpy.has_fields && wanted && is_same_number(array->dtype, wanted));
}

bool door_array_open(PyObject *object, weft_type type, bool writable,
                     weft_tensor *tensor)
{
    const array_fields *array = (const array_fields *)object;
    const int wanted = ARRAY_DENSE | ARRAY_ALIGNED | (writable ? ARRAY_WRITABLE : 0);
    if (!has_type(object) || !has_dtype(array, type) ||
        (array->flags & (wanted | ARRAY_WARNS)) != wanted ||
        array->rank > WEFT_MAX_RANK || !array->data) {
        return false;
    }
    *tensor = (weft_tensor){.data = array->data, .type = type, .rank = array->rank};
    for (int32_t i = 0; i < array->rank; i++) {
        tensor->dims[i] = array->dims[i];
    }
    return true;
}

PyObject *door_array_make(weft_tensor *tensor)
{
    Py_ssize_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < tensor->rank; i++) {
        dims[i] = (Py_ssize_t)tensor->dims[i];
    }
    PyTypeObject *type = numpy.type;
    PyObject *array = numpy.make(type, Py_NewRef(door.dtypes[tensor->type]),
                                 tensor->rank, dims, NULL, NULL, 0, NULL);
    tensor->data = array ? ((array_fields *)array)->data : NULL;
    return array;
}

bool door_array_is_known(void)
{
    return numpy.type != NULL;
}

/* --- learning it ------------------------------------------------------------------ */

/* The table; NULL, with no exception: there is none of a version that is known. */
static void **find_table(void)
{
    PyObject *module = PyImport_ImportModule("numpy._core._multiarray_umath");
    if (!module) { /* before numpy 2 */
        PyErr_Clear();
        module = PyImport_ImportModule("numpy.core._multiarray_umath");
    }
    PyObject *capsule = module ? PyObject_GetAttrString(module, "_ARRAY_API") : NULL;
    void **table = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;
    PyErr_Clear();
    Py_XDECREF(capsule); /* the table itself lives as long as the process */
    Py_XDECREF(module);
    if (!table) {
        return NULL;
    }
    version_function version = (version_function)(uintptr_t)table[VERSION_PLACE];
    unsigned number = version();
    return number == 0x01000009 || number == 0x02000000 ? table : NULL;
}

static bool is_attribute(PyObject *object, const char *name, const PyObject *wanted)
{
    PyObject *found = PyObject_GetAttrString(object, name);
    Py_XDECREF(found);
    return found && found == wanted;
}

static bool same_flags(PyObject *object, int flags)
{
    PyObject *found = PyObject_GetAttrString(object, "flags");
    PyObject *number = found ? PyObject_GetAttrString(found, "num") : NULL;
    bool same = number && PyLong_AsLong(number) == flags;
    Py_XDECREF(number);
    Py_XDECREF(found);
    return same;
}

static bool same_layout(const array_fields *array, const Py_buffer *buffer)
{
    bool same = array->data == buffer->buf && array->rank == buffer->ndim;
    for (int i = 0; same && i < buffer->ndim; i++) {
        same = array->dims[i] == buffer->shape[i] &&
               array->strides[i] == buffer->strides[i];
    }
    return same;
}

/* The fields say what the attributes and the buffer protocol say. */
static bool is_as_believed(PyObject *object, PyObject *type, PyObject *base)
{
    Py_buffer buffer;
    const array_fields *array = (const array_fields *)object;
    if ((PyObject *)Py_TYPE(object) != type ||
        PyObject_GetBuffer(object, &buffer, PyBUF_RECORDS_RO)) {
        return false;
    }
    bool same = same_layout(array, &buffer) && same_flags(object, array->flags) &&
                is_attribute(object, "dtype", array->dtype) && array->base == base;
    PyBuffer_Release(&buffer);
    return same;
}

static bool tries_well(PyObject *type, make_function make)
{
    const Py_ssize_t dims[] = {3, 5};
    PyObject *dtype = door.dtypes[WEFT_TYPE_F32];
    PyObject *array =
        make((PyTypeObject *)type, Py_NewRef(dtype), 2, dims, NULL, NULL, 0, NULL);
    PyObject *turned = array ? PyObject_CallMethod(array, "transpose", NULL) : NULL;
    bool well = turned && is_as_believed(array, type, NULL) &&
                is_as_believed(turned, type, array) &&
                ((array_fields *)array)->dtype == dtype &&
                ((array_fields *)array)->dims[1] == 5;
    Py_XDECREF(turned);
    Py_XDECREF(array);
    return well;
}

/* Of float32: its own number, what a copy is and what two others are not. */
static bool tries_fields(PyObject *dtype)
{
    PyObject *number = PyObject_GetAttrString(dtype, "num");
    PyObject *copied = PyObject_CallMethod(dtype, "newbyteorder", "s", "=");
    PyObject *swapped = PyObject_CallMethod(dtype, "newbyteorder", "s", "S");
    PyObject *wide = door.dtypes[WEFT_TYPE_F64];
    bool well = number && copied && swapped && wide &&
                PyLong_AsLong(number) == ((dtype_fields *)dtype)->number &&
                is_same_number(copied, dtype) && !is_same_number(swapped, dtype) &&
                !is_same_number(wide, dtype);
    PyErr_Clear();
    Py_XDECREF(number);
    Py_XDECREF(copied);
    Py_XDECREF(swapped);
    return well;
}

void door_array_learn(PyObject *module)
{
    PyObject *type = PyObject_GetAttrString(module, "ndarray");
    void **table = type && PyType_Check(type) ? find_table() : NULL;
    if (table) {
        numpy.make = (make_function)(uintptr_t)table[MAKE_PLACE];
        if (tries_well(type, numpy.make)) {
            numpy.has_fields = tries_fields(door.dtypes[WEFT_TYPE_F32]);
            numpy.type = (PyTypeObject *)Py_NewRef(type);
        }
    }
    PyErr_Clear();
    Py_XDECREF(type);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <stdlib.h>
#include <string.h>

/* Types that have the exchange by C calls, as last met; torch has two, Tensor and
 * Parameter. */
enum { DOOR_KNOWN_TYPES = 4 };

static struct {
    PyTypeObject *type; /* owned, for ever */
    const dl_exchange *exchange;
} known_types[DOOR_KNOWN_TYPES]; /* those below the count stay as they are */
static DOOR_SHARED size_t known_type_count;
static door_lock known_types_lock;

static void keep_exchange(PyTypeObject *type, const dl_exchange *exchange)
{
    door_lock_acquire(&known_types_lock);
    size_t count = known_type_count;
    if (count < DOOR_KNOWN_TYPES) {
        known_types[count].type = (PyTypeObject *)Py_NewRef((PyObject *)type);
        known_types[count].exchange = exchange;
        known_type_count = count + 1;
    }
    door_lock_release(&known_types_lock);
}

static const dl_exchange *look_up_exchange(PyTypeObject *type)
{
    PyObject *capsule = PyObject_GetAttr((PyObject *)type, door.str_exchange);
    const dl_exchange *exchange =
        capsule ? PyCapsule_GetPointer(capsule, "dlpack_exchange_api") : NULL;
    PyErr_Clear();
    Py_XDECREF(capsule); /* the table itself lives as long as the process */
    while (exchange && exchange->version.major != DL_MAJOR_VERSION) {
        exchange = exchange->previous;
    }
    if (exchange) {
        keep_exchange(type, exchange);
    }
    return exchange;
}

const dl_exchange *door_exchange_of(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    size_t count = known_type_count;
    for (size_t i = 0; i < count; i++) {
        if (known_types[i].type == type) {
            return known_types[i].exchange;
        }
    }
    return PyObject_CheckBuffer(object) ? NULL : look_up_exchange(type);
}

static weft_type type_of_integer(char code, Py_ssize_t item_bytes)
{
    bool is_signed = code >= 'a';
    switch (item_bytes) {
    case 1:
        return is_signed ? WEFT_TYPE_I8 : WEFT_TYPE_U8;
    case 2: /* the bits of a bfloat16, which buffers have no name for */
        return is_signed ? WEFT_TYPE_NONE : WEFT_TYPE_BF16;
    case 4:
        return is_signed ? WEFT_TYPE_I32 : WEFT_TYPE_NONE;
    case 8:
        return is_signed ? WEFT_TYPE_I64 : WEFT_TYPE_NONE;
    default:
        return WEFT_TYPE_NONE;
    }
}

/* The element type of a buffer; NONE for what Weft does not have. */
static weft_type type_of_buffer(const Py_buffer *buffer)
{
    const char *format = buffer->format ? buffer->format : "B";
    if (strchr("@=<", format[0]) || (buffer->itemsize == 1 && format[0] == '>')) {
        format++;
    }
    if (format[0] == '\0' || format[1] != '\0') {
        return WEFT_TYPE_NONE;
    }
    switch (format[0]) {
    case '?':
        return WEFT_TYPE_BOOL;
    case 'e':
        return WEFT_TYPE_F16;
    case 'f':
        return WEFT_TYPE_F32;
    case 'd':
        return WEFT_TYPE_F64;
    default:
        return strchr("bBHhiIlLqQ", format[0])
                   ? type_of_integer(format[0], buffer->itemsize)
                   : WEFT_TYPE_NONE;
    }
}

static weft_type type_of_dlpack(dl_type type)
{
    static const struct {
        uint8_t code, bits;
        weft_type type;
    } table[] = {
        {DL_FLOAT, 32, WEFT_TYPE_F32}, {DL_FLOAT, 64, WEFT_TYPE_F64},
        {DL_FLOAT, 16, WEFT_TYPE_F16}, {DL_BFLOAT, 16, WEFT_TYPE_BF16},
        {DL_INT, 64, WEFT_TYPE_I64},   {DL_INT, 32, WEFT_TYPE_I32},
        {DL_INT, 8, WEFT_TYPE_I8},     {DL_UINT, 8, WEFT_TYPE_U8},
        {DL_BOOL, 8, WEFT_TYPE_BOOL},
    };
    for (size_t i = 0; type.lanes == 1 && i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].code == type.code && table[i].bits == type.bits) {
            return table[i].type;
        }
    }
    return WEFT_TYPE_NONE;
}

static int refuse_rank(const char *role, const char *name, int64_t rank)
{
    return door_refuse(WEFT_UNSUPPORTED,
                       "%s '%s' has %lld dimensions, at most %d are "
                       "supported",
                       role, name, (long long)rank, WEFT_MAX_RANK);
}

static int describe_buffer(const Py_buffer *buffer, const char *role, const char *name,
                           door_layout *layout)
{
    if (buffer->ndim > WEFT_MAX_RANK) {
        return refuse_rank(role, name, buffer->ndim);
    }
    *layout = (door_layout){.data = buffer->buf,
                            .type = type_of_buffer(buffer),
                            .format = buffer->format ? buffer->format : "B",
                            .item_bytes = buffer->itemsize,
                            .rank = buffer->ndim,
                            .read_only = buffer->readonly,
                            .dims = (const int64_t *)buffer->shape};
    int64_t stride = buffer->itemsize;
    for (int32_t i = buffer->ndim; i-- > 0;) {
        /* arrays of ctypes leave them out although they are asked for */
        layout->strides[i] = buffer->strides ? buffer->strides[i] : stride;
        stride *= buffer->shape[i];
    }
    return 0;
}

static int refuse_card(const char *role, const char *name, int32_t device_type)
{
    return door_refuse(WEFT_INVALID_ARGUMENT,
                       "%s '%s' is not in the CPU's memory (DLPack device type %d); "
                       "move it there first, for example by x.cpu()",
                       role, name, device_type);
}

static int describe_dlpack(const dl_tensor *tensor, bool read_only, const char *role,
                           const char *name, door_layout *layout)
{
    if (tensor->device_type != DL_CPU && tensor->device_type != DL_CUDA_HOST) {
        return refuse_card(role, name, tensor->device_type);
    }
    if (tensor->rank > WEFT_MAX_RANK) {
        return refuse_rank(role, name, tensor->rank);
    }
    *layout = (door_layout){.data = (char *)tensor->data + tensor->byte_offset,
                            .type = type_of_dlpack(tensor->type),
                            .item_bytes = tensor->type.bits / 8,
                            .rank = tensor->rank,
                            .read_only = read_only,
                            .dims = tensor->dims};
    int64_t stride = 1;
    for (int32_t i = tensor->rank; i-- > 0;) {
        stride = tensor->strides ? tensor->strides[i] : stride;
        layout->strides[i] = stride * layout->item_bytes;
        stride *= tensor->dims[i];
    }
    return 0;
}

/* --- opening -------------------------------------------------------------------- */

static int open_buffer(door_view *view, PyObject *object, const char *role,
                       const char *name, door_layout *layout)
{
    door_meet_numpy(); /* for the next one */
    if (PyObject_GetBuffer(object, &view->buffer, PyBUF_RECORDS_RO)) {
        return -1;
    }
    view->kind = DOOR_BUFFER;
    return describe_buffer(&view->buffer, role, name, layout);
}

/* An object's own exception becomes the cause of one that names the argument. */
static int refuse_foreign(const char *role, const char *name)
{
    PyObject *type, *cause, *trace;
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1; /* Ctrl-C and the like */
    }
    PyErr_Fetch(&type, &cause, &trace);
    PyErr_NormalizeException(&type, &cause, &trace);
    PyObject *words = PyObject_Str(cause);
    const char *text = words ? PyUnicode_AsUTF8AndSize(words, NULL) : NULL;
    PyErr_Clear();
    door_refuse(WEFT_INVALID_ARGUMENT, "%s '%s' cannot be read: %.*s", role, name,
                text ? (int)strcspn(text, "\n") : 0, text ? text : "");
    Py_XDECREF(words);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    PyObject *raised;
    PyErr_Fetch(&type, &raised, &trace);
    PyErr_NormalizeException(&type, &raised, &trace);
    PyException_SetCause(raised, cause);
    PyErr_Restore(type, raised, trace);
    return -1;
}

/* numpy arrays of ml_dtypes.bfloat16 have no buffer; their bits do. */
static int open_bfloat16(door_view *view, PyObject *object, const char *role,
                         const char *name, door_layout *layout)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *dtype = PyObject_GetAttrString(object, "dtype");
    PyObject *dtype_name = dtype ? PyObject_GetAttrString(dtype, "name") : NULL;
    bool is_bfloat16 = dtype_name && PyUnicode_Check(dtype_name) &&
                       PyUnicode_CompareWithASCIIString(dtype_name, "bfloat16") == 0;
    PyErr_Clear();
    Py_XDECREF(dtype);
    Py_XDECREF(dtype_name);
    PyObject *bits =
        is_bfloat16 ? PyObject_CallMethod(object, "view", "s", "uint16") : NULL;
    if (!bits) {
        PyErr_Restore(type, value, trace);
        return refuse_foreign(role, name);
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    int result = open_buffer(view, bits, role, name, layout);
    Py_DECREF(bits); /* the buffer holds it */
    return result;
}

/* What is lent is there as long as its object lives and is not changed. */
static int open_exchange(door_view *view, PyObject *object, const dl_exchange *exchange,
                         const char *role, const char *name, door_layout *layout)
{
    dl_tensor lent;
    if (exchange->lend && view->may_lend) {
        return exchange->lend(object, &lent)
                   ? refuse_foreign(role, name)
                   : describe_dlpack(&lent, false, role, name, layout);
    }
    if (exchange->from_object(object, &view->managed)) {
        return refuse_foreign(role, name);
    }
    view->kind = DOOR_MANAGED;
    return describe_dlpack(&view->managed->tensor, view->managed->flags & DL_READ_ONLY,
                           role, name, layout);
}

static PyObject *call_dlpack(PyObject *method)
{
    PyObject *none = PyTuple_New(0);
    PyObject *capsule =
        none ? PyObject_Call(method, none, door.dlpack_arguments) : NULL;
    if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear(); /* of before DLPack 1.0: it takes no max_version */
        capsule = PyObject_Call(method, none, NULL);
    }
    Py_XDECREF(none);
    return capsule;
}

/* Takes the tensor out of a capsule, which is renamed then, as the protocol says. */
static int open_capsule(door_view *view, PyObject *capsule, const char *role,
                        const char *name, door_layout *layout)
{
    if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
        view->managed = PyCapsule_GetPointer(capsule, "dltensor_versioned");
        view->kind = DOOR_MANAGED;
        return PyCapsule_SetName(capsule, "used_dltensor_versioned") ||
                       describe_dlpack(&view->managed->tensor,
                                       view->managed->flags & DL_READ_ONLY, role, name,
                                       layout)
                   ? -1
                   : 0;
    }
    view->legacy = PyCapsule_GetPointer(capsule, "dltensor");
    if (!view->legacy) {
        return -1;
    }
    view->kind = DOOR_LEGACY;
    return PyCapsule_SetName(capsule, "used_dltensor") ||
                   describe_dlpack(&view->legacy->tensor, false, role, name, layout)
               ? -1
               : 0;
}

static int open_dlpack(door_view *view, PyObject *object, const char *role,
                       const char *name, door_layout *layout)
{
    PyObject *method = PyObject_GetAttr(object, door.str_dlpack);
    if (!method) {
        PyErr_Clear();
        if (PyObject_HasAttrString(object, "__cuda_array_interface__")) {
            return refuse_card(role, name, DL_CUDA);
        }
        PyObject *type_name = PyType_GetName(Py_TYPE(object));
        const char *text = type_name ? PyUnicode_AsUTF8AndSize(type_name, NULL) : NULL;
        door_refuse(WEFT_INVALID_ARGUMENT,
                    "%s '%s' is a %s; give a numpy array, a buffer or a DLPack tensor, "
                    "for example by numpy.asarray(x, dtype)",
                    role, name, text ? text : "?");
        Py_XDECREF(type_name);
        return -1;
    }
    PyObject *capsule = call_dlpack(method);
    Py_DECREF(method);
    int result = capsule ? open_capsule(view, capsule, role, name, layout)
                         : refuse_foreign(role, name);
    Py_XDECREF(capsule);
    return result;
}

static int open_view(door_view *view, PyObject *object, const char *role,
                     const char *name, door_layout *layout)
{
    const dl_exchange *exchange = door_exchange_of(object);
    if (exchange) {
        return open_exchange(view, object, exchange, role, name, layout);
    }
    if (!PyObject_CheckBuffer(object)) {
        return open_dlpack(view, object, role, name, layout);
    }
    int result = open_buffer(view, object, role, name, layout);
    return result && view->kind == DOOR_NOTHING
               ? open_bfloat16(view, object, role, name, layout)
               : result;
}

static void begin(door_view *view, bool may_lend)
{
    view->kind = DOOR_NOTHING;
    view->may_lend = may_lend;
    view->copy = NULL;
}

/* Giving memory back may run code of its owner, so the view is empty before. */
static void close_source(door_view *view)
{
    int kind = view->kind;
    view->kind = DOOR_NOTHING;
    if (kind == DOOR_ARRAY) {
        Py_DECREF(view->array);
    } else if (kind == DOOR_BUFFER) {
        PyBuffer_Release(&view->buffer);
    } else if (kind == DOOR_MANAGED && view->managed->deleter) {
        view->managed->deleter(view->managed);
    } else if (kind == DOOR_LEGACY && view->legacy->deleter) {
        view->legacy->deleter(view->legacy);
    }
}

void door_view_close(door_view *view)
{
    close_source(view);
    free(view->copy);
    view->copy = NULL;
}

/* --- dense or not ----------------------------------------------------------------- */

static bool is_dense(const door_layout *layout)
{
    int64_t stride = layout->item_bytes;
    bool dense = true;
    for (int32_t i = layout->rank; i-- > 0;) {
        if (layout->dims[i] == 0) {
            return true;
        }
        dense &= layout->dims[i] == 1 || layout->strides[i] == stride;
        stride *= layout->dims[i];
    }
    return dense;
}

static bool is_aligned(const door_layout *layout)
{
    return layout->item_bytes == 0 ||
           (uintptr_t)layout->data % (uintptr_t)layout->item_bytes == 0;
}

static void copy_items(char *target, const char *source, int64_t count, int64_t stride,
                       int64_t item_bytes)
{
    if (stride == item_bytes) {
        memcpy(target, source, (size_t)(count * item_bytes));
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        const char *from = source + i * stride;
        char *to = target + i * item_bytes;
        switch (item_bytes) {
        case 1:
            *to = *from;
            break;
        case 4:
            memcpy(to, from, 4);
            break;
        case 8:
            memcpy(to, from, 8);
            break;
        default:
            memcpy(to, from, (size_t)item_bytes);
        }
    }
}

/* Copies in the order of the indices; an index is carried like the digits of a number.
 */
static void copy_dense(char *target, const door_layout *layout)
{
    int64_t index[WEFT_MAX_RANK] = {0};
    int32_t last = layout->rank - 1;
    int64_t row_bytes = layout->item_bytes * (last >= 0 ? layout->dims[last] : 1);
    const char *source = layout->data;
    for (;;) {
        copy_items(target, source, last >= 0 ? layout->dims[last] : 1,
                   last >= 0 ? layout->strides[last] : layout->item_bytes,
                   layout->item_bytes);
        target += row_bytes;
        int32_t i = last - 1;
        for (; i >= 0; i--) {
            source += layout->strides[i];
            if (++index[i] < layout->dims[i]) {
                break;
            }
            source -= layout->strides[i] * layout->dims[i];
            index[i] = 0;
        }
        if (i < 0) {
            return;
        }
    }
}

static int64_t element_count(const door_layout *layout)
{
    int64_t count = 1;
    for (int32_t i = 0; i < layout->rank; i++) {
        count *= layout->dims[i];
    }
    return count;
}

static int make_dense(door_view *view, door_layout *layout)
{
    int64_t size = layout->item_bytes * element_count(layout);
    view->copy = malloc(size > 0 ? (size_t)size : 1);
    if (!view->copy) {
        PyErr_NoMemory();
        return -1;
    }
    if (size > 0) {
        copy_dense(view->copy, layout);
    }
    layout->data = view->copy;
    return 0;
}

/* --- tensors -------------------------------------------------------------------- */

static int check_type(const door_layout *layout, const char *role,
                      const weft_value_info *info)
{
    if (layout->type == info->type) {
        return 0;
    }
    if (layout->type == WEFT_TYPE_NONE ||
        (layout->type == WEFT_TYPE_BF16 && layout->format)) {
        return door_refuse(WEFT_INVALID_ARGUMENT, "%s '%s' is %s and was given %s%s%s",
                           role, info->name, weft_type_name(info->type),
                           layout->format ? "a buffer of format '" : "another type",
                           layout->format ? layout->format : "",
                           layout->format ? "'" : "");
    }
    return door_refuse(WEFT_INVALID_ARGUMENT,
                       "%s '%s' is %s and was given %s; convert it first, for example "
                       "by x.astype() or x.to()",
                       role, info->name, weft_type_name(info->type),
                       weft_type_name(layout->type));
}

/* PyTorch describes tensors that have no memory, such as a FakeTensor or one whose
 * storage was resized to nothing. */
static int check_memory(const door_layout *layout, const char *role, const char *name)
{
    return layout->data || element_count(layout) == 0
               ? 0
               : door_refuse(WEFT_INVALID_ARGUMENT, "%s '%s' has a shape and no memory",
                             role, name);
}

/* Memory of no elements may have no address, which Weft wants all the same. */
static char nowhere[8];

static void fill_tensor(const door_layout *layout, weft_tensor *tensor)
{
    tensor->data = layout->data ? layout->data : nowhere;
    tensor->size_bytes = 0;
    tensor->type = layout->type;
    tensor->rank = layout->rank;
    for (int32_t i = 0; i < layout->rank; i++) {
        tensor->dims[i] = layout->dims[i];
    }
    memset(tensor->strides, 0, sizeof(tensor->strides));
    tensor->place = WEFT_PLACE_HOST;
}

/* PyTorch's view of the imaginary part of a conjugate says by a bit that its elements
 * are to be negated, and DLPack does not know of it. Such a view is not dense, unless
 * it has but one element. */
static bool is_negated(const door_view *view, PyObject *object,
                       const door_layout *layout, bool dense)
{
    bool is_float = layout->type == WEFT_TYPE_F32 || layout->type == WEFT_TYPE_F64 ||
                    layout->type == WEFT_TYPE_F16 || layout->type == WEFT_TYPE_BF16;
    if (!is_float || view->kind == DOOR_BUFFER ||
        (dense && element_count(layout) != 1)) {
        return false;
    }
    PyObject *negated = PyObject_CallMethodObjArgs(object, door.str_is_neg, NULL);
    bool is = negated == Py_True;
    PyErr_Clear(); /* other libraries have no such thing */
    Py_XDECREF(negated);
    return is;
}

static int open_negated(door_view *view, PyObject *object, const char *role,
                        const char *name, door_layout *layout)
{
    PyObject *resolved = PyObject_CallMethod(object, "resolve_neg", NULL);
    close_source(view);
    int result = resolved ? open_view(view, resolved, role, name, layout)
                          : refuse_foreign(role, name);
    result = result ? result : make_dense(view, layout);
    Py_XDECREF(resolved);
    return result;
}

/* numpy's `resize` counts who has an array, so one that is read is held once more, as
 * an export of its buffer would. */
static bool open_array(door_view *view, PyObject *object, weft_type type, bool writable,
                       weft_tensor *tensor)
{
    if (!door_array_open(object, type, writable, tensor)) {
        return false;
    }
    view->array = Py_NewRef(object);
    view->kind = DOOR_ARRAY;
    return true;
}

int door_view_input(door_view *view, PyObject *object, const char *role,
                    const weft_value_info *info, bool may_lend, weft_tensor *tensor)
{
    door_layout layout;
    begin(view, may_lend);
    if (open_array(view, object, info->type, false, tensor)) {
        return 0;
    }
    if (open_view(view, object, role, info->name, &layout) ||
        check_type(&layout, role, info) || check_memory(&layout, role, info->name)) {
        return -1;
    }
    bool dense = is_dense(&layout), copied = !dense || !is_aligned(&layout);
    if (is_negated(view, object, &layout, dense)) {
        copied = true;
        if (open_negated(view, object, role, info->name, &layout)) {
            return -1;
        }
    } else if (copied && make_dense(view, &layout)) {
        return -1;
    }
    fill_tensor(&layout, tensor);
    if (copied) {
        close_source(view);
    }
    return 0;
}

int door_view_output(door_view *view, PyObject *object, const weft_value_info *info,
                     weft_tensor *tensor)
{
    door_layout layout;
    begin(view, false);
    if (open_array(view, object, info->type, true, tensor)) {
        return 0;
    }
    if (open_view(view, object, "output", info->name, &layout) ||
        check_type(&layout, "output", info) ||
        check_memory(&layout, "output", info->name)) {
        return -1;
    }
    if (layout.read_only) {
        return door_refuse(WEFT_INVALID_ARGUMENT,
                           "output '%s' was given read-only "
                           "memory",
                           info->name);
    }
    bool dense = is_dense(&layout);
    if (!dense || !is_aligned(&layout)) {
        return door_refuse(WEFT_INVALID_ARGUMENT,
                           "output '%s' was given memory that is not dense and "
                           "row-major, or not aligned to its elements",
                           info->name);
    }
    if (is_negated(view, object, &layout, dense)) {
        return door_refuse(WEFT_INVALID_ARGUMENT,
                           "output '%s' was given a view that negates its elements",
                           info->name);
    }
    fill_tensor(&layout, tensor);
    return 0;
}

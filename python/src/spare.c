/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

/* PyTorch drops the GIL whenever a tensor ends, and from many threads that costs more
 * than a small run. So a model keeps the last small tensors that it gave out, and gives
 * one out again when nobody could tell: nobody else has it, a view of it, its storage
 * or a weak reference, and it is as it was when it was made. Everything that is looked
 * at is PyTorch's own answer; where PyTorch does not give one, nothing is kept. */

enum {
    DOOR_SPARE_BYTES = 64 << 10, /* larger runs take longer than a tensor's end */
};

/* A function of C's that is asked often: called as the interpreter would, without what
 * that costs besides. */
typedef struct builtin {
    PyObject *object;     /* owned, for ever */
    PyCFunction function; /* NULL: only the interpreter can call it */
    PyObject *self;
    int flags;
} builtin;

typedef PyObject *(*fast_function)(PyObject *self, PyObject *const *arguments,
                                   Py_ssize_t count, PyObject *names);

/* What PyTorch is asked. A NULL `tensor_type`: it has not been met, or it cannot be
 * asked. */
static struct {
    enum { NOT_MET, FOUND, TRIED } stage;
    PyTypeObject *tensor_type;
    builtin storage_use_count;    /* (address of a storage) -> its owners */
    builtin function_mode_count;  /* () -> modes that see every call on a tensor */
    builtin is_inference_enabled; /* () -> what kind of tensor would be made now */
    builtin weak_count;           /* (object) -> weak references */
    PyObject *str_grad, *str_requires_grad, *str_untyped_storage, *str_address;
} torch;

/* These take over what they are given: NULL, with an exception, is nothing's equal. */

static bool is_number(PyObject *owned, long wanted)
{
    long number = owned ? PyLong_AsLong(owned) : -1;
    if (number == -1) {
        PyErr_Clear();
    }
    Py_XDECREF(owned);
    return number == wanted;
}

static bool is_object(PyObject *owned, const PyObject *wanted)
{
    if (!owned) {
        PyErr_Clear();
    }
    Py_XDECREF(owned);
    return owned == wanted;
}

static PyObject *call_none(const builtin *called)
{
    return called->function && called->flags == METH_NOARGS
               ? called->function(called->self, NULL)
               : PyObject_CallNoArgs(called->object);
}

static PyObject *call_one(const builtin *called, PyObject *argument)
{
    if (called->function && called->flags == METH_O) {
        return called->function(called->self, argument);
    }
    if (called->function && called->flags == (METH_FASTCALL | METH_KEYWORDS)) {
        fast_function function = (fast_function)(void (*)(void))called->function;
        return function(called->self, &argument, 1, NULL);
    }
    return PyObject_CallFunctionObjArgs(called->object, argument, NULL);
}

/* The storage of a tensor and its address as a number, owned by the caller. False, with
 * no exception, when they cannot be had. */
static bool find_storage(PyObject *tensor, PyObject **storage, PyObject **address)
{
    *storage = PyObject_CallMethodObjArgs(tensor, torch.str_untyped_storage, NULL);
    *address = *storage ? PyObject_GetAttr(*storage, torch.str_address) : NULL;
    if (!*address) {
        Py_CLEAR(*storage);
        PyErr_Clear();
    }
    return *address;
}

/* A storage's owners are its tensors and, as its Python object has been asked for,
 * that. The object's owners are the storage itself and who has asked: so a caller who
 * has one reference to it can tell that nobody else has any, or a view. */
static bool is_sole_owner(PyObject *storage, PyObject *address)
{
    return is_number(call_one(&torch.storage_use_count, address), 2) &&
           Py_REFCNT(storage) == 2;
}

/* --- whether PyTorch can be asked ------------------------------------------------- */

/* An owner in C++ must count as one of the Python object (so it is since PyTorch 2.10):
 * then a reference count of 1 means that there is none. */
static bool counts_owners(PyObject *tensor, const dl_exchange *exchange)
{
    dl_managed_versioned *managed;
    Py_ssize_t before = Py_REFCNT(tensor);
    if (exchange->from_object(tensor, &managed)) {
        PyErr_Clear();
        return false;
    }
    Py_ssize_t held = Py_REFCNT(tensor);
    managed->deleter(managed);
    return held == before + 1 && Py_REFCNT(tensor) == before;
}

/* And a view, or another user of the storage's object, must be seen. */
static bool counts_views(PyObject *tensor)
{
    PyObject *storage, *address;
    if (!find_storage(tensor, &storage, &address)) {
        return false;
    }
    bool counts = is_sole_owner(storage, address);
    PyObject *view = PyObject_CallMethod(tensor, "view", "i", -1);
    counts = counts && view && !is_sole_owner(storage, address);
    Py_XDECREF(view);
    PyObject *other =
        PyObject_CallMethodObjArgs(tensor, torch.str_untyped_storage, NULL);
    counts = counts && other && !is_sole_owner(storage, address);
    Py_XDECREF(other);
    counts = counts && is_sole_owner(storage, address);
    Py_DECREF(storage);
    Py_DECREF(address);
    PyErr_Clear();
    return counts;
}

/* What a module that is there already has by this name; NULL, with no exception: none.
 */
static PyObject *find(const char *module_name, const char *name)
{
    PyObject *text = PyUnicode_FromString(module_name);
    PyObject *module = text ? PyImport_GetModule(text) : NULL;
    PyObject *found = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(text);
    PyErr_Clear();
    return found;
}

static bool find_builtin(const char *module_name, const char *name, builtin *found)
{
    PyObject *object = find(module_name, name);
    *found = (builtin){.object = object};
    if (object && PyCFunction_Check(object)) {
        found->function = PyCFunction_GetFunction(object);
        found->self = PyCFunction_GetSelf(object);
        found->flags = PyCFunction_GetFlags(object);
        PyErr_Clear(); /* a function of no module has no self */
    }
    return object;
}

/* Tensors with named dimensions can be renamed in place; the versions that have them
 * are left alone. */
static bool look_up(PyObject *type)
{
    PyObject *renames = PyObject_GetAttrString(type, "rename_");
    PyErr_Clear();
    bool found =
        find_builtin("torch._C", "_storage_Use_Count", &torch.storage_use_count) &&
        find_builtin("torch._C", "_len_torch_function_stack",
                     &torch.function_mode_count) &&
        find_builtin("torch", "is_inference_mode_enabled",
                     &torch.is_inference_enabled) &&
        find_builtin("_weakref", "getweakrefcount", &torch.weak_count);
    torch.str_grad = PyUnicode_InternFromString("grad");
    torch.str_requires_grad = PyUnicode_InternFromString("requires_grad");
    torch.str_untyped_storage = PyUnicode_InternFromString("untyped_storage");
    torch.str_address = PyUnicode_InternFromString("_cdata");
    PyErr_Clear();
    found = found && !renames && torch.str_grad && torch.str_requires_grad &&
            torch.str_untyped_storage && torch.str_address;
    Py_XDECREF(renames);
    return found;
}

static bool in_function_mode(void)
{
    return !is_number(call_none(&torch.function_mode_count), 0);
}

/* Finds out once what can be asked, and asks the first tensor that comes in no mode. */
static void try_out(PyObject *tensor, const dl_exchange *exchange)
{
    PyObject *type = find("torch", "Tensor");
    bool is_torch = type && (PyObject *)Py_TYPE(tensor) == type;
    if (is_torch && torch.stage == NOT_MET) {
        torch.stage = exchange->lend && look_up(type) ? FOUND : TRIED;
    }
    if (is_torch && torch.stage == FOUND && !in_function_mode()) {
        torch.stage = TRIED;
        if (counts_owners(tensor, exchange) && counts_views(tensor)) {
            torch.tensor_type = (PyTypeObject *)Py_NewRef(type); /* for ever */
        }
    }
    Py_XDECREF(type);
}

/* --- keeping ---------------------------------------------------------------------- */

static void drop(door_spare *spare)
{
    door_spare before = *spare;
    *spare = (door_spare){0};
    Py_XDECREF(before.tensor); /* may run any code, so the place is empty before */
    Py_XDECREF(before.storage);
    Py_XDECREF(before.address);
    door_block_release(before.block);
}

/* A place that is free, or the next in turn: a caller who assigns his answers lets go
 * of each only after the next. */
static door_spare *find_place(door_spares *spares)
{
    for (size_t i = 0; i < DOOR_SPARES; i++) {
        if (!spares->places[i].tensor) {
            return &spares->places[i];
        }
    }
    return &spares->places[spares->turn++ % DOOR_SPARES];
}

void door_spares_keep(door_spares *spares, PyObject *tensor, door_block *block,
                      const weft_tensor *made, const dl_exchange *exchange)
{
    if (torch.stage != TRIED) {
        try_out(tensor, exchange);
    }
    if (made->size_bytes > DOOR_SPARE_BYTES || made->size_bytes == 0 ||
        !torch.tensor_type || Py_TYPE(tensor) != torch.tensor_type ||
        in_function_mode()) {
        return;
    }
    PyObject *storage, *address;
    PyObject *inference = call_none(&torch.is_inference_enabled);
    if (inference && find_storage(tensor, &storage, &address)) {
        door_spare *place = find_place(spares);
        door_spare before = *place;
        *place = (door_spare){.tensor = Py_NewRef(tensor),
                              .storage = storage,
                              .address = address,
                              .block = door_block_retain(block),
                              .is_inference = inference == Py_True};
        drop(&before);
    }
    Py_XDECREF(inference);
    PyErr_Clear();
}

/* --- using again ------------------------------------------------------------------ */

static bool has_attributes(PyObject *tensor)
{
    PyObject *attributes = PyObject_GenericGetDict(tensor, NULL);
    if (!attributes) {
        PyErr_Clear();
        return true;
    }
    bool has = PyDict_Size(attributes) != 0;
    Py_DECREF(attributes);
    return has;
}

/* Of a tensor to which the caller of this and `spare` hold the only references. The
 * storage's address is still valid where the tensor has the memory it was made with and
 * that was not let go. */
static bool is_untouched(const door_spare *spare, const dl_exchange *exchange)
{
    dl_tensor lent;
    if (Py_TYPE(spare->tensor) != torch.tensor_type || in_function_mode() ||
        exchange->lend(spare->tensor, &lent)) {
        PyErr_Clear();
        return false;
    }
    return door_block_is_whole(spare->block, &lent) &&
           is_number(call_one(&torch.weak_count, spare->tensor), 0) &&
           !has_attributes(spare->tensor) &&
           is_object(PyObject_GetAttr(spare->tensor, torch.str_requires_grad),
                     Py_False) &&
           is_object(PyObject_GetAttr(spare->tensor, torch.str_grad), Py_None) &&
           is_object(call_none(&torch.is_inference_enabled),
                     spare->is_inference ? Py_True : Py_False) &&
           is_sole_owner(spare->storage, spare->address);
}

/* While it is looked at it is out of its place, so that a call made meanwhile (by a
 * finalizer, say) neither takes nor drops it. */
static bool claim(door_spares *spares, door_spare *place, weft_tensor *wanted,
                  const dl_exchange *exchange)
{
    door_spare spare = *place; /* out of its place, so nobody drops it meanwhile */
    *place = (door_spare){0};
    Py_INCREF(spare.tensor);
    wanted->data = door_block_data(spare.block);
    bool claimed = is_untouched(&spare, exchange) && Py_REFCNT(spare.tensor) == 2;
    if (claimed && !place->tensor) {
        *place = spare;
        spares->used_count++;
        return true;
    }
    Py_DECREF(spare.tensor);
    drop(&spare);
    return false;
}

PyObject *door_spares_take(door_spares *spares, weft_tensor *wanted,
                           const dl_exchange *exchange)
{
    for (size_t i = 0; i < DOOR_SPARES; i++) {
        door_spare *place = &spares->places[i];
        PyObject *tensor = place->tensor;
        if (tensor && Py_REFCNT(tensor) == 1 &&
            door_block_is_for(place->block, wanted) &&
            claim(spares, place, wanted, exchange)) {
            return tensor;
        }
    }
    return NULL;
}

void door_spares_clear(door_spares *spares)
{
    for (size_t i = 0; i < DOOR_SPARES; i++) {
        drop(&spares->places[i]);
    }
}

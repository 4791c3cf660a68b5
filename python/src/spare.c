/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <malloc.h>
#include <stddef.h>
#include <string.h>

/* PyTorch drops the GIL whenever a tensor ends, and from many threads that costs more
 * than a small run. So a model keeps the last small tensors that it gave out, and gives
 * one out again when nobody could tell: nobody else has it, a view of it, its storage
 * or a weak reference, and it is as it was when it was made.
 *
 * To ask PyTorch all of that takes as long as a small run. So what a tensor consists of
 * is compared byte for byte with a copy that was taken when it was new: the Python
 * object, the tensor in C++, its storage and its counter of changes in place, which
 * hold their counts of owners, sizes, strides, flags, that number, and the addresses of
 * all else that they come to have (what autograd keeps, hooks, names). Where these lie
 * PyTorch says itself, of all but the counter, which is found; what is in them need not
 * be known, but that all shows there is tried with the first tensor. Asked is only what
 * lies elsewhere: attributes and weak references. Where PyTorch does not answer, or a
 * change does not show, nothing is kept. */

enum {
    DOOR_SPARE_BYTES = 64 << 10, /* larger runs take longer than a tensor's end */
    DOOR_SPARE_RANK = 4, /* so many sizes and strides lie in the tensor itself */
    DOOR_PRINT_BYTES = 512,
};

/* What a tensor consists of: the object in Python, the three in C++. */
enum { DOOR_OBJECT, DOOR_OWN, DOOR_MEMORY, DOOR_COUNTER, DOOR_PARTS };

/* The same as it was. */
struct door_print {
    struct {
        const void *address;
        size_t size; /* 0: a tensor of the inference mode has no counter */
    } parts[DOOR_PARTS];
    unsigned char bytes[DOOR_PRINT_BYTES]; /* of all parts, in turn */
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
    PyTypeObject *storage_type;
    size_t object_bytes;          /* of a tensor in Python */
    size_t counter_offset;        /* of its address in the tensor; 0: not known yet */
    builtin function_mode_count;  /* () -> modes that see every call on a tensor */
    builtin dispatch_mode_count;  /* the same of calls in C++; there may be none */
    builtin is_inference_enabled; /* () -> what kind of tensor would be made now */
    builtin weak_count;           /* (object) -> weak references */
    PyObject *str_untyped_storage, *str_address;
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

static bool in_function_mode(void)
{
    return !is_number(call_none(&torch.function_mode_count), 0);
}

static bool in_dispatch_mode(void)
{
    return torch.dispatch_mode_count.object &&
           !is_number(call_none(&torch.dispatch_mode_count), 0);
}

/* Who has the dict may still give it some. */
static bool has_attributes(PyObject *object)
{
    PyObject *attributes = PyObject_GenericGetDict(object, NULL);
    if (!attributes) {
        PyErr_Clear();
        return true;
    }
    bool has = PyDict_Size(attributes) != 0 || Py_REFCNT(attributes) != 2;
    Py_DECREF(attributes);
    return has;
}

/* --- prints of tensors ------------------------------------------------------------ */

/* Where PyTorch says that an object of its own lies; NULL, with no exception: it does
 * not. */
static void *address_of(PyObject *object)
{
    PyObject *number = PyObject_GetAttr(object, torch.str_address);
    void *address = number ? PyLong_AsVoidPtr(number) : NULL;
    PyErr_Clear();
    Py_XDECREF(number);
    return address;
}

static bool holds_address(const void *part, size_t size, const void *wanted)
{
    const char *bytes = part;
    for (size_t i = 0; i + sizeof(wanted) <= size; i += sizeof(wanted)) {
        if (memcmp(bytes + i, &wanted, sizeof(wanted)) == 0) {
            return true;
        }
    }
    return false;
}

static const unsigned char *printed(const door_print *print, size_t part)
{
    const unsigned char *bytes = print->bytes;
    for (size_t i = 0; i < part; i++) {
        bytes += print->parts[i].size;
    }
    return bytes;
}

static bool add_part(door_print *print, size_t part, const void *address, size_t size)
{
    size_t before = (size_t)(printed(print, part) - print->bytes);
    if (!address || size > DOOR_PRINT_BYTES - before) {
        return false;
    }
    print->parts[part].address = address;
    print->parts[part].size = size;
    memcpy(print->bytes + before, address, size);
    return true;
}

static void *read_address(const unsigned char *bytes)
{
    void *address;
    memcpy(&address, bytes, sizeof(address));
    return address;
}

static bool add_counter(door_print *print)
{
    if (torch.counter_offset == 0) {
        return true;
    }
    if (torch.counter_offset + sizeof(void *) > print->parts[DOOR_OWN].size) {
        return false;
    }
    void *counter = read_address(printed(print, DOOR_OWN) + torch.counter_offset);
    return !counter ||
           add_part(print, DOOR_COUNTER, counter, malloc_usable_size(counter));
}

/* Each part must lead to the next, before that is looked at, and the last to the
 * memory: else these are not what they are believed to be. The count of references is
 * no part. */
static bool take_print(PyObject *tensor, PyObject *storage, const void *data,
                       door_print *print)
{
    const size_t skipped = offsetof(PyObject, ob_type);
    const char *object = (const char *)tensor + skipped;
    size_t object_bytes = torch.object_bytes - skipped;
    void *own = address_of(tensor), *memory = address_of(storage);
    memset(print->parts, 0, sizeof(print->parts));
    return add_part(print, DOOR_OBJECT, object, object_bytes) &&
           holds_address(object, object_bytes, own) &&
           add_part(print, DOOR_OWN, own, malloc_usable_size(own)) &&
           holds_address(own, print->parts[DOOR_OWN].size, memory) &&
           add_part(print, DOOR_MEMORY, memory, malloc_usable_size(memory)) &&
           holds_address(memory, print->parts[DOOR_MEMORY].size, data) &&
           add_counter(print);
}

static bool is_as_printed(const door_print *print)
{
    const unsigned char *bytes = print->bytes;
    for (size_t i = 0; i < DOOR_PARTS; i++) {
        size_t size = print->parts[i].size;
        if (size > 0 && memcmp(bytes, print->parts[i].address, size) != 0) {
            return false;
        }
        bytes += size;
    }
    return true;
}

/* A storage has one Python object, which it holds itself; who else has that has the
 * memory. */
static bool is_sole_user(PyObject *storage)
{
    return Py_REFCNT(storage) == 2;
}

static bool is_untouched_storage(PyObject *storage)
{
    return is_sole_user(storage) && Py_TYPE(storage) == torch.storage_type &&
           is_number(call_one(&torch.weak_count, storage), 0) &&
           !has_attributes(storage);
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

/* What a caller may do to a tensor, of each kind that shows in another place. */
static const struct {
    const char *method, *arguments; /* called, with these; its result is kept */
    const char *attribute;          /* set, to another tensor or (`to_dict`) a dict */
    bool to_dict;
} changes[] = {
    {.method = "view", .arguments = "(i)"},
    {.method = "untyped_storage", .arguments = "()"},
    {.method = "requires_grad_", .arguments = "()"},
    {.method = "transpose_", .arguments = "(ii)"},
    {.method = "add_", .arguments = "(i)"},
    {.attribute = "grad"},
    {.attribute = "data"},
    {.attribute = "_backward_hooks", .to_dict = true},
};

static PyObject *change(PyObject *tensor, size_t which, PyObject *other)
{
    if (changes[which].method) {
        return PyObject_CallMethod(tensor, changes[which].method,
                                   changes[which].arguments, -1, 0);
    }
    PyObject *value = changes[which].to_dict ? PyDict_New() : Py_NewRef(other);
    if (value && PyObject_SetAttrString(tensor, changes[which].attribute, value)) {
        Py_CLEAR(value);
    }
    return value;
}

static PyObject *make_small(const dl_exchange *exchange, void **data)
{
    weft_tensor made = {.type = WEFT_TYPE_F32,
                        .rank = DOOR_SPARE_RANK,
                        .dims = {2, 3, 1, 1},
                        .size_bytes = 6 * sizeof(float)};
    PyObject *tensor = door_make_tensor(&made, exchange, NULL);
    *data = made.data;
    return tensor;
}

static bool change_shows(size_t which, const dl_exchange *exchange)
{
    door_print print;
    void *data, *other_data;
    PyObject *tensor = make_small(exchange, &data);
    PyObject *other = tensor ? make_small(exchange, &other_data) : NULL;
    PyObject *storage =
        other ? PyObject_CallMethodObjArgs(tensor, torch.str_untyped_storage, NULL)
              : NULL;
    bool shows = false;
    if (storage && take_print(tensor, storage, data, &print) && is_as_printed(&print) &&
        is_sole_user(storage)) {
        PyObject *kept = change(tensor, which, other);
        shows = kept && !(is_as_printed(&print) && is_sole_user(storage));
        Py_XDECREF(kept);
    }
    PyErr_Clear();
    Py_XDECREF(storage);
    Py_XDECREF(other);
    Py_XDECREF(tensor);
    return shows;
}

static bool all_changes_show(const dl_exchange *exchange)
{
    bool all = true;
    for (size_t i = 0; all && i < sizeof(changes) / sizeof(changes[0]); i++) {
        all = change_shows(i, exchange);
    }
    return all;
}

/* A tensor and one that shares its storage and its counter. */
typedef struct sharing_pair {
    PyObject *tensor, *storage, *sharer; /* owned */
    void *data;
    door_print prints[2]; /* of the tensor and the sharer */
} sharing_pair;

static bool open_pair(sharing_pair *pair, const dl_exchange *exchange)
{
    PyObject *tensor = pair->tensor = make_small(exchange, &pair->data);
    pair->storage =
        tensor ? PyObject_CallMethodObjArgs(tensor, torch.str_untyped_storage, NULL)
               : NULL;
    pair->sharer = pair->storage ? PyObject_CallMethod(tensor, "detach", NULL) : NULL;
    return pair->sharer &&
           take_print(tensor, pair->storage, pair->data, &pair->prints[0]) &&
           take_print(pair->sharer, pair->storage, pair->data, &pair->prints[1]);
}

static void close_pair(sharing_pair *pair)
{
    PyErr_Clear();
    Py_XDECREF(pair->sharer);
    Py_XDECREF(pair->storage);
    Py_XDECREF(pair->tensor);
}

/* Several are there at once, so that what lies by chance in memory that nobody uses is
 * not taken for it. */
enum { DOOR_PAIRS = 4 };

static bool is_counter_at(const sharing_pair *pairs, size_t offset)
{
    const void *first = read_address(printed(&pairs[0].prints[0], DOOR_OWN) + offset);
    for (size_t i = 0; i < DOOR_PAIRS; i++) {
        const door_print *prints = pairs[i].prints;
        const void *word = read_address(printed(&prints[0], DOOR_OWN) + offset);
        if (!word || (uintptr_t)word % sizeof(word) != 0 || (i > 0 && word == first) ||
            word == prints[0].parts[DOOR_MEMORY].address ||
            word != read_address(printed(&prints[1], DOOR_OWN) + offset)) {
            return false;
        }
    }
    return true;
}

/* The only word of a tensor that one sharing its counter has too and others have not,
 * but for the storage's address. 0: there is none, or several. */
static size_t counter_offset(const sharing_pair *pairs)
{
    size_t size = DOOR_PRINT_BYTES, found = 0;
    for (size_t i = 0; i < DOOR_PAIRS; i++) {
        for (size_t k = 0; k < 2; k++) {
            size_t own = pairs[i].prints[k].parts[DOOR_OWN].size;
            size = own < size ? own : size;
        }
    }
    for (size_t at = 0; at + sizeof(void *) <= size; at += sizeof(void *)) {
        if (is_counter_at(pairs, at)) {
            if (found) {
                return 0;
            }
            found = at;
        }
    }
    return found;
}

/* That another has it must show in the counter itself. */
static bool sharing_shows(sharing_pair *pair)
{
    door_print *print = &pair->prints[0];
    if (!take_print(pair->tensor, pair->storage, pair->data, print) ||
        print->parts[DOOR_COUNTER].size == 0) {
        return false;
    }
    Py_CLEAR(pair->sharer);
    return memcmp(printed(print, DOOR_COUNTER), print->parts[DOOR_COUNTER].address,
                  print->parts[DOOR_COUNTER].size) != 0;
}

static bool find_counter(const dl_exchange *exchange)
{
    sharing_pair pairs[DOOR_PAIRS] = {0};
    bool opened = true;
    for (size_t i = 0; opened && i < DOOR_PAIRS; i++) {
        opened = open_pair(&pairs[i], exchange);
    }
    torch.counter_offset = opened ? counter_offset(pairs) : 0;
    bool found = torch.counter_offset > 0 && sharing_shows(&pairs[0]);
    for (size_t i = 0; i < DOOR_PAIRS; i++) {
        close_pair(&pairs[i]);
    }
    return found;
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

static bool look_up_type(PyObject *type)
{
    PyObject *bytes = PyObject_GetAttrString(type, "__basicsize__");
    torch.object_bytes = bytes ? PyLong_AsSize_t(bytes) : 0;
    Py_XDECREF(bytes);
    torch.str_untyped_storage = PyUnicode_InternFromString("untyped_storage");
    torch.str_address = PyUnicode_InternFromString("_cdata");
    bool found = !PyErr_Occurred();
    PyErr_Clear();
    torch.storage_type = (PyTypeObject *)find("torch", "UntypedStorage");
    return found && torch.storage_type;
}

/* Tensors with named dimensions can be renamed in place; the versions that have them
 * are left alone. */
static bool look_up(PyObject *type)
{
    PyObject *renames = PyObject_GetAttrString(type, "rename_");
    PyErr_Clear();
    Py_XDECREF(renames);
    (void)find_builtin("torch._C", "_len_torch_dispatch_stack",
                       &torch.dispatch_mode_count);
    return !renames && look_up_type(type) &&
           find_builtin("torch._C", "_len_torch_function_stack",
                        &torch.function_mode_count) &&
           find_builtin("torch", "is_inference_mode_enabled",
                        &torch.is_inference_enabled) &&
           find_builtin("_weakref", "getweakrefcount", &torch.weak_count);
}

/* In inference mode tensors have no counter, so it is left meanwhile. */
static bool all_shows(const dl_exchange *exchange)
{
    PyObject *mode = find("torch", "inference_mode");
    PyObject *off = mode ? PyObject_CallFunctionObjArgs(mode, Py_False, NULL) : NULL;
    PyObject *entered = off ? PyObject_CallMethod(off, "__enter__", NULL) : NULL;
    bool all = entered && find_counter(exchange) && all_changes_show(exchange);
    if (entered) {
        PyObject *left =
            PyObject_CallMethod(off, "__exit__", "OOO", Py_None, Py_None, Py_None);
        all = all && left;
        Py_XDECREF(left);
    }
    PyErr_Clear();
    Py_XDECREF(entered);
    Py_XDECREF(off);
    Py_XDECREF(mode);
    return all;
}

/* Finds out once what can be asked, and asks the first tensor that comes in no mode
 * that would see it. */
static void try_out(PyObject *tensor, const dl_exchange *exchange)
{
    PyObject *type = find("torch", "Tensor");
    bool is_torch = type && (PyObject *)Py_TYPE(tensor) == type;
    if (is_torch && torch.stage == NOT_MET) {
        torch.stage = exchange->lend && look_up(type) ? FOUND : TRIED;
    }
    if (is_torch && torch.stage == FOUND && !in_function_mode() &&
        !in_dispatch_mode()) {
        torch.stage = TRIED;
        if (counts_owners(tensor, exchange) && all_shows(exchange)) {
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
    PyMem_Free(before.print);
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

/* Whether a tensor just made can be told later from one that was changed. */
static bool describe(door_spare *spare)
{
    PyObject *inference = call_none(&torch.is_inference_enabled);
    spare->is_inference = inference == Py_True;
    Py_XDECREF(inference);
    spare->print = PyMem_Malloc(sizeof(*spare->print));
    spare->storage =
        PyObject_CallMethodObjArgs(spare->tensor, torch.str_untyped_storage, NULL);
    bool described =
        inference && spare->print && spare->storage && !has_attributes(spare->tensor) &&
        is_untouched_storage(spare->storage) &&
        take_print(spare->tensor, spare->storage, door_block_data(spare->block),
                   spare->print) &&
        (spare->print->parts[DOOR_COUNTER].size > 0) == !spare->is_inference;
    PyErr_Clear();
    return described;
}

void door_spares_keep(door_spares *spares, PyObject *tensor, door_block *block,
                      const weft_tensor *made, const dl_exchange *exchange)
{
    if (torch.stage != TRIED) {
        try_out(tensor, exchange);
    }
    if (made->size_bytes > DOOR_SPARE_BYTES || made->size_bytes == 0 ||
        made->rank > DOOR_SPARE_RANK || !torch.tensor_type ||
        Py_TYPE(tensor) != torch.tensor_type || in_function_mode()) {
        return;
    }
    door_spare spare = {.tensor = Py_NewRef(tensor), .block = door_block_retain(block)};
    if (describe(&spare)) {
        door_spare *place = find_place(spares);
        door_spare before = *place;
        *place = spare;
        spare = before;
    }
    drop(&spare);
}

/* --- using again ------------------------------------------------------------------ */

/* Of a tensor to which the caller of this and `spare` hold the only references. No mode
 * sees any of it. */
static bool is_untouched(const door_spare *spare)
{
    return is_as_printed(spare->print) && is_untouched_storage(spare->storage) &&
           is_number(call_one(&torch.weak_count, spare->tensor), 0) &&
           !has_attributes(spare->tensor) &&
           is_object(call_none(&torch.is_inference_enabled),
                     spare->is_inference ? Py_True : Py_False);
}

/* While it is looked at it is out of its place, so that a call made meanwhile (by a
 * finalizer, say) neither takes nor drops it. */
static bool claim(door_spares *spares, door_spare *place, weft_tensor *wanted)
{
    door_spare spare = *place; /* out of its place, so nobody drops it meanwhile */
    *place = (door_spare){0};
    Py_INCREF(spare.tensor);
    wanted->data = door_block_data(spare.block);
    bool claimed = is_untouched(&spare) && Py_REFCNT(spare.tensor) == 2;
    if (claimed && !place->tensor) {
        *place = spare;
        spares->used_count++;
        return true;
    }
    Py_DECREF(spare.tensor);
    drop(&spare);
    return false;
}

PyObject *door_spares_take(door_spares *spares, weft_tensor *wanted)
{
    for (size_t i = 0; i < DOOR_SPARES; i++) {
        door_spare *place = &spares->places[i];
        PyObject *tensor = place->tensor;
        if (tensor && Py_REFCNT(tensor) == 1 &&
            door_block_is_for(place->block, wanted) && claim(spares, place, wanted)) {
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

int door_spares_traverse(const door_spares *spares, visitproc visit, void *arg)
{
    for (size_t i = 0; i < DOOR_SPARES; i++) {
        Py_VISIT(spares->places[i].tensor);
        Py_VISIT(spares->places[i].storage);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <string.h>

/* --- room ------------------------------------------------------------------------- */

static int make_room(door_call *call, size_t count)
{
    size_t each = sizeof(weft_tensor) + sizeof(door_view) + 2 * sizeof(PyObject *);
    char *block = PyMem_Calloc(count, each);
    if (!block) {
        PyErr_NoMemory();
        return -1;
    }
    call->block = block;
    call->tensors = (weft_tensor *)block;
    call->views = (door_view *)(block + count * sizeof(weft_tensor));
    call->objects = (PyObject **)(call->views + count);
    call->results = call->objects + count;
    return 0;
}

int door_call_begin(door_call *call, door_model *model)
{
    size_t count = model->input_count + model->output_count;
    call->model = model;
    call->block = NULL;
    call->shape = NULL;
    call->is_direct = false;
    call->io.input_count = model->input_count;
    call->io.output_count = model->output_count;
    if (count <= DOOR_FEW) {
        call->tensors = call->few.tensors;
        call->views = call->few.views;
        call->objects = call->few.objects;
        call->results = call->few.results;
        for (size_t i = 0; i < count; i++) {
            call->views[i].kind = DOOR_NOTHING;
            call->views[i].copy = NULL;
            call->objects[i] = NULL;
            call->results[i] = NULL;
        }
    } else if (make_room(call, count)) {
        call->io.input_count = call->io.output_count = 0;
        return -1;
    }
    call->io.inputs = call->tensors;
    call->io.outputs = call->tensors + model->input_count;
    return 0;
}

void door_call_let_go(door_call *call)
{
    size_t count = call->io.input_count + call->io.output_count;
    for (size_t i = 0; i < count; i++) {
        door_view_close(&call->views[i]);
        Py_CLEAR(call->objects[i]);
    }
}

void door_call_end(door_call *call)
{
    door_call_let_go(call);
    for (size_t i = 0; i < call->io.output_count; i++) {
        Py_XDECREF(call->results[i]);
    }
    door_shape_drop(call->shape);
    PyMem_Free(call->block);
}

/* --- arguments -------------------------------------------------------------------- */

static int set_input(door_call *call, size_t index, PyObject *object)
{
    if (call->objects[index]) {
        PyErr_Format(PyExc_TypeError, "input '%U' is given twice",
                     call->model->input_names[index]);
        return -1;
    }
    call->objects[index] = Py_NewRef(object);
    return 0;
}

static bool same_object(PyObject *a, PyObject *b)
{
    return a == b;
}

static bool same_name(PyObject *a, PyObject *b)
{
    return a == b || PyUnicode_Compare(a, b) == 0;
}

/* The place of an option of this way of calling, or NULL. */
static PyObject **find_option(door_way way, door_options *options, PyObject *name,
                              bool (*same)(PyObject *, PyObject *))
{
    if (same(name, door.str_out)) {
        return &options->out;
    }
    if (way != DOOR_RUN && same(name, door.str_timeout_us)) {
        return &options->timeout_us;
    }
    if (way == DOOR_QUEUE && same(name, door.str_priority)) {
        return &options->priority;
    }
    if (way == DOOR_QUEUE && same(name, door.str_deadline_us)) {
        return &options->deadline_us;
    }
    return NULL;
}

static int set_named_input(door_call *call, PyObject *name, PyObject *object)
{
    PyObject *const *names = call->model->input_names;
    for (size_t i = 0; i < call->io.input_count; i++) {
        if (PyUnicode_Check(name) && same_name(names[i], name)) {
            return set_input(call, i, object);
        }
    }
    PyErr_Format(PyExc_TypeError, "the model has no input '%S'", name);
    return -1;
}

/* Names in calls are interned as a rule, as ours are: comparing addresses finds them.
 */
int door_call_named(door_call *call, door_way way, door_options *options,
                    PyObject *name, PyObject *object)
{
    PyObject *const *names = call->model->input_names;
    PyObject **option = find_option(way, options, name, same_object);
    for (size_t i = 0; !option && i < call->io.input_count; i++) {
        if (names[i] == name) {
            return set_input(call, i, object);
        }
    }
    option = option ? option : find_option(way, options, name, same_name);
    if (option) {
        *option = object;
        return 0;
    }
    return set_named_input(call, name, object);
}

static int set_from_mapping(door_call *call, PyObject *mapping)
{
    PyObject *name, *object;
    Py_ssize_t position = 0;
    int result = 0;
    DOOR_BEGIN_DICT(mapping);
    while (!result && PyDict_Next(mapping, &position, &name, &object)) {
        result = set_named_input(call, name, object);
    }
    DOOR_END_DICT();
    return result;
}

int door_call_positional(door_call *call, PyObject *const *arguments, Py_ssize_t count)
{
    if (count == 1 && PyDict_Check(arguments[0])) {
        return set_from_mapping(call, arguments[0]);
    }
    if (count > (Py_ssize_t)call->io.input_count) {
        PyErr_Format(PyExc_TypeError, "the model has %zu inputs, %zd are given",
                     call->io.input_count, count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        call->objects[i] = Py_NewRef(arguments[i]);
    }
    return 0;
}

int door_call_bind(door_call *call, door_way way, door_options *options,
                   PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    if (door_call_positional(call, arguments, count)) {
        return -1;
    }
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        if (door_call_named(call, way, options, name, arguments[count + i])) {
            return -1;
        }
    }
    return 0;
}

/* --- inputs and outputs ------------------------------------------------------------
 */

int door_call_open_inputs(door_call *call)
{
    for (size_t i = 0; i < call->io.input_count; i++) {
        if (!call->objects[i] && call->model->input_is_mask[i]) {
            call->tensors[i] = (weft_tensor){0}; /* the library makes it */
            continue;
        }
        if (!call->objects[i]) {
            PyErr_Format(PyExc_TypeError, "input '%U' is missing",
                         call->model->input_names[i]);
            return -1;
        }
        if (door_view_input(&call->views[i], call->objects[i], "input",
                            &call->model->inputs[i], call->is_direct,
                            &call->tensors[i])) {
            return -1;
        }
    }
    return 0;
}

/* The caller's place for output `index`: a new reference, NULL for none. An exception
 * is set when that cannot be told. */
static PyObject *given_output(const door_call *call, PyObject *out, size_t index)
{
    PyObject *given = NULL;
    if (PyDict_Check(out)) {
        DOOR_BEGIN_DICT(out);
        given = PyDict_GetItemWithError(out, call->model->output_names[index]);
        Py_XINCREF(given);
        DOOR_END_DICT();
    } else if (PyTuple_Check(out) || PyList_Check(out)) {
        given = PySequence_GetItem(out, (Py_ssize_t)index);
    } else {
        given = Py_NewRef(out);
    }
    if (given == Py_None) {
        Py_CLEAR(given);
    }
    return given;
}

static int check_out_names(const door_call *call, PyObject *out)
{
    PyObject *name, *object;
    Py_ssize_t position = 0;
    int result = 0;
    DOOR_BEGIN_DICT(out);
    while (!result && PyDict_Next(out, &position, &name, &object)) {
        size_t i = 0;
        while (
            i < call->io.output_count &&
            !(PyUnicode_Check(name) && same_name(name, call->model->output_names[i]))) {
            i++;
        }
        if (i == call->io.output_count) {
            PyErr_Format(PyExc_TypeError, "the model has no output '%S'", name);
            result = -1;
        }
    }
    DOOR_END_DICT();
    return result;
}

static int check_out(const door_call *call, PyObject *out)
{
    size_t count = call->io.output_count;
    if (PyTuple_Check(out) || PyList_Check(out)) {
        Py_ssize_t size = PySequence_Size(out);
        if (size == (Py_ssize_t)count) {
            return 0;
        }
        PyErr_Format(PyExc_TypeError, "out has %zd places, the model %zu outputs", size,
                     count);
        return -1;
    }
    if (PyDict_Check(out)) {
        return check_out_names(call, out);
    }
    if (count != 1) {
        PyErr_Format(PyExc_TypeError,
                     "the model has %zu outputs: out must be a sequence or a mapping",
                     count);
        return -1;
    }
    return 0;
}

static int open_output(door_call *call, size_t index, PyObject *out,
                       const dl_exchange *exchange)
{
    weft_tensor *output = &call->io.outputs[index];
    const weft_value_info *info = &call->model->outputs[index];
    PyObject *given = out ? given_output(call, out, index) : NULL;
    if (given) {
        const weft_tensor *wanted = &call->shape->outputs[index];
        call->results[index] = given;
        if (door_view_output(&call->views[call->io.input_count + index], given, info,
                             output)) {
            return -1;
        }
        /* a shape that only the run knows, the run compares */
        return wanted->rank < 0 ? 0 : door_explain_output(info, output, wanted);
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    *output = call->shape->outputs[index];
    if (output->rank < 0) { /* the run allocates it: see take_outputs */
        *output = (weft_tensor){.rank = -1};
        return 0;
    }
    /* A run that drops the GIL itself saves little by it, and without a GIL nobody can
     * tell from a reference count that a tensor is free. */
#ifdef Py_GIL_DISABLED
    bool again = false;
#else
    bool again = call->is_direct && call->shape->run_ns < call->model->hold_below_ns;
#endif
    call->results[index] =
        door_make_output(output, call->shape->shapes[index], exchange,
                         again ? &call->model->spares : NULL);
    return call->results[index] ? 0 : -1;
}

int door_call_ready(door_call *call, const door_options *options)
{
    PyObject *out = options->out == Py_None ? NULL : options->out;
    if (door_call_open_inputs(call) || (out && check_out(call, out))) {
        return -1;
    }
    call->shape = door_shapes_find(call->model, &call->io);
    if (!call->shape) {
        return -1;
    }
    /* New outputs are of the kind of the first input. */
    size_t first = 0; /* that was not left out */
    while (first < call->io.input_count && !call->objects[first]) {
        first++;
    }
    const dl_exchange *exchange =
        first < call->io.input_count ? door_exchange_of(call->objects[first]) : NULL;
    for (size_t i = 0; i < call->io.output_count; i++) {
        if (open_output(call, i, out, exchange)) {
            return -1;
        }
    }
    return 0;
}

/* Copies an output that the run has allocated into an object. */
static PyObject *take_output(const weft_tensor *output)
{
    weft_tensor copy = *output;
    PyObject *shape = door_shape_tuple(output);
    PyObject *made = shape ? door_make_output(&copy, shape, NULL, NULL) : NULL;
    if (made && output->size_bytes > 0) {
        memcpy(copy.data, output->data, output->size_bytes);
    }
    Py_XDECREF(shape);
    return made;
}

/* Outputs whose shape only the run could tell. */
static int take_outputs(door_call *call)
{
    int failed = 0;
    for (size_t i = 0; i < call->io.output_count; i++) {
        if (call->results[i]) {
            continue;
        }
        call->results[i] = failed ? NULL : take_output(&call->io.outputs[i]);
        failed = call->results[i] ? 0 : -1;
        weft_output_free(&call->io.outputs[i]);
    }
    return failed;
}

int door_call_take_ended(door_call *call, const weft_request *request)
{
    for (size_t i = 0; i < call->io.output_count; i++) {
        PyObject *none = NULL;
        weft_tensor output;
        if (__atomic_load_n(&call->results[i], __ATOMIC_ACQUIRE)) {
            continue;
        }
        if (!weft_request_get_output(request, i, &output)) {
            return door_refuse(WEFT_INTERNAL, "the request does not tell its outputs");
        }
        PyObject *made = take_output(&output);
        if (!made) {
            return -1;
        }
        /* Several threads may ask for one result. */
        if (!__atomic_compare_exchange_n(&call->results[i], &none, made, false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            Py_DECREF(made);
        }
    }
    return 0;
}

PyObject *door_call_result(const door_call *call)
{
    size_t count = call->io.output_count;
    if (!call->model->outputs_class) {
        return Py_NewRef(call->results[0]);
    }
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        if (PyTuple_SetItem(tuple, (Py_ssize_t)i, Py_NewRef(call->results[i]))) {
            Py_CLEAR(tuple);
        }
    }
    PyObject *result =
        tuple ? PyObject_CallFunctionObjArgs(call->model->outputs_class, tuple, NULL)
              : NULL;
    Py_XDECREF(tuple);
    return result;
}

/* --- running ------------------------------------------------------------------------
 */

/* The least of the first runs and of one in 64 is what a run takes: other threads can
 * only make it longer. */
enum { DOOR_FIRST_RUNS = 8, DOOR_MEASURE_EVERY = 64 };

static weft_status run_released(door_call *call, int64_t *end_ns, weft_error *error)
{
    weft_status status;
    call->model->released_count++;
    Py_BEGIN_ALLOW_THREADS;
    status = weft_run(call->model->model, &call->io, NULL, error);
    *end_ns = door_now_ns(); /* before others are waited for */
    Py_END_ALLOW_THREADS;
    return status;
}

/* With the GIL, so without waiting for a context. */
static weft_status run_held(door_call *call, int64_t *end_ns, weft_error *error)
{
    weft_lease_params lease = WEFT_LEASE_PARAMS_INIT;
    lease.policy = WEFT_LEASE_FAIL;
    weft_status status = weft_run(call->model->model, &call->io, &lease, error);
    if (status == WEFT_BUSY) {
        return run_released(call, end_ns, error);
    }
    call->model->held_count++;
    *end_ns = 0;
    return status;
}

PyObject *door_call_run(door_call *call)
{
    door_shape *shape = call->shape;
    weft_error error;
    weft_status status;
    int64_t end_ns;
    uint64_t count = shape->run_count;
    bool measured = count < DOOR_FIRST_RUNS || count % DOOR_MEASURE_EVERY == 0;
    int64_t start_ns = measured ? door_now_ns() : 0;
    if (shape->run_ns < call->model->hold_below_ns) {
        status = run_held(call, &end_ns, &error);
    } else {
        status = run_released(call, &end_ns, &error);
    }
    if (status != WEFT_OK) {
        door_raise(&error);
        return NULL;
    }
    if (measured) {
        int64_t took_ns = (end_ns ? end_ns : door_now_ns()) - start_ns;
        int64_t least_ns = shape->run_ns;
        shape->run_ns = took_ns < least_ns ? took_ns : least_ns;
    }
    shape->run_count++;
    return take_outputs(call) ? NULL : door_call_result(call);
}

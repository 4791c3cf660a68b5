/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <math.h>
#include <string.h>

/* --- making one ---------------------------------------------------------------------
 */

typedef struct model_arguments {
    PyObject *device, *source, *data_directory, *weights, *buckets, *make_result;
    int fusion, max_plans;
    const char *precision;
    Py_ssize_t max_plan_bytes;
    double gil_threshold_us;
} model_arguments;

static int load_graph(const model_arguments *arguments, const char *directory,
                      weft_graph **graph)
{
    weft_graph_load_params params = WEFT_GRAPH_LOAD_PARAMS_INIT;
    weft_error error;
    weft_status status;
    params.data_directory = directory;
    if (PyObject_CheckBuffer(arguments->source)) {
        Py_buffer bytes;
        if (PyObject_GetBuffer(arguments->source, &bytes, PyBUF_SIMPLE)) {
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS;
        status =
            weft_graph_parse_onnx(bytes.buf, (size_t)bytes.len, &params, graph, &error);
        Py_END_ALLOW_THREADS;
        PyBuffer_Release(&bytes);
        return status == WEFT_OK ? 0 : door_raise(&error);
    }
    PyObject *path;
    if (!PyUnicode_FSConverter(arguments->source, &path)) {
        return -1;
    }
    const char *text = PyBytes_AsString(path);
    Py_BEGIN_ALLOW_THREADS;
    status = weft_graph_load_onnx(text, &params, graph, &error);
    Py_END_ALLOW_THREADS;
    Py_DECREF(path);
    return status == WEFT_OK ? 0 : door_raise(&error);
}

static int replace_weight(weft_graph *graph, const char *name, PyObject *object)
{
    const char *found;
    weft_tensor tensor;
    weft_value_info info = {.name = name};
    for (size_t i = 0; weft_graph_get_initializer(graph, i, &found, &tensor); i++) {
        if (strcmp(found, name) == 0) {
            info.type = tensor.type;
            break;
        }
    }
    if (info.type == WEFT_TYPE_NONE) {
        return door_refuse(WEFT_NOT_FOUND, "the model has no weight '%s'", name);
    }
    door_view view;
    weft_error error;
    int result = door_view_input(&view, object, "weight", &info, false, &tensor);
    if (!result &&
        weft_graph_replace_initializer(graph, name, &tensor, &error) != WEFT_OK) {
        result = door_raise(&error);
    }
    door_view_close(&view);
    return result;
}

static int replace_weights(weft_graph *graph, PyObject *weights)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (!PyDict_Check(weights)) {
        PyErr_SetString(PyExc_TypeError, "weights must be a dict of arrays by name");
        return -1;
    }
    while (PyDict_Next(weights, &position, &key, &value)) {
        const char *name = PyUnicode_AsUTF8AndSize(key, NULL);
        if (!name || replace_weight(graph, name, value)) {
            return -1;
        }
    }
    return 0;
}

static int make_graph(const model_arguments *arguments, weft_graph **graph)
{
    PyObject *directory = NULL;
    *graph = NULL;
    if (arguments->data_directory != Py_None &&
        !PyUnicode_FSConverter(arguments->data_directory, &directory)) {
        return -1;
    }
    int result =
        load_graph(arguments, directory ? PyBytes_AsString(directory) : NULL, graph);
    Py_XDECREF(directory);
    if (!result && arguments->weights != Py_None) {
        result = replace_weights(*graph, arguments->weights);
    }
    return result;
}

static int find_precision(const char *name, weft_precision *precision)
{
    for (int i = 0; i < WEFT_PRECISION_COUNT; i++) {
        if (strcmp(name, weft_precision_name((weft_precision)i)) == 0) {
            *precision = (weft_precision)i;
            return 0;
        }
    }
    door_refuse(WEFT_INVALID_ARGUMENT,
                "precision must be 'f32', 'tf32', 'bf16' or 'f16'");
    return -1;
}

static int make_model(const model_arguments *arguments, weft_model **model)
{
    weft_graph *graph;
    weft_precision precision;
    if (find_precision(arguments->precision, &precision)) {
        return -1;
    }
    int result = make_graph(arguments, &graph);
    if (!result) {
        weft_model_params params = WEFT_MODEL_PARAMS_INIT;
        weft_device *device = ((door_device *)arguments->device)->device;
        weft_error error;
        weft_status status;
        params.no_fusion = !arguments->fusion;
        params.max_plans = arguments->max_plans;
        params.max_plan_bytes = (size_t)arguments->max_plan_bytes;
        params.precision = precision;
        result = door_buckets_read(arguments->buckets, &params);
        if (!result) {
            Py_BEGIN_ALLOW_THREADS;
            status = weft_model_create(device, graph, &params, model, &error);
            Py_END_ALLOW_THREADS;
            result = status == WEFT_OK ? 0 : door_raise(&error);
        }
        door_buckets_free(&params);
    }
    weft_graph_release(graph);
    return result;
}

typedef bool (*info_getter)(const weft_model *model, size_t index,
                            weft_value_info *info);

static int describe(const weft_model *model, info_getter get, size_t count,
                    weft_value_info **infos, PyObject ***names)
{
    *infos = PyMem_Calloc(count + 1, sizeof(**infos));
    *names = PyMem_Calloc(count + 1, sizeof(**names));
    if (!*infos || !*names) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        get(model, i, &(*infos)[i]);
        (*names)[i] = PyUnicode_InternFromString((*infos)[i].name);
        if (!(*names)[i]) {
            return -1;
        }
    }
    return 0;
}

static int make_outputs_class(door_model *self)
{
    PyObject *names = PyTuple_New((Py_ssize_t)self->output_count);
    for (size_t i = 0; names && i < self->output_count; i++) {
        if (PyTuple_SetItem(names, (Py_ssize_t)i, Py_NewRef(self->output_names[i]))) {
            Py_CLEAR(names);
        }
    }
    self->outputs_class =
        names ? PyObject_CallFunctionObjArgs(door.make_outputs, names, NULL) : NULL;
    Py_XDECREF(names);
    return self->outputs_class ? 0 : -1;
}

static int model_set_up(door_model *self, const model_arguments *arguments)
{
    if (make_model(arguments, &self->model)) {
        return -1;
    }
    self->device = Py_NewRef(arguments->device);
    self->input_count = weft_model_input_count(self->model);
    self->output_count = weft_model_output_count(self->model);
    double hold_ns = arguments->gil_threshold_us * 1000;
    self->hold_below_ns = hold_ns >= 1e18 ? INT64_MAX : (int64_t)hold_ns;
    if (describe(self->model, weft_model_get_input, self->input_count, &self->inputs,
                 &self->input_names) ||
        describe(self->model, weft_model_get_output, self->output_count, &self->outputs,
                 &self->output_names)) {
        return -1;
    }
    self->input_is_value = PyMem_Calloc(self->input_count + 1, 2 * sizeof(bool));
    if (!self->input_is_value) {
        PyErr_NoMemory();
        return -1;
    }
    self->input_is_mask = self->input_is_value + self->input_count;
    for (size_t i = 0; i < self->input_count; i++) {
        self->input_is_mask[i] = weft_model_input_is_mask(self->model, i);
        self->input_is_value[i] = weft_model_input_is_value(self->model, i);
    }
    if (arguments->make_result != Py_None) {
        self->outputs_class = Py_NewRef(arguments->make_result);
        return 0;
    }
    return self->output_count == 1 ? 0 : make_outputs_class(self);
}

static PyObject *model_new(PyTypeObject *type, PyObject *positional, PyObject *named)
{
    static const char *const names[] = {
        "device",  "source",    "data_directory", "weights",
        "fusion",  "max_plans", "max_plan_bytes", "gil_threshold_us",
        "buckets", "precision", "make_result",    NULL};
    model_arguments a = {.data_directory = Py_None,
                         .weights = Py_None,
                         .buckets = Py_None,
                         .make_result = Py_None,
                         .fusion = 1,
                         .precision = "f32"};
    if (!PyArg_ParseTupleAndKeywords(
            positional, named, "O!O|$OOpindOsO:Model", DOOR_KEYWORDS(names),
            door.device, &a.device, &a.source, &a.data_directory, &a.weights, &a.fusion,
            &a.max_plans, &a.max_plan_bytes, &a.gil_threshold_us, &a.buckets,
            &a.precision, &a.make_result)) {
        return NULL;
    }
    if (!(a.gil_threshold_us >= 0)) {
        door_refuse(WEFT_INVALID_ARGUMENT, "gil_threshold_us must not be negative");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    door_model *self = (door_model *)allocate(type, 0);
    if (self && model_set_up(self, &a)) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static void drop_names(PyObject **names, size_t count)
{
    for (size_t i = 0; names && i < count; i++) {
        Py_XDECREF(names[i]);
    }
    PyMem_Free(names);
}

/* Tensors that are kept may lead back to the model: by attributes, or by hooks. */
static int model_traverse(PyObject *object, visitproc visit, void *arg)
{
    const door_model *self = (door_model *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->device);
    Py_VISIT(self->outputs_class);
    return door_spares_traverse(&self->spares, visit, arg);
}

/* The rest stays, for a finalizer may still call the model; what that leads to breaks
 * its cycles itself. */
static int model_clear(PyObject *object)
{
    door_spares_clear(&((door_model *)object)->spares);
    return 0;
}

static void model_dealloc(PyObject *object)
{
    door_model *self = (door_model *)object;
    weft_model *model = self->model;
    PyObject_GC_UnTrack(object);
    if (model) {
        Py_BEGIN_ALLOW_THREADS; /* the last owner of a device waits for its threads */
        weft_model_release(model);
        Py_END_ALLOW_THREADS;
    }
    drop_names(self->input_names, self->input_count);
    drop_names(self->output_names, self->output_count);
    PyMem_Free(self->input_is_value);
    PyMem_Free(self->inputs);
    PyMem_Free(self->outputs);
    Py_XDECREF(self->outputs_class);
    Py_XDECREF(self->device);
    door_shapes_clear(&self->shapes);
    door_spares_clear(&self->spares);
    door_free(object);
}

/* --- what it is ---------------------------------------------------------------------
 */

static PyObject *describe_dimension(const weft_value_info *info, int32_t index)
{
    if (info->dims[index] != WEFT_DIM_DYNAMIC) {
        return PyLong_FromLongLong(info->dims[index]);
    }
    return info->dim_names[index] ? door_text(info->dim_names[index])
                                  : Py_NewRef(Py_None);
}

static PyObject *describe_value(const weft_value_info *info)
{
    PyObject *dims = info->rank < 0 ? Py_NewRef(Py_None) : PyTuple_New(info->rank);
    for (int32_t i = 0; dims && i < info->rank; i++) {
        PyObject *dimension = describe_dimension(info, i);
        if (!dimension || PyTuple_SetItem(dims, i, dimension)) {
            Py_CLEAR(dims);
        }
    }
    return dims ? Py_BuildValue("(NsN)", door_text(info->name),
                                weft_type_name(info->type), dims)
                : NULL;
}

static PyObject *describe_values(const weft_value_info *infos, size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *value = describe_value(&infos[i]);
        if (!value || PyTuple_SetItem(tuple, (Py_ssize_t)i, value)) {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static PyObject *model_describe(PyObject *object, PyObject *none)
{
    (void)none;
    const door_model *self = (door_model *)object;
    PyObject *inputs = describe_values(self->inputs, self->input_count);
    PyObject *outputs = describe_values(self->outputs, self->output_count);
    if (inputs && outputs) {
        return Py_BuildValue("(NN)", inputs, outputs);
    }
    Py_XDECREF(inputs);
    Py_XDECREF(outputs);
    return NULL;
}

static PyObject *model_statistics(PyObject *object, PyObject *none)
{
    (void)none;
    const door_model *self = (door_model *)object;
    return Py_BuildValue("{sKsKsK}", "runs_with_gil", self->held_count,
                         "runs_without_gil", self->released_count, "reused_tensors",
                         self->spares.used_count);
}

static PyObject *model_device(PyObject *object, void *closure)
{
    (void)closure;
    return Py_NewRef(((door_model *)object)->device);
}

static PyObject *model_gil_threshold(PyObject *object, void *closure)
{
    (void)closure;
    int64_t hold_ns = ((door_model *)object)->hold_below_ns;
    return PyFloat_FromDouble(hold_ns == INT64_MAX ? HUGE_VAL : (double)hold_ns / 1000);
}

/* --- calling it ----------------------------------------------------------------------
 */

static PyObject *run_bound(door_call *call, const door_options *options)
{
    call->is_direct = true;
    return door_call_ready(call, options) ? NULL : door_call_run(call);
}

static int bind_tuple(door_call *call, door_options *options, PyObject *positional,
                      PyObject *named)
{
    PyObject *few[DOOR_FEW];
    Py_ssize_t count = PyTuple_Size(positional);
    if (count > DOOR_FEW && count > (Py_ssize_t)call->io.input_count) {
        count = (Py_ssize_t)call->io.input_count + 1; /* refused below */
    }
    PyObject **arguments =
        count <= DOOR_FEW ? few : PyMem_Calloc((size_t)count, sizeof(*arguments));
    if (!arguments) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        arguments[i] = PyTuple_GetItem(positional, i);
    }
    int result = door_call_positional(call, arguments, count);
    if (arguments != few) {
        PyMem_Free(arguments);
    }
    PyObject *name, *object;
    Py_ssize_t position = 0;
    while (!result && named && PyDict_Next(named, &position, &name, &object)) {
        result = door_call_named(call, DOOR_RUN, options, name, object);
    }
    return result;
}

static PyObject *model_call(PyObject *self, PyObject *positional, PyObject *named)
{
    door_call call;
    door_options options = {0};
    if (door_call_begin(&call, (door_model *)self)) {
        return NULL;
    }
    PyObject *result = bind_tuple(&call, &options, positional, named)
                           ? NULL
                           : run_bound(&call, &options);
    door_call_end(&call);
    return result;
}

PyDoc_STRVAR(plan_doc,
             "plan($self, /, *inputs, **named_inputs)\n--\n\n"
             "The plan for these inputs' shapes as a readable table: steps, kernels, "
             "shapes, memory, what was fused.");

static PyObject *plan_text(door_call *call)
{
    weft_error error;
    weft_status status;
    char *text = NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = weft_model_dump_plan(call->model->model, &call->io, &text, &error);
    Py_END_ALLOW_THREADS;
    if (status != WEFT_OK) {
        door_raise(&error);
        return NULL;
    }
    PyObject *result = door_text(text);
    weft_text_free(text);
    return result;
}

static PyObject *model_plan(PyObject *self, PyObject *const *arguments,
                            Py_ssize_t count, PyObject *names)
{
    door_call call;
    door_options options = {0};
    if (door_call_begin(&call, (door_model *)self)) {
        return NULL;
    }
    PyObject *result = NULL;
    if (!door_call_bind(&call, DOOR_RUN, &options, arguments, count, names) &&
        !door_call_open_inputs(&call)) {
        result = plan_text(&call);
    }
    door_call_end(&call);
    return result;
}

PyDoc_STRVAR(
    submit_doc,
    "submit($self, /, *inputs, out=None, timeout_us=0, **named_inputs)\n--\n\n"
    "Hands a run to the device's workers and returns a Future at once.\n\n"
    "Inputs and out are as those of a call; they are kept alive, and must not be\n"
    "changed, until the Future has ended. A request that has not started after\n"
    "timeout_us microseconds ends with weft.TimeoutError; 0 means never.");

static PyMethodDef model_methods[] = {
    {"_describe", model_describe, METH_NOARGS, NULL},
    {"statistics", model_statistics, METH_NOARGS,
     "statistics($self, /)\n--\n\nHow many runs kept the GIL, how many let it go, and "
     "how "
     "many PyTorch tensors were\ngiven out again."},
    {"plan", (PyCFunction)(void (*)(void))model_plan, METH_FASTCALL | METH_KEYWORDS,
     plan_doc},
    {"submit", (PyCFunction)(void (*)(void))door_model_submit,
     METH_FASTCALL | METH_KEYWORDS, submit_doc},
    {0},
};

static PyGetSetDef model_properties[] = {
    {"device", model_device, NULL, "The Device that the model runs on.", NULL},
    {"gil_threshold_us", model_gil_threshold, NULL,
     "Runs measured to be shorter than this keep the GIL.", NULL},
    {0},
};

static PyType_Slot model_slots[] = {
    {Py_tp_new, (void *)model_new},           {Py_tp_dealloc, (void *)model_dealloc},
    {Py_tp_traverse, (void *)model_traverse}, {Py_tp_clear, (void *)model_clear},
    {Py_tp_call, (void *)model_call},         {Py_tp_methods, model_methods},
    {Py_tp_getset, model_properties},         {0},
};

PyType_Spec door_model_spec = {
    .name = "weft._weft.Model",
    .basicsize = sizeof(door_model),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = model_slots,
};

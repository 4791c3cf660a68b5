/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/fork.h"
#include "base/memory.h"
#include "base/params.h"
#include "formats/onnx/reader.h"
#include "formats/onnx/wire.h"
#include "graph/graph.h"

weft_status wefti_onnx_forgive(wefti_onnx_reader *reader, weft_status status,
                               int32_t node)
{
    if (status != WEFT_UNSUPPORTED || !reader->forgiving) {
        return status;
    }
    weft_error problem = *reader->error;
    return wefti_graph_add_problem(reader->graph, node, problem.message, reader->error);
}

/* The version of ONNX's own operators that the model follows. */
static weft_status find_opset(const Onnx__ModelProto *model, int32_t *opset,
                              weft_error *error)
{
    const Onnx__OperatorSetIdProto *found = NULL;
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *import = model->opset_import[i];
        const char *domain = wefti_onnx_text(import->domain);
        if (*domain && strcmp(domain, "ai.onnx") != 0) {
            continue; /* matters only to nodes of that domain */
        }
        if (found && found->version != import->version) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "the model names two opsets of ONNX, %lld and %lld",
                               (long long)found->version, (long long)import->version);
        }
        found = import;
    }
    if (!found || found->version < 1 || found->version > INT32_MAX) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "the model does not say which opset of ONNX it follows");
    }
    *opset = (int32_t)found->version;
    return WEFT_OK;
}

static weft_status add_initializers(wefti_onnx_reader *reader,
                                    const Onnx__GraphProto *graph)
{
    if (graph->n_sparse_initializer > 0) {
        const Onnx__TensorProto *values = graph->sparse_initializer[0]->values;
        weft_status status =
            wefti_error(reader->error, WEFT_UNSUPPORTED,
                        "the initializer '" WEFTI_ONNX_NAME "' is a sparse tensor; "
                        "only dense ones are supported",
                        values ? wefti_onnx_text(values->name) : "");
        WEFTI_TRY(wefti_onnx_forgive(reader, status, -1));
    }
    for (size_t i = 0; i < graph->n_initializer; i++) {
        wefti_onnx_tensor tensor;
        weft_status status =
            wefti_onnx_read_tensor(reader, graph->initializer[i], &tensor);
        if (status != WEFT_OK) {
            WEFTI_TRY(wefti_onnx_forgive(reader, status, -1));
            continue;
        }
        status = weft_graph_add_initializer_borrowed(
            reader->graph, wefti_onnx_text(graph->initializer[i]->name), &tensor.view,
            tensor.release, tensor.user, reader->error);
        WEFTI_TRY(wefti_onnx_blame_model(reader, status));
    }
    return WEFT_OK;
}

static int compare_functions(const void *a, const void *b)
{
    const Onnx__FunctionProto *f = *(const Onnx__FunctionProto *const *)a;
    const Onnx__FunctionProto *g = *(const Onnx__FunctionProto *const *)b;
    int order = strcmp(wefti_onnx_text(f->name), wefti_onnx_text(g->name));
    return order ? order
                 : strcmp(wefti_onnx_text(f->domain), wefti_onnx_text(g->domain));
}

/* Functions that no node calls do no harm. The model's list of them is sorted. */
static weft_status check_function(const wefti_onnx_reader *reader,
                                  const Onnx__NodeProto *node)
{
    const Onnx__ModelProto *model = reader->model;
    Onnx__FunctionProto wanted = {.name = node->op_type, .domain = node->domain};
    const Onnx__FunctionProto *key = &wanted;
    if (model->n_functions == 0 ||
        !bsearch(&key, model->functions, model->n_functions, sizeof *model->functions,
                 compare_functions)) {
        return WEFT_OK;
    }
    return wefti_error(reader->error, WEFT_UNSUPPORTED,
                       "node '" WEFTI_ONNX_NAME "' calls the function '" WEFTI_ONNX_NAME
                       "' of the model; functions are not supported, inline "
                       "them when exporting",
                       wefti_onnx_text(node->name), wefti_onnx_text(node->op_type));
}

/* Adds a node, or what is left of one that is not supported. */
static weft_status add_node(wefti_onnx_reader *reader, Onnx__NodeProto *node)
{
    weft_status status = check_function(reader, node);
    if (status == WEFT_OK) {
        status = wefti_onnx_add_node(reader, node);
    }
    if (status == WEFT_OK) {
        return WEFT_OK;
    }
    int32_t number = (int32_t)reader->graph->node_count;
    WEFTI_TRY(wefti_onnx_forgive(reader, status, number));
    size_t attribute_count = node->n_attribute;
    node->n_attribute = 0;
    status = wefti_onnx_add_node(reader, node);
    node->n_attribute = attribute_count;
    return status;
}

weft_status wefti_onnx_read_graph(wefti_onnx_reader *reader,
                                  const Onnx__GraphProto *source)
{
    reader->graph = NULL;
    WEFTI_TRY(weft_graph_create(reader->opset, &reader->graph, reader->error));
    WEFTI_TRY(add_initializers(reader, source));
    for (size_t i = 0; i < source->n_input; i++) {
        weft_status status = wefti_onnx_add_input(reader, source->input[i]);
        WEFTI_TRY(wefti_onnx_forgive(reader, status, -1));
    }
    for (size_t i = 0; i < source->n_node; i++) {
        WEFTI_TRY(add_node(reader, source->node[i]));
    }
    for (size_t i = 0; i < source->n_output; i++) {
        WEFTI_TRY(wefti_onnx_add_output(reader, source->output[i]));
    }
    return WEFT_OK;
}

/* Sorts the model's list of functions. */
static weft_status build(wefti_onnx_reader *reader, const Onnx__ModelProto *model)
{
    if (!model->graph) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL,
                           "this is not an ONNX model, or it is empty: it has no "
                           "graph");
    }
    if (model->n_functions > 0) {
        qsort(model->functions, model->n_functions, sizeof *model->functions,
              compare_functions);
    }
    reader->model = model;
    WEFTI_TRY(find_opset(model, &reader->opset, reader->error));
    return wefti_onnx_read_graph(reader, model->graph);
}

/* Where a model comes from and how it is read. */
typedef struct origin {
    const char *directory;
    bool forgiving;
} origin;

static weft_status parse(const uint8_t *bytes, size_t size, const origin *how,
                         weft_graph **graph, weft_error *error)
{
    Onnx__ModelProto *model = NULL;
    weft_error own;
    error = error ? error : &own;
    WEFTI_TRY(wefti_onnx_unpack(bytes, size, &model, error));
    wefti_onnx_reader reader = {.files = {.directory = how->directory},
                                .error = error,
                                .forgiving = how->forgiving};
    weft_status status = build(&reader, model);
    wefti_onnx_files_fini(&reader.files);
    wefti_onnx_free(model);
    if (status != WEFT_OK) {
        weft_graph_release(reader.graph);
        return status;
    }
    *graph = reader.graph;
    return WEFT_OK;
}

/* Where a graph is read from, by the caller's params. */
static weft_status check_params(const void *source, weft_graph **graph,
                                const weft_graph_load_params *given, origin *how,
                                weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!graph) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "graph is NULL");
    }
    *graph = NULL;
    if (!source) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the path or bytes are NULL");
    }
    weft_graph_load_params params = WEFT_GRAPH_LOAD_PARAMS_INIT;
    WEFTI_TRY(
        wefti_params_take(WEFTI_PARAMS_SINCE(weft_graph_load_params, keep_unsupported),
                          given, &params, error));
    *how = (origin){params.data_directory, params.keep_unsupported};
    return WEFT_OK;
}

weft_status weft_graph_parse_onnx(const void *bytes, size_t size,
                                  const weft_graph_load_params *params,
                                  weft_graph **graph, weft_error *error)
{
    origin how = {0};
    WEFTI_TRY(check_params(bytes, graph, params, &how, error));
    return parse(bytes, size, &how, graph, error);
}

static weft_status load(const char *path, const origin *how, weft_graph **graph,
                        weft_error *error)
{
    wefti_mapping *mapping = NULL;
    WEFTI_TRY(wefti_mapping_open(AT_FDCWD, path, 0, path, &mapping, error));
    weft_status status = parse(mapping->bytes, mapping->size, how, graph, error);
    wefti_mapping_release(mapping);
    return status == WEFT_OK ? WEFT_OK
                             : wefti_error_prefix(error, status, "'%.200s'", path);
}

/* The folder of a file: all before the last slash. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return wefti_strdup(".");
    }
    return slash == path ? wefti_strdup("/")
                         : wefti_strndup(path, (size_t)(slash - path));
}

weft_status weft_graph_load_onnx(const char *path, const weft_graph_load_params *params,
                                 weft_graph **graph, weft_error *error)
{
    origin how = {0};
    WEFTI_TRY(check_params(path, graph, params, &how, error));
    if (how.directory) {
        return load(path, &how, graph, error);
    }
    char *folder = folder_of(path);
    if (!folder) {
        return wefti_error_memory(error, "a path");
    }
    how.directory = folder;
    weft_status status = load(path, &how, graph, error);
    wefti_free(folder);
    return status;
}

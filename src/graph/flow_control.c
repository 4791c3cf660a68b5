/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/memory.h"
#include "graph/flow.h"

/* If, Loop and Scan as ONNX defines them (Operators.md, opset 23). */

/* Rows that a loop's results have room for at first: it may end early. */
enum { FIRST_ROWS = 16 };

static weft_status wrong(const wefti_stage *stage, weft_error *error, const char *what,
                         const weft_tensor *tensor)
{
    return wefti_error(error, WEFT_INVALID_MODEL,
                       "%s: %s must be one %s; it is of type %s and %d dimensions",
                       stage->node->view.label, what,
                       strcmp(what, "the trip count") == 0 ? "i64" : "bool",
                       weft_type_name(tensor->type), (int)tensor->rank);
}

static bool is_one(const weft_tensor *tensor, weft_type type)
{
    int64_t count = 0;
    return tensor->type == type &&
           weft_tensor_measure(tensor, &count, NULL, NULL) == WEFT_OK && count == 1;
}

static weft_status read_condition(const wefti_stage *stage, const wefti_value *value,
                                  bool *condition, weft_error *error)
{
    if (!is_one(&value->tensor, WEFT_TYPE_BOOL)) {
        return wrong(stage, error, "the condition", &value->tensor);
    }
    *condition = *(const uint8_t *)value->tensor.data != 0;
    return WEFT_OK;
}

static weft_status blame(const wefti_stage *stage, const char *where,
                         weft_status status, weft_error *error)
{
    return status == WEFT_OK ? WEFT_OK
                             : wefti_error_prefix(error, status, "%s, %s",
                                                  stage->node->view.label, where);
}

weft_status wefti_flow_if(wefti_flow *flow, const wefti_stage *stage,
                          const wefti_value *inputs, wefti_value *outputs,
                          weft_error *error)
{
    bool condition = false;
    WEFTI_TRY(read_condition(stage, &inputs[0], &condition, error));
    const wefti_body *body = &stage->bodies[condition ? 0 : 1];
    return blame(stage, condition ? "then_branch" : "else_branch",
                 wefti_flow_call(flow, body->model, inputs + body->first_capture,
                                 outputs, error),
                 error);
}

/* One body that is called again and again. */
typedef struct iteration {
    wefti_flow *flow;
    const wefti_stage *stage;
    const wefti_body *body;
    size_t heads; /* inputs and outputs of the body before its state: 2 and 1, or 0 */
    size_t states, scans; /* carried values; outputs that are gathered */
    size_t inputs_own;    /* of the body, without captures */
    wefti_value *inputs, *outputs;
    wefti_gathered *gathered;
} iteration;

static weft_status open_iteration(iteration *all, const wefti_value *captures,
                                  weft_error *error)
{
    const weft_model *model = all->body->model;
    size_t inputs = model->net.input_count, outputs = model->net.output_count;
    char *room = wefti_calloc(1, (inputs + outputs) * sizeof(wefti_value) +
                                     all->scans * sizeof(wefti_gathered));
    if (room == NULL) {
        return wefti_error_memory(error, "a loop");
    }
    all->inputs = (wefti_value *)(void *)room;
    all->outputs = all->inputs + inputs;
    all->gathered = (wefti_gathered *)(void *)(all->outputs + outputs);
    memcpy(all->inputs + all->inputs_own, captures,
           all->body->capture_count * sizeof(*captures));
    return WEFT_OK;
}

/* Whether anybody reads what is gathered from the body's scan output `i`. */
static bool is_wanted(const iteration *all, size_t i)
{
    size_t output = all->states + i;
    return output < all->stage->output_count && all->stage->outputs[output] >= 0;
}

static void close_iteration(iteration *all)
{
    wefti_flow_drop_all(all->flow, all->inputs, all->inputs_own);
    for (size_t i = 0; i < all->scans; i++) {
        wefti_flow_drop(all->flow, &all->gathered[i].value);
    }
    wefti_free(all->inputs);
}

/* Runs the body; afterwards its results are the state, or gathered. What comes before
 * the states, the condition, stays in `outputs`. */
static weft_status iterate(iteration *all, weft_error *error)
{
    size_t first = all->heads == 0 ? 0 : 1;
    if (all->flow->iterations_left-- <= 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: the run has more than %lld iterations, the most that "
                           "its model allows (max_iterations)",
                           all->stage->node->view.label,
                           (long long)all->flow->max_iterations);
    }
    WEFTI_TRY(blame(
        all->stage, "body",
        wefti_flow_call(all->flow, all->body->model, all->inputs, all->outputs, error),
        error));
    for (size_t i = 0; i < all->states; i++) {
        wefti_value *state = &all->inputs[all->heads + i];
        wefti_flow_drop(all->flow, state);
        *state = all->outputs[first + i];
        all->outputs[first + i] = (wefti_value){0};
    }
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < all->scans; i++) {
        wefti_value *item = &all->outputs[first + all->states + i];
        if (status == WEFT_OK && is_wanted(all, i)) {
            status = wefti_gather_add(all->flow, &all->gathered[i], item, error);
            status = blame(all->stage, "a scan output", status, error);
        }
        wefti_flow_drop(all->flow, item);
    }
    if (status != WEFT_OK) {
        wefti_flow_drop(all->flow, &all->outputs[0]);
    }
    return status;
}

/* A result of no elements, with the shape that one iteration would have given. */
static weft_status gather_none(iteration *all, size_t i, const wefti_value *item,
                               weft_error *error)
{
    if (item->tensor.rank < 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "the shape of '%s' is not known without a run",
                           all->body->model->outputs[item - all->outputs].name);
    }
    wefti_gathered none = all->gathered[i];
    none.capacity = 1;
    WEFTI_TRY(wefti_gather_add(all->flow, &none, item, error));
    none.count = 0;
    all->gathered[i] = none;
    return WEFT_OK;
}

/* Nothing was gathered. The body is looked at only where somebody reads it. */
static weft_status gather_nothing(iteration *all, weft_error *error)
{
    size_t first = all->heads == 0 ? 0 : 1, wanted = 0;
    for (size_t i = 0; i < all->scans; i++) {
        wanted += is_wanted(all, i) ? 1 : 0;
    }
    weft_status status = wanted == 0 ? WEFT_OK
                                     : wefti_flow_shapes(all->body->model, all->inputs,
                                                         all->outputs, error);
    for (size_t i = 0; status == WEFT_OK && i < all->scans; i++) {
        if (is_wanted(all, i)) {
            status = gather_none(all, i, &all->outputs[first + all->states + i], error);
        }
    }
    memset(all->outputs, 0, all->body->model->net.output_count * sizeof(*all->outputs));
    return blame(all->stage, "body that is never run", status, error);
}

static void hand_over(iteration *all, wefti_value *outputs)
{
    size_t wanted = all->stage->output_count;
    for (size_t i = 0; i < all->states && i < wanted; i++) {
        outputs[i] = all->inputs[all->heads + i];
        all->inputs[all->heads + i] = (wefti_value){0};
    }
    for (size_t i = 0; i < all->scans; i++) {
        if (is_wanted(all, i)) {
            wefti_gather_end(&all->gathered[i], &outputs[all->states + i]);
        }
    }
}

static weft_status set_scalar(wefti_flow *flow, wefti_value *value, weft_type type,
                              int64_t number, weft_error *error)
{
    wefti_flow_drop(flow, value);
    WEFTI_TRY(wefti_flow_new(flow, type, 0, NULL, value, error));
    if (type == WEFT_TYPE_BOOL) {
        *(uint8_t *)value->tensor.data = number != 0;
    } else {
        *(int64_t *)value->tensor.data = number;
    }
    return WEFT_OK;
}

/* What ends a Loop. */
typedef struct limits {
    int64_t most;   /* iterations */
    bool condition; /* before the first one */
    bool counted;   /* by the trip count alone: what the body says is ignored */
} limits;

/* With a trip count alone the body's condition is ignored, as ONNX says. It says so too
 * where there is neither, but such a loop would never end: there the body decides. */
static weft_status read_limits(const wefti_stage *stage, const wefti_value *inputs,
                               limits *found, weft_error *error)
{
    *found = (limits){.most = INT64_MAX, .condition = true};
    if (inputs[0].tensor.type != WEFT_TYPE_NONE) {
        if (!is_one(&inputs[0].tensor, WEFT_TYPE_I64)) {
            return wrong(stage, error, "the trip count", &inputs[0].tensor);
        }
        found->most = *(const int64_t *)inputs[0].tensor.data;
        found->counted = inputs[1].tensor.type == WEFT_TYPE_NONE;
    }
    return inputs[1].tensor.type == WEFT_TYPE_NONE
               ? WEFT_OK
               : read_condition(stage, &inputs[1], &found->condition, error);
}

static weft_status run_loop(iteration *all, const limits *until, weft_error *error)
{
    int64_t rows = until->most > FIRST_ROWS ? FIRST_ROWS : until->most;
    bool condition = until->condition;
    for (size_t i = 0; i < all->scans; i++) {
        all->gathered[i].capacity = rows > 0 ? rows : 1;
    }
    int64_t i = 0;
    for (; i < until->most && (condition || until->counted); i++) {
        WEFTI_TRY(set_scalar(all->flow, &all->inputs[0], WEFT_TYPE_I64, i, error));
        WEFTI_TRY(
            set_scalar(all->flow, &all->inputs[1], WEFT_TYPE_BOOL, condition, error));
        WEFTI_TRY(iterate(all, error));
        weft_status status =
            read_condition(all->stage, &all->outputs[0], &condition, error);
        wefti_flow_drop(all->flow, &all->outputs[0]);
        WEFTI_TRY(status);
    }
    if (i > 0) {
        return WEFT_OK;
    }
    WEFTI_TRY(set_scalar(all->flow, &all->inputs[0], WEFT_TYPE_I64, 0, error));
    WEFTI_TRY(set_scalar(all->flow, &all->inputs[1], WEFT_TYPE_BOOL, 1, error));
    return gather_nothing(all, error);
}

weft_status wefti_flow_loop(wefti_flow *flow, const wefti_stage *stage,
                            const wefti_value *inputs, wefti_value *outputs,
                            weft_error *error)
{
    limits until;
    WEFTI_TRY(read_limits(stage, inputs, &until, error));
    const wefti_body *body = &stage->bodies[0];
    size_t states = stage->own_inputs - 2;
    iteration all = {
        .flow = flow,
        .stage = stage,
        .body = body,
        .heads = 2,
        .states = states,
        .scans = body->model->net.output_count - 1 - states,
        .inputs_own = 2 + states,
    };
    WEFTI_TRY(open_iteration(&all, inputs + body->first_capture, error));
    for (size_t i = 0; i < states; i++) {
        all.inputs[2 + i] = wefti_flow_keep(&inputs[2 + i]);
    }
    weft_status status = run_loop(&all, &until, error);
    if (status == WEFT_OK) {
        hand_over(&all, outputs);
    }
    close_iteration(&all);
    return status;
}

/* Element i of a list attribute of a Scan; 0 where it is not given. */
static int64_t list_at(const wefti_stage *stage, const char *name, size_t i)
{
    size_t count = 0;
    const int64_t *list = wefti_attribute_ints(&stage->node->view, name, &count);
    return i < count ? list[i] : 0;
}

static weft_status find_axis(const wefti_stage *stage, const weft_tensor *tensor,
                             int64_t axis, int32_t *result, weft_error *error)
{
    if (tensor->rank < 1 || axis < -tensor->rank || axis >= tensor->rank) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: a scan input of %d dimensions has no axis %lld",
                           stage->node->view.label, (int)tensor->rank, (long long)axis);
    }
    *result = (int32_t)(axis < 0 ? axis + tensor->rank : axis);
    return WEFT_OK;
}

/* One slice of a scan input along its axis: a part of its memory where it lies in one
 * piece, else a copy. */
static weft_status take_slice(wefti_flow *flow, const wefti_value *whole, int32_t axis,
                              int64_t index, wefti_value *slice, weft_error *error)
{
    const weft_tensor *from = &whole->tensor;
    int64_t dims[WEFT_MAX_RANK];
    size_t outer = 1, inner = weft_type_size(from->type);
    for (int32_t i = 0, k = 0; i < from->rank; i++) {
        if (i != axis) {
            dims[k++] = from->dims[i];
        }
        outer *= i < axis ? (size_t)from->dims[i] : 1;
        inner *= i > axis ? (size_t)from->dims[i] : 1;
    }
    size_t stride = inner * (size_t)from->dims[axis];
    const char *first = (const char *)from->data + (size_t)index * inner;
    if (outer == 1) {
        *slice = wefti_flow_keep(whole);
        slice->tensor.rank = from->rank - 1;
        memcpy(slice->tensor.dims, dims, sizeof(dims));
        slice->tensor.size_bytes = inner;
        slice->tensor.data = (void *)(uintptr_t)first;
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_flow_new(flow, from->type, from->rank - 1, dims, slice, error));
    for (size_t i = 0; inner > 0 && i < outer; i++) {
        memcpy((char *)slice->tensor.data + i * inner, first + i * stride, inner);
    }
    return WEFT_OK;
}

/* How a Scan walks its inputs. */
typedef struct walk {
    const wefti_value *wholes;
    size_t count;
    int64_t length;
} walk;

static weft_status find_length(const wefti_stage *stage, walk *over, weft_error *error)
{
    for (size_t i = 0; i < over->count; i++) {
        const weft_tensor *tensor = &over->wholes[i].tensor;
        int32_t axis = 0;
        WEFTI_TRY(find_axis(stage, tensor, list_at(stage, "scan_input_axes", i), &axis,
                            error));
        if (i > 0 && tensor->dims[axis] != over->length) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: scan input %zu has %lld slices, the first one %lld",
                               stage->node->view.label, i,
                               (long long)tensor->dims[axis], (long long)over->length);
        }
        over->length = tensor->dims[axis];
    }
    return WEFT_OK;
}

static weft_status take_slices(iteration *all, const walk *over, int64_t index,
                               weft_error *error)
{
    for (size_t i = 0; i < over->count; i++) {
        const wefti_value *whole = &over->wholes[i];
        wefti_value *slice = &all->inputs[all->states + i];
        int32_t axis = 0;
        WEFTI_TRY(find_axis(all->stage, &whole->tensor,
                            list_at(all->stage, "scan_input_axes", i), &axis, error));
        bool backwards = list_at(all->stage, "scan_input_directions", i) != 0;
        int64_t at = backwards ? over->length - 1 - index : index;
        wefti_flow_drop(all->flow, slice);
        WEFTI_TRY(take_slice(all->flow, whole, axis, at, slice, error));
    }
    return WEFT_OK;
}

/* A slice of a scan input that has none: its shape is all that is looked at. */
static weft_status take_shapes(iteration *all, const walk *over, weft_error *error)
{
    for (size_t i = 0; i < over->count; i++) {
        const weft_tensor *from = &over->wholes[i].tensor;
        wefti_value *slice = &all->inputs[all->states + i];
        int32_t axis = 0;
        WEFTI_TRY(find_axis(all->stage, from, list_at(all->stage, "scan_input_axes", i),
                            &axis, error));
        int64_t dims[WEFT_MAX_RANK];
        for (int32_t j = 0, k = 0; j < from->rank; j++) {
            if (j != axis) {
                dims[k++] = from->dims[j];
            }
        }
        WEFTI_TRY(
            wefti_flow_new(all->flow, from->type, from->rank - 1, dims, slice, error));
        /* A value input is never larger; what it holds is a part of a plan's key. */
        if (slice->tensor.size_bytes <= WEFTI_MOST_PART_ELEMENTS * sizeof(int64_t)) {
            memset(slice->tensor.data, 0, slice->tensor.size_bytes);
        }
    }
    return gather_nothing(all, error);
}

static weft_status run_scan(iteration *all, const walk *over, weft_error *error)
{
    for (size_t i = 0; i < all->scans; i++) {
        all->gathered[i] = (wefti_gathered){
            .capacity = over->length > 0 ? over->length : 1,
            .axis = (int32_t)list_at(all->stage, "scan_output_axes", i),
            .backwards = list_at(all->stage, "scan_output_directions", i) != 0,
        };
    }
    for (int64_t i = 0; i < over->length; i++) {
        WEFTI_TRY(take_slices(all, over, i, error));
        WEFTI_TRY(iterate(all, error));
    }
    return over->length > 0 ? WEFT_OK : take_shapes(all, over, error);
}

weft_status wefti_flow_scan(wefti_flow *flow, const wefti_stage *stage,
                            const wefti_value *inputs, wefti_value *outputs,
                            weft_error *error)
{
    const wefti_body *body = &stage->bodies[0];
    size_t scan_inputs =
        (size_t)wefti_attribute_int(&stage->node->view, "num_scan_inputs", 0);
    size_t states = stage->own_inputs - scan_inputs;
    iteration all = {
        .flow = flow,
        .stage = stage,
        .body = body,
        .states = states,
        .scans = body->model->net.output_count - states,
        .inputs_own = stage->own_inputs,
    };
    walk over = {.wholes = inputs + states, .count = scan_inputs};
    WEFTI_TRY(find_length(stage, &over, error));
    WEFTI_TRY(open_iteration(&all, inputs + body->first_capture, error));
    for (size_t i = 0; i < states; i++) {
        all.inputs[i] = wefti_flow_keep(&inputs[i]);
    }
    weft_status status = run_scan(&all, &over, error);
    if (status == WEFT_OK) {
        hand_over(&all, outputs);
    }
    close_iteration(&all);
    return status;
}

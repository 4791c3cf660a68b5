/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/rows.h"

#include <string.h>

#include "base/memory.h"
#include "graph/padding.h"
#include "graph/passes.h"
#include "graph/rows_rules.h"
#include "ops/check.h"

/* Walks the net for one row and for many side by side, asks the rules, and at the end
 * compares what both are lowered to. */

/* The shapes of one net written into its inputs. */
static void set_inputs(wefti_net *net, const weft_io *shapes, const int32_t *input_axes,
                       int64_t rows)
{
    for (size_t i = 0; i < net->input_count; i++) {
        const weft_tensor *tensor = &shapes->inputs[i];
        wefti_known *known = &net->values[net->inputs[i]].known;
        *known = (wefti_known){.type = tensor->type, .rank = tensor->rank};
        memcpy(known->dims, tensor->dims, (size_t)tensor->rank * sizeof(int64_t));
        known->dims[input_axes[i]] = rows;
    }
}

static weft_status make_net(const weft_model *model, const weft_io *shapes,
                            const int32_t *input_axes, int64_t rows, wefti_net *net,
                            weft_error *error)
{
    WEFTI_TRY(wefti_net_clone(&model->net, net, error));
    set_inputs(net, shapes, input_axes, rows);
    wefti_evaluator evaluator;
    weft_status status = wefti_evaluator_init(&evaluator, model->cpu, error);
    if (status == WEFT_OK) {
        status = wefti_net_infer(net, &evaluator, error);
        wefti_evaluator_fini(&evaluator);
    }
    if (status != WEFT_OK) {
        wefti_net_destroy(net);
    }
    bool refused = status == WEFT_INVALID_ARGUMENT || status == WEFT_INVALID_MODEL;
    return refused ? wefti_error_prefix(error, WEFT_UNSUPPORTED, "with %lld row%s",
                                        (long long)rows, rows == 1 ? "" : "s")
                   : status;
}

static void start(wefti_rows_analysis *all, const int32_t *input_axes)
{
    for (size_t i = 0; i < all->many->input_count; i++) {
        all->values[all->many->inputs[i]] =
            (wefti_rows){WEFTI_ROWS_ALONG, input_axes[i], 1};
    }
}

/* Where a node's inputs stand: whether rows have a part in any, and how they lie. */
static bool look_at_inputs(wefti_rows_node *at)
{
    bool same = true;
    at->outer = 0;
    for (size_t i = 0; i < at->node->view.input_count; i++) {
        if (!wefti_rows_present(at, i)) {
            continue;
        }
        const wefti_rows *rows = wefti_rows_of(at->all, at->node->inputs[i]);
        same = same && rows->kind == WEFTI_ROWS_SAME;
        if (rows->kind == WEFTI_ROWS_ALONG && at->outer == 0) {
            at->outer = rows->outer;
        }
    }
    at->outer = at->outer == 0 ? 1 : at->outer;
    return same;
}

/* Whether all outputs are of the same shapes in both nets. */
static bool outputs_same(const wefti_rows_node *at)
{
    for (size_t i = 0; i < at->node->view.output_count; i++) {
        int32_t value = at->node->outputs[i];
        if (value >= 0 && !wefti_same_shape(&at->all->one->values[value].known,
                                            &at->all->many->values[value].known)) {
            return false;
        }
    }
    return true;
}

static weft_status no_axis(const wefti_rows_node *at, weft_error *error)
{
    const wefti_known *one = &at->all->one->values[at->output].known;
    const wefti_known *many = &at->all->many->values[at->output].known;
    wefti_shape_text first, second;
    return wefti_error(
        error, WEFT_UNSUPPORTED,
        "%s mixes the rows of a batch: its result is %s for one row and %s for %lld",
        at->node->view.label, wefti_shape_write(one->rank, one->dims, &first),
        wefti_shape_write(many->rank, many->dims, &second), (long long)at->all->count);
}

/* Asks the rule, and checks that the shapes of all outputs are as it says. */
static weft_status apply_rule(wefti_rows_node *at, weft_error *error)
{
    const wefti_rows_analysis *all = at->all;
    at->axis = wefti_rows_axis(&all->one->values[at->output].known,
                               &all->many->values[at->output].known, all->count);
    wefti_rows_rule rule = wefti_rows_find_rule(at->node->op);
    if (rule == NULL) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: nothing is known about how it treats the rows of a "
                           "batch",
                           at->node->view.label);
    }
    if (at->axis < 0) {
        return no_axis(at, error);
    }
    wefti_rows rows = {WEFTI_ROWS_ALONG, at->axis, at->outer};
    WEFTI_TRY(rule(at, &rows.outer, error));
    for (size_t i = 0; i < at->node->view.output_count; i++) {
        int32_t value = at->node->outputs[i];
        if (value < 0) {
            continue;
        }
        at->output = value;
        const wefti_known *one = &all->one->values[value].known;
        int32_t axis =
            wefti_rows_axis(one, &all->many->values[value].known, all->count);
        if (axis >= 0 && axis != rows.axis && rule == wefti_rows_recurrent) {
            /* All times have a dimension that the last state lacks. */
            rows.axis = at->axis = axis;
            WEFTI_TRY(rule(at, &rows.outer, error));
        }
        if (axis != rows.axis || one->dims[rows.axis] % rows.outer != 0) {
            return no_axis(at, error);
        }
        all->values[value] = rows;
    }
    return WEFT_OK;
}

static weft_status visit(const wefti_rows_analysis *all, const wefti_net_node *node,
                         weft_error *error)
{
    wefti_rows_node at = {.all = all, .node = node, .output = -1};
    bool folded = true;
    for (size_t i = node->view.output_count; i-- > 0;) {
        int32_t value = node->outputs[i];
        if (value >= 0) {
            at.output = value;
            folded = folded && all->one->values[value].known.constant != NULL &&
                     all->many->values[value].known.constant != NULL;
        }
    }
    if (folded) {
        return WEFT_OK; /* wefti_rows_of compares them when they are used */
    }
    if (look_at_inputs(&at) && outputs_same(&at)) {
        for (size_t i = 0; i < node->view.output_count; i++) {
            if (node->outputs[i] >= 0) {
                all->values[node->outputs[i]].kind = WEFTI_ROWS_SAME;
            }
        }
        return WEFT_OK;
    }
    return apply_rule(&at, error);
}

static weft_status walk(const wefti_rows_analysis *all, weft_error *error)
{
    const wefti_net_node *one = all->one->first;
    const wefti_net_node *many = all->many->first;
    for (; one != NULL && many != NULL; one = one->next, many = many->next) {
        if (!one->dead || !many->dead) {
            WEFTI_TRY(visit(all, many, error));
        }
    }
    return WEFT_OK;
}

static weft_status find_outputs(const wefti_rows_analysis *all, const weft_model *model,
                                int32_t *output_axes, weft_error *error)
{
    for (size_t i = 0; i < all->many->output_count; i++) {
        int32_t value = all->many->outputs[i];
        const wefti_known *one = &all->one->values[value].known;
        const wefti_known *many = &all->many->values[value].known;
        const wefti_rows *rows = wefti_rows_of(all, value);
        int32_t axis = wefti_rows_axis(one, many, all->count);
        bool apart = rows->kind == WEFTI_ROWS_VARIED
                         ? axis >= 0 && wefti_rows_repeat(all, value, axis, 1)
                         : rows->kind == WEFTI_ROWS_ALONG && rows->outer == 1;
        if (!apart) {
            return wefti_error(
                error, WEFT_UNSUPPORTED,
                rows->kind == WEFTI_ROWS_SAME
                    ? "output '%s' does not depend on the rows of a batch"
                    : "output '%s' has the rows of a batch interleaved",
                model->outputs[i].name);
        }
        output_axes[i] = axis;
    }
    return WEFT_OK;
}

static weft_status lower(const weft_model *model, wefti_net *net,
                         wefti_program *program, weft_error *error)
{
    if (!model->no_fusion) {
        WEFTI_TRY(wefti_net_fuse(net, error));
    }
    return wefti_net_lower(net, program, error);
}

/* Fuses and lowers both as plans are and compares the steps. Products of bytes are
 * looked at as those of f32 that stand for them: both are exact. */
static weft_status compare_plans(const weft_model *model, wefti_net *one,
                                 wefti_net *many, weft_error *error)
{
    wefti_program programs[2];
    wefti_program_init(&programs[0]);
    wefti_program_init(&programs[1]);
    weft_status status = lower(model, one, &programs[0], error);
    if (status == WEFT_OK) {
        status = lower(model, many, &programs[1], error);
    }
    if (status == WEFT_OK) {
        status = wefti_rows_compare(&programs[0], &programs[1], error);
    }
    wefti_program_fini(&programs[0]);
    wefti_program_fini(&programs[1]);
    return status;
}

static weft_status analyse(const weft_model *model, const int32_t *input_axes,
                           int32_t *output_axes, wefti_net *one, wefti_net *many,
                           weft_error *error)
{
    int64_t count = many->values[many->inputs[0]].known.dims[input_axes[0]];
    wefti_rows_analysis all = {.one = one, .many = many, .count = count};
    all.values = wefti_calloc(many->value_count, sizeof(*all.values));
    if (all.values == NULL) {
        return wefti_error_memory(error, "the rows of a batch");
    }
    start(&all, input_axes);
    weft_status status = walk(&all, error);
    if (status == WEFT_OK) {
        status = find_outputs(&all, model, output_axes, error);
    }
    wefti_free(all.values);
    return status == WEFT_OK ? compare_plans(model, one, many, error) : status;
}

/* The number of rows, the same in every input. */
static weft_status count_rows(const weft_model *model, const weft_io *shapes,
                              const int32_t *input_axes, int64_t *rows,
                              weft_error *error)
{
    if (shapes->input_count != model->net.input_count || shapes->input_count == 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the shapes are of %zu inputs, the model has %zu",
                           shapes->input_count, model->net.input_count);
    }
    WEFTI_TRY(wefti_model_check_inputs(model, shapes, error));
    *rows = -1;
    for (size_t i = 0; i < shapes->input_count; i++) {
        const weft_tensor *tensor = &shapes->inputs[i];
        int32_t axis = input_axes[i];
        bool there = axis >= 0 && axis < tensor->rank && tensor->dims[axis] > 0;
        if (!there || (*rows >= 0 && *rows != tensor->dims[axis])) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               there ? "input '%s' does not have as many rows along "
                                       "axis %d as the others"
                                     : "input '%s' has no rows along axis %d",
                               model->inputs[i].name, (int)axis);
        }
        *rows = tensor->dims[axis];
    }
    return WEFT_OK;
}

/* Rows are joined by the queue, which pads them itself. */
static weft_status refuse_bucket(const weft_model *model, const int32_t *input_axes,
                                 weft_error *error)
{
    for (size_t i = 0; i < model->net.input_count; i++) {
        int32_t bucket = model->buckets->inputs[i].buckets[input_axes[i]];
        if (bucket >= 0) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "the rows of input '%s' lie along '%s', whose sizes are "
                               "rounded up to buckets",
                               model->inputs[i].name,
                               model->buckets->buckets[bucket].name);
        }
    }
    return WEFT_OK;
}

/* `shapes` are as they are planned. */
static weft_status check_rows(weft_model *model, const weft_io *shapes,
                              const int32_t *input_axes, int32_t *output_axes,
                              weft_error *error)
{
    int64_t rows = 0;
    WEFTI_TRY(count_rows(model, shapes, input_axes, &rows, error));
    rows = rows < 2 ? 2 : rows;
    wefti_net one, many;
    WEFTI_TRY(make_net(model, shapes, input_axes, 1, &one, error));
    weft_status status = make_net(model, shapes, input_axes, rows, &many, error);
    if (status == WEFT_OK) {
        status = analyse(model, input_axes, output_axes, &one, &many, error);
        wefti_net_destroy(&many);
    }
    wefti_net_destroy(&one);
    return status;
}

weft_status wefti_model_check_rows(weft_model *model, const weft_io *shapes,
                                   const int32_t *input_axes, int32_t *output_axes,
                                   weft_error *error)
{
    if (model->buckets == NULL || shapes->input_count != model->net.input_count) {
        return check_rows(model, shapes, input_axes, output_axes, error);
    }
    wefti_padding padding;
    weft_status status = wefti_padding_init(&padding, model, shapes, error);
    if (status == WEFT_OK) {
        status = check_rows(model, &padding.io, input_axes, output_axes, error);
    }
    if (status == WEFT_OK) {
        status = refuse_bucket(model, input_axes, error);
    }
    wefti_padding_fini(&padding);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

typedef enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP } pad_mode;

typedef struct pad_amounts {
    pad_mode mode;
    int64_t begin[WEFT_MAX_RANK], end[WEFT_MAX_RANK];
} pad_amounts;

static weft_status read_mode(const wefti_node_view *node, pad_mode *mode,
                             weft_error *error)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    const char *given = wefti_attribute_string(node, "mode", "constant");
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        if (strcmp(names[i], given) == 0) {
            *mode = (pad_mode)i;
            return WEFT_OK;
        }
    }
    return wefti_error(error, WEFT_INVALID_MODEL,
                       "%s: mode is \"%s\"; expected constant, reflect, edge or wrap",
                       node->label, given);
}

/* What the mode needs of a dim: something to repeat, and enough of it. */
static weft_status check_amounts(const wefti_node_view *node, const pad_amounts *pads,
                                 int64_t i, int64_t dim, weft_error *error)
{
    pad_mode mode = pads->mode;
    int64_t begin = pads->begin[i], end = pads->end[i];
    int64_t most = mode == PAD_REFLECT ? dim - 1 : mode == PAD_WRAP ? dim : INT64_MAX;
    bool grows = begin > 0 || end > 0;
    if (mode != PAD_CONSTANT && grows && (dim == 0 || begin > most || end > most)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: dimension %d of %lld is too small to be padded by "
                           "%lld and %lld in this mode",
                           node->label, (int)i, (long long)dim, (long long)begin,
                           (long long)end);
    }
    if (begin < -dim || end < -dim) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: pads of %lld and %lld cut more than dimension %d of "
                           "%lld has",
                           node->label, (long long)begin, (long long)end, (int)i,
                           (long long)dim);
    }
    if (mode != PAD_CONSTANT && (begin < 0 || end < 0)) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: negative pads are supported in constant mode only",
                           node->label);
    }
    return WEFT_OK;
}

static weft_status read_amounts(const wefti_node_view *node, const wefti_known *inputs,
                                pad_amounts *pads, weft_error *error)
{
    *pads = (pad_amounts){0};
    WEFTI_TRY(read_mode(node, &pads->mode, error));
    int64_t values[2 * WEFT_MAX_RANK];
    int64_t axes[WEFT_MAX_RANK];
    bool selected[WEFT_MAX_RANK];
    size_t value_count = 0;
    size_t axis_count = (size_t)inputs[0].rank;
    for (size_t i = 0; i < axis_count; i++) {
        axes[i] = (int64_t)i;
    }
    WEFTI_TRY(wefti_check_integers(node, inputs, 1,
                                   (wefti_integer_room){values, 2 * WEFT_MAX_RANK},
                                   &value_count, error));
    if (wefti_known_present(node, inputs, 3)) {
        WEFTI_TRY(wefti_check_integers(node, inputs, 3,
                                       (wefti_integer_room){axes, WEFT_MAX_RANK},
                                       &axis_count, error));
    }
    WEFTI_TRY(
        wefti_check_axes(node, axes, axis_count, inputs[0].rank, selected, error));
    if (value_count != 2 * axis_count) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: pads has %zu values, expected two for each of %zu "
                           "dimensions",
                           node->label, value_count, axis_count);
    }
    for (size_t i = 0; i < axis_count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + inputs[0].rank : axes[i];
        pads->begin[axis] = values[i];
        pads->end[axis] = values[axis_count + i];
        WEFTI_TRY(check_amounts(node, pads, axis, inputs[0].dims[axis], error));
    }
    return WEFT_OK;
}

weft_status wefti_infer_pad(const wefti_node_view *node, const wefti_known *inputs,
                            wefti_known *outputs, weft_error *error)
{
    pad_amounts pads;
    int64_t dims[WEFT_MAX_RANK];
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_ANY, error));
    WEFTI_TRY(read_amounts(node, inputs, &pads, error));
    if (wefti_known_present(node, inputs, 2)) {
        WEFTI_TRY(
            wefti_check_type(node, inputs, 2, WEFTI_TYPE_SET(inputs[0].type), error));
        if (wefti_known_element_count(&inputs[2]) != 1) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: constant_value (input 2) must hold one element",
                               node->label);
        }
    }
    for (int32_t i = 0; i < inputs[0].rank; i++) {
        if (WEFTI_ADD_OVERFLOWS(inputs[0].dims[i], pads.begin[i], &dims[i]) ||
            WEFTI_ADD_OVERFLOWS(dims[i], pads.end[i], &dims[i]) || dims[i] < 0) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: padding dimension %d of %lld by %lld and %lld "
                               "leaves no valid size",
                               node->label, (int)i, (long long)inputs[0].dims[i],
                               (long long)pads.begin[i], (long long)pads.end[i]);
        }
    }
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){inputs[0].type, inputs[0].rank, dims}, error);
}

/* Narrows `view` to [start, start + count) of a dim. */
static void narrow(wefti_view *view, int32_t axis, int64_t start, int64_t count)
{
    view->offset_bytes +=
        start * view->strides[axis] * (int64_t)weft_type_size(view->type);
    view->dims[axis] = count;
}

static weft_status fill_value(wefti_lowering *lowering, const wefti_view *output)
{
    wefti_view value = wefti_lower_input(lowering, 2);
    if (!wefti_view_present(&value)) {
        return wefti_lower_fill(lowering, output, 0);
    }
    value.rank = 0;
    wefti_view_broadcast(&value, output->rank, output->dims);
    return wefti_lower_copy(lowering, &value, output);
}

static weft_status lower_constant_pad(wefti_lowering *lowering, const pad_amounts *pads)
{
    wefti_view source = lowering->inputs[0];
    wefti_view target = lowering->outputs[0];
    bool covers = true;
    for (int32_t i = 0; i < source.rank; i++) {
        int64_t begin = pads->begin[i];
        int64_t skipped = begin < 0 ? -begin : 0;
        int64_t offset = begin > 0 ? begin : 0;
        int64_t left = source.dims[i] - skipped;
        int64_t room = target.dims[i] - offset;
        int64_t count = left < room ? left : room;
        covers = covers && begin <= 0 && pads->end[i] <= 0;
        narrow(&source, i, count > 0 ? skipped : 0, count > 0 ? count : 0);
        narrow(&target, i, count > 0 ? offset : 0, count > 0 ? count : 0);
    }
    if (!covers) {
        WEFTI_TRY(fill_value(lowering, &lowering->outputs[0]));
    }
    return wefti_lower_copy(lowering, &source, &target);
}

/* Where one stretch of a padded dim comes from. */
typedef struct pad_stretch {
    int64_t target_start, count, source_start, source_step;
} pad_stretch;

/* The stretches before, inside and after the input's own elements. */
static void cut_stretches(const pad_amounts *pads, int32_t axis, int64_t dim,
                          pad_stretch *stretches)
{
    int64_t begin = pads->begin[axis];
    int64_t end = pads->end[axis];
    stretches[0] = (pad_stretch){0, begin, 0, 0};
    stretches[1] = (pad_stretch){begin, dim, 0, 1};
    stretches[2] = (pad_stretch){begin + dim, end, dim - 1, 0};
    if (pads->mode == PAD_REFLECT) {
        stretches[0].source_start = begin;
        stretches[2].source_start = dim - 2;
        stretches[0].source_step = stretches[2].source_step = -1;
    } else if (pads->mode == PAD_WRAP) {
        stretches[0].source_start = dim - begin;
        stretches[2].source_start = 0;
        stretches[0].source_step = stretches[2].source_step = 1;
    }
}

/* Pads one dim of `source` into `target`: a copy for each stretch. */
static weft_status lower_axis(wefti_lowering *lowering, const pad_amounts *pads,
                              int32_t axis, const wefti_view *source,
                              const wefti_view *target)
{
    pad_stretch stretches[3];
    cut_stretches(pads, axis, source->dims[axis], stretches);
    for (size_t i = 0; i < 3; i++) {
        if (stretches[i].count == 0) {
            continue;
        }
        wefti_view from = *source;
        wefti_view to = *target;
        narrow(&from, axis, stretches[i].source_start, stretches[i].count);
        narrow(&to, axis, stretches[i].target_start, stretches[i].count);
        from.strides[axis] *= stretches[i].source_step;
        WEFTI_TRY(wefti_lower_copy(lowering, &from, &to));
    }
    return WEFT_OK;
}

/* Dim by dim, from the last: each repeats what the ones before have made. */
static weft_status lower_repeating_pad(wefti_lowering *lowering,
                                       const pad_amounts *pads)
{
    wefti_view source = lowering->inputs[0];
    int32_t first = source.rank;
    for (int32_t i = source.rank - 1; i >= 0; i--) {
        first = pads->begin[i] > 0 || pads->end[i] > 0 ? i : first;
    }
    if (first == source.rank) {
        return wefti_lower_alias(lowering, 0, &source);
    }
    for (int32_t i = source.rank - 1; i >= first; i--) {
        if (pads->begin[i] == 0 && pads->end[i] == 0) {
            continue;
        }
        wefti_view target = source;
        target.dims[i] += pads->begin[i] + pads->end[i];
        if (i == first) {
            target = lowering->outputs[0];
        } else {
            WEFTI_TRY(wefti_lower_temporary(lowering, target.type, target.rank,
                                            target.dims, &target));
        }
        WEFTI_TRY(lower_axis(lowering, pads, i, &source, &target));
        source = target;
    }
    return WEFT_OK;
}

weft_status wefti_lower_pad_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    pad_amounts pads;
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    WEFTI_TRY(
        read_amounts(lowering->node, lowering->known_inputs, &pads, lowering->error));
    return pads.mode == PAD_CONSTANT ? lower_constant_pad(lowering, &pads)
                                     : lower_repeating_pad(lowering, &pads);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/rows_rules.h"
#include "ops/check.h"
#include "ops/resize.h"

/* Rules of operators that treat each element of a batch alone, and of those that work
 * along one axis or by indices. */

static weft_status expect_axis(const wefti_rows_node *at, int32_t axis,
                               weft_error *error)
{
    return at->axis == axis
               ? WEFT_OK
               : wefti_rows_refuse(at, "they are not along the axis of its batch",
                                   error);
}

/* The input's dimension is the result's, so that it has the rows itself and does not
 * repeat over them. */
static weft_status expect_own(const wefti_rows_node *at, size_t input, int32_t axis,
                              weft_error *error)
{
    const wefti_known *many = wefti_rows_many(at, input);
    const wefti_known *result = &at->all->many->values[at->output].known;
    if (axis >= many->rank || many->dims[axis] != result->dims[at->axis]) {
        return wefti_rows_refuse(at, "an operand has other rows than its result",
                                 error);
    }
    return wefti_rows_expect(at, input, axis, error);
}

/* Axis 0 is that of independent elements in every input that has them. */
weft_status wefti_rows_batch(const wefti_rows_node *at, int64_t *outer,
                             weft_error *error)
{
    (void)outer;
    WEFTI_TRY(expect_axis(at, 0, error));
    for (size_t i = 0; i < at->node->view.input_count; i++) {
        WEFTI_TRY(wefti_rows_expect(at, i, 0, error));
    }
    return WEFT_OK;
}

/* A table for all, from which each row's own indices (input 3) pick the angles; without
 * indices each row has angles of its own, or one table stands for all. */
weft_status wefti_rows_rotary(const wefti_rows_node *at, int64_t *outer,
                              weft_error *error)
{
    (void)outer;
    enum { X, COSINES, SINES, POSITIONS };
    const wefti_known *table = wefti_rows_many(at, COSINES);
    bool shared = wefti_rows_present(at, POSITIONS) ||
                  table->dims[0] != wefti_rows_many(at, X)->dims[0];
    int32_t angles = shared ? -1 : 0;
    WEFTI_TRY(expect_axis(at, 0, error));
    WEFTI_TRY(wefti_rows_expect(at, X, 0, error));
    WEFTI_TRY(wefti_rows_expect(at, COSINES, angles, error));
    WEFTI_TRY(wefti_rows_expect(at, SINES, angles, error));
    return wefti_rows_expect(at, POSITIONS, 0, error);
}

/* One kernel and bias for all, and a state for each row. */
weft_status wefti_rows_causal_conv(const wefti_rows_node *at, int64_t *outer,
                                   weft_error *error)
{
    (void)outer;
    enum { X, W, BIAS, STATE };
    WEFTI_TRY(expect_axis(at, 0, error));
    WEFTI_TRY(wefti_rows_expect(at, X, 0, error));
    WEFTI_TRY(wefti_rows_expect(at, W, -1, error));
    WEFTI_TRY(wefti_rows_expect(at, BIAS, -1, error));
    return wefti_rows_expect(at, STATE, 0, error);
}

static weft_status refuse_resampling(const wefti_rows_node *at, weft_error *error)
{
    enum { INPUTS = 4 };
    wefti_known inputs[INPUTS] = {{.type = WEFT_TYPE_NONE}};
    wefti_resize_plan plan;
    for (size_t i = 0; i < INPUTS; i++) {
        if (wefti_rows_present(at, i)) {
            inputs[i] = *wefti_rows_many(at, i);
        }
    }
    WEFTI_TRY(wefti_resize_read(&at->node->view, inputs, &plan, error));
    return plan.axes[0].same ? WEFT_OK
                             : wefti_rows_refuse(at, "it resizes along them", error);
}

/* The scale is an attribute of opset 7 and a constant later. */
static weft_status refuse_upsampling(const wefti_rows_node *at, weft_error *error)
{
    size_t count = 0;
    const float *scales = wefti_attribute_floats(&at->node->view, "scales", &count);
    if (wefti_rows_present(at, 1)) {
        const wefti_known *given = wefti_rows_many(at, 1);
        bool readable = given->type == WEFT_TYPE_F32 && given->constant != NULL;
        scales = readable ? given->constant : NULL;
        count = readable ? (size_t)wefti_known_element_count(given) : 0;
    }
    return count > 0 && scales[0] == 1.0F
               ? WEFT_OK
               : wefti_rows_refuse(at, "it resizes along them", error);
}

/* As a convolution, with sizes that leave the images alone: a scale like 1.2 resamples
 * a few rows into as many. */
weft_status wefti_rows_resize(const wefti_rows_node *at, int64_t *outer,
                              weft_error *error)
{
    WEFTI_TRY(wefti_rows_conv(at, outer, error));
    WEFTI_TRY(expect_own(at, 0, 0, error));
    return strcmp(at->node->op->name, "Upsample") == 0 ? refuse_upsampling(at, error)
                                                       : refuse_resampling(at, error);
}

/* The axis that the operator works along. */
static int64_t working_axis(const wefti_rows_node *at)
{
    const wefti_node_view *node = &at->node->view;
    const char *name = at->node->op->name;
    bool sums = strncmp(name, "Cum", 3) == 0;
    if (sums) {
        return wefti_known_integer(wefti_rows_many(at, 1), 0);
    }
    if (strcmp(name, "DFT") == 0 && node->opset >= 20) {
        return wefti_rows_present(at, 2)
                   ? wefti_known_integer(wefti_rows_many(at, 2), 0)
                   : -2;
    }
    bool first = strstr(name, "Elements") || strcmp(name, "Scatter") == 0;
    int64_t otherwise = first ? 0 : (strcmp(name, "DFT") == 0 ? 1 : -1);
    return wefti_attribute_int(node, "axis", otherwise);
}

static weft_status refuse_axis(const wefti_rows_node *at, weft_error *error)
{
    int64_t axis = working_axis(at);
    axis += axis < 0 ? wefti_rows_many(at, 0)->rank : 0;
    return axis == at->axis ? wefti_rows_refuse(at, "it runs along them", error)
                            : WEFT_OK;
}

/* Lines along another axis; what else it reads is the same for all. */
weft_status wefti_rows_lines(const wefti_rows_node *at, int64_t *outer,
                             weft_error *error)
{
    (void)outer;
    WEFTI_TRY(wefti_rows_expect_same(at, 1, error));
    WEFTI_TRY(refuse_axis(at, error));
    return expect_own(at, 0, at->axis, error);
}

/* Data, indices and updates of each row. */
weft_status wefti_rows_elements(const wefti_rows_node *at, int64_t *outer,
                                weft_error *error)
{
    (void)outer;
    WEFTI_TRY(refuse_axis(at, error));
    for (size_t i = 0; i < at->node->view.input_count; i++) {
        WEFTI_TRY(expect_own(at, i, at->axis, error));
    }
    return WEFT_OK;
}

/* Each row's own data where the batch dims say so, else a table for all. */
weft_status wefti_rows_gather_nd(const wefti_rows_node *at, int64_t *outer,
                                 weft_error *error)
{
    (void)outer;
    enum { DATA, INDICES };
    bool own = at->axis < wefti_attribute_int(&at->node->view, "batch_dims", 0);
    if (!own && at->axis >= wefti_rows_many(at, INDICES)->rank - 1) {
        return wefti_rows_refuse(at, "they are not along its indices", error);
    }
    WEFTI_TRY(wefti_rows_expect(at, DATA, own ? at->axis : -1, error));
    return expect_own(at, INDICES, at->axis, error);
}

weft_status wefti_rows_reverse_sequence(const wefti_rows_node *at, int64_t *outer,
                                        weft_error *error)
{
    (void)outer;
    int64_t batch = wefti_attribute_int(&at->node->view, "batch_axis", 1);
    WEFTI_TRY(expect_axis(at, (int32_t)batch, error));
    WEFTI_TRY(wefti_rows_expect(at, 0, at->axis, error));
    return expect_own(at, 1, 0, error);
}

/* With zero points that are the same for all. */
weft_status wefti_rows_matmul_integer(const wefti_rows_node *at, int64_t *outer,
                                      weft_error *error)
{
    WEFTI_TRY(wefti_rows_expect_same(at, 2, error));
    return wefti_rows_matmul(at, outer, error);
}

/* RNN, GRU and LSTM: the batch is an axis of X, of the states and of each output. */
weft_status wefti_rows_recurrent(const wefti_rows_node *at, int64_t *outer,
                                 weft_error *error)
{
    (void)outer;
    enum { X, B = 3, LENGTHS, INITIAL_H, INITIAL_C, PEEPHOLES };
    bool batch_first = wefti_attribute_int(&at->node->view, "layout", 0) != 0;
    int32_t rank = at->all->many->values[at->output].known.rank;
    WEFTI_TRY(expect_axis(at, batch_first ? 0 : rank - 2, error));
    for (size_t i = 0; i < at->node->view.input_count; i++) {
        bool state = i == X || i == INITIAL_H || i == INITIAL_C;
        int32_t axis = state ? (batch_first ? 0 : 1) : (i == LENGTHS ? 0 : -1);
        if (wefti_rows_present(at, i)) {
            WEFTI_TRY(wefti_rows_expect(at, i, axis, error));
        }
    }
    return WEFT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/passes.h"
#include "graph/rows_rules.h"

/* Where the rows are in single values, and what rules ask about them. */

int32_t wefti_rows_axis(const wefti_known *one, const wefti_known *many, int64_t count)
{
    int32_t axis = -1;
    if (one->type != many->type || one->rank != many->rank) {
        return -1;
    }
    for (int32_t i = 0; i < one->rank; i++) {
        if (one->dims[i] == many->dims[i]) {
            continue;
        }
        if (axis >= 0 || many->dims[i] % count != 0 ||
            many->dims[i] / count != one->dims[i]) {
            return -1;
        }
        axis = i;
    }
    return axis;
}

static bool same_constant(const wefti_known *one, const wefti_known *many)
{
    return wefti_same_shape(one, many) &&
           (one->constant == many->constant ||
            memcmp(one->constant, many->constant, wefti_known_bytes(one)) == 0);
}

const wefti_rows *wefti_rows_of(const wefti_rows_analysis *all, int32_t value)
{
    wefti_rows *rows = &all->values[value];
    if (rows->kind == WEFTI_ROWS_UNKNOWN) {
        const wefti_known *one = &all->one->values[value].known;
        const wefti_known *many = &all->many->values[value].known;
        bool same =
            one->constant != NULL && many->constant != NULL && same_constant(one, many);
        rows->kind = same ? WEFTI_ROWS_SAME : WEFTI_ROWS_VARIED;
    }
    return rows;
}

/* Elements of a known value before an axis. */
static int64_t count_before(const wefti_known *known, int32_t axis)
{
    int64_t count = 1;
    for (int32_t i = 0; i < axis; i++) {
        count *= known->dims[i];
    }
    return count;
}

bool wefti_rows_repeat(const wefti_rows_analysis *all, int32_t value, int32_t axis,
                       int64_t outer)
{
    const wefti_known *one = &all->one->values[value].known;
    const wefti_known *many = &all->many->values[value].known;
    if (one->constant == NULL || many->constant == NULL ||
        wefti_rows_axis(one, many, all->count) != axis ||
        one->dims[axis] % outer != 0) {
        return false;
    }
    int64_t blocks = count_before(one, axis) * outer;
    if (blocks == 0) {
        return true; /* no elements */
    }
    size_t block_bytes = wefti_known_bytes(one) / (size_t)blocks;
    const char *source = one->constant, *target = many->constant;
    for (int64_t i = 0; i < blocks; i++, source += block_bytes) {
        for (int64_t j = 0; j < all->count; j++, target += block_bytes) {
            if (memcmp(source, target, block_bytes) != 0) {
                return false;
            }
        }
    }
    return true;
}

bool wefti_rows_present(const wefti_rows_node *at, size_t input)
{
    return input < at->node->view.input_count && at->node->inputs[input] >= 0;
}

const wefti_known *wefti_rows_one(const wefti_rows_node *at, size_t input)
{
    return &at->all->one->values[at->node->inputs[input]].known;
}

const wefti_known *wefti_rows_many(const wefti_rows_node *at, size_t input)
{
    return &at->all->many->values[at->node->inputs[input]].known;
}

weft_status wefti_rows_refuse(const wefti_rows_node *at, const char *why,
                              weft_error *error)
{
    return wefti_error(error, WEFT_UNSUPPORTED, "%s mixes the rows of a batch: %s",
                       at->node->view.label, why);
}

static weft_status refuse_input(const wefti_rows_node *at, size_t input,
                                weft_error *error)
{
    int32_t value = at->node->inputs[input];
    bool varied = wefti_rows_of(at->all, value)->kind == WEFTI_ROWS_VARIED;
    return wefti_error(error, WEFT_UNSUPPORTED,
                       varied
                           ? "%s mixes the rows of a batch: input %zu, '%s', depends "
                             "on how many there are"
                           : "%s mixes the rows of a batch: those of input %zu, "
                             "'%s', do not meet those of its result",
                       at->node->view.label, input, at->all->many->values[value].name);
}

/* One input is the same for all rows. */
static weft_status expect_same_one(const wefti_rows_node *at, size_t input,
                                   weft_error *error)
{
    if (!wefti_rows_present(at, input) ||
        wefti_rows_of(at->all, at->node->inputs[input])->kind == WEFTI_ROWS_SAME) {
        return WEFT_OK;
    }
    return refuse_input(at, input, error);
}

weft_status wefti_rows_expect_same(const wefti_rows_node *at, size_t first,
                                   weft_error *error)
{
    for (size_t i = first; i < at->node->view.input_count; i++) {
        WEFTI_TRY(expect_same_one(at, i, error));
    }
    return WEFT_OK;
}

weft_status wefti_rows_expect(const wefti_rows_node *at, size_t input, int32_t axis,
                              weft_error *error)
{
    if (!wefti_rows_present(at, input)) {
        return WEFT_OK;
    }
    if (axis < 0 || wefti_rows_many(at, input)->dims[axis] == 1) {
        return expect_same_one(at, input, error);
    }
    int32_t value = at->node->inputs[input];
    const wefti_rows *rows = wefti_rows_of(at->all, value);
    bool meets = rows->kind == WEFTI_ROWS_VARIED
                     ? wefti_rows_repeat(at->all, value, axis, at->outer)
                     : rows->kind == WEFTI_ROWS_ALONG && rows->axis == axis &&
                           rows->outer == at->outer;
    return meets ? WEFT_OK : refuse_input(at, input, error);
}

weft_status wefti_rows_expect_any(const wefti_rows_node *at, size_t input,
                                  wefti_rows *rows, weft_error *error)
{
    int32_t value = at->node->inputs[input];
    *rows = *wefti_rows_of(at->all, value);
    if (rows->kind == WEFTI_ROWS_VARIED) {
        int32_t axis = wefti_rows_axis(wefti_rows_one(at, input),
                                       wefti_rows_many(at, input), at->all->count);
        if (axis >= 0 && wefti_rows_repeat(at->all, value, axis, at->outer)) {
            *rows = (wefti_rows){WEFTI_ROWS_ALONG, axis, at->outer};
        }
    }
    return rows->kind == WEFTI_ROWS_ALONG ? WEFT_OK : refuse_input(at, input, error);
}

int32_t wefti_rows_axis_attribute(const wefti_rows_node *at, int32_t otherwise,
                                  int32_t rank)
{
    int64_t axis = wefti_attribute_int(&at->node->view, "axis", otherwise);
    return (int32_t)(axis < 0 ? axis + rank : axis);
}

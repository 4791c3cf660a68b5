/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/rows_rules.h"
#include "ops/check.h"

/* Rules of operators that move elements. */

static const wefti_known *result_one(const wefti_rows_node *at)
{
    return &at->all->one->values[at->output].known;
}

static const wefti_known *result_many(const wefti_rows_node *at)
{
    return &at->all->many->values[at->output].known;
}

static int64_t count_before(const wefti_known *known, int32_t axis)
{
    int64_t count = 1;
    for (int32_t i = 0; i < axis; i++) {
        count *= known->dims[i];
    }
    return count;
}

/* In order the elements are [before, rows, after]: the new shape must cut them at the
 * same places, so `before` must be what stands before the new axis times a part of it.
 */
weft_status wefti_rows_reshape(const wefti_rows_node *at, int64_t *outer,
                               weft_error *error)
{
    wefti_rows rows;
    WEFTI_TRY(wefti_rows_expect_any(at, 0, &rows, error));
    int64_t before = count_before(wefti_rows_one(at, 0), rows.axis) * rows.outer;
    int64_t outside = count_before(result_one(at), at->axis);
    bool whole = before > 0 && outside > 0 && before % outside == 0;
    *outer = whole ? before / outside : 1;
    if (!whole || result_one(at)->dims[at->axis] % *outer != 0) {
        return wefti_rows_refuse(at, "the new shape cuts through them", error);
    }
    return WEFT_OK;
}

/* The only dim of the result that grows is the only one of the input that does. */
weft_status wefti_rows_transpose(const wefti_rows_node *at, int64_t *outer,
                                 weft_error *error)
{
    (void)outer;
    wefti_rows rows;
    return wefti_rows_expect_any(at, 0, &rows, error);
}

weft_status wefti_rows_concat(const wefti_rows_node *at, int64_t *outer,
                              weft_error *error)
{
    (void)outer;
    size_t count = at->node->view.input_count;
    if (count > 1 &&
        at->axis == wefti_rows_axis_attribute(at, 0, result_many(at)->rank)) {
        return wefti_rows_refuse(at, "it joins along them", error);
    }
    for (size_t i = 0; i < count; i++) {
        WEFTI_TRY(wefti_rows_expect(at, i, at->axis, error));
    }
    return WEFT_OK;
}

/* The sizes of the parts show in the shapes of the outputs. */
weft_status wefti_rows_split(const wefti_rows_node *at, int64_t *outer,
                             weft_error *error)
{
    (void)outer;
    if (at->axis == wefti_rows_axis_attribute(at, 0, result_many(at)->rank)) {
        return wefti_rows_refuse(at, "it splits them", error);
    }
    return wefti_rows_expect(at, 0, at->axis, error);
}

/* Integer i of a constant list in both nets; false when they differ. */
static bool same_integer(const wefti_rows_node *at, size_t input, int64_t i,
                         int64_t *value)
{
    *value = wefti_known_integer(wefti_rows_many(at, input), i);
    return wefti_known_integer(wefti_rows_one(at, input), i) == *value;
}

/* The axis that entry i of a list is about; entry i is axis i when the input `axes` is
 * absent. */
static int32_t listed_axis(const wefti_rows_node *at, size_t axes, int64_t i)
{
    int64_t axis = wefti_rows_present(at, axes)
                       ? wefti_known_integer(wefti_rows_many(at, axes), i)
                       : i;
    return (int32_t)(axis < 0 ? axis + wefti_rows_many(at, 0)->rank : axis);
}

/* Rows may be named when all are kept in order; elsewhere the same is kept of each. How
 * many shows in the shapes. */
weft_status wefti_rows_slice(const wefti_rows_node *at, int64_t *outer,
                             weft_error *error)
{
    enum { STARTS = 1, AXES = 3, STEPS = 4 };
    (void)outer;
    WEFTI_TRY(wefti_rows_expect(at, 0, at->axis, error));
    if (wefti_rows_present(at, AXES)) {
        WEFTI_TRY(wefti_rows_expect(at, AXES, -1, error));
    }
    bool whole =
        wefti_rows_many(at, 0)->dims[at->axis] == result_many(at)->dims[at->axis] &&
        wefti_rows_one(at, 0)->dims[at->axis] == result_one(at)->dims[at->axis];
    int64_t count = wefti_known_element_count(wefti_rows_many(at, STARTS));
    if (wefti_known_element_count(wefti_rows_one(at, STARTS)) != count) {
        return wefti_rows_refuse(at, "which axes it cuts depends on them", error);
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t start, step = 1;
        bool same = same_integer(at, STARTS, i, &start);
        bool same_step =
            !wefti_rows_present(at, STEPS) || same_integer(at, STEPS, i, &step);
        bool rows = listed_axis(at, AXES, i) == at->axis;
        if (!same_step || (rows ? !whole || step != 1 : !same)) {
            return wefti_rows_refuse(
                at,
                rows ? "it cuts them" : "what it cuts depends on how many there are",
                error);
        }
    }
    return WEFT_OK;
}

weft_status wefti_rows_pad(const wefti_rows_node *at, int64_t *outer, weft_error *error)
{
    enum { PADS = 1, VALUE = 2, AXES = 3 };
    (void)outer;
    WEFTI_TRY(wefti_rows_expect(at, 0, at->axis, error));
    WEFTI_TRY(wefti_rows_expect_same(at, PADS, error));
    int64_t count = wefti_known_element_count(wefti_rows_many(at, PADS)) / 2;
    for (int64_t i = 0; i < count; i++) {
        int64_t begin, end;
        same_integer(at, PADS, i, &begin);
        same_integer(at, PADS, count + i, &end);
        if (listed_axis(at, AXES, i) == at->axis && (begin != 0 || end != 0)) {
            return wefti_rows_refuse(at, "it pads along them", error);
        }
    }
    return WEFT_OK;
}

/* Rows of a table by the indices of each request, or the same indices out of each
 * request's data. */
weft_status wefti_rows_gather(const wefti_rows_node *at, int64_t *outer,
                              weft_error *error)
{
    (void)outer;
    enum { DATA, INDICES };
    const wefti_known *data = wefti_rows_many(at, DATA);
    int32_t axis = wefti_rows_axis_attribute(at, 0, data->rank);
    int32_t added = wefti_rows_many(at, INDICES)->rank;
    if (at->axis >= axis && at->axis < axis + added) {
        WEFTI_TRY(wefti_rows_expect(at, DATA, -1, error));
        return wefti_rows_expect(at, INDICES, at->axis - axis, error);
    }
    int32_t source = at->axis < axis ? at->axis : at->axis - added + 1;
    WEFTI_TRY(wefti_rows_expect(at, DATA, source, error));
    return wefti_rows_expect(at, INDICES, -1, error);
}

/* Either the rows are repeated, each time all of them, or what is the same for all is
 * repeated for each. */
weft_status wefti_rows_tile(const wefti_rows_node *at, int64_t *outer,
                            weft_error *error)
{
    int64_t size = wefti_rows_many(at, 0)->dims[at->axis];
    if (wefti_rows_of(at->all, at->node->inputs[0])->kind == WEFTI_ROWS_SAME) {
        *outer = 1;
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_rows_expect(at, 0, at->axis, error));
    *outer = at->outer * (result_many(at)->dims[at->axis] / size);
    return WEFT_OK;
}

weft_status wefti_rows_trilu(const wefti_rows_node *at, int64_t *outer,
                             weft_error *error)
{
    (void)outer;
    if (at->axis >= result_many(at)->rank - 2) {
        return wefti_rows_refuse(at, "they are a side of its triangle", error);
    }
    WEFTI_TRY(wefti_rows_expect(at, 0, at->axis, error));
    return wefti_rows_expect(at, 1, -1, error);
}

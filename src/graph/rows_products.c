/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/rows_rules.h"

/* Rules of operators that sum. Where the result has an axis for the rows and every
 * input has its rows there too, no sum runs over them. */

weft_status wefti_rows_matmul(const wefti_rows_node *at, int64_t *outer,
                              weft_error *error)
{
    (void)outer;
    int32_t a_rank = wefti_rows_many(at, 0)->rank;
    int32_t b_rank = wefti_rows_many(at, 1)->rank;
    int32_t a_batch = a_rank < 2 ? 0 : a_rank - 2;
    int32_t b_batch = b_rank < 2 ? 0 : b_rank - 2;
    int32_t batch = a_batch > b_batch ? a_batch : b_batch;
    if (at->axis < batch) {
        WEFTI_TRY(wefti_rows_expect(at, 0, at->axis - (batch - a_batch), error));
        return wefti_rows_expect(at, 1, at->axis - (batch - b_batch), error);
    }
    /* Each element is one sum of its own, so columns are as good as rows. */
    bool columns = at->axis > batch || a_rank < 2;
    WEFTI_TRY(wefti_rows_expect(at, 0, columns ? -1 : a_rank - 2, error));
    return wefti_rows_expect(at, 1, columns ? b_rank - 1 : -1, error);
}

weft_status wefti_rows_gemm(const wefti_rows_node *at, int64_t *outer,
                            weft_error *error)
{
    (void)outer;
    size_t side = (size_t)at->axis;
    const char *name = side == 0 ? "transA" : "transB";
    bool transposed = wefti_attribute_int(&at->node->view, name, 0) != 0;
    WEFTI_TRY(wefti_rows_expect(at, side, transposed ? 1 - at->axis : at->axis, error));
    WEFTI_TRY(wefti_rows_expect(at, 1 - side, -1, error));
    int32_t rank = wefti_rows_present(at, 2) ? wefti_rows_many(at, 2)->rank : 0;
    return wefti_rows_expect(at, 2, at->axis + rank - 2, error);
}

/* Rows are images: Conv, and norms with a mean per image. */
weft_status wefti_rows_conv(const wefti_rows_node *at, int64_t *outer,
                            weft_error *error)
{
    (void)outer;
    if (at->axis != 0) {
        return wefti_rows_refuse(at, "they are not along its axis 0", error);
    }
    WEFTI_TRY(wefti_rows_expect(at, 0, 0, error));
    return wefti_rows_expect_same(at, 1, error);
}

/* Images and channels are both planes of their own. */
weft_status wefti_rows_pool(const wefti_rows_node *at, int64_t *outer,
                            weft_error *error)
{
    (void)outer;
    if (at->axis > 1) {
        return wefti_rows_refuse(at, "its windows move over them", error);
    }
    return wefti_rows_expect(at, 0, at->axis, error);
}

weft_status wefti_rows_batch_norm(const wefti_rows_node *at, int64_t *outer,
                                  weft_error *error)
{
    (void)outer;
    if (at->axis == 1) {
        return wefti_rows_refuse(at, "they are its channels", error);
    }
    if (wefti_attribute_int(&at->node->view, "training_mode", 0) != 0) {
        return wefti_rows_refuse(at, "it takes the mean over them", error);
    }
    WEFTI_TRY(wefti_rows_expect(at, 0, at->axis, error));
    return wefti_rows_expect_same(at, 1, error);
}

weft_status wefti_rows_attention(const wefti_rows_node *at, int64_t *outer,
                                 weft_error *error)
{
    (void)outer;
    enum { MASK = 3, RANK = 4 };
    if (at->axis != 0) {
        return wefti_rows_refuse(at, "they are not along its axis 0", error);
    }
    for (size_t i = 0; i < at->node->view.input_count; i++) {
        bool mask = i == MASK && wefti_rows_present(at, i);
        int32_t axis = mask ? wefti_rows_many(at, i)->rank - RANK : 0;
        WEFTI_TRY(wefti_rows_expect(at, i, axis, error));
    }
    return WEFT_OK;
}

weft_status wefti_rows_softmax(const wefti_rows_node *at, int64_t *outer,
                               weft_error *error)
{
    (void)outer;
    /* Before opset 13 a row was all dims from the axis on. */
    bool joined = at->node->view.opset < 13;
    int32_t rank = wefti_rows_many(at, 0)->rank;
    int32_t axis = wefti_rows_axis_attribute(at, joined ? 1 : -1, rank);
    if (at->axis == axis || (joined && at->axis > axis)) {
        return wefti_rows_refuse(at, "it runs along them", error);
    }
    return wefti_rows_expect(at, 0, at->axis, error);
}

weft_status wefti_rows_layer_norm(const wefti_rows_node *at, int64_t *outer,
                                  weft_error *error)
{
    (void)outer;
    if (at->axis >= wefti_rows_axis_attribute(at, -1, wefti_rows_many(at, 0)->rank)) {
        return wefti_rows_refuse(at, "it runs along them", error);
    }
    WEFTI_TRY(wefti_rows_expect(at, 0, at->axis, error));
    return wefti_rows_expect_same(at, 1, error);
}

/* Dims of the result are dims of the input or 1, and only one of the input's grows:
 * when one of the result's does, it is that, and it was not reduced. */
weft_status wefti_rows_reduce(const wefti_rows_node *at, int64_t *outer,
                              weft_error *error)
{
    (void)outer;
    wefti_rows rows;
    WEFTI_TRY(wefti_rows_expect_any(at, 0, &rows, error));
    return wefti_rows_expect_same(at, 1, error);
}

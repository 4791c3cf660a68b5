/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/lower.h"
#include "ops/matmul.h"

wefti_matmul_request wefti_matmul_plain(const wefti_view *a, const wefti_view *b,
                                        const wefti_view *output)
{
    return (wefti_matmul_request){.a = *a,
                                  .b = *b,
                                  .output = *output,
                                  .bias = wefti_view_absent(),
                                  .residual = wefti_view_absent(),
                                  .alpha = 1.0F};
}

/* True when `view` has elements in no dim but `axis` of `rank`, counted from the
 * right of a broadcast. */
static bool varies_only_in(const wefti_view *view, int32_t from_right)
{
    for (int32_t i = 0; i < view->rank; i++) {
        if (view->dims[i] != 1 && view->rank - 1 - i != from_right) {
            return false;
        }
    }
    return true;
}

/* Makes a dense vector of `length` of a view that varies in one dim or none. */
static weft_status lower_vector(wefti_lowering *lowering, const wefti_view *view,
                                int32_t from_right, int64_t length, wefti_view *vector)
{
    int32_t axis = view->rank - 1 - from_right;
    wefti_view line = *view;
    line.rank = 1;
    line.strides[0] = axis >= 0 && view->dims[axis] == length ? view->strides[axis] : 0;
    line.dims[0] = length;
    *vector = line;
    return wefti_lower_dense(lowering, vector);
}

weft_status wefti_matmul_add(wefti_lowering *lowering, wefti_matmul_request *request,
                             const wefti_view *addend)
{
    const wefti_view *output = &request->output;
    bool has_bias = request->bias_kind != WEFTI_BIAS_NONE;
    if (!has_bias && varies_only_in(addend, 0)) {
        request->bias_kind = WEFTI_BIAS_COLUMN;
        return lower_vector(lowering, addend, 0, output->dims[output->rank - 1],
                            &request->bias);
    }
    if (!has_bias && varies_only_in(addend, 1)) {
        request->bias_kind = WEFTI_BIAS_ROW;
        return lower_vector(lowering, addend, 1, output->dims[output->rank - 2],
                            &request->bias);
    }
    request->residual = *addend;
    wefti_view_broadcast(&request->residual, output->rank, output->dims);
    return wefti_lower_dense(lowering, &request->residual);
}

typedef struct batch_walk {
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    int64_t a[WEFT_MAX_RANK], b[WEFT_MAX_RANK], c[WEFT_MAX_RANK];
} batch_walk;

static void operand_batch(const wefti_view *view, const wefti_view *output,
                          int64_t *strides)
{
    wefti_view batch = *view;
    batch.rank = view->rank - 2;
    wefti_broadcast_strides(&batch, output->rank - 2, output->dims, strides);
}

static batch_walk make_batch(const wefti_matmul_request *request)
{
    const wefti_view *output = &request->output;
    batch_walk batch = {.rank = output->rank - 2};
    if (batch.rank == 0) {
        return batch;
    }
    memcpy(batch.dims, output->dims, (size_t)batch.rank * sizeof(int64_t));
    memcpy(batch.c, output->strides, (size_t)batch.rank * sizeof(int64_t));
    operand_batch(&request->a, output, batch.a);
    operand_batch(&request->b, output, batch.b);
    int64_t *const strides[] = {batch.a, batch.b, batch.c};
    batch.rank = wefti_collapse_dims(batch.rank, batch.dims, strides, 3);
    if (batch.rank == 1 && batch.dims[0] == 1) {
        batch.rank = 0;
    }
    return batch;
}

/* Batches of A that share B are more rows of one product, when they lie so. */
static void fold_batch_into_rows(batch_walk *batch, wefti_matmul_params *params)
{
    while (batch->rank > 0) {
        int32_t last = batch->rank - 1;
        bool one_row = params->m == 1;
        bool rows_follow =
            batch->b[last] == 0 &&
            (one_row || (batch->a[last] == params->a_row_stride * params->m &&
                         batch->c[last] == params->c_row_stride * params->m));
        if (!rows_follow) {
            return;
        }
        if (one_row) {
            params->a_row_stride = batch->a[last];
            params->c_row_stride = batch->c[last];
        }
        params->m *= batch->dims[last];
        batch->rank--;
    }
}

static void set_batch(const batch_walk *batch, wefti_matmul_params *params)
{
    params->batch_rank = batch->rank;
    for (int32_t i = 0; i < batch->rank; i++) {
        params->batch_dims[i] = batch->dims[i];
        params->a_batch_strides[i] = batch->a[i];
        params->b_batch_strides[i] = batch->b[i];
        params->c_batch_strides[i] = batch->c[i];
    }
}

/* Repeats an operand over all batches, densely: then they walk as one. */
static weft_status materialize_batch(wefti_lowering *lowering, const wefti_view *output,
                                     wefti_view *view)
{
    int64_t dims[WEFT_MAX_RANK];
    memcpy(dims, output->dims, sizeof(dims));
    dims[output->rank - 2] = view->dims[view->rank - 2];
    dims[output->rank - 1] = view->dims[view->rank - 1];
    wefti_view_broadcast(view, output->rank, dims);
    return wefti_lower_dense(lowering, view);
}

static wefti_matmul_params make_params(const wefti_matmul_request *request)
{
    const wefti_view *a = &request->a;
    const wefti_view *b = &request->b;
    const wefti_view *c = &request->output;
    return (wefti_matmul_params){
        .m = c->dims[c->rank - 2],
        .n = c->dims[c->rank - 1],
        .k = a->dims[a->rank - 1],
        .a_row_stride = a->strides[a->rank - 2],
        .a_column_stride = a->strides[a->rank - 1],
        .b_row_stride = b->strides[b->rank - 2],
        .b_column_stride = b->strides[b->rank - 1],
        .c_row_stride = c->strides[c->rank - 2],
        .alpha = request->alpha,
        .bias = request->bias_kind,
        .activation = request->activation,
        .activation_alpha = request->activation_alpha,
    };
}

weft_status wefti_lower_matmul(wefti_lowering *lowering,
                               const wefti_matmul_request *request)
{
    if (wefti_view_element_count(&request->output) == 0) {
        return WEFT_OK;
    }
    wefti_matmul_request copy = *request;
    batch_walk batch = make_batch(&copy);
    wefti_matmul_params params = make_params(&copy);
    if (params.bias != WEFTI_BIAS_ROW) {
        fold_batch_into_rows(&batch, &params);
    }
    if (batch.rank > WEFTI_MATMUL_MAX_BATCH_RANK) {
        WEFTI_TRY(materialize_batch(lowering, &copy.output, &copy.a));
        WEFTI_TRY(materialize_batch(lowering, &copy.output, &copy.b));
        batch = make_batch(&copy);
        params = make_params(&copy);
    }
    set_batch(&batch, &params);
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_MATMUL, &params, sizeof(params));
    step.operands[WEFTI_MATMUL_A] = copy.a;
    step.operands[WEFTI_MATMUL_B] = copy.b;
    step.operands[WEFTI_MATMUL_BIAS] = copy.bias;
    step.operands[WEFTI_MATMUL_RESIDUAL] = copy.residual;
    step.operands[WEFTI_MATMUL_C] = copy.output;
    return wefti_lower_end(lowering, &step);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* ConvTranspose and Col2Im: columns that are folded into an image. ConvTranspose makes
 * its columns by one matrix product for each image and group. */
enum { X, W, B };

static weft_status read_list(const wefti_node_view *node, const char *name,
                             size_t wanted, int64_t least, int64_t *values,
                             weft_error *error)
{
    size_t count = 0;
    const int64_t *given = wefti_attribute_ints(node, name, &count);
    if (given && count != wanted) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: %s has %zu values, expected %zu", node->label, name,
                           count, wanted);
    }
    for (size_t i = 0; given && i < wanted; i++) {
        values[i] = given[i];
        if (given[i] < least || given[i] > INT32_MAX) {
            return wefti_error(error, WEFT_INVALID_MODEL, "%s: %s has the value %lld",
                               node->label, name, (long long)given[i]);
        }
    }
    return WEFT_OK;
}

/* The size of the output with the pads that are set, and the pads that auto_pad and
 * output_shape want. */
static weft_status size_output(const wefti_node_view *node, wefti_fold_params *fold,
                               int32_t first, const int64_t *pads_end,
                               const int64_t *padding, weft_error *error)
{
    size_t rank = (size_t)(3 - first), count = 0;
    const char *automatic = wefti_attribute_string(node, "auto_pad", "NOTSET");
    const int64_t *wanted = wefti_attribute_ints(node, "output_shape", &count);
    bool same = strncmp(automatic, "SAME", 4) == 0;
    if (wanted && count != rank && count != rank + 2) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: output_shape has %zu values, expected %zu", node->label,
                           count, rank);
    }
    for (int32_t d = first; d < 3; d++) {
        int64_t reach = (fold->kernel_dims[d] - 1) * fold->dilations[d] + 1;
        int64_t whole = 0;
        WEFTI_TRY(wefti_check_product(node, fold->block_dims[d] - 1, fold->strides[d],
                                      &whole, error));
        whole += reach + padding[d];
        int64_t size = whole - fold->pads_begin[d] - pads_end[d];
        if (wanted || same) {
            size = wanted ? wanted[(int32_t)count - 3 + d]
                          : fold->block_dims[d] * fold->strides[d];
            int64_t total = whole > size ? whole - size : 0;
            bool upper = strcmp(automatic, "SAME_UPPER") == 0;
            fold->pads_begin[d] = upper ? total / 2 : total - total / 2;
        }
        if (size < 0 || size > INT32_MAX || whole > INT32_MAX) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: spatial dimension %d of the output would be %lld",
                               node->label, (int)(d - first), (long long)size);
        }
        fold->out_dims[d] = size;
    }
    return WEFT_OK;
}

/* All of the fold: sizes come as 3 with leading ones. */
static weft_status read_fold(const wefti_node_view *node, const wefti_known *inputs,
                             wefti_fold_params *fold, weft_error *error)
{
    int32_t rank = inputs[X].rank - 2, first = 3 - rank;
    int64_t pads[6] = {0}, pads_end[3] = {0}, padding[3] = {0};
    *fold = (wefti_fold_params){.plane_count = 1, .channel_count = 1};
    for (int32_t d = 0; d < 3; d++) {
        bool real = d >= first;
        fold->strides[d] = fold->dilations[d] = fold->out_dims[d] = 1;
        fold->block_dims[d] = real ? inputs[X].dims[2 + d - first] : 1;
        fold->kernel_dims[d] = real ? inputs[W].dims[2 + d - first] : 1;
    }
    size_t count = (size_t)rank;
    int64_t kernel[3];
    memcpy(kernel, &fold->kernel_dims[first], count * sizeof(*kernel));
    WEFTI_TRY(read_list(node, "kernel_shape", count, 1, kernel, error));
    WEFTI_TRY(read_list(node, "strides", count, 1, &fold->strides[first], error));
    WEFTI_TRY(read_list(node, "dilations", count, 1, &fold->dilations[first], error));
    WEFTI_TRY(read_list(node, "output_padding", count, 0, &padding[first], error));
    WEFTI_TRY(read_list(node, "pads", 2 * count, 0, pads, error));
    memcpy(&fold->pads_begin[first], pads, count * sizeof(*pads));
    memcpy(&pads_end[first], pads + count, count * sizeof(*pads));
    if (memcmp(kernel, &fold->kernel_dims[first], count * sizeof(*kernel)) != 0) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: kernel_shape is not the weight's", node->label);
    }
    return size_output(node, fold, first, pads_end, padding, error);
}

weft_status wefti_infer_conv_transpose(const wefti_node_view *node,
                                       const wefti_known *inputs, wefti_known *outputs,
                                       weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, X, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_type(node, inputs, W, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, X, 3, 5, error));
    int32_t rank = inputs[X].rank;
    WEFTI_TRY(wefti_check_rank(node, inputs, W, rank, rank, error));
    int64_t groups = wefti_attribute_int(node, "group", 1);
    bool empty = false;
    for (int32_t i = 0; i < rank; i++) {
        const int64_t w = inputs[W].dims[i], x = inputs[X].dims[i];
        empty = empty || w < 1 || w > INT32_MAX || (x < 1 && i > 0) || x > INT32_MAX;
    }
    if (groups < 1 || empty || inputs[W].dims[0] != inputs[X].dims[1] ||
        inputs[X].dims[1] % groups != 0) {
        wefti_shape_text x, w;
        return wefti_error(
            error, WEFT_INVALID_ARGUMENT,
            "%s: a weight of shape %s in %lld groups does not fit an "
            "input of shape %s",
            node->label, wefti_shape_write(inputs[W].rank, inputs[W].dims, &w),
            (long long)groups, wefti_shape_write(rank, inputs[X].dims, &x));
    }
    int64_t dims[5] = {inputs[X].dims[0]};
    WEFTI_TRY(wefti_check_product(node, inputs[W].dims[1], groups, &dims[1], error));
    if (wefti_known_present(node, inputs, B)) {
        WEFTI_TRY(wefti_check_type(node, inputs, B, WEFTI_TYPES_F32, error));
        WEFTI_TRY(wefti_check_shape(node, "the bias", &inputs[B], 1, &dims[1], error));
    }
    wefti_fold_params fold;
    WEFTI_TRY(read_fold(node, inputs, &fold, error));
    memcpy(&dims[2], &fold.out_dims[5 - rank], (size_t)(rank - 2) * sizeof(*dims));
    return wefti_set_output(node, outputs, 0, (wefti_shape){WEFT_TYPE_F32, rank, dims},
                            error);
}

static weft_status add_fold(wefti_lowering *lowering, wefti_fold_params *fold,
                            const wefti_view *columns, const wefti_view *bias,
                            const wefti_view *output)
{
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_FOLD, fold, sizeof(*fold));
    step.operands[WEFTI_FOLD_COLUMNS] = *columns;
    step.operands[WEFTI_FOLD_BIAS] = *bias;
    step.operands[WEFTI_FOLD_OUTPUT] = *output;
    return wefti_lower_end(lowering, &step);
}

/* columns[n][g] = W[g]^T X[n][g] */
static weft_status add_columns(wefti_lowering *lowering, const wefti_view *x,
                               const wefti_view *w, wefti_view *columns)
{
    int64_t groups = wefti_attribute_int(lowering->node, "group", 1);
    int64_t rows = 1, blocks = 1, depth = x->dims[1] / groups;
    for (int32_t i = 1; i < w->rank; i++) {
        rows *= w->dims[i];
        blocks *= i > 1 ? x->dims[i] : 1;
    }
    const int64_t dims[] = {x->dims[0], groups, rows, blocks};
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, 4, dims, columns));
    wefti_matmul_params params = {
        .m = rows,
        .n = blocks,
        .k = depth,
        .a_row_stride = 1,
        .a_column_stride = rows,
        .b_row_stride = blocks,
        .b_column_stride = 1,
        .c_row_stride = blocks,
        .batch_rank = 2,
        .batch_dims = {x->dims[0], groups},
        .a_batch_strides = {0, depth * rows},
        .b_batch_strides = {groups * depth * blocks, depth * blocks},
        .c_batch_strides = {groups * rows * blocks, rows * blocks},
        .alpha = 1};
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_MATMUL, &params, sizeof(params));
    step.operands[WEFTI_MATMUL_A] = *w;
    step.operands[WEFTI_MATMUL_B] = *x;
    step.operands[WEFTI_MATMUL_C] = *columns;
    return wefti_lower_end(lowering, &step);
}

weft_status wefti_lower_conv_transpose_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view x = lowering->inputs[X], w = lowering->inputs[W], columns;
    wefti_view bias = wefti_lower_input(lowering, B);
    wefti_fold_params fold;
    WEFTI_TRY(
        read_fold(lowering->node, lowering->known_inputs, &fold, lowering->error));
    WEFTI_TRY(wefti_lower_dense(lowering, &x));
    WEFTI_TRY(wefti_lower_dense(lowering, &w));
    WEFTI_TRY(wefti_lower_dense(lowering, &bias));
    WEFTI_TRY(add_columns(lowering, &x, &w, &columns));
    fold.channel_count = output.dims[1];
    fold.plane_count = output.dims[0] * output.dims[1];
    return add_fold(lowering, &fold, &columns, &bias, &output);
}

/* Col2Im: X is [batch, channels * block, blocks]. */
static weft_status read_col2im(const wefti_node_view *node, const wefti_known *inputs,
                               wefti_fold_params *fold, weft_error *error)
{
    int64_t image[3], block[3], pads[6] = {0};
    size_t count = 0, block_count = 0;
    wefti_integer_room image_room = {image, 3}, block_room = {block, 3};
    WEFTI_TRY(wefti_check_integers(node, inputs, 1, image_room, &count, error));
    WEFTI_TRY(wefti_check_integers(node, inputs, 2, block_room, &block_count, error));
    if (count < 1 || count != block_count) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: image_shape has %zu numbers and block_shape %zu",
                           node->label, count, block_count);
    }
    size_t first = 3 - count;
    *fold = (wefti_fold_params){.plane_count = 1, .channel_count = 1};
    for (size_t d = 0; d < 3; d++) {
        fold->strides[d] = fold->dilations[d] = fold->block_dims[d] = 1;
        fold->out_dims[d] = d < first ? 1 : image[d - first];
        fold->kernel_dims[d] = d < first ? 1 : block[d - first];
    }
    WEFTI_TRY(read_list(node, "strides", count, 1, &fold->strides[first], error));
    WEFTI_TRY(read_list(node, "dilations", count, 1, &fold->dilations[first], error));
    WEFTI_TRY(read_list(node, "pads", 2 * count, 0, pads, error));
    memcpy(&fold->pads_begin[first], pads, count * sizeof(*pads));
    for (size_t d = first; d < 3; d++) {
        bool sane = fold->out_dims[d] > 0 && fold->out_dims[d] <= INT32_MAX &&
                    fold->kernel_dims[d] > 0 && fold->kernel_dims[d] <= INT32_MAX;
        int64_t reach = sane ? (fold->kernel_dims[d] - 1) * fold->dilations[d] + 1 : 0;
        int64_t room = fold->out_dims[d] + pads[d - first] + pads[d - first + count];
        if (!sane || room < reach) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: blocks of %lld do not fit an image of %lld",
                               node->label, (long long)fold->kernel_dims[d],
                               (long long)fold->out_dims[d]);
        }
        fold->block_dims[d] = (room - reach) / fold->strides[d] + 1;
    }
    return WEFT_OK;
}

weft_status wefti_infer_col2im(const wefti_node_view *node, const wefti_known *inputs,
                               wefti_known *outputs, weft_error *error)
{
    wefti_fold_params fold;
    size_t count = 0;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_F32, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 0, 3, 3, error));
    WEFTI_TRY(wefti_check_rank(node, inputs, 1, 1, 1, error));
    WEFTI_TRY(read_col2im(node, inputs, &fold, error));
    count = (size_t)inputs[1].dims[0];
    int64_t size = 1, blocks = 1;
    for (int32_t d = 0; d < 3; d++) {
        WEFTI_TRY(wefti_check_product(node, size, fold.kernel_dims[d], &size, error));
        WEFTI_TRY(
            wefti_check_product(node, blocks, fold.block_dims[d], &blocks, error));
    }
    const int64_t *x = inputs[0].dims;
    if (x[1] % size != 0 || x[2] != blocks) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: %lld rows of %lld columns are not whole blocks of %lld "
                           "at %lld places",
                           node->label, (long long)x[1], (long long)x[2],
                           (long long)size, (long long)blocks);
    }
    int64_t dims[5] = {x[0], x[1] / size};
    memcpy(&dims[2], &fold.out_dims[3 - count], count * sizeof(*dims));
    return wefti_set_output(node, outputs, 0,
                            (wefti_shape){WEFT_TYPE_F32, (int32_t)count + 2, dims},
                            error);
}

weft_status wefti_lower_col2im_node(wefti_lowering *lowering)
{
    wefti_view output = wefti_lower_output(lowering, 0);
    if (!wefti_view_present(&output) || wefti_view_element_count(&output) == 0) {
        return WEFT_OK;
    }
    wefti_view columns = lowering->inputs[0], bias = wefti_view_absent();
    wefti_fold_params fold;
    WEFTI_TRY(
        read_col2im(lowering->node, lowering->known_inputs, &fold, lowering->error));
    WEFTI_TRY(wefti_lower_dense(lowering, &columns));
    fold.channel_count = output.dims[1];
    fold.plane_count = output.dims[0] * output.dims[1];
    return add_fold(lowering, &fold, &columns, &bias, &output);
}

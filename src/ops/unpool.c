/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/window.h"

/* MaxUnpool, Upsample, Det and OptionalHasElement. */

/* The dims before padding, as the window says; false when they do not exist. */
static bool unpooled_dims(wefti_body *body, const wefti_known *x, int64_t *dims)
{
    size_t kernels = 0, strides = 0, pads = 0, rank = (size_t)(x->rank - 2);
    const int64_t *kernel = wefti_attribute_ints(body->node, "kernel_shape", &kernels);
    const int64_t *stride = wefti_attribute_ints(body->node, "strides", &strides);
    const int64_t *pad = wefti_attribute_ints(body->node, "pads", &pads);
    bool fits = kernel && kernels == rank && (!stride || strides == rank) &&
                (!pad || pads == 2 * rank);
    memcpy(dims, x->dims, 2 * sizeof(*dims));
    for (size_t i = 0; fits && i < rank; i++) {
        const int64_t most = (int64_t)1 << 31;
        int64_t step = stride ? stride[i] : 1, size = x->dims[i + 2];
        int64_t begin = pad ? pad[i] : 0, end = pad ? pad[rank + i] : 0;
        fits = kernel[i] >= 1 && kernel[i] < most && step >= 1 && step < most &&
               begin >= 0 && begin < most && end >= 0 && end < most && size < most;
        dims[i + 2] = fits ? (size - 1) * step - begin - end + kernel[i] : 0;
        fits = fits && dims[i + 2] >= 0;
    }
    if (!fits) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "kernel_shape, strides or pads do not go with the input");
    }
    return fits;
}

/* Puts zeros behind each axis up to the shape that input 2 gives. */
static wefti_term pad_to_shape(wefti_body *body, wefti_term y)
{
    int64_t wanted[WEFT_MAX_RANK], pads[2 * WEFT_MAX_RANK] = {0};
    size_t count = 0;
    if (wefti_body_failed(body) || !wefti_known_present(body->node, body->inputs, 2)) {
        return y;
    }
    body->status = wefti_check_integers(body->node, body->inputs, 2,
                                        (wefti_integer_room){wanted, WEFT_MAX_RANK},
                                        &count, body->error);
    bool fits = count == (size_t)y.known.rank;
    for (size_t i = 0; fits && i < count; i++) {
        fits = wanted[i] >= y.known.dims[i];
        pads[count + i] = fits ? wanted[i] - y.known.dims[i] : 0;
    }
    if (!fits) {
        wefti_body_refuse(body, WEFT_INVALID_ARGUMENT,
                          "output_shape (input 2) is smaller than what was pooled");
        return y;
    }
    return wefti_body_2(body, "Pad", y, wefti_body_list(body, 2 * count, pads));
}

static void max_unpool_body(wefti_body *body)
{
    wefti_term x = wefti_body_input(body, 0), indices = wefti_body_input(body, 1);
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_types(body, 1, WEFTI_TYPES_INDEX);
    wefti_body_check_rank(body, 0, 3, 5);
    wefti_body_check_shape(body, "the indices (input 1)", &indices, x.known.rank,
                           x.known.dims);
    int64_t dims[WEFT_MAX_RANK];
    if (wefti_body_failed(body) || !unpooled_dims(body, &x.known, dims)) {
        return;
    }
    wefti_term zeros = wefti_body_copy(
        body, wefti_body_expand(body, wefti_body_scalar(body, WEFT_TYPE_F32, 0),
                                x.known.rank, dims));
    wefti_points_params params = {.type = WEFT_TYPE_F32,
                                  .index_type = indices.known.type,
                                  .rank = 1,
                                  .tuple_size = 1,
                                  .dims = {wefti_known_element_count(&x.known)},
                                  .tuple_strides = {1},
                                  .inner_count = 1,
                                  .from_start = true};
    params.tuple_dims[0] = wefti_known_element_count(&zeros.known);
    const wefti_term operands[] = {zeros, wefti_body_dense(body, indices),
                                   wefti_body_dense(body, x)};
    if (params.dims[0] > 0) {
        wefti_body_step(body, WEFTI_KERNEL_SCATTER_POINTS, &params, sizeof(params), 3,
                        operands);
    }
    wefti_body_output(body, 0, pad_to_shape(body, zeros));
}

/* Resize as it was. */
static void upsample_body(wefti_body *body)
{
    wefti_term scales = wefti_body_input(body, 1);
    wefti_term operands[] = {
        wefti_body_input(body, 0), {.view = wefti_view_absent()}, scales};
    size_t count = 0;
    const float *given = wefti_attribute_floats(body->node, "scales", &count);
    int64_t dim = (int64_t)count;
    if (!wefti_body_has(&scales) && count > 0) {
        operands[2] = wefti_body_constant(body, WEFT_TYPE_F32, 1, &dim, given);
    }
    const char *mode = wefti_attribute_string(body->node, "mode", "nearest");
    bool nearest = strcmp(mode, "nearest") == 0;
    if (!nearest && strcmp(mode, "linear") != 0 && strcmp(mode, "bilinear") != 0) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "mode is not one of nearest and linear");
    }
    wefti_body_with_string(body, "mode", nearest ? "nearest" : "linear");
    wefti_body_with_string(body, "coordinate_transformation_mode", "asymmetric");
    wefti_body_with_string(body, "nearest_mode", "floor");
    wefti_body_output(body, 0, wefti_body_call(body, "Resize", 3, operands));
}

static void det_body(wefti_body *body)
{
    wefti_term x = wefti_body_input(body, 0);
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_rank(body, 0, 2, WEFT_MAX_RANK);
    if (wefti_body_failed(body)) {
        return;
    }
    int32_t rank = x.known.rank;
    wefti_determinant_params params = {.n = x.known.dims[rank - 1]};
    if (x.known.dims[rank - 2] != params.n || params.n > 1 << 12) {
        wefti_body_refuse(body, WEFT_INVALID_ARGUMENT,
                          "the matrices are not square, or have more than 4096 rows");
        return;
    }
    params.count = wefti_count_dims(rank - 2, x.known.dims);
    wefti_term result = wefti_body_new(body, WEFT_TYPE_F32, rank - 2, x.known.dims);
    const wefti_term operands[] = {wefti_body_dense(body, x), result};
    if (params.count > 0) {
        wefti_body_step(body, WEFTI_KERNEL_DETERMINANT, &params, sizeof(params), 2,
                        operands);
    }
    wefti_body_output(body, 0, result);
}

WEFTI_BODY_FAMILY(max_unpool)
WEFTI_BODY_FAMILY(upsample)
WEFTI_BODY_FAMILY(det)

/* Tensors are there or not; other optionals are not read. */
weft_status wefti_infer_has_element(const wefti_node_view *node,
                                    const wefti_known *inputs, wefti_known *outputs,
                                    weft_error *error)
{
    (void)inputs;
    int64_t none = 0;
    return wefti_set_output(node, outputs, 0, (wefti_shape){WEFT_TYPE_BOOL, 0, &none},
                            error);
}

weft_status wefti_fold_has_element(const wefti_node_view *node,
                                   const wefti_known *inputs,
                                   const wefti_known *outputs, void *const *output_data,
                                   weft_error *error)
{
    (void)outputs;
    (void)error;
    *(uint8_t *)output_data[0] = wefti_known_present(node, inputs, 0);
    return WEFT_OK;
}

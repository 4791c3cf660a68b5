/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"

/* Up to KNOWN_OPSET all attributes and inputs are known; what came later is refused
 * where a node uses it, and read as before where not. */
enum { KNOWN_OPSET = 23, ANY = 1 << 20 };

#define ROW(domain_name, op, first, in_min, in_max, out_min, out_max, family, names)   \
    {                                                                                  \
        .domain = (domain_name), .name = #op, .since = (first),                        \
        .until = WEFT_OPSET_LAST, .min_inputs = (in_min), .max_inputs = (in_max),      \
        .min_outputs = (out_min), .max_outputs = (out_max), .attributes = (names),     \
        .infer = wefti_infer_##family, .lower = wefti_lower_##family##_node            \
    }
/* An operator of ONNX with one output. */
#define OP(op, first, in_min, in_max, family, names)                                   \
    ROW("", op, first, in_min, in_max, 1, 1, family, names)
/* One that is only ever folded. */
#define FOLDED(op, first, in_min, in_max, family, names)                               \
    {                                                                                  \
        .domain = "", .name = #op, .since = (first), .until = WEFT_OPSET_LAST,         \
        .min_inputs = (in_min), .max_inputs = (in_max), .min_outputs = 1,              \
        .max_outputs = 1, .attributes = (names), .infer = wefti_infer_##family,        \
        .fold = wefti_fold_##family                                                    \
    }

/* One that runs graphs of its own: never lowered, see src/graph/stages.h. */
#define CONTROL(op, first, names)                                                      \
    {                                                                                  \
        .domain = "", .name = #op, .since = (first), .until = WEFT_OPSET_LAST,         \
        .max_inputs = ANY, .min_outputs = 1, .max_outputs = ANY,                       \
        .attributes = (names), .infer = wefti_infer_control                            \
    }

/* Sorted by domain and name. `since` is the first opset with this meaning, or 7. */
static const wefti_operator operators[] = {
    OP(Abs, 7, 1, 1, elementwise, ""),
    OP(Acos, 7, 1, 1, elementwise, ""),
    OP(Acosh, 9, 1, 1, elementwise, ""),
    OP(Add, 7, 2, 2, elementwise, ""),
    OP(AffineGrid, 20, 2, 2, affine_grid, "align_corners"),
    OP(And, 7, 2, 2, elementwise, ""),
    OP(ArgMax, 7, 1, 1, arg_reduce, "axis keepdims select_last_index"),
    OP(ArgMin, 7, 1, 1, arg_reduce, "axis keepdims select_last_index"),
    OP(Asin, 7, 1, 1, elementwise, ""),
    OP(Asinh, 9, 1, 1, elementwise, ""),
    OP(Atan, 7, 1, 1, elementwise, ""),
    OP(Atanh, 9, 1, 1, elementwise, ""),
    ROW("", Attention, 23, 3, 7, 1, 4, attention,
        "is_causal kv_num_heads left_window_size q_num_heads qk_matmul_output_mode "
        "right_window_size scale softcap softmax_precision"),
    OP(AveragePool, 7, 1, 1, pool,
       "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides"),
    ROW("", BatchNormalization, 7, 5, 5, 1, 5, batch_norm,
        "epsilon momentum training_mode"),
    OP(Bernoulli, 15, 1, 1, bernoulli, "dtype seed"),
    OP(BitCast, 26, 1, 1, bit_cast, "to"),
    OP(BitShift, 11, 2, 2, elementwise, "direction"),
    OP(BitwiseAnd, 18, 2, 2, elementwise, ""),
    OP(BitwiseNot, 18, 1, 1, elementwise, ""),
    OP(BitwiseOr, 18, 2, 2, elementwise, ""),
    OP(BitwiseXor, 18, 2, 2, elementwise, ""),
    FOLDED(BlackmanWindow, 17, 1, 1, signal_window, "output_datatype periodic"),
    OP(Cast, 7, 1, 1, cast, "saturate to"),
    OP(CastLike, 15, 2, 2, cast_like, "saturate"),
    ROW("", CausalConvWithState, 27, 2, 4, 1, 2, causal_conv, "activation"),
    OP(Ceil, 7, 1, 1, elementwise, ""),
    OP(Celu, 12, 1, 1, activation, "alpha"),
    OP(CenterCropPad, 18, 2, 2, center_crop_pad, "axes"),
    OP(Clip, 7, 1, 3, clip, ""),
    OP(Col2Im, 18, 3, 3, col2im, "dilations pads strides"),
    FOLDED(Compress, 9, 2, 2, compress, "axis"),
    OP(Concat, 7, 1, ANY, concat, "axis"),
    {.domain = "",
     .name = "Constant",
     .since = WEFT_OPSET_FIRST,
     .until = WEFT_OPSET_LAST,
     .min_outputs = 1,
     .max_outputs = 1,
     .attributes = "sparse_value value value_float value_floats value_int value_ints "
                   "value_string value_strings",
     .infer = wefti_infer_constant,
     .lower = wefti_lower_constant_node,
     .fold = wefti_fold_constant},
    OP(ConstantOfShape, 9, 1, 1, constant_of_shape, "value"),
    OP(Conv, 7, 2, 3, conv, "auto_pad dilations group kernel_shape pads strides"),
    OP(ConvInteger, 10, 2, 4, conv_integer,
       "auto_pad dilations group kernel_shape pads strides"),
    OP(ConvTranspose, 7, 2, 3, conv_transpose,
       "auto_pad dilations group kernel_shape output_padding output_shape pads "
       "strides"),
    OP(Cos, 7, 1, 1, elementwise, ""),
    OP(Cosh, 9, 1, 1, elementwise, ""),
    OP(CumProd, 26, 2, 2, cumulate, "exclusive reverse"),
    OP(CumSum, 11, 2, 2, cumulate, "exclusive reverse"),
    OP(DFT, 17, 1, 3, dft, "axis inverse onesided"),
    OP(DeformConv, 19, 3, 5, deform_conv,
       "dilations group kernel_shape offset_group pads strides"),
    OP(DepthToSpace, 7, 1, 1, space, "blocksize mode"),
    OP(DequantizeLinear, 10, 2, 3, dequantize, "axis block_size output_dtype"),
    OP(Det, 11, 1, 1, det, ""),
    OP(Div, 7, 2, 2, elementwise, ""),
    ROW("", Dropout, 7, 1, 3, 1, 2, dropout, "ratio seed"),
    ROW("", DynamicQuantizeLinear, 11, 1, 1, 1, 3, dynamic_quantize, ""),
    OP(Einsum, 12, 1, 16, einsum, "equation"),
    OP(Elu, 7, 1, 1, elementwise, "alpha"),
    OP(Equal, 7, 2, 2, elementwise, ""),
    OP(Erf, 9, 1, 1, elementwise, ""),
    OP(Exp, 7, 1, 1, elementwise, ""),
    OP(Expand, 8, 2, 2, expand, ""),
    OP(EyeLike, 9, 1, 1, eye_like, "dtype k"),
    OP(Flatten, 7, 1, 1, flatten, "axis"),
    OP(Floor, 7, 1, 1, elementwise, ""),
    ROW("", GRU, 7, 3, 6, 1, 2, recurrent,
        "activation_alpha activation_beta activations clip direction hidden_size "
        "layout linear_before_reset"),
    OP(Gather, 7, 2, 2, gather, "axis"),
    OP(GatherElements, 11, 2, 2, gather_elements, "axis"),
    OP(GatherND, 11, 2, 2, gather_nd, "batch_dims"),
    OP(Gelu, 20, 1, 1, elementwise, "approximate"),
    OP(Gemm, 7, 2, 3, gemm, "alpha beta transA transB"),
    OP(GlobalAveragePool, 7, 1, 1, global_pool, ""),
    OP(GlobalMaxPool, 7, 1, 1, global_pool, ""),
    OP(Greater, 7, 2, 2, elementwise, ""),
    OP(GreaterOrEqual, 12, 2, 2, elementwise, ""),
    OP(GridSample, 16, 2, 2, grid_sample, "align_corners mode padding_mode"),
    OP(GroupNormalization, 18, 3, 3, group_norm, "epsilon num_groups stash_type"),
    FOLDED(HammingWindow, 17, 1, 1, signal_window, "output_datatype periodic"),
    FOLDED(HannWindow, 17, 1, 1, signal_window, "output_datatype periodic"),
    OP(HardSigmoid, 7, 1, 1, activation, "alpha beta"),
    OP(HardSwish, 14, 1, 1, activation, ""),
    OP(Hardmax, 7, 1, 1, hardmax, "axis"),
    OP(Identity, 7, 1, 1, identity, ""),
    CONTROL(If, 7, "else_branch then_branch"),
    OP(InstanceNormalization, 7, 3, 3, instance_norm, "epsilon"),
    OP(IsInf, 10, 1, 1, threshold, "detect_negative detect_positive"),
    OP(IsNaN, 9, 1, 1, elementwise, ""),
    OP(LRN, 7, 1, 1, lrn, "alpha beta bias size"),
    ROW("", LSTM, 7, 3, 8, 1, 3, recurrent,
        "activation_alpha activation_beta activations clip direction hidden_size "
        "input_forget layout"),
    ROW("", LayerNormalization, 17, 2, 3, 1, 3, layer_norm, "axis epsilon stash_type"),
    OP(LeakyRelu, 7, 1, 1, elementwise, "alpha"),
    OP(Less, 7, 2, 2, elementwise, ""),
    OP(LessOrEqual, 12, 2, 2, elementwise, ""),
    ROW("", LinearAttention, 27, 3, 6, 1, 2, linear_attention,
        "chunk_size kv_num_heads q_num_heads scale update_rule"),
    OP(Log, 7, 1, 1, elementwise, ""),
    OP(LogSoftmax, 7, 1, 1, softmax, "axis"),
    CONTROL(Loop, 7, "body"),
    OP(LpNormalization, 7, 1, 1, lp_norm, "axis p"),
    OP(LpPool, 7, 1, 1, lp_pool,
       "auto_pad ceil_mode dilations kernel_shape p pads strides"),
    OP(MatMul, 7, 2, 2, matmul, ""),
    OP(MatMulInteger, 10, 2, 4, matmul_integer, ""),
    OP(Max, 7, 1, ANY, variadic, ""),
    ROW("", MaxPool, 7, 1, 1, 1, 2, pool,
        "auto_pad ceil_mode dilations kernel_shape pads storage_order strides"),
    OP(MaxUnpool, 9, 2, 3, max_unpool, "kernel_shape pads strides"),
    OP(Mean, 7, 1, ANY, variadic, ""),
    OP(MeanVarianceNormalization, 9, 1, 1, mean_variance, "axes"),
    FOLDED(MelWeightMatrix, 17, 5, 5, mel_matrix, "output_datatype"),
    OP(Min, 7, 1, ANY, variadic, ""),
    OP(Mish, 18, 1, 1, activation, ""),
    OP(Mod, 10, 2, 2, elementwise, "fmod"),
    OP(Mul, 7, 2, 2, elementwise, ""),
    OP(Neg, 7, 1, 1, elementwise, ""),
    OP(NegativeLogLikelihoodLoss, 12, 2, 3, likelihood_loss, "ignore_index reduction"),
    {.domain = "",
     .name = "NonMaxSuppression",
     .since = 10,
     .until = WEFT_OPSET_LAST,
     .min_inputs = 2,
     .max_inputs = 5,
     .min_outputs = 1,
     .max_outputs = 1,
     .attributes = "center_point_box",
     .infer = wefti_infer_suppression,
     .fold = wefti_fold_suppression},
    FOLDED(NonZero, 9, 1, 1, non_zero, ""),
    OP(Not, 1, 1, 1, elementwise, ""),
    OP(OneHot, 9, 3, 3, one_hot, "axis"),
    OP(OptionalGetElement, 15, 1, 1, identity, ""),
    FOLDED(OptionalHasElement, 15, 0, 1, has_element, ""),
    OP(Or, 7, 2, 2, elementwise, ""),
    OP(PRelu, 7, 2, 2, elementwise, ""),
    OP(Pad, 7, 2, 4, pad, "mode"),
    OP(Pow, 7, 2, 2, pow, ""),
    OP(QLinearConv, 10, 8, 9, qlinear_conv,
       "auto_pad dilations group kernel_shape pads strides"),
    OP(QLinearMatMul, 10, 8, 8, qlinear_matmul, ""),
    OP(QuantizeLinear, 10, 2, 3, quantize,
       "axis block_size output_dtype precision saturate"),
    OP(RMSNormalization, 23, 2, 2, layer_norm, "axis epsilon stash_type"),
    ROW("", RNN, 7, 3, 6, 1, 2, recurrent,
        "activation_alpha activation_beta activations clip direction hidden_size "
        "layout"),
    OP(RandomNormal, 7, 0, 0, random, "dtype mean scale seed shape"),
    OP(RandomNormalLike, 7, 1, 1, random, "dtype mean scale seed"),
    OP(RandomUniform, 7, 0, 0, random, "dtype high low seed shape"),
    OP(RandomUniformLike, 7, 1, 1, random, "dtype high low seed"),
    FOLDED(Range, 11, 3, 3, range, ""),
    OP(Reciprocal, 7, 1, 1, elementwise, ""),
    OP(ReduceL1, 7, 1, 2, reduce, "axes keepdims noop_with_empty_axes"),
    OP(ReduceL2, 7, 1, 2, reduce, "axes keepdims noop_with_empty_axes"),
    OP(ReduceLogSum, 7, 1, 2, reduce_log, "axes keepdims noop_with_empty_axes"),
    OP(ReduceLogSumExp, 7, 1, 2, reduce_log, "axes keepdims noop_with_empty_axes"),
    OP(ReduceMax, 7, 1, 2, reduce, "axes keepdims noop_with_empty_axes"),
    OP(ReduceMean, 7, 1, 2, reduce, "axes keepdims noop_with_empty_axes"),
    OP(ReduceMin, 7, 1, 2, reduce, "axes keepdims noop_with_empty_axes"),
    OP(ReduceProd, 7, 1, 2, reduce, "axes keepdims noop_with_empty_axes"),
    OP(ReduceSum, 7, 1, 2, reduce, "axes keepdims noop_with_empty_axes"),
    OP(ReduceSumSquare, 7, 1, 2, reduce, "axes keepdims noop_with_empty_axes"),
    OP(Relu, 7, 1, 1, elementwise, ""),
    OP(Reshape, 7, 2, 2, reshape, "allowzero"),
    OP(Resize, 10, 1, 4, resize,
       "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside "
       "extrapolation_value keep_aspect_ratio_policy mode nearest_mode"),
    OP(ReverseSequence, 10, 2, 2, reverse_sequence, "batch_axis time_axis"),
    OP(RoiAlign, 10, 3, 3, roi_align,
       "coordinate_transformation_mode mode output_height output_width sampling_ratio "
       "spatial_scale"),
    OP(RotaryEmbedding, 23, 3, 4, rotary, "interleaved num_heads rotary_embedding_dim"),
    OP(Round, 11, 1, 1, elementwise, ""),
    OP(STFT, 17, 2, 4, stft, "onesided"),
    CONTROL(Scan, 8,
            "body num_scan_inputs scan_input_axes scan_input_directions "
            "scan_output_axes scan_output_directions"),
    OP(Scatter, 9, 3, 3, scatter_elements, "axis"),
    OP(ScatterElements, 11, 3, 3, scatter_elements, "axis reduction"),
    OP(ScatterND, 11, 3, 3, scatter_nd, "reduction"),
    OP(Selu, 7, 1, 1, activation, "alpha gamma"),
    FOLDED(Shape, 7, 1, 1, shape, "end start"),
    OP(Shrink, 9, 1, 1, threshold, "bias lambd"),
    OP(Sigmoid, 7, 1, 1, elementwise, ""),
    OP(Sign, 9, 1, 1, elementwise, ""),
    OP(Sin, 7, 1, 1, elementwise, ""),
    OP(Sinh, 9, 1, 1, elementwise, ""),
    FOLDED(Size, 7, 1, 1, size, ""),
    OP(Slice, 7, 3, 5, slice, ""),
    OP(Softmax, 7, 1, 1, softmax, "axis"),
    ROW("", SoftmaxCrossEntropyLoss, 12, 2, 3, 1, 2, cross_entropy,
        "ignore_index reduction"),
    OP(Softplus, 7, 1, 1, elementwise, ""),
    OP(Softsign, 7, 1, 1, activation, ""),
    OP(SpaceToDepth, 7, 1, 1, space, "blocksize mode"),
    ROW("", Split, 7, 1, 2, 1, ANY, split, "axis num_outputs"),
    OP(Sqrt, 7, 1, 1, elementwise, ""),
    OP(Squeeze, 7, 1, 2, squeeze, "axes"),
    OP(Sub, 7, 2, 2, elementwise, ""),
    OP(Sum, 7, 1, ANY, variadic, ""),
    OP(SwiGLU, 28, 2, 2, swiglu, "alpha"),
    OP(Swish, 24, 1, 1, activation, "alpha"),
    OP(Tan, 7, 1, 1, elementwise, ""),
    OP(Tanh, 7, 1, 1, elementwise, ""),
    OP(TensorScatter, 24, 2, 3, tensor_scatter, "axis mode"),
    OP(TfIdfVectorizer, 9, 1, 1, term_counts,
       "max_gram_length max_skip_count min_gram_length mode ngram_counts ngram_indexes "
       "pool_int64s pool_strings weights"),
    OP(ThresholdedRelu, 10, 1, 1, threshold, "alpha"),
    OP(Tile, 7, 2, 2, tile, ""),
    ROW("", TopK, 7, 2, 2, 2, 2, top_k, "axis largest sorted"),
    OP(Transpose, 7, 1, 1, transpose, "perm"),
    OP(Trilu, 14, 1, 2, trilu, "upper"),
    {.domain = "",
     .name = "Unique",
     .since = 11,
     .until = WEFT_OPSET_LAST,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 4,
     .attributes = "axis sorted",
     .infer = wefti_infer_unique,
     .fold = wefti_fold_unique},
    OP(Unsqueeze, 7, 1, 2, unsqueeze, "axes"),
    {.domain = "",
     .name = "Upsample",
     .since = WEFT_OPSET_FIRST,
     .until = 9,
     .min_inputs = 1,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .attributes = "mode scales",
     .infer = wefti_infer_upsample,
     .lower = wefti_lower_upsample_node},
    OP(Where, 9, 3, 3, elementwise, ""),
    OP(Xor, 7, 2, 2, elementwise, ""),
    ROW("com.microsoft", BiasGelu, 1, 2, 2, 1, 1, bias_gelu, ""),
    ROW("com.microsoft", FastGelu, 1, 1, 2, 1, 1, bias_gelu, ""),
    ROW("com.microsoft", Gelu, 1, 1, 1, 1, 1, bias_gelu, ""),
    ROW("com.microsoft", QGemm, 1, 6, 9, 1, 1, qgemm, "alpha transA transB"),
    ROW("com.microsoft", QLinearAdd, 1, 7, 8, 1, 1, qlinear_add, ""),
    ROW("com.microsoft", QLinearAveragePool, 1, 4, 5, 1, 1, qlinear_average_pool,
        "auto_pad ceil_mode channels_last count_include_pad kernel_shape pads strides"),
    ROW("com.microsoft", QLinearConcat, 1, 5, ANY, 1, 1, qlinear_concat, "axis"),
    ROW("com.microsoft", QLinearGlobalAveragePool, 1, 5, 5, 1, 1,
        qlinear_global_average_pool, "channels_last"),
    ROW("com.microsoft", QLinearLeakyRelu, 1, 4, 5, 1, 1, qlinear_leaky_relu, "alpha"),
    ROW("com.microsoft", QLinearMul, 1, 7, 8, 1, 1, qlinear_mul, ""),
    ROW("com.microsoft", QLinearReduceMean, 1, 4, 5, 1, 1, qlinear_reduce_mean,
        "axes keepdims"),
    ROW("com.microsoft", QLinearSigmoid, 1, 4, 5, 1, 1, qlinear_sigmoid, ""),
    ROW("com.microsoft", QLinearSoftmax, 1, 4, 5, 1, 1, qlinear_softmax, "axis opset"),
    ROW("com.microsoft", QLinearWhere, 1, 8, 9, 1, 1, qlinear_where, ""),
    ROW("weft", FusedAttention, 1, 3, 4, 1, 1, fused_attention, NULL),
    ROW("weft", FusedConv, 1, 2, 4, 1, 1, fused_conv, NULL),
    ROW("weft", FusedElementwise, 1, 1, WEFTI_ELEMENTWISE_MAX_INPUTS, 1, 1,
        fused_elementwise, NULL),
    ROW("weft", FusedLayerNorm, 1, 1, 4, 1, 2, fused_layer_norm, NULL),
    ROW("weft", FusedMatMul, 1, 2, 4, 1, 1, fused_matmul, NULL),
    ROW("weft", View, 1, 1, 1, 1, 1, view, NULL),
};

const wefti_operator *wefti_operator_at(size_t index)
{
    return index < WEFTI_COUNT_OF(operators) ? &operators[index] : NULL;
}

/* Both spellings of ONNX's own domain. */
static const char *plain_domain(const char *domain)
{
    return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

weft_status wefti_operator_find(const char *domain, const char *op_type, int32_t opset,
                                const wefti_operator **found, weft_error *error)
{
    domain = plain_domain(domain);
    bool own = domain[0] == '\0';
    /* Some operators of older opsets mean what they do now. */
    if (own && (opset < 1 || opset > WEFT_OPSET_LAST)) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "opset %d is not supported; convert the model to an opset "
                           "of %d to %d",
                           (int)opset, WEFT_OPSET_FIRST, WEFT_OPSET_LAST);
    }
    const wefti_operator *other = NULL;
    for (size_t i = 0; i < WEFTI_COUNT_OF(operators); i++) {
        const wefti_operator *candidate = &operators[i];
        if (strcmp(candidate->domain, domain) != 0 ||
            strcmp(candidate->name, op_type) != 0) {
            continue;
        }
        if (!own || (opset >= candidate->since && opset <= candidate->until)) {
            *found = candidate;
            return WEFT_OK;
        }
        other = candidate;
    }
    if (other) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "operator %s is not part of opset %d; it is supported from "
                           "opset %d to %d",
                           op_type, (int)opset, (int)other->since, (int)other->until);
    }
    return wefti_error(error, WEFT_UNSUPPORTED,
                       "operator %s%s%s is unknown to this version of weft", domain,
                       own ? "" : "::", op_type);
}

/* What an operator does not know of a newer opset may be right there. */
static weft_status refusal(const wefti_node_view *node)
{
    return node->opset > KNOWN_OPSET ? WEFT_UNSUPPORTED : WEFT_INVALID_MODEL;
}

static weft_status check_count(const wefti_node_view *node, const char *what,
                               size_t count, int32_t least, int32_t most,
                               weft_error *error)
{
    if (count >= (size_t)least && count <= (size_t)most) {
        return WEFT_OK;
    }
    return wefti_error(error, refusal(node), "%s: has %zu %s, expected %s%d%s",
                       node->label, count, what,
                       count < (size_t)least ? "at least " : "at most ",
                       (int)(count < (size_t)least ? least : most),
                       count < (size_t)least ? "" : " here");
}

/* Shapes that come from outside: lowering multiplies their dims freely. */
static weft_status check_known(const wefti_node_view *node, const wefti_known *known,
                               size_t index, weft_error *error)
{
    if (known->type == WEFT_TYPE_NONE) {
        return WEFT_OK;
    }
    weft_tensor shape = {.type = known->type, .rank = known->rank};
    memcpy(shape.dims, known->dims, sizeof(shape.dims));
    weft_status status = weft_tensor_measure(&shape, NULL, NULL, error);
    return status == WEFT_OK
               ? WEFT_OK
               : wefti_error_prefix(error, status, "%s: input %zu", node->label, index);
}

/* True when `name` is one of the words of `names`. */
static bool has_word(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = strstr(names, name); at; at = strstr(at + 1, name)) {
        bool begins = at == names || at[-1] == ' ';
        if (begins && (at[length] == ' ' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* An attribute that is not known would be ignored, and the answer wrong. */
static weft_status check_attributes(const wefti_operator *op,
                                    const wefti_node_view *node, weft_error *error)
{
    for (size_t i = 0; op->attributes && i < node->attribute_count; i++) {
        const char *name = node->attributes[i].name;
        if (!name || name[0] == '\0' || !has_word(op->attributes, name)) {
            return wefti_error(error, refusal(node),
                               "%s: has the attribute '%s', which %s of opset %d does "
                               "not know",
                               node->label, name ? name : "", op->name,
                               (int)node->opset);
        }
    }
    return op->attributes ? wefti_attributes_check_kinds(node, error) : WEFT_OK;
}

weft_status wefti_operator_check(const wefti_operator *op, const wefti_node_view *node,
                                 weft_error *error)
{
    WEFTI_TRY(check_count(node, "inputs", node->input_count, op->min_inputs,
                          op->max_inputs, error));
    WEFTI_TRY(check_count(node, "outputs", node->output_count, op->min_outputs,
                          op->max_outputs, error));
    return check_attributes(op, node, error);
}

weft_status wefti_operator_infer(const wefti_operator *op, const wefti_node_view *node,
                                 const wefti_known *inputs, wefti_known *outputs,
                                 weft_error *error)
{
    WEFTI_TRY(wefti_operator_check(op, node, error));
    for (size_t i = 0; i < node->input_count; i++) {
        WEFTI_TRY(check_known(node, &inputs[i], i, error));
    }
    return op->infer(node, inputs, outputs, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/rows_rules.h"

/* The table of rules, and those of operators that compute element by element. */

/* Every input broadcasts to the result. */
static weft_status broadcast(const wefti_rows_node *at, int64_t *outer,
                             weft_error *error)
{
    (void)outer;
    int32_t rank = at->all->many->values[at->output].known.rank;
    for (size_t i = 0; i < at->node->view.input_count; i++) {
        if (wefti_rows_present(at, i)) {
            int32_t shift = rank - wefti_rows_many(at, i)->rank;
            WEFTI_TRY(wefti_rows_expect(at, i, at->axis - shift, error));
        }
    }
    return WEFT_OK;
}

/* The result has the shape of the first input; the others are the same for all. */
static weft_status first_input(const wefti_rows_node *at, int64_t *outer,
                               weft_error *error)
{
    (void)outer;
    WEFTI_TRY(wefti_rows_expect(at, 0, at->axis, error));
    return wefti_rows_expect_same(at, 1, error);
}

/* Of the second input only the type counts. */
static weft_status cast_like(const wefti_rows_node *at, int64_t *outer,
                             weft_error *error)
{
    (void)outer;
    return wefti_rows_expect(at, 0, at->axis, error);
}

/* The first input broadcasts; the second is the shape, which is known by now. */
static weft_status expand(const wefti_rows_node *at, int64_t *outer, weft_error *error)
{
    (void)outer;
    int32_t rank = at->all->many->values[at->output].known.rank;
    int32_t shift = rank - wefti_rows_many(at, 0)->rank;
    return wefti_rows_expect(at, 0, at->axis - shift, error);
}

/* All elements are one constant. */
static weft_status fill(const wefti_rows_node *at, int64_t *outer, weft_error *error)
{
    (void)at;
    (void)error;
    *outer = 1;
    return WEFT_OK;
}

/* Sorted. Shape, Size and Range are always folded: constants are compared instead. */
static const struct {
    const char *name;
    wefti_rows_rule rule;
} rules[] = {
    {"Abs", broadcast},
    {"Acos", broadcast},
    {"Acosh", broadcast},
    {"Add", broadcast},
    {"And", broadcast},
    {"ArgMax", wefti_rows_reduce},
    {"ArgMin", wefti_rows_reduce},
    {"Asin", broadcast},
    {"Asinh", broadcast},
    {"Atan", broadcast},
    {"Atanh", broadcast},
    {"Attention", wefti_rows_attention},
    {"AveragePool", wefti_rows_pool},
    {"BatchNormalization", wefti_rows_batch_norm},
    {"BiasGelu", broadcast},
    {"BitCast", first_input},
    {"BitShift", broadcast},
    {"BitwiseAnd", broadcast},
    {"BitwiseNot", broadcast},
    {"BitwiseOr", broadcast},
    {"BitwiseXor", broadcast},
    {"Cast", first_input},
    {"CastLike", cast_like},
    {"CausalConvWithState", wefti_rows_causal_conv},
    {"Ceil", broadcast},
    {"Celu", broadcast},
    {"CenterCropPad", first_input},
    {"Clip", broadcast},
    {"Concat", wefti_rows_concat},
    {"ConstantOfShape", fill},
    {"Conv", wefti_rows_conv},
    {"ConvInteger", wefti_rows_conv},
    {"ConvTranspose", wefti_rows_conv},
    {"Cos", broadcast},
    {"Cosh", broadcast},
    {"CumProd", wefti_rows_lines},
    {"CumSum", wefti_rows_lines},
    {"DFT", wefti_rows_lines},
    {"DepthToSpace", wefti_rows_conv},
    {"DequantizeLinear", first_input},
    {"Div", broadcast},
    {"Dropout", first_input},
    {"Elu", broadcast},
    {"Equal", broadcast},
    {"Erf", broadcast},
    {"Exp", broadcast},
    {"Expand", expand},
    {"FastGelu", broadcast},
    {"Flatten", wefti_rows_reshape},
    {"Floor", broadcast},
    {"GRU", wefti_rows_recurrent},
    {"Gather", wefti_rows_gather},
    {"GatherElements", wefti_rows_elements},
    {"GatherND", wefti_rows_gather_nd},
    {"Gelu", broadcast},
    {"Gemm", wefti_rows_gemm},
    {"GlobalAveragePool", wefti_rows_pool},
    {"GlobalMaxPool", wefti_rows_pool},
    {"Greater", broadcast},
    {"GreaterOrEqual", broadcast},
    {"GridSample", wefti_rows_batch},
    {"GroupNormalization", wefti_rows_conv},
    {"HardSigmoid", broadcast},
    {"HardSwish", broadcast},
    {"Hardmax", wefti_rows_softmax},
    {"Identity", first_input},
    {"InstanceNormalization", wefti_rows_conv},
    {"IsInf", broadcast},
    {"IsNaN", broadcast},
    {"LRN", wefti_rows_conv},
    {"LSTM", wefti_rows_recurrent},
    {"LayerNormalization", wefti_rows_layer_norm},
    {"LeakyRelu", broadcast},
    {"Less", broadcast},
    {"LessOrEqual", broadcast},
    {"LinearAttention", wefti_rows_batch},
    {"Log", broadcast},
    {"LogSoftmax", wefti_rows_softmax},
    {"LpNormalization", wefti_rows_lines},
    {"LpPool", wefti_rows_conv},
    {"MatMul", wefti_rows_matmul},
    {"MatMulInteger", wefti_rows_matmul_integer},
    {"Max", broadcast},
    {"MaxPool", wefti_rows_pool},
    {"Mean", broadcast},
    {"Min", broadcast},
    {"Mish", broadcast},
    {"Mod", broadcast},
    {"Mul", broadcast},
    {"Neg", broadcast},
    {"Not", broadcast},
    {"OptionalGetElement", first_input},
    {"Or", broadcast},
    {"PRelu", broadcast},
    {"Pad", wefti_rows_pad},
    {"Pow", broadcast},
    {"QLinearConv", wefti_rows_conv},
    {"QuantizeLinear", first_input},
    {"RMSNormalization", wefti_rows_layer_norm},
    {"RNN", wefti_rows_recurrent},
    {"Reciprocal", broadcast},
    {"ReduceL1", wefti_rows_reduce},
    {"ReduceL2", wefti_rows_reduce},
    {"ReduceLogSum", wefti_rows_reduce},
    {"ReduceLogSumExp", wefti_rows_reduce},
    {"ReduceMax", wefti_rows_reduce},
    {"ReduceMean", wefti_rows_reduce},
    {"ReduceMin", wefti_rows_reduce},
    {"ReduceProd", wefti_rows_reduce},
    {"ReduceSum", wefti_rows_reduce},
    {"ReduceSumSquare", wefti_rows_reduce},
    {"Relu", broadcast},
    {"Reshape", wefti_rows_reshape},
    {"Resize", wefti_rows_resize},
    {"ReverseSequence", wefti_rows_reverse_sequence},
    {"RotaryEmbedding", wefti_rows_rotary},
    {"Round", broadcast},
    {"STFT", wefti_rows_conv},
    {"Scatter", wefti_rows_elements},
    {"ScatterElements", wefti_rows_elements},
    {"Selu", broadcast},
    {"Shrink", broadcast},
    {"Sigmoid", broadcast},
    {"Sign", broadcast},
    {"Sin", broadcast},
    {"Sinh", broadcast},
    {"Slice", wefti_rows_slice},
    {"Softmax", wefti_rows_softmax},
    {"Softplus", broadcast},
    {"Softsign", broadcast},
    {"SpaceToDepth", wefti_rows_conv},
    {"Split", wefti_rows_split},
    {"Sqrt", broadcast},
    {"Squeeze", wefti_rows_reshape},
    {"Sub", broadcast},
    {"Sum", broadcast},
    {"SwiGLU", broadcast},
    {"Swish", broadcast},
    {"Tan", broadcast},
    {"Tanh", broadcast},
    {"TensorScatter", wefti_rows_batch},
    {"ThresholdedRelu", broadcast},
    {"Tile", wefti_rows_tile},
    {"TopK", wefti_rows_lines},
    {"Transpose", wefti_rows_transpose},
    {"Trilu", wefti_rows_trilu},
    {"Unsqueeze", wefti_rows_reshape},
    {"Upsample", wefti_rows_resize},
    {"Where", broadcast},
    {"Xor", broadcast},
};

wefti_rows_rule wefti_rows_find_rule(const wefti_operator *op)
{
    size_t low = 0, high = WEFTI_COUNT_OF(rules);
    while (low < high && strcmp(op->domain, "weft") != 0) {
        size_t middle = (low + high) / 2;
        int order = strcmp(rules[middle].name, op->name);
        if (order == 0) {
            return rules[middle].rule;
        }
        *(order < 0 ? &low : &high) = order < 0 ? middle + 1 : middle;
    }
    return NULL;
}

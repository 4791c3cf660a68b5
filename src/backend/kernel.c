/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/kernel.h"

static const char *const kernel_names[WEFTI_KERNEL_COUNT] = {
    [WEFTI_KERNEL_COPY] = "copy",
    [WEFTI_KERNEL_FILL] = "fill",
    [WEFTI_KERNEL_ELEMENTWISE] = "elementwise",
    [WEFTI_KERNEL_REDUCE] = "reduce",
    [WEFTI_KERNEL_SOFTMAX] = "softmax",
    [WEFTI_KERNEL_LAYER_NORM] = "layer_norm",
    [WEFTI_KERNEL_MATMUL] = "matmul",
    [WEFTI_KERNEL_CONV] = "conv",
    [WEFTI_KERNEL_POOL] = "pool",
    [WEFTI_KERNEL_GATHER] = "gather",
    [WEFTI_KERNEL_ATTENTION] = "attention",
    [WEFTI_KERNEL_GATHER_POINTS] = "gather_points",
    [WEFTI_KERNEL_SCATTER_POINTS] = "scatter_points",
    [WEFTI_KERNEL_CUMULATE] = "cumulate",
    [WEFTI_KERNEL_TOP_K] = "top_k",
    [WEFTI_KERNEL_FOLD] = "fold",
    [WEFTI_KERNEL_SAMPLE] = "sample",
    [WEFTI_KERNEL_ROI_ALIGN] = "roi_align",
    [WEFTI_KERNEL_POOL_INDICES] = "pool_indices",
    [WEFTI_KERNEL_LINEAR_ATTENTION] = "linear_attention",
    [WEFTI_KERNEL_DETERMINANT] = "determinant",
    [WEFTI_KERNEL_MATMUL_BYTES] = "matmul_bytes",
};

const char *wefti_kernel_name(wefti_kernel kernel)
{
    if ((uint32_t)kernel >= WEFTI_KERNEL_COUNT) {
        return "unknown";
    }
    return kernel_names[kernel];
}

typedef struct operation_entry {
    const char *name;
    int32_t arity;
} operation_entry;

static const operation_entry operations[WEFTI_OP_COUNT] = {
    [WEFTI_OP_COPY] = {"copy", 1},
    [WEFTI_OP_NEG] = {"neg", 1},
    [WEFTI_OP_ABS] = {"abs", 1},
    [WEFTI_OP_RECIPROCAL] = {"reciprocal", 1},
    [WEFTI_OP_SQRT] = {"sqrt", 1},
    [WEFTI_OP_EXP] = {"exp", 1},
    [WEFTI_OP_LOG] = {"log", 1},
    [WEFTI_OP_ERF] = {"erf", 1},
    [WEFTI_OP_TANH] = {"tanh", 1},
    [WEFTI_OP_SIGMOID] = {"sigmoid", 1},
    [WEFTI_OP_RELU] = {"relu", 1},
    [WEFTI_OP_LEAKY_RELU] = {"leaky_relu", 1},
    [WEFTI_OP_GELU] = {"gelu", 1},
    [WEFTI_OP_GELU_TANH] = {"gelu_tanh", 1},
    [WEFTI_OP_CLIP] = {"clip", 1},
    [WEFTI_OP_FLOOR] = {"floor", 1},
    [WEFTI_OP_CEIL] = {"ceil", 1},
    [WEFTI_OP_ROUND] = {"round", 1},
    [WEFTI_OP_SIN] = {"sin", 1},
    [WEFTI_OP_COS] = {"cos", 1},
    [WEFTI_OP_SOFTPLUS] = {"softplus", 1},
    [WEFTI_OP_ELU] = {"elu", 1},
    [WEFTI_OP_SIGN] = {"sign", 1},
    [WEFTI_OP_NOT] = {"not", 1},
    [WEFTI_OP_IS_NAN] = {"is_nan", 1},
    [WEFTI_OP_SCALE] = {"scale", 1},
    [WEFTI_OP_TAN] = {"tan", 1},
    [WEFTI_OP_ASIN] = {"asin", 1},
    [WEFTI_OP_ACOS] = {"acos", 1},
    [WEFTI_OP_ATAN] = {"atan", 1},
    [WEFTI_OP_SINH] = {"sinh", 1},
    [WEFTI_OP_COSH] = {"cosh", 1},
    [WEFTI_OP_ASINH] = {"asinh", 1},
    [WEFTI_OP_ACOSH] = {"acosh", 1},
    [WEFTI_OP_ATANH] = {"atanh", 1},
    [WEFTI_OP_BIT_NOT] = {"bit_not", 1},
    [WEFTI_OP_ADD] = {"add", 2},
    [WEFTI_OP_SUB] = {"sub", 2},
    [WEFTI_OP_MUL] = {"mul", 2},
    [WEFTI_OP_DIV] = {"div", 2},
    [WEFTI_OP_MOD] = {"mod", 2},
    [WEFTI_OP_POW] = {"pow", 2},
    [WEFTI_OP_MIN] = {"min", 2},
    [WEFTI_OP_MAX] = {"max", 2},
    [WEFTI_OP_EQUAL] = {"equal", 2},
    [WEFTI_OP_LESS] = {"less", 2},
    [WEFTI_OP_LESS_EQUAL] = {"less_equal", 2},
    [WEFTI_OP_GREATER] = {"greater", 2},
    [WEFTI_OP_GREATER_EQUAL] = {"greater_equal", 2},
    [WEFTI_OP_AND] = {"and", 2},
    [WEFTI_OP_OR] = {"or", 2},
    [WEFTI_OP_XOR] = {"xor", 2},
    [WEFTI_OP_PRELU] = {"prelu", 2},
    [WEFTI_OP_BIT_AND] = {"bit_and", 2},
    [WEFTI_OP_BIT_OR] = {"bit_or", 2},
    [WEFTI_OP_BIT_XOR] = {"bit_xor", 2},
    [WEFTI_OP_SHIFT_LEFT] = {"shift_left", 2},
    [WEFTI_OP_SHIFT_RIGHT] = {"shift_right", 2},
    [WEFTI_OP_WHERE] = {"where", 3},
    [WEFTI_OP_FMA] = {"fma", 3},
};

const char *wefti_operation_name(wefti_operation operation)
{
    if ((uint32_t)operation >= WEFTI_OP_COUNT) {
        return "unknown";
    }
    return operations[operation].name;
}

int32_t wefti_operation_arity(wefti_operation operation)
{
    if ((uint32_t)operation >= WEFTI_OP_COUNT) {
        return 0;
    }
    return operations[operation].arity;
}

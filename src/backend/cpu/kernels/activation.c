/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/activation.h"

#include "backend/cpu/kernels/math.h"

WEFTI_INLINE vf activate(wefti_activation activation, vf x, vf alpha)
{
    switch (activation) {
    case WEFTI_ACTIVATION_GELU:
        return vf_gelu(x);
    case WEFTI_ACTIVATION_GELU_TANH:
        return vf_gelu_tanh(x);
    case WEFTI_ACTIVATION_TANH:
        return vf_tanh(x);
    case WEFTI_ACTIVATION_SIGMOID:
        return vf_sigmoid(x);
    case WEFTI_ACTIVATION_LEAKY_RELU:
        return vf_select(vf_lt(x, vf_zero()), vf_mul(alpha, x), x);
    default:
        return x;
    }
}

WEFTI_INLINE void apply(const wefti_activation activation, float alpha,
                        activation_tile tile)
{
    const vf a = vf_set1(alpha);
    for (int64_t i = 0; i < tile.rows; i++) {
        float *row = tile.c + i * tile.c_row;
        int32_t j = 0;
        for (; j + WEFTI_LANES <= tile.columns; j += WEFTI_LANES) {
            vf_store(row + j, vf_canonical(activate(activation, vf_load(row + j), a)));
        }
        if (j < tile.columns) {
            int32_t rest = tile.columns - j;
            vf x = vf_load_partial(row + j, rest);
            vf_store_partial(row + j, vf_canonical(activate(activation, x, a)), rest);
        }
    }
}

void activation_apply(wefti_activation activation, float alpha, activation_tile tile)
{
    switch (activation) {
    case WEFTI_ACTIVATION_GELU:
        apply(WEFTI_ACTIVATION_GELU, alpha, tile);
        break;
    case WEFTI_ACTIVATION_GELU_TANH:
        apply(WEFTI_ACTIVATION_GELU_TANH, alpha, tile);
        break;
    case WEFTI_ACTIVATION_TANH:
        apply(WEFTI_ACTIVATION_TANH, alpha, tile);
        break;
    case WEFTI_ACTIVATION_SIGMOID:
        apply(WEFTI_ACTIVATION_SIGMOID, alpha, tile);
        break;
    case WEFTI_ACTIVATION_LEAKY_RELU:
        apply(WEFTI_ACTIVATION_LEAKY_RELU, alpha, tile);
        break;
    default:
        break;
    }
}

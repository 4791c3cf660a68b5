/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_REFERENCE_FINISH_H
#define WEFTI_BACKEND_CPU_REFERENCE_FINISH_H

#include "backend/cpu/reference/math.h"
#include "backend/kernel.h"

/* What follows a sum, in plain C (backend/kernel.h). A NaN leaves as the one NaN. */
WEFTI_INLINE float finish_activate(wefti_activation activation, float alpha, float x)
{
    switch (activation) {
    case WEFTI_ACTIVATION_RELU:
        return ref_canonical(0.0f > x ? 0.0f : x);
    case WEFTI_ACTIVATION_GELU:
        return ref_canonical(ref_gelu(x));
    case WEFTI_ACTIVATION_GELU_TANH:
        return ref_canonical(ref_gelu_tanh(x));
    case WEFTI_ACTIVATION_TANH:
        return ref_canonical(ref_tanh(x));
    case WEFTI_ACTIVATION_SIGMOID:
        return ref_canonical(ref_sigmoid(x));
    case WEFTI_ACTIVATION_LEAKY_RELU:
        return ref_canonical(x < 0.0f ? alpha * x : x);
    default:
        return ref_canonical(x);
    }
}

#endif

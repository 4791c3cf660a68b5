/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_REFERENCE_FINISH_H
#define WEFTI_BACKEND_CPU_REFERENCE_FINISH_H

#include <math.h>
#include <stdbool.h>

#include "backend/kernel.h"
#include "base/compiler.h"

/* What follows a sum, in plain C (backend/kernel.h). */

/* A NaN leaves these kernels as the one quiet NaN. */
WEFTI_INLINE float finish_canonical(float x)
{
    return isnan(x) ? NAN : x;
}

WEFTI_INLINE bool finish_known(wefti_activation activation)
{
    return activation == WEFTI_ACTIVATION_NONE || activation == WEFTI_ACTIVATION_RELU ||
           activation == WEFTI_ACTIVATION_LEAKY_RELU;
}

WEFTI_INLINE float finish_activate(wefti_activation activation, float alpha, float x)
{
    switch (activation) {
    case WEFTI_ACTIVATION_RELU:
        return finish_canonical(0.0f > x ? 0.0f : x);
    case WEFTI_ACTIVATION_LEAKY_RELU:
        return finish_canonical(x < 0.0f ? alpha * x : x);
    default:
        return finish_canonical(x);
    }
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* All kernels in one unit, which is one image for each architecture. */
#include "backend/cuda/kernels/device.h"

#include "backend/cpu/scalar_math.c"
#include "backend/cpu/scalar_math_f64.c"
#include "backend/cpu/scalar_trigonometry.c"
#include "backend/cuda/kernels/attention.cu"
#include "backend/cuda/kernels/elementwise.cu"
#include "backend/cuda/kernels/images.cu"
#include "backend/cuda/kernels/lines.cu"
#include "backend/cuda/kernels/move.cu"
#include "backend/cuda/kernels/points.cu"
#include "backend/cuda/kernels/product.cu"
#include "backend/cuda/kernels/near_attention.cu"
#include "backend/cuda/kernels/mma.cu"
#include "backend/cuda/kernels/recurrence.cu"
#include "backend/cuda/kernels/rows.cu"

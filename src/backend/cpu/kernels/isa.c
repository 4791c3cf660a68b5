/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

/* A kernel without a vector version has its plain C one here. */
const wefti_cpu_isa WEFTI_ISA_NAME(wefti_cpu_isa) = {
    .name = TEXT(WEFTI_ISA),
    .supported = WEFTI_ISA_NAME(wefti_cpu_supports),
    .prepare =
        {
            [WEFTI_KERNEL_COPY] = WEFTI_ISA_NAME(wefti_prepare_copy),
            [WEFTI_KERNEL_FILL] = WEFTI_ISA_NAME(wefti_prepare_fill),
            [WEFTI_KERNEL_ELEMENTWISE] = WEFTI_ISA_NAME(wefti_prepare_elementwise),
            [WEFTI_KERNEL_REDUCE] = WEFTI_ISA_NAME(wefti_prepare_reduce),
            [WEFTI_KERNEL_SOFTMAX] = WEFTI_ISA_NAME(wefti_prepare_softmax),
            [WEFTI_KERNEL_LAYER_NORM] = WEFTI_ISA_NAME(wefti_prepare_layer_norm),
            [WEFTI_KERNEL_MATMUL] = WEFTI_ISA_NAME(wefti_prepare_matmul),
            [WEFTI_KERNEL_POOL] = WEFTI_ISA_NAME(wefti_prepare_pool),
            [WEFTI_KERNEL_GATHER] = WEFTI_ISA_NAME(wefti_prepare_gather),
            [WEFTI_KERNEL_CONV] = WEFTI_ISA_NAME(wefti_prepare_conv),
            [WEFTI_KERNEL_ATTENTION] = WEFTI_ISA_NAME(wefti_prepare_attention),
            [WEFTI_KERNEL_GATHER_POINTS] = wefti_prepare_gather_points_reference,
            [WEFTI_KERNEL_SCATTER_POINTS] = wefti_prepare_scatter_points_reference,
            [WEFTI_KERNEL_CUMULATE] = wefti_prepare_cumulate_reference,
            [WEFTI_KERNEL_TOP_K] = wefti_prepare_top_k_reference,
            [WEFTI_KERNEL_FOLD] = wefti_prepare_fold_reference,
            [WEFTI_KERNEL_SAMPLE] = wefti_prepare_sample_reference,
            [WEFTI_KERNEL_ROI_ALIGN] = wefti_prepare_roi_align_reference,
            [WEFTI_KERNEL_POOL_INDICES] = wefti_prepare_pool_indices_reference,
            [WEFTI_KERNEL_LINEAR_ATTENTION] = wefti_prepare_linear_attention_reference,
            [WEFTI_KERNEL_DETERMINANT] = wefti_prepare_determinant_reference,
            [WEFTI_KERNEL_MATMUL_BYTES] = WEFTI_ISA_NAME(wefti_prepare_matmul_bytes),
        },
};

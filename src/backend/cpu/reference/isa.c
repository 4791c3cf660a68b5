/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/reference/reference.h"

static bool always(void)
{
    return true;
}

const wefti_cpu_isa wefti_cpu_isa_reference = {
    .name = "reference",
    .supported = always,
    .prepare =
        {
            [WEFTI_KERNEL_COPY] = wefti_prepare_copy_reference,
            [WEFTI_KERNEL_FILL] = wefti_prepare_fill_reference,
            [WEFTI_KERNEL_ELEMENTWISE] = wefti_prepare_elementwise_reference,
            [WEFTI_KERNEL_REDUCE] = wefti_prepare_reduce_reference,
            [WEFTI_KERNEL_SOFTMAX] = wefti_prepare_softmax_reference,
            [WEFTI_KERNEL_LAYER_NORM] = wefti_prepare_layer_norm_reference,
            [WEFTI_KERNEL_MATMUL] = wefti_prepare_matmul_reference,
            [WEFTI_KERNEL_POOL] = wefti_prepare_pool_reference,
            [WEFTI_KERNEL_GATHER] = wefti_prepare_gather_reference,
            [WEFTI_KERNEL_CONV] = wefti_prepare_conv_reference,
            [WEFTI_KERNEL_ATTENTION] = wefti_prepare_attention_reference,
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
            [WEFTI_KERNEL_MATMUL_BYTES] = wefti_prepare_matmul_bytes_reference,
        },
};

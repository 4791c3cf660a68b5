/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_REFERENCE_REFERENCE_H
#define WEFTI_BACKEND_CPU_REFERENCE_REFERENCE_H

#include "backend/cpu/cpu_kernel.h"

/* The kernels in plain C: the oracles of the vector versions, and what runs where no
 * vector version is needed or possible. Declared here, one file each. */
#define WEFTI_DECLARE_PREPARE(name)                                                    \
    weft_status name(const wefti_step *step, bool may_pack,                            \
                     wefti_cpu_prepared *prepared, weft_error *error)

WEFTI_DECLARE_PREPARE(wefti_prepare_copy_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_fill_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_elementwise_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_reduce_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_softmax_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_layer_norm_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_matmul_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_conv_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_pool_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_gather_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_attention_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_gather_points_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_scatter_points_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_cumulate_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_top_k_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_fold_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_sample_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_roi_align_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_pool_indices_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_linear_attention_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_determinant_reference);
WEFTI_DECLARE_PREPARE(wefti_prepare_matmul_bytes_reference);

extern const wefti_cpu_isa wefti_cpu_isa_reference;

#endif

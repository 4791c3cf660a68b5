/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_KERNELS_KERNELS_H
#define WEFTI_BACKEND_CPU_KERNELS_KERNELS_H

#include "backend/cpu/reference/reference.h"

/* The vector kernels. Each file of this folder is compiled once for each instruction
 * set and defines its functions under the name WEFTI_ISA_NAME(wefti_prepare_...). */
#define WEFTI_DECLARE_ISA(isa)                                                         \
    WEFTI_DECLARE_PREPARE(wefti_prepare_copy_##isa);                                   \
    WEFTI_DECLARE_PREPARE(wefti_prepare_fill_##isa);                                   \
    WEFTI_DECLARE_PREPARE(wefti_prepare_elementwise_##isa);                            \
    WEFTI_DECLARE_PREPARE(wefti_prepare_reduce_##isa);                                 \
    WEFTI_DECLARE_PREPARE(wefti_prepare_softmax_##isa);                                \
    WEFTI_DECLARE_PREPARE(wefti_prepare_layer_norm_##isa);                             \
    WEFTI_DECLARE_PREPARE(wefti_prepare_matmul_##isa);                                 \
    WEFTI_DECLARE_PREPARE(wefti_prepare_conv_##isa);                                   \
    WEFTI_DECLARE_PREPARE(wefti_prepare_matmul_bytes_##isa);                           \
    WEFTI_DECLARE_PREPARE(wefti_prepare_pool_##isa);                                   \
    WEFTI_DECLARE_PREPARE(wefti_prepare_gather_##isa);                                 \
    WEFTI_DECLARE_PREPARE(wefti_prepare_attention_##isa);                              \
    extern const wefti_cpu_isa wefti_cpu_isa_##isa;                                    \
    bool wefti_cpu_supports_##isa(void)

#if defined(__x86_64__)
WEFTI_DECLARE_ISA(avx512);
WEFTI_DECLARE_ISA(avx2);
WEFTI_DECLARE_ISA(sse2);
#elif defined(__aarch64__)
WEFTI_DECLARE_ISA(neon);
#endif

#endif

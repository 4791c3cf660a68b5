/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/kernels.h"

/* Asked here, in code that runs on any processor of the family. */
#if defined(__x86_64__)

bool wefti_cpu_supports_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma");
}

bool wefti_cpu_supports_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool wefti_cpu_supports_sse2(void)
{
    return true;
}

#elif defined(__aarch64__)

bool wefti_cpu_supports_neon(void)
{
    return true;
}

#endif

const wefti_cpu_isa *const wefti_cpu_isas[] = {
#if defined(__x86_64__)
    &wefti_cpu_isa_avx512,    &wefti_cpu_isa_avx2,
    &wefti_cpu_isa_sse2,
#elif defined(__aarch64__)
    &wefti_cpu_isa_neon,
#endif
    &wefti_cpu_isa_reference, NULL,
};

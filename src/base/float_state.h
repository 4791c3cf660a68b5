/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_FLOAT_STATE_H
#define WEFTI_BASE_FLOAT_STATE_H

#include <stdint.h>

#include "base/compiler.h"

/* How the calling thread rounds, whether it flushes denormals to zero and which
 * exceptions trap. A program may set all of that (-ffast-math does, audio code does),
 * each thread has its own, and results depend on it. So whatever computes on a caller's
 * thread does so between enter and leave; Weft's own threads enter once for good.
 *
 *     wefti_float_state state = wefti_float_enter();
 *     compute();              a call: the compiler moves no arithmetic out of it
 *     wefti_float_leave(state);
 *
 * Costs a read and a compare where the state is the usual one. */

#if defined(__x86_64__)
#include <xmmintrin.h>

typedef uint32_t wefti_float_state;

/* MXCSR without its sticky flags: nearest, denormals kept, nothing traps. */
enum { WEFTI_FLOAT_USUAL = 0x1f80, WEFTI_FLOAT_FLAGS = 0x3f };

WEFTI_INLINE wefti_float_state wefti_float_enter(void)
{
    wefti_float_state before = _mm_getcsr();
    if (WEFTI_UNLIKELY((before & ~(uint32_t)WEFTI_FLOAT_FLAGS) != WEFTI_FLOAT_USUAL)) {
        _mm_setcsr(WEFTI_FLOAT_USUAL);
    }
    return before;
}

WEFTI_INLINE void wefti_float_leave(wefti_float_state before)
{
    if (WEFTI_UNLIKELY((before & ~(uint32_t)WEFTI_FLOAT_FLAGS) != WEFTI_FLOAT_USUAL)) {
        _mm_setcsr(before);
    }
}

#elif defined(__aarch64__)

typedef uint64_t wefti_float_state;

/* FPCR; 0 is nearest, denormals kept, NaNs passed on, nothing traps. */
WEFTI_INLINE wefti_float_state wefti_float_enter(void)
{
    wefti_float_state before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    if (WEFTI_UNLIKELY(before != 0)) {
        __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
    }
    return before;
}

WEFTI_INLINE void wefti_float_leave(wefti_float_state before)
{
    if (WEFTI_UNLIKELY(before != 0)) {
        __asm__ volatile("msr fpcr, %0" : : "r"(before));
    }
}

#else
#include <fenv.h>

typedef fenv_t wefti_float_state;

WEFTI_INLINE wefti_float_state wefti_float_enter(void)
{
    wefti_float_state before;
    fegetenv(&before);
    fesetenv(FE_DFL_ENV);
    return before;
}

WEFTI_INLINE void wefti_float_leave(wefti_float_state before)
{
    fesetenv(&before);
}
#endif

#endif

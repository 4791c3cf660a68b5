/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* CUMULATE and TOP_K: what goes along the lines of a tensor [outer][count][inner]. */

#define LINES_THREADS 256
#define LINES_AHEAD 8

/* A thread has a line; it reads some elements ahead of the chain. */
#define LINES_CUMULATE(name, ctype, add, mul)                                          \
    WEFTI_DEVICE void lines_cumulate_##name(const wefti_cumulate_params *p,            \
                                            const ctype *x, ctype *y)                  \
    {                                                                                  \
        const int64_t step = p->reverse ? -p->inner_count : p->inner_count;            \
        int64_t at = p->reverse ? (p->count - 1) * p->inner_count : 0;                 \
        ctype a = (ctype)(p->product ? 1 : 0);                                         \
        for (int64_t i = 0; i < p->count; i += LINES_AHEAD) {                          \
            ctype ahead[LINES_AHEAD];                                                  \
            WEFTI_UNROLL                                                               \
            for (int32_t j = 0; j < LINES_AHEAD; j++) {                                \
                ahead[j] = i + j < p->count ? x[at + j * step] : (ctype)0;             \
            }                                                                          \
            WEFTI_UNROLL                                                               \
            for (int32_t j = 0; j < LINES_AHEAD; j++) {                                \
                const ctype b = ahead[j], before = a;                                  \
                a = (ctype)(p->product ? (mul) : (add));                               \
                if (i + j < p->count) {                                                \
                    y[at + j * step] = p->exclusive ? before : a;                      \
                }                                                                      \
            }                                                                          \
            at += LINES_AHEAD * step;                                                  \
        }                                                                              \
    }

LINES_CUMULATE(f32, float, ref_canonical(a + b), ref_canonical(a *b))
LINES_CUMULATE(f64, double, device_canonical_f64(a + b), device_canonical_f64(a *b))
LINES_CUMULATE(i32, int32_t, (uint32_t)a + (uint32_t)b, (uint32_t)a *(uint32_t)b)
LINES_CUMULATE(i64, int64_t, (uint64_t)a + (uint64_t)b, (uint64_t)a *(uint64_t)b)

WEFTI_KERNEL(LINES_THREADS, weft_cumulate, wefti_cuda_cumulate_call)
{
    const wefti_cumulate_params *p = &call.p;
    const int64_t line = (int64_t)blockIdx.x * LINES_THREADS + threadIdx.x;
    if (line >= p->outer_count * p->inner_count) {
        return;
    }
    const int64_t start =
        line / p->inner_count * p->count * p->inner_count + line % p->inner_count;
    const void *x = call.operands[WEFTI_CUMULATE_INPUT];
    void *y = call.operands[WEFTI_CUMULATE_OUTPUT];
    switch (p->type) {
    case WEFT_TYPE_F32:
        lines_cumulate_f32(p, (const float *)x + start, (float *)y + start);
        break;
    case WEFT_TYPE_F64:
        lines_cumulate_f64(p, (const double *)x + start, (double *)y + start);
        break;
    case WEFT_TYPE_I32:
        lines_cumulate_i32(p, (const int32_t *)x + start, (int32_t *)y + start);
        break;
    default:
        lines_cumulate_i64(p, (const int64_t *)x + start, (int64_t *)y + start);
        break;
    }
}

/* How many elements of the line come before element `own`, or k when there are so many:
 * most are past the k first after a short look. NaN is larger than any number, equal
 * ones go by index. */
#define LINES_RANK(name, ctype)                                                        \
    WEFTI_DEVICE int64_t lines_rank_##name(const wefti_top_k_params *p,                \
                                           const ctype *x, int64_t own)                \
    {                                                                                  \
        const ctype b = x[own * p->inner_count];                                       \
        int64_t rank = 0;                                                              \
        for (int64_t i = 0; i < p->count && rank < p->k; i++) {                        \
            const ctype a = WEFTI_READ(x + i * p->inner_count);                        \
            const bool larger = (a != a && b == b) || a > b;                           \
            const bool smaller = (b != b && a == a) || a < b;                          \
            rank +=                                                                    \
                (p->largest ? larger : smaller) || (!larger && !smaller && i < own);   \
        }                                                                              \
        return rank;                                                                   \
    }

LINES_RANK(f32, float)
LINES_RANK(f64, double)
LINES_RANK(i32, int32_t)
LINES_RANK(i64, int64_t)
LINES_RANK(i8, int8_t)
LINES_RANK(u8, uint8_t)

WEFTI_DEVICE int64_t lines_rank(const wefti_top_k_params *p, const void *input,
                                int64_t start, int64_t own)
{
    switch (p->type) {
    case WEFT_TYPE_F32:
        return lines_rank_f32(p, (const float *)input + start, own);
    case WEFT_TYPE_F64:
        return lines_rank_f64(p, (const double *)input + start, own);
    case WEFT_TYPE_I32:
        return lines_rank_i32(p, (const int32_t *)input + start, own);
    case WEFT_TYPE_I64:
        return lines_rank_i64(p, (const int64_t *)input + start, own);
    case WEFT_TYPE_I8:
        return lines_rank_i8(p, (const int8_t *)input + start, own);
    default:
        return lines_rank_u8(p, (const uint8_t *)input + start, own);
    }
}

/* A thread has an element and finds its place among the first k, if it has one. */
WEFTI_KERNEL(LINES_THREADS, weft_top_k, wefti_cuda_top_k_call)
{
    const wefti_top_k_params *p = &call.p;
    const int64_t at = (int64_t)blockIdx.x * LINES_THREADS + threadIdx.x;
    if (at >= p->outer_count * p->count * p->inner_count) {
        return;
    }
    const int64_t inner = at % p->inner_count;
    const int64_t own = at / p->inner_count % p->count;
    const int64_t outer = at / p->inner_count / p->count;
    const void *input = call.operands[WEFTI_TOP_K_INPUT];
    const int64_t start = outer * p->count * p->inner_count + inner;
    const int64_t rank = lines_rank(p, input, start, own);
    if (rank >= p->k) {
        return;
    }
    const int64_t to = (outer * p->k + rank) * p->inner_count + inner;
    if (call.operands[WEFTI_TOP_K_VALUES] != NULL) {
        device_move_bits(device_type_size(p->type), call.operands[WEFTI_TOP_K_VALUES],
                         to, input, at);
    }
    if (call.operands[WEFTI_TOP_K_INDICES] != NULL) {
        ((int64_t *)call.operands[WEFTI_TOP_K_INDICES])[to] = own;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* SOFTMAX, LAYER_NORM and REDUCE: sums over rows in 16 lanes and one tree. 16 threads
 * have a row, each is one lane; a block has 16 rows. */

#define ROWS_THREADS 256
#define ROWS_GROUPS 16
/* A row of up to 16 times so many elements stays in registers: one wait for memory. */
#define ROWS_KEPT 32

/* Runs `body` for each element of a lane in order: i is its column, v its value. */
#define ROWS_EACH(count, lane, kept, value, body)                                      \
    if ((count) <= 16 * ROWS_KEPT) {                                                   \
        WEFTI_UNROLL                                                                   \
        for (int32_t step = 0; step < ROWS_KEPT; step++) {                             \
            const int64_t i = (lane) + 16 * step;                                      \
            if (i < (count)) {                                                         \
                const float v = (kept)[step];                                          \
                body;                                                                  \
            }                                                                          \
        }                                                                              \
    } else {                                                                           \
        for (int64_t i = (lane); i < (count); i += 16) {                               \
            const float v = value;                                                     \
            body;                                                                      \
        }                                                                              \
    }
#define ROWS_KEEP(count, lane, kept, value)                                            \
    if ((count) <= 16 * ROWS_KEPT) {                                                   \
        WEFTI_UNROLL                                                                   \
        for (int32_t step = 0; step < ROWS_KEPT; step++) {                             \
            const int64_t i = (lane) + 16 * step;                                      \
            (kept)[step] = i < (count) ? value : 0.0f;                                 \
        }                                                                              \
    }

WEFTI_KERNEL(ROWS_THREADS, weft_softmax, wefti_cuda_softmax_call)
{
    WEFTI_SHARED float lanes[ROWS_GROUPS][16];
    const int32_t lane = (int32_t)threadIdx.x % 16, group = (int32_t)threadIdx.x / 16;
    const int64_t row = (int64_t)blockIdx.x * ROWS_GROUPS + group;
    const int64_t count = row < call.p.row_count ? call.p.column_count : 0;
    const float *x =
        (const float *)call.operands[WEFTI_SOFTMAX_INPUT] + row * call.p.column_count;
    float *y = (float *)call.operands[WEFTI_SOFTMAX_OUTPUT] + row * call.p.column_count;
    float kept[ROWS_KEPT];
    ROWS_KEEP(count, lane, kept, x[i])
    float most = -INFINITY;
    ROWS_EACH(count, lane, kept, x[i], most = ref_max(most, v))
    lanes[group][lane] = most;
    WEFTI_FOLD_LANES(lanes, group, lane, ref_max);
    const float largest = lanes[group][0];
    WEFTI_BARRIER();
    float sum = 0.0f;
    ROWS_EACH(count, lane, kept, x[i], sum = sum + ref_exp(v - largest))
    lanes[group][lane] = sum;
    WEFTI_FOLD_LANES(lanes, group, lane, device_add);
    const float total = lanes[group][0];
    const float inverse = 1.0f / total;
    const float logarithm = ref_log(total);
    ROWS_EACH(count, lane, kept, x[i],
              y[i] = ref_canonical(call.p.logarithmic
                                       ? v - largest - logarithm
                                       : ref_exp(v - largest) * inverse))
}

/* Long rows: a block has one. All threads take exponentials, through shared memory 16 of
 * them add, each its lane. The largest of all does not depend on the order: a NaN wins from
 * either side, and between -0 and +0 the exponentials are the same. */
#define WIDE_CHUNK 4096

WEFTI_KERNEL(ROWS_THREADS, weft_softmax_wide, wefti_cuda_softmax_call)
{
    WEFTI_SHARED float values[WIDE_CHUNK];
    WEFTI_SHARED float lanes[1][16];
    const int32_t thread = (int32_t)threadIdx.x;
    const int64_t count = call.p.column_count;
    const float *x = (const float *)call.operands[WEFTI_SOFTMAX_INPUT] +
                     (int64_t)blockIdx.x * count;
    float *y = (float *)call.operands[WEFTI_SOFTMAX_OUTPUT] + (int64_t)blockIdx.x * count;
    float most = -INFINITY;
    for (int64_t i = thread; i < count; i += ROWS_THREADS) {
        most = ref_max(most, x[i]);
    }
    values[thread] = most;
    for (int32_t fold = ROWS_THREADS / 2; fold >= 1; fold /= 2) {
        WEFTI_BARRIER();
        if (thread < fold) {
            values[thread] = ref_max(values[thread], values[thread + fold]);
        }
    }
    WEFTI_BARRIER();
    const float largest = values[0];
    float sum = 0.0f;
    for (int64_t start = 0; start < count; start += WIDE_CHUNK) {
        const int32_t here =
            (int32_t)(count - start < WIDE_CHUNK ? count - start : WIDE_CHUNK);
        WEFTI_BARRIER();
        for (int32_t i = thread; i < here; i += ROWS_THREADS) {
            values[i] = ref_exp(x[start + i] - largest);
        }
        WEFTI_BARRIER();
        for (int32_t i = thread; i < here && thread < 16; i += 16) {
            sum = sum + values[i];
        }
    }
    if (thread < 16) {
        lanes[0][thread] = sum;
    }
    WEFTI_FOLD_LANES(lanes, 0, thread, device_add);
    const float total = lanes[0][0];
    const float inverse = 1.0f / total;
    const float logarithm = ref_log(total);
    for (int64_t i = thread; i < count; i += ROWS_THREADS) {
        const float shifted = x[i] - largest;
        y[i] = ref_canonical(call.p.logarithmic ? shifted - logarithm
                                                : ref_exp(shifted) * inverse);
    }
}

typedef struct norm_row {
    const float *x, *residual, *scale, *bias;
} norm_row;

WEFTI_DEVICE float norm_element(const norm_row *r, int64_t i)
{
    return r->residual != NULL ? r->x[i] + r->residual[i] : r->x[i];
}

WEFTI_DEVICE float norm_scaled(const norm_row *r, int64_t i, float v)
{
    if (r->scale != NULL && r->bias != NULL) {
        return fmaf(v, r->scale[i], r->bias[i]);
    }
    if (r->scale != NULL) {
        return v * r->scale[i];
    }
    return r->bias != NULL ? v + r->bias[i] : v;
}

WEFTI_DEVICE void norm_store(void *operand, int64_t at, float v)
{
    if (operand != NULL) {
        ((float *)operand)[at] = ref_canonical(v);
    }
}

WEFTI_KERNEL(ROWS_THREADS, weft_layer_norm, wefti_cuda_layer_norm_call)
{
    WEFTI_SHARED float lanes[ROWS_GROUPS][16];
    const int32_t lane = (int32_t)threadIdx.x % 16, group = (int32_t)threadIdx.x / 16;
    const int64_t row = (int64_t)blockIdx.x * ROWS_GROUPS + group;
    const int64_t columns = call.p.column_count;
    const int64_t count = row < call.p.row_count ? columns : 0;
    const float *residual = (const float *)call.operands[WEFTI_LAYER_NORM_RESIDUAL];
    const norm_row r = {
        (const float *)call.operands[WEFTI_LAYER_NORM_INPUT] + row * columns,
        residual != NULL ? residual + row * columns : (const float *)0,
        (const float *)call.operands[WEFTI_LAYER_NORM_SCALE],
        (const float *)call.operands[WEFTI_LAYER_NORM_BIAS],
    };
    float kept[ROWS_KEPT];
    ROWS_KEEP(count, lane, kept, norm_element(&r, i))
    float sum = 0.0f;
    ROWS_EACH(count, lane, kept, norm_element(&r, i), sum = sum + v)
    lanes[group][lane] = sum;
    WEFTI_FOLD_LANES(lanes, group, lane, device_add);
    const float mean =
        call.p.root_mean_square ? 0.0f : lanes[group][0] / (float)columns;
    WEFTI_BARRIER();
    sum = 0.0f;
    ROWS_EACH(count, lane, kept, norm_element(&r, i),
              sum = fmaf(v - mean, v - mean, sum))
    lanes[group][lane] = sum;
    WEFTI_FOLD_LANES(lanes, group, lane, device_add);
    const float variance = lanes[group][0] / (float)columns;
    const float inverse = 1.0f / sqrtf(variance + call.p.epsilon);
    ROWS_EACH(count, lane, kept, norm_element(&r, i),
              norm_store(call.operands[WEFTI_LAYER_NORM_SUM], row * columns + i, v);
              norm_store(call.operands[WEFTI_LAYER_NORM_OUTPUT], row * columns + i,
                         norm_scaled(&r, i, (v - mean) * inverse)))
    if (lane == 0 && row < call.p.row_count) {
        norm_store(call.operands[WEFTI_LAYER_NORM_MEAN], row, mean);
        norm_store(call.operands[WEFTI_LAYER_NORM_INVERSE], row, inverse);
    }
}

/* Integer sums wrap. */
#define REDUCE_WRAP(T, U, a, operation, b) ((T)((U)(a)operation(U)(b)))
#define REDUCE_FLOAT_ADD(T, U, a, operation, b) ((a)operation(b))

/* The three pieces of a reduction over T: an element into its lane, two lanes into one,
 * and what the last lane gives. */
#define REDUCE_TYPE(suffix, T, U, BINARY, MOST, LEAST, SQUARE, ABSOLUTE, FINISH)       \
    WEFTI_DEVICE T reduce_tree_##suffix(wefti_reduction r, T a, T b)                   \
    {                                                                                  \
        switch (r) {                                                                   \
        case WEFTI_REDUCE_MAX:                                                         \
            return MOST(a, b);                                                         \
        case WEFTI_REDUCE_MIN:                                                         \
            return LEAST(a, b);                                                        \
        case WEFTI_REDUCE_PROD:                                                        \
            return BINARY(T, U, a, *, b);                                              \
        default:                                                                       \
            return BINARY(T, U, a, +, b);                                              \
        }                                                                              \
    }                                                                                  \
    WEFTI_DEVICE T reduce_step_##suffix(wefti_reduction r, T lane, T v)                \
    {                                                                                  \
        if (r == WEFTI_REDUCE_SUM_SQUARE || r == WEFTI_REDUCE_L2) {                    \
            return SQUARE(v, lane);                                                    \
        }                                                                              \
        return reduce_tree_##suffix(r, lane, r == WEFTI_REDUCE_L1 ? ABSOLUTE(v) : v);  \
    }                                                                                  \
    WEFTI_DEVICE void reduce_row_##suffix(const wefti_cuda_reduce_call *call,          \
                                          int64_t row, int32_t lane, int32_t group,    \
                                          T lanes[ROWS_GROUPS][16], const T start)     \
    {                                                                                  \
        const wefti_reduce_params *p = &call->p;                                       \
        const bool there = row < call->kept_count;                                     \
        const int64_t count = there ? call->reduced_count : 0;                         \
        const T *x = (const T *)call->operands[WEFTI_REDUCE_INPUT];                    \
        if (there) {                                                                   \
            x += device_offset(p->kept_rank, p->kept_dims, p->kept_strides, row);      \
        }                                                                              \
        T sum = start;                                                                 \
        for (int64_t i = lane; i < count; i += 16) {                                   \
            const T v = x[device_offset(p->reduced_rank, p->reduced_dims,              \
                                        p->reduced_strides, i)];                       \
            sum = reduce_step_##suffix(p->reduction, sum, v);                          \
        }                                                                              \
        lanes[group][lane] = sum;                                                      \
        for (int32_t fold = 8; fold >= 1; fold /= 2) {                                 \
            WEFTI_BARRIER();                                                           \
            if (lane < fold) {                                                         \
                lanes[group][lane] = reduce_tree_##suffix(                             \
                    p->reduction, lanes[group][lane], lanes[group][lane + fold]);      \
            }                                                                          \
        }                                                                              \
        WEFTI_BARRIER();                                                               \
        if (lane == 0 && there) {                                                      \
            ((T *)call->operands[WEFTI_REDUCE_OUTPUT])[row] =                          \
                FINISH(p->reduction, lanes[group][0], call->reduced_count);            \
        }                                                                              \
    }                                                                                  \
    WEFTI_DEVICE void reduce_first_##suffix(const wefti_cuda_reduce_call *call,        \
                                            int64_t row)                               \
    {                                                                                  \
        const wefti_reduce_params *p = &call->p;                                       \
        const T *x =                                                                   \
            (const T *)call->operands[WEFTI_REDUCE_INPUT] +                            \
            device_offset(p->kept_rank, p->kept_dims, p->kept_strides, row);           \
        int64_t best = 0;                                                              \
        T found = (T)0;                                                                \
        for (int64_t i = 0; i < call->reduced_count; i++) {                            \
            const T v = x[device_offset(p->reduced_rank, p->reduced_dims,              \
                                        p->reduced_strides, i)];                       \
            const bool better =                                                        \
                p->reduction == WEFTI_REDUCE_ARGMAX ? v > found : v < found;           \
            if (i == 0 || (found == found && (better || v != v))) {                    \
                best = i;                                                              \
                found = v;                                                             \
            }                                                                          \
        }                                                                              \
        ((int64_t *)call->operands[WEFTI_REDUCE_OUTPUT])[row] = best;                  \
    }                                                                                  \
    WEFTI_KERNEL(ROWS_THREADS, weft_reduce_##suffix, wefti_cuda_reduce_call)           \
    {                                                                                  \
        WEFTI_SHARED T lanes[ROWS_GROUPS][16];                                  \
        const int32_t lane = (int32_t)threadIdx.x % 16;                                \
        const int32_t group = (int32_t)threadIdx.x / 16;                               \
        const int64_t row = (int64_t)blockIdx.x * ROWS_GROUPS + group;                 \
        const wefti_reduction r = call.p.reduction;                                    \
        if (r == WEFTI_REDUCE_ARGMAX || r == WEFTI_REDUCE_ARGMIN) {                    \
            if (lane == 0 && row < call.kept_count) {                                  \
                reduce_first_##suffix(&call, row);                                     \
            }                                                                          \
            return;                                                                    \
        }                                                                              \
        const T start = r == WEFTI_REDUCE_MAX    ? REDUCE_LOWEST_##suffix              \
                        : r == WEFTI_REDUCE_MIN  ? REDUCE_HIGHEST_##suffix             \
                        : r == WEFTI_REDUCE_PROD ? (T)1                                \
                                                 : (T)0;                               \
        reduce_row_##suffix(&call, row, lane, group, lanes, start);                    \
    }

#define REDUCE_MOST(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define REDUCE_LEAST(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
#define REDUCE_INTEGER_MOST(a, b) ((a) > (b) ? (a) : (b))
#define REDUCE_INTEGER_LEAST(a, b) ((a) < (b) ? (a) : (b))

#define REDUCE_LOWEST_f32 -INFINITY
#define REDUCE_HIGHEST_f32 INFINITY
#define REDUCE_SQUARE_F32(v, lane) fmaf(v, v, lane)
WEFTI_DEVICE float reduce_finish_f32(wefti_reduction r, float v, int64_t count)
{
    if (r == WEFTI_REDUCE_MEAN) {
        v = v / (float)count;
    }
    return ref_canonical(r == WEFTI_REDUCE_L2 ? sqrtf(v) : v);
}
REDUCE_TYPE(f32, float, float, REDUCE_FLOAT_ADD, REDUCE_MOST, REDUCE_LEAST,
            REDUCE_SQUARE_F32, fabsf, reduce_finish_f32)

#define REDUCE_LOWEST_f64 -(double)INFINITY
#define REDUCE_HIGHEST_f64 (double)INFINITY
#define REDUCE_SQUARE_F64(v, lane) fma(v, v, lane)
WEFTI_DEVICE double reduce_finish_f64(wefti_reduction r, double v, int64_t count)
{
    if (r == WEFTI_REDUCE_MEAN) {
        v = v / (double)count;
    }
    return device_canonical_f64(r == WEFTI_REDUCE_L2 ? sqrt(v) : v);
}
REDUCE_TYPE(f64, double, double, REDUCE_FLOAT_ADD, REDUCE_MOST, REDUCE_LEAST,
            REDUCE_SQUARE_F64, fabs, reduce_finish_f64)

WEFTI_DEVICE int64_t reduce_finish_i64(wefti_reduction r, int64_t v, int64_t count)
{
    return r == WEFTI_REDUCE_MEAN ? (count == 0 ? 0 : v / count) : v;
}

#define REDUCE_LOWEST_i64 INT64_MIN
#define REDUCE_HIGHEST_i64 INT64_MAX
#define REDUCE_SQUARE_I64(v, lane)                                                     \
    REDUCE_WRAP(int64_t, uint64_t, lane, +, REDUCE_WRAP(int64_t, uint64_t, v, *, v))
#define REDUCE_ABSOLUTE_I64(v) ((v) < 0 ? REDUCE_WRAP(int64_t, uint64_t, 0, -, v) : (v))
REDUCE_TYPE(i64, int64_t, uint64_t, REDUCE_WRAP, REDUCE_INTEGER_MOST,
            REDUCE_INTEGER_LEAST, REDUCE_SQUARE_I64, REDUCE_ABSOLUTE_I64,
            reduce_finish_i64)

#define REDUCE_LOWEST_i32 INT32_MIN
#define REDUCE_HIGHEST_i32 INT32_MAX
#define REDUCE_SQUARE_I32(v, lane)                                                     \
    REDUCE_WRAP(int32_t, uint32_t, lane, +, REDUCE_WRAP(int32_t, uint32_t, v, *, v))
#define REDUCE_ABSOLUTE_I32(v) ((v) < 0 ? REDUCE_WRAP(int32_t, uint32_t, 0, -, v) : (v))
WEFTI_DEVICE int32_t reduce_finish_i32(wefti_reduction r, int32_t v, int64_t count)
{
    return (int32_t)reduce_finish_i64(r, v, count);
}
REDUCE_TYPE(i32, int32_t, uint32_t, REDUCE_WRAP, REDUCE_INTEGER_MOST,
            REDUCE_INTEGER_LEAST, REDUCE_SQUARE_I32, REDUCE_ABSOLUTE_I32,
            reduce_finish_i32)

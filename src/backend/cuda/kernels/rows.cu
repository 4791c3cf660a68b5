/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* SOFTMAX, LAYER_NORM and REDUCE: sums over rows in 16 lanes and one tree. 16 threads
 * have a row, each is one lane; a block has 4 rows. The code is kept short: a small net's
 * kernel runs once, and reading its instructions is what takes long. */

#define ROWS_THREADS WEFTI_CUDA_ROWS_THREADS
#define ROWS_GROUPS (ROWS_THREADS / 16)

/* What 16 threads have to do with a row. `kept` elements of a lane stay in registers. */
#define SOFTMAX_KERNEL(name, kept)                                                     \
    WEFTI_KERNEL(ROWS_THREADS, name, wefti_cuda_softmax_call)                          \
    {                                                                                  \
        WEFTI_FOLD_MEMORY(lanes, ROWS_GROUPS)                                          \
        const int32_t lane = (int32_t)threadIdx.x % 16;                                \
        const int32_t group = (int32_t)threadIdx.x / 16;                               \
        const int64_t row = (int64_t)blockIdx.x * ROWS_GROUPS + group;                 \
        const int32_t count =                                                          \
            row < call.p.row_count ? (int32_t)call.p.column_count : 0;                 \
        const float *x = (const float *)call.operands[WEFTI_SOFTMAX_INPUT] +           \
                         row * call.p.column_count;                                    \
        float *y = (float *)call.operands[WEFTI_SOFTMAX_OUTPUT] +                      \
                   row * call.p.column_count;                                          \
        float v[kept];                                                                 \
        float most = -INFINITY;                                                        \
        WEFTI_UNROLL                                                                   \
        for (int32_t step = 0; step < (kept); step++) {                                \
            const int32_t i = lane + 16 * step;                                        \
            v[step] = i < count ? x[i] : -INFINITY;                                    \
        }                                                                              \
        WEFTI_UNROLL                                                                   \
        for (int32_t step = 0; step < (kept); step++) {                                \
            most = lane + 16 * step < count ? ref_max(most, v[step]) : most;           \
        }                                                                              \
        WEFTI_FOLD(most, lanes, 16, ref_max);                                 \
        float total = 0.0f;                                                            \
        WEFTI_UNROLL                                                                   \
        for (int32_t step = 0; step < (kept); step++) {                                \
            v[step] = v[step] - most;                                                  \
            const float e = ref_exp(v[step]);                                          \
            total = lane + 16 * step < count ? total + e : total;                      \
            v[step] = call.p.logarithmic ? v[step] : e;                                \
        }                                                                              \
        WEFTI_FOLD(total, lanes, 16, device_add);                             \
        const float inverse = 1.0f / total;                                            \
        const float logarithm = call.p.logarithmic ? ref_log(total) : 0.0f;            \
        WEFTI_UNROLL                                                                   \
        for (int32_t step = 0; step < (kept); step++) {                                \
            const int32_t i = lane + 16 * step;                                        \
            if (i < count) {                                                           \
                y[i] = ref_canonical(call.p.logarithmic ? v[step] - logarithm          \
                                                        : v[step] * inverse);          \
            }                                                                          \
        }                                                                              \
    }

SOFTMAX_KERNEL(weft_softmax_64, 4)
SOFTMAX_KERNEL(weft_softmax_256, 16)

WEFTI_KERNEL(ROWS_THREADS, weft_softmax, wefti_cuda_softmax_call)
{
    WEFTI_FOLD_MEMORY(lanes, ROWS_GROUPS)
    const int32_t lane = (int32_t)threadIdx.x % 16, group = (int32_t)threadIdx.x / 16;
    const int64_t row = (int64_t)blockIdx.x * ROWS_GROUPS + group;
    const int64_t count = row < call.p.row_count ? call.p.column_count : 0;
    const float *x =
        (const float *)call.operands[WEFTI_SOFTMAX_INPUT] + row * call.p.column_count;
    float *y = (float *)call.operands[WEFTI_SOFTMAX_OUTPUT] + row * call.p.column_count;
    float most = -INFINITY;
    WEFTI_UNROLL_4
    for (int64_t i = lane; i < count; i += 16) {
        most = ref_max(most, x[i]);
    }
    WEFTI_FOLD(most, lanes, 16, ref_max);
    float total = 0.0f;
    WEFTI_UNROLL_4
    for (int64_t i = lane; i < count; i += 16) {
        total = total + ref_exp(x[i] - most);
    }
    WEFTI_FOLD(total, lanes, 16, device_add);
    const float inverse = 1.0f / total;
    const float logarithm = ref_log(total);
    for (int64_t i = lane; i < count; i += 16) {
        const float shifted = x[i] - most;
        y[i] = ref_canonical(call.p.logarithmic ? shifted - logarithm
                                                : ref_exp(shifted) * inverse);
    }
}

/* Long rows: a block has one. All threads take exponentials, through shared memory 16 of
 * them add, each its lane. The largest of all does not depend on the order: a NaN wins from
 * either side, and between -0 and +0 the exponentials are the same. */
#define WIDE_CHUNK 4096
#define WIDE_THREADS WEFTI_CUDA_WIDE_THREADS

WEFTI_KERNEL(WIDE_THREADS, weft_softmax_wide, wefti_cuda_softmax_call)
{
    WEFTI_SHARED float values[WIDE_CHUNK];
    WEFTI_SHARED float lanes[1][16];
    const int32_t thread = (int32_t)threadIdx.x;
    const int64_t count = call.p.column_count;
    const float *x = (const float *)call.operands[WEFTI_SOFTMAX_INPUT] +
                     (int64_t)blockIdx.x * count;
    float *y = (float *)call.operands[WEFTI_SOFTMAX_OUTPUT] + (int64_t)blockIdx.x * count;
    float most = -INFINITY;
    for (int64_t i = thread; i < count; i += WIDE_THREADS) {
        most = ref_max(most, x[i]);
    }
    values[thread] = most;
    for (int32_t fold = WIDE_THREADS / 2; fold >= 1; fold /= 2) {
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
        for (int32_t i = thread; i < here; i += WIDE_THREADS) {
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
    for (int64_t i = thread; i < count; i += WIDE_THREADS) {
        const float shifted = x[i] - largest;
        y[i] = ref_canonical(call.p.logarithmic ? shifted - logarithm
                                                : ref_exp(shifted) * inverse);
    }
}

/* Eight of a lane's elements, from the `step`-th on; missing ones are `other`. */
#define NORM_AT_ONCE 8
WEFTI_DEVICE void norm_read(float *into, const float *from, int32_t lane, int32_t step,
                            int32_t count, float other)
{
    WEFTI_UNROLL
    for (int32_t i = 0; i < NORM_AT_ONCE; i++) {
        const int32_t at = lane + 16 * (step + i);
        into[i] = from != NULL && at < count ? WEFTI_READ(&from[at]) : other;
    }
}

WEFTI_DEVICE void norm_write(void *operand, int64_t row_at, const float *values,
                             int32_t lane, int32_t step, int32_t count)
{
    float *to = (float *)operand + row_at;
    if (operand == NULL) {
        return;
    }
    WEFTI_UNROLL
    for (int32_t i = 0; i < NORM_AT_ONCE; i++) {
        const int32_t at = lane + 16 * (step + i);
        if (at < count) {
            to[at] = ref_canonical(values[i]);
        }
    }
}

/* (s - mean) * inverse, scaled and moved. */
WEFTI_DEVICE float norm_scaled(float v, float scale, float bias, bool scales, bool moves)
{
    if (scales && moves) {
        return fmaf(v, scale, bias);
    }
    v = scales ? v * scale : v;
    return moves ? v + bias : v;
}

typedef struct norm_row {
    const float *x, *residual;
    int64_t at;
    int32_t lane, count;
    bool there;
} norm_row;

WEFTI_DEVICE norm_row norm_find(const wefti_cuda_layer_norm_call *call)
{
    const float *residual = (const float *)call->operands[WEFTI_LAYER_NORM_RESIDUAL];
    const int64_t row =
        (int64_t)blockIdx.x * ROWS_GROUPS + (int32_t)threadIdx.x / 16;
    norm_row r;
    r.there = row < call->p.row_count;
    r.at = row * call->p.column_count;
    r.x = (const float *)call->operands[WEFTI_LAYER_NORM_INPUT] + r.at;
    r.residual = residual != NULL ? residual + r.at : residual;
    r.lane = (int32_t)threadIdx.x % 16;
    r.count = r.there ? (int32_t)call->p.column_count : 0;
    return r;
}

/* s of eight elements. */
WEFTI_DEVICE void norm_load(float *s, const norm_row *r, int32_t step)
{
    float more[NORM_AT_ONCE];
    norm_read(s, r->x, r->lane, step, r->count, 0.0f);
    if (r->residual != NULL) {
        norm_read(more, r->residual, r->lane, step, r->count, 0.0f);
        WEFTI_UNROLL
        for (int32_t i = 0; i < NORM_AT_ONCE; i++) {
            s[i] = s[i] + more[i];
        }
    }
}

/* Adding +0 for elements that are not there changes no sum that began at +0. */
WEFTI_DEVICE float norm_sum(const float *s, float sum)
{
    WEFTI_UNROLL
    for (int32_t i = 0; i < NORM_AT_ONCE; i++) {
        sum = sum + s[i];
    }
    return sum;
}

WEFTI_DEVICE float norm_squares(const float *s, const norm_row *r, int32_t step,
                                float mean, float sum)
{
    WEFTI_UNROLL
    for (int32_t i = 0; i < NORM_AT_ONCE; i++) {
        const float d = r->lane + 16 * (step + i) < r->count ? s[i] - mean : 0.0f;
        sum = fmaf(d, d, sum);
    }
    return sum;
}

WEFTI_DEVICE void norm_store(const wefti_cuda_layer_norm_call *call, const norm_row *r,
                             const float *s, int32_t step, float mean, float inverse)
{
    const float *scales = (const float *)call->operands[WEFTI_LAYER_NORM_SCALE];
    const float *biases = (const float *)call->operands[WEFTI_LAYER_NORM_BIAS];
    float scale[NORM_AT_ONCE], bias[NORM_AT_ONCE];
    norm_read(scale, scales, r->lane, step, r->count, 0.0f);
    norm_read(bias, biases, r->lane, step, r->count, 0.0f);
    WEFTI_UNROLL
    for (int32_t i = 0; i < NORM_AT_ONCE; i++) {
        scale[i] = norm_scaled((s[i] - mean) * inverse, scale[i], bias[i],
                               scales != NULL, biases != NULL);
    }
    norm_write(call->operands[WEFTI_LAYER_NORM_SUM], r->at, s, r->lane, step, r->count);
    norm_write(call->operands[WEFTI_LAYER_NORM_OUTPUT], r->at, scale, r->lane, step,
               r->count);
}

WEFTI_DEVICE void norm_tell(const wefti_cuda_layer_norm_call *call, const norm_row *r,
                            float mean, float inverse)
{
    float *means = (float *)call->operands[WEFTI_LAYER_NORM_MEAN];
    float *inverses = (float *)call->operands[WEFTI_LAYER_NORM_INVERSE];
    const int64_t row =
        (int64_t)blockIdx.x * ROWS_GROUPS + (int32_t)threadIdx.x / 16;
    if (r->lane != 0 || !r->there) {
        return;
    }
    if (means != NULL) {
        means[row] = ref_canonical(mean);
    }
    if (inverses != NULL) {
        inverses[row] = ref_canonical(inverse);
    }
}

/* KEPT: each lane's elements stay in registers; else they are read three times. */
#define NORM_KERNEL(name, most_kept, LOADED)                                           \
    WEFTI_KERNEL(ROWS_THREADS, name, wefti_cuda_layer_norm_call)                       \
    {                                                                                  \
        WEFTI_FOLD_MEMORY(lanes, ROWS_GROUPS)                                          \
        const norm_row r = norm_find(&call);                                           \
        const float columns = (float)call.p.column_count;                              \
        float kept[most_kept];                                                         \
        float sum = 0.0f;                                                              \
        LOADED(norm_load(s, &r, step); sum = norm_sum(s, sum))                         \
        WEFTI_FOLD(sum, lanes, 16, device_add);                               \
        const float mean = call.p.root_mean_square ? 0.0f : sum / columns;             \
        sum = 0.0f;                                                                    \
        LOADED(NORM_AGAIN_##name sum = norm_squares(s, &r, step, mean, sum))           \
        WEFTI_FOLD(sum, lanes, 16, device_add);                               \
        const float inverse = 1.0f / sqrtf(sum / columns + call.p.epsilon);            \
        LOADED(NORM_AGAIN_##name norm_store(&call, &r, s, step, mean, inverse))        \
        norm_tell(&call, &r, mean, inverse);                                           \
    }
#define NORM_16(body)                                                                  \
    WEFTI_UNROLL                                                                       \
    for (int32_t step = 0; step < 16; step += NORM_AT_ONCE) {                          \
        float *s = &kept[step];                                                        \
        body;                                                                          \
    }
#define NORM_64(body)                                                                  \
    WEFTI_UNROLL                                                                       \
    for (int32_t step = 0; step < 64; step += NORM_AT_ONCE) {                          \
        float *s = &kept[step];                                                        \
        body;                                                                          \
    }
#define NORM_ANY(body)                                                                 \
    for (int32_t step = 0; 16 * step < r.count; step += NORM_AT_ONCE) {                \
        float *s = kept;                                                               \
        body;                                                                          \
    }
#define NORM_AGAIN_weft_layer_norm_256
#define NORM_AGAIN_weft_layer_norm_1024
#define NORM_AGAIN_weft_layer_norm norm_load(s, &r, step);

NORM_KERNEL(weft_layer_norm_256, 16, NORM_16)
NORM_KERNEL(weft_layer_norm_1024, 64, NORM_64)
NORM_KERNEL(weft_layer_norm, NORM_AT_ONCE, NORM_ANY)

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

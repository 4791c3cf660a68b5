/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* COPY, FILL, GATHER, POOL, and moving inputs and outputs. */

#define MOVE_THREADS 256

/* Conversions go through one of two wide values: int64 from integers, double from
 * floats, which hold every source exactly. */
typedef struct move_wide {
    bool is_integer;
    int64_t integer;
    double number;
} move_wide;

WEFTI_DEVICE move_wide move_integer(int64_t value)
{
    move_wide wide = {true, value, 0.0};
    wide.number = (double)value;
    return wide;
}

WEFTI_DEVICE move_wide move_number(double value)
{
    move_wide wide = {false, 0, value};
    return wide;
}

/* A 16-bit float with `fraction` fraction bits and exponents from `low`. */
WEFTI_DEVICE double move_from_half(uint16_t bits, int32_t fraction, int32_t low)
{
    const int32_t exponent_bits = 15 - fraction;
    const int32_t exponent = (bits >> fraction) & ((1 << exponent_bits) - 1);
    const int32_t mantissa = bits & ((1 << fraction) - 1);
    double value;
    if (exponent == (1 << exponent_bits) - 1) {
        value = mantissa != 0 ? (double)NAN : (double)INFINITY;
    } else if (exponent == 0) {
        value = ldexp((double)mantissa, low - fraction);
    } else {
        value =
            ldexp((double)(mantissa + (1 << fraction)), exponent - 1 + low - fraction);
    }
    return (bits & 0x8000) != 0 ? -value : value;
}

WEFTI_DEVICE uint16_t move_to_half(double value, int32_t fraction, int32_t low)
{
    const int32_t infinity = ((1 << (15 - fraction)) - 1) << fraction;
    if (value != value) {
        return (uint16_t)(infinity | 1 << (fraction - 1));
    }
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    const double magnitude = fabs(value);
    if (magnitude == 0.0) {
        return sign;
    }
    int32_t exponent = isinf(magnitude) ? 2000 : ilogb(magnitude);
    if (exponent > 1 - low) {
        return (uint16_t)(sign | infinity);
    }
    exponent = exponent < low ? low : exponent;
    const int32_t places = (int32_t)nearbyint(ldexp(magnitude, fraction - exponent));
    return (uint16_t)(sign | (((exponent - low) << fraction) + places));
}

WEFTI_DEVICE move_wide move_load(weft_type type, const void *source, int64_t at)
{
    switch (type) {
    case WEFT_TYPE_F32:
        return move_number((double)((const float *)source)[at]);
    case WEFT_TYPE_F64:
        return move_number(((const double *)source)[at]);
    case WEFT_TYPE_F16:
        return move_number(move_from_half(((const uint16_t *)source)[at], 10, -14));
    case WEFT_TYPE_BF16:
        return move_number(move_from_half(((const uint16_t *)source)[at], 7, -126));
    case WEFT_TYPE_I64:
        return move_integer(((const int64_t *)source)[at]);
    case WEFT_TYPE_I32:
        return move_integer(((const int32_t *)source)[at]);
    case WEFT_TYPE_I8:
        return move_integer(((const int8_t *)source)[at]);
    case WEFT_TYPE_U8:
        return move_integer(((const uint8_t *)source)[at]);
    default:
        return move_integer(((const uint8_t *)source)[at] != 0);
    }
}

/* Integers wrap; numbers are cut to their integer and then to the range; NaN is 0. */
WEFTI_DEVICE int64_t move_cut(move_wide value, int64_t low, int64_t high)
{
    if (value.is_integer) {
        return value.integer;
    }
    if (value.number != value.number) {
        return 0;
    }
    if (value.number <= (double)low) {
        return low;
    }
    return value.number >= (double)high ? high : (int64_t)value.number;
}

WEFTI_DEVICE void move_store(weft_type type, void *target, int64_t at, move_wide value)
{
    switch (type) {
    case WEFT_TYPE_F32:
        ((float *)target)[at] = ref_canonical(value.is_integer ? (float)value.integer
                                                               : (float)value.number);
        break;
    case WEFT_TYPE_F64:
        ((double *)target)[at] = device_canonical_f64(value.number);
        break;
    case WEFT_TYPE_F16:
        ((uint16_t *)target)[at] = move_to_half(value.number, 10, -14);
        break;
    case WEFT_TYPE_BF16:
        ((uint16_t *)target)[at] = move_to_half(value.number, 7, -126);
        break;
    case WEFT_TYPE_I64:
        ((int64_t *)target)[at] = move_cut(value, INT64_MIN, INT64_MAX);
        break;
    case WEFT_TYPE_I32:
        ((int32_t *)target)[at] = (int32_t)move_cut(value, INT32_MIN, INT32_MAX);
        break;
    case WEFT_TYPE_I8:
        ((int8_t *)target)[at] = (int8_t)move_cut(value, INT8_MIN, INT8_MAX);
        break;
    case WEFT_TYPE_U8:
        ((uint8_t *)target)[at] = (uint8_t)move_cut(value, 0, UINT8_MAX);
        break;
    default:
        ((uint8_t *)target)[at] =
            value.is_integer ? value.integer != 0 : value.number != 0.0;
    }
}

WEFTI_KERNEL(MOVE_THREADS, weft_copy, wefti_cuda_copy_call)
{
    const int64_t index = (int64_t)blockIdx.x * MOVE_THREADS + threadIdx.x;
    if (index >= call.count) {
        return;
    }
    const wefti_copy_params *p = &call.p;
    const void *source = call.operands[WEFTI_COPY_SOURCE];
    void *target = call.operands[WEFTI_COPY_TARGET];
    const int64_t from = device_offset(p->rank, p->dims, p->source_strides, index);
    const int64_t to = device_offset(p->rank, p->dims, p->target_strides, index);
    if (p->source_type == p->target_type) {
        device_move_bits(device_type_size(p->source_type), target, to, source, from);
    } else if (device_is_half(p->source_type) && p->target_type == WEFT_TYPE_F32) {
        ((float *)target)[to] =
            device_widen(p->source_type, ((const uint16_t *)source)[from]);
    } else if (device_is_half(p->target_type) && p->source_type == WEFT_TYPE_F32) {
        ((uint16_t *)target)[to] =
            device_narrow(p->target_type, ((const float *)source)[from]);
    } else {
        move_store(p->target_type, target, to, move_load(p->source_type, source, from));
    }
}

WEFTI_KERNEL(MOVE_THREADS, weft_fill, wefti_cuda_fill_call)
{
    const int64_t index = (int64_t)blockIdx.x * MOVE_THREADS + threadIdx.x;
    if (index >= call.count) {
        return;
    }
    const uint64_t value = call.p.value_bits;
    const int64_t to = device_offset(call.p.rank, call.p.dims, call.p.strides, index);
    device_move_bits(device_type_size(call.p.type), call.operands[WEFTI_FILL_TARGET],
                     to, &value, 0);
}

/* One thread moves one unit of `unit_bytes`, which divides inner_bytes and the
 * addresses. */
WEFTI_KERNEL(MOVE_THREADS, weft_gather, wefti_cuda_gather_call)
{
    const int64_t at = (int64_t)blockIdx.x * MOVE_THREADS + threadIdx.x;
    if (at >= call.count) {
        return;
    }
    const wefti_gather_params *p = &call.p;
    const int64_t inner = p->inner_bytes / call.unit_bytes;
    const int64_t row = at / inner, unit = at % inner;
    const int64_t position = row % p->index_count;
    const void *indices = call.operands[WEFTI_GATHER_INDICES];
    int64_t index = p->index_type == WEFT_TYPE_I32
                        ? ((const int32_t *)indices)[position]
                        : ((const int64_t *)indices)[position];
    if (index < -p->axis_size || index >= p->axis_size) {
        device_report(call.operands[WEFTI_CUDA_GATHER_REPORT], call.step, position);
        return;
    }
    index += index < 0 ? p->axis_size : 0;
    const int64_t from = (row / p->index_count * p->axis_size + index) * inner + unit;
    device_move_bits(call.unit_bytes, call.operands[WEFTI_GATHER_OUTPUT], at,
                     call.operands[WEFTI_GATHER_DATA], from);
}

typedef struct pool_window {
    float sum, largest;
    int64_t inside, padded;
} pool_window;

WEFTI_DEVICE void pool_visit(const wefti_pool_params *p, const float *plane,
                             const int64_t at[3], pool_window *w)
{
    bool inside = true, padded = true;
    for (int32_t i = 0; i < 3; i++) {
        inside = inside && at[i] >= 0 && at[i] < p->in_dims[i];
        padded = padded && at[i] >= -p->pads_begin[i] &&
                 at[i] < p->in_dims[i] + p->pads_end[i];
    }
    w->padded += padded ? 1 : 0;
    if (inside) {
        const float v = plane[(at[0] * p->in_dims[1] + at[1]) * p->in_dims[2] + at[2]];
        w->inside++;
        w->sum = w->sum + v;
        w->largest = ref_max(w->largest, v);
    }
}

WEFTI_KERNEL(MOVE_THREADS, weft_pool, wefti_cuda_pool_call)
{
    const int64_t index = (int64_t)blockIdx.x * MOVE_THREADS + threadIdx.x;
    if (index >= call.count) {
        return;
    }
    const wefti_pool_params *p = &call.p;
    const int64_t out_size = p->out_dims[0] * p->out_dims[1] * p->out_dims[2];
    const int64_t in_size = p->in_dims[0] * p->in_dims[1] * p->in_dims[2];
    const float *plane =
        (const float *)call.operands[WEFTI_POOL_INPUT] + index / out_size * in_size;
    const int64_t out[3] = {index / (p->out_dims[2] * p->out_dims[1]) % p->out_dims[0],
                            index / p->out_dims[2] % p->out_dims[1],
                            index % p->out_dims[2]};
    pool_window w = {0.0f, -INFINITY, 0, 0};
    const int64_t taps = p->kernel_dims[0] * p->kernel_dims[1] * p->kernel_dims[2];
    for (int64_t k = 0; k < taps; k++) {
        int64_t at[3], rest = k;
        for (int32_t i = 2; i >= 0; i--) {
            const int64_t position = rest % p->kernel_dims[i];
            rest /= p->kernel_dims[i];
            at[i] =
                out[i] * p->strides[i] - p->pads_begin[i] + position * p->dilations[i];
        }
        pool_visit(p, plane, at, &w);
    }
    float result = ref_canonical(w.largest);
    if (p->average) {
        const int64_t divisor = p->count_include_pad ? w.padded : w.inside;
        result = divisor == 0 ? 0.0f : ref_canonical(w.sum / (float)divisor);
    }
    ((float *)call.operands[WEFTI_POOL_OUTPUT])[index] = result;
}

/* The offset is no volatile one: then each thread would fetch it across the bus, not
 * each warp. It is there before the launch. */
WEFTI_DEVICE void *stage_target(const wefti_cuda_stage_call *call, uint32_t i)
{
    char *target = (char *)call->targets[i];
    if ((call->in_ring >> i & 1u) != 0) {
        target += *call->ring_offset;
    }
    return target;
}

WEFTI_DEVICE void stage_bytes(const wefti_cuda_stage_call *call, uint32_t i)
{
    const int64_t stride = (int64_t)gridDim.x * MOVE_THREADS;
    const int64_t first = (int64_t)blockIdx.x * MOVE_THREADS + threadIdx.x;
    const int64_t pieces = call->bytes[i] / 16;
    const device_float4 *source = (const device_float4 *)call->sources[i];
    device_float4 *target = (device_float4 *)stage_target(call, i);
    for (int64_t k = first; k < pieces; k += stride) {
        target[k] = source[k];
    }
    if (first < call->bytes[i] % 16) {
        ((uint8_t *)(target + pieces))[first] =
            ((const uint8_t *)(source + pieces))[first];
    }
}

/* Eight floats, of 16 bits each to or from f32. */
typedef struct stage_halves {
    uint16_t x[8];
} stage_halves;
typedef union stage_piece {
    device_float4 four;
    stage_halves halves;
} stage_piece;

WEFTI_DEVICE void stage_widen(const wefti_cuda_stage_call *call, uint32_t i)
{
    const weft_type type = (weft_type)call->widened[i];
    const int64_t stride = (int64_t)gridDim.x * MOVE_THREADS;
    const int64_t first = (int64_t)blockIdx.x * MOVE_THREADS + threadIdx.x;
    const int64_t pieces = call->bytes[i] / 16, left = call->bytes[i] % 16 / 2;
    const device_float4 *source = (const device_float4 *)call->sources[i];
    float *target = (float *)call->targets[i];
    for (int64_t k = first; k < pieces; k += stride) {
        stage_piece piece;
        float wide[8];
        piece.four = source[k];
        WEFTI_UNROLL
        for (int32_t e = 0; e < 8; e++) {
            wide[e] = device_widen(type, piece.halves.x[e]);
        }
        const device_float4 low = {wide[0], wide[1], wide[2], wide[3]};
        const device_float4 high = {wide[4], wide[5], wide[6], wide[7]};
        ((device_float4 *)target)[2 * k] = low;
        ((device_float4 *)target)[2 * k + 1] = high;
    }
    if (first < left) {
        target[pieces * 8 + first] =
            device_widen(type, ((const uint16_t *)(source + pieces))[first]);
    }
}

WEFTI_DEVICE void stage_narrow(const wefti_cuda_stage_call *call, uint32_t i)
{
    const weft_type type = (weft_type)call->narrowed[i];
    const int64_t stride = (int64_t)gridDim.x * MOVE_THREADS;
    const int64_t first = (int64_t)blockIdx.x * MOVE_THREADS + threadIdx.x;
    const int64_t pieces = call->bytes[i] / 16, left = call->bytes[i] % 16 / 2;
    const device_float4 *source = (const device_float4 *)call->sources[i];
    device_float4 *target = (device_float4 *)stage_target(call, i);
    for (int64_t k = first; k < pieces; k += stride) {
        const device_float4 low = source[2 * k], high = source[2 * k + 1];
        const float wide[8] = {low.x,  low.y,  low.z,  low.w,
                               high.x, high.y, high.z, high.w};
        stage_piece piece;
        WEFTI_UNROLL
        for (int32_t e = 0; e < 8; e++) {
            piece.halves.x[e] = device_narrow(type, wide[e]);
        }
        target[k] = piece.four;
    }
    if (first < left) {
        ((uint16_t *)(target + pieces))[first] =
            device_narrow(type, ((const float *)source)[pieces * 8 + first]);
    }
}

/* All blocks walk through all tensors, 16 bytes of pinned memory a thread, and the
 * bytes of what is left; both ends are aligned to 16. One piece at a time: with more
 * under way a single copy is quicker, but those of many runs hold each other up on the
 * bus. */
WEFTI_KERNEL(MOVE_THREADS, weft_stage, wefti_cuda_stage_call)
{
    WEFTI_ONCE
    for (uint32_t i = 0; i < call.count; i++) {
        if (call.widened[i] != WEFT_TYPE_NONE) {
            stage_widen(&call, i);
        } else if (call.narrowed[i] != WEFT_TYPE_NONE) {
            stage_narrow(&call, i);
        } else {
            stage_bytes(&call, i);
        }
    }
}

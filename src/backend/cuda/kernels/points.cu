/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/kernels/device.h"

/* GATHER_POINTS and SCATTER_POINTS. */

#define POINTS_THREADS 256

/* Where the elements of a point lie in the data. False: an index is out of range, which
 * is reported. */
WEFTI_DEVICE bool points_locate(const wefti_cuda_points_call *call, int64_t point,
                                int64_t *offset)
{
    const wefti_points_params *p = &call->p;
    const void *indices = call->operands[WEFTI_POINTS_INDICES];
    int64_t at = device_offset(p->rank, p->dims, p->base_strides, point);
    for (int32_t j = 0; j < p->tuple_size; j++) {
        const int64_t position = point * p->tuple_size + j;
        const int64_t index = p->index_type == WEFT_TYPE_I32
                                  ? ((const int32_t *)indices)[position]
                                  : ((const int64_t *)indices)[position];
        const int64_t size = p->tuple_dims[j];
        if (index < (p->from_start ? 0 : -size) || index >= size) {
            device_report(call->operands[WEFTI_CUDA_POINTS_REPORT], call->step,
                          position);
            return false;
        }
        at += (index < 0 ? index + size : index) * p->tuple_strides[j];
    }
    *offset = at;
    return true;
}

/* One thread copies one element of one point. */
WEFTI_KERNEL(POINTS_THREADS, weft_gather_points, wefti_cuda_points_call)
{
    const int64_t at = (int64_t)blockIdx.x * POINTS_THREADS + threadIdx.x;
    const int64_t inner = call.p.inner_count;
    if (at >= call.point_count * inner) {
        return;
    }
    int64_t offset;
    if (points_locate(&call, at / inner, &offset)) {
        device_move_bits(device_type_size(call.p.type),
                         call.operands[WEFTI_POINTS_OTHER], at,
                         call.operands[WEFTI_POINTS_DATA], offset + at % inner);
    }
}

#define POINTS_COMBINE(name, ctype, add, mul)                                          \
    WEFTI_DEVICE void points_combine_##name(wefti_points_reduction reduction,          \
                                            ctype *target, ctype b)                    \
    {                                                                                  \
        const ctype a = *target;                                                       \
        switch (reduction) {                                                           \
        case WEFTI_POINTS_ADD:                                                         \
            *target = (ctype)(add);                                                    \
            break;                                                                     \
        case WEFTI_POINTS_MUL:                                                         \
            *target = (ctype)(mul);                                                    \
            break;                                                                     \
        case WEFTI_POINTS_MAX:                                                         \
            *target = a != a || a > b ? a : b;                                         \
            break;                                                                     \
        default:                                                                       \
            *target = a != a || a < b ? a : b;                                         \
            break;                                                                     \
        }                                                                              \
    }

POINTS_COMBINE(f32, float, ref_canonical(a + b), ref_canonical(a *b))
POINTS_COMBINE(f64, double, device_canonical_f64(a + b), device_canonical_f64(a *b))
POINTS_COMBINE(i32, int32_t, (uint32_t)a + (uint32_t)b, (uint32_t)a *(uint32_t)b)
POINTS_COMBINE(i64, int64_t, (uint64_t)a + (uint64_t)b, (uint64_t)a *(uint64_t)b)
POINTS_COMBINE(i8, int8_t, a + b, a *b)
POINTS_COMBINE(u8, uint8_t, a + b, a *b)

#define POINTS_CASE(type, name, ctype)                                                 \
    case type:                                                                         \
        points_combine_##name(p->reduction, (ctype *)data + to,                        \
                              ((const ctype *)updates)[from]);                         \
        break

WEFTI_DEVICE void points_put(const wefti_cuda_points_call *call, int64_t to,
                             int64_t from)
{
    const wefti_points_params *p = &call->p;
    void *data = call->operands[WEFTI_POINTS_DATA];
    const void *updates = call->operands[WEFTI_POINTS_OTHER];
    if (p->reduction == WEFTI_POINTS_PUT) {
        device_move_bits(device_type_size(p->type), data, to, updates, from);
        return;
    }
    switch (p->type) {
        POINTS_CASE(WEFT_TYPE_F32, f32, float);
        POINTS_CASE(WEFT_TYPE_F64, f64, double);
        POINTS_CASE(WEFT_TYPE_I32, i32, int32_t);
        POINTS_CASE(WEFT_TYPE_I64, i64, int64_t);
        POINTS_CASE(WEFT_TYPE_I8, i8, int8_t);
    default:
        points_combine_u8(p->reduction, (uint8_t *)data + to,
                          ((const uint8_t *)updates)[from]);
        break;
    }
}

/* Each element of the data belongs to one thread, by its point's place modulo the
 * number of buckets and by the lane, and that thread makes all its updates in the order
 * of the points. Every block looks at all points. */
WEFTI_KERNEL(POINTS_THREADS, weft_scatter_points, wefti_cuda_points_call)
{
    WEFTI_SHARED int64_t offsets[POINTS_THREADS];
    WEFTI_SHARED uint32_t buckets[POINTS_THREADS];
    const int32_t own = (int32_t)threadIdx.x;
    const uint32_t thread = blockIdx.x * POINTS_THREADS + threadIdx.x;
    const uint32_t lane = thread % call.lanes, bucket = thread / call.lanes;
    const int64_t inner = call.p.inner_count;
    for (int64_t first = 0; first < call.point_count; first += POINTS_THREADS) {
        const int64_t left = call.point_count - first;
        const int32_t here = left < POINTS_THREADS ? (int32_t)left : POINTS_THREADS;
        WEFTI_BARRIER();
        if (own < here) {
            int64_t offset = 0;
            const bool found = points_locate(&call, first + own, &offset);
            offsets[own] = offset;
            buckets[own] =
                found ? (uint32_t)(offset / inner % call.bucket_count) : UINT32_MAX;
        }
        WEFTI_BARRIER();
        for (int32_t j = 0; j < here; j++) {
            for (int64_t i = lane; buckets[j] == bucket && i < inner; i += call.lanes) {
                points_put(&call, offsets[j] + i, (first + j) * inner + i);
            }
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* GATHER_POINTS and SCATTER_POINTS. */

static int64_t read_index(const wefti_points_params *p, const void *indices,
                          int64_t position)
{
    if (p->index_type == WEFT_TYPE_I32) {
        return ((const int32_t *)indices)[position];
    }
    return ((const int64_t *)indices)[position];
}

/* Where the elements of a point lie in the data. */
static weft_status locate(const wefti_points_params *p, const void *indices,
                          int64_t point, int64_t *offset, weft_error *error)
{
    int64_t at = ref_offset(p->rank, p->dims, p->base_strides, point);
    for (int32_t j = 0; j < p->tuple_size; j++) {
        int64_t index = read_index(p, indices, point * p->tuple_size + j);
        int64_t least = p->from_start ? 0 : -p->tuple_dims[j];
        if (index < least || index >= p->tuple_dims[j]) {
            return wefti_error(
                error, WEFT_INVALID_ARGUMENT,
                "index %" PRId64 " at position %" PRId64
                " is out of range; it must be at least %" PRId64 " and below %" PRId64,
                index, point * p->tuple_size + j, least, p->tuple_dims[j]);
        }
        at += (index < 0 ? index + p->tuple_dims[j] : index) * p->tuple_strides[j];
    }
    *offset = at;
    return WEFT_OK;
}

static weft_status gather(const wefti_cpu_call *call, void *scratch, int64_t begin,
                          int64_t end, weft_error *error)
{
    (void)scratch;
    const wefti_points_params *p = call->params;
    const char *data = call->operands[WEFTI_POINTS_DATA];
    const void *indices = call->operands[WEFTI_POINTS_INDICES];
    char *output = call->operands[WEFTI_POINTS_OTHER];
    int64_t size = (int64_t)weft_type_size(p->type), bytes = p->inner_count * size;
    int64_t count = ref_count(p->rank, p->dims), last = ref_tile_start(count, end);
    for (int64_t i = ref_tile_start(count, begin); i < last; i++) {
        int64_t offset = 0;
        WEFTI_TRY(locate(p, indices, i, &offset, error));
        memcpy(output + i * bytes, data + offset * size, (size_t)bytes);
    }
    return WEFT_OK;
}

#define COMBINE(name, ctype, add, mul)                                                 \
    static void combine_##name(wefti_points_reduction reduction, void *target,         \
                               const void *source, int64_t count)                      \
    {                                                                                  \
        ctype *t = target;                                                             \
        const ctype *s = source;                                                       \
        for (int64_t i = 0; i < count; i++) {                                          \
            ctype a = t[i], b = s[i];                                                  \
            switch (reduction) {                                                       \
            case WEFTI_POINTS_ADD:                                                     \
                t[i] = (ctype)(add);                                                   \
                break;                                                                 \
            case WEFTI_POINTS_MUL:                                                     \
                t[i] = (ctype)(mul);                                                   \
                break;                                                                 \
            case WEFTI_POINTS_MAX:                                                     \
                t[i] = a != a || a > b ? a : b;                                        \
                break;                                                                 \
            default:                                                                   \
                t[i] = a != a || a < b ? a : b;                                        \
                break;                                                                 \
            }                                                                          \
        }                                                                              \
    }

COMBINE(f32, float, a + b, a *b)
COMBINE(f64, double, a + b, a *b)
COMBINE(i32, int32_t, (uint32_t)a + (uint32_t)b, (uint32_t)a *(uint32_t)b)
COMBINE(i64, int64_t, (uint64_t)a + (uint64_t)b, (uint64_t)a *(uint64_t)b)
COMBINE(i8, int8_t, a + b, a *b)
COMBINE(u8, uint8_t, a + b, a *b)

typedef void (*combine_function)(wefti_points_reduction reduction, void *target,
                                 const void *source, int64_t count);

static combine_function find_combine(weft_type type)
{
    switch (type) {
    case WEFT_TYPE_F32:
        return combine_f32;
    case WEFT_TYPE_F64:
        return combine_f64;
    case WEFT_TYPE_I32:
        return combine_i32;
    case WEFT_TYPE_I64:
        return combine_i64;
    case WEFT_TYPE_I8:
        return combine_i8;
    case WEFT_TYPE_U8:
        return combine_u8;
    default:
        return NULL;
    }
}

/* One tile: the order of the updates is part of the answer. */
static weft_status scatter(const wefti_cpu_call *call, void *scratch, int64_t begin,
                           int64_t end, weft_error *error)
{
    (void)scratch;
    (void)begin;
    (void)end;
    const wefti_points_params *p = call->params;
    char *data = call->operands[WEFTI_POINTS_DATA];
    const void *indices = call->operands[WEFTI_POINTS_INDICES];
    const char *updates = call->operands[WEFTI_POINTS_OTHER];
    int64_t size = (int64_t)weft_type_size(p->type), bytes = p->inner_count * size;
    int64_t count = ref_count(p->rank, p->dims);
    combine_function combine = find_combine(p->type);
    for (int64_t i = 0; i < count; i++) {
        int64_t offset = 0;
        WEFTI_TRY(locate(p, indices, i, &offset, error));
        if (p->reduction == WEFTI_POINTS_PUT) {
            memcpy(data + offset * size, updates + i * bytes, (size_t)bytes);
        } else {
            combine(p->reduction, data + offset * size, updates + i * bytes,
                    p->inner_count);
        }
    }
    return WEFT_OK;
}

static weft_status check(const wefti_points_params *p, const char *name,
                         weft_error *error)
{
    bool indexed = p->index_type == WEFT_TYPE_I32 || p->index_type == WEFT_TYPE_I64;
    bool fits = p->rank >= 0 && p->rank <= WEFT_MAX_RANK && p->tuple_size >= 1 &&
                p->tuple_size <= WEFT_MAX_RANK;
    if (!indexed || !fits || weft_type_size(p->type) == 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: %s data with %s indices of %d numbers in %d dimensions "
                           "is not supported",
                           name, weft_type_name(p->type), weft_type_name(p->index_type),
                           (int)p->tuple_size, (int)p->rank);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_gather_points_reference(const wefti_step *step, bool may_pack,
                                                  wefti_cpu_prepared *prepared,
                                                  weft_error *error)
{
    (void)may_pack;
    const wefti_points_params *p = step->params;
    WEFTI_TRY(check(p, "gather_points", error));
    return ref_prepared(prepared, gather, ref_count(p->rank, p->dims),
                        5.0 + (double)p->inner_count * 0.2);
}

weft_status wefti_prepare_scatter_points_reference(const wefti_step *step,
                                                   bool may_pack,
                                                   wefti_cpu_prepared *prepared,
                                                   weft_error *error)
{
    (void)may_pack;
    const wefti_points_params *p = step->params;
    WEFTI_TRY(check(p, "scatter_points", error));
    if (p->reduction != WEFTI_POINTS_PUT && find_combine(p->type) == NULL) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "scatter_points: %s cannot be combined",
                           weft_type_name(p->type));
    }
    WEFTI_TRY(ref_prepared(prepared, scatter, ref_count(p->rank, p->dims),
                           5.0 + (double)p->inner_count * 0.2));
    prepared->tile_count = 1;
    return WEFT_OK;
}

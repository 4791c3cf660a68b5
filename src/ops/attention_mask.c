/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/attention.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "ops/check.h"
#include "ops/lower.h"

/* Which keys a query of ONNX's Attention sees beside what its own mask says. Query i
 * stands at place i + offset of the keys; it sees key j where
 * first <= j - (i + offset) <= last, and where j is one of the valid keys. */

enum { BATCH, HEADS, QUERIES, KEYS };
enum { MOST_PLACES = 1 << 25 };
enum { FAR = INT32_MAX }; /* no bound; lengths of more keys have no triangle anyway */

/* The numbers 0 to count - 1 along one of the last two of four axes. */
static weft_status lay_numbers(wefti_lowering *lowering, int64_t count, int32_t axis,
                               wefti_view *view)
{
    if (count > MOST_PLACES) { /* a small file must not fill the memory */
        return wefti_error(lowering->error, WEFT_UNSUPPORTED,
                           "an attention over %lld places is too large for bounds of "
                           "its own",
                           (long long)count);
    }
    int64_t *numbers = wefti_calloc((size_t)count, sizeof(*numbers));
    if (!numbers) {
        return wefti_error_memory(lowering->error, "the places of an attention");
    }
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = i;
    }
    int64_t dims[4] = {1, 1, 1, 1};
    dims[axis] = count;
    weft_status status =
        wefti_lower_constant(lowering, WEFT_TYPE_I64, 4, dims, numbers, view);
    wefti_free(numbers);
    return status;
}

/* One operation of integers or truth values, which broadcast, into a new value. */
static weft_status combine(wefti_lowering *lowering, wefti_operation operation,
                           weft_type type, const wefti_view *a, const wefti_view *b,
                           wefti_view *result)
{
    const wefti_view operands[] = {*a, *b};
    wefti_instruction instruction = {.operation = operation, .b = 1};
    int64_t dims[4];
    for (int32_t i = 0; i < 4; i++) {
        dims[i] = a->dims[i] == 1 ? b->dims[i] : a->dims[i];
    }
    WEFTI_TRY(wefti_lower_temporary(lowering, type, 4, dims, result));
    return wefti_lower_elementwise(lowering, operands, 2, &instruction, 1, result);
}

/* base + number in each batch element. */
static weft_status shift(wefti_lowering *lowering, const wefti_view *base,
                         int64_t number, wefti_view *result)
{
    static const int64_t one[4] = {1, 1, 1, 1};
    wefti_view constant;
    WEFTI_TRY(
        wefti_lower_constant(lowering, WEFT_TYPE_I64, 4, one, &number, &constant));
    return combine(lowering, WEFTI_OP_ADD, WEFT_TYPE_I64, base, &constant, result);
}

/* The bounds of a cache kept outside, whose valid keys each request counts. */
static weft_status make_counted(wefti_lowering *lowering, const wefti_attention_band *b,
                                wefti_view *mask)
{
    wefti_view counts = wefti_view_absent(), keys, queries, apart, limit, inside;
    wefti_view lengths = b->lengths;
    lengths.rank = 4;
    for (int32_t i = 1; i < 4; i++) {
        lengths.dims[i] = lengths.strides[i] = 1;
    }
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_I64, 4, lengths.dims, &counts));
    WEFTI_TRY(wefti_lower_copy(lowering, &lengths, &counts));
    WEFTI_TRY(lay_numbers(lowering, b->keys, KEYS, &keys));
    WEFTI_TRY(combine(lowering, WEFTI_OP_LESS, WEFT_TYPE_BOOL, &keys, &counts, mask));
    if (b->first == -FAR && b->last == FAR) {
        return WEFT_OK;
    }
    WEFTI_TRY(lay_numbers(lowering, b->queries, QUERIES, &queries));
    WEFTI_TRY(combine(lowering, WEFTI_OP_SUB, WEFT_TYPE_I64, &keys, &queries, &apart));
    if (b->last != FAR) {
        wefti_view before = *mask;
        WEFTI_TRY(shift(lowering, &counts, b->last - b->queries, &limit));
        WEFTI_TRY(combine(lowering, WEFTI_OP_LESS_EQUAL, WEFT_TYPE_BOOL, &apart, &limit,
                          &inside));
        WEFTI_TRY(
            combine(lowering, WEFTI_OP_AND, WEFT_TYPE_BOOL, &before, &inside, mask));
    }
    if (b->first != -FAR) {
        wefti_view before = *mask;
        WEFTI_TRY(shift(lowering, &counts, b->first - b->queries, &limit));
        WEFTI_TRY(combine(lowering, WEFTI_OP_GREATER_EQUAL, WEFT_TYPE_BOOL, &apart,
                          &limit, &inside));
        WEFTI_TRY(
            combine(lowering, WEFTI_OP_AND, WEFT_TYPE_BOOL, &before, &inside, mask));
    }
    return WEFT_OK;
}

wefti_attention_band wefti_attention_read_band(const wefti_node_view *node)
{
    int64_t left = wefti_attribute_int(node, "left_window_size", -1);
    int64_t right = wefti_attribute_int(node, "right_window_size", -1);
    bool causal = wefti_attribute_int(node, "is_causal", 0) != 0;
    return (wefti_attention_band){
        .lengths = wefti_view_absent(),
        .first = left >= 0 && left < FAR ? -left : -FAR,
        .last = causal ? 0 : (right >= 0 && right < FAR ? right : FAR)};
}

bool wefti_attention_is_causal(const wefti_attention_band *band)
{
    return band->first == -FAR && band->last == 0;
}

weft_status wefti_lower_band(wefti_lowering *lowering, const wefti_attention_band *band,
                             wefti_view *mask)
{
    const int64_t dims[2] = {band->queries, band->keys};
    *mask = wefti_view_absent();
    if (band->queries == 0 || band->keys == 0) {
        return WEFT_OK;
    }
    if (wefti_view_present(&band->lengths)) {
        return make_counted(lowering, band, mask);
    }
    if (band->first != -FAR) {
        WEFTI_TRY(wefti_lower_triangle(lowering, dims, band->offset + band->first, true,
                                       mask));
    }
    if (band->last == FAR) {
        return WEFT_OK;
    }
    wefti_view left = *mask, right;
    WEFTI_TRY(
        wefti_lower_triangle(lowering, dims, band->offset + band->last, false, &right));
    if (!wefti_view_present(&left)) {
        *mask = right;
        return WEFT_OK;
    }
    static const wefti_instruction both = {.operation = WEFTI_OP_AND, .b = 1};
    const wefti_view operands[] = {left, right};
    WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_BOOL, 2, dims, mask));
    return wefti_lower_elementwise(lowering, operands, 2, &both, 1, mask);
}

weft_status wefti_lower_join_masks(wefti_lowering *lowering, const wefti_view *band,
                                   wefti_view *mask)
{
    if (!wefti_view_present(mask)) {
        *mask = *band;
        return WEFT_OK;
    }
    int32_t rank = mask->rank > band->rank ? mask->rank : band->rank;
    int64_t dims[WEFT_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) {
        int32_t m = i - (rank - mask->rank), b = i - (rank - band->rank);
        int64_t own = m >= 0 ? mask->dims[m] : 1, other = b >= 0 ? band->dims[b] : 1;
        dims[i] = own == 1 ? other : own;
    }
    wefti_view joined;
    WEFTI_TRY(wefti_lower_temporary(lowering, mask->type, rank, dims, &joined));
    wefti_view operands[3] = {*band, *mask};
    wefti_instruction both = {.operation = WEFTI_OP_AND, .b = 1};
    if (mask->type == WEFT_TYPE_BOOL) {
        WEFTI_TRY(wefti_lower_elementwise(lowering, operands, 2, &both, 1, &joined));
    } else {
        int64_t none = 0;
        float hidden = -INFINITY;
        WEFTI_TRY(wefti_lower_constant(lowering, WEFT_TYPE_F32, 0, &none, &hidden,
                                       &operands[2]));
        both = (wefti_instruction){.operation = WEFTI_OP_WHERE, .b = 1, .c = 2};
        WEFTI_TRY(wefti_lower_elementwise(lowering, operands, 3, &both, 1, &joined));
    }
    *mask = joined;
    return WEFT_OK;
}

weft_status wefti_lower_widen_mask(wefti_lowering *lowering, int64_t keys,
                                   wefti_view *mask)
{
    int32_t last = mask->rank - 1;
    if (!wefti_view_present(mask) || mask->rank < 1 || mask->dims[last] == 1 ||
        mask->dims[last] == keys) {
        return WEFT_OK;
    }
    int64_t dims[WEFT_MAX_RANK];
    memcpy(dims, mask->dims, sizeof(dims));
    dims[last] = keys;
    wefti_view wide;
    WEFTI_TRY(wefti_lower_temporary(lowering, mask->type, mask->rank, dims, &wide));
    bool truth = mask->type == WEFT_TYPE_BOOL;
    WEFTI_TRY(wefti_lower_fill(
        lowering, &wide, truth ? 0 : wefti_value_bits(mask->type, -(double)INFINITY)));
    wefti_view part = wide;
    part.dims[last] = mask->dims[last];
    WEFTI_TRY(wefti_lower_copy(lowering, mask, &part));
    *mask = wide;
    return WEFT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/operator.h"

wefti_view wefti_view_absent(void)
{
    return (wefti_view){.buffer = -1};
}

bool wefti_view_present(const wefti_view *view)
{
    return view->buffer >= 0;
}

/* A tensor of no elements may have huge other dims: strides then wrap, unused. */
static int64_t multiply_wrapping(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

void wefti_view_make_dense(wefti_view *view)
{
    int64_t stride = 1;
    for (int32_t i = view->rank - 1; i >= 0; i--) {
        view->strides[i] = stride;
        stride = multiply_wrapping(stride, view->dims[i] > 0 ? view->dims[i] : 1);
    }
}

bool wefti_view_is_dense(const wefti_view *view)
{
    if (wefti_view_element_count(view) == 0) {
        return true;
    }
    int64_t stride = 1;
    for (int32_t i = view->rank - 1; i >= 0; i--) {
        if (view->dims[i] != 1 && view->strides[i] != stride) {
            return false;
        }
        stride *= view->dims[i];
    }
    return true;
}

int64_t wefti_view_element_count(const wefti_view *view)
{
    int64_t count = 1;
    for (int32_t i = 0; i < view->rank; i++) {
        if (view->dims[i] == 0) {
            return 0;
        }
    }
    for (int32_t i = 0; i < view->rank; i++) {
        count = multiply_wrapping(count, view->dims[i]);
    }
    return count;
}

const void *wefti_view_constant(const wefti_program *program, const wefti_view *view)
{
    if (view->buffer < 0 || (size_t)view->buffer >= program->buffer_count) {
        return NULL;
    }
    const wefti_buffer *buffer = &program->buffers[view->buffer];
    if (buffer->kind != WEFTI_BUFFER_CONSTANT) {
        return NULL;
    }
    return (const char *)buffer->constant + view->offset_bytes;
}

/* Splits the walk over dims [begin, end) of the old shape among new dims of the same
 * product; false when the old ones do not lie as one. */
static bool reshape_group(const wefti_view *old, int32_t begin, int32_t end,
                          wefti_view *fresh, int32_t fresh_begin, int32_t fresh_end)
{
    for (int32_t i = begin; i + 1 < end; i++) {
        if (old->strides[i] != old->dims[i + 1] * old->strides[i + 1]) {
            return false;
        }
    }
    int64_t stride = old->strides[end - 1];
    for (int32_t i = fresh_end - 1; i >= fresh_begin; i--) {
        fresh->strides[i] = stride;
        stride *= fresh->dims[i];
    }
    return true;
}

static wefti_view without_dims_of_one(const wefti_view *view)
{
    wefti_view result = {.buffer = view->buffer};
    for (int32_t i = 0; i < view->rank; i++) {
        if (view->dims[i] != 1) {
            result.dims[result.rank] = view->dims[i];
            result.strides[result.rank] = view->strides[i];
            result.rank++;
        }
    }
    return result;
}

/* Matches groups of old and new dims with equal products, both without zeros. */
static bool reshape_full(const wefti_view *old, wefti_view *fresh)
{
    int32_t i = 0;
    int32_t j = 0;
    while (i < old->rank && j < fresh->rank) {
        int32_t old_begin = i;
        int32_t fresh_begin = j;
        int64_t old_product = old->dims[i++];
        int64_t fresh_product = fresh->dims[j++];
        while (old_product != fresh_product) {
            if (old_product < fresh_product && i < old->rank) {
                old_product *= old->dims[i++];
            } else if (old_product > fresh_product && j < fresh->rank) {
                fresh_product *= fresh->dims[j++];
            } else {
                return false;
            }
        }
        if (!reshape_group(old, old_begin, i, fresh, fresh_begin, j)) {
            return false;
        }
    }
    for (; j < fresh->rank; j++) {
        fresh->strides[j] = 1; /* dims of 1 at the end */
    }
    return i == old->rank;
}

bool wefti_view_reshape(wefti_view *view, int32_t rank, const int64_t *dims)
{
    wefti_view fresh = *view;
    fresh.rank = rank;
    memcpy(fresh.dims, dims, (size_t)rank * sizeof(*dims));
    if (wefti_view_is_dense(view)) {
        wefti_view_make_dense(&fresh);
        *view = fresh;
        return true;
    }
    wefti_view old = without_dims_of_one(view);
    if (!reshape_full(&old, &fresh)) {
        return false;
    }
    *view = fresh;
    return true;
}

void wefti_broadcast_strides(const wefti_view *view, int32_t rank, const int64_t *dims,
                             int64_t *strides)
{
    int32_t missing = rank - view->rank;
    for (int32_t i = 0; i < rank; i++) {
        bool repeats = i < missing || (view->dims[i - missing] == 1 && dims[i] != 1);
        strides[i] = repeats ? 0 : view->strides[i - missing];
    }
}

void wefti_view_broadcast(wefti_view *view, int32_t rank, const int64_t *dims)
{
    int64_t strides[WEFT_MAX_RANK];
    wefti_broadcast_strides(view, rank, dims, strides);
    view->rank = rank;
    memcpy(view->dims, dims, (size_t)rank * sizeof(*dims));
    memcpy(view->strides, strides, (size_t)rank * sizeof(*dims));
}

static bool dims_merge(int32_t outer, int32_t inner, const int64_t *dims,
                       int64_t *const *strides, int32_t operand_count)
{
    for (int32_t i = 0; i < operand_count; i++) {
        if (strides[i][outer] != strides[i][inner] * dims[inner]) {
            return false;
        }
    }
    return true;
}

int32_t wefti_collapse_dims(int32_t rank, int64_t *dims, int64_t *const *strides,
                            int32_t operand_count)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] == 1) {
            continue;
        }
        bool merges = kept > 0 && dims_merge(kept - 1, i, dims, strides, operand_count);
        int32_t target = merges ? kept - 1 : kept;
        dims[target] = merges ? dims[target] * dims[i] : dims[i];
        for (int32_t j = 0; j < operand_count; j++) {
            strides[j][target] = strides[j][i];
        }
        kept = target + 1;
    }
    if (kept == 0) {
        dims[0] = 1;
        for (int32_t j = 0; j < operand_count; j++) {
            strides[j][0] = 1;
        }
        kept = 1;
    }
    return kept;
}

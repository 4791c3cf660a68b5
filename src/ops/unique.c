/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/sizes.h"

/* Unique, of elements or of slices along an axis. Slices are compared element by
 * element; a NaN is equal to a NaN and larger than anything else. */

enum { Y, INDICES, INVERSE, COUNTS };
/* Slices with elements are in memory; without any their number is only a claim. */
enum { MOST_EMPTY = 1 << 20 };

/* The input as [outer, count, inner], of which `count` slices are compared. */
typedef struct slices {
    const wefti_known *input;
    int32_t axis; /* -1: flat */
    int64_t outer, count, inner;
} slices;

/* The groups of equal slices, in the order of the result. */
typedef struct groups {
    int64_t *order;  /* slices, equal ones behind each other, the first one first */
    int64_t *starts; /* of each group in `order`; one more at the end */
    int64_t count;
} groups;

static double number_at(const wefti_known *known, int64_t i)
{
    switch (known->type) {
    case WEFT_TYPE_F32:
        return ((const float *)known->constant)[i];
    case WEFT_TYPE_F64:
        return ((const double *)known->constant)[i];
    case WEFT_TYPE_I32:
        return ((const int32_t *)known->constant)[i];
    case WEFT_TYPE_I8:
        return ((const int8_t *)known->constant)[i];
    default:
        return ((const uint8_t *)known->constant)[i];
    }
}

static int compare_elements(const wefti_known *known, int64_t a, int64_t b)
{
    if (known->type == WEFT_TYPE_I64) { /* not every one is a double */
        int64_t x = ((const int64_t *)known->constant)[a];
        int64_t y = ((const int64_t *)known->constant)[b];
        return x < y ? -1 : x > y;
    }
    double x = number_at(known, a), y = number_at(known, b);
    if (isnan(x) || isnan(y)) {
        return (isnan(x) ? 1 : 0) - (isnan(y) ? 1 : 0);
    }
    return x < y ? -1 : x > y;
}

static int compare_slices(const slices *all, int64_t a, int64_t b)
{
    if (all->inner == 0) {
        return 0; /* `outer` may be any number then */
    }
    for (int64_t o = 0; o < all->outer; o++) {
        for (int64_t k = 0; k < all->inner; k++) {
            int64_t base = o * all->count * all->inner + k;
            int order = compare_elements(all->input, base + a * all->inner,
                                         base + b * all->inner);
            if (order != 0) {
                return order;
            }
        }
    }
    return 0;
}

/* Merges two sorted runs; equal slices keep their order. */
static void merge(const slices *all, const int64_t *from, int64_t *to, int64_t middle,
                  int64_t end)
{
    int64_t left = 0, right = middle;
    for (int64_t i = 0; i < end; i++) {
        bool take_left =
            left < middle &&
            (right >= end || compare_slices(all, from[left], from[right]) <= 0);
        to[i] = from[take_left ? left++ : right++];
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Sorts `order`; `other` is as long. Returns the one of them with the result. */
static int64_t *sort(const slices *all, int64_t *order, int64_t *other)
{
    for (int64_t width = 1; width < all->count; width *= 2) {
        for (int64_t i = 0; i < all->count; i += 2 * width) {
            int64_t end = smaller(2 * width, all->count - i);
            merge(all, order + i, other + i, smaller(width, end), end);
        }
        int64_t *swap = order;
        order = other;
        other = swap;
    }
    return order;
}

/* Puts the groups into the order of their first slices. */
static void order_by_first(groups *found, const int64_t *sorted, int64_t *scratch,
                           int64_t count)
{
    /* scratch[first slice of a group] = its start, -1 elsewhere */
    memset(scratch, 0xff, (size_t)count * sizeof(*scratch));
    for (int64_t g = 0; g < found->count; g++) {
        scratch[sorted[found->starts[g]]] = found->starts[g];
    }
    int64_t at = 0, group = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t start = scratch[i];
        if (start < 0) {
            continue;
        }
        found->starts[count + 1 + group++] = at; /* behind those that are still read */
        int64_t end = start + 1;
        found->order[at++] = sorted[start];
        while (end < count && scratch[sorted[end]] < 0) {
            found->order[at++] = sorted[end++];
        }
    }
    memcpy(found->starts, found->starts + count + 1,
           (size_t)group * sizeof(*found->starts));
}

static weft_status find_groups(const wefti_node_view *node, const slices *all,
                               groups *found, weft_error *error)
{
    size_t count = (size_t)all->count;
    /* order, another order, starts twice; in one block */
    int64_t *room = wefti_calloc(4 * count + 2 + count, sizeof(*room));
    if (room == NULL) {
        return wefti_error_memory(error, "the groups of Unique");
    }
    int64_t *first = room, *second = room + count;
    found->starts = room + 2 * count;
    int64_t *scratch = room + 4 * count + 2;
    for (size_t i = 0; i < count; i++) {
        first[i] = (int64_t)i;
    }
    int64_t *sorted = sort(all, first, second);
    found->order = sorted == first ? second : first;
    found->count = 0;
    for (int64_t i = 0; i < all->count; i++) {
        if (i == 0 || compare_slices(all, sorted[i - 1], sorted[i]) != 0) {
            found->starts[found->count++] = i;
        }
    }
    if (wefti_attribute_int(node, "sorted", 1) != 0) {
        if (count > 0) {
            memcpy(found->order, sorted, count * sizeof(*sorted));
        }
    } else if (count > 0) {
        order_by_first(found, sorted, scratch, all->count);
    }
    found->starts[found->count] = all->count;
    if (found->order != room && count > 0) { /* the block begins with it */
        memmove(room, found->order, count * sizeof(*room));
    }
    found->order = room;
    return WEFT_OK;
}

static weft_status read_slices(const wefti_node_view *node, const wefti_known *inputs,
                               slices *all, weft_error *error)
{
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_VALUE, error));
    WEFTI_TRY(wefti_check_holds(node, inputs, error));
    *all = (slices){&inputs[0], -1, 1, wefti_known_element_count(&inputs[0]), 1};
    if (wefti_attribute_find(node, "axis") == NULL) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_check_axis(node, wefti_attribute_int(node, "axis", 0),
                               inputs[0].rank, &all->axis, error));
    all->count = inputs[0].dims[all->axis];
    all->outer = wefti_count_dims(all->axis, inputs[0].dims);
    all->inner = wefti_count_dims(inputs[0].rank - all->axis - 1,
                                  &inputs[0].dims[all->axis + 1]);
    if (all->count > MOST_EMPTY && wefti_known_element_count(&inputs[0]) == 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: %lld slices without elements; at most %d are supported",
                           node->label, (long long)all->count, (int)MOST_EMPTY);
    }
    return WEFT_OK;
}

weft_status wefti_infer_unique(const wefti_node_view *node, const wefti_known *inputs,
                               wefti_known *outputs, weft_error *error)
{
    slices all;
    groups found;
    WEFTI_TRY(read_slices(node, inputs, &all, error));
    WEFTI_TRY(find_groups(node, &all, &found, error));
    wefti_free(found.order);
    int64_t dims[WEFT_MAX_RANK] = {found.count};
    int32_t rank = 1;
    if (all.axis >= 0) {
        rank = inputs[0].rank;
        memcpy(dims, inputs[0].dims, sizeof(dims));
        dims[all.axis] = found.count;
    }
    WEFTI_TRY(wefti_set_output(node, outputs, Y,
                               (wefti_shape){inputs[0].type, rank, dims}, error));
    for (size_t i = INDICES; i < node->output_count; i++) {
        const int64_t *length = i == INVERSE ? &all.count : &found.count;
        WEFTI_TRY(wefti_set_output(node, outputs, i,
                                   (wefti_shape){WEFT_TYPE_I64, 1, length}, error));
    }
    return WEFT_OK;
}

static void write_values(const slices *all, const groups *found, char *to)
{
    size_t size = weft_type_size(all->input->type) * (size_t)all->inner;
    const char *from = all->input->constant;
    if (size == 0 || found->count == 0) {
        return;
    }
    for (int64_t o = 0; o < all->outer; o++) {
        for (int64_t g = 0; g < found->count; g++) {
            int64_t slice = found->order[found->starts[g]];
            memcpy(to, from + (size_t)(o * all->count + slice) * size, size);
            to += size;
        }
    }
}

weft_status wefti_fold_unique(const wefti_node_view *node, const wefti_known *inputs,
                              const wefti_known *outputs, void *const *output_data,
                              weft_error *error)
{
    (void)outputs;
    slices all;
    groups found;
    WEFTI_TRY(read_slices(node, inputs, &all, error));
    WEFTI_TRY(find_groups(node, &all, &found, error));
    write_values(&all, &found, output_data[Y]);
    int64_t *results[] = {NULL, NULL, NULL, NULL};
    for (size_t i = INDICES; i < node->output_count; i++) {
        results[i] = output_data[i];
    }
    for (int64_t g = 0; g < found.count; g++) {
        int64_t start = found.starts[g], end = found.starts[g + 1];
        if (results[INDICES] != NULL) {
            results[INDICES][g] = found.order[start];
        }
        if (results[COUNTS] != NULL) {
            results[COUNTS][g] = end - start;
        }
        for (int64_t i = start; results[INVERSE] != NULL && i < end; i++) {
            results[INVERSE][found.order[i]] = g;
        }
    }
    wefti_free(found.order);
    return WEFT_OK;
}

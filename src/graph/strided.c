/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/strided.h"

#include <string.h>

bool wefti_strided_root(int32_t root, const wefti_known *known, wefti_strided *made)
{
    *made = (wefti_strided){.root = root, .rank = known->rank};
    int64_t stride = wefti_known_count(known);
    if (stride == 0) {
        return false;
    }
    int32_t used = 0;
    for (int32_t i = 0; i < known->rank; i++) {
        made->dims[i] = known->dims[i];
        made->first[i] = used;
        stride /= known->dims[i];
        if (known->dims[i] > 1) {
            made->factors[used++] = (wefti_factor){known->dims[i], stride};
        }
    }
    made->first[known->rank] = used;
    return true;
}

/* Appends a loop inside dimension `dim`, joined to the one outside it where the two
 * run through memory as one. */
static bool push(wefti_strided *made, int32_t dim, wefti_factor factor)
{
    int32_t *used = &made->first[dim + 1];
    if (factor.size == 1) {
        return true;
    }
    if (*used > made->first[dim]) {
        wefti_factor *outer = &made->factors[*used - 1];
        if (outer->stride == factor.size * factor.stride) {
            outer->size *= factor.size;
            outer->stride = factor.stride;
            return true;
        }
    }
    if (*used == WEFTI_MAX_FACTORS) {
        return false;
    }
    made->factors[(*used)++] = factor;
    return true;
}

static void begin_dim(wefti_strided *made, int32_t dim, int64_t size)
{
    made->dims[dim] = size;
    if (dim == 0) {
        made->first[0] = 0;
    }
    made->first[dim + 1] = made->first[dim];
}

/* All loops in one sequence, joined where possible. */
static void flatten(const wefti_strided *from, wefti_strided *flat)
{
    *flat = (wefti_strided){0};
    begin_dim(flat, 0, 1);
    for (int32_t i = 0; i < from->first[from->rank]; i++) {
        (void)push(flat, 0, from->factors[i]); /* never more than there were */
    }
}

/* Gives dimension `i` of `made` the factors of `flat` from *next on that make up
 * `size`; the last of them may be split. False where they do not. */
static bool take_factors(wefti_strided *flat, int32_t *next, wefti_strided *made,
                         int32_t i, int64_t size)
{
    int64_t needed = size;
    while (needed > 1) {
        if (*next == flat->first[1]) {
            return false;
        }
        wefti_factor *factor = &flat->factors[*next];
        bool whole = factor->size <= needed;
        wefti_factor taken = *factor;
        if (whole) {
            (*next)++;
        } else { /* the inner part is left for the next dimension */
            if (factor->size % needed != 0) {
                return false;
            }
            factor->size /= needed;
            taken = (wefti_factor){needed, factor->stride * factor->size};
        }
        if (needed % taken.size != 0 || !push(made, i, taken)) {
            return false;
        }
        needed /= taken.size;
    }
    return true;
}

bool wefti_strided_reshape(const wefti_strided *from, int32_t rank, const int64_t *dims,
                           wefti_strided *made)
{
    wefti_strided flat;
    flatten(from, &flat);
    *made = (wefti_strided){.root = from->root, .offset = from->offset, .rank = rank};
    int32_t next = 0;
    begin_dim(made, 0, 1); /* for rank 0 */
    for (int32_t i = 0; i < rank; i++) {
        begin_dim(made, i, dims[i]);
        if (!take_factors(&flat, &next, made, i, dims[i])) {
            return false;
        }
    }
    return next == flat.first[1];
}

bool wefti_strided_transpose(const wefti_strided *from, const int64_t *permutation,
                             wefti_strided *made)
{
    *made =
        (wefti_strided){.root = from->root, .offset = from->offset, .rank = from->rank};
    for (int32_t i = 0; i < from->rank; i++) {
        int64_t source = permutation == NULL ? from->rank - 1 - i : permutation[i];
        source += source < 0 ? from->rank : 0;
        begin_dim(made, i, from->dims[source]);
        for (int32_t j = from->first[source]; j < from->first[source + 1]; j++) {
            if (!push(made, i, from->factors[j])) {
                return false;
            }
        }
    }
    return true;
}

bool wefti_strided_slice(const wefti_strided *from, int32_t axis, int64_t start,
                         int64_t count, int64_t step, wefti_strided *made)
{
    int32_t first = from->first[axis], end = from->first[axis + 1];
    *made = *from;
    if (start == 0 && step == 1 && count == from->dims[axis]) {
        return true;
    }
    /* More than one index needs one loop to step through; one index is just a place. */
    if (count < 1 || (count > 1 && end - first != 1)) {
        return false;
    }
    int64_t index = start;
    for (int32_t i = end; i-- > first;) {
        made->offset += index % from->factors[i].size * from->factors[i].stride;
        index /= from->factors[i].size;
    }
    made->dims[axis] = count;
    if (count > 1) {
        made->factors[first].size = count;
        made->factors[first].stride *= step;
        return true;
    }
    int32_t removed = end - first, total = from->first[from->rank];
    memmove(&made->factors[first], &made->factors[end],
            (size_t)(total - end) * sizeof(made->factors[0]));
    for (int32_t i = axis + 1; i <= from->rank; i++) {
        made->first[i] -= removed;
    }
    return true;
}

static int64_t element_count(const wefti_strided *strided)
{
    int64_t count = 1;
    for (int32_t i = 0; i < strided->rank; i++) {
        count *= strided->dims[i];
    }
    return count;
}

bool wefti_strided_permutes_rows(const wefti_strided *strided, int64_t root_count)
{
    /* No loop repeats or skips when the counts agree: loops come from splitting the
     * root's and slices make fewer. */
    if (strided->rank < 1 || strided->offset != 0 ||
        element_count(strided) != root_count) {
        return false;
    }
    int32_t last = strided->rank - 1;
    int64_t row = strided->dims[last];
    int32_t loops = strided->first[last + 1] - strided->first[last];
    if (row > 1 && (loops != 1 || strided->factors[strided->first[last]].stride != 1)) {
        return false;
    }
    for (int32_t i = 0; i < strided->first[last]; i++) {
        if (strided->factors[i].stride % row != 0) {
            return false;
        }
    }
    return true;
}

bool wefti_strided_is_dense(const wefti_strided *strided)
{
    wefti_strided flat;
    flatten(strided, &flat);
    return strided->offset == 0 &&
           (flat.first[1] == 0 || (flat.first[1] == 1 && flat.factors[0].stride == 1));
}

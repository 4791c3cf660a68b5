/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_STRIDED_H
#define WEFTI_GRAPH_STRIDED_H

#include "graph/net.h"

/* How the elements of a value lie in another, dense value, its root: a list of loops
 * (factors), outermost first, cut into the value's dimensions. A dimension may need
 * several loops (the rows [batch * length] of a transposed [length, batch]), which
 * plain strides can't say but a chain of reshapes and transposes produces and undoes.
 */
enum { WEFTI_MAX_FACTORS = 16 };

typedef struct wefti_factor {
    int64_t size, stride; /* elements of the root; size > 1 */
} wefti_factor;

typedef struct wefti_strided {
    int32_t root; /* value */
    int64_t offset;
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    int32_t first[WEFT_MAX_RANK + 1]; /* factors of dim i: first[i] to first[i + 1] */
    wefti_factor factors[WEFTI_MAX_FACTORS];
} wefti_strided;

/* A dense value as its own root. False when it has no elements. */
bool wefti_strided_root(int32_t root, const wefti_known *known, wefti_strided *made);

/* Each returns false when the result can't be said in this form. */
bool wefti_strided_reshape(const wefti_strided *from, int32_t rank, const int64_t *dims,
                           wefti_strided *made);
bool wefti_strided_transpose(const wefti_strided *from, const int64_t *permutation,
                             wefti_strided *made);
/* Keeps `count` elements of `axis` from `start`, `step` apart. */
bool wefti_strided_slice(const wefti_strided *from, int32_t axis, int64_t start,
                         int64_t count, int64_t step, wefti_strided *made);

/* True when every element of the dense root appears exactly once and the last
 * dimension is the last `row` elements of the root in order: a permutation of rows. */
bool wefti_strided_permutes_rows(const wefti_strided *strided, int64_t root_count);
/* True when the value is the root's data in order. */
bool wefti_strided_is_dense(const wefti_strided *strided);

#endif

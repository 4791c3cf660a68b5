/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_BOX_H
#define WEFTI_GRAPH_BOX_H

#include <stddef.h>
#include <stdint.h>

#include <weft/tensor.h>

/* A tensor as a caller has it, dense, and the larger place that it is padded to. */
typedef struct wefti_box {
    int32_t rank;
    size_t element_bytes;
    int64_t exact[WEFT_MAX_RANK];   /* the caller's; none is more than that planned */
    int64_t planned[WEFT_MAX_RANK]; /* of the place */
    size_t strides[WEFT_MAX_RANK];  /* of the place, in bytes; the last: an element's */
} wefti_box;

/* Sets the strides of a place that lies dense, or that is a part of a dense tensor
 * which has `all` along `axis`; -1: no axis. */
void wefti_box_place(wefti_box *box, int32_t axis, int64_t all);

/* Copies the caller's data to the place, and fills what is left of it with the element
 * `pad`. `from` NULL: with the element `one` in place of the data. */
void wefti_box_pad(const wefti_box *box, const void *from, const uint8_t *one,
                   const uint8_t *pad, void *to);

/* Copies what the caller has of a place. */
void wefti_box_cut(const wefti_box *box, const void *from, void *to);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/box.h"

#include <stdbool.h>
#include <string.h>

void wefti_box_place(wefti_box *box, int32_t axis, int64_t all)
{
    size_t stride = box->element_bytes;
    for (int32_t j = box->rank; j-- > 0;) {
        box->strides[j] = stride;
        stride *= (size_t)(j == axis ? all : box->planned[j]);
    }
}

static void fill(char *to, const uint8_t *element, size_t element_bytes,
                 size_t size_bytes)
{
    static const uint8_t zero[8];
    if (element_bytes == 1 || memcmp(element, zero, element_bytes) == 0) {
        memset(to, element[0], size_bytes);
        return;
    }
    for (size_t i = 0; i < size_bytes; i += element_bytes) {
        memcpy(to + i, element, element_bytes);
    }
}

/* A walk over the pieces of a place: all that lies together of the dimensions from one
 * on. What the caller has of a piece lies at its beginning. */
typedef struct walk {
    const wefti_box *box;
    int32_t axis;                      /* the first one that a piece spans */
    size_t exact_bytes, planned_bytes; /* of a piece */
    int64_t index[WEFT_MAX_RANK];      /* in the dimensions before it */
    size_t offset;                     /* of the piece in the place */
    bool real;                         /* the caller has some of it */
} walk;

/* False when the place is empty. */
static bool walk_begin(walk *self, const wefti_box *box)
{
    *self = (walk){.box = box,
                   .axis = box->rank - 1,
                   .exact_bytes = box->element_bytes,
                   .planned_bytes = box->element_bytes};
    size_t planned = box->element_bytes, exact = box->element_bytes;
    for (int32_t j = 0; j < box->rank; j++) {
        planned *= (size_t)box->planned[j];
        exact *= (size_t)box->exact[j];
    }
    int32_t axis = box->rank - 1;
    while (axis > 0 && box->exact[axis] == box->planned[axis] &&
           box->strides[axis - 1] == box->strides[axis] * (size_t)box->planned[axis]) {
        axis--;
    }
    self->axis = axis;
    for (int32_t j = axis < 0 ? 0 : axis; j < box->rank; j++) {
        self->exact_bytes *= (size_t)box->exact[j];
        self->planned_bytes *= (size_t)box->planned[j];
    }
    self->real = exact > 0;
    return planned > 0;
}

static bool walk_next(walk *self)
{
    const wefti_box *box = self->box;
    int32_t j = self->axis - 1;
    while (j >= 0 && ++self->index[j] == box->planned[j]) {
        self->index[j--] = 0;
    }
    self->real = self->exact_bytes > 0;
    self->offset = 0;
    for (int32_t i = 0; i < self->axis; i++) {
        self->real = self->real && self->index[i] < box->exact[i];
        self->offset += (size_t)self->index[i] * box->strides[i];
    }
    return j >= 0;
}

void wefti_box_pad(const wefti_box *box, const void *from, const uint8_t *one,
                   const uint8_t *pad, void *to)
{
    walk at;
    const char *source = from;
    for (bool more = walk_begin(&at, box); more; more = walk_next(&at)) {
        char *target = (char *)to + at.offset;
        size_t real_bytes = at.real ? at.exact_bytes : 0;
        if (from == NULL) {
            fill(target, one, box->element_bytes, real_bytes);
        } else if (real_bytes > 0) {
            memcpy(target, source, real_bytes);
            source += real_bytes;
        }
        fill(target + real_bytes, pad, box->element_bytes,
             at.planned_bytes - real_bytes);
    }
}

void wefti_box_cut(const wefti_box *box, const void *from, void *to)
{
    walk at;
    char *target = to;
    for (bool more = walk_begin(&at, box); more; more = walk_next(&at)) {
        if (at.real) {
            memcpy(target, (const char *)from + at.offset, at.exact_bytes);
            target += at.exact_bytes;
        }
    }
}

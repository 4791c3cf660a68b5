/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "backend/host_math.h"
#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"

/* DFT and STFT as products with a table of turns: each result is one chain of the
 * matrix product, so its bits do not depend on the batch. Complex numbers are pairs in
 * the last dimension. */

/* A transform of `length` points: reads `taken` of them, gives `given`. */
typedef struct transform {
    int64_t length, taken, given;
    int64_t in_parts, out_parts; /* 1: real, 2: complex */
    bool inverse;
    const float *window; /* multiplies what is read; or NULL */
} transform;

/* The block of the table for point j read and point k given: a row for each part read,
 * a column for each part given. */
static void put_turn(const transform *t, int64_t j, int64_t k, double factor,
                     float *block)
{
    double sine, cosine;
    wefti_turn(j * k % t->length, t->length, &sine, &cosine);
    sine = t->inverse ? -sine : sine;
    /* (a + bi)(cos - i sin) */
    const float parts[2][2] = {{(float)(factor * cosine), (float)(factor * -sine)},
                               {(float)(factor * sine), (float)(factor * cosine)}};
    for (int64_t p = 0; p < t->in_parts; p++) {
        for (int64_t q = 0; q < t->out_parts; q++) {
            block[p * t->given * t->out_parts + q] = parts[p][q];
        }
    }
}

static void fill_turns(float *data, const void *user)
{
    const transform *t = user;
    int64_t columns = t->given * t->out_parts;
    for (int64_t j = 0; j < t->taken; j++) {
        double factor = t->window ? (double)t->window[j] : 1.0;
        factor = t->inverse ? factor / (double)t->length : factor;
        if (t->inverse && t->out_parts == 1 && j > 0 && 2 * j != t->length) {
            factor *= 2.0; /* stands for its mirror image too */
        }
        for (int64_t k = 0; k < t->given; k++) {
            put_turn(t, j, k, factor,
                     data + j * t->in_parts * columns + k * t->out_parts);
        }
    }
}

/* The last dim, of taken * in_parts numbers, becomes given * out_parts. */
static wefti_term multiply(wefti_body *body, wefti_term x, const transform *t)
{
    const int64_t dims[] = {t->taken * t->in_parts, t->given * t->out_parts};
    wefti_term table = wefti_body_table(body, 2, dims, fill_turns, t);
    return wefti_body_2(body, "MatMul", x, table);
}

/* One integer of a constant scalar. */
static int64_t read_scalar(wefti_body *body, size_t index, int64_t otherwise)
{
    int64_t value = otherwise;
    size_t count = 0;
    if (!wefti_body_failed(body) &&
        wefti_known_present(body->node, body->inputs, index)) {
        body->status =
            wefti_check_integers(body->node, body->inputs, index,
                                 (wefti_integer_room){&value, 1}, &count, body->error);
        if (!wefti_body_failed(body) && count != 1) {
            wefti_body_refuse(body, WEFT_INVALID_ARGUMENT,
                              "a length, step or axis is not one number");
        }
    }
    return value;
}

static bool read_transform(wefti_body *body, const wefti_known *x, int32_t axis,
                           transform *t)
{
    bool onesided = wefti_attribute_int(body->node, "onesided", 0) != 0;
    int64_t here = x->dims[axis], parts = x->dims[x->rank - 1];
    t->inverse = wefti_attribute_int(body->node, "inverse", 0) != 0;
    t->in_parts = parts;
    t->out_parts = t->inverse && onesided ? 1 : 2;
    bool halved = t->inverse && onesided;
    t->length = read_scalar(body, 1, halved ? 2 * (here - 1) : here);
    if (wefti_body_failed(body)) {
        return false;
    }
    if (t->length < 1 || t->length > WEFTI_BODY_MOST_ELEMENTS || here < 1 ||
        parts < 1 || parts > 2 || (halved && parts != 2) ||
        (onesided && !halved && parts != 1)) {
        wefti_body_refuse(body, WEFT_INVALID_ARGUMENT,
                          "there is no transform of this length, or of these real or "
                          "complex numbers (the last dimension), one-sided or not");
        return false;
    }
    int64_t half = t->length / 2 + 1;
    t->given = onesided && !halved ? half : t->length;
    t->taken = halved ? half : t->length;
    t->taken = here < t->taken ? here : t->taken;
    return true;
}

static void dft_body(wefti_body *body)
{
    wefti_term x = wefti_body_input(body, 0);
    bool old = body->node->opset < 20;
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_rank(body, 0, 2, WEFT_MAX_RANK);
    int64_t given =
        old ? wefti_attribute_int(body->node, "axis", 1) : read_scalar(body, 2, -2);
    int32_t rank = x.known.rank, axis = 0;
    transform t = {0};
    if (wefti_body_failed(body)) {
        return;
    }
    body->status = wefti_check_axis(body->node, given, rank, &axis, body->error);
    if (!wefti_body_failed(body) && axis == rank - 1) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL,
                          "axis is that of the real and imaginary parts");
    }
    if (wefti_body_failed(body) || !read_transform(body, &x.known, axis, &t)) {
        return;
    }
    /* The axis goes next to the parts. */
    int64_t order[WEFT_MAX_RANK], back[WEFT_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) {
        bool moved = i >= axis && i < rank - 2;
        order[i] = moved ? i + 1 : (i == rank - 2 ? axis : i);
        back[order[i]] = i;
    }
    x = wefti_body_slice(body, x, axis, 0, t.taken, 1);
    x = wefti_body_transpose(body, x, order);
    int64_t dims[WEFT_MAX_RANK];
    memcpy(dims, x.known.dims, sizeof(dims));
    dims[rank - 2] = t.taken * t.in_parts;
    x = multiply(body, wefti_body_reshape(body, x, rank - 1, dims), &t);
    dims[rank - 2] = t.given;
    dims[rank - 1] = t.out_parts;
    x = wefti_body_reshape(body, x, rank, dims);
    wefti_body_output(body, 0, wefti_body_transpose(body, x, back));
}

/* Frames of the signal, which overlap where they lie. */
static wefti_term frames_of(wefti_body *body, wefti_term signal, int64_t step,
                            const int64_t dims[3], int64_t parts)
{
    wefti_term frames = wefti_body_dense(body, signal);
    frames.known.constant = NULL;
    frames.known.rank = 3;
    memcpy(frames.known.dims, dims, 3 * sizeof(*dims));
    frames.view.rank = 3;
    memcpy(frames.view.dims, dims, 3 * sizeof(*dims));
    frames.view.strides[0] = signal.known.dims[1] * parts;
    frames.view.strides[1] = step * parts;
    frames.view.strides[2] = 1;
    return frames;
}

/* Multiplies frames by a window that is not known beforehand. */
static wefti_term weigh(wefti_body *body, wefti_term frames, wefti_term window,
                        int64_t parts)
{
    int64_t dims[4] = {frames.known.dims[0], frames.known.dims[1],
                       frames.known.dims[2] / parts, parts};
    wefti_term apart = wefti_body_reshape(body, frames, 4, dims);
    apart = wefti_body_2(body, "Mul", apart, wefti_body_unsqueeze(body, window, 1));
    return wefti_body_reshape(body, apart, 3, frames.known.dims);
}

/* Signal, step, optional window and frame length. */
static bool read_frames(wefti_body *body, transform *t, int64_t dims[3], int64_t *step)
{
    wefti_term signal = wefti_body_input(body, 0), window = wefti_body_input(body, 2);
    wefti_body_check_types(body, 0, WEFTI_TYPES_F32);
    wefti_body_check_rank(body, 0, 2, 3);
    *step = read_scalar(body, 1, 0);
    t->length = read_scalar(body, 3, signal.known.dims[1]);
    bool has_length = wefti_known_present(body->node, body->inputs, 3);
    if (wefti_body_has(&window)) {
        wefti_body_check_types(body, 2, WEFTI_TYPES_F32);
        t->length = has_length ? t->length : window.known.dims[0];
        wefti_body_check_shape(body, "the window (input 2)", &window, 1, &t->length);
    }
    t->in_parts = signal.known.rank == 3 ? signal.known.dims[2] : 1;
    bool onesided = wefti_attribute_int(body->node, "onesided", 1) != 0;
    if (wefti_body_failed(body)) {
        return false;
    }
    if (*step < 1 || t->length < 1 || t->length > signal.known.dims[1] ||
        t->length > WEFTI_BODY_MOST_ELEMENTS || t->in_parts < 1 || t->in_parts > 2 ||
        (onesided && t->in_parts == 2)) {
        wefti_body_refuse(body, WEFT_INVALID_ARGUMENT,
                          "frames of this length and step do not fit the signal, or "
                          "its last dimension is not 1 or, two-sided, 2");
        return false;
    }
    t->taken = t->length;
    t->given = onesided ? t->length / 2 + 1 : t->length;
    t->out_parts = 2;
    dims[0] = signal.known.dims[0];
    dims[1] = (signal.known.dims[1] - t->length) / *step + 1;
    dims[2] = t->length * t->in_parts;
    return true;
}

static void stft_body(wefti_body *body)
{
    transform t = {0};
    int64_t dims[4], step = 0;
    wefti_term window = wefti_body_input(body, 2);
    if (!read_frames(body, &t, dims, &step)) {
        return;
    }
    wefti_term frames =
        frames_of(body, wefti_body_input(body, 0), step, dims, t.in_parts);
    t.window = window.known.constant;
    if (wefti_body_has(&window) && !t.window) {
        frames = weigh(body, frames, window, t.in_parts);
    }
    wefti_term result = multiply(body, frames, &t);
    dims[2] = t.given;
    dims[3] = t.out_parts;
    wefti_body_output(body, 0, wefti_body_reshape(body, result, 4, dims));
}

WEFTI_BODY_FAMILY(dft)
WEFTI_BODY_FAMILY(stft)

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_PIECES_H
#define WEFTI_BACKEND_CUDA_PIECES_H

#include "backend/cuda/device.h"

/* Large inputs and outputs go piece by piece through two places in pinned memory: while
 * the card's copy engine has one, the thread fills or empties the other. So a stream's
 * pinned memory is bounded, whatever tensors it sees. Class: confined, one thread at a
 * time. */
enum { WEFTI_CUDA_PIECE_BYTES = 2 << 20, WEFTI_CUDA_PIECE_PLACES = 2 };

typedef struct wefti_cuda_pieces {
    /* immutable after the owner has set them */
    wefti_backend_device *device;
    cuda_stream stream;

    char *memory; /* pinned; NULL until it is needed */
    cuda_event done[WEFTI_CUDA_PIECE_PLACES];
    bool busy[WEFTI_CUDA_PIECE_PLACES]; /* the card may be at it until `done` */
    size_t next;
} wefti_cuda_pieces;

/* Copies `size_bytes` to the card, as work of the CUDA stream: the source may be
 * changed when this returns, the target is there for what is put on the stream behind
 * it. Entered. */
weft_status wefti_cuda_pieces_send(wefti_cuda_pieces *pieces, cuda_pointer target,
                                   const char *source, size_t size_bytes,
                                   weft_error *error);
/* Copies `size_bytes` from the card, behind the stream's work so far, and waits.
 * Entered. */
weft_status wefti_cuda_pieces_fetch(wefti_cuda_pieces *pieces, char *target,
                                    cuda_pointer source, size_t size_bytes,
                                    weft_error *error);
/* Gives all back. Entered; the stream's work has ended. */
void wefti_cuda_pieces_fini(wefti_cuda_pieces *pieces);

#endif

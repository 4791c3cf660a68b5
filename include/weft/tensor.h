/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TENSOR_H
#define WEFT_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include <weft/status.h>

WEFT_BEGIN_DECLS

enum { WEFT_MAX_RANK = 8 };

/* Element types; the values are ONNX's TensorProto.DataType. */
typedef enum weft_type {
    WEFT_TYPE_NONE = 0,
    WEFT_TYPE_F32 = 1,
    WEFT_TYPE_U8 = 2,
    WEFT_TYPE_I8 = 3,
    WEFT_TYPE_I32 = 6,
    WEFT_TYPE_I64 = 7,
    WEFT_TYPE_BOOL = 9, /* one byte, 0 or 1 */
    WEFT_TYPE_F16 = 10,
    WEFT_TYPE_F64 = 11,
    WEFT_TYPE_BF16 = 16,
} weft_type;

/* In which memory the data of a tensor lies. */
typedef enum weft_place {
    WEFT_PLACE_HOST = 0,
    /* On the card of the model's device: memory of weft_memory_allocate, or of the
     * CUDA runtime, PyTorch and others in the same process. For runs and requests of
     * models on a card alone; see weft_run. */
    WEFT_PLACE_CARD = 1,
} weft_place;

/* A view of the caller's memory: dense, row-major, aligned to its element size.
 *
 * As an output, `rank` may be -1: then `size_bytes` says how much room `data` has
 * and the call fills in type, rank and dims; with `data` NULL and `size_bytes` 0 it
 * also allocates the data, which weft_output_free frees. As an input, `size_bytes` may
 * be 0. */
typedef struct weft_tensor {
    void *data;
    size_t size_bytes;
    weft_type type;
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    /* In elements. All zero means dense row-major; anything else must say the
     * same, or the call fails and names the tensor. */
    int64_t strides[WEFT_MAX_RANK];
    weft_place place; /* of `data` */
} weft_tensor;

/* The tensors of one run, in the order of the model's inputs and outputs. */
typedef struct weft_io {
    const weft_tensor *inputs;
    size_t input_count;
    weft_tensor *outputs;
    size_t output_count;
} weft_io;

/* Returns the size of one element in bytes, 0 for an unknown type.
 * Threads: any. */
WEFT_API size_t weft_type_size(weft_type type);

/* Returns a type's name, such as "f32"; never NULL.
 * Threads: any. */
WEFT_API const char *weft_type_name(weft_type type);

/* Computes the number of elements and bytes of a dense tensor of this type and
 * shape. `element_count` and `size_bytes` may be NULL.
 * Threads: any.
 * Errors: WEFT_INVALID_ARGUMENT for a bad type, rank or negative dimension, or
 * when the product overflows. */
WEFT_API WEFT_MUST_USE weft_status weft_tensor_measure(const weft_tensor *tensor,
                                                       int64_t *element_count,
                                                       size_t *size_bytes,
                                                       weft_error *error);

WEFT_END_DECLS

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_PYTHON_SRC_DLPACK_H
#define WEFTI_PYTHON_SRC_DLPACK_H

#include <stdint.h>

/* The binary interface of DLPack 1.3, by which array libraries lend each other their
 * tensors (dmlc.github.io/dlpack). Only what the door reads and writes. */

enum { DL_MAJOR_VERSION = 1, DL_MINOR_VERSION = 0 };

enum { DL_CPU = 1, DL_CUDA = 2, DL_CUDA_HOST = 3 };

enum { DL_INT = 0, DL_UINT = 1, DL_FLOAT = 2, DL_BFLOAT = 4, DL_BOOL = 6 };

/* In dl_managed_versioned.flags. */
enum { DL_READ_ONLY = 1 };

typedef struct dl_version {
    uint32_t major, minor;
} dl_version;

typedef struct dl_type {
    uint8_t code, bits;
    uint16_t lanes;
} dl_type;

typedef struct dl_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t rank;
    dl_type type;
    int64_t *dims;
    int64_t *strides; /* in elements; NULL: dense, before version 1.2 */
    uint64_t byte_offset;
} dl_tensor;

/* What a capsule named "dltensor" holds. */
typedef struct dl_managed {
    dl_tensor tensor;
    void *context;
    void (*deleter)(struct dl_managed *self); /* may be NULL */
} dl_managed;

/* What a capsule named "dltensor_versioned" holds. */
typedef struct dl_managed_versioned {
    dl_version version;
    void *context;
    void (*deleter)(struct dl_managed_versioned *self); /* may be NULL */
    uint64_t flags;
    dl_tensor tensor;
} dl_managed_versioned;

typedef void (*dl_set_error)(void *context, const char *kind, const char *message);

/* What the capsule `__dlpack_c_exchange_api__` of a tensor type holds, named
 * "dlpack_exchange_api": the same exchange by plain C calls. All return 0, or -1 with
 * an exception set. */
typedef struct dl_exchange {
    dl_version version;
    const struct dl_exchange *previous;
    int (*allocate)(dl_tensor *prototype, dl_managed_versioned **result, void *context,
                    dl_set_error set_error);
    int (*from_object)(void *object, dl_managed_versioned **result);
    int (*to_object)(dl_managed_versioned *stolen, void **result);
    int (*lend)(void *object, dl_tensor *result); /* may be NULL */
    int (*current_stream)(int32_t device_type, int32_t device_id, void **result);
} dl_exchange;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_FORMATS_ONNX_EXTERNAL_H
#define WEFTI_FORMATS_ONNX_EXTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "formats/mapping.h"
#include "onnx.pb-c.h"

/* Files of weights beside a model, mapped read-only. */

typedef struct wefti_onnx_file {
    const char *location; /* borrowed from the model's messages */
    wefti_mapping *mapping;
} wefti_onnx_file;

/* The external files of one reading, each mapped once. Class: confined. */
typedef struct wefti_onnx_files {
    const char *directory; /* NULL: none is known */
    wefti_onnx_file *files;
    size_t count, capacity;
} wefti_onnx_files;

void wefti_onnx_files_fini(wefti_onnx_files *files);

/* Where a tensor's data lies. */
typedef struct wefti_onnx_extent {
    wefti_mapping *mapping; /* the caller is one of its owners */
    size_t offset, size;
} wefti_onnx_extent;

/* Finds and maps `size_bytes` bytes of external data. The file must lie inside the
 * directory, also after following symbolic links.
 * Errors: WEFT_INVALID_MODEL, WEFT_NOT_FOUND, WEFT_INVALID_ARGUMENT (no directory). */
weft_status wefti_onnx_find_external(wefti_onnx_files *files,
                                     const Onnx__TensorProto *tensor, size_t size_bytes,
                                     wefti_onnx_extent *extent, weft_error *error);

#endif

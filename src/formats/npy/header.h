/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_FORMATS_NPY_HEADER_H
#define WEFTI_FORMATS_NPY_HEADER_H

#include <weft/tensor.h>

#include "base/error.h"

/* Reads the start of a .npy file: sets type, rank and dims of `tensor`, and where
 * the data begins.
 * Errors: WEFT_INVALID_MODEL, WEFT_UNSUPPORTED. */
weft_status wefti_npy_read_header(const uint8_t *bytes, size_t size,
                                  weft_tensor *tensor, size_t *data_offset,
                                  weft_error *error);

enum { WEFTI_NPY_HEADER_MAX = 512 };

/* Writes a header of format 1.0 for a valid tensor; returns its size, a multiple of
 * 64. Errors: WEFT_UNSUPPORTED for a type that NumPy lacks. */
weft_status wefti_npy_write_header(const weft_tensor *tensor,
                                   char header[WEFTI_NPY_HEADER_MAX], size_t *size,
                                   weft_error *error);

#endif

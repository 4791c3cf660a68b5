/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_NPY_H
#define WEFT_NPY_H

#include <weft/tensor.h>

WEFT_BEGIN_DECLS

/* Reads a NumPy .npy file (format 1.0 to 3.0, C order, little endian).
 * Threads: any. Owns: the caller frees tensor->data with weft_npy_free.
 * Errors: WEFT_NOT_FOUND, WEFT_IO_ERROR, WEFT_INVALID_MODEL, WEFT_UNSUPPORTED; the
 * message names the file. */
WEFT_API WEFT_MUST_USE weft_status weft_npy_load(const char *path, weft_tensor *tensor,
                                                 weft_error *error);

/* Reads from a .npy file's bytes; see weft_npy_load.
 * Threads: any. */
WEFT_API WEFT_MUST_USE weft_status weft_npy_parse(const void *bytes, size_t size,
                                                  weft_tensor *tensor,
                                                  weft_error *error);

/* Frees what weft_npy_load or weft_npy_parse allocated and clears the tensor.
 * Threads: any. */
WEFT_API void weft_npy_free(weft_tensor *tensor);

/* Writes a dense tensor as a .npy file; a file that exists is replaced at once when
 * the whole is written, never left half, and passes its mode on. A symbolic link stays:
 * the file that it leads to is replaced. (Where files may grow only so far, a process
 * that does not ignore SIGXFSZ dies of it and leaves PATH.*.tmp.)
 * bf16 is written as NumPy writes ml_dtypes.bfloat16: two bytes of which it knows no
 * more (V2); array.view(ml_dtypes.bfloat16) has the numbers.
 * Threads: any. Errors: WEFT_IO_ERROR, WEFT_UNSUPPORTED (an unknown type). */
WEFT_API WEFT_MUST_USE weft_status weft_npy_save(const char *path,
                                                 const weft_tensor *tensor,
                                                 weft_error *error);

WEFT_END_DECLS

#endif

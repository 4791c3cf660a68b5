/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_TENSOR_H
#define WEFTI_BASE_TENSOR_H

#include <stdbool.h>

#include <weft/tensor.h>

/* True when the strides are all zero or say dense row-major; those of dimensions of one
 * element do not matter. The rank is valid. */
bool wefti_tensor_is_dense(const weft_tensor *tensor);

/* Checks what every tensor given to the library must be: its data is there unless it
 * has no elements, aligned to the element size, and dense. `kind` and `name` say which
 * tensor it is ("input", "x"). Type and shape are valid. */
weft_status wefti_tensor_check_layout(const weft_tensor *tensor, const char *kind,
                                      const char *name, weft_error *error);
/* That its data is in host memory. */
weft_status wefti_tensor_check_host(const weft_tensor *tensor, const char *kind,
                                    const char *name, weft_error *error);
/* Both. */
weft_status wefti_tensor_check_placement(const weft_tensor *tensor, const char *kind,
                                         const char *name, weft_error *error);

#endif

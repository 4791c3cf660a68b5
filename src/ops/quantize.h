/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_QUANTIZE_H
#define WEFTI_OPS_QUANTIZE_H

#include "ops/body.h"

/* x / scale (`by` DIV) or x * scale (MUL), rounded half to even, plus the zero point,
 * saturated to u8 or i8; the scale and an optional zero point broadcast to x. */
wefti_term wefti_quantize(wefti_body *body, wefti_term x, wefti_operation by,
                          wefti_term scale, wefti_term zero_point, weft_type type);

#endif

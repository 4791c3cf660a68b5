/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_FORMATS_ONNX_WIRE_H
#define WEFTI_FORMATS_ONNX_WIRE_H

#include "base/error.h"
#include "onnx.pb-c.h"

/* Checks the wire format of an ONNX model with a stack of its own, before protobuf-c
 * reads it: protobuf-c recurses once per level without a limit, and merges fields
 * that occur twice in quadratic time. Refuses more than 32 levels, fields that occur
 * twice without being repeated, text with zero bytes, and broken lengths.
 * Errors: WEFT_INVALID_MODEL. */
weft_status wefti_onnx_check_wire(const uint8_t *bytes, size_t size, weft_error *error);

/* Checks and unpacks a model; all memory comes from base/memory.h, so that single
 * fields may be taken over and freed by wefti_free. The caller frees *model with
 * wefti_onnx_free. */
weft_status wefti_onnx_unpack(const uint8_t *bytes, size_t size,
                              Onnx__ModelProto **model, weft_error *error);
void wefti_onnx_free(Onnx__ModelProto *model);

#endif

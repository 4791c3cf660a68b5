/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_SUPPORT_ONNX_CHECK_H
#define WEFT_TESTS_SUPPORT_ONNX_CHECK_H

#include <weft/graph.h>

#include "support/onnx_builder.h"

/* What tests of the ONNX reader share. */

/* Reads bytes from a block of exactly their size, so that a read beyond the end is
 * noticed. */
weft_status onnx_check_bytes(const uint8_t *bytes, size_t size, weft_graph **graph,
                             weft_error *error);

/* Packs and reads; fails the test unless it succeeds. The caller releases. */
weft_graph *onnx_check_reads(onnx_builder *builder);

/* Packs and reads; fails the test unless it fails with this status and these words
 * in the message. Ends the builder. */
void onnx_check_refused(onnx_builder *builder, weft_status status, const char *words);

#endif

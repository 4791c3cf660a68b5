/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_RECURRENT_H
#define WEFTI_OPS_RECURRENT_H

#include "ops/operator.h"

/* The activations of RNN, GRU and LSTM as parts of elementwise programs. */

/* A program that grows. Confined. */
typedef struct wefti_gates {
    wefti_instruction list[WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS];
    int32_t count;
} wefti_gates;

/* Checks activations, activation_alpha and activation_beta; `count` activations are
 * those of one direction. Errors: WEFT_INVALID_MODEL for another number of them,
 * WEFT_UNSUPPORTED names one that is not known. */
weft_status wefti_gates_check(const wefti_node_view *node, size_t count,
                              weft_error *error);

/* Adds an instruction and gives the register of its result. */
uint8_t wefti_gates_join(wefti_gates *gates, wefti_operation operation, uint8_t a,
                         uint8_t b, uint8_t c);

/* Adds activation `index` of all (those of the second direction follow those of the
 * first), `count` in one direction, of register `a`: at most three instructions.
 * The node has been checked. */
uint8_t wefti_gates_activate(wefti_gates *gates, const wefti_node_view *node,
                             size_t count, size_t index, uint8_t a);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_ON_CARD_H
#define WEFTI_CLI_ON_CARD_H

#include "cli/trial.h"

/* The tensors of a slot in memory of the card, for calls that neither bring inputs nor
 * fetch outputs. Inputs that decide a shape stay in host memory. Class: confined. */
typedef struct cli_on_card {
    weft_stream *stream;
    weft_memory **memory; /* inputs of every case, then one for each output */
    size_t memory_count;
    weft_tensor *inputs; /* of every case */
    size_t output_count;
} cli_on_card;

/* Gives the tensors memory and brings the inputs; `outputs`, as many for each case,
 * then lie there. What was made is freed by fini after a failure too. */
weft_status cli_on_card_init(cli_on_card *self, const cli_lane *lane,
                             weft_tensor *outputs, weft_error *error);
void cli_on_card_fini(cli_on_card *self);

/* Fills the outputs of a request, so that one which was never written is seen. */
weft_status cli_on_card_spoil(const cli_on_card *self, const cli_case *request,
                              weft_error *error);
/* Copies the outputs of a request to `buffers`. */
weft_status cli_on_card_fetch(const cli_on_card *self, const cli_case *request,
                              void **buffers, weft_error *error);

#endif

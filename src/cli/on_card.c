/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/on_card.h"

#include <stdlib.h>

#include "cli/pass.h"

/* Waits for what was enqueued, if all of it could be. */
static weft_status settle(const cli_on_card *self, weft_status status,
                          weft_error *error)
{
    return status != WEFT_OK
               ? status
               : weft_stream_synchronize(self->stream, WEFT_FOREVER, error);
}

static weft_status add_memory(cli_on_card *self, size_t size_bytes, void **data,
                              weft_error *error)
{
    weft_memory **memory = &self->memory[self->memory_count];
    weft_status status = weft_memory_allocate(self->stream, size_bytes, memory, error);
    if (status == WEFT_OK) {
        self->memory_count++;
        *data = weft_memory_data(*memory);
    }
    return status;
}

static weft_status bring_input(cli_on_card *self, const weft_tensor *given,
                               weft_tensor *input, weft_error *error)
{
    weft_status status = add_memory(self, given->size_bytes, &input->data, error);
    input->place = WEFT_PLACE_CARD;
    return status != WEFT_OK ? status
                             : weft_stream_copy(self->stream, input->data, given->data,
                                                given->size_bytes, error);
}

static weft_status bring_inputs(cli_on_card *self, const cli_lane *lane,
                                weft_error *error)
{
    const size_t count = lane->cases[0].input_count;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < (size_t)lane->case_count * count && status == WEFT_OK; i++) {
        const cli_case *request = &lane->cases[i / count];
        const weft_tensor *given = &request->inputs[i % count];
        self->inputs[i] = *given;
        if (!weft_model_input_is_value(request->model, i % count) &&
            given->size_bytes > 0) {
            status = bring_input(self, given, &self->inputs[i], error);
        }
    }
    return status;
}

weft_status cli_on_card_init(cli_on_card *self, const cli_lane *lane,
                             weft_tensor *outputs, weft_error *error)
{
    const cli_case *first = &lane->cases[0];
    const size_t cases = (size_t)lane->case_count;
    weft_status status =
        weft_stream_acquire(weft_model_device(first->model), &self->stream, error);
    self->output_count = first->output_count;
    self->inputs = cli_allocate(cases * first->input_count, sizeof(*self->inputs));
    self->memory = cli_allocate(cases * first->input_count + first->output_count,
                                sizeof(*self->memory));
    status = status != WEFT_OK ? status : bring_inputs(self, lane, error);
    for (size_t i = 0; i < first->output_count && status == WEFT_OK; i++) {
        void *data = NULL;
        status = add_memory(self, cli_largest_output(lane, i), &data, error);
        for (size_t k = 0; k < cases && status == WEFT_OK; k++) {
            outputs[k * first->output_count + i].data = data;
            outputs[k * first->output_count + i].place = WEFT_PLACE_CARD;
        }
    }
    return settle(self, status, error);
}

void cli_on_card_fini(cli_on_card *self)
{
    for (size_t i = 0; i < self->memory_count; i++) {
        weft_memory_release(self->memory[i]);
    }
    free(self->memory);
    free(self->inputs);
    weft_stream_release(self->stream);
}

static void *output_data(const cli_on_card *self, size_t output)
{
    return weft_memory_data(
        self->memory[self->memory_count - self->output_count + output]);
}

weft_status cli_on_card_spoil(const cli_on_card *self, const cli_case *request,
                              weft_error *error)
{
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < request->output_count && status == WEFT_OK; i++) {
        status = weft_stream_fill(self->stream, output_data(self, i), 0xff,
                                  request->expected[i].size_bytes, error);
    }
    return settle(self, status, error);
}

weft_status cli_on_card_fetch(const cli_on_card *self, const cli_case *request,
                              void **buffers, weft_error *error)
{
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < request->output_count && status == WEFT_OK; i++) {
        status = weft_stream_copy(self->stream, buffers[i], output_data(self, i),
                                  request->expected[i].size_bytes, error);
    }
    return settle(self, status, error);
}

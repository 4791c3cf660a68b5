/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/results.h"

#include "base/memory.h"

weft_status wefti_results_create(const weft_io *io, wefti_results **results,
                                 weft_error *error)
{
    size_t each = sizeof(weft_tensor) + sizeof(bool);
    size_t size_bytes;
    *results = NULL;
    wefti_results *made = NULL;
    if (!WEFTI_MUL_OVERFLOWS(io->output_count, each, &size_bytes) &&
        !WEFTI_ADD_OVERFLOWS(size_bytes, sizeof(*made), &size_bytes)) {
        made = wefti_calloc(1, size_bytes);
    }
    if (made == NULL) {
        return wefti_error_memory(error, "a request's outputs");
    }
    made->count = io->output_count;
    made->allocated = (bool *)(made->tensors + made->count);
    for (size_t i = 0; i < made->count; i++) {
        const weft_tensor *output = &io->outputs[i];
        made->tensors[i] = *output;
        made->allocated[i] =
            output->rank == -1 && output->data == NULL && output->size_bytes == 0;
    }
    *results = made;
    return WEFT_OK;
}

void wefti_results_destroy(wefti_results *results)
{
    for (size_t i = 0; results != NULL && i < results->count; i++) {
        if (results->allocated[i]) {
            wefti_free(results->tensors[i].data);
        }
    }
    wefti_free(results);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/program.h"

#include <string.h>

#include "base/memory.h"

void wefti_program_init(wefti_program *program)
{
    *program = (wefti_program){0};
}

void wefti_program_fini(wefti_program *program)
{
    for (size_t i = 0; i < program->step_count; i++) {
        wefti_free(program->steps[i].params);
    }
    for (size_t i = 0; i < program->buffer_count; i++) {
        if (program->buffers[i].owned) {
            /* The program made this block itself; only its readers see it const. */
            wefti_free((void *)(uintptr_t)program->buffers[i].constant);
        }
    }
    wefti_free(program->steps);
    wefti_free(program->buffers);
    *program = (wefti_program){0};
}

weft_status wefti_program_add_buffer(wefti_program *program, const wefti_buffer *buffer,
                                     int32_t *index, weft_error *error)
{
    if (program->buffer_count >= INT32_MAX) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "a plan has more buffers than can be numbered");
    }
    wefti_buffer *buffers = wefti_grow(program->buffers, program->buffer_count,
                                       &program->buffer_capacity, sizeof(*buffers));
    if (!buffers) {
        return wefti_error_memory(error, "a plan's buffers");
    }
    program->buffers = buffers;
    wefti_buffer *added = &buffers[program->buffer_count];
    *added = *buffer;
    added->offset_bytes = -1;
    added->first_step = -1;
    added->last_step = -1;
    *index = (int32_t)program->buffer_count++;
    return WEFT_OK;
}

weft_status wefti_program_add_temporary(wefti_program *program, wefti_view *view,
                                        weft_error *error)
{
    weft_tensor shape = {.type = view->type, .rank = view->rank};
    memcpy(shape.dims, view->dims, sizeof(shape.dims));
    wefti_buffer buffer = {.kind = WEFTI_BUFFER_WORKSPACE};
    WEFTI_TRY(weft_tensor_measure(&shape, NULL, &buffer.size_bytes, error));
    WEFTI_TRY(wefti_program_add_buffer(program, &buffer, &view->buffer, error));
    view->offset_bytes = 0;
    wefti_view_make_dense(view);
    return WEFT_OK;
}

weft_status wefti_program_add_owned_constant(wefti_program *program, const void *data,
                                             size_t size_bytes, int32_t *index,
                                             weft_error *error)
{
    void *copy = wefti_malloc_aligned(size_bytes > 0 ? size_bytes : 1);
    if (!copy) {
        return wefti_error_memory(error, "a plan's constant");
    }
    memcpy(copy, data, size_bytes);
    wefti_buffer buffer = {.kind = WEFTI_BUFFER_CONSTANT,
                           .size_bytes = size_bytes,
                           .constant = copy,
                           .owned = true};
    weft_status status = wefti_program_add_buffer(program, &buffer, index, error);
    if (status != WEFT_OK) {
        wefti_free(copy);
    }
    return status;
}

weft_status wefti_program_add_step(wefti_program *program,
                                   const wefti_program_step *step, weft_error *error)
{
    wefti_program_step *steps = wefti_grow(program->steps, program->step_count,
                                           &program->step_capacity, sizeof(*steps));
    if (!steps) {
        return wefti_error_memory(error, "a plan's steps");
    }
    program->steps = steps;
    void *params = wefti_malloc(step->params_bytes);
    if (!params) {
        return wefti_error_memory(error, "a step's parameters");
    }
    memcpy(params, step->params, step->params_bytes);
    steps[program->step_count] = *step;
    steps[program->step_count].params = params;
    program->step_count++;
    return WEFT_OK;
}

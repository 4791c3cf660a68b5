/* SPDX-License-Identifier: Apache-2.0 */
#include "support/program_run.h"

#include "base/memory.h"
#include "support/kernel_case.h"

void *program_address(const wefti_program *program, const program_memory *memory,
                      int32_t buffer)
{
    if (buffer < 0) {
        return NULL;
    }
    const wefti_buffer *found = &program->buffers[buffer];
    switch (found->kind) {
    case WEFTI_BUFFER_INPUT:
        return memory->inputs[found->index];
    case WEFTI_BUFFER_OUTPUT:
        return memory->outputs[found->index];
    case WEFTI_BUFFER_WORKSPACE:
        return memory->workspaces[buffer];
    default:
        return (void *)(uintptr_t)found->constant;
    }
}

void program_memory_fini(const wefti_program *program, program_memory *memory)
{
    for (size_t i = 0; i < program->buffer_count; i++) {
        kernel_free(memory->workspaces[i]);
    }
    free(memory->workspaces);
}

static void make_workspaces(const wefti_program *program, program_memory *memory)
{
    memory->workspaces = calloc(program->buffer_count + 1, sizeof(void *));
    for (size_t i = 0; i < program->buffer_count; i++) {
        size_t bytes = program->buffers[i].size_bytes;
        if (program->buffers[i].kind == WEFTI_BUFFER_WORKSPACE) {
            memory->workspaces[i] = kernel_alloc(bytes);
            memset(memory->workspaces[i], 0x5A, bytes);
        }
    }
}

/* What prepare may ask of an operand: whether it is there, and constant. */
static wefti_operand describe_operand(const wefti_program *program,
                                      const wefti_view *view)
{
    wefti_operand operand = WEFTI_OPERAND_ABSENT;
    if (view->buffer < 0) {
        return operand;
    }
    if (wefti_view_constant(program, view)) {
        operand.constant = wefti_view_constant(program, view);
        return operand;
    }
    operand.slot = view->buffer + 1;
    operand.offset_bytes = view->offset_bytes;
    return operand;
}

/* The first instruction set from `isa` on that has the kernel, as the backend does. */
static void prepare_step(const wefti_step *step, const wefti_cpu_isa *isa,
                         bool may_pack, wefti_cpu_prepared *prepared)
{
    const wefti_cpu_isa *const *candidate = wefti_cpu_isas;
    weft_error error = {0};
    while (*candidate != isa) {
        candidate++;
    }
    for (; *candidate; candidate++) {
        wefti_cpu_prepare prepare = (*candidate)->prepare[step->kernel];
        *prepared = (wefti_cpu_prepared){.packed_operand = -1};
        if (prepare && prepare(step, may_pack, prepared, &error) == WEFT_OK) {
            return;
        }
    }
    fail_msg("no kernel for %s: %s", wefti_kernel_name(step->kernel), error.message);
}

static void run_step(const wefti_program *program, size_t index,
                     const wefti_cpu_isa *isa, bool may_pack,
                     const program_memory *memory)
{
    const wefti_program_step *source = &program->steps[index];
    wefti_step step = {.kernel = source->kernel,
                       .params = source->params,
                       .params_bytes = source->params_bytes,
                       .label = source->label};
    wefti_cpu_call call = {.params = source->params};
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        const wefti_view *view = &source->operands[i];
        step.operands[i] = describe_operand(program, view);
        char *base = program_address(program, memory, view->buffer);
        call.operands[i] = base ? base + view->offset_bytes : NULL;
    }
    wefti_cpu_prepared prepared;
    prepare_step(&step, isa, may_pack, &prepared);
    call.derived = prepared.derived;
    void *packed = NULL;
    if (prepared.packed_operand >= 0) {
        packed = wefti_malloc_aligned(prepared.packed_bytes);
        prepared.pack(packed, call.operands[prepared.packed_operand], step.params);
        call.operands[prepared.packed_operand] = packed;
    }
    void *scratch = wefti_malloc_aligned(prepared.scratch_bytes);
    weft_error error = {0};
    if (prepared.function(&call, scratch, 0, prepared.tile_count, &error) != WEFT_OK) {
        fail_msg("%s: %s", source->label ? source->label : "", error.message);
    }
    wefti_free(scratch);
    wefti_free(packed);
    wefti_free(prepared.derived);
}

void program_run(const wefti_program *program, const wefti_cpu_isa *isa, bool may_pack,
                 program_memory *memory)
{
    make_workspaces(program, memory);
    for (size_t i = 0; i < program->step_count; i++) {
        run_step(program, i, isa, may_pack, memory);
    }
}

void program_copy(void *target, const int64_t *target_strides, const void *source,
                  const int64_t *source_strides, const wefti_view *shape)
{
    size_t size = weft_type_size(shape->type);
    int64_t count = wefti_view_element_count(shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i;
        int64_t from = 0;
        int64_t to = 0;
        for (int32_t axis = shape->rank - 1; axis >= 0; axis--) {
            from += rest % shape->dims[axis] * source_strides[axis];
            to += rest % shape->dims[axis] * target_strides[axis];
            rest /= shape->dims[axis];
        }
        memcpy((char *)target + to * (int64_t)size,
               (const char *)source + from * (int64_t)size, size);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/plan.h"

/* A text that grows. */
typedef struct text {
    char *data;
    size_t length, capacity;
    bool failed;
} text;

static void add(text *out, const char *format, ...) WEFTI_PRINTF(2, 3);
static void add(text *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    size_t needed = out->length + (size_t)length + 1;
    if (needed > out->capacity && !out->failed) {
        size_t capacity = 2 * needed + 1024;
        char *grown = wefti_realloc(out->data, capacity, 1);
        if (grown == NULL) {
            out->failed = true;
        } else {
            out->data = grown;
            out->capacity = capacity;
        }
    }
    if (!out->failed) {
        va_start(arguments, format);
        vsnprintf(out->data + out->length, (size_t)length + 1, format, arguments);
        va_end(arguments);
        out->length += (size_t)length;
    }
}

static void add_shape(text *out, weft_type type, int32_t rank, const int64_t *dims)
{
    add(out, "%s[", weft_type_name(type));
    for (int32_t i = 0; i < rank; i++) {
        add(out, i > 0 ? ",%lld" : "%lld", (long long)dims[i]);
    }
    add(out, "]");
}

static void add_operand(text *out, const wefti_plan *plan, const wefti_view *view)
{
    const wefti_buffer *buffer = &plan->program.buffers[view->buffer];
    switch (buffer->kind) {
    case WEFTI_BUFFER_INPUT:
        add(out, "in%d:", (int)buffer->index);
        break;
    case WEFTI_BUFFER_OUTPUT:
        add(out, "out%d:", (int)buffer->index);
        break;
    case WEFTI_BUFFER_CONSTANT:
        add(out, "const:");
        break;
    case WEFTI_BUFFER_WORKSPACE:
        add(out, "@%lld:", (long long)(buffer->offset_bytes + view->offset_bytes));
        break;
    }
    add_shape(out, view->type, view->rank, view->dims);
    if (!wefti_view_is_dense(view)) {
        add(out, "~");
    }
}

static void add_step(text *out, const wefti_plan *plan, size_t index)
{
    const wefti_program_step *step = &plan->program.steps[index];
    char how[64] = "";
    plan->backend->recipe.describe(plan->recipe, index, how, sizeof(how));
    add(out, "%4zu  %-12s %-28s ", index, wefti_kernel_name(step->kernel), how);
    bool first = true;
    for (size_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        if (step->operands[i].buffer >= 0) {
            add(out, first ? "" : " ");
            add_operand(out, plan, &step->operands[i]);
            first = false;
        }
    }
    add(out, "   %s\n", step->label);
}

weft_status wefti_plan_dump(const wefti_plan *plan, char **result, weft_error *error)
{
    text out = {0};
    add(&out, "inputs:");
    for (size_t i = 0; i < plan->input_count; i++) {
        add(&out, " %s=", plan->net.values[plan->net.inputs[i]].name);
        add_shape(&out, plan->inputs[i].type, plan->inputs[i].rank,
                  plan->inputs[i].dims);
    }
    add(&out, "\noutputs:");
    for (size_t i = 0; i < plan->output_count; i++) {
        add(&out, " %s=", plan->net.values[plan->net.outputs[i]].name);
        add_shape(&out, plan->outputs[i].type, plan->outputs[i].rank,
                  plan->outputs[i].dims);
    }
    add(&out, "\nworkspace: %zu bytes, %zu with scratch\n\n", plan->planned_bytes,
        plan->workspace_bytes);
    add(&out, "step  kernel       how                          operands "
              "(@: workspace offset, ~: strided view)   node\n");
    for (size_t i = 0; i < plan->program.step_count; i++) {
        add_step(&out, plan, i);
    }
    if (out.failed) {
        wefti_free(out.data);
        return wefti_error_memory(error, "the text of a plan");
    }
    *result = out.data;
    return WEFT_OK;
}

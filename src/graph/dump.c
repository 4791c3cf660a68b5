/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/plan.h"
#include "graph/text.h"

static void add_shape(wefti_text *out, weft_type type, int32_t rank,
                      const int64_t *dims)
{
    wefti_text_add(out, "%s[", weft_type_name(type));
    for (int32_t i = 0; i < rank; i++) {
        wefti_text_add(out, i > 0 ? ",%lld" : "%lld", (long long)dims[i]);
    }
    wefti_text_add(out, "]");
}

static void add_operand(wefti_text *out, const wefti_plan *plan, const wefti_view *view)
{
    const wefti_buffer *buffer = &plan->program.buffers[view->buffer];
    switch (buffer->kind) {
    case WEFTI_BUFFER_INPUT:
        wefti_text_add(out, "in%d:", (int)buffer->index);
        break;
    case WEFTI_BUFFER_OUTPUT:
        wefti_text_add(out, "out%d:", (int)buffer->index);
        break;
    case WEFTI_BUFFER_CONSTANT:
        wefti_text_add(out, "const:");
        break;
    case WEFTI_BUFFER_WORKSPACE:
        wefti_text_add(
            out, "@%lld:", (long long)(buffer->offset_bytes + view->offset_bytes));
        break;
    }
    add_shape(out, view->type, view->rank, view->dims);
    if (!wefti_view_is_dense(view)) {
        wefti_text_add(out, "~");
    }
}

static void add_step(wefti_text *out, const wefti_plan *plan, size_t index)
{
    const wefti_program_step *step = &plan->program.steps[index];
    char how[64] = "";
    plan->backend->recipe.describe(plan->recipes[0], index, how, sizeof(how));
    wefti_text_add(out, "%4zu  %-12s %-28s ", index, wefti_kernel_name(step->kernel),
                   how);
    bool first = true;
    for (size_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        if (step->operands[i].buffer >= 0) {
            wefti_text_add(out, first ? "" : " ");
            add_operand(out, plan, &step->operands[i]);
            first = false;
        }
    }
    wefti_text_add(out, "   %s\n", step->label);
}

weft_status wefti_plan_dump(const wefti_plan *plan, char **result, weft_error *error)
{
    wefti_text out = {0};
    wefti_text_add(&out, "inputs:");
    for (size_t i = 0; i < plan->input_count; i++) {
        wefti_text_add(&out, " %s=", plan->net.values[plan->net.inputs[i]].name);
        add_shape(&out, plan->inputs[i].type, plan->inputs[i].rank,
                  plan->inputs[i].dims);
    }
    wefti_text_add(&out, "\noutputs:");
    for (size_t i = 0; i < plan->output_count; i++) {
        wefti_text_add(&out, " %s=", plan->net.values[plan->net.outputs[i]].name);
        add_shape(&out, plan->outputs[i].type, plan->outputs[i].rank,
                  plan->outputs[i].dims);
    }
    wefti_text_add(&out, "\nworkspace: %zu bytes, %zu with scratch\n\n",
                   plan->planned_bytes, plan->workspace_bytes);
    wefti_text_add(&out, "step  kernel       how                          operands "
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

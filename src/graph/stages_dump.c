/* SPDX-License-Identifier: Apache-2.0 */

#include "base/memory.h"
#include "graph/model.h"
#include "graph/stages.h"
#include "graph/text.h"

/* A list of the stages for people, with those of the graphs inside of them. */

static void print_names(wefti_text *out, const wefti_stages *stages,
                        const int32_t *slots, size_t count)
{
    enum { MOST_NAMES = 6 };
    for (size_t i = 0; i < count && i < MOST_NAMES; i++) {
        wefti_text_add(out, "%s%s", i == 0 ? "" : ", ",
                       slots[i] < 0 ? "-" : stages->slots[slots[i]].name);
    }
    if (count > MOST_NAMES) {
        wefti_text_add(out, ", and %zu more", count - MOST_NAMES);
    }
}

static size_t count_nodes(const weft_model *model)
{
    size_t count = 0;
    for (const wefti_net_node *node = model->net.first; node; node = node->next) {
        count += node->dead ? 0 : 1;
    }
    return count;
}

static void print_model(wefti_text *out, const weft_model *model, int indent);

static void print_body(wefti_text *out, const wefti_stage *stage, size_t index,
                       int indent)
{
    static const char *const branches[] = {"then", "else"};
    const weft_model *model = stage->bodies[index].model;
    if (model == NULL || stage->kind == WEFTI_STAGE_STATIC) {
        return;
    }
    wefti_text_add(out, "%*s%s: ", indent, "",
                   stage->kind == WEFTI_STAGE_IF ? branches[index] : "body");
    if (model->stages != NULL) {
        wefti_text_add(out, "%zu stages\n", model->stages->count);
        print_model(out, model, indent + 2);
    } else {
        wefti_text_add(out, "%zu nodes, planned by shapes\n", count_nodes(model));
    }
}

static void print_model(wefti_text *out, const weft_model *model, int indent)
{
    const wefti_stages *stages = model->stages;
    for (size_t i = 0; i < stages->count; i++) {
        const wefti_stage *stage = &stages->stages[i];
        wefti_text_add(out, "%*s%zu  ", indent, "", i);
        if (stage->kind == WEFTI_STAGE_STATIC) {
            wefti_text_add(out, "static, %zu nodes",
                           count_nodes(stage->bodies[0].model));
        } else {
            wefti_text_add(out, "%s", stage->node->view.label);
        }
        wefti_text_add(out, ": ");
        print_names(out, stages, stage->inputs, stage->input_count);
        wefti_text_add(out, " -> ");
        print_names(out, stages, stage->outputs, stage->output_count);
        wefti_text_add(out, "\n");
        print_body(out, stage, 0, indent + 4);
        print_body(out, stage, 1, indent + 4);
    }
}

weft_status wefti_stages_dump(const weft_model *model, char **text, weft_error *error)
{
    wefti_text out = {0};
    wefti_text_add(&out,
                   "%zu stages, one after the other; a static one is planned when its "
                   "input shapes are known\n\n",
                   model->stages->count);
    print_model(&out, model, 0);
    if (out.failed) {
        wefti_free(out.data);
        return wefti_error_memory(error, "a list of stages");
    }
    *text = out.data;
    return WEFT_OK;
}

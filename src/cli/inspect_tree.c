/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/html.h"
#include "cli/inspect.h"
#include "cli/output.h"
#include "cli/page.h"
#include "cli/support.h"

/* Everything that was found as one JSON tree, and the page that draws itself of it. */

/* Names come from files: what is no UTF-8 becomes "?". */
static json_t *text_of(const char *text)
{
    json_t *made = json_string(text);
    if (made != NULL) {
        return made;
    }
    char *repaired = cli_format("%s", text);
    for (char *at = repaired; *at != '\0';) {
        size_t length = cli_character_length(at);
        *at = length > 0 ? *at : '?';
        at += length > 0 ? length : 1;
    }
    made = json_string(repaired);
    free(repaired);
    return made;
}

static json_t *dims_of(const weft_value_info *info)
{
    json_t *dims = json_array();
    for (int32_t i = 0; i < info->rank; i++) {
        const char *name = info->dim_names[i] != NULL ? info->dim_names[i] : "?";
        json_array_append_new(dims, info->dims[i] < 0 ? text_of(name)
                                                      : json_integer(info->dims[i]));
    }
    return dims;
}

static json_t *sizes_of(int32_t rank, const int64_t *sizes)
{
    json_t *made = json_array();
    for (int32_t i = 0; i < rank; i++) {
        json_array_append_new(made, json_integer(sizes[i]));
    }
    return made;
}

static json_t *inputs_of(const cli_inspected *found)
{
    json_t *list = json_array();
    weft_value_info info;
    for (size_t i = 0; weft_graph_get_input(found->graph, i, &info); i++) {
        const weft_tensor *size = &found->sizes.shapes[i];
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:o, s:o}", "name", text_of(info.name), "type",
                            weft_type_name(info.type), "dims", dims_of(&info), "size",
                            sizes_of(size->rank, size->dims)));
    }
    return list;
}

static json_t *outputs_of(const cli_inspected *found)
{
    json_t *list = json_array();
    const weft_inspect_value *value;
    for (size_t i = 0; (value = weft_inspection_value(found->inspection, i)) != NULL;
         i++) {
        if (!value->is_output) {
            continue;
        }
        weft_value_info info;
        int32_t index =
            found->model ? weft_model_find_output(found->model, value->name) : -1;
        bool declared =
            index >= 0 && weft_model_get_output(found->model, (size_t)index, &info);
        json_array_append_new(
            list,
            json_pack("{s:o, s:s, s:o, s:o, s:b}", "name", text_of(value->name), "type",
                      weft_type_name(value->type), "dims",
                      declared ? dims_of(&info) : sizes_of(value->rank, value->dims),
                      "size", sizes_of(value->rank, value->dims), "is_known",
                      (int)(value->type != WEFT_TYPE_NONE)));
    }
    return list;
}

static json_t *kinds_of(const cli_inspected *found)
{
    size_t count = 0;
    cli_kind *kinds = cli_inspect_kinds(found, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *fates = json_object();
        for (int fate = WEFT_FATE_KERNEL; fate <= WEFT_FATE_UNSUPPORTED; fate++) {
            if (kinds[i].fates[fate] > 0) {
                json_object_set_new(fates, cli_fate_name((weft_fate)fate),
                                    json_integer((json_int_t)kinds[i].fates[fate]));
            }
        }
        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:I, s:f, s:f, s:I, s:o}", "op",
                      text_of(kinds[i].op_type), "domain", text_of(kinds[i].domain),
                      "count", (json_int_t)kinds[i].count, "flops", kinds[i].flops,
                      "moved_bytes", kinds[i].moved_bytes, "unmeasured",
                      (json_int_t)kinds[i].unmeasured, "fates", fates));
    }
    free(kinds);
    return list;
}

static json_t *names_of(const weft_inspection *inspection, const int32_t *values,
                        size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const char *name =
            values[i] < 0 ? ""
                          : weft_inspection_value(inspection, (size_t)values[i])->name;
        json_array_append_new(list, text_of(name));
    }
    return list;
}

static json_t *node_of(const cli_inspected *found, size_t index)
{
    const weft_inspection *inspection = found->inspection;
    const weft_inspect_node *node = weft_inspection_node(inspection, index);
    json_t *from = json_array();
    json_int_t weight_bytes = 0;
    char shape[200] = "";
    for (size_t i = 0; i < node->input_count; i++) {
        const weft_inspect_value *value =
            node->inputs[i] < 0
                ? NULL
                : weft_inspection_value(inspection, (size_t)node->inputs[i]);
        if (value != NULL && value->producer >= 0) {
            json_array_append_new(from, json_integer(value->producer));
        } else if (value != NULL && value->is_initializer) {
            weight_bytes += (json_int_t)value->size_bytes;
        }
    }
    if (node->output_count > 0 && node->outputs[0] >= 0) {
        const weft_inspect_value *value =
            weft_inspection_value(inspection, (size_t)node->outputs[0]);
        if (value->type != WEFT_TYPE_NONE) {
            cli_shape(value->type, value->rank, value->dims, shape, sizeof(shape));
        }
    }
    json_t *made = json_pack(
        "{s:o, s:o, s:o, s:o, s:s, s:i, s:f, s:f, s:b, s:I, s:s}", "op",
        text_of(node->op_type), "domain", text_of(node->domain), "name",
        text_of(node->name), "group", text_of(found->groups.paths[index]), "fate",
        cli_fate_name(node->fate), "fused_into", (int)node->fused_into, "flops",
        node->flops, "moved_bytes", node->moved_bytes, "is_measured",
        (int)node->is_measured, "weight_bytes", weight_bytes, "out", shape);
    json_object_set_new(made, "inputs",
                        names_of(inspection, node->inputs, node->input_count));
    json_object_set_new(made, "outputs",
                        names_of(inspection, node->outputs, node->output_count));
    json_object_set_new(made, "from", from);
    return made;
}

static json_t *nodes_of(const cli_inspected *found)
{
    json_t *list = json_array();
    for (size_t i = 0; i < found->totals.node_count; i++) {
        json_array_append_new(list, node_of(found, i));
    }
    return list;
}

static json_t *steps_of(const cli_inspected *found)
{
    json_t *list = json_array();
    const weft_inspect_step *step;
    for (size_t i = 0; (step = weft_inspection_step(found->inspection, i)) != NULL;
         i++) {
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:i, s:f, s:f}", "kernel",
                                        step->kernel, "shape", step->shape, "how",
                                        step->how, "node", (int)step->node, "flops",
                                        step->flops, "moved_bytes", step->moved_bytes));
    }
    return list;
}

static json_t *problems_of(const cli_inspected *found)
{
    json_t *list = json_array();
    const weft_inspect_problem *problem;
    for (size_t i = 0;
         (problem = weft_inspection_problem(found->inspection, i)) != NULL; i++) {
        json_array_append_new(list, json_pack("{s:i, s:b, s:o}", "node",
                                              (int)problem->node, "unsupported",
                                              problem->status == WEFT_UNSUPPORTED,
                                              "text", text_of(problem->text)));
    }
    return list;
}

static json_t *fusions_of(const cli_inspected *found)
{
    size_t count = 0;
    cli_fusion *fusions = cli_inspect_fusions(found, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list,
                              json_pack("{s:o, s:I}", "text", text_of(fusions[i].text),
                                        "count", (json_int_t)fusions[i].count));
    }
    cli_fusions_free(fusions, count);
    return list;
}

static json_t *totals_of(const cli_inspected *found)
{
    const weft_inspect_totals *t = &found->totals;
    return json_pack(
        "{s:i, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I}", "opset",
        (int)t->opset, "nodes", (json_int_t)t->node_count, "steps",
        (json_int_t)t->step_count, "problems", (json_int_t)t->problem_count,
        "parameters", (json_int_t)t->parameter_count, "weight_bytes",
        (json_int_t)t->weight_bytes, "flops", t->flops, "packed_bytes",
        (json_int_t)t->packed_bytes, "workspace_bytes", (json_int_t)t->workspace_bytes,
        "tensor_bytes", (json_int_t)t->tensor_bytes, "unshared_bytes",
        (json_int_t)t->unshared_bytes);
}

static json_t *inner_of(const cli_inspected *found)
{
    json_t *list = json_array();
    const weft_inspect_inner *inner;
    for (size_t i = 0; (inner = weft_inspection_inner(found->inspection, i)) != NULL;
         i++) {
        json_array_append_new(list, json_pack("{s:o, s:o, s:I, s:b}", "op",
                                              text_of(inner->op_type), "domain",
                                              text_of(inner->domain), "count",
                                              (json_int_t)inner->count, "is_supported",
                                              (int)inner->is_supported));
    }
    return list;
}

json_t *cli_inspect_tree(const cli_inspected *found)
{
    bool staged = found->model != NULL && weft_model_has_stages(found->model);
    bool planned = found->model != NULL && found->totals.problem_count == 0 && !staged;
    json_t *tree = json_pack(
        "{s:s, s:o, s:s, s:s, s:f, s:f, s:f, s:b, s:s}", "weft", weft_build_id(),
        "model", text_of(found->options->model), "device", found->device.name, "isa",
        found->device.isa, "load_ms", (double)found->load_ns / 1e6, "prepare_ms",
        (double)found->prepare_ns / 1e6, "plan_ms", (double)found->plan_ns / 1e6,
        "planned", (int)planned, "chosen_sizes", found->sizes.said);
    json_object_set_new(tree, "totals", totals_of(found));
    json_object_set_new(tree, "inputs", inputs_of(found));
    json_object_set_new(tree, "outputs", outputs_of(found));
    json_object_set_new(tree, "kinds", kinds_of(found));
    json_object_set_new(tree, "inner", inner_of(found));
    json_object_set_new(tree, "staged", json_boolean(staged));
    json_object_set_new(tree, "problems", problems_of(found));
    json_object_set_new(tree, "fusions", fusions_of(found));
    if (found->rows.is_known) {
        json_object_set_new(
            tree, "queue",
            json_pack("{s:b, s:o, s:o}", "joins", (int)found->rows.joins, "dimension",
                      found->rows.dimension ? text_of(found->rows.dimension)
                                            : json_null(),
                      "reason", text_of(found->rows.reason)));
    }
    json_object_set_new(tree, "nodes", nodes_of(found));
    json_object_set_new(tree, "steps", steps_of(found));
    return tree;
}

static void write_head(const cli_inspected *found, FILE *file)
{
    char load[32], prepare[32];
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "
          "name=\"viewport\" content=\"width=device-width\"><title>",
          file);
    cli_html_text(file, found->options->model);
    fprintf(file, "</title>\n<style>\n%s</style></head><body>\n<h1>",
            cli_page_inspect_css);
    cli_html_text(file, found->options->model);
    fprintf(file, "</h1>\n<p class=\"soft\">opset %d; read in %s",
            (int)found->totals.opset, cli_duration((double)found->load_ns, load));
    if (found->model != NULL) {
        fprintf(file, ", made ready in %s for %s (%s)",
                cli_duration((double)found->prepare_ns, prepare), found->device.name,
                found->device.isa);
    }
    fprintf(file,
            "; by weft %s</p>\n<p id=\"verdict\"></p>\n<div class=\"tiles\" "
            "id=\"tiles\"></div>\n",
            weft_build_id());
    if (found->rows.is_known) {
        fputs("<p class=\"soft\">In a queue, requests ", file);
        if (found->rows.joins) {
            fputs("are joined into batches", file);
        } else {
            fputs("run alone: ", file);
            cli_html_text(file, found->rows.reason);
        }
        fputs(".</p>\n", file);
    }
}

bool cli_inspect_html(const cli_inspected *found, const char *path)
{
    cli_output output;
    if (!cli_output_begin(&output, path)) {
        return false;
    }
    write_head(found, output.file);
    fputs(cli_page_inspect_html, output.file);
    fputs("<script type=\"application/json\" id=\"data\">", output.file);
    json_t *tree = cli_inspect_tree(found);
    /* With "/" escaped no text in it can end the element. */
    bool whole = json_dumpf(tree, output.file, JSON_COMPACT | JSON_ESCAPE_SLASH) == 0;
    json_decref(tree);
    fprintf(output.file, "</script>\n<script>\n%s</script>\n</body></html>\n",
            cli_page_inspect_js);
    return cli_output_end(&output, whole);
}

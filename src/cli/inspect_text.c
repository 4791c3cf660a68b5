/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"
#include "cli/output.h"
#include "cli/support.h"

enum { WIDTH = 80, FEW_STEPS = 12, FEW_FUSIONS = 8, FEW_NODES = 6 };

/* Writes words in lines of at most 80 columns; `column` is where the first begins. */
static void write_words(const char *text, int column, int indent, FILE *file)
{
    while (*text != '\0') {
        int length = (int)strcspn(text, " ");
        if (column > indent && column + length > WIDTH) {
            fprintf(file, "\n%*s", indent, "");
            column = indent;
        }
        fprintf(file, "%.*s", length, text);
        column += length;
        text += length;
        if (*text == ' ') {
            text++;
            if (column < WIDTH) {
                fputc(' ', file);
            }
            column++;
        }
    }
    fputc('\n', file);
}

static void write_values(const cli_inspected *found, FILE *file)
{
    weft_value_info info;
    char shape[400], here[200];
    fputs("\ninputs\n", file);
    for (size_t i = 0; weft_graph_get_input(found->graph, i, &info); i++) {
        const weft_tensor *size = &found->sizes.shapes[i];
        fprintf(file, "  %-22s %-30s %s\n", info.name,
                cli_value_shape(&info, shape, sizeof(shape)),
                cli_shape(WEFT_TYPE_NONE, size->rank, size->dims, here, sizeof(here)));
    }
    fputs("outputs\n", file);
    const weft_inspect_value *value;
    for (size_t i = 0; (value = weft_inspection_value(found->inspection, i)) != NULL;
         i++) {
        if (!value->is_output) {
            continue;
        }
        const char *declared = "";
        int32_t index =
            found->model ? weft_model_find_output(found->model, value->name) : -1;
        if (index >= 0 && weft_model_get_output(found->model, (size_t)index, &info)) {
            declared = cli_value_shape(&info, shape, sizeof(shape));
        }
        fprintf(file, "  %-22s %-30s %s\n", value->name, declared,
                value->type == WEFT_TYPE_NONE
                    ? "unknown before the run"
                    : cli_shape(declared[0] ? WEFT_TYPE_NONE : value->type, value->rank,
                                value->dims, here, sizeof(here)));
    }
    if (found->sizes.said[0] != '\0') {
        fprintf(file, "looked at with %s (no size given: --dim)\n", found->sizes.said);
    }
    if (found->model != NULL) {
        cli_buckets_print(&found->options->buckets, found->model, found->sizes.shapes,
                          file);
    }
}

static void write_kinds(const cli_inspected *found, FILE *file)
{
    size_t count = 0;
    cli_kind *kinds = cli_inspect_kinds(found, &count);
    fprintf(file, "\n%-28s %7s %10s %7s %10s\n", "operators", "count", "FLOPs", "part",
            "moved");
    for (size_t i = 0; i < count; i++) {
        char name[64], flops[32], bytes[32];
        const cli_kind *kind = &kinds[i];
        snprintf(name, sizeof(name), "%s%s%s", kind->domain,
                 kind->domain[0] ? "::" : "", kind->op_type);
        bool nothing = kind->unmeasured == kind->count;
        fprintf(file, "  %-26.26s %7llu %10s %6.1f%% %10s%s\n", name,
                (unsigned long long)kind->count,
                nothing ? "?" : cli_count(kind->flops, flops),
                found->totals.flops > 0 ? 100 * kind->flops / found->totals.flops : 0.0,
                nothing ? "?" : cli_bytes(kind->moved_bytes, bytes),
                kind->fates[WEFT_FATE_UNSUPPORTED] > 0 ? "  not supported" : "");
    }
    free(kinds);
}

/* What is in branches and bodies: how often it runs, only a run can tell. */
static void write_inner(const cli_inspected *found, FILE *file)
{
    const weft_inspect_inner *inner;
    for (size_t i = 0; (inner = weft_inspection_inner(found->inspection, i)) != NULL;
         i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s%s%s", inner->domain,
                 inner->domain[0] ? "::" : "", inner->op_type);
        fprintf(file, "%s  %-26.26s %7zu%s\n", i == 0 ? "in branches and bodies\n" : "",
                name, inner->count,
                inner->is_supported ? ""
                                    : "                                not supported");
    }
}

static void write_fusions(const cli_inspected *found, FILE *file)
{
    size_t count = 0;
    cli_fusion *fusions = cli_inspect_fusions(found, &count);
    fputs(count > 0 ? "fused\n" : "", file);
    for (size_t i = 0; i < count && i < FEW_FUSIONS; i++) {
        fprintf(file, "  %5llu x  %s\n", (unsigned long long)fusions[i].count,
                fusions[i].text);
    }
    if (count > FEW_FUSIONS) {
        fprintf(file, "  and %zu other patterns\n", count - FEW_FUSIONS);
    }
    cli_fusions_free(fusions, count);
}

/* What does no work in a run: "Reshape 12, Transpose 4". */
static void write_fate(const cli_inspected *found, weft_fate fate, const char *what,
                       FILE *file)
{
    size_t count = 0;
    cli_kind *kinds = cli_inspect_kinds(found, &count);
    int column = 0;
    for (size_t i = 0; i < count; i++) {
        char word[96];
        if (kinds[i].fates[fate] == 0) {
            continue;
        }
        int length =
            snprintf(word, sizeof(word), "%s%.60s %llu", column > 0 ? ", " : "",
                     kinds[i].op_type, (unsigned long long)kinds[i].fates[fate]);
        if (column == 0) {
            column = fprintf(file, "%s: ", what);
        } else if (column + length > WIDTH) {
            fputs(",\n  ", file);
            column = 2 - 2;
            memmove(word, word + 2, strlen(word) - 1);
        }
        fputs(word, file);
        column += length;
    }
    if (column > 0) {
        fputc('\n', file);
    }
    free(kinds);
}

static int more_work(const void *a, const void *b)
{
    const weft_inspect_step *const *first = a, *const *second = b;
    double x = (*first)->flops + 1e-3 * (*first)->moved_bytes;
    double y = (*second)->flops + 1e-3 * (*second)->moved_bytes;
    return x > y ? -1 : x < y;
}

static void write_steps(const cli_inspected *found, FILE *file)
{
    size_t count = found->totals.step_count;
    bool all = found->options->all_steps || count <= FEW_STEPS;
    const weft_inspect_step **order = cli_allocate(count + 1, sizeof(*order));
    for (size_t i = 0; i < count; i++) {
        order[i] = weft_inspection_step(found->inspection, i);
    }
    if (!all) {
        qsort(order, count, sizeof(*order), more_work);
        count = FEW_STEPS;
    }
    if (!all) {
        fprintf(file, "\nthe %d largest steps (--steps lists all)", FEW_STEPS);
    }
    fprintf(file, "\n%-12s %-28s %9s %9s  operator\n", "kernel", "shape", "FLOPs",
            "moved");
    for (size_t i = 0; i < count; i++) {
        char flops[32], bytes[32];
        const weft_inspect_node *node =
            order[i]->node < 0
                ? NULL
                : weft_inspection_node(found->inspection, (size_t)order[i]->node);
        const char *name = node == NULL ? "" : node->name;
        size_t length = strlen(name);
        enum { NAME = 17 };
        bool cut = length > NAME && !all;
        fprintf(file, "%-12s %-28.28s %9s %9s  %s%s\n", order[i]->kernel,
                order[i]->shape, cli_count(order[i]->flops, flops),
                cli_bytes(order[i]->moved_bytes, bytes), cut ? ".." : "",
                cut ? name + length - (NAME - 2) : name);
    }
    free(order);
}

static void write_plan(const cli_inspected *found, FILE *file)
{
    char flops[32], tensors[32], unshared[32], workspace[32], packed[32];
    const weft_inspect_totals *totals = &found->totals;
    if (found->model == NULL || totals->problem_count > 0) {
        return;
    }
    if (weft_model_has_stages(found->model)) {
        fprintf(file,
                "\nplanned stage by stage while it runs: sizes, branches or rounds "
                "are found on the way\n");
        return;
    }
    double all = 0;
    for (size_t i = 0; i < totals->step_count; i++) {
        all += weft_inspection_step(found->inspection, i)->flops;
    }
    fprintf(file,
            "\nplan for %s (%s): %zu kernel%s, %s FLOPs a request\n"
            "memory: a request's tensors %s (%s if none took another's place), with\n"
            "  scratch %s; packed weights %s\n",
            found->device.name, found->device.isa, totals->step_count,
            totals->step_count == 1 ? "" : "s", cli_count(all, flops),
            cli_bytes((double)totals->tensor_bytes, tensors),
            cli_bytes((double)totals->unshared_bytes, unshared),
            cli_bytes((double)totals->workspace_bytes, workspace),
            cli_bytes((double)totals->packed_bytes, packed));
    write_fusions(found, file);
    write_fate(found, WEFT_FATE_VIEW, "no work (other views)", file);
    write_fate(found, WEFT_FATE_CONSTANT, "computed when planned", file);
    write_fate(found, WEFT_FATE_UNUSED, "not needed", file);
    write_steps(found, file);
}

static void write_rows(const cli_inspected *found, FILE *file)
{
    if (!found->rows.is_known) {
        return;
    }
    if (found->rows.joins) {
        fprintf(file, "\nqueue: requests are joined along %s%s%s\n",
                found->rows.dimension ? "'" : "their batch dimension",
                found->rows.dimension ? found->rows.dimension : "",
                found->rows.dimension ? "'" : "");
    } else {
        int column = fprintf(file, "\nqueue: requests run alone: ") - 1;
        write_words(found->rows.reason, column, 2, file);
    }
}

/* A problem by its words; those of one group have the same words. */
typedef struct stated {
    const weft_inspect_problem *problem;
    size_t index;
    size_t same; /* of the first of a group: how many there are; 0: no first one */
} stated;

static int by_words(const void *a, const void *b)
{
    const stated *first = a, *second = b;
    int words = strcmp(first->problem->text, second->problem->text);
    return words != 0 ? words : first->index < second->index ? -1 : 1;
}

/* All problems in groups, each of them in the order of the model. */
static stated *group_problems(const cli_inspected *found)
{
    size_t count = found->totals.problem_count;
    stated *all = cli_allocate(count, sizeof(*all));
    for (size_t i = 0; i < count; i++) {
        all[i] = (stated){weft_inspection_problem(found->inspection, i), i, 0};
    }
    qsort(all, count, sizeof(*all), by_words);
    for (size_t i = 0, first = 0; i < count; i++) {
        first = strcmp(all[i].problem->text, all[first].problem->text) == 0 ? first : i;
        all[first].same++;
    }
    return all;
}

/* A problem with the names of the operators that have it. */
static void write_problem(const cli_inspected *found, const stated *group, FILE *file)
{
    fputs("  ", file);
    write_words(group->problem->text, 2, 4, file);
    int named = 0, more = 0;
    for (size_t i = 0; i < group->same; i++) {
        int32_t number = group[i].problem->node;
        if (number >= 0 && named < FEW_NODES) {
            const weft_inspect_node *node =
                weft_inspection_node(found->inspection, (size_t)number);
            fprintf(file, "      %s '%s'\n", node->op_type, node->name);
            named++;
        } else if (number >= 0) {
            more++;
        }
    }
    if (more > 0) {
        fprintf(file, "      and %d more\n", more);
    }
}
static void write_problems(const cli_inspected *found, FILE *file)
{
    size_t count = found->totals.problem_count;
    if (count == 0) {
        fputs("not supported: nothing, the model runs\n", file);
        return;
    }
    fprintf(file, "\nnot supported, or wrong (%zu)\n", count);
    stated *all = group_problems(found);
    const stated **groups = cli_allocate(count, sizeof(*groups)); /* by their first */
    for (size_t i = 0; i < count; i++) {
        groups[all[i].index] = all[i].same > 0 ? &all[i] : NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (groups[i] != NULL) {
            write_problem(found, groups[i], file);
        }
    }
    free(groups);
    free(all);
}
/* Weights by type: "f32 102 MB, i64 48 B". */
static void write_weights(const cli_inspected *found, FILE *file)
{
    uint64_t bytes[32] = {0};
    const char *name;
    weft_tensor tensor;
    for (size_t i = 0; weft_graph_get_initializer(found->graph, i, &name, &tensor);
         i++) {
        size_t size = 0;
        if (weft_tensor_measure(&tensor, NULL, &size, NULL) == WEFT_OK &&
            (unsigned)tensor.type < 32) {
            bytes[tensor.type] += size;
        }
    }
    const char *before = " (";
    for (int type = 0; type < 32; type++) {
        char text[32];
        if (bytes[type] > 0) {
            fprintf(file, "%s%s %s", before, weft_type_name((weft_type)type),
                    cli_bytes((double)bytes[type], text));
            before = ", ";
        }
    }
    fputs(before[0] == ',' ? ")\n" : "\n", file);
}

void cli_inspect_text(const cli_inspected *found, FILE *file)
{
    char parameters[32], bytes[32], load[32], prepare[32], plan[32];
    const weft_inspect_totals *totals = &found->totals;
    size_t kinds = 0;
    free(cli_inspect_kinds(found, &kinds));
    fprintf(file, "%s\nopset %d, %zu operator%s of %zu kind%s, %s parameters\n",
            found->options->model, (int)totals->opset, totals->node_count,
            totals->node_count == 1 ? "" : "s", kinds, kinds == 1 ? "" : "s",
            cli_count((double)totals->parameter_count, parameters));
    fprintf(file, "weights %s", cli_bytes((double)totals->weight_bytes, bytes));
    write_weights(found, file);
    fprintf(file, "read in %s", cli_duration((double)found->load_ns, load));
    if (found->model != NULL) {
        fprintf(file, ", made ready in %s, planned in %s",
                cli_duration((double)found->prepare_ns, prepare),
                cli_duration((double)found->plan_ns, plan));
    }
    fputc('\n', file);
    write_values(found, file);
    write_kinds(found, file);
    write_inner(found, file);
    write_plan(found, file);
    write_rows(found, file);
    write_problems(found, file);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/levels.h"

#include "ops/demand.h"

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static bool is_constant(const wefti_net *net, int32_t value)
{
    return value < 0 || net->values[value].known.constant != NULL;
}

int32_t wefti_level_of(const wefti_levels *levels, const wefti_net *net,
                       const wefti_net_node *node, bool *host)
{
    int32_t level = 0;
    for (size_t i = 0; i < node->view.input_count; i++) {
        if (!is_constant(net, node->inputs[i])) {
            level = larger(level, levels->values[node->inputs[i]]);
        }
    }
    *host = wefti_operator_is_control(node->op);
    int32_t needed = level;
    for (size_t i = 0; !*host && i < node->view.input_count; i++) {
        int32_t value = node->inputs[i];
        if (is_constant(net, value) || !wefti_operator_demands(node->op, i)) {
            continue;
        }
        bool unknown = levels->known[value] == WEFTI_UNKNOWN;
        *host = (unknown || !levels->follows[value]) &&
                wefti_operator_sizes_by_data(node->op);
        needed =
            larger(needed, unknown ? levels->values[value] + 1 : levels->known[value]);
    }
    return *host ? level : needed;
}

/* When the result of a node of `level` is known; what it demands is known there. */
static int32_t known_at(const wefti_levels *levels, const wefti_net *net,
                        const wefti_net_node *node, int32_t level)
{
    if (wefti_operator_reads_shapes(node->op)) {
        return level;
    }
    for (size_t i = 0; i < node->view.input_count; i++) {
        if (!is_constant(net, node->inputs[i]) &&
            levels->known[node->inputs[i]] == WEFTI_UNKNOWN &&
            !wefti_operator_demands(node->op, i)) {
            return WEFTI_UNKNOWN;
        }
    }
    return level;
}

static void visit(wefti_levels *levels, const wefti_net *net,
                  const wefti_net_node *node)
{
    bool host = false;
    int32_t level = wefti_level_of(levels, net, node, &host);
    bool follows = !host;
    for (size_t i = 0; i < node->view.input_count; i++) {
        follows = follows && (is_constant(net, node->inputs[i]) ||
                              levels->follows[node->inputs[i]] ||
                              wefti_operator_reads_shapes(node->op));
    }
    int32_t known = host ? WEFTI_UNKNOWN : known_at(levels, net, node, level);
    levels->any_host = levels->any_host || host;
    levels->count = larger(levels->count, level + 1);
    for (size_t i = 0; i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0) {
            levels->values[node->outputs[i]] = level + (host ? 1 : 0);
            levels->known[node->outputs[i]] = known;
            levels->follows[node->outputs[i]] = follows;
        }
    }
}

/* Marks what must be known: the operands that decide, and what they follow from. */
static void demand(const wefti_net *net, const wefti_net_node *node, bool *demanded)
{
    bool wanted = false;
    for (size_t i = 0; i < node->view.output_count; i++) {
        wanted = wanted || (node->outputs[i] >= 0 && demanded[node->outputs[i]]);
    }
    wanted = wanted && !wefti_operator_reads_shapes(node->op);
    for (size_t i = 0; i < node->view.input_count; i++) {
        if (!is_constant(net, node->inputs[i]) &&
            (wanted || wefti_operator_demands(node->op, i))) {
            demanded[node->inputs[i]] = true;
        }
    }
}

/* When the value of an input is known. One of unknown rank may be large, and then it is
 * data: what it decides waits for a stage. In a part it is taken as small: what was
 * computed for this very purpose, and dividing a part once more would not help. */
static int32_t input_known_at(const weft_value_info *info, bool is_part)
{
    bool small = info->rank == 0 || info->rank == 1 || (info->rank < 0 && is_part);
    return small ? 0 : WEFTI_UNKNOWN;
}

weft_status wefti_levels_find(const wefti_net *net, const weft_value_info *inputs,
                              bool is_part, wefti_arena *arena, wefti_levels *levels,
                              weft_error *error)
{
    size_t count = net->value_count;
    *levels = (wefti_levels){
        .values = wefti_arena_calloc(arena, count, sizeof(int32_t)),
        .known = wefti_arena_calloc(arena, count, sizeof(int32_t)),
        .follows = wefti_arena_calloc(arena, count, sizeof(bool)),
        .value_inputs = wefti_arena_calloc(arena, net->input_count, sizeof(bool)),
        .count = 1,
    };
    bool *demanded = wefti_arena_calloc(arena, count, sizeof(bool));
    if (levels->values == NULL || levels->known == NULL || levels->follows == NULL ||
        levels->value_inputs == NULL || demanded == NULL) {
        return wefti_error_memory(error, "the levels of a model");
    }
    for (size_t i = 0; i < net->input_count; i++) {
        levels->known[net->inputs[i]] = input_known_at(&inputs[i], is_part);
    }
    for (const wefti_net_node *node = net->first; node != NULL; node = node->next) {
        if (!node->dead) {
            visit(levels, net, node);
        }
    }
    for (const wefti_net_node *node = net->last; node != NULL; node = node->previous) {
        if (!node->dead) {
            demand(net, node, demanded);
        }
    }
    for (size_t i = 0; i < net->input_count; i++) {
        levels->value_inputs[i] = demanded[net->inputs[i]];
        levels->any_value_input = levels->any_value_input || levels->value_inputs[i];
    }
    return WEFT_OK;
}

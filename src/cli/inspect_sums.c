/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"
#include "cli/support.h"

const char *cli_count(double value, char text[32])
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1000;
        unit++;
    }
    snprintf(text, 32, unit == 0 ? "%.0f%s" : "%.3g%s", value, units[unit]);
    return text;
}

const char *cli_bytes(double bytes, char text[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;
    while (bytes >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        bytes /= 1000;
        unit++;
    }
    snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.3g %s", bytes, units[unit]);
    return text;
}

const char *cli_shape(weft_type type, int32_t rank, const int64_t *dims, char *text,
                      size_t size)
{
    size_t length = (size_t)snprintf(text, size, "%s%s[",
                                     type == WEFT_TYPE_NONE ? "" : weft_type_name(type),
                                     type == WEFT_TYPE_NONE ? "" : " ");
    for (int32_t i = 0; i < rank && length < size; i++) {
        length += (size_t)snprintf(text + length, size - length, "%s%" PRId64,
                                   i > 0 ? "," : "", dims[i]);
    }
    if (length < size) {
        snprintf(text + length, size - length, "]");
    }
    return text;
}

const char *cli_value_shape(const weft_value_info *info, char *text, size_t size)
{
    if (info->rank < 0) {
        snprintf(text, size, "%s of any shape",
                 info->type == WEFT_TYPE_NONE ? "" : weft_type_name(info->type));
        return text;
    }
    size_t length = (size_t)snprintf(text, size, "%s [", weft_type_name(info->type));
    for (int32_t i = 0; i < info->rank && length < size; i++) {
        const char *comma = i > 0 ? "," : "";
        const char *name = info->dim_names[i] != NULL ? info->dim_names[i] : "?";
        length +=
            (size_t)(info->dims[i] < 0 ? snprintf(text + length, size - length,
                                                  "%s%.60s", comma, name)
                                       : snprintf(text + length, size - length,
                                                  "%s%" PRId64, comma, info->dims[i]));
    }
    if (length < size) {
        snprintf(text + length, size - length, "]");
    }
    return text;
}

const char *cli_fate_name(weft_fate fate)
{
    static const char *const names[] = {
        [WEFT_FATE_UNKNOWN] = "",           [WEFT_FATE_KERNEL] = "kernel",
        [WEFT_FATE_FUSED] = "fused",        [WEFT_FATE_VIEW] = "view",
        [WEFT_FATE_CONSTANT] = "constant",  [WEFT_FATE_UNUSED] = "unused",
        [WEFT_FATE_UNSUPPORTED] = "missing"};
    return (unsigned)fate < sizeof(names) / sizeof(names[0]) ? names[fate] : "";
}

static int by_work(const void *a, const void *b)
{
    const cli_kind *x = a, *y = b;
    if (x->flops != y->flops) {
        return x->flops > y->flops ? -1 : 1;
    }
    if (x->moved_bytes != y->moved_bytes) {
        return x->moved_bytes > y->moved_bytes ? -1 : 1;
    }
    return x->count != y->count ? (x->count > y->count ? -1 : 1)
                                : strcmp(x->op_type, y->op_type);
}

static cli_kind *find_kind(cli_kind *kinds, size_t *count,
                           const weft_inspect_node *node)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(kinds[i].op_type, node->op_type) == 0 &&
            strcmp(kinds[i].domain, node->domain) == 0) {
            return &kinds[i];
        }
    }
    kinds[*count] = (cli_kind){.op_type = node->op_type, .domain = node->domain};
    return &kinds[(*count)++];
}

cli_kind *cli_inspect_kinds(const cli_inspected *found, size_t *count)
{
    /* At most as many kinds as operators. */
    cli_kind *kinds = cli_allocate(found->totals.node_count + 1, sizeof(*kinds));
    *count = 0;
    for (size_t i = 0; i < found->totals.node_count; i++) {
        const weft_inspect_node *node = weft_inspection_node(found->inspection, i);
        cli_kind *kind = find_kind(kinds, count, node);
        kind->count++;
        kind->fates[node->fate]++;
        kind->unmeasured += node->is_measured ? 0 : 1;
        kind->flops += node->flops;
        kind->moved_bytes += node->moved_bytes;
    }
    qsort(kinds, *count, sizeof(*kinds), by_work);
    return kinds;
}

/* The operators done by the kernels of one, in the order of the file; NULL when it is
 * alone. */
static char *fused_text(const cli_inspected *found, const int32_t *first,
                        const int32_t *next, size_t heir)
{
    char text[400] = "";
    size_t length = 0, members = 0;
    bool heir_said = false;
    for (int32_t i = first[heir]; i >= 0 || !heir_said; members++) {
        bool heir_now = !heir_said && (i < 0 || (size_t)i > heir);
        size_t index = heir_now ? heir : (size_t)i;
        const weft_inspect_node *node = weft_inspection_node(found->inspection, index);
        if (length < sizeof(text)) {
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s",
                                       members > 0 ? " + " : "", node->op_type);
        }
        heir_said = heir_said || heir_now;
        i = heir_now ? i : next[i];
    }
    return members > 1 ? cli_format("%s", text) : NULL;
}

static void add_fusion(cli_fusion *fusions, size_t *count, char *text)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(fusions[i].text, text) == 0) {
            fusions[i].count++;
            free(text);
            return;
        }
    }
    fusions[(*count)++] = (cli_fusion){text, 1};
}

static int by_count(const void *a, const void *b)
{
    const cli_fusion *x = a, *y = b;
    return x->count != y->count ? (x->count > y->count ? -1 : 1)
                                : strcmp(x->text, y->text);
}

cli_fusion *cli_inspect_fusions(const cli_inspected *found, size_t *count)
{
    size_t nodes = found->totals.node_count;
    cli_fusion *fusions = cli_allocate(nodes + 1, sizeof(*fusions));
    int32_t *first = cli_allocate(nodes + 1, sizeof(*first));
    int32_t *next = cli_allocate(nodes + 1, sizeof(*next));
    *count = 0;
    for (size_t i = 0; i < nodes; i++) {
        first[i] = -1;
    }
    for (size_t i = nodes; i-- > 0;) {
        const weft_inspect_node *node = weft_inspection_node(found->inspection, i);
        if (node->fate == WEFT_FATE_FUSED && node->fused_into >= 0) {
            next[i] = first[node->fused_into];
            first[node->fused_into] = (int32_t)i;
        }
    }
    for (size_t i = 0; i < nodes; i++) {
        char *text = first[i] >= 0 ? fused_text(found, first, next, i) : NULL;
        if (text != NULL) {
            add_fusion(fusions, count, text);
        }
    }
    free(first);
    free(next);
    qsort(fusions, *count, sizeof(*fusions), by_count);
    return fusions;
}

void cli_fusions_free(cli_fusion *fusions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(fusions[i].text);
    }
    free(fusions);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"
#include "cli/support.h"

/* Layers by name. Exporters that name operators by their module write
 * "/encoder/layers.0/attn/MatMul"; others leave names to the weights, as
 * "encoder.layers.0.attn.weight": what has no weights goes with what stands before. */

enum { BLOCK = 24 }; /* operators in a group where no name says anything */

/* The folder of a name with slashes; NULL when it has none. */
static char *folder_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    name += name[0] == '/' ? 1 : 0;
    return slash == NULL || slash <= name
               ? NULL
               : cli_format("%.*s", (int)(slash - name), name);
}

/* "encoder.layers.0.attn.weight" -> "encoder/layers.0/attn"; NULL when it is no path.
 */
static char *module_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || strchr(name, '/') != NULL) {
        return NULL;
    }
    char *path = cli_format("%.*s", (int)(dot - name), name);
    for (char *at = path; *at != '\0'; at++) {
        /* A number stays with its list. */
        if (*at == '.' && !isdigit((unsigned char)at[1])) {
            *at = '/';
        }
    }
    return path;
}

/* How many operators read each value: a weight that several share, as exporters make
 * of equal ones, tells nothing of where it is used. */
static int32_t *count_readers(const weft_inspection *inspection)
{
    weft_inspect_totals totals;
    weft_inspection_get_totals(inspection, &totals);
    int32_t *readers = cli_allocate(totals.value_count + 1, sizeof(*readers));
    for (size_t i = 0; i < totals.node_count; i++) {
        const weft_inspect_node *node = weft_inspection_node(inspection, i);
        for (size_t k = 0; k < node->input_count; k++) {
            readers[node->inputs[k] < 0 ? (int32_t)totals.value_count
                                        : node->inputs[k]]++;
        }
    }
    return readers;
}

static char *module_of_weights(const weft_inspection *inspection,
                               const int32_t *readers, const weft_inspect_node *node)
{
    char *path = NULL;
    for (size_t i = 0; path == NULL && i < node->input_count; i++) {
        const weft_inspect_value *value =
            node->inputs[i] < 0
                ? NULL
                : weft_inspection_value(inspection, (size_t)node->inputs[i]);
        if (value != NULL && value->is_initializer && readers[node->inputs[i]] == 1) {
            path = module_of(value->name);
        }
    }
    return path;
}

static size_t name_by_folders(const weft_inspection *inspection, cli_groups *groups)
{
    size_t named = 0;
    for (size_t i = 0; i < groups->count; i++) {
        groups->paths[i] = folder_of(weft_inspection_node(inspection, i)->name);
        named += groups->paths[i] != NULL ? 1 : 0;
    }
    return named;
}

static void clear(cli_groups *groups)
{
    for (size_t i = 0; i < groups->count; i++) {
        free(groups->paths[i]);
        groups->paths[i] = NULL;
    }
}

static size_t name_by_weights(const weft_inspection *inspection, cli_groups *groups)
{
    size_t named = 0;
    const char *last = NULL;
    int32_t *readers = count_readers(inspection);
    for (size_t i = 0; i < groups->count; i++) {
        char *path =
            module_of_weights(inspection, readers, weft_inspection_node(inspection, i));
        named += path != NULL ? 1 : 0;
        groups->paths[i] = path != NULL ? path : last ? cli_format("%s", last) : NULL;
        last = groups->paths[i];
    }
    free(readers);
    return named;
}

void cli_groups_make(const weft_inspection *inspection, cli_groups *groups)
{
    weft_inspect_totals totals;
    weft_inspection_get_totals(inspection, &totals);
    groups->count = totals.node_count;
    groups->paths = cli_allocate(groups->count + 1, sizeof(*groups->paths));
    size_t enough = groups->count / 2;
    bool named = name_by_folders(inspection, groups) > enough;
    if (!named) {
        clear(groups);
        named = name_by_weights(inspection, groups) > groups->count / 20;
    }
    if (!named) {
        clear(groups);
    }
    for (size_t i = 0; i < groups->count; i++) {
        if (groups->paths[i] == NULL) {
            groups->paths[i] =
                named || groups->count <= 2 * BLOCK
                    ? cli_format("%s", "")
                    : cli_format("operators %zu-%zu", i / BLOCK * BLOCK + 1,
                                 i / BLOCK * BLOCK + BLOCK);
        }
    }
}

void cli_groups_free(cli_groups *groups)
{
    clear(groups);
    free(groups->paths);
    *groups = (cli_groups){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/golden.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ITERATIONS = 10 };

/* Recorded cases are those of the first exports of a row; without any there is nothing
 * to judge by. */
static bool has_cases(const json_t *entry)
{
    const json_t *model = json_array_get(json_object_get(entry, "models"), 0);
    return json_integer_value(json_object_get(model, "case_count")) > 0;
}

static void add_row(cli_golden *golden, const json_t *entry)
{
    cli_golden_entry *place = &golden->entries[golden->count];
    *place = (cli_golden_entry){golden->directory, entry};
    const char *name = json_string_value(json_object_get(entry, "row"));
    const char *title = json_string_value(json_object_get(entry, "describes"));
    golden->rows[golden->count] = (cli_row){
        .table = CLI_TABLE_FILES,
        .name = name != NULL ? name : "?",
        .title = title != NULL ? title : "",
        .iterations = ITERATIONS,
        .atol = json_number_value(json_object_get(entry, "atol")),
        .rtol = json_number_value(json_object_get(entry, "rtol")),
        .golden = place,
        .stream = 800 + (uint32_t)golden->count,
    };
    golden->count++;
}

static bool load(const char *directory, cli_golden *golden, json_error_t *error)
{
    char *path = cli_format("%s/index.json", directory);
    golden->index = json_load_file(path, 0, error);
    free(path);
    const json_t *rows = json_object_get(golden->index, "rows");
    if (rows == NULL) {
        json_decref(golden->index);
        golden->index = NULL;
        return false;
    }
    golden->directory = strdup(directory);
    golden->entries = cli_allocate(json_array_size(rows), sizeof(*golden->entries));
    golden->rows = cli_allocate(json_array_size(rows), sizeof(*golden->rows));
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *entry = json_array_get(rows, i);
        if (has_cases(entry)) {
            add_row(golden, entry);
        }
    }
    return true;
}

bool cli_golden_open(const char *directory, cli_golden *golden, char *reason,
                     size_t reason_size)
{
    json_error_t error = {0};
    char self[PATH_MAX] = "";
    memset(golden, 0, sizeof(*golden));
    if (directory != NULL) {
        if (!load(directory, golden, &error)) {
            snprintf(reason, reason_size, "no golden files in %s (%s)", directory,
                     error.text);
        }
        return golden->index != NULL;
    }
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash = length > 0 ? strrchr(self, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
        char *beside = cli_format("%s/../tests/golden", self);
        load(beside, golden, &error);
        free(beside);
    }
    if (golden->index == NULL && !load("tests/golden", golden, &error)) {
        snprintf(reason, reason_size,
                 "the recorded models of tests/golden were not found; type: --golden "
                 "DIR, or --no-golden");
    }
    return golden->index != NULL;
}

void cli_golden_close(cli_golden *golden)
{
    json_decref(golden->index);
    free(golden->directory);
    free(golden->entries);
    free(golden->rows);
    memset(golden, 0, sizeof(*golden));
}

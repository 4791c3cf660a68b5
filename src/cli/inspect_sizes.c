/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/commands.h"
#include "cli/inspect.h"

static bool has(const char *name, const char *const *parts)
{
    for (; *parts != NULL; parts++) {
        if (strcasestr(name, *parts) != NULL) {
            return true;
        }
    }
    return false;
}

static bool is(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcasecmp(name, *names) == 0) {
            return true;
        }
    }
    return false;
}

/* A size that a dimension of this name is likely to have. Halved with each attempt:
 * a model may have fewer positions, or smaller pictures. */
static int64_t guess(const char *name, int32_t axis, int attempt)
{
    static const char *const batches[] = {"batch", NULL};
    static const char *const batch_names[] = {"n", "b", "bs", NULL};
    static const char *const pictures[] = {"height", "width", NULL};
    static const char *const picture_names[] = {"h", "w", NULL};
    static const char *const one[] = {"past", "num", NULL};
    static const char *const lengths[] = {"seq", "len", "time", "token", "frame", NULL};
    int64_t size = 128;
    if (name == NULL ? axis == 0 : has(name, batches) || is(name, batch_names)) {
        return 1;
    }
    if (name != NULL && (has(name, pictures) || is(name, picture_names))) {
        size = 224;
    } else if (name != NULL && has(name, one)) {
        return 1;
    } else if (name != NULL && axis == 0 && !has(name, lengths)) {
        return 1; /* a name that says nothing, as exporters make them up: "s52" */
    }
    size >>= attempt;
    return size > 0 ? size : 1;
}

static const cli_setting *find_dim(const cli_inspect_options *options,
                                   const weft_value_info *info, int32_t axis)
{
    char number[200];
    const char *name = info->dim_names[axis];
    const cli_setting *found = NULL;
    if (name != NULL) {
        found = cli_setting_find(options->dims, options->dim_count, name);
    }
    snprintf(number, sizeof(number), "%s.%d", info->name, (int)axis);
    return found != NULL ? found
                         : cli_setting_find(options->dims, options->dim_count, number);
}

/* Adds "batch=1" to what was chosen, once for each name. */
static void say(cli_sizes *sizes, const weft_value_info *info, int32_t axis,
                int64_t size)
{
    char text[200];
    if (info->dim_names[axis] != NULL) {
        snprintf(text, sizeof(text), "%.120s=%lld", info->dim_names[axis],
                 (long long)size);
    } else {
        snprintf(text, sizeof(text), "%.120s.%d=%lld", info->name, (int)axis,
                 (long long)size);
    }
    sizes->chosen = true;
    size_t length = strlen(sizes->said), more = strlen(text);
    for (const char *at = sizes->said; (at = strstr(at, text)) != NULL; at += more) {
        bool begins = at == sizes->said || at[-1] == ' ';
        if (begins && (at[more] == '\0' || at[more] == ' ')) {
            return;
        }
    }
    if (length + more + 2 < sizeof(sizes->said)) {
        snprintf(sizes->said + length, sizeof(sizes->said) - length, "%s%s",
                 length > 0 ? " " : "", text);
    }
}

static int choose_dim(const cli_inspect_options *options, const weft_value_info *info,
                      int32_t axis, int attempt, cli_sizes *sizes)
{
    weft_tensor *shape = &sizes->shapes[sizes->count];
    const cli_setting *setting = find_dim(options, info, axis);
    if (info->dims[axis] >= 0) {
        shape->dims[axis] = info->dims[axis];
    } else if (setting != NULL) {
        if (!cli_parse_number(setting->value, 0, INT32_MAX, &shape->dims[axis])) {
            return cli_misuse("'--dim %s' is not a size; type: --dim %.*s=1",
                              setting->name, (int)setting->name_length, setting->name);
        }
    } else {
        shape->dims[axis] = guess(info->dim_names[axis], axis, attempt);
        say(sizes, info, axis, shape->dims[axis]);
    }
    return 0;
}

/* NAME=4x3x224x224; a scalar is NAME=scalar. */
static int parse_shape(const cli_setting *setting, weft_tensor *shape)
{
    const char *text = setting->value;
    shape->rank = 0;
    while (strcmp(text, "scalar") != 0) {
        char *end = NULL;
        long long size = isdigit((unsigned char)*text) ? strtoll(text, &end, 10) : -1;
        if (size < 0 || shape->rank == WEFT_MAX_RANK ||
            (*end != '\0' && *end != 'x' && *end != ',')) {
            return cli_misuse("'--input %s' is no shape; type: --input %.*s=4x256",
                              setting->name, (int)setting->name_length, setting->name);
        }
        shape->dims[shape->rank++] = size;
        if (*end == '\0') {
            break;
        }
        text = end + 1;
    }
    return 0;
}

static int choose_input(const cli_inspect_options *options, const weft_value_info *info,
                        int attempt, cli_sizes *sizes)
{
    weft_tensor *shape = &sizes->shapes[sizes->count];
    const cli_setting *given =
        cli_setting_find(options->inputs, options->input_count, info->name);
    *shape = (weft_tensor){.type = info->type, .rank = info->rank};
    if (given != NULL) {
        return parse_shape(given, shape);
    }
    if (info->rank < 0) {
        shape->rank = 1; /* no dimension is known, not even how many */
        shape->dims[0] = 1;
        sizes->chosen = true;
        return 0;
    }
    for (int32_t i = 0; i < info->rank; i++) {
        int status = choose_dim(options, info, i, attempt, sizes);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

/* Every name on the command line must be of the model. */
static int check_names(const cli_inspect_options *options, const weft_graph *graph)
{
    weft_value_info info;
    for (int32_t i = 0; i < options->input_count; i++) {
        bool found = false;
        for (size_t k = 0; !found && weft_graph_get_input(graph, k, &info); k++) {
            found = cli_setting_find(&options->inputs[i], 1, info.name) != NULL;
        }
        if (!found) {
            return cli_misuse("%s has no input '%.*s'", options->model,
                              (int)options->inputs[i].name_length,
                              options->inputs[i].name);
        }
    }
    for (int32_t i = 0; i < options->dim_count; i++) {
        cli_inspect_options only = {.dims = &options->dims[i], .dim_count = 1};
        bool found = false;
        for (size_t k = 0; !found && weft_graph_get_input(graph, k, &info); k++) {
            for (int32_t axis = 0; !found && axis < info.rank; axis++) {
                found = info.dims[axis] < 0 && find_dim(&only, &info, axis) != NULL;
            }
        }
        if (!found) {
            return cli_misuse("%s has no dimension '%.*s' of any size; leave out: "
                              "--dim %s",
                              options->model, (int)options->dims[i].name_length,
                              options->dims[i].name, options->dims[i].name);
        }
    }
    return 0;
}

int cli_inspect_sizes(const cli_inspect_options *options, const weft_graph *graph,
                      int attempt, cli_sizes *sizes)
{
    weft_value_info info;
    size_t input_count = weft_graph_input_count(graph);
    free(sizes->shapes); /* of an attempt before */
    *sizes = (cli_sizes){.shapes = cli_allocate(input_count, sizeof(*sizes->shapes))};
    int status = check_names(options, graph);
    while (status == 0 && weft_graph_get_input(graph, sizes->count, &info)) {
        status = choose_input(options, &info, attempt, sizes);
        sizes->count++;
    }
    return status;
}

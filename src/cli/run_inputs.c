/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run.h"

/* Numbers for integer inputs stay below this, so that they can be indices. */
enum { INTEGER_BELOW = 2 };

/* Writes a shape as people do: f32 [batch,256]. */
static void describe(const weft_value_info *info, char *text, size_t size)
{
    int written = snprintf(text, size, "%s [", weft_type_name(info->type));
    for (int32_t i = 0; i < info->rank && written < (int)size; i++) {
        const char *comma = i > 0 ? "," : "";
        if (info->dims[i] >= 0) {
            written += snprintf(text + written, size - (size_t)written, "%s%lld", comma,
                                (long long)info->dims[i]);
        } else {
            written += snprintf(text + written, size - (size_t)written, "%s%s", comma,
                                info->dim_names[i] != NULL ? info->dim_names[i] : "?");
        }
    }
    if (written < (int)size) {
        snprintf(text + written, size - (size_t)written, "]");
    }
}

/* The size of a dynamic dimension: by its name, or as INPUT.AXIS. */
static const cli_setting *find_size(const cli_run_options *options,
                                    const weft_value_info *info, int32_t axis)
{
    const cli_setting *setting = NULL;
    if (info->dim_names[axis] != NULL) {
        setting =
            cli_setting_find(options->dims, options->dim_count, info->dim_names[axis]);
    }
    if (setting == NULL) {
        char *place = cli_format("%s.%d", info->name, axis);
        setting = cli_setting_find(options->dims, options->dim_count, place);
        free(place);
    }
    return setting;
}

static bool choose_dim(const cli_run_options *options, const weft_value_info *info,
                       int32_t axis, int64_t *size)
{
    const cli_setting *setting = find_size(options, info, axis);
    if (setting == NULL && info->dim_names[axis] != NULL) {
        cli_complain("dimension '%s' of input '%s' may have any size; add: --dim %s=1",
                     info->dim_names[axis], info->name, info->dim_names[axis]);
        return false;
    }
    if (setting == NULL) {
        cli_complain("axis %d of input '%s' may have any size; add: --dim %s.%d=1",
                     axis, info->name, info->name, axis);
        return false;
    }
    if (!cli_parse_number(setting->value, 0, INT32_MAX, size)) {
        cli_complain("'--dim %s' is not a size; type: --dim %.*s=1", setting->name,
                     (int)setting->name_length, setting->name);
        return false;
    }
    return true;
}

static bool allocate_input(const cli_run_options *options, const weft_value_info *info,
                           weft_tensor *tensor)
{
    *tensor = (weft_tensor){.type = info->type, .rank = info->rank};
    if (info->rank < 0) {
        cli_complain("the shape of input '%s' is not known; give a file: --input "
                     "%s=FILE.npy",
                     info->name, info->name);
        return false;
    }
    for (int32_t i = 0; i < info->rank; i++) {
        tensor->dims[i] = info->dims[i];
        if (info->dims[i] < 0 && !choose_dim(options, info, i, &tensor->dims[i])) {
            return false;
        }
    }
    if (!cli_tensor_allocate(tensor)) {
        cli_complain("input '%s' is too large", info->name);
        return false;
    }
    memset(tensor->data, 0, tensor->size_bytes);
    return true;
}

static void fill_integers(weft_tensor *tensor, const weft_random_key *key)
{
    size_t count = tensor->size_bytes / weft_type_size(tensor->type);
    uint32_t *numbers = cli_allocate(count, sizeof(*numbers));
    weft_random_fill_u32(key, numbers, count);
    for (size_t i = 0; i < count; i++) {
        uint32_t number = numbers[i] % INTEGER_BELOW;
        if (tensor->type == WEFT_TYPE_I64) {
            ((int64_t *)tensor->data)[i] = number;
        } else if (tensor->type == WEFT_TYPE_I32) {
            ((int32_t *)tensor->data)[i] = (int32_t)number;
        } else {
            ((uint8_t *)tensor->data)[i] = (uint8_t)number;
        }
    }
    free(numbers);
}

static void fill_floats(weft_tensor *tensor, const weft_random_key *key)
{
    size_t count = tensor->size_bytes / weft_type_size(tensor->type);
    if (tensor->type == WEFT_TYPE_F32) {
        weft_random_fill_normal(key, tensor->data, count);
        return;
    }
    float *numbers = cli_allocate(count, sizeof(*numbers));
    weft_random_fill_normal(key, numbers, count);
    for (size_t i = 0; i < count; i++) {
        ((double *)tensor->data)[i] = numbers[i];
    }
    free(numbers);
}

static bool fill_random(weft_tensor *tensor, const weft_random_key *key,
                        const char *name)
{
    switch (tensor->type) {
    case WEFT_TYPE_F32:
    case WEFT_TYPE_F64:
        fill_floats(tensor, key);
        return true;
    case WEFT_TYPE_I64:
    case WEFT_TYPE_I32:
    case WEFT_TYPE_U8:
    case WEFT_TYPE_I8:
    case WEFT_TYPE_BOOL:
        fill_integers(tensor, key);
        return true;
    default:
        cli_complain("no random numbers of type %s for input '%s'; give a file",
                     weft_type_name(tensor->type), name);
        return false;
    }
}

static bool fill_ones(weft_tensor *tensor, const char *name)
{
    size_t size = weft_type_size(tensor->type);
    size_t count = tensor->size_bytes / size;
    if (tensor->type == WEFT_TYPE_F32 || tensor->type == WEFT_TYPE_F64) {
        for (size_t i = 0; i < count; i++) {
            if (size == sizeof(float)) {
                ((float *)tensor->data)[i] = 1.0f;
            } else {
                ((double *)tensor->data)[i] = 1.0;
            }
        }
        return true;
    }
    if (tensor->type == WEFT_TYPE_F16 || tensor->type == WEFT_TYPE_BF16) {
        cli_complain("input '%s' is %s; give a file", name,
                     weft_type_name(tensor->type));
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        ((uint8_t *)tensor->data)[i * size] = 1; /* little endian */
    }
    return true;
}

static bool load_file(const cli_setting *setting, weft_tensor *tensor)
{
    weft_tensor loaded = {0};
    weft_error error = {0};
    if (weft_npy_load(setting->value, &loaded, &error) != WEFT_OK) {
        cli_complain_error(setting->value, &error);
        return false;
    }
    *tensor = loaded;
    tensor->size_bytes = 0;
    if (!cli_tensor_allocate(tensor)) {
        cli_complain("%s: too large", setting->value);
        weft_npy_free(&loaded);
        return false;
    }
    memcpy(tensor->data, loaded.data, tensor->size_bytes);
    weft_npy_free(&loaded);
    return true;
}

static bool make_input(const cli_run_options *options, const weft_value_info *info,
                       weft_random_key key, weft_tensor *tensor)
{
    const cli_setting *setting =
        cli_setting_find(options->inputs, options->input_count, info->name);
    if (setting == NULL) {
        char shape[200];
        describe(info, shape, sizeof(shape));
        cli_complain("input '%s' (%s) has no value; add: --input %s=FILE.npy or "
                     "--input %s=random",
                     info->name, shape, info->name, info->name);
        return false;
    }
    if (strcmp(setting->value, "zeros") == 0) {
        return allocate_input(options, info, tensor);
    }
    if (strcmp(setting->value, "ones") == 0) {
        return allocate_input(options, info, tensor) && fill_ones(tensor, info->name);
    }
    if (strncmp(setting->value, "random", 6) != 0 ||
        (setting->value[6] != '\0' && setting->value[6] != ':')) {
        return load_file(setting, tensor);
    }
    int64_t seed = 0;
    if (setting->value[6] == ':' &&
        !cli_parse_number(setting->value + 7, 0, INT64_MAX, &seed)) {
        cli_complain("'%s' has no whole number as seed; type: --input %s=random:7",
                     setting->name, info->name);
        return false;
    }
    key.seed = (uint64_t)seed;
    return allocate_input(options, info, tensor) &&
           fill_random(tensor, &key, info->name);
}

bool cli_run_make_inputs(const cli_run_options *options, weft_model *model,
                         int32_t thread, cli_case *request)
{
    weft_value_info info;
    request->model = model;
    request->input_count = weft_model_input_count(model);
    if (request->input_count > CLI_MAX_IO) {
        cli_complain("%s has more than %d inputs", options->model, CLI_MAX_IO);
        request->input_count = 0;
        return false;
    }
    for (size_t i = 0; weft_model_get_input(model, i, &info); i++) {
        weft_random_key key = {.stream = (uint32_t)i, .thread = (uint32_t)thread};
        if (!make_input(options, &info, key, &request->inputs[i])) {
            return false;
        }
    }
    return true;
}

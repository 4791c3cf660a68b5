/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
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

static int parse_size(const cli_setting *setting, int64_t *size)
{
    if (!cli_parse_number(setting->value, 0, INT32_MAX, size)) {
        return cli_misuse("'--dim %s' is not a size; type: --dim %.*s=1", setting->name,
                          (int)setting->name_length, setting->name);
    }
    return 0;
}

static int choose_dim(const cli_run_options *options, const weft_value_info *info,
                      int32_t axis, int64_t *size)
{
    const cli_setting *setting = find_size(options, info, axis);
    if (setting == NULL && info->dim_names[axis] != NULL) {
        return cli_misuse(
            "dimension '%s' of input '%s' may have any size; add: --dim %s=1",
            info->dim_names[axis], info->name, info->dim_names[axis]);
    }
    if (setting == NULL) {
        return cli_misuse("axis %d of input '%s' may have any size; add: --dim %s.%d=1",
                          axis, info->name, info->name, axis);
    }
    return parse_size(setting, size);
}

static int allocate_input(const cli_run_options *options, const weft_value_info *info,
                          weft_tensor *tensor)
{
    *tensor = (weft_tensor){.type = info->type, .rank = info->rank};
    if (info->rank < 0) {
        return cli_misuse("the shape of input '%s' is not known; give a file: --input "
                          "%s=FILE.npy",
                          info->name, info->name);
    }
    for (int32_t i = 0; i < info->rank; i++) {
        tensor->dims[i] = info->dims[i];
        int status =
            info->dims[i] < 0 ? choose_dim(options, info, i, &tensor->dims[i]) : 0;
        if (status != 0) {
            return status;
        }
    }
    weft_error error = {0};
    if (cli_tensor_allocate(info->name, tensor, &error) != WEFT_OK) {
        return cli_complain_error("--input", &error);
    }
    memset(tensor->data, 0, tensor->size_bytes);
    return 0;
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

/* Cuts off what 16 bits have no room for, which does for random numbers and for 1. */
static uint16_t cut_short(float number, weft_type type)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof(bits));
    if (type == WEFT_TYPE_BF16) {
        return (uint16_t)(bits >> 16);
    }
    const uint32_t sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    /* Below 2^-14 f16 has no whole numbers of 11 bits: 0. */
    return (uint16_t)(sign | (rest < 113u << 23 ? 0 : (rest >> 13) - (112u << 10)));
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
        if (tensor->type == WEFT_TYPE_F64) {
            ((double *)tensor->data)[i] = numbers[i];
        } else {
            ((uint16_t *)tensor->data)[i] = cut_short(numbers[i], tensor->type);
        }
    }
    free(numbers);
}

static int fill_random(weft_tensor *tensor, const weft_random_key *key,
                       const char *name)
{
    switch (tensor->type) {
    case WEFT_TYPE_F32:
    case WEFT_TYPE_F64:
    case WEFT_TYPE_F16:
    case WEFT_TYPE_BF16:
        fill_floats(tensor, key);
        return 0;
    case WEFT_TYPE_I64:
    case WEFT_TYPE_I32:
    case WEFT_TYPE_U8:
    case WEFT_TYPE_I8:
    case WEFT_TYPE_BOOL:
        fill_integers(tensor, key);
        return 0;
    default:
        return cli_misuse("no random numbers of type %s for input '%s'; give a file: "
                          "--input %s=FILE.npy",
                          weft_type_name(tensor->type), name, name);
    }
}

static void fill_ones(weft_tensor *tensor)
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
        return;
    }
    if (tensor->type == WEFT_TYPE_F16 || tensor->type == WEFT_TYPE_BF16) {
        for (size_t i = 0; i < count; i++) {
            ((uint16_t *)tensor->data)[i] = cut_short(1.0f, tensor->type);
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        ((uint8_t *)tensor->data)[i * size] = 1; /* little endian */
    }
}

/* A --dim that speaks of an input from a file must agree with the file. */
static int check_file_dims(const cli_run_options *options, const weft_value_info *info,
                           const cli_setting *input, const weft_tensor *tensor)
{
    for (int32_t i = 0; i < info->rank && tensor->rank == info->rank; i++) {
        const cli_setting *setting =
            info->dims[i] < 0 ? find_size(options, info, i) : NULL;
        int64_t size = 0;
        int status = setting != NULL ? parse_size(setting, &size) : 0;
        if (status != 0) {
            return status;
        }
        if (setting != NULL && size != tensor->dims[i]) {
            return cli_misuse("'--dim %s' does not fit '--input %s', where it is %lld; "
                              "leave it out",
                              setting->name, input->name, (long long)tensor->dims[i]);
        }
    }
    return 0;
}

static int load_file(const cli_setting *setting, weft_tensor *tensor)
{
    weft_tensor loaded = {0};
    weft_error error = {0};
    if (weft_npy_load(setting->value, &loaded, &error) != WEFT_OK) {
        return cli_complain_error(setting->value, &error);
    }
    *tensor = loaded;
    tensor->size_bytes = 0;
    weft_status status = cli_tensor_allocate(setting->value, tensor, &error);
    if (status == WEFT_OK) {
        memcpy(tensor->data, loaded.data, tensor->size_bytes);
    } else {
        tensor->data = NULL; /* `loaded` frees it */
    }
    weft_npy_free(&loaded);
    return status == WEFT_OK ? 0 : cli_complain_error(setting->value, &error);
}

/* NAME=random or NAME=random:SEED. */
static int make_random(const cli_run_options *options, const weft_value_info *info,
                       const cli_setting *setting, weft_random_key key,
                       weft_tensor *tensor)
{
    int64_t seed = 0;
    if (setting->value[6] == ':' &&
        !cli_parse_number(setting->value + 7, 0, INT64_MAX, &seed)) {
        return cli_misuse("'%s' has no whole number as seed; type: --input %s=random:7",
                          setting->name, info->name);
    }
    key.seed = (uint64_t)seed;
    int status = allocate_input(options, info, tensor);
    return status != 0 ? status : fill_random(tensor, &key, info->name);
}

static int make_input(const cli_run_options *options, const weft_value_info *info,
                      weft_random_key key, weft_tensor *tensor)
{
    const cli_setting *setting =
        cli_setting_find(options->inputs, options->input_count, info->name);
    if (setting == NULL) {
        char shape[200];
        describe(info, shape, sizeof(shape));
        return cli_misuse("input '%s' (%s) has no value; add: --input %s=FILE.npy or "
                          "--input %s=random",
                          info->name, shape, info->name, info->name);
    }
    if (strcmp(setting->value, "zeros") == 0) {
        return allocate_input(options, info, tensor);
    }
    if (strcmp(setting->value, "ones") == 0) {
        int status = allocate_input(options, info, tensor);
        if (status == 0) {
            fill_ones(tensor);
        }
        return status;
    }
    if (strncmp(setting->value, "random", 6) == 0 &&
        (setting->value[6] == '\0' || setting->value[6] == ':')) {
        return make_random(options, info, setting, key, tensor);
    }
    int status = load_file(setting, tensor);
    return status != 0 ? status : check_file_dims(options, info, setting, tensor);
}

/* True when the setting is the size of a dimension of the input. */
static bool is_size_of(const cli_setting *setting, const weft_value_info *info)
{
    cli_setting one = *setting;
    cli_run_options only = {.dims = &one, .dim_count = 1};
    for (int32_t i = 0; i < info->rank; i++) {
        if (info->dims[i] < 0 && find_size(&only, info, i) != NULL) {
            return true;
        }
    }
    return false;
}

int cli_run_check_dims(const cli_run_options *options, const weft_model *model)
{
    for (int32_t i = 0; i < options->dim_count; i++) {
        const cli_setting *setting = &options->dims[i];
        weft_value_info info;
        bool found = false;
        for (size_t k = 0; !found && weft_model_get_input(model, k, &info); k++) {
            found = is_size_of(setting, &info);
        }
        if (!found) {
            return cli_misuse(
                "%s has no dimension '%.*s' of any size; leave out: --dim "
                "%s",
                options->model, (int)setting->name_length, setting->name,
                setting->name);
        }
    }
    return 0;
}

int cli_run_make_inputs(const cli_run_options *options, weft_model *model,
                        int32_t thread, cli_case *request)
{
    weft_value_info info;
    cli_case_init(request, model);
    for (size_t i = 0; weft_model_get_input(model, i, &info); i++) {
        weft_random_key key = {.stream = (uint32_t)i, .thread = (uint32_t)thread};
        if (weft_model_input_is_mask(model, i) &&
            cli_setting_find(options->inputs, options->input_count, info.name) ==
                NULL) {
            continue; /* the library makes it */
        }
        int status = make_input(options, &info, key, &request->inputs[i]);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

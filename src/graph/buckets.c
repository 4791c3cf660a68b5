/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/buckets.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/host_cast.h"
#include "base/params.h"
#include "graph/model.h"
#include "graph/stages.h"

/* What is being set up. */
typedef struct setup {
    weft_model *model;
    wefti_buckets *made;
    weft_bucket_params params[WEFTI_MOST_BUCKETS];
    int32_t numbers[WEFTI_MOST_BUCKETS]; /* of their dimensions */
    weft_error *error;
} setup;

static weft_status refuse(const setup *self, int32_t bucket, weft_status status)
{
    const char *name = self->params[bucket].dimension;
    return wefti_error_prefix(self->error, status, "buckets of '%s'",
                              name != NULL ? name : "");
}

/* The list of params may be one of an older header: each says how large it is. */
static weft_status take_params(setup *self, const weft_model_params *params)
{
    const char *at = (const char *)params->buckets;
    if (at == NULL) {
        return wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                           "bucket_count is %zu, but buckets is NULL",
                           params->bucket_count);
    }
    if (params->bucket_count > WEFTI_MOST_BUCKETS) {
        return wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                           "%zu dimensions have buckets; at most %d may",
                           params->bucket_count, (int)WEFTI_MOST_BUCKETS);
    }
    size_t stride = params->buckets->struct_size;
    for (size_t i = 0; i < params->bucket_count; i++, at += stride) {
        size_t size_bytes;
        memcpy(&size_bytes, at, sizeof(size_bytes));
        if (size_bytes != stride) {
            return wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                               "buckets[%zu].struct_size is %zu, that of the first %zu",
                               i, size_bytes, stride);
        }
        self->params[i] = (weft_bucket_params)WEFT_BUCKET_PARAMS_INIT;
        WEFTI_TRY(wefti_params_take(WEFTI_PARAMS(weft_bucket_params), at,
                                    &self->params[i], self->error));
    }
    self->made->count = (int32_t)params->bucket_count;
    return WEFT_OK;
}

static weft_status no_dimension(const setup *self, int32_t bucket)
{
    enum { MOST_NAMES = 8 };
    const wefti_dims *dims = &self->model->dims;
    char list[200] = "";
    size_t used = 0;
    for (int32_t i = 0, named = 0; i < dims->count && named < MOST_NAMES; i++) {
        if (dims->names[i] != NULL && used < sizeof(list)) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s'%s'",
                                     used > 0 ? ", " : "", dims->names[i]);
            named++;
        }
    }
    (void)wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                      "no input has a dimension of this name and of any size; %s%s",
                      list[0] != '\0' ? "there are: " : "none has a name", list);
    return refuse(self, bucket, WEFT_INVALID_ARGUMENT);
}

static weft_status find_dimension(setup *self, int32_t bucket)
{
    const wefti_dims *dims = &self->model->dims;
    const char *name = self->params[bucket].dimension;
    if (name == NULL || name[0] == '\0') {
        return wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                           "buckets[%d] does not name its dimension", (int)bucket);
    }
    int32_t number = 0;
    while (number < dims->count &&
           (dims->names[number] == NULL || strcmp(dims->names[number], name) != 0)) {
        number++;
    }
    if (number == dims->count) {
        return no_dimension(self, bucket);
    }
    for (int32_t i = 0; i < bucket; i++) {
        if (self->numbers[i] == number) {
            return wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                               "dimension '%s' has buckets twice", name);
        }
    }
    self->numbers[bucket] = number;
    self->made->buckets[bucket].name = dims->names[number];
    return WEFT_OK;
}

/* The sizes of a rule, into a list with room for them, or only counted; 0: too many. */
static size_t list_rule(const weft_bucket_params *params, int64_t *sizes)
{
    size_t count = 0;
    int64_t size = params->first;
    while (size < params->last && count < WEFTI_MOST_BUCKET_SIZES) {
        if (sizes != NULL) {
            sizes[count] = size;
        }
        count++;
        int64_t more = params->rule == WEFT_BUCKET_DOUBLE ? size : params->step;
        size = more > params->last - size ? params->last : size + more;
    }
    if (sizes != NULL) {
        sizes[count] = params->last;
    }
    return count < WEFTI_MOST_BUCKET_SIZES ? count + 1 : 0;
}

static weft_status make_rule(setup *self, int32_t bucket)
{
    const weft_bucket_params *params = &self->params[bucket];
    bool steps = params->rule == WEFT_BUCKET_STEP;
    if (params->sizes != NULL || params->size_count > 0 || params->first < 1 ||
        params->last < params->first || (steps && params->step < 1)) {
        (void)wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                          "a rule needs 1 <= first <= last%s, and no list of sizes; "
                          "they are %lld, %lld and %lld",
                          steps ? " and 1 <= step" : "", (long long)params->first,
                          (long long)params->last, (long long)params->step);
        return refuse(self, bucket, WEFT_INVALID_ARGUMENT);
    }
    size_t count = list_rule(params, NULL);
    if (count == 0) {
        (void)wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                          "the rule gives more than %d sizes", WEFTI_MOST_BUCKET_SIZES);
        return refuse(self, bucket, WEFT_INVALID_ARGUMENT);
    }
    int64_t *sizes = wefti_arena_calloc(&self->model->net.arena, count, sizeof(*sizes));
    if (sizes == NULL) {
        return wefti_error_memory(self->error, "the buckets of a model");
    }
    (void)list_rule(params, sizes);
    self->made->buckets[bucket].sizes = sizes;
    self->made->buckets[bucket].size_count = count;
    return WEFT_OK;
}

static weft_status copy_sizes(setup *self, int32_t bucket)
{
    const weft_bucket_params *params = &self->params[bucket];
    size_t count = params->size_count;
    if (params->sizes == NULL || count == 0 || count > WEFTI_MOST_BUCKET_SIZES) {
        (void)wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                          "the list has %zu sizes; 1 to %d are allowed",
                          params->sizes == NULL ? 0 : count, WEFTI_MOST_BUCKET_SIZES);
        return refuse(self, bucket, WEFT_INVALID_ARGUMENT);
    }
    int64_t before = 0;
    for (size_t i = 0; i < count; before = params->sizes[i++]) {
        if (params->sizes[i] <= before) {
            (void)wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                              "size %lld follows %lld; sizes are at least 1 and ascend",
                              (long long)params->sizes[i], (long long)before);
            return refuse(self, bucket, WEFT_INVALID_ARGUMENT);
        }
    }
    self->made->buckets[bucket].sizes = wefti_arena_copy(
        &self->model->net.arena, params->sizes, count * sizeof(*params->sizes));
    self->made->buckets[bucket].size_count = count;
    return self->made->buckets[bucket].sizes != NULL
               ? WEFT_OK
               : wefti_error_memory(self->error, "the buckets of a model");
}

static weft_status make_sizes(setup *self, int32_t bucket)
{
    const weft_bucket_params *params = &self->params[bucket];
    switch (params->rule) {
    case WEFT_BUCKET_SIZES:
        return copy_sizes(self, bucket);
    case WEFT_BUCKET_DOUBLE:
    case WEFT_BUCKET_STEP:
        return make_rule(self, bucket);
    }
    (void)wefti_error(self->error, WEFT_INVALID_ARGUMENT, "there is no rule %d",
                      (int)params->rule);
    return refuse(self, bucket, WEFT_INVALID_ARGUMENT);
}

static bool has_bucket(const wefti_bucket_input *input, int32_t bucket)
{
    bool has = false;
    for (int32_t i = 0; i < WEFT_MAX_RANK; i++) {
        has = has || input->buckets[i] == bucket;
    }
    return has;
}

/* The bucket of a dimension by its number; -1: none. */
static int32_t bucket_of(const setup *self, int32_t number)
{
    for (int32_t i = 0; number >= 0 && i < self->made->count; i++) {
        if (self->numbers[i] == number) {
            return i;
        }
    }
    return -1;
}

/* Which dimensions of the inputs are rounded. */
static weft_status mark_inputs(setup *self)
{
    const weft_model *model = self->model;
    wefti_bucket_input *inputs = wefti_arena_calloc(
        &self->model->net.arena, model->net.input_count, sizeof(*inputs));
    if (inputs == NULL) {
        return wefti_error_memory(self->error, "the buckets of a model");
    }
    self->made->inputs = inputs;
    for (size_t i = 0; i < model->net.input_count; i++) {
        for (int32_t j = 0; j < WEFT_MAX_RANK; j++) {
            int32_t number = model->dims.numbers[i * WEFT_MAX_RANK + (size_t)j];
            inputs[i].buckets[j] = bucket_of(self, number);
            inputs[i].sources[j] = -1;
            inputs[i].any = inputs[i].any || inputs[i].buckets[j] >= 0;
        }
        if (inputs[i].any && model->values.inputs != NULL && model->values.inputs[i]) {
            return wefti_error(self->error, WEFT_UNSUPPORTED,
                               "input '%s' decides a shape by its value: a dimension "
                               "of it cannot have buckets",
                               model->inputs[i].name);
        }
    }
    return WEFT_OK;
}

/* The dimensions of a mask that other inputs have too. */
static void find_sources(const setup *self, size_t mask)
{
    const weft_model *model = self->model;
    for (int32_t j = 0; j < model->inputs[mask].rank; j++) {
        int32_t number = model->dims.numbers[mask * WEFT_MAX_RANK + (size_t)j];
        int32_t *source = &self->made->inputs[mask].sources[j];
        for (size_t at = 0;
             number >= 0 && *source < 0 && at < model->net.input_count * WEFT_MAX_RANK;
             at++) {
            if (model->dims.numbers[at] == number &&
                !self->made->inputs[at / WEFT_MAX_RANK].is_mask) {
                *source = (int32_t)at;
            }
        }
    }
}

static weft_status find_mask(setup *self, int32_t bucket)
{
    const weft_model *model = self->model;
    const char *name = self->params[bucket].mask_input;
    if (name == NULL) {
        return WEFT_OK;
    }
    int32_t index = weft_model_find_input(model, name);
    const char *why = NULL;
    if (index < 0) {
        why = "is no input of the model";
    } else if (!has_bucket(&self->made->inputs[index], bucket)) {
        why = "does not have this dimension";
    } else if (weft_type_size(model->inputs[index].type) == 0) {
        why = "has no known element type";
    }
    if (why != NULL) {
        (void)wefti_error(self->error, WEFT_INVALID_ARGUMENT, "the mask input '%s' %s",
                          name, why);
        return refuse(self, bucket, WEFT_INVALID_ARGUMENT);
    }
    self->made->inputs[index].is_mask = true;
    return WEFT_OK;
}

/* Writes a number as an element of a type; false when the type cannot hold it. */
static bool make_element(double value, weft_type type, uint8_t *element)
{
    if (type == WEFT_TYPE_F64) {
        memcpy(element, &value, sizeof(value));
        return true;
    }
    cast_function to = wefti_cast(WEFT_TYPE_F64, type);
    cast_function back = wefti_cast(type, WEFT_TYPE_F64);
    if (to == NULL || back == NULL) {
        return false;
    }
    double held = 0;
    to(&value, element, 1);
    back(element, &held, 1);
    bool is_float =
        type == WEFT_TYPE_F32 || type == WEFT_TYPE_F16 || type == WEFT_TYPE_BF16;
    return is_float ? isfinite(held) || !isfinite(value) : held == value;
}

/* The number that an input is padded with: the one it is named with, else that of all
 * its dimensions. */
static weft_status find_pad(const setup *self, size_t index, double *value)
{
    const char *name = self->model->inputs[index].name;
    bool named = false, any = false;
    for (int32_t k = 0; k < self->made->count; k++) {
        const weft_bucket_params *params = &self->params[k];
        for (size_t p = 0; p < params->pad_count; p++) {
            if (strcmp(params->pads[p].input, name) != 0) {
                continue;
            }
            if (named && params->pads[p].value != *value) {
                return wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                                   "input '%s' is to be padded with %g and with %g",
                                   name, *value, params->pads[p].value);
            }
            named = true;
            *value = params->pads[p].value;
        }
    }
    for (int32_t k = 0; !named && k < self->made->count; k++) {
        if (!has_bucket(&self->made->inputs[index], k)) {
            continue;
        }
        if (any && self->params[k].pad_value != *value) {
            return wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                               "input '%s' has two dimensions with buckets, to be "
                               "padded with %g and with %g; name the input in `pads`",
                               name, *value, self->params[k].pad_value);
        }
        any = true;
        *value = self->params[k].pad_value;
    }
    return WEFT_OK;
}

/* Those that name an input name one that has the dimension and is no mask. */
static weft_status check_pads(const setup *self, int32_t bucket)
{
    const weft_bucket_params *params = &self->params[bucket];
    if (params->pads == NULL && params->pad_count > 0) {
        (void)wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                          "pad_count is %zu, but pads is NULL", params->pad_count);
        return refuse(self, bucket, WEFT_INVALID_ARGUMENT);
    }
    for (size_t p = 0; p < params->pad_count; p++) {
        const char *name = params->pads[p].input;
        int32_t index = name == NULL ? -1 : weft_model_find_input(self->model, name);
        bool has = index >= 0 && has_bucket(&self->made->inputs[index], bucket);
        if (!has || self->made->inputs[index].is_mask) {
            (void)wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                              has ? "pads names '%s', a mask, which is padded with 0"
                                  : "pads names '%s', which is no input with this "
                                    "dimension",
                              name != NULL ? name : "");
            return refuse(self, bucket, WEFT_INVALID_ARGUMENT);
        }
    }
    return WEFT_OK;
}

static weft_status make_elements(const setup *self, size_t index)
{
    const weft_value_info *info = &self->model->inputs[index];
    wefti_bucket_input *input = &self->made->inputs[index];
    if (input->is_mask) {
        (void)make_element(1, info->type, input->one);
        find_sources(self, index);
        return WEFT_OK;
    }
    double value = 0;
    WEFTI_TRY(find_pad(self, index, &value));
    if (value != 0 && !make_element(value, info->type, input->pad)) {
        return wefti_error(self->error, WEFT_INVALID_ARGUMENT,
                           "input '%s' cannot be padded with %g: it is %s", info->name,
                           value, weft_type_name(info->type));
    }
    return WEFT_OK;
}

static weft_status refuse_stages(const weft_model *model, weft_error *error)
{
    const wefti_stages *stages = model->stages;
    const char *label = NULL;
    for (size_t i = 0; i < stages->count && label == NULL; i++) {
        label =
            stages->stages[i].node != NULL ? stages->stages[i].node->view.label : NULL;
    }
    return wefti_error(error, WEFT_UNSUPPORTED,
                       "the model has stages, as shapes inside of it depend on what it "
                       "computes%s%s: its dimensions cannot have buckets; load it "
                       "without them",
                       label != NULL ? ", first at " : "", label != NULL ? label : "");
}

static weft_status set_up(setup *self, const weft_model_params *params)
{
    WEFTI_TRY(take_params(self, params));
    for (int32_t i = 0; i < self->made->count; i++) {
        WEFTI_TRY(find_dimension(self, i));
        WEFTI_TRY(make_sizes(self, i));
    }
    WEFTI_TRY(mark_inputs(self));
    for (int32_t i = 0; i < self->made->count; i++) {
        WEFTI_TRY(find_mask(self, i));
    }
    for (int32_t i = 0; i < self->made->count; i++) {
        WEFTI_TRY(check_pads(self, i));
    }
    for (size_t i = 0; i < self->model->net.input_count; i++) {
        if (self->made->inputs[i].any) {
            WEFTI_TRY(make_elements(self, i));
        }
    }
    return WEFT_OK;
}

weft_status wefti_buckets_create(weft_model *model, const weft_model_params *params,
                                 weft_error *error)
{
    weft_error own;
    if (params->bucket_count == 0 || model->is_part) {
        return WEFT_OK;
    }
    if (model->stages != NULL) {
        return refuse_stages(model, error);
    }
    wefti_buckets *made = wefti_arena_calloc(&model->net.arena, 1, sizeof(*made));
    if (made == NULL) {
        return wefti_error_memory(error, "the buckets of a model");
    }
    setup self = {.model = model, .made = made, .error = error != NULL ? error : &own};
    WEFTI_TRY(set_up(&self, params));
    model->buckets = made;
    return WEFT_OK;
}

int64_t wefti_bucket_round(const wefti_bucket *bucket, int64_t size)
{
    size_t low = 0, high = bucket->size_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bucket->sizes[middle] < size) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    /* One row of a broadcast stands for many: padded with others it would not. */
    return size > 1 && low < bucket->size_count ? bucket->sizes[low] : size;
}

bool weft_model_input_is_mask(const weft_model *model, size_t index)
{
    return model != NULL && model->buckets != NULL && index < model->net.input_count &&
           model->buckets->inputs[index].is_mask;
}

int64_t weft_model_planned_size(const weft_model *model, const char *dimension,
                                int64_t size)
{
    bool any = model != NULL && model->buckets != NULL && dimension != NULL;
    for (int32_t i = 0; any && i < model->buckets->count; i++) {
        if (strcmp(model->buckets->buckets[i].name, dimension) == 0) {
            return wefti_bucket_round(&model->buckets->buckets[i], size);
        }
    }
    return size;
}

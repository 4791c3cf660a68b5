/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <strings.h>

#include "graph/rows.h"

/* Finding the batch dimension by its name. */

static bool is_batch_name(const char *name)
{
    static const char *const usual[] = {"n", "b", "bs", "bsz", "nbatch"};
    for (size_t i = 0; i < WEFTI_COUNT_OF(usual); i++) {
        if (strcasecmp(name, usual[i]) == 0) {
            return true;
        }
    }
    /* batch, batch_size, batch_dim, Batch0, but not minibatches of something. */
    return strncasecmp(name, "batch", strlen("batch")) == 0;
}

/* The axis of an input with a dimension of this name; -1 when there is none, -2 when
 * there are several. */
static int32_t named_axis(const weft_value_info *info, const char *name)
{
    int32_t found = -1;
    for (int32_t i = 0; i < info->rank; i++) {
        if (info->dims[i] < 0 && info->dim_names[i] != NULL &&
            strcmp(info->dim_names[i], name) == 0) {
            found = found == -1 ? i : -2;
        }
    }
    return found;
}

/* Fills in the axes of a named dimension; says which input lacks it. */
static weft_status take_name(const weft_model *model, const char *name,
                             int32_t *input_axes, weft_error *error)
{
    for (size_t i = 0; i < model->net.input_count; i++) {
        const weft_value_info *info = &model->inputs[i];
        int32_t axis = named_axis(info, name);
        if (axis < 0) {
            return wefti_error(
                error, WEFT_UNSUPPORTED,
                info->rank < 0 ? "input '%s' is of unknown rank, so requests can't "
                                 "be joined along '%s'"
                : axis == -2   ? "input '%s' has the dimension '%s' more than once, "
                                 "so requests can't be joined along it"
                               : "input '%s' has no dynamic dimension '%s', so "
                                 "requests can't be joined along it",
                info->name, name);
        }
        input_axes[i] = axis;
    }
    return WEFT_OK;
}

/* How well a dimension of the first input would do: 0 not at all. */
static int32_t rate(const weft_model *model, const char *name)
{
    bool first = true;
    for (size_t i = 0; i < model->net.input_count; i++) {
        int32_t axis = named_axis(&model->inputs[i], name);
        if (axis < 0) {
            return 0;
        }
        first = first && axis == 0;
    }
    return 1 + (first ? 1 : 0) + (is_batch_name(name) ? 2 : 0);
}

static weft_status none_found(const weft_model *model, weft_error *error)
{
    for (size_t i = 0; i < model->net.input_count; i++) {
        const weft_value_info *info = &model->inputs[i];
        bool dynamic = false;
        for (int32_t j = 0; j < info->rank; j++) {
            dynamic = dynamic || info->dims[j] < 0;
        }
        if (!dynamic) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "input '%s' has %s, so there is no batch dimension to "
                               "join requests along",
                               info->name,
                               info->rank < 0 ? "an unknown rank" : "a fixed shape");
        }
    }
    return wefti_error(
        error, WEFT_UNSUPPORTED,
        model->net.input_count == 0
            ? "the model has no inputs, so there is nothing to join "
              "requests along"
            : "no dynamic dimension has the same name in every input, so "
              "there is no batch dimension to join requests along");
}

/* Dynamic dimensions of the only input that nobody named. */
static bool take_unnamed(const weft_model *model, int32_t *input_axes)
{
    const weft_value_info *info = model->inputs;
    if (model->net.input_count != 1 || info->rank < 1 || info->dims[0] >= 0) {
        return false;
    }
    for (int32_t i = 0; i < info->rank; i++) {
        if (info->dims[i] < 0 && info->dim_names[i] != NULL) {
            return false;
        }
    }
    input_axes[0] = 0;
    return true;
}

static weft_status find_dimension(const weft_model *model, int32_t *input_axes,
                                  weft_error *error)
{
    const weft_value_info *info = model->inputs;
    const char *best = NULL, *rival = NULL;
    int32_t best_rate = 0;
    for (int32_t i = 0; model->net.input_count > 0 && i < info->rank; i++) {
        const char *name = info->dims[i] < 0 ? info->dim_names[i] : NULL;
        int32_t rated = name == NULL ? 0 : rate(model, name);
        rival = rated > best_rate ? NULL : rated == best_rate ? name : rival;
        best = rated > best_rate ? name : best;
        best_rate = rated > best_rate ? rated : best_rate;
    }
    if (best == NULL) {
        return take_unnamed(model, input_axes) ? WEFT_OK : none_found(model, error);
    }
    if (rival != NULL) {
        return wefti_error(
            error, WEFT_UNSUPPORTED,
            "'%s' and '%s' may both be the batch dimension; name the one "
            "to join requests along",
            best, rival);
    }
    return take_name(model, best, input_axes, error);
}

weft_status wefti_model_batch_axes(const weft_model *model, const char *dimension,
                                   int32_t *input_axes, weft_error *error)
{
    if (model->stages != NULL) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "shapes inside of the model depend on what it computes: "
                           "requests run alone");
    }
    for (size_t i = 0; model->values.inputs != NULL && i < model->net.input_count;
         i++) {
        if (model->values.inputs[i]) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "the value of input '%s' decides a shape: requests run "
                               "alone",
                               model->inputs[i].name);
        }
    }
    if (dimension == NULL) {
        return find_dimension(model, input_axes, error);
    }
    return model->net.input_count == 0 ? none_found(model, error)
                                       : take_name(model, dimension, input_axes, error);
}

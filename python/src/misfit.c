/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <stdio.h>
#include <string.h>

/* Words for shapes that do not fit. They are looked for when a call was refused, so
 * what is refused is the library's affair alone. */

enum { SHAPE_TEXT = 160 };

/* "[4,256]", or with `names` "['batch',256]"; cut off when it is too long. */
static void print_shape(char *text, int32_t rank, const int64_t *dims,
                        const char *const *names)
{
    size_t used = 0;
    text[used++] = '[';
    for (int32_t i = 0; i < rank && used < SHAPE_TEXT; i++) {
        const char *comma = i > 0 ? "," : "";
        int wanted =
            dims[i] >= 0 ? snprintf(text + used, SHAPE_TEXT - used, "%s%lld", comma,
                                    (long long)dims[i])
            : names && names[i]
                ? snprintf(text + used, SHAPE_TEXT - used, "%s'%s'", comma, names[i])
                : snprintf(text + used, SHAPE_TEXT - used, "%s?", comma);
        used += wanted > 0 ? (size_t)wanted : 0;
    }
    if (used < SHAPE_TEXT) {
        snprintf(text + used, SHAPE_TEXT - used, "]");
    }
}

/* The input and axis before these that has the same name; false: none. */
static bool find_namesake(const door_model *model, size_t index, int32_t axis,
                          size_t *other, int32_t *other_axis)
{
    const char *name = model->inputs[index].dim_names[axis];
    for (size_t i = 0; name && i <= index; i++) {
        const weft_value_info *info = &model->inputs[i];
        int32_t end = i < index ? info->rank : axis;
        for (int32_t k = 0; k < end; k++) {
            if (info->dim_names[k] && strcmp(info->dim_names[k], name) == 0) {
                *other = i;
                *other_axis = k;
                return true;
            }
        }
    }
    return false;
}

static int explain_rank(const weft_value_info *info, const weft_tensor *given)
{
    char has[SHAPE_TEXT], wanted[SHAPE_TEXT];
    print_shape(has, given->rank, given->dims, NULL);
    print_shape(wanted, info->rank, info->dims, info->dim_names);
    return door_refuse(WEFT_INVALID_ARGUMENT,
                       "input '%s' has %d dimensions, %s; the model wants %d: %s",
                       info->name, (int)given->rank, has, (int)info->rank, wanted);
}

static int explain_axis(const weft_value_info *info, const weft_tensor *given,
                        int32_t axis)
{
    char has[SHAPE_TEXT], wanted[SHAPE_TEXT];
    print_shape(has, given->rank, given->dims, NULL);
    print_shape(wanted, info->rank, info->dims, info->dim_names);
    return door_refuse(
        WEFT_INVALID_ARGUMENT,
        "input '%s': axis %d is %lld; the model wants %lld there (%s was "
        "given, %s is wanted)",
        info->name, (int)axis, (long long)given->dims[axis],
        (long long)info->dims[axis], has, wanted);
}

static int explain_input(const door_model *model, const weft_io *io, size_t index)
{
    const weft_value_info *info = &model->inputs[index];
    const weft_tensor *given = &io->inputs[index];
    if (info->rank < 0) {
        return 0;
    }
    if (given->rank != info->rank) {
        return explain_rank(info, given);
    }
    for (int32_t i = 0; i < info->rank; i++) {
        size_t other;
        int32_t axis;
        if (info->dims[i] >= 0 && info->dims[i] != given->dims[i]) {
            return explain_axis(info, given, i);
        }
        if (info->dims[i] < 0 && find_namesake(model, index, i, &other, &axis) &&
            io->inputs[other].dims[axis] != given->dims[i]) {
            return door_refuse(WEFT_INVALID_ARGUMENT,
                               "input '%s': axis %d ('%s') is %lld, but axis %d of "
                               "input '%s' has %lld for it",
                               info->name, (int)i, info->dim_names[i],
                               (long long)given->dims[i], (int)axis,
                               model->inputs[other].name,
                               (long long)io->inputs[other].dims[axis]);
        }
    }
    return 0;
}

int door_explain_inputs(const door_model *model, const weft_io *io)
{
    for (size_t i = 0; i < io->input_count; i++) {
        if (io->inputs[i].type == WEFT_TYPE_NONE) {
            return 0; /* a mask that the library makes */
        }
    }
    for (size_t i = 0; i < io->input_count; i++) {
        if (explain_input(model, io, i)) {
            return -1;
        }
    }
    return 0;
}

/* As door_explain_output, of shapes that differ first at `axis`. */
static int explain_output(const weft_value_info *info, const weft_tensor *given,
                          const weft_tensor *wanted, int32_t axis)
{
    char has[SHAPE_TEXT], is[SHAPE_TEXT];
    print_shape(has, given->rank, given->dims, NULL);
    print_shape(is, wanted->rank, wanted->dims, NULL);
    if (given->rank != wanted->rank) {
        return door_refuse(
            WEFT_INVALID_ARGUMENT,
            "output '%s' was given memory of another shape, %s, than the "
            "model's answer has for these inputs: %s",
            info->name, has, is);
    }
    const char *name = axis < info->rank ? info->dim_names[axis] : NULL;
    return door_refuse(
        WEFT_INVALID_ARGUMENT,
        "output '%s' was given memory of another shape: axis %d%s%s%s is "
        "%lld, and %lld in the model's answer to these inputs (%s was "
        "given, %s is wanted)",
        info->name, (int)axis, name ? " ('" : "", name ? name : "", name ? "')" : "",
        (long long)given->dims[axis], (long long)wanted->dims[axis], has, is);
}

int door_explain_output(const weft_value_info *info, const weft_tensor *given,
                        const weft_tensor *wanted)
{
    int32_t rank = given->rank < wanted->rank ? given->rank : wanted->rank, axis = 0;
    while (axis < rank && given->dims[axis] == wanted->dims[axis]) {
        axis++;
    }
    return axis == given->rank && axis == wanted->rank
               ? 0
               : explain_output(info, given, wanted, axis);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "ops/check.h"
#include "ops/families.h"

/* Range decides its own shape, so its inputs are constants and it always folds. */

static const int64_t most_elements = (int64_t)1 << 28;

static double read_real(const wefti_known *known)
{
    float single = 0;
    double value = 0;
    if (known->type == WEFT_TYPE_F32) {
        memcpy(&single, known->constant, sizeof(single));
        return single;
    }
    memcpy(&value, known->constant, sizeof(value));
    return value;
}

/* max(ceil((limit - start) / delta), 0), capped above. */
static int64_t count_integers(int64_t start, int64_t limit, int64_t delta)
{
    bool forwards = delta > 0 && limit > start;
    bool backwards = delta < 0 && limit < start;
    if (!forwards && !backwards) {
        return 0;
    }
    uint64_t span = forwards ? (uint64_t)limit - (uint64_t)start
                             : (uint64_t)start - (uint64_t)limit;
    uint64_t stride = forwards ? (uint64_t)delta : (uint64_t)0 - (uint64_t)delta;
    uint64_t count = (span - 1) / stride + 1;
    return count > (uint64_t)most_elements ? most_elements + 1 : (int64_t)count;
}

static int64_t count_reals(double start, double limit, double delta)
{
    double count = ceil((limit - start) / delta);
    if (!(count > 0)) {
        return 0; /* also for NaN */
    }
    return count > (double)most_elements ? most_elements + 1 : (int64_t)count;
}

static bool is_real(weft_type type)
{
    return (WEFTI_TYPES_FLOAT & WEFTI_TYPE_SET(type)) != 0;
}

weft_status wefti_infer_range(const wefti_node_view *node, const wefti_known *inputs,
                              wefti_known *outputs, weft_error *error)
{
    static const char *const names[] = {"start", "limit", "delta"};
    WEFTI_TRY(wefti_check_types(node, inputs, 0, WEFTI_TYPES_NUMBER, error));
    for (size_t i = 0; i < 3; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_NUMBER, error));
        if (wefti_known_element_count(&inputs[i]) != 1) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "%s: %s (input %zu) must hold one element", node->label,
                               names[i], i);
        }
        if (!inputs[i].constant) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "%s: %s (input %zu) decides a shape, so it must be a "
                               "constant or follow from shapes; it depends on the data "
                               "of the run",
                               node->label, names[i], i);
        }
    }
    bool real = is_real(inputs[0].type);
    bool standing =
        real ? read_real(&inputs[2]) == 0 : wefti_known_integer(&inputs[2], 0) == 0;
    if (standing) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s: delta (input 2) is 0",
                           node->label);
    }
    int64_t count = real ? count_reals(read_real(&inputs[0]), read_real(&inputs[1]),
                                       read_real(&inputs[2]))
                         : count_integers(wefti_known_integer(&inputs[0], 0),
                                          wefti_known_integer(&inputs[1], 0),
                                          wefti_known_integer(&inputs[2], 0));
    if (count > most_elements) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: a range of more than %lld elements", node->label,
                           (long long)most_elements);
    }
    return wefti_set_output(node, outputs, 0, (wefti_shape){inputs[0].type, 1, &count},
                            error);
}

weft_status wefti_fold_range(const wefti_node_view *node, const wefti_known *inputs,
                             const wefti_known *outputs, void *const *output_data,
                             weft_error *error)
{
    (void)node;
    (void)error;
    weft_type type = outputs[0].type;
    bool real = is_real(type);
    double start = real ? read_real(&inputs[0]) : 0;
    double delta = real ? read_real(&inputs[2]) : 0;
    /* Unsigned: a step beyond the last element may wrap. */
    uint64_t first = real ? 0 : (uint64_t)wefti_known_integer(&inputs[0], 0);
    uint64_t step = real ? 0 : (uint64_t)wefti_known_integer(&inputs[2], 0);
    for (int64_t i = 0; i < outputs[0].dims[0]; i++) {
        if (type == WEFT_TYPE_F32) {
            ((float *)output_data[0])[i] = (float)start + (float)i * (float)delta;
        } else if (type == WEFT_TYPE_F64) {
            ((double *)output_data[0])[i] = start + (double)i * delta;
        } else if (type == WEFT_TYPE_I32) {
            ((int32_t *)output_data[0])[i] = (int32_t)(first + (uint64_t)i * step);
        } else {
            ((int64_t *)output_data[0])[i] = (int64_t)(first + (uint64_t)i * step);
        }
    }
    return WEFT_OK;
}

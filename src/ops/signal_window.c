/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "backend/host_math.h"
#include "ops/check.h"
#include "ops/families.h"

/* HannWindow, HammingWindow, BlackmanWindow and MelWeightMatrix: tables that follow
 * from numbers alone. */
enum { MOST_ELEMENTS = 1 << 26 };

/* Reads input `index`, a constant number. */
static weft_status read_number(const wefti_node_view *node, const wefti_known *inputs,
                               size_t index, double *value, weft_error *error)
{
    const wefti_known *known = wefti_known_input(node, inputs, index);
    WEFTI_TRY(wefti_check_type(node, inputs, index, WEFTI_TYPES_NUMBER, error));
    if (wefti_known_element_count(known) != 1) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: input %zu must hold one element", node->label, index);
    }
    if (!known->constant) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: input %zu decides a shape or a table, so it must be a "
                           "constant or follow from shapes; it depends on the data of "
                           "the run",
                           node->label, index);
    }
    switch (known->type) {
    case WEFT_TYPE_F32:
        *value = (double)*(const float *)known->constant;
        break;
    case WEFT_TYPE_F64:
        *value = *(const double *)known->constant;
        break;
    default:
        *value = (double)wefti_known_integer(known, 0);
        break;
    }
    return WEFT_OK;
}

static weft_status read_type(const wefti_node_view *node, weft_type *type,
                             weft_error *error)
{
    int64_t wanted = wefti_attribute_int(node, "output_datatype", WEFT_TYPE_F32);
    if (wanted != WEFT_TYPE_F32 && wanted != WEFT_TYPE_F64) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: output_datatype %lld is not f32 or f64", node->label,
                           (long long)wanted);
    }
    *type = (weft_type)wanted;
    return WEFT_OK;
}

static void put(weft_type type, void *data, int64_t index, double value)
{
    if (type == WEFT_TYPE_F32) {
        ((float *)data)[index] = (float)value;
    } else {
        ((double *)data)[index] = value;
    }
}

weft_status wefti_infer_signal_window(const wefti_node_view *node,
                                      const wefti_known *inputs, wefti_known *outputs,
                                      weft_error *error)
{
    double size = 0;
    weft_type type = WEFT_TYPE_F32;
    WEFTI_TRY(wefti_check_type(node, inputs, 0, WEFTI_TYPES_INDEX, error));
    WEFTI_TRY(read_number(node, inputs, 0, &size, error));
    WEFTI_TRY(read_type(node, &type, error));
    if (!(size >= 0 && size <= MOST_ELEMENTS)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: a window of %g elements; expected 0 to %d", node->label,
                           size, (int)MOST_ELEMENTS);
    }
    int64_t dim = (int64_t)size;
    return wefti_set_output(node, outputs, 0, (wefti_shape){type, 1, &dim}, error);
}

weft_status wefti_fold_signal_window(const wefti_node_view *node,
                                     const wefti_known *inputs,
                                     const wefti_known *outputs,
                                     void *const *output_data, weft_error *error)
{
    (void)inputs;
    (void)error;
    /* a - b cos(2 pi k / n) + c cos(4 pi k / n) */
    double a = 0.5, b = 0.5, c = 0.0;
    if (strcmp(node->op_type, "HammingWindow") == 0) {
        a = 25.0 / 46.0;
        b = 21.0 / 46.0;
    } else if (strcmp(node->op_type, "BlackmanWindow") == 0) {
        a = 0.42;
        c = 0.08;
    }
    int64_t count = outputs[0].dims[0];
    bool periodic = wefti_attribute_int(node, "periodic", 1) != 0;
    int64_t n = periodic ? count : count - 1;
    for (int64_t k = 0; k < count; k++) {
        double sine, once = 1.0, twice = 1.0;
        if (n > 0) {
            wefti_turn(k % n, n, &sine, &once);
            wefti_turn(2 * k % n, n, &sine, &twice);
        }
        put(outputs[0].type, output_data[0], k, a - b * once + c * twice);
    }
    return WEFT_OK;
}

typedef struct mel_numbers {
    double bins, length, rate, low, high;
} mel_numbers;

static weft_status read_mel(const wefti_node_view *node, const wefti_known *inputs,
                            mel_numbers *mel, weft_error *error)
{
    double *const values[] = {&mel->bins, &mel->length, &mel->rate, &mel->low,
                              &mel->high};
    for (size_t i = 0; i < 5; i++) {
        WEFTI_TRY(read_number(node, inputs, i, values[i], error));
    }
    bool fits = mel->bins >= 1 && mel->bins <= 1 << 16 && mel->length >= 1 &&
                mel->length <= 1 << 20 && mel->rate >= 1 && mel->rate < 0x1p40 &&
                mel->low >= 0 && mel->high >= mel->low && mel->high < 0x1p40 &&
                mel->bins * mel->length < MOST_ELEMENTS;
    if (!fits) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: the numbers of bins, of frequencies, the rate or the "
                           "edges are out of range",
                           node->label);
    }
    return WEFT_OK;
}

weft_status wefti_infer_mel_matrix(const wefti_node_view *node,
                                   const wefti_known *inputs, wefti_known *outputs,
                                   weft_error *error)
{
    mel_numbers mel = {0};
    weft_type type = WEFT_TYPE_F32;
    WEFTI_TRY(read_mel(node, inputs, &mel, error));
    WEFTI_TRY(read_type(node, &type, error));
    const int64_t dims[] = {(int64_t)mel.length / 2 + 1, (int64_t)mel.bins};
    return wefti_set_output(node, outputs, 0, (wefti_shape){type, 2, dims}, error);
}

/* The frequency bin of point i of bins + 2 that lie evenly in mel. */
static int64_t mel_point(const mel_numbers *mel, int64_t i)
{
    const double ten = 2.302585092994045684; /* log 10 */
    double low = 2595.0 * wefti_log_f64(1.0 + mel->low / 700.0) / ten;
    double high = 2595.0 * wefti_log_f64(1.0 + mel->high / 700.0) / ten;
    double at = low + (double)i * ((high - low) / (double)((int64_t)mel->bins + 2));
    double frequency = 700.0 * (wefti_exp_f64(at / 2595.0 * ten) - 1.0);
    return (int64_t)floor(((double)(int64_t)mel->length + 1.0) * frequency /
                          (double)(int64_t)mel->rate);
}

/* Triangles between every other point, 1 at the one between. */
weft_status wefti_fold_mel_matrix(const wefti_node_view *node,
                                  const wefti_known *inputs, const wefti_known *outputs,
                                  void *const *output_data, weft_error *error)
{
    mel_numbers mel = {0};
    WEFTI_TRY(read_mel(node, inputs, &mel, error));
    int64_t rows = outputs[0].dims[0], bins = outputs[0].dims[1];
    for (int64_t i = 0; i < rows * bins; i++) {
        put(outputs[0].type, output_data[0], i, 0.0);
    }
    for (int64_t i = 0; i < bins; i++) {
        int64_t left = mel_point(&mel, i), middle = mel_point(&mel, i + 1);
        int64_t right = mel_point(&mel, i + 2);
        /* Rounding may put the first point before 0. */
        for (int64_t j = left < 0 ? 0 : left; j <= right && j < rows; j++) {
            double value = middle == left && j == middle ? 1.0 : 0.0;
            if (j <= middle && middle > left) {
                value = (double)(j - left) / (double)(middle - left);
            } else if (j > middle && j < right) {
                value = (double)(right - j) / (double)(right - middle);
            }
            put(outputs[0].type, output_data[0], j * bins + i, value);
        }
    }
    return WEFT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/window.h"

#include <string.h>

#include "ops/check.h"

/* Larger values are nonsense and would overflow the arithmetic below. */
static const int64_t most = (int64_t)1 << 31;

/* Reads a list with one value per spatial dim, or two for pads, into `values`; without
 * it each is the least that is allowed. */
static weft_status read_list(const wefti_node_view *node, const char *name,
                             int64_t least, size_t expected, int64_t *values,
                             weft_error *error)
{
    size_t count = 0;
    const int64_t *ints = wefti_attribute_ints(node, name, &count);
    if (ints && count != expected) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: %s has %zu values, expected %zu", node->label, name,
                           count, expected);
    }
    for (size_t i = 0; i < expected; i++) {
        values[i] = ints ? ints[i] : least;
        if (values[i] < least || values[i] > most) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: %s has a value of %lld, expected %lld to %lld",
                               node->label, name, (long long)values[i],
                               (long long)least, (long long)most);
        }
    }
    return WEFT_OK;
}

typedef struct auto_pad {
    bool same, lower, valid;
} auto_pad;

static weft_status read_auto_pad(const wefti_node_view *node, auto_pad *mode,
                                 weft_error *error)
{
    const char *text = wefti_attribute_string(node, "auto_pad", "NOTSET");
    *mode = (auto_pad){.lower = strcmp(text, "SAME_LOWER") == 0,
                       .valid = strcmp(text, "VALID") == 0};
    mode->same = mode->lower || strcmp(text, "SAME_UPPER") == 0;
    if (!mode->same && !mode->valid && strcmp(text, "NOTSET") != 0) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: auto_pad is \"%s\"; expected NOTSET, SAME_UPPER, "
                           "SAME_LOWER or VALID",
                           node->label, text);
    }
    return WEFT_OK;
}

/* Both below 2^31, so that the sums stay far from overflow. */
static void pad_to_same(wefti_window *window, int32_t i, bool lower)
{
    int64_t reach = (window->kernel[i] - 1) * window->dilations[i] + 1;
    int64_t out = (window->in[i] + window->strides[i] - 1) / window->strides[i];
    int64_t needed = (out - 1) * window->strides[i] + reach - window->in[i];
    int64_t total = needed > 0 ? needed : 0;
    int64_t smaller = total / 2;
    window->pads_begin[i] = lower ? total - smaller : smaller;
    window->pads_end[i] = total - window->pads_begin[i];
    window->out[i] = out;
}

static weft_status count_windows(const wefti_node_view *node, wefti_window *window,
                                 int32_t i, bool ceil_mode, weft_error *error)
{
    int64_t reach = (window->kernel[i] - 1) * window->dilations[i] + 1;
    int64_t padded = window->in[i] + window->pads_begin[i] + window->pads_end[i];
    int64_t room = padded - reach, stride = window->strides[i];
    /* Rounded up, one window may reach beyond the end, even the first and only one. */
    if (room < 0 && (!ceil_mode || room <= -stride || padded < 1)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s: a window of %lld (kernel %lld, dilation %lld) does not "
                           "fit into a padded input of %lld",
                           node->label, (long long)reach, (long long)window->kernel[i],
                           (long long)window->dilations[i], (long long)padded);
    }
    int64_t out = (ceil_mode ? room + stride - 1 : room) / stride + 1;
    /* The last window has to start inside the input or its padding before. */
    if (ceil_mode && (out - 1) * stride >= window->in[i] + window->pads_begin[i]) {
        out--;
    }
    window->out[i] = out;
    return WEFT_OK;
}

/* Moves `rank` leading values to the end of three. */
static void align_right(int64_t *values, int32_t rank, int64_t filler)
{
    for (int32_t i = 2; i >= 0; i--) {
        int32_t source = i - (3 - rank);
        values[i] = source >= 0 ? values[source] : filler;
    }
}

static void align_window(wefti_window *window)
{
    align_right(window->in, window->rank, 1);
    align_right(window->out, window->rank, 1);
    align_right(window->kernel, window->rank, 1);
    align_right(window->strides, window->rank, 1);
    align_right(window->dilations, window->rank, 1);
    align_right(window->pads_begin, window->rank, 0);
    align_right(window->pads_end, window->rank, 0);
}

static weft_status read_kernel(const wefti_node_view *node, const int64_t *kernel,
                               wefti_window *window, weft_error *error)
{
    size_t rank = (size_t)window->rank;
    if (!kernel && !wefti_attribute_find(node, "kernel_shape")) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: the attribute kernel_shape is missing", node->label);
    }
    WEFTI_TRY(read_list(node, "kernel_shape", 1, rank, window->kernel, error));
    for (size_t i = 0; kernel && i < rank; i++) {
        bool given = wefti_attribute_find(node, "kernel_shape") != NULL;
        if (kernel[i] < 1 || kernel[i] > most ||
            (given && window->kernel[i] != kernel[i])) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "%s: the weight's kernel of %lld in spatial dimension "
                               "%zu is not what kernel_shape says, or is out of range",
                               node->label, (long long)kernel[i], i);
        }
        window->kernel[i] = kernel[i];
    }
    return WEFT_OK;
}

/* What kernels multiply without a check stays below 2^62. */
static weft_status check_size(const wefti_node_view *node, const wefti_window *window,
                              weft_error *error)
{
    int64_t positions = 1;
    for (int32_t i = 0; i < window->rank; i++) {
        int64_t reach = (window->kernel[i] - 1) * window->dilations[i] + 1;
        positions *= window->kernel[i];
        if (reach > most || positions > most) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "%s: a window of %lld (kernel %lld, dilation %lld) in "
                               "spatial dimension %d is too large",
                               node->label, (long long)reach,
                               (long long)window->kernel[i],
                               (long long)window->dilations[i], (int)i);
        }
    }
    return WEFT_OK;
}

weft_status wefti_window_read(const wefti_node_view *node, const wefti_known *input,
                              const int64_t *kernel, wefti_window *window,
                              weft_error *error)
{
    *window = (wefti_window){.rank = input->rank - 2};
    size_t rank = (size_t)window->rank;
    int64_t pads[6];
    auto_pad mode;
    WEFTI_TRY(read_kernel(node, kernel, window, error));
    WEFTI_TRY(read_list(node, "strides", 1, rank, window->strides, error));
    WEFTI_TRY(read_list(node, "dilations", 1, rank, window->dilations, error));
    WEFTI_TRY(read_list(node, "pads", 0, 2 * rank, pads, error));
    WEFTI_TRY(read_auto_pad(node, &mode, error));
    WEFTI_TRY(check_size(node, window, error));
    bool ceil_mode = wefti_attribute_int(node, "ceil_mode", 0) != 0;
    for (int32_t i = 0; i < window->rank; i++) {
        window->in[i] = input->dims[i + 2];
        if (window->in[i] > most) {
            return wefti_error(error, WEFT_UNSUPPORTED,
                               "%s: a spatial dimension of %lld is too large",
                               node->label, (long long)window->in[i]);
        }
        window->pads_begin[i] = mode.valid ? 0 : pads[i];
        window->pads_end[i] = mode.valid ? 0 : pads[rank + (size_t)i];
        if (mode.same) {
            pad_to_same(window, i, mode.lower);
        } else {
            WEFTI_TRY(count_windows(node, window, i, ceil_mode, error));
        }
    }
    align_window(window);
    return WEFT_OK;
}

void wefti_window_of_conv(const wefti_window *window, wefti_conv_params *params)
{
    memcpy(params->in_dims, window->in, sizeof(params->in_dims));
    memcpy(params->out_dims, window->out, sizeof(params->out_dims));
    memcpy(params->kernel_dims, window->kernel, sizeof(params->kernel_dims));
    memcpy(params->strides, window->strides, sizeof(params->strides));
    memcpy(params->dilations, window->dilations, sizeof(params->dilations));
    memcpy(params->pads_begin, window->pads_begin, sizeof(params->pads_begin));
}

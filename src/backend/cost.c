/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cost.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/compiler.h"

static double product(const int64_t *dims, int32_t rank)
{
    double count = 1;
    for (int32_t i = 0; i < rank; i++) {
        count *= (double)dims[i];
    }
    return count;
}

static double matmul_flops(const wefti_matmul_params *p)
{
    double results =
        product(p->batch_dims, p->batch_rank) * (double)p->m * (double)p->n;
    double after = (p->alpha != 1 ? 1 : 0) + (p->bias != WEFTI_BIAS_NONE ? 1 : 0) +
                   (p->activation != WEFTI_ACTIVATION_NONE ? 1 : 0);
    return results * (2 * (double)p->k + after);
}

static double conv_flops(const wefti_conv_params *p)
{
    double groups = p->groups > 0 ? (double)p->groups : 1;
    double results =
        (double)p->batch * (double)p->out_channels * product(p->out_dims, 3);
    double after = p->activation != WEFTI_ACTIVATION_NONE ? 1 : 0;
    return results *
           (2 * (double)p->in_channels / groups * product(p->kernel_dims, 3) + after);
}

static double attention_flops(const wefti_attention_params *p)
{
    double rows = (double)p->batch * (double)p->heads * (double)p->query_length;
    enum { SOFTMAX = 5 };
    return rows * (double)p->key_length *
           (2 * (double)p->head_size + 2 * (double)p->value_size + SOFTMAX);
}

static double elementwise_flops(const wefti_elementwise_params *p)
{
    double operations = 0;
    for (int32_t i = 0; i < p->instruction_count; i++) {
        wefti_operation operation = p->instructions[i].operation;
        operations += operation == WEFTI_OP_COPY  ? 0
                      : operation == WEFTI_OP_FMA ? 2
                                                  : 1;
    }
    return product(p->dims, p->rank) * operations;
}

double wefti_kernel_flops(wefti_kernel kernel, const void *params)
{
    enum { SOFTMAX = 4, LAYER_NORM = 8 }; /* operations for each element */
    switch (kernel) {
    case WEFTI_KERNEL_ELEMENTWISE:
        return elementwise_flops(params);
    case WEFTI_KERNEL_REDUCE: {
        const wefti_reduce_params *p = params;
        return product(p->kept_dims, p->kept_rank) *
               product(p->reduced_dims, p->reduced_rank);
    }
    case WEFTI_KERNEL_SOFTMAX: {
        const wefti_softmax_params *p = params;
        return SOFTMAX * (double)p->row_count * (double)p->column_count;
    }
    case WEFTI_KERNEL_LAYER_NORM: {
        const wefti_layer_norm_params *p = params;
        return LAYER_NORM * (double)p->row_count * (double)p->column_count;
    }
    case WEFTI_KERNEL_MATMUL:
        return matmul_flops(params);
    case WEFTI_KERNEL_MATMUL_BYTES: {
        const wefti_matmul_bytes_params *p = params;
        return 2.0 * (double)p->batch * (double)p->m * (double)p->n * (double)p->k;
    }
    case WEFTI_KERNEL_CONV:
        return conv_flops(params);
    case WEFTI_KERNEL_POOL: {
        const wefti_pool_params *p = params;
        return (double)p->plane_count * product(p->out_dims, 3) *
               product(p->kernel_dims, 3);
    }
    case WEFTI_KERNEL_ATTENTION:
        return attention_flops(params);
    case WEFTI_KERNEL_CUMULATE: {
        const wefti_cumulate_params *p = params;
        return (double)p->outer_count * (double)p->count * (double)p->inner_count;
    }
    case WEFTI_KERNEL_FOLD: {
        const wefti_fold_params *p = params;
        return (double)p->plane_count * product(p->block_dims, 3) *
               product(p->kernel_dims, 3);
    }
    default:
        return 0;
    }
}

/* A text that is cut where there is no more room. */
typedef struct words {
    char *text;
    size_t size, length;
} words;

static void say(words *out, const char *format, ...) WEFTI_PRINTF(2, 3);
static void say(words *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length =
        vsnprintf(out->text + out->length, out->size - out->length, format, arguments);
    va_end(arguments);
    if (length > 0) {
        out->length += (size_t)length;
        out->length = out->length < out->size ? out->length : out->size - 1;
    }
}

static void say_dims(words *out, const int64_t *dims, int32_t rank)
{
    for (int32_t i = 0; i < rank; i++) {
        say(out, i > 0 ? "x%" PRId64 : "%" PRId64, dims[i]);
    }
    if (rank == 0) {
        say(out, "1");
    }
}

static void say_matmul(words *out, const wefti_matmul_params *p)
{
    double batch = product(p->batch_dims, p->batch_rank);
    if (batch != 1) {
        say(out, "%.0f of ", batch);
    }
    say(out, "%" PRId64 "x%" PRId64 " * %" PRId64 "x%" PRId64, p->m, p->k, p->k, p->n);
}

/* The spatial dims that are not all 1: 3 with leading ones stand for fewer. */
static void say_spatial(words *out, const int64_t dims[3], int32_t first)
{
    for (int32_t i = first; i < 3; i++) {
        say(out, "x%" PRId64, dims[i]);
    }
}

static void say_conv(words *out, const wefti_conv_params *p)
{
    int32_t first = p->in_dims[0] != 1 ? 0 : p->in_dims[1] != 1 ? 1 : 2;
    say(out, "%" PRId64 "x%" PRId64, p->batch, p->in_channels);
    say_spatial(out, p->in_dims, first);
    say(out, " -> %" PRId64, p->out_channels);
    say_spatial(out, p->out_dims, first);
    say(out, ", kernel ");
    say_dims(out, p->kernel_dims + first, 3 - first);
    if (p->groups > 1) {
        say(out, ", %" PRId64 " groups", p->groups);
    }
}

static void say_attention(words *out, const wefti_attention_params *p)
{
    say(out, "%" PRId64 "x%" PRId64 " heads %" PRId64 "x%" PRId64 " of %" PRId64,
        p->batch, p->heads, p->query_length, p->key_length, p->head_size);
}

const char *wefti_kernel_shape(wefti_kernel kernel, const void *params, char *text,
                               size_t text_bytes)
{
    words out = {text, text_bytes, 0};
    text[0] = '\0';
    switch (kernel) {
    case WEFTI_KERNEL_COPY: {
        const wefti_copy_params *p = params;
        say_dims(&out, p->dims, p->rank);
        break;
    }
    case WEFTI_KERNEL_FILL: {
        const wefti_fill_params *p = params;
        say_dims(&out, p->dims, p->rank);
        break;
    }
    case WEFTI_KERNEL_ELEMENTWISE: {
        const wefti_elementwise_params *p = params;
        say_dims(&out, p->dims, p->rank);
        break;
    }
    case WEFTI_KERNEL_REDUCE: {
        const wefti_reduce_params *p = params;
        say_dims(&out, p->kept_dims, p->kept_rank);
        say(&out, " of ");
        say_dims(&out, p->reduced_dims, p->reduced_rank);
        break;
    }
    case WEFTI_KERNEL_SOFTMAX: {
        const wefti_softmax_params *p = params;
        say(&out, "%" PRId64 " rows of %" PRId64, p->row_count, p->column_count);
        break;
    }
    case WEFTI_KERNEL_LAYER_NORM: {
        const wefti_layer_norm_params *p = params;
        say(&out, "%" PRId64 " rows of %" PRId64, p->row_count, p->column_count);
        break;
    }
    case WEFTI_KERNEL_MATMUL:
        say_matmul(&out, params);
        break;
    case WEFTI_KERNEL_MATMUL_BYTES: {
        const wefti_matmul_bytes_params *p = params;
        say(&out, "%" PRId64 " of %" PRId64 "x%" PRId64 " * %" PRId64 "x%" PRId64,
            p->batch, p->m, p->k, p->k, p->n);
        break;
    }
    case WEFTI_KERNEL_CONV:
        say_conv(&out, params);
        break;
    case WEFTI_KERNEL_POOL: {
        const wefti_pool_params *p = params;
        say(&out, "%" PRId64, p->plane_count);
        say_spatial(&out, p->out_dims, p->in_dims[0] != 1 ? 0 : 1);
        break;
    }
    case WEFTI_KERNEL_GATHER: {
        const wefti_gather_params *p = params;
        say(&out, "%" PRId64 " of %" PRId64 ", %" PRId64 " bytes each",
            p->outer_count * p->index_count, p->axis_size, p->inner_bytes);
        break;
    }
    case WEFTI_KERNEL_ATTENTION:
        say_attention(&out, params);
        break;
    default:
        break;
    }
    return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run.h"

enum { FIRST_VALUES = 8 };

static double from_half(uint16_t bits, weft_type type)
{
    const int32_t fraction = type == WEFT_TYPE_BF16 ? 7 : 10;
    const int32_t least = type == WEFT_TYPE_BF16 ? -126 : -14;
    const int32_t exponent = (bits & 0x7fff) >> fraction;
    const int32_t places = bits & ((1 << fraction) - 1);
    double value = exponent == 0 ? ldexp(places, least - fraction)
                                 : ldexp(places + (1 << fraction),
                                         exponent - 1 + least - fraction);
    if (exponent == (1 << (15 - fraction)) - 1) {
        value = places != 0 ? NAN : INFINITY;
    }
    return (bits & 0x8000) != 0 ? -value : value;
}

double cli_run_element(const weft_tensor *tensor, size_t index)
{
    switch (tensor->type) {
    case WEFT_TYPE_F32:
        return ((const float *)tensor->data)[index];
    case WEFT_TYPE_F64:
        return ((const double *)tensor->data)[index];
    case WEFT_TYPE_I64:
        return (double)((const int64_t *)tensor->data)[index];
    case WEFT_TYPE_I32:
        return ((const int32_t *)tensor->data)[index];
    case WEFT_TYPE_I8:
        return ((const int8_t *)tensor->data)[index];
    case WEFT_TYPE_U8:
    case WEFT_TYPE_BOOL:
        return ((const uint8_t *)tensor->data)[index];
    case WEFT_TYPE_F16:
    case WEFT_TYPE_BF16:
        return from_half(((const uint16_t *)tensor->data)[index], tensor->type);
    default:
        return NAN;
    }
}

static void print_numbers(const weft_tensor *tensor)
{
    size_t count = tensor->size_bytes / weft_type_size(tensor->type);
    double low = INFINITY;
    double high = -INFINITY;
    double sum = 0;
    size_t not_numbers = 0;
    for (size_t i = 0; i < count; i++) {
        double number = cli_run_element(tensor, i);
        low = fmin(low, number);
        high = fmax(high, number);
        sum += number;
        not_numbers += isnan(number) ? 1 : 0;
    }
    if (count > not_numbers) {
        printf("  min %.6g  max %.6g  mean %.6g", low, high, sum / (double)count);
    }
    if (not_numbers > 0) {
        printf("  (%zu not a number)", not_numbers);
    }
    printf("\n ");
    for (size_t i = 0; i < count && i < FIRST_VALUES; i++) {
        printf(" %.6g", cli_run_element(tensor, i));
    }
    printf("%s\n", count > FIRST_VALUES ? " ..." : "");
}

void cli_run_print_outputs(const weft_model *model, const cli_case *request)
{
    weft_value_info info;
    for (size_t i = 0; weft_model_get_output(model, i, &info); i++) {
        const weft_tensor *tensor = &request->expected[i];
        cli_print_text(stdout, info.name);
        printf("  %s [", weft_type_name(tensor->type));
        for (int32_t k = 0; k < tensor->rank; k++) {
            printf("%s%lld", k > 0 ? "," : "", (long long)tensor->dims[k]);
        }
        printf("]");
        print_numbers(tensor);
    }
}

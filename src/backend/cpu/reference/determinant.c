/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* DETERMINANT, by elimination with the largest pivot, in doubles. */

static void swap_rows(double *a, double *b, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

static int64_t find_pivot(const double *m, int64_t n, int64_t column)
{
    int64_t pivot = column;
    for (int64_t i = column + 1; i < n; i++) {
        pivot = fabs(m[i * n + column]) > fabs(m[pivot * n + column]) ? i : pivot;
    }
    return pivot;
}

/* Works on `m` itself. */
static double determinant(double *m, int64_t n)
{
    double result = 1.0;
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = find_pivot(m, n, k);
        if (pivot != k) {
            swap_rows(&m[pivot * n], &m[k * n], n);
            result = -result;
        }
        result *= m[k * n + k];
        if (m[k * n + k] == 0.0) {
            return result;
        }
        for (int64_t i = k + 1; i < n; i++) {
            double factor = m[i * n + k] / m[k * n + k];
            for (int64_t j = k + 1; j < n; j++) {
                m[i * n + j] -= factor * m[k * n + j];
            }
        }
    }
    return result;
}

static weft_status determinants(const wefti_cpu_call *call, void *scratch,
                                int64_t begin, int64_t end, weft_error *error)
{
    (void)error;
    const wefti_determinant_params *p = call->params;
    const float *input = call->operands[WEFTI_DETERMINANT_INPUT];
    float *output = call->operands[WEFTI_DETERMINANT_OUTPUT];
    double *m = scratch;
    int64_t size = p->n * p->n, last = ref_tile_start(p->count, end);
    for (int64_t i = ref_tile_start(p->count, begin); i < last; i++) {
        for (int64_t j = 0; j < size; j++) {
            m[j] = (double)input[i * size + j];
        }
        output[i] = (float)determinant(m, p->n);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_determinant_reference(const wefti_step *step, bool may_pack,
                                                wefti_cpu_prepared *prepared,
                                                weft_error *error)
{
    (void)may_pack;
    const wefti_determinant_params *p = step->params;
    if (p->n > 1 << 12) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "determinant: matrices of more than 4096 rows");
    }
    double n = (double)p->n;
    prepared->scratch_bytes = (size_t)(p->n * p->n) * sizeof(double);
    return ref_prepared(prepared, determinants, p->count, 20.0 + n * n * n);
}

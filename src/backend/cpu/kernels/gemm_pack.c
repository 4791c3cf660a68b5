/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/gemm.h"

/* Rows of B are contiguous: copy them. */
static void pack_rows(float *packed, gemm_source source, int64_t k, int32_t columns)
{
    const int32_t width = gemm_padded(columns);
    for (int64_t i = 0; i < k; i++) {
        const float *row = source.b + i * source.row;
        int32_t j = 0;
        for (; j + WEFTI_LANES <= columns; j += WEFTI_LANES) {
            vf_store(packed + j, vf_load(row + j));
        }
        if (j < columns) {
            vf_store(packed + j, vf_load_partial(row + j, columns - j));
        }
        packed += width;
    }
}

/* Columns of B are contiguous: transpose square blocks. */
static void pack_columns(float *packed, gemm_source source, int64_t k, int32_t columns)
{
    const int32_t width = gemm_padded(columns);
    for (int32_t j = 0; j < columns; j += WEFTI_LANES) {
        const int32_t used = columns - j < WEFTI_LANES ? columns - j : WEFTI_LANES;
        for (int64_t i = 0; i < k; i += WEFTI_LANES) {
            const int32_t depth = k - i < WEFTI_LANES ? (int32_t)(k - i) : WEFTI_LANES;
            vf square[WEFTI_LANES];
            for (int32_t c = 0; c < WEFTI_LANES; c++) {
                const float *from = source.b + (j + c) * source.column + i;
                square[c] = c >= used
                                ? vf_zero()
                                : (depth == WEFTI_LANES ? vf_load(from)
                                                        : vf_load_partial(from, depth));
            }
            vf_transpose(square);
            for (int32_t r = 0; r < depth; r++) {
                vf_store(packed + (i + r) * width + j, square[r]);
            }
        }
    }
}

static void pack_any(float *packed, gemm_source source, int64_t k, int32_t columns)
{
    const int32_t width = gemm_padded(columns);
    for (int64_t i = 0; i < k; i++) {
        for (int32_t j = 0; j < width; j++) {
            packed[j] =
                j < columns ? source.b[i * source.row + j * source.column] : 0.0f;
        }
        packed += width;
    }
}

void gemm_pack(float *packed, gemm_source source, int64_t k, int32_t columns)
{
    if (source.column == 1) {
        pack_rows(packed, source, k, columns);
    } else if (source.row == 1) {
        pack_columns(packed, source, k, columns);
    } else {
        pack_any(packed, source, k, columns);
    }
}

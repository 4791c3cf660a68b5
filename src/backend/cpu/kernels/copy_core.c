/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernels/copy_core.h"

void WEFTI_ISA_NAME(wefti_copy_rows)(const copy_args *args)
{
    const int64_t bytes = args->columns * args->source_bytes;
    for (int64_t i = 0; i < args->rows; i++) {
        const char *source = args->source + i * args->source_row;
        char *target = args->target + i * args->target_row;
        if (args->cast != NULL) {
            args->cast(source, target, args->columns);
        } else if (bytes == 4) {
            memcpy(target, source, 4);
        } else if (bytes == 8) {
            memcpy(target, source, 8);
        } else {
            memcpy(target, source, (size_t)bytes);
        }
    }
}

#define REPEAT_ROW(T)                                                                  \
    do {                                                                               \
        T value;                                                                       \
        memcpy(&value, source, sizeof(value));                                         \
        T *out = (T *)(void *)target;                                                  \
        for (int64_t j = 0; j < args->columns; j++) {                                  \
            out[j] = value;                                                            \
        }                                                                              \
    } while (0)

void WEFTI_ISA_NAME(wefti_copy_repeat)(const copy_args *args)
{
    for (int64_t i = 0; i < args->rows; i++) {
        const char *source = args->source + i * args->source_row;
        char *target = args->target + i * args->target_row;
        char converted[8];
        if (args->cast != NULL) {
            args->cast(source, converted, 1);
            source = converted;
        }
        switch (args->target_bytes) {
        case 1:
            memset(target, *source, (size_t)args->columns);
            break;
        case 2:
            REPEAT_ROW(uint16_t);
            break;
        case 4:
            REPEAT_ROW(uint32_t);
            break;
        default:
            REPEAT_ROW(uint64_t);
            break;
        }
    }
}

/* One block of at most WEFTI_LANES each way. */
WEFTI_INLINE void transpose_block(const copy_args *args, int64_t i, int64_t j,
                                  const int32_t rows, const int32_t columns)
{
    vf r[WEFTI_LANES];
    const char *source = args->source + i * 4 + j * args->source_column;
    char *target = args->target + i * args->target_row + j * 4;
    for (int32_t k = 0; k < WEFTI_LANES; k++) {
        const float *from =
            (const float *)(const void *)(source + k * args->source_column);
        r[k] = vf_zero();
        if (rows == WEFTI_LANES && columns == WEFTI_LANES) {
            r[k] = vf_load(from);
        } else if (k < columns) {
            r[k] = vf_load_partial(from, rows);
        }
    }
    vf_transpose(r);
    for (int32_t k = 0; k < WEFTI_LANES; k++) {
        float *to = (float *)(void *)(target + k * args->target_row);
        if (rows == WEFTI_LANES && columns == WEFTI_LANES) {
            vf_store(to, r[k]);
        } else if (k < rows) {
            vf_store_partial(to, r[k], columns);
        }
    }
}

static void transpose_4(const copy_args *args)
{
    for (int64_t i = 0; i < args->rows; i += WEFTI_LANES) {
        int64_t rows = args->rows - i < WEFTI_LANES ? args->rows - i : WEFTI_LANES;
        for (int64_t j = 0; j < args->columns; j += WEFTI_LANES) {
            int64_t columns = args->columns - j;
            if (rows == WEFTI_LANES && columns >= WEFTI_LANES) {
                transpose_block(args, i, j, WEFTI_LANES, WEFTI_LANES);
            } else {
                columns = columns < WEFTI_LANES ? columns : WEFTI_LANES;
                transpose_block(args, i, j, (int32_t)rows, (int32_t)columns);
            }
        }
    }
}

#define STRIDED(T)                                                                     \
    do {                                                                               \
        for (int64_t i = 0; i < args->rows; i++) {                                     \
            const char *source = args->source + i * args->source_row;                  \
            char *target = args->target + i * args->target_row;                        \
            for (int64_t j = 0; j < args->columns; j++) {                              \
                memcpy(target, source, sizeof(T));                                     \
                source += args->source_column;                                         \
                target += args->target_column;                                         \
            }                                                                          \
        }                                                                              \
    } while (0)

static void strided_same(const copy_args *args)
{
    switch (args->source_bytes) {
    case 1:
        STRIDED(uint8_t);
        break;
    case 2:
        STRIDED(uint16_t);
        break;
    case 4:
        STRIDED(uint32_t);
        break;
    default:
        STRIDED(uint64_t);
        break;
    }
}

/* Through dense pieces on the stack, because casts want them. */
static void strided_cast(const copy_args *args)
{
    enum { PIECE = 256 };
    uint64_t from[PIECE], to[PIECE];
    for (int64_t i = 0; i < args->rows; i++) {
        for (int64_t j = 0; j < args->columns; j += PIECE) {
            int64_t count = args->columns - j < PIECE ? args->columns - j : PIECE;
            copy_args in = {.source = args->source + i * args->source_row +
                                      j * args->source_column,
                            .target = (char *)from,
                            .rows = 1,
                            .columns = count,
                            .source_column = args->source_column,
                            .target_column = args->source_bytes,
                            .source_bytes = args->source_bytes};
            copy_args out = {.source = (const char *)to,
                             .target = args->target + i * args->target_row +
                                       j * args->target_column,
                             .rows = 1,
                             .columns = count,
                             .source_column = args->target_bytes,
                             .target_column = args->target_column,
                             .source_bytes = args->target_bytes};
            strided_same(&in);
            args->cast(from, to, count);
            strided_same(&out);
        }
    }
}

void WEFTI_ISA_NAME(wefti_copy_strided)(const copy_args *args)
{
    if (args->cast != NULL) {
        strided_cast(args);
    } else {
        strided_same(args);
    }
}

void WEFTI_ISA_NAME(wefti_copy_transpose)(const copy_args *args)
{
    if (args->cast == NULL && args->source_bytes == 4) {
        transpose_4(args);
    } else {
        WEFTI_ISA_NAME(wefti_copy_strided)(args);
    }
}

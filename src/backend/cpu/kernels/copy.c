/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/kernels/copy_core.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/tiles.h"
#include "base/memory.h"

/* COPY, and FILL as a copy of one repeated element. The dims are put in the order of
 * the target's memory and joined; the two innermost are the core, cut into units of
 * `unit_rows` by `unit_columns`; tiles are ranges of units. */
typedef struct dim {
    int64_t size, source, target; /* strides in bytes */
} dim;

typedef struct plan {
    int32_t rank; /* at least 2 */
    dim dims[WEFT_MAX_RANK];
    copy_function core;
    copy_args args; /* but for addresses and sizes */
    int64_t unit_rows, unit_columns;
    int64_t row_units, column_units, unit_count, tiles;
    uint64_t value; /* FILL's */
} plan;

/* About this many elements in a unit. */
enum { UNIT = 8192, TRANSPOSE_EDGE = 64 };

static void run_unit(const plan *p, const char *source, char *target, int64_t unit)
{
    copy_args args = p->args;
    const dim *row = &p->dims[p->rank - 2], *column = &p->dims[p->rank - 1];
    int64_t j = unit % p->column_units * p->unit_columns;
    unit /= p->column_units;
    int64_t i = unit % p->row_units * p->unit_rows;
    unit /= p->row_units;
    args.source = source + i * row->source + j * column->source;
    args.target = target + i * row->target + j * column->target;
    for (int32_t d = p->rank - 3; d >= 0; d--) {
        int64_t at = unit % p->dims[d].size;
        unit /= p->dims[d].size;
        args.source += at * p->dims[d].source;
        args.target += at * p->dims[d].target;
    }
    args.rows = row->size - i < p->unit_rows ? row->size - i : p->unit_rows;
    args.columns =
        column->size - j < p->unit_columns ? column->size - j : p->unit_columns;
    p->core(&args);
}

static weft_status run_copy(const wefti_cpu_call *call, void *scratch, int64_t begin,
                            int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const plan *p = call->derived;
    const int64_t last = tile_start(p->unit_count, p->tiles, end);
    for (int64_t u = tile_start(p->unit_count, p->tiles, begin); u < last; u++) {
        run_unit(p, call->operands[WEFTI_COPY_SOURCE],
                 call->operands[WEFTI_COPY_TARGET], u);
    }
    return WEFT_OK;
}

static weft_status run_fill(const wefti_cpu_call *call, void *scratch, int64_t begin,
                            int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const plan *p = call->derived;
    const int64_t last = tile_start(p->unit_count, p->tiles, end);
    for (int64_t u = tile_start(p->unit_count, p->tiles, begin); u < last; u++) {
        run_unit(p, (const char *)&p->value, call->operands[WEFTI_FILL_TARGET], u);
    }
    return WEFT_OK;
}

/* Outermost in the target first. */
static int by_target(const void *a, const void *b)
{
    int64_t x = llabs(((const dim *)a)->target), y = llabs(((const dim *)b)->target);
    return x < y ? 1 : (x > y ? -1 : 0);
}

static void set_dims(plan *p, int32_t rank, const int64_t *sizes,
                     const int64_t *source_strides, const int64_t *target_strides)
{
    dim dims[WEFT_MAX_RANK];
    int32_t count = 0;
    for (int32_t i = 0; i < rank; i++) {
        if (sizes[i] != 1) {
            int64_t source = source_strides != NULL ? source_strides[i] : 0;
            dims[count++] = (dim){sizes[i], source * p->args.source_bytes,
                                  target_strides[i] * p->args.target_bytes};
        }
    }
    qsort(dims, (size_t)count, sizeof(dims[0]), by_target);
    int32_t joined = 0;
    for (int32_t i = 0; i < count; i++) {
        dim *outer = &dims[joined > 0 ? joined - 1 : 0];
        if (joined > 0 && outer->source == dims[i].source * dims[i].size &&
            outer->target == dims[i].target * dims[i].size) {
            *outer = (dim){outer->size * dims[i].size, dims[i].source, dims[i].target};
        } else {
            dims[joined++] = dims[i];
        }
    }
    p->rank = joined < 2 ? 2 : joined;
    for (int32_t i = 0; i < p->rank; i++) {
        int32_t from = i - (p->rank - joined);
        p->dims[i] = from < 0 ? (dim){1, 0, p->args.target_bytes} : dims[from];
    }
}

/* Moves dim `from` next to the last. */
static void make_row(plan *p, int32_t from)
{
    dim moved = p->dims[from];
    for (int32_t i = from; i < p->rank - 2; i++) {
        p->dims[i] = p->dims[i + 1];
    }
    p->dims[p->rank - 2] = moved;
}

static const char *choose_core(plan *p)
{
    dim *column = &p->dims[p->rank - 1];
    const bool dense = column->target == p->args.target_bytes;
    p->core = WEFTI_ISA_NAME(wefti_copy_strided);
    if (dense && (column->source == p->args.source_bytes || column->size == 1)) {
        p->core = WEFTI_ISA_NAME(wefti_copy_rows);
        return "rows";
    }
    if (dense && column->source == 0) {
        p->core = WEFTI_ISA_NAME(wefti_copy_repeat);
        return "repeat";
    }
    for (int32_t i = 0; i < p->rank - 1 && dense; i++) {
        if (p->dims[i].source == p->args.source_bytes && p->dims[i].size >= 4) {
            make_row(p, i);
            p->core = WEFTI_ISA_NAME(wefti_copy_transpose);
            return "transpose";
        }
    }
    return "strided";
}

static void set_units(plan *p)
{
    const dim *row = &p->dims[p->rank - 2], *column = &p->dims[p->rank - 1];
    if (p->core == WEFTI_ISA_NAME(wefti_copy_transpose)) {
        p->unit_rows = p->unit_columns = TRANSPOSE_EDGE;
    } else {
        p->unit_columns = column->size < 2 * UNIT ? column->size : UNIT;
        p->unit_columns = p->unit_columns < 1 ? 1 : p->unit_columns;
        p->unit_rows = UNIT / p->unit_columns;
        p->unit_rows = p->unit_rows < 1 ? 1 : p->unit_rows;
    }
    p->row_units = (row->size + p->unit_rows - 1) / p->unit_rows;
    p->column_units = (column->size + p->unit_columns - 1) / p->unit_columns;
    p->unit_count = p->row_units * p->column_units;
    for (int32_t i = 0; i < p->rank - 2; i++) {
        p->unit_count *= p->dims[i].size;
    }
    p->args.source_row = row->source;
    p->args.source_column = column->source;
    p->args.target_row = row->target;
    p->args.target_column = column->target;
}

static double work_ns(const plan *p, int64_t count)
{
    const double bytes = p->args.source_bytes + p->args.target_bytes;
    /* Beyond the caches memory costs more. */
    double each = (bytes * (double)count > 4e6 ? 0.025 : 0.006) * bytes;
    if (p->args.cast != NULL) {
        each += 0.4;
    } else if (p->core == WEFTI_ISA_NAME(wefti_copy_strided)) {
        each += 0.4;
    } else if (p->core == WEFTI_ISA_NAME(wefti_copy_transpose)) {
        each += p->args.source_bytes == 4 ? 0.05 : 0.6;
    }
    return 20.0 + 8.0 * (double)p->unit_count + each * (double)count;
}

static weft_status finish(plan *p, int64_t count, const char *core,
                          wefti_cpu_function function, wefti_cpu_prepared *prepared)
{
    double ns = work_ns(p, count);
    p->tiles = tiles_for(p->unit_count, ns);
    prepared->function = function;
    prepared->tile_count = p->tiles;
    prepared->work_ns = ns;
    prepared->derived = p;
    snprintf(prepared->description, sizeof(prepared->description), "%s%s", core,
             p->args.cast != NULL ? ", cast" : "");
    return WEFT_OK;
}

weft_status WEFTI_ISA_NAME(wefti_prepare_copy)(const wefti_step *step, bool may_pack,
                                               wefti_cpu_prepared *prepared,
                                               weft_error *error)
{
    (void)may_pack;
    const wefti_copy_params *params = step->params;
    int64_t count = 0;
    WEFTI_TRY(wefti_check_copy(params, &count, error));
    plan *p = wefti_calloc(1, sizeof(*p));
    if (p == NULL) {
        return wefti_error_memory(error, "a copy plan");
    }
    p->args.source_bytes = (int32_t)weft_type_size(params->source_type);
    p->args.target_bytes = (int32_t)weft_type_size(params->target_type);
    p->args.cast =
        WEFTI_ISA_NAME(wefti_cast_vector)(params->source_type, params->target_type);
    set_dims(p, params->rank, params->dims, params->source_strides,
             params->target_strides);
    const char *core = choose_core(p);
    set_units(p);
    return finish(p, count, core, run_copy, prepared);
}

weft_status WEFTI_ISA_NAME(wefti_prepare_fill)(const wefti_step *step, bool may_pack,
                                               wefti_cpu_prepared *prepared,
                                               weft_error *error)
{
    (void)may_pack;
    const wefti_fill_params *params = step->params;
    int64_t count = 0;
    WEFTI_TRY(wefti_check_fill(params, &count, error));
    plan *p = wefti_calloc(1, sizeof(*p));
    if (p == NULL) {
        return wefti_error_memory(error, "a fill plan");
    }
    p->args.source_bytes = p->args.target_bytes = (int32_t)weft_type_size(params->type);
    p->value = params->value_bits;
    set_dims(p, params->rank, params->dims, NULL, params->strides);
    const char *core = choose_core(p);
    set_units(p);
    return finish(p, count, core, run_fill, prepared);
}

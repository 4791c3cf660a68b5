/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* CUMULATE and TOP_K: what goes along the lines of a tensor [outer][count][inner]. */

#define CUMULATE(name, ctype, add, mul)                                                \
    static void cumulate_##name(const wefti_cumulate_params *p, const void *input,     \
                                void *output, int64_t start)                           \
    {                                                                                  \
        const ctype *x = (const ctype *)input + start;                                 \
        ctype *y = (ctype *)output + start;                                            \
        ctype a = p->product;                                                          \
        for (int64_t i = 0; i < p->count; i++) {                                       \
            int64_t at = (p->reverse ? p->count - 1 - i : i) * p->inner_count;         \
            ctype b = x[at], before = a;                                               \
            a = (ctype)(p->product ? (mul) : (add));                                   \
            y[at] = p->exclusive ? before : a;                                         \
        }                                                                              \
    }

CUMULATE(f32, float, a + b, a *b)
CUMULATE(f64, double, a + b, a *b)
CUMULATE(i32, int32_t, (uint32_t)a + (uint32_t)b, (uint32_t)a *(uint32_t)b)
CUMULATE(i64, int64_t, (uint64_t)a + (uint64_t)b, (uint64_t)a *(uint64_t)b)

typedef void (*cumulate_function)(const wefti_cumulate_params *params,
                                  const void *input, void *output, int64_t start);

static cumulate_function find_cumulate(weft_type type)
{
    switch (type) {
    case WEFT_TYPE_F32:
        return cumulate_f32;
    case WEFT_TYPE_F64:
        return cumulate_f64;
    case WEFT_TYPE_I32:
        return cumulate_i32;
    case WEFT_TYPE_I64:
        return cumulate_i64;
    default:
        return NULL;
    }
}

static weft_status cumulate(const wefti_cpu_call *call, void *scratch, int64_t begin,
                            int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_cumulate_params *p = call->params;
    cumulate_function function = find_cumulate(p->type);
    int64_t lines = p->outer_count * p->inner_count;
    int64_t last = ref_tile_start(lines, end);
    for (int64_t i = ref_tile_start(lines, begin); i < last; i++) {
        int64_t start =
            i / p->inner_count * p->count * p->inner_count + i % p->inner_count;
        function(p, call->operands[WEFTI_CUMULATE_INPUT],
                 call->operands[WEFTI_CUMULATE_OUTPUT], start);
    }
    return WEFT_OK;
}

weft_status wefti_prepare_cumulate_reference(const wefti_step *step, bool may_pack,
                                             wefti_cpu_prepared *prepared,
                                             weft_error *error)
{
    (void)may_pack;
    const wefti_cumulate_params *p = step->params;
    if (find_cumulate(p->type) == NULL) {
        return wefti_error(error, WEFT_UNSUPPORTED, "cumulate: %s is not supported",
                           weft_type_name(p->type));
    }
    return ref_prepared(prepared, cumulate, p->outer_count * p->inner_count,
                        5.0 + (double)p->count * 1.5);
}

/* What a line is sorted by. Ordered so that larger keys come first where the largest
 * are wanted; equal keys by index. */
typedef struct top_line {
    const void *input;
    int64_t start, step;
    weft_type type;
    bool largest;
} top_line;

#define IS_BEFORE(name, ctype)                                                         \
    static bool before_##name(const top_line *line, int64_t i, int64_t j)              \
    {                                                                                  \
        const ctype *x = (const ctype *)line->input + line->start;                     \
        ctype a = x[i * line->step], b = x[j * line->step];                            \
        bool a_nan = a != a, b_nan = b != b;                                           \
        if (a_nan || b_nan) {                                                          \
            return a_nan == b_nan ? i < j : a_nan == line->largest;                    \
        }                                                                              \
        return a == b ? i < j : (a > b) == line->largest;                              \
    }

IS_BEFORE(f32, float)
IS_BEFORE(f64, double)
IS_BEFORE(i32, int32_t)
IS_BEFORE(i64, int64_t)
IS_BEFORE(i8, int8_t)
IS_BEFORE(u8, uint8_t)

typedef bool (*before_function)(const top_line *line, int64_t i, int64_t j);

static before_function find_before(weft_type type)
{
    switch (type) {
    case WEFT_TYPE_F32:
        return before_f32;
    case WEFT_TYPE_F64:
        return before_f64;
    case WEFT_TYPE_I32:
        return before_i32;
    case WEFT_TYPE_I64:
        return before_i64;
    case WEFT_TYPE_I8:
        return before_i8;
    case WEFT_TYPE_U8:
        return before_u8;
    default:
        return NULL;
    }
}

/* Lets the index at `at` of a heap sink: each parent comes after its children. */
static void sink(const top_line *line, before_function before, int64_t *heap,
                 int64_t size, int64_t at)
{
    int64_t moving = heap[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= size) {
            break;
        }
        if (child + 1 < size && before(line, heap[child], heap[child + 1])) {
            child++;
        }
        if (before(line, heap[child], moving)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

/* The first k of the line in its order, through a heap of k whose top is the last. */
static void choose(const top_line *line, before_function before, int64_t *heap,
                   int64_t count, int64_t k)
{
    for (int64_t i = 0; i < k; i++) {
        heap[i] = i;
    }
    for (int64_t i = k / 2; i-- > 0;) {
        sink(line, before, heap, k, i);
    }
    for (int64_t i = k; i < count; i++) {
        if (before(line, i, heap[0])) {
            heap[0] = i;
            sink(line, before, heap, k, 0);
        }
    }
    for (int64_t size = k; size > 1; size--) {
        int64_t last = heap[0];
        heap[0] = heap[size - 1];
        sink(line, before, heap, size - 1, 0);
        heap[size - 1] = last;
    }
}

static weft_status top_k(const wefti_cpu_call *call, void *scratch, int64_t begin,
                         int64_t end, weft_error *error)
{
    (void)error;
    const wefti_top_k_params *p = call->params;
    before_function before = find_before(p->type);
    size_t size = weft_type_size(p->type);
    char *values = call->operands[WEFTI_TOP_K_VALUES];
    int64_t *indices = call->operands[WEFTI_TOP_K_INDICES], *chosen = scratch;
    top_line line = {.input = call->operands[WEFTI_TOP_K_INPUT],
                     .step = p->inner_count,
                     .type = p->type,
                     .largest = p->largest};
    int64_t lines = p->outer_count * p->inner_count;
    int64_t last = ref_tile_start(lines, end);
    for (int64_t l = ref_tile_start(lines, begin); l < last; l++) {
        int64_t outer = l / p->inner_count, inner = l % p->inner_count;
        line.start = outer * p->count * p->inner_count + inner;
        choose(&line, before, chosen, p->count, p->k);
        for (int64_t i = 0; i < p->k; i++) {
            int64_t to = (outer * p->k + i) * p->inner_count + inner;
            int64_t from = line.start + chosen[i] * p->inner_count;
            if (values != NULL) {
                memcpy(values + to * (int64_t)size,
                       (const char *)line.input + from * (int64_t)size, size);
            }
            if (indices != NULL) {
                indices[to] = chosen[i];
            }
        }
    }
    return WEFT_OK;
}

weft_status wefti_prepare_top_k_reference(const wefti_step *step, bool may_pack,
                                          wefti_cpu_prepared *prepared,
                                          weft_error *error)
{
    (void)may_pack;
    const wefti_top_k_params *p = step->params;
    if (find_before(p->type) == NULL || p->k < 1 || p->k > p->count) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "top_k: %lld of %lld %s is not supported", (long long)p->k,
                           (long long)p->count, weft_type_name(p->type));
    }
    prepared->scratch_bytes = (size_t)p->k * sizeof(int64_t);
    return ref_prepared(prepared, top_k, p->outer_count * p->inner_count,
                        20.0 + (double)p->count * 8.0);
}

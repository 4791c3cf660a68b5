/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/planner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "support/crew.h"

enum { BUFFERS = 4 };

/* Buffer i lives from step i to step i + `steps`. */
static weft_status plan(const size_t *sizes, int32_t steps, size_t *bytes,
                        int64_t *offsets, weft_error *error)
{
    wefti_program program;
    wefti_program_init(&program);
    for (int32_t i = 0; i < BUFFERS; i++) {
        wefti_buffer buffer = {.kind = WEFTI_BUFFER_WORKSPACE, .size_bytes = sizes[i]};
        int32_t index;
        assert_int_equal(wefti_program_add_buffer(&program, &buffer, &index, NULL),
                         WEFT_OK);
    }
    for (int32_t i = 0; i < BUFFERS + steps; i++) {
        char nothing = 0;
        wefti_program_step step = {.params = &nothing, .params_bytes = 1};
        for (int32_t j = 0; j < WEFTI_MAX_OPERANDS; j++) {
            bool used = j < BUFFERS && i >= j && i <= j + steps;
            step.operands[j] = wefti_view_absent();
            step.operands[j].buffer = used ? j : -1;
        }
        assert_int_equal(wefti_program_add_step(&program, &step, NULL), WEFT_OK);
    }
    weft_status status = wefti_plan_memory(&program, bytes, error);
    for (int32_t i = 0; i < BUFFERS; i++) {
        offsets[i] = program.buffers[i].offset_bytes;
    }
    wefti_program_fini(&program);
    return status;
}

static void places_do_not_overlap(void **state)
{
    (void)state;
    static const size_t sizes[BUFFERS] = {100, 1000, 64, 1};
    for (int32_t steps = 0; steps < 4; steps++) {
        int64_t offsets[BUFFERS];
        size_t bytes = 0;
        assert_int_equal(plan(sizes, steps, &bytes, offsets, NULL), WEFT_OK);
        assert_int_equal(steps == 0, bytes == 1000);
        for (int32_t i = 0; i < BUFFERS; i++) {
            assert_int_equal(offsets[i] % 64, 0);
            assert_true((size_t)offsets[i] + sizes[i] <= bytes);
            for (int32_t j = 0; j < i; j++) {
                bool together = i - j <= steps;
                bool apart = (size_t)offsets[i] >= (size_t)offsets[j] + sizes[j] ||
                             (size_t)offsets[j] >= (size_t)offsets[i] + sizes[i];
                assert_true(apart || !together);
            }
        }
    }
}

static void sums_that_overflow_are_refused(void **state)
{
    (void)state;
    const size_t half = (size_t)INT64_MAX / 2 + 1;
    const size_t cases[][BUFFERS] = {
        {half, half, half, half},           {half, 64, half - 64, 1},
        {(size_t)INT64_MAX - 63, 64, 1, 1}, {(size_t)INT64_MAX, 0, 0, 0},
        {(size_t)INT64_MAX + 1, 1, 1, 1},   {SIZE_MAX, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t offsets[BUFFERS];
        size_t bytes = 0;
        weft_error error = {.message = ""};
        assert_int_equal(plan(cases[i], 3, &bytes, offsets, &error),
                         WEFT_OUT_OF_MEMORY);
        assert_non_null(strstr(error.message, "larger than memory can be"));
    }
    /* One after the other they share their place. */
    int64_t offsets[BUFFERS];
    size_t bytes = 0;
    assert_int_equal(plan(cases[0], 0, &bytes, offsets, NULL), WEFT_OK);
    assert_int_equal(bytes, half);
}

/* What a program's buffers take when none has another's place. */
static size_t sum_of_sizes(const wefti_program *program)
{
    size_t sum = 0;
    for (size_t i = 0; i < program->buffer_count; i++) {
        sum += program->buffers[i].size_bytes;
    }
    return sum;
}

static bool live_together(const wefti_buffer *a, const wefti_buffer *b)
{
    return a->first_step <= b->last_step && b->first_step <= a->last_step;
}

static bool is_before(const wefti_buffer *a, const wefti_buffer *b)
{
    return a->size_bytes != b->size_bytes ? a->size_bytes > b->size_bytes
                                          : a->first_step < b->first_step;
}

/* Where the rule "larger ones first, each at the lowest place" puts a buffer beside
 * those before it, found by trying the end of every other one. */
static int64_t lowest_place(const wefti_program *program, const wefti_buffer *buffer)
{
    const wefti_buffer *all = program->buffers;
    int64_t best = INT64_MAX;
    for (size_t i = 0; i <= program->buffer_count; i++) {
        bool end = i == program->buffer_count;
        if (!end && !(is_before(&all[i], buffer) && live_together(&all[i], buffer))) {
            continue;
        }
        int64_t at = end ? 0 : all[i].offset_bytes + (int64_t)all[i].size_bytes;
        at = (at + 63) / 64 * 64;
        bool is_free = at < best;
        for (size_t k = 0; is_free && k < program->buffer_count; k++) {
            is_free = !(is_before(&all[k], buffer) && live_together(&all[k], buffer)) ||
                      at >= all[k].offset_bytes + (int64_t)all[k].size_bytes ||
                      all[k].offset_bytes >= at + (int64_t)buffer->size_bytes;
        }
        best = is_free ? at : best;
    }
    return best;
}

/* `count` buffers of which each lives for up to `length` steps. */
static void make_program(wefti_program *program, int32_t count, uint32_t length,
                         bool same_size)
{
    uint32_t dice = 7;
    wefti_program_init(program);
    for (int32_t i = 0; i < count; i++) {
        dice = dice * 1664525 + 1013904223;
        wefti_buffer buffer = {.kind = WEFTI_BUFFER_WORKSPACE,
                               .size_bytes = same_size ? 64 : 1 + (dice >> 8) % 100000};
        int32_t index;
        assert_int_equal(wefti_program_add_buffer(program, &buffer, &index, NULL),
                         WEFT_OK);
    }
    wefti_program_step step = {.params = &(char){0}, .params_bytes = 1};
    for (int32_t i = 0; i < count + (int32_t)length; i += WEFTI_MAX_OPERANDS / 2) {
        for (int32_t j = 0; j < WEFTI_MAX_OPERANDS / 2; j++) {
            dice = dice * 1664525 + 1013904223;
            int32_t old = i + j - (int32_t)((dice >> 8) % length);
            step.operands[2 * j] = step.operands[2 * j + 1] = wefti_view_absent();
            step.operands[2 * j].buffer = i + j < count ? i + j : -1;
            step.operands[2 * j + 1].buffer = old >= 0 && old < count ? old : -1;
        }
        assert_int_equal(wefti_program_add_step(program, &step, NULL), WEFT_OK);
    }
}

static void larger_ones_have_the_lowest_place(void **state)
{
    (void)state;
    for (uint32_t length = 1; length <= 256; length *= 4) {
        wefti_program program;
        size_t bytes = 0;
        make_program(&program, 200, length, false);
        assert_int_equal(wefti_plan_memory(&program, &bytes, NULL), WEFT_OK);
        for (size_t i = 0; i < program.buffer_count; i++) {
            const wefti_buffer *buffer = &program.buffers[i];
            assert_int_equal(buffer->offset_bytes, lowest_place(&program, buffer));
            assert_true((size_t)buffer->offset_bytes + buffer->size_bytes <= bytes);
        }
        wefti_program_fini(&program);
    }
}

static int by_offset(const void *a, const void *b)
{
    const wefti_buffer *x = a, *y = b;
    return (x->offset_bytes > y->offset_bytes) - (x->offset_bytes < y->offset_bytes);
}

/* Files may hold very many nodes: the time must not grow with their square. */
static void very_many_buffers(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    for (int all_at_once = 0; all_at_once < 2; all_at_once++) {
        wefti_program program;
        size_t bytes = 0;
        make_program(&program, MANY, all_at_once ? 2 * MANY : 1, !all_at_once);
        clock_t before = clock();
        assert_int_equal(wefti_plan_memory(&program, &bytes, NULL), WEFT_OK);
        double seconds = (double)(clock() - before) / CLOCKS_PER_SEC;
        assert_true(seconds < 5 * crew_divisor()); /* sanitizers are slow */
        size_t sum = sum_of_sizes(&program);
        assert_true(bytes <= (all_at_once ? sum + sum / 4 : sum / 1000));
        qsort(program.buffers, MANY, sizeof(wefti_buffer), by_offset);
        for (size_t i = 1; i < MANY; i++) {
            const wefti_buffer *a = &program.buffers[i - 1], *b = a + 1;
            assert_true(!live_together(a, b) ||
                        b->offset_bytes >= a->offset_bytes + (int64_t)a->size_bytes);
        }
        wefti_program_fini(&program);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_do_not_overlap),
        cmocka_unit_test(sums_that_overflow_are_refused),
        cmocka_unit_test(larger_ones_have_the_lowest_place),
        cmocka_unit_test(very_many_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/planner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_do_not_overlap),
        cmocka_unit_test(sums_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

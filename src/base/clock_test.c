/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <weft/device.h>

#include "base/testing.h"

static void never_goes_back(void **state)
{
    (void)state;
    int64_t last = wefti_clock_ns();
    assert_true(last > 0);
    for (int i = 0; i < 10000; i++) {
        int64_t now = wefti_clock_ns();
        assert_true(now >= last);
        last = now;
    }
}

static int64_t at_thousand(void)
{
    return 1000;
}

static void deadlines_saturate(void **state)
{
    (void)state;
    wefti_clock_hook = at_thousand;
    assert_int_equal(wefti_clock_ns(), 1000);
    assert_int_equal(wefti_deadline(0), 1000);
    assert_int_equal(wefti_deadline(234), 1234);
    assert_int_equal(wefti_deadline(-1), WEFTI_NEVER);
    assert_int_equal(wefti_deadline(INT64_MIN), WEFTI_NEVER);
    assert_int_equal(wefti_deadline(INT64_MAX), WEFTI_NEVER);
    assert_int_equal(wefti_deadline(INT64_MAX - 1000), WEFTI_NEVER);
    assert_int_equal(wefti_deadline(INT64_MAX - 1001), INT64_MAX - 1);
    wefti_clock_hook = NULL;
}

static void build_id_names_version_and_compiler(void **state)
{
    (void)state;
    const char *id = weft_build_id();
    assert_memory_equal(id, "0.1.0 (", 7);
    assert_non_null(strstr(id, ", "));
    assert_int_equal(id[strlen(id) - 1], ')');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_goes_back),
        cmocka_unit_test(deadlines_saturate),
        cmocka_unit_test(build_id_names_version_and_compiler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void every_kernel_has_its_own_name(void **state)
{
    (void)state;
    for (int i = 0; i < WEFTI_KERNEL_COUNT; i++) {
        const char *name = wefti_kernel_name((wefti_kernel)i);
        assert_non_null(name);
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(name, wefti_kernel_name((wefti_kernel)k));
        }
    }
    assert_string_equal(wefti_kernel_name(WEFTI_KERNEL_COUNT), "unknown");
}

static void every_operation_has_a_name_and_arity(void **state)
{
    (void)state;
    for (int i = 0; i < WEFTI_OP_COUNT; i++) {
        wefti_operation operation = (wefti_operation)i;
        assert_non_null(wefti_operation_name(operation));
        int32_t wanted = operation >= WEFTI_OP_WHERE ? 3
                         : operation >= WEFTI_OP_ADD ? 2
                                                     : 1;
        assert_int_equal(wefti_operation_arity(operation), wanted);
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(wefti_operation_name(operation),
                                    wefti_operation_name((wefti_operation)k));
        }
    }
    assert_string_equal(wefti_operation_name(WEFTI_OP_COUNT), "unknown");
    assert_int_equal(wefti_operation_arity(WEFTI_OP_COUNT), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_has_its_own_name),
        cmocka_unit_test(every_operation_has_a_name_and_arity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fork.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/testing.h"

/* What a child sees: bit 0 fork_happened, bit 1 the status, bit 2 its words; bit 3
 * the same in a grandchild. */
static int look_in_child(bool deeper)
{
    weft_error error = {.message = ""};
    int result = wefti_fork_happened() ? 1 : 0;
    result |= wefti_fork_check(&error) == WEFT_FORKED ? 2 : 0;
    result |= strstr(error.message, "forked") ? 4 : 0;
    if (deeper) {
        pid_t child = fork();
        if (child == 0) {
            _exit(look_in_child(false));
        }
        int status = 0;
        waitpid(child, &status, 0);
        result |= WEXITSTATUS(status) == 7 ? 8 : 0;
    }
    return result;
}

static int child_result(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(look_in_child(true));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* One test, as the watch cannot be taken back. */
static void children_know_that_they_were_forked(void **state)
{
    (void)state;
    assert_int_equal(child_result(), 0); /* nobody watched: fork is free to use */

    weft_error error = {.message = ""};
    wefti_fault_arm(1, 1u << WEFTI_FAULT_LOCK);
    assert_int_equal(wefti_fork_watch(&error), WEFT_OUT_OF_MEMORY);
    assert_non_null(strstr(error.message, "fork()"));
    wefti_fault_arm(0, 0);
    assert_int_equal(child_result(), 0);

    assert_int_equal(wefti_fork_watch(&error), WEFT_OK);
    assert_int_equal(wefti_fork_watch(&error), WEFT_OK);
    assert_int_equal(child_result(), 15);
    assert_false(wefti_fork_happened()); /* the parent goes on */
    assert_int_equal(wefti_fork_check(&error), WEFT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_know_that_they_were_forked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

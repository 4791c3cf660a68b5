/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef struct heard {
    char line[1024];
    weft_log_level level;
    int count;
} heard;

static void hear(void *user, weft_log_level level, const char *line)
{
    heard *what = user;
    assert_true(strlen(line) < sizeof what->line);
    memcpy(what->line, line, strlen(line) + 1);
    what->level = level;
    what->count++;
}

static void lines_reach_the_callback(void **state)
{
    (void)state;
    heard what = {.count = 0};
    wefti_log log = {.callback = hear, .user = &what, .level = WEFT_LOG_INFO};
    wefti_log_write(&log, WEFT_LOG_WARNING, "worker %d is %s", 3, "late");
    assert_string_equal(what.line, "worker 3 is late");
    assert_int_equal(what.level, WEFT_LOG_WARNING);
    wefti_log_write(&log, WEFT_LOG_INFO, "same level");
    assert_int_equal(what.count, 2);
}

static void finer_levels_and_no_callback_are_silent(void **state)
{
    (void)state;
    heard what = {.count = 0};
    wefti_log log = {.callback = hear, .user = &what, .level = WEFT_LOG_ERROR};
    wefti_log_write(&log, WEFT_LOG_WARNING, "unheard");
    log.callback = NULL;
    wefti_log_write(&log, WEFT_LOG_ERROR, "unheard");
    assert_int_equal(what.count, 0);
}

static void long_lines_are_cut(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    heard what = {.count = 0};
    wefti_log log = {.callback = hear, .user = &what, .level = WEFT_LOG_DEBUG};
    wefti_log_write(&log, WEFT_LOG_DEBUG, "%s", text);
    assert_in_range(strlen(what.line), 100, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_reach_the_callback),
        cmocka_unit_test(finer_levels_and_no_callback_are_silent),
        cmocka_unit_test(long_lines_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

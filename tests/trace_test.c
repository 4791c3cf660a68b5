/* SPDX-License-Identifier: Apache-2.0 */
/* The trace file is JSON in UTF-8, whatever the names are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/profile.h"
#include "cli/support.h"
#include "cli/trace.h"

/* A name, and how it is to be read again; NULL: as it was. */
typedef struct case_of_name {
    const char *name, *read;
} case_of_name;

static const case_of_name cases[] = {
    {"MatMul", NULL},
    {"a \"quoted\" \\ name", NULL},
    {"tab\t line\n escape\x1b delete\x7f", NULL},
    {"größe 重み 𝑤", NULL},
    {"Latin-1 \xe9t\xe9", "Latin-1 \xef\xbf\xbdt\xef\xbf\xbd"},
    {"cut \xe9\x87", "cut \xef\xbf\xbd\xef\xbf\xbd"},
    {"long slash \xc0\xaf", "long slash \xef\xbf\xbd\xef\xbf\xbd"},
    {"", NULL},
    /* 63 bytes have room: the last character does not. */
    {"01234567890123456789012345678901234567890123456789012345678901é",
     "01234567890123456789012345678901234567890123456789012345678901"},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static const char *event_name(json_t *events, const char *detail)
{
    size_t index;
    json_t *event;
    json_array_foreach(events, index, event)
    {
        const char *found = json_string_value(
            json_object_get(json_object_get(event, "args"), "detail"));
        if (found != NULL && strcmp(found, detail) == 0) {
            return json_string_value(json_object_get(event, "name"));
        }
    }
    return NULL;
}

static void test_names(void **state)
{
    (void)state;
    weft_profiler *profiler = NULL;
    assert_int_equal(weft_profiler_create(NULL, &profiler, NULL), WEFT_OK);
    for (int i = 0; i < CASES; i++) {
        char *detail = cli_format("case %d", i);
        const wefti_profile_note note = {
            .kind = WEFT_PROFILE_STEP, .name = cases[i].name, .detail = detail};
        wefti_profile_record_until(profiler, 1000 * i, 1000 * i + 500, &note);
        free(detail);
    }
    char path[] = "/tmp/weft-trace-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_true(cli_trace_write(profiler, path));
    json_error_t error;
    json_t *trace = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    unlink(path);
    if (trace == NULL) {
        fail_msg("line %d: %s", error.line, error.text);
    }
    for (int i = 0; i < CASES; i++) {
        char *detail = cli_format("case %d", i);
        const char *name = event_name(json_object_get(trace, "traceEvents"), detail);
        assert_non_null(name);
        assert_string_equal(name,
                            cases[i].read != NULL ? cases[i].read : cases[i].name);
        free(detail);
    }
    json_decref(trace);
    weft_profiler_release(profiler);
}

/* The first and last characters of each length, and what stands beside them. */
static void test_characters(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t length;
    } ends[] = {
        {"\x01", 1},
        {"\x7f", 1},
        {"\x80", 0},
        {"\xbf", 0},
        {"\xc1\xbf", 0},
        {"\xc2\x80", 2},
        {"\xdf\xbf", 2},
        {"\xdf", 0},
        {"\xdfx", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xe0\xa0\x80", 3},
        {"\xed\x9f\xbf", 3},
        {"\xed\xa0\x80", 0},
        {"\xee\x80\x80", 3},
        {"\xef\xbf\xbf", 3},
        {"\xef\xbf", 0},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xf0\x90\x80\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0},
    };
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        assert_int_equal(cli_character_length(ends[i].text), ends[i].length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

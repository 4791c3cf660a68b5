/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void writes_status_and_words(void **state)
{
    (void)state;
    weft_error error = {0};
    weft_status status = wefti_error(&error, WEFT_NOT_FOUND, "no input \"%s\"", "x");
    assert_int_equal(status, WEFT_NOT_FOUND);
    assert_int_equal(error.status, WEFT_NOT_FOUND);
    assert_string_equal(error.message, "no input \"x\"");
}

static void takes_no_error(void **state)
{
    (void)state;
    assert_int_equal(wefti_error(NULL, WEFT_BUSY, "%d", 1), WEFT_BUSY);
    assert_int_equal(wefti_error_prefix(NULL, WEFT_BUSY, "%d", 1), WEFT_BUSY);
    assert_int_equal(wefti_error_memory(NULL, "a plan"), WEFT_OUT_OF_MEMORY);
}

static void names_what_memory_was_for(void **state)
{
    (void)state;
    weft_error error = {0};
    assert_int_equal(wefti_error_memory(&error, "the node table"), WEFT_OUT_OF_MEMORY);
    assert_non_null(strstr(error.message, "the node table"));
}

static void prefix_keeps_the_old_words(void **state)
{
    (void)state;
    weft_error error = {0};
    (void)wefti_error(&error, WEFT_INVALID_MODEL, "axis 7 is out of range");
    weft_status status =
        wefti_error_prefix(&error, WEFT_UNSUPPORTED, "node %s", "softmax_3");
    assert_int_equal(status, WEFT_UNSUPPORTED);
    assert_int_equal(error.status, WEFT_UNSUPPORTED);
    assert_string_equal(error.message, "node softmax_3: axis 7 is out of range");
}

static void arguments_may_be_the_error_itself(void **state)
{
    (void)state;
    weft_error error = {0};
    (void)wefti_error(&error, WEFT_INTERNAL, "old");
    (void)wefti_error(&error, WEFT_INTERNAL, "new after %s", error.message);
    assert_string_equal(error.message, "new after old");
    (void)wefti_error_prefix(&error, WEFT_INTERNAL, "[%s]", error.message);
    assert_string_equal(error.message, "[new after old]: new after old");
}

static void long_words_are_cut_with_dots(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 0;
    struct {
        weft_error error;
        char canary[8];
    } box = {.canary = "canary"};
    (void)wefti_error(&box.error, WEFT_INTERNAL, "%s", text);
    assert_int_equal(strlen(box.error.message), sizeof box.error.message - 1);
    assert_string_equal(box.error.message + sizeof box.error.message - 5, "a...");

    /* Filled exactly: nothing is missing, so no dots. */
    size_t exact = sizeof box.error.message - 1;
    (void)wefti_error(&box.error, WEFT_INTERNAL, "%.*s", (int)exact, text);
    assert_int_equal(strlen(box.error.message), exact);
    assert_int_equal(box.error.message[exact - 1], 'a');

    (void)wefti_error_prefix(&box.error, WEFT_INTERNAL, "in a node");
    assert_int_equal(strlen(box.error.message), exact);
    assert_string_equal(box.error.message + exact - 4, "a...");
    assert_memory_equal(box.error.message, "in a node: aaa", 14);
    (void)wefti_error_prefix(&box.error, WEFT_INTERNAL, "%s", text);
    assert_int_equal(strlen(box.error.message), exact);
    assert_string_equal(box.canary, "canary");
}

static void texts_are_cut_and_printable(void **state)
{
    (void)state;
    char text[8];
    wefti_error_text(text, sizeof text, "%s %d", "a\n(\xc3", 7);
    assert_string_equal(text, "a?(? 7");
    wefti_error_text(text, sizeof text, "abc\xc3\xa4%s", "xy");
    assert_string_equal(text, "abc\xc3\xa4xy");
    wefti_error_text(text, sizeof text, "abc\xc3\xa4%s", "xyz");
    assert_string_equal(text, "abc?...");
}

static weft_status count_two(int *calls)
{
    WEFTI_TRY((++*calls, WEFT_OK));
    WEFTI_TRY((++*calls, WEFT_TIMEOUT));
    ++*calls;
    return WEFT_OK;
}

static void try_returns_at_the_first_failure(void **state)
{
    (void)state;
    int calls = 0;
    assert_int_equal(count_two(&calls), WEFT_TIMEOUT);
    assert_int_equal(calls, 2);
}

static void every_status_has_name_and_advice(void **state)
{
    (void)state;
    for (int i = 0; i <= WEFT_INTERNAL; i++) {
        assert_memory_equal(weft_status_name((weft_status)i), "WEFT_", 5);
        assert_string_not_equal(weft_status_name((weft_status)i), "WEFT_UNKNOWN");
        size_t length = strlen(weft_status_advice((weft_status)i));
        assert_in_range(length, 20, 120);
        assert_int_equal(weft_status_advice((weft_status)i)[length - 1], '.');
    }
    assert_string_equal(weft_status_name(WEFT_TIMEOUT), "WEFT_TIMEOUT");
    assert_string_equal(weft_status_name((weft_status)99), "WEFT_UNKNOWN");
    assert_string_equal(weft_status_name((weft_status)-1), "WEFT_UNKNOWN");
    assert_non_null(weft_status_advice((weft_status)-1));
}

static void replaces_what_cannot_be_printed(void **state)
{
    (void)state;
    weft_error error = {0};
    (void)wefti_error(&error, WEFT_INVALID_MODEL, "%s", "a\033[2J\nb\x7f\x80\xc3!");
    assert_string_equal(error.message, "a?[2J?b?"
                                       "?"
                                       "?!");
    (void)wefti_error(&error, WEFT_INVALID_MODEL, "%s",
                      "\xc3\xa4 \xe2\x82\xac \xc2\x9b");
    assert_string_equal(error.message, "\xc3\xa4 \xe2\x82\xac ??");
    (void)wefti_error_prefix(&error, WEFT_INVALID_MODEL, "%s", "\x01");
    assert_memory_equal(error.message, "?: \xc3\xa4", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_status_and_words),
        cmocka_unit_test(takes_no_error),
        cmocka_unit_test(names_what_memory_was_for),
        cmocka_unit_test(prefix_keeps_the_old_words),
        cmocka_unit_test(replaces_what_cannot_be_printed),
        cmocka_unit_test(arguments_may_be_the_error_itself),
        cmocka_unit_test(long_words_are_cut_with_dots),
        cmocka_unit_test(texts_are_cut_and_printable),
        cmocka_unit_test(try_returns_at_the_first_failure),
        cmocka_unit_test(every_status_has_name_and_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

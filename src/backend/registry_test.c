/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"

static void finds_by_name(void **state)
{
    (void)state;
    const wefti_backend *backend = NULL;
    int32_t index = 7;
    assert_int_equal(wefti_backend_find("null", &backend, &index, NULL), WEFT_OK);
    assert_ptr_equal(backend, &wefti_backend_null);
    assert_int_equal(index, -1);
    assert_int_equal(wefti_backend_find("null:0", &backend, &index, NULL), WEFT_OK);
    assert_int_equal(index, 0);
    assert_int_equal(wefti_backend_find("null:2147483647", &backend, &index, NULL),
                     WEFT_OK);
    assert_int_equal(index, INT32_MAX);
}

static void refuses_unknown_names(void **state)
{
    (void)state;
    static const char *const names[] = {"",
                                        "nul",
                                        "nullx",
                                        "NULL",
                                        "null:",
                                        "null:-1",
                                        "null:1x",
                                        "null:+1",
                                        "null: 1",
                                        "null:0x1",
                                        "tpu:0",
                                        ":0",
                                        "null:2147483648",
                                        "null:99999999999999999999999999"};
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        const wefti_backend *backend = &wefti_backend_null;
        int32_t index;
        weft_error error = {0};
        assert_int_equal(wefti_backend_find(names[i], &backend, &index, &error),
                         WEFT_NOT_FOUND);
        assert_null(backend);
        assert_non_null(strstr(error.message, "null"));
        for (size_t k = 0; weft_backend_name(k) != NULL; k++) {
            assert_non_null(strstr(error.message, weft_backend_name(k)));
        }
        assert_null(strstr(error.message, "cuda:all"));
    }
    const wefti_backend *backend;
    int32_t index;
    weft_error error = {0};
    assert_int_equal(wefti_backend_find("cuda;1", &backend, &index, &error),
                     WEFT_NOT_FOUND);
    assert_non_null(strstr(error.message, "cuda:0,1 or cuda:all"));
    assert_int_equal(wefti_backend_find(NULL, &backend, &index, NULL),
                     WEFT_INVALID_ARGUMENT);
}

static void reads_lists_of_cards(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "null:0,",    "null:,0", "null:0,,1",          "null:0, 1", "null:all,",
        "null:0,all", "null:al", "null:alls",          "null:0,-1", "null:0,1x",
        "null:0;1",   "null,0",  "null:0,1,2147483648"};
    const wefti_backend *backend;
    wefti_card_list cards;
    int32_t index;
    assert_int_equal(wefti_backend_find_cards("null", &backend, &cards, NULL), WEFT_OK);
    assert_int_equal(cards.count, 1);
    assert_int_equal(cards.indices[0], -1);
    assert_int_equal(wefti_backend_find_cards("null:all", &backend, &cards, NULL),
                     WEFT_OK);
    assert_true(cards.all);
    assert_int_equal(wefti_backend_find_cards("null:3,0,12", &backend, &cards, NULL),
                     WEFT_OK);
    assert_false(cards.all);
    assert_int_equal(cards.count, 3);
    assert_int_equal(cards.indices[0], 3);
    assert_int_equal(cards.indices[1], 0);
    assert_int_equal(cards.indices[2], 12);
    for (size_t i = 0; i < WEFTI_COUNT_OF(wrong); i++) {
        assert_int_equal(wefti_backend_find_cards(wrong[i], &backend, &cards, NULL),
                         WEFT_NOT_FOUND);
        assert_null(backend);
    }
    assert_int_equal(wefti_backend_find_cards("null:1,2,1", &backend, &cards, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(wefti_backend_find("null:1,2", &backend, &index, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_null(backend);
    assert_int_equal(wefti_backend_find_cards("null:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,"
                                              "15",
                                              &backend, &cards, NULL),
                     WEFT_OK);
    assert_int_equal(cards.count, WEFTI_MOST_CARDS);
    assert_int_equal(wefti_backend_find_cards("null:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,"
                                              "15,16",
                                              &backend, &cards, NULL),
                     WEFT_NOT_FOUND);
}

static void an_index_that_is_not_there(void **state)
{
    (void)state;
    static const wefti_log log;
    for (size_t i = 0; weft_backend_name(i) != NULL; i++) {
        const wefti_backend *backend;
        int32_t index;
        weft_error error = {0};
        weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
        wefti_backend_device *device = NULL;
        assert_int_equal(
            wefti_backend_find(weft_backend_name(i), &backend, &index, NULL), WEFT_OK);
        weft_status status = backend->device.open(4096, &params, &log, &device, &error);
        assert_null(device);
        if (status == WEFT_UNAVAILABLE) {
            continue; /* no driver on this machine */
        }
        assert_int_equal(status, WEFT_NOT_FOUND);
        assert_non_null(strstr(error.message, "4096"));
    }
}

static void every_slot_is_required(void **state)
{
    (void)state;
    size_t first = offsetof(wefti_backend, device);
    size_t count = (sizeof(wefti_backend) - first) / sizeof(void (*)(void));
    assert_int_equal(wefti_backend_check(&wefti_backend_null, NULL), WEFT_OK);
    for (size_t i = 0; i < count; i++) {
        wefti_backend broken = wefti_backend_null;
        weft_error error = {0};
        size_t offset = first + i * sizeof(void (*)(void));
        bool has_default = offset == offsetof(wefti_backend, device.count) ||
                           offset == offsetof(wefti_backend, memory.check) ||
                           offset == offsetof(wefti_backend, stream.settle) ||
                           offset == offsetof(wefti_backend, stream.abandon) ||
                           offset == offsetof(wefti_backend, recipe.row_bytes) ||
                           offset == offsetof(wefti_backend, recipe.work_ns);
        memset((char *)&broken + offset, 0, sizeof(void (*)(void)));
        assert_int_equal(wefti_backend_check(&broken, &error),
                         has_default ? WEFT_OK : WEFT_INTERNAL);
        assert_true(has_default || strstr(error.message, "does not fill the slot"));
    }
}

static void names_end(void **state)
{
    (void)state;
    size_t count = 0;
    while (weft_backend_name(count) != NULL) {
        count++;
    }
    assert_true(count >= 1);
    assert_null(weft_backend_name(count + 1));
    assert_null(weft_backend_name(SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_name),
        cmocka_unit_test(refuses_unknown_names),
        cmocka_unit_test(reads_lists_of_cards),
        cmocka_unit_test(an_index_that_is_not_there),
        cmocka_unit_test(every_slot_is_required),
        cmocka_unit_test(names_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

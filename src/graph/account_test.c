/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"
#include "support/crew.h"

static void test_a_cap_is_hard(void **state)
{
    (void)state;
    wefti_account account;
    weft_error error = {0};
    wefti_account_init(&account, 100);
    assert_int_equal(wefti_account_take(&account, 60, "weights", &error), WEFT_OK);
    assert_int_equal(wefti_account_take(&account, 41, "a state", &error),
                     WEFT_OUT_OF_MEMORY);
    assert_string_equal(error.message,
                        "41 bytes for a state do not fit under the model's memory cap, "
                        "100 bytes, of which 60 are taken; run less at once or raise "
                        "memory_cap_bytes");
    assert_int_equal(wefti_account_take(&account, SIZE_MAX, "a state", NULL),
                     WEFT_OUT_OF_MEMORY);
    assert_int_equal(wefti_account_take(&account, 40, "a state", &error), WEFT_OK);
    assert_int_equal(wefti_account_take(&account, 1, "a state", NULL),
                     WEFT_OUT_OF_MEMORY);
    assert_int_equal(wefti_account_take(&account, 0, "nothing", &error), WEFT_OK);
    wefti_account_give(&account, 60);
    assert_int_equal(wefti_account_take(&account, 60, "weights", &error), WEFT_OK);
    assert_int_equal(wefti_account_take(NULL, SIZE_MAX, "no cap", &error), WEFT_OK);
    wefti_account_give(NULL, SIZE_MAX);
}

enum { THREADS = 8, ROUNDS = 20000, CAP = 500 };
typedef struct stage {
    wefti_account account;
    wefti_atomic_u64 used; /* what threads know that they have */
    uint32_t over[THREADS], refused[THREADS];
} stage;

static void take_and_give(void *user, uint32_t index)
{
    stage *s = user;
    uint64_t dice = 7 + index;
    for (uint32_t i = 0; i < ROUNDS / crew_divisor(); i++) {
        const size_t bytes = 1 + crew_random(&dice) % 600;
        if (wefti_account_take(&s->account, bytes, "a block", NULL) != WEFT_OK) {
            s->refused[index]++;
            continue;
        }
        const uint64_t before = wefti_atomic_u64_add_acq_rel(&s->used, bytes);
        s->over[index] += before + bytes > CAP;
        wefti_thread_yield();
        (void)wefti_atomic_u64_sub_acq_rel(&s->used, bytes);
        wefti_account_give(&s->account, bytes);
    }
}

static void test_many_threads_stay_under_it(void **state)
{
    (void)state;
    static stage s;
    uint32_t refused = 0;
    wefti_account_init(&s.account, CAP);
    wefti_atomic_u64_init(&s.used, 0);
    crew_run(THREADS, take_and_give, &s);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(s.over[i], 0);
        refused += s.refused[i];
    }
    assert_true(refused > 0);
    /* All was given back. */
    assert_int_equal(wefti_account_take(&s.account, CAP, "all", NULL), WEFT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cap_is_hard),
        cmocka_unit_test(test_many_threads_stay_under_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/atomic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/thread.h"
#include "support/crew.h"

static void add_many(void *opaque)
{
    wefti_atomic_u64 *sum = opaque;
    for (uint64_t i = 1; i <= 10000; i++) {
        uint64_t seen = wefti_atomic_u64_load_relaxed(sum);
        while (!wefti_atomic_u64_cas_acq_rel(sum, &seen, seen + i)) {
        }
    }
}

static void compare_and_swap_loses_nothing(void **state)
{
    (void)state;
    wefti_atomic_u64 sum;
    wefti_atomic_u64_init(&sum, 0);
    wefti_thread other;
    assert_int_equal(wefti_thread_start(&other, "adder", add_many, &sum, NULL),
                     WEFT_OK);
    add_many(&sum);
    wefti_thread_join(&other);
    assert_int_equal(wefti_atomic_u64_load_acquire(&sum), 2 * 50005000ull);
    uint64_t expected = 1;
    assert_false(wefti_atomic_u64_cas_seq_cst(&sum, &expected, 5));
    assert_int_equal(expected, 2 * 50005000ull);
}

static int points;

static void count_point(void)
{
    points++;
}

static void atomics_are_schedule_points(void **state)
{
    (void)state;
    wefti_atomic_u32 value;
    wefti_schedule_hook = count_point;
    wefti_atomic_u32_init(&value, 3);
    wefti_atomic_u32_add_relaxed(&value, 1);
    wefti_atomic_u32_sub_acq_rel(&value, 2);
    uint32_t old = wefti_atomic_u32_exchange_acq_rel(&value, 9);
    uint32_t now = wefti_atomic_u32_load_seq_cst(&value);
    wefti_schedule_hook = NULL;
    assert_int_equal(points, 4);
    assert_int_equal(old, 2);
    assert_int_equal(now, 9);
}

/* Two threads announce round after round, each its own, and note how far the other was:
 * of two rounds at least one sees the other. Who sleeps and who wakes rely on it. */
enum { ROUNDS = 1000000 };

typedef struct announcer {
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 round; /* its thread -> the other */
    uint32_t saw[ROUNDS + 1];                   /* of the other, in each round */
} announcer;

static void announce(void *user, uint32_t index)
{
    announcer *pair = user;
    announcer *self = &pair[index];
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        wefti_atomic_u32_store_seq_cst(&self->round, i);
        self->saw[i] = wefti_atomic_u32_load_seq_cst(&pair[1 - index].round);
    }
}

static void who_announces_first_is_seen(void **state)
{
    (void)state;
    static announcer pair[2];
    crew_run(2, announce, pair);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        uint32_t unseen = pair[0].saw[i] + 1;
        if (unseen <= ROUNDS) {
            assert_true(pair[1].saw[unseen] >= i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compare_and_swap_loses_nothing),
        cmocka_unit_test(atomics_are_schedule_points),
        cmocka_unit_test(who_announces_first_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

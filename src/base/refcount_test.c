/* SPDX-License-Identifier: Apache-2.0 */
#include "base/refcount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/thread.h"

typedef struct shared {
    wefti_refcount owners;
    wefti_atomic_u32 ends;
    int written; /* by each owner before it lets go; read by the last */
} shared;

static void release(void *opaque)
{
    shared *object = opaque;
    for (int i = 0; i < 1000; i++) {
        wefti_refcount_retain(&object->owners);
        if (wefti_refcount_release(&object->owners)) {
            wefti_atomic_u32_add_relaxed(&object->ends, 100);
        }
    }
    if (wefti_refcount_release(&object->owners)) {
        wefti_atomic_u32_add_relaxed(&object->ends, 1);
        object->written = 1;
    }
}

static void the_last_owner_is_told_once(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    shared object = {.written = 0};
    wefti_refcount_init(&object.owners);
    wefti_atomic_u32_init(&object.ends, 0);
    wefti_thread threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        wefti_refcount_retain(&object.owners);
        assert_int_equal(
            wefti_thread_start(&threads[i], "owner", release, &object, NULL), WEFT_OK);
    }
    release(&object);
    for (int i = 0; i < THREADS; i++) {
        wefti_thread_join(&threads[i]);
    }
    assert_int_equal(wefti_atomic_u32_load_acquire(&object.ends), 1);
    assert_int_equal(object.written, 1);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_owner_is_told_once),
        cmocka_unit_test(compare_and_swap_loses_nothing),
        cmocka_unit_test(atomics_are_schedule_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/testing.h"
#include "base/thread.h"

static const uint32_t allocations = 1u << WEFTI_FAULT_ALLOCATION;

static void counts_successes_only(void **state)
{
    (void)state;
    uint64_t before = wefti_allocation_count();
    void *a = wefti_malloc(0);
    void *b = wefti_calloc(0, 8);
    void *c = wefti_malloc_aligned(0);
    void *d = wefti_realloc(NULL, 0, 0);
    assert_true(a && b && c && d);
    assert_int_equal(wefti_allocation_count() - before, 4);
    assert_null(wefti_calloc(SIZE_MAX / 2, 3));
    assert_null(wefti_realloc(NULL, SIZE_MAX / 2, 3));
    assert_int_equal(wefti_allocation_count() - before, 4);
    wefti_free(a);
    wefti_free(b);
    wefti_free(c);
    wefti_free(d);
    wefti_free(NULL);
}

static void calloc_zeroes_and_realloc_keeps(void **state)
{
    (void)state;
    unsigned char *block = wefti_calloc(100, 3);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(block[i], 0);
        block[i] = (unsigned char)i;
    }
    assert_null(wefti_realloc(block, SIZE_MAX, 2));
    block = wefti_realloc(block, 1000, 3);
    assert_non_null(block);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(block[i], (unsigned char)i);
    }
    wefti_free(block);
}

static void aligned_is_aligned(void **state)
{
    (void)state;
    for (size_t size = 1; size < 300; size += 7) {
        void *block = wefti_malloc_aligned(size);
        assert_int_equal((uintptr_t)block % WEFTI_CACHE_LINE, 0);
        memset(block, 1, size);
        wefti_free(block);
    }
}

static void copies_strings(void **state)
{
    (void)state;
    char *text = wefti_strdup("tensor");
    assert_string_equal(text, "tensor");
    wefti_free(text);
    text = wefti_strndup("tensor", 3);
    assert_string_equal(text, "ten");
    wefti_free(text);
    assert_null(wefti_strndup("x", SIZE_MAX));
}

/* Takes any of the ways to allocate; all must look alike to a test. */
static void *take(int way)
{
    switch (way) {
    case 0:
        return wefti_malloc(8);
    case 1:
        return wefti_calloc(2, 4);
    case 2:
        return wefti_realloc(NULL, 2, 4);
    case 3:
        return wefti_malloc_aligned(8);
    default:
        return wefti_strdup("x");
    }
}

static void the_nth_allocation_fails_once(void **state)
{
    (void)state;
    for (int way = 0; way < 5; way++) {
        wefti_fault_arm(2, allocations);
        uint64_t before = wefti_allocation_count();
        void *first = take(way);
        void *second = take(way);
        void *third = take(way);
        assert_int_equal(wefti_allocation_count() - before, 2);
        assert_int_equal(wefti_fault_arm(0, 0), 3);
        assert_non_null(first);
        assert_null(second);
        assert_non_null(third);
        wefti_free(first);
        wefti_free(third);
    }
}

static void other_sites_do_not_count(void **state)
{
    (void)state;
    wefti_fault_arm(1, 1u << WEFTI_FAULT_DEVICE);
    void *block = wefti_malloc(1);
    assert_non_null(block);
    wefti_free(block);
    assert_true(wefti_fault_here(WEFTI_FAULT_DEVICE));
    assert_false(wefti_fault_here(WEFTI_FAULT_DEVICE));
    assert_int_equal(wefti_fault_arm(0, 0), 2);
    assert_false(wefti_fault_here(WEFTI_FAULT_DEVICE));
    assert_int_equal(wefti_fault_arm(0, 0), 0);
}

static void failed_realloc_keeps_the_block(void **state)
{
    (void)state;
    char *block = wefti_strdup("keep");
    wefti_fault_arm(1, allocations);
    assert_null(wefti_realloc(block, 1000, 1));
    wefti_fault_arm(0, 0);
    assert_string_equal(block, "keep");
    wefti_free(block);
}

static void arrays_grow_at_least_twofold(void **state)
{
    (void)state;
    int *array = NULL;
    size_t capacity = 0;
    int moves = 0;
    for (size_t count = 0; count < 1000; count++) {
        size_t before = capacity;
        array = wefti_grow(array, count, &capacity, sizeof *array);
        assert_non_null(array);
        assert_true(capacity > count);
        moves += capacity != before;
        assert_true(capacity == before || capacity >= 2 * before);
        array[count] = (int)count;
    }
    assert_in_range(moves, 5, 10);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(array[i], i);
    }
    size_t full = capacity;
    wefti_fault_arm(1, allocations);
    assert_null(wefti_grow(array, full, &capacity, sizeof *array));
    wefti_fault_arm(0, 0);
    assert_int_equal(capacity, full);
    assert_int_equal(array[999], 999);
    wefti_free(array);
    capacity = SIZE_MAX / 2 + 1;
    assert_null(wefti_grow(NULL, capacity, &capacity, 1));
    capacity = 64;
    assert_null(wefti_grow(NULL, 64, &capacity, SIZE_MAX / 64));
    assert_int_equal(capacity, 64);
}

static void use_device(void *failures)
{
    for (int i = 0; i < 1000; i++) {
        *(int *)failures += wefti_fault_here(WEFTI_FAULT_DEVICE);
    }
}

static void one_use_fails_though_many_threads_try(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    wefti_thread threads[THREADS];
    int failures[THREADS] = {0};
    wefti_fault_arm(1500, 1u << WEFTI_FAULT_DEVICE);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(
            wefti_thread_start(&threads[i], "faults", use_device, &failures[i], NULL),
            WEFT_OK);
    }
    int total = 0;
    for (int i = 0; i < THREADS; i++) {
        wefti_thread_join(&threads[i]);
        total += failures[i];
    }
    assert_int_equal(wefti_fault_arm(0, 0), THREADS * 1000);
    assert_int_equal(total, 1);
}

static void sabotage_is_set_and_taken_back(void **state)
{
    (void)state;
    assert_false(wefti_sabotaged(WEFTI_SABOTAGE_SUM_ORDER));
    wefti_sabotage_set(WEFTI_SABOTAGE_SUM_ORDER);
    assert_true(wefti_sabotaged(WEFTI_SABOTAGE_SUM_ORDER));
    assert_false(wefti_sabotaged(WEFTI_SABOTAGE_LEASE_TWICE));
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    assert_false(wefti_sabotaged(WEFTI_SABOTAGE_SUM_ORDER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_successes_only),
        cmocka_unit_test(calloc_zeroes_and_realloc_keeps),
        cmocka_unit_test(aligned_is_aligned),
        cmocka_unit_test(copies_strings),
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(other_sites_do_not_count),
        cmocka_unit_test(failed_realloc_keeps_the_block),
        cmocka_unit_test(arrays_grow_at_least_twofold),
        cmocka_unit_test(one_use_fails_though_many_threads_try),
        cmocka_unit_test(sabotage_is_set_and_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

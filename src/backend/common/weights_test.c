/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/common/weights.h"
#include "base/atomic.h"
#include "base/memory.h"
#include "base/testing.h"
#include "base/thread.h"

enum { THREADS = 16, KEYS = 300, CONSTANT_BYTES = 64 };

static uint8_t constants[KEYS][CONSTANT_BYTES];
static wefti_atomic_u32 pack_counts[KEYS];
static wefti_atomic_u32 gate; /* opened when all threads are there */

/* The packed form is the constant backwards, each byte plus the layout's number. */
static void pack_backwards(void *packed, const void *constant, const void *params)
{
    const uint8_t *from = constant;
    uint8_t *to = packed;
    size_t index = (size_t)(from - constants[0]) / CONSTANT_BYTES;
    (void)wefti_atomic_u32_add_acq_rel(&pack_counts[index], 1);
    for (size_t i = 0; i < CONSTANT_BYTES; i++) {
        to[i] = (uint8_t)(from[CONSTANT_BYTES - 1 - i] + *(const uint8_t *)params);
    }
}

static void fill_constants(void)
{
    for (size_t k = 0; k < KEYS; k++) {
        wefti_atomic_u32_init(&pack_counts[k], 0);
        for (size_t i = 0; i < CONSTANT_BYTES; i++) {
            constants[k][i] = (uint8_t)(k * 31 + i);
        }
    }
}

static bool is_packed(const uint8_t *packed, size_t k, uint8_t layout)
{
    for (size_t i = 0; i < CONSTANT_BYTES; i++) {
        uint8_t expected = (uint8_t)(constants[k][CONSTANT_BYTES - 1 - i] + layout);
        if (packed[i] != expected) {
            return false;
        }
    }
    return (uintptr_t)packed % 64 == 0;
}

static weft_status get(wefti_weights *weights, size_t k, uint8_t layout,
                       const void **packed, weft_error *error)
{
    const wefti_weight_request request = {
        .key = {.constant = constants[k], .layout = {7, layout}},
        .size_bytes = CONSTANT_BYTES,
        .pack = pack_backwards,
        .params = &layout};
    return wefti_weights_get(weights, &request, packed, error);
}

static void one_form_for_each_key(void **state)
{
    (void)state;
    wefti_weights *weights;
    fill_constants();
    assert_int_equal(wefti_weights_create(NULL, &weights, NULL), WEFT_OK);
    assert_int_equal(wefti_weights_bytes(weights), 0);
    const void *first[KEYS];
    for (size_t k = 0; k < KEYS; k++) {
        assert_int_equal(get(weights, k, 0, &first[k], NULL), WEFT_OK);
        assert_true(is_packed(first[k], k, 0));
    }
    uint64_t allocations = wefti_allocation_count();
    for (size_t k = 0; k < KEYS; k++) {
        const void *again;
        assert_int_equal(get(weights, k, 0, &again, NULL), WEFT_OK);
        assert_ptr_equal(again, first[k]);
    }
    assert_int_equal(wefti_allocation_count(), allocations);
    const void *other;
    assert_int_equal(get(weights, 3, 1, &other, NULL), WEFT_OK);
    assert_ptr_not_equal(other, first[3]);
    assert_true(is_packed(other, 3, 1));
    assert_int_equal(wefti_weights_bytes(weights), (KEYS + 1) * CONSTANT_BYTES);
    wefti_weights_destroy(weights);
    wefti_weights_destroy(NULL);
}

typedef struct asker {
    wefti_weights *weights;
    uint32_t seed, wrong, failures;
    const void *seen[KEYS];
    wefti_thread thread;
} asker;

static void ask_for_all(void *argument)
{
    asker *a = argument;
    while (wefti_atomic_u32_load_acquire(&gate) == 0) {
        (void)sched_yield();
    }
    for (size_t i = 0; i < KEYS; i++) {
        size_t k = (i * 7 + a->seed) % KEYS; /* 7 and 300 share no factor */
        weft_error error = {0};
        weft_status status;
        /* A forced failure is an answer to one; who asks again gets it. */
        while ((status = get(a->weights, k, 0, &a->seen[k], &error)) != WEFT_OK) {
            a->wrong += status != WEFT_OUT_OF_MEMORY || error.message[0] == '\0';
            a->failures++;
        }
        a->wrong += !is_packed(a->seen[k], k, 0);
    }
}

static uint32_t ask_from_threads(uint64_t fault)
{
    static asker askers[THREADS];
    wefti_weights *weights;
    uint32_t failures = 0;
    fill_constants();
    wefti_atomic_u32_store_release(&gate, 0);
    assert_int_equal(wefti_weights_create(NULL, &weights, NULL), WEFT_OK);
    for (uint32_t i = 0; i < THREADS; i++) {
        askers[i] = (asker){.weights = weights, .seed = i / 4};
        assert_int_equal(wefti_thread_start(&askers[i].thread, "asker", ask_for_all,
                                            &askers[i], NULL),
                         WEFT_OK);
    }
    (void)wefti_fault_arm(fault, 1u << WEFTI_FAULT_ALLOCATION);
    wefti_atomic_u32_store_release(&gate, 1);
    for (uint32_t i = 0; i < THREADS; i++) {
        wefti_thread_join(&askers[i].thread);
        assert_int_equal(askers[i].wrong, 0);
        assert_memory_equal(askers[i].seen, askers[0].seen, sizeof(askers[0].seen));
        failures += askers[i].failures;
    }
    (void)wefti_fault_arm(0, 0);
    for (size_t k = 0; k < KEYS; k++) {
        assert_int_equal(wefti_atomic_u32_load_acquire(&pack_counts[k]), 1);
    }
    assert_int_equal(wefti_weights_bytes(weights), KEYS * CONSTANT_BYTES);
    wefti_weights_destroy(weights);
    return failures;
}

static void one_packer_among_threads(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        assert_int_equal(ask_from_threads(0), 0);
    }
}

static void a_failed_packer_gives_way(void **state)
{
    (void)state;
    uint32_t failures = 0;
    for (uint64_t n = 1; n < 40; n++) {
        failures += ask_from_threads(n);
    }
    assert_true(failures > 0);
}

static void creating_can_fail(void **state)
{
    (void)state;
    uint32_t sites = 1u << WEFTI_FAULT_ALLOCATION | 1u << WEFTI_FAULT_LOCK;
    weft_status status = WEFT_INTERNAL;
    for (uint64_t n = 1; status != WEFT_OK; n++) {
        wefti_weights *weights = NULL;
        const void *packed = NULL;
        weft_error error = {0};
        (void)wefti_fault_arm(n, sites);
        status = wefti_weights_create(NULL, &weights, &error);
        status = status != WEFT_OK ? status : get(weights, 0, 0, &packed, &error);
        (void)wefti_fault_arm(0, 0);
        assert_true(status == WEFT_OK || error.status == status);
        assert_true(n < 20);
        wefti_weights_destroy(weights);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_form_for_each_key),
        cmocka_unit_test(one_packer_among_threads),
        cmocka_unit_test(a_failed_packer_gives_way),
        cmocka_unit_test(creating_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/context.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/thread.h"
#include "support/crew.h"

static weft_device *open_null(int32_t max_contexts, size_t cap_bytes)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.max_contexts = max_contexts;
    params.memory_cap_bytes = cap_bytes;
    params.worker_count = 2;
    weft_device *device;
    assert_int_equal(weft_device_open("null", &params, &device, NULL), WEFT_OK);
    return device;
}

static weft_context *acquire(weft_device *device)
{
    weft_context *context;
    assert_int_equal(weft_context_acquire(device, NULL, &context, NULL), WEFT_OK);
    return context;
}

static weft_status reserve(weft_context *context, size_t size_bytes, weft_error *error)
{
    assert_int_equal(wefti_context_enter(context, context, NULL), WEFT_OK);
    weft_status status = wefti_context_reserve(context, size_bytes, error);
    wefti_context_leave(context);
    return status;
}

static uint64_t memory_bytes(weft_device *device)
{
    weft_device_statistics statistics;
    weft_device_get_statistics(device, &statistics);
    return statistics.memory_bytes;
}

static void test_a_lease_is_exclusive_and_keeps_its_workspace(void **state)
{
    (void)state;
    weft_device *device = open_null(1, 0);
    weft_context *context = acquire(device);
    assert_false(weft_context_was_shared(context));
    assert_int_equal(reserve(context, 1000, NULL), WEFT_OK);
    assert_int_equal((uintptr_t)context->workspace % 64, 0);
    memset(context->workspace, 1, 1000);
    weft_lease_params params = WEFT_LEASE_PARAMS_INIT;
    params.policy = WEFT_LEASE_FAIL;
    weft_context *other = context;
    assert_int_equal(weft_context_acquire(device, &params, &other, NULL), WEFT_BUSY);
    assert_null(other);
    weft_context_release(context);
    uint64_t allocations = wefti_allocation_count();
    for (size_t i = 0; i < 100; i++) {
        context = acquire(device);
        assert_int_equal(reserve(context, 1000 - i, NULL), WEFT_OK);
        weft_context_release(context);
    }
    assert_int_equal(wefti_allocation_count(), allocations);
    weft_device_release(device);
}

/* At the cap an idle context's workspace makes room; one that is leased does not. */
static void test_idle_workspaces_make_room(void **state)
{
    (void)state;
    weft_device *device = open_null(2, 100000);
    weft_context *first = acquire(device), *second = acquire(device);
    weft_error error;
    assert_int_equal(reserve(first, 60000, NULL), WEFT_OK);
    assert_int_equal(reserve(second, 60000, &error), WEFT_OUT_OF_MEMORY);
    assert_non_null(strstr(error.message, "cap"));
    weft_context_release(first);
    assert_int_equal(reserve(second, 60000, NULL), WEFT_OK);
    assert_in_range(memory_bytes(device), 60000, 100000);
    assert_int_equal(reserve(second, 100001, NULL), WEFT_OUT_OF_MEMORY);
    weft_context_release(second);
    weft_device_release(device);
}

static void test_two_users_of_one_context_are_told(void **state)
{
    (void)state;
    weft_device *device = open_null(1, 0);
    weft_context *context = acquire(device);
    weft_error error;
    assert_int_equal(wefti_context_enter(context, context, NULL), WEFT_OK);
    assert_int_equal(wefti_context_enter(context, context, &error), WEFT_BUSY);
    assert_non_null(strstr(error.message, "another thread is using this context"));
    wefti_context_leave(context);
    assert_int_equal(wefti_context_enter(context, context, NULL), WEFT_OK);
    wefti_context_leave(context);
    weft_context_release(context);
    weft_device_release(device);
}

static void test_a_lent_stream_is_entered_with_the_context(void **state)
{
    (void)state;
    weft_device *device = open_null(1, 0);
    weft_context *context = acquire(device);
    weft_stream *stream = weft_context_stream(context);
    char byte = 1;
    assert_int_equal(wefti_stream_enter(stream, NULL), WEFT_OK);
    assert_int_equal(wefti_context_enter(context, context, NULL), WEFT_BUSY);
    wefti_stream_leave(stream);
    assert_int_equal(wefti_context_enter(context, context, NULL), WEFT_OK);
    assert_int_equal(weft_stream_fill(stream, &byte, 0, 1, NULL), WEFT_BUSY);
    wefti_context_leave(context);
    assert_int_equal(weft_stream_fill(stream, &byte, 0, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_synchronize(stream, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(byte, 0);
    weft_context_release(context);
    weft_device_release(device);
}

/* Work that one user leaves on a lent stream does not hold up the next user. */
static void test_the_next_user_does_not_wait_for_the_last(void **state)
{
    (void)state;
    weft_device *device = open_null(1, 0);
    weft_event *event;
    assert_int_equal(weft_event_create(device, false, &event, NULL), WEFT_OK);
    weft_context *context = acquire(device);
    weft_stream *blocked = weft_context_stream(context);
    assert_int_equal(weft_stream_wait(blocked, event, 1, NULL), WEFT_OK);
    char byte = 0;
    assert_int_equal(weft_stream_fill(blocked, &byte, 7, 1, NULL), WEFT_OK);
    weft_context_release(context);

    context = acquire(device);
    weft_stream *stream = weft_context_stream(context);
    assert_ptr_not_equal(stream, blocked);
    assert_int_equal(weft_stream_synchronize(stream, 0, NULL), WEFT_OK);
    assert_int_equal(byte, 0);
    assert_int_equal(weft_event_signal(event, 1, NULL), WEFT_OK);
    assert_int_equal(weft_stream_synchronize(blocked, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(byte, 7);
    weft_context_release(context);
    weft_event_release(event);
    weft_device_release(device);
}

static void test_the_workspace_obeys_the_cap(void **state)
{
    (void)state;
    weft_device *device = open_null(2, 10000);
    weft_context *first = acquire(device);
    weft_context *second = acquire(device);
    weft_error error;
    assert_int_equal(reserve(first, 6000, NULL), WEFT_OK);
    assert_int_equal(reserve(second, 6000, &error), WEFT_OUT_OF_MEMORY);
    assert_non_null(strstr(error.message, "memory cap of null, 10000 bytes"));
    assert_null(second->workspace);
    assert_int_equal(second->workspace_bytes, 0);
    assert_int_equal(reserve(second, 3000, NULL), WEFT_OK);
    /* The old workspace makes room for the new one. */
    assert_int_equal(reserve(first, 6500, NULL), WEFT_OK);
    assert_int_equal(reserve(first, SIZE_MAX - 3, &error), WEFT_OUT_OF_MEMORY);
    weft_context_release(first);
    weft_context_release(second);
    weft_device_release(device);
}

static void test_trim_frees_what_nobody_leases(void **state)
{
    (void)state;
    weft_device *device = open_null(3, 0);
    weft_context *kept = acquire(device);
    weft_context *given_back = acquire(device);
    assert_int_equal(reserve(kept, 4096, NULL), WEFT_OK);
    assert_int_equal(reserve(given_back, 8192, NULL), WEFT_OK);
    weft_context_release(given_back);
    assert_int_equal(memory_bytes(device), 4096 + 8192);
    assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    assert_int_equal(memory_bytes(device), 4096);
    memset(kept->workspace, 1, 4096);
    weft_context_release(kept);
    assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    assert_int_equal(memory_bytes(device), 0);
    weft_device_release(device);
}

/* The last owner of the device goes while contexts are leased. */
static void test_a_lease_outlives_the_device_s_owner(void **state)
{
    (void)state;
    weft_device *device = open_null(2, 0);
    weft_context *first = acquire(device);
    weft_context *second = acquire(device);
    assert_int_equal(reserve(first, 100, NULL), WEFT_OK);
    weft_device_release(device);
    memset(first->workspace, 1, 100);
    assert_int_equal(
        weft_stream_synchronize(weft_context_stream(first), WEFT_FOREVER, NULL),
        WEFT_OK);
    weft_context_release(second);
    assert_int_equal(reserve(first, 5000, NULL), WEFT_OK);
    weft_context_release(first);
}

typedef struct handover {
    weft_device *device;
    wefti_atomic_ptr contexts[64];
} handover;

/* Whoever acquires, uses and releases are three threads. */
static void play_handover(void *user, uint32_t role)
{
    handover *h = user;
    for (uint32_t i = 0; i < 2000 / crew_divisor(); i++) {
        wefti_atomic_ptr *from = role == 0 ? NULL : &h->contexts[role - 1];
        weft_context *context = NULL;
        while (from && !(context = wefti_atomic_ptr_exchange_acq_rel(from, NULL))) {
            wefti_thread_yield();
        }
        if (role == 0) {
            context = acquire(h->device);
        } else if (role == 1) {
            assert_int_equal(reserve(context, 64 + i, NULL), WEFT_OK);
            memset(context->workspace, (int)i, 64 + i);
        } else {
            weft_context_release(context);
            continue;
        }
        void *nothing = NULL;
        while (!wefti_atomic_ptr_cas_acq_rel(&h->contexts[role], &nothing, context)) {
            nothing = NULL;
            wefti_thread_yield();
        }
    }
}

static void test_contexts_pass_from_thread_to_thread(void **state)
{
    (void)state;
    static handover h;
    memset(&h, 0, sizeof h);
    h.device = open_null(3, 0);
    crew_run(3, play_handover, &h);
    weft_device_release(h.device);
}

static void test_failures_are_forced(void **state)
{
    (void)state;
    uint32_t all = (1u << WEFTI_FAULT_SITE_COUNT) - 1;
    uint64_t n = 0;
    uint64_t uses;
    do {
        weft_device *device = open_null(2, 0);
        weft_context *context = NULL;
        wefti_fault_arm(++n, all);
        weft_status status = weft_context_acquire(device, NULL, &context, NULL);
        if (status == WEFT_OK) {
            status = reserve(context, 1000, NULL);
        }
        uses = wefti_fault_arm(0, 0);
        /* A workspace that the system refuses is asked for a second time. */
        assert_true(status == WEFT_OK || (uses >= n && (status == WEFT_OUT_OF_MEMORY ||
                                                        status == WEFT_INTERNAL)));
        weft_context_release(context);
        /* Nothing is stuck: both contexts can be had and used. */
        weft_context *both[2] = {acquire(device), acquire(device)};
        assert_int_equal(reserve(both[0], 2000, NULL), WEFT_OK);
        assert_int_equal(reserve(both[1], 2000, NULL), WEFT_OK);
        weft_context_release(both[0]);
        weft_context_release(both[1]);
        weft_device_release(device);
    } while (uses >= n);
    assert_true(n > 3);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    weft_device *device = open_null(1, 0);
    weft_context *context;
    assert_int_equal(weft_context_acquire(NULL, NULL, &context, NULL),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_context_acquire(device, NULL, NULL, NULL),
                     WEFT_INVALID_ARGUMENT);
    weft_context_release(NULL);
    wefti_context_destroy(NULL);
    weft_device_close(device);
    assert_int_equal(weft_context_acquire(device, NULL, &context, NULL), WEFT_CLOSED);
    /* Work that was accepted before gets its context. */
    assert_int_equal(wefti_context_acquire(device, NULL, &context, NULL), WEFT_OK);
    wefti_context_release(context);
    weft_device_release(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_is_exclusive_and_keeps_its_workspace),
        cmocka_unit_test(test_idle_workspaces_make_room),
        cmocka_unit_test(test_two_users_of_one_context_are_told),
        cmocka_unit_test(test_a_lent_stream_is_entered_with_the_context),
        cmocka_unit_test(test_the_next_user_does_not_wait_for_the_last),
        cmocka_unit_test(test_the_workspace_obeys_the_cap),
        cmocka_unit_test(test_trim_frees_what_nobody_leases),
        cmocka_unit_test(test_a_lease_outlives_the_device_s_owner),
        cmocka_unit_test(test_contexts_pass_from_thread_to_thread),
        cmocka_unit_test(test_failures_are_forced),
        cmocka_unit_test(test_wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

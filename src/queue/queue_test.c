/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue makes of requests: batches, with the bits of each alone. */
#include "queue/queue.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "support/queue_case.h"

enum { MANY = 24 };

static void test_joins_and_keeps_bits(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
    queue_case_warm_up(&f);
    weft_queue_statistics before, after;
    weft_queue_get_statistics(f.queue, &before);
    queue_case_call *calls = calloc(MANY, sizeof *calls);
    weft_request *requests[MANY];
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    int64_t rows = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        int64_t own = i % 5 == 0 ? 3 : 1;
        queue_case_solve(&calls[i], f.model, own, i, i);
        requests[i] = queue_case_submit(&f, &calls[i], NULL);
        rows += own;
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < MANY; i++) {
        queue_case_wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    weft_queue_get_statistics(f.queue, &after);
    assert_int_equal(after.batch_count - before.batch_count, 2); /* plug, the rest */
    assert_int_equal(after.row_count - before.row_count, 1 + rows);
    assert_int_equal(after.padded_count, wefti_queue_padded_rows((int32_t)rows) - rows);
    assert_int_equal(weft_queue_check_batching(f.queue, f.model, NULL), WEFT_OK);
    free(calls);
    queue_case_tear_down(&f);
}

static void test_most_rows_of_a_batch(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_batch_size = 4;
    queue_case_set_up(&f, &params);
    queue_case_warm_up(&f);
    queue_case_call calls[6];
    weft_request *requests[6];
    static const int64_t rows[6] = {3, 1, 2, 8, 1, 4};
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    weft_queue_statistics before, after;
    weft_queue_get_statistics(f.queue, &before);
    for (uint32_t i = 0; i < 6; i++) {
        queue_case_solve(&calls[i], f.model, rows[i], i, 5);
        requests[i] = queue_case_submit(&f, &calls[i], NULL);
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < 6; i++) {
        queue_case_wait_ok(requests[i]);
        assert_true(queue_case_is_right(&calls[i]));
    }
    weft_queue_get_statistics(f.queue, &after);
    /* 3+1, 2, 8, 1, 4: a batch never reaches over one that does not fit. */
    assert_int_equal(after.batch_count - before.batch_count, 5);
    queue_case_tear_down(&f);
}

typedef struct crowd {
    queue_case f;
    uint32_t iterations;
    wefti_atomic_u32 wrong;
} crowd;

static void run_crowd(void *user, uint32_t index)
{
    crowd *self = user;
    queue_case_call call;
    for (uint32_t i = 0; i < self->iterations; i++) {
        queue_case_solve(&call, self->f.model, 1 + (index + i) % 3, index, i);
        weft_request *request = NULL;
        weft_status status = weft_queue_submit(self->f.queue, self->f.model, &call.io,
                                               NULL, &request, NULL);
        if (status == WEFT_OK) {
            status = weft_request_wait(request, WEFT_FOREVER, NULL);
        }
        weft_request_release(request);
        if (status != WEFT_OK || !queue_case_is_right(&call)) {
            wefti_atomic_u32_add_acq_rel(&self->wrong, 1);
        }
    }
}

static void test_crowd(void **state)
{
    (void)state;
    static const int32_t workers[] = {1, 4};
    for (size_t w = 0; w < 2; w++) {
        crowd c = {.iterations = 800 / crew_divisor()};
        weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
        params.workers = workers[w];
        queue_case_set_up(&c.f, &params);
        crew_run(16, run_crowd, &c);
        assert_int_equal(wefti_atomic_u32_load_acquire(&c.wrong), 0);
        queue_case_tear_down(&c.f);
    }
}

static void test_steady_state_allocates_nothing(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
    queue_case_call call;
    queue_case_prepare(&call, 1, 0, 0);
    for (int i = 0; i < 10; i++) {
        queue_case_wait_ok(queue_case_submit(&f, &call, NULL));
    }
    /* The worker may still be putting things away. */
    assert_int_equal(weft_queue_drain(f.queue, WEFT_FOREVER, NULL), WEFT_OK);
    uint64_t before = wefti_allocation_count();
    for (int i = 0; i < 1000; i++) {
        queue_case_wait_ok(queue_case_submit(&f, &call, NULL));
    }
    /* A request comes back when its last owner goes, which may be the worker, after the
     * next ones were submitted: a second and third object is made then, of two blocks
     * each, but not one for each call. */
    assert_in_range(wefti_allocation_count() - before, 0, 20);
    queue_case_tear_down(&f);
}

static void test_sick_request_leaves_alone(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
    queue_case_warm_up(&f);
    queue_case_call calls[8];
    weft_request *requests[8];
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    for (uint32_t i = 0; i < 8; i++) {
        queue_case_solve(&calls[i], f.model, 1, i, 1);
        if (i == 5) {
            calls[i].i[0] = QUEUE_CASE_TABLE + 3; /* outside of the table */
        }
        requests[i] = queue_case_submit(&f, &calls[i], NULL);
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < 8; i++) {
        weft_error error;
        weft_status status = weft_request_wait(requests[i], WEFT_FOREVER, &error);
        if (i == 5) {
            assert_int_not_equal(status, WEFT_OK);
            assert_true(strlen(error.message) > 10);
            static const float zero[QUEUE_CASE_OUTPUTS];
            assert_memory_equal(calls[i].y, zero, calls[i].y_bytes);
        } else {
            assert_int_equal(status, WEFT_OK);
            assert_true(queue_case_is_right(&calls[i]));
        }
        weft_request_release(requests[i]);
    }
    weft_queue_statistics s;
    weft_queue_get_statistics(f.queue, &s);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.split_count, 1);
    queue_case_tear_down(&f);
}

/* Requests without rows never join, and many of them do no harm. */
static void test_requests_without_rows(void **state)
{
    (void)state;
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    params.max_batch_size = 4;
    queue_case_set_up(&f, &params);
    queue_case_warm_up(&f);
    queue_case_call calls[MANY];
    weft_request *requests[MANY];
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    for (uint32_t i = 0; i < MANY; i++) {
        queue_case_prepare(&calls[i], 0, i, i);
        requests[i] = queue_case_submit(&f, &calls[i], NULL);
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < MANY; i++) {
        queue_case_wait_ok(requests[i]);
    }
    queue_case_tear_down(&f);
}

/* The output of one in the output, or the input, of another. */
static void refuse_overlap(bool of_input)
{
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
    queue_case_warm_up(&f);
    queue_case_call a, b;
    queue_case_solve(&a, f.model, 1, 1, 1);
    queue_case_solve(&b, f.model, 1, 2, 2);
    b.outputs[0].data = of_input ? a.x : a.y;
    queue_case_plug plug;
    queue_case_plug_in(&plug, f.queue, f.model);
    weft_request *first = queue_case_submit(&f, &a, NULL),
                 *second = queue_case_submit(&f, &b, NULL);
    queue_case_plug_out(&plug);
    queue_case_wait_ok(first);
    weft_error error;
    assert_int_equal(weft_request_wait(second, WEFT_FOREVER, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "another request"));
    assert_true(queue_case_is_right(&a));
    weft_request_release(second);
    queue_case_tear_down(&f);
}

static void test_overlap_between_requests(void **state)
{
    (void)state;
    refuse_overlap(false);
    refuse_overlap(true);
}

/* What neither is asked for nor given: the rows that fill a batch up to its planned
 * size, leftovers in the staging memory, and what lies behind an output. */
static void run_together(const queue_case *f, queue_case_call *calls, uint32_t count,
                         bool good)
{
    weft_request *requests[MANY];
    queue_case_plug plug;
    queue_case_plug_in(&plug, f->queue, f->model);
    for (uint32_t i = 0; i < count; i++) {
        requests[i] = queue_case_submit(f, &calls[i], NULL);
    }
    queue_case_plug_out(&plug);
    for (uint32_t i = 0; i < count; i++) {
        weft_status status = weft_request_wait(requests[i], WEFT_FOREVER, NULL);
        assert_int_equal(status == WEFT_OK, good);
        weft_request_release(requests[i]);
    }
}

/* A batch of 18 poisoned rows first: numbers that are none, and indices outside of the
 * table, which make a run fail. Then 17 good ones in the same memory, planned as 18. */
static void test_padding_is_nobodys(void **state)
{
    (void)state;
    enum { PLANNED = 18, ROWS = 17 };
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
    queue_case_warm_up(&f);
    assert_int_equal(wefti_queue_padded_rows(ROWS), PLANNED);
    queue_case_call calls[PLANNED];
    for (uint32_t i = 0; i < PLANNED; i++) {
        queue_case_prepare(&calls[i], 1, i, 6);
        memset(calls[i].x, 0xff, sizeof calls[i].x);
        calls[i].i[0] = QUEUE_CASE_TABLE + 1;
    }
    weft_queue_statistics before, after;
    weft_queue_get_statistics(f.queue, &before);
    run_together(&f, calls, PLANNED, false);
    weft_queue_get_statistics(f.queue, &after);
    assert_int_equal(after.failed - before.failed, PLANNED);
    for (uint32_t i = 0; i < ROWS; i++) {
        queue_case_solve(&calls[i], f.model, 1, i, 7);
    }
    before = after;
    run_together(&f, calls, ROWS, true);
    weft_queue_get_statistics(f.queue, &after);
    assert_int_equal(after.padded_count - before.padded_count, PLANNED - ROWS);
    assert_int_equal(after.failed, before.failed);
    for (uint32_t i = 0; i < ROWS; i++) {
        assert_true(queue_case_is_right(&calls[i]));
        const unsigned char *bytes = (const unsigned char *)calls[i].y;
        for (size_t j = calls[i].y_bytes; j < sizeof calls[i].y; j++) {
            assert_int_equal(bytes[j], 0xff);
        }
    }
    queue_case_tear_down(&f);
}

/* Numbers that are none, or without bounds, stay in the rows that have them. */
static void test_sick_numbers_stay_in_their_rows(void **state)
{
    (void)state;
    enum { COUNT = 8 };
    queue_case f;
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    queue_case_set_up(&f, &params);
    queue_case_warm_up(&f);
    queue_case_call calls[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        queue_case_prepare(&calls[i], 1 + i % 2, i, 8);
        if (i % 3 == 0) {
            calls[i].x[i] = i % 2 == 0 ? (float)NAN : (float)INFINITY;
        }
        assert_int_equal(weft_run(f.model, &calls[i].io, NULL, NULL), WEFT_OK);
        memcpy(calls[i].alone, calls[i].y, sizeof calls[i].alone);
        memset(calls[i].y, 0xee, sizeof calls[i].y);
    }
    run_together(&f, calls, COUNT, true);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_true(queue_case_is_right(&calls[i]));
    }
    queue_case_tear_down(&f);
}

/* A request that finds the device idle starts at once. On a machine that is busy with
 * other things the best of some rounds counts. */
static void test_idle_device_starts_at_once(void **state)
{
    (void)state;
    enum { ROUNDS = 50, CALLS = 200, LATE_BUCKET = 20 /* 2^20 ns and more */ };
    queue_case f;
    queue_case_set_up(&f, NULL);
    queue_case_call call;
    queue_case_prepare(&call, 1, 0, 0);
    bool at_once = false;
    for (int round = 0; round < ROUNDS && !at_once; round++) {
        weft_queue_statistics before, after;
        uint64_t late = 0;
        weft_queue_get_statistics(f.queue, &before);
        for (int i = 0; i < CALLS; i++) {
            queue_case_wait_ok(queue_case_submit(&f, &call, NULL));
        }
        weft_queue_get_statistics(f.queue, &after);
        for (int i = LATE_BUCKET; i < WEFT_QUEUE_BUCKETS; i++) {
            late += after.wait_ns[i] - before.wait_ns[i];
        }
        at_once = late * 100 <= CALLS; /* P99 below 1.05 ms */
    }
    assert_true(at_once);
    queue_case_tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joins_and_keeps_bits),
        cmocka_unit_test(test_most_rows_of_a_batch),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_sick_request_leaves_alone),
        cmocka_unit_test(test_requests_without_rows),
        cmocka_unit_test(test_overlap_between_requests),
        cmocka_unit_test(test_padding_is_nobodys),
        cmocka_unit_test(test_sick_numbers_stay_in_their_rows),
        cmocka_unit_test(test_idle_device_starts_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

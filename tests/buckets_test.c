/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand different lengths from 16 threads, rounded up to a few buckets: right
 * against exact runs, the same bits whoever else runs, one plan for each bucket, and
 * nothing that grows. */
#include <weft/weft.h>

#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/memory.h"
#include "base/testing.h"
#include "support/crew.h"
#include "support/graph_text.h"

enum {
    LENGTHS = 1000,
    WIDTH = 8,
    THREADS = 16,
    CONTEXTS = 4,
    BUCKETS = 7, /* 16, 32 ... 1000 */
    MOST_OUTPUT = LENGTHS * WIDTH,
};

/* The tokens of a text and their mean, by its mask. */
static const char *const text_encoder =
    "ids: i64[batch,seq]; mask: f32[batch,seq]; table = f32[50,8]; w = f32[8,8]; "
    "v = f32[8,8]; first = i64{1}; second = i64{2}; x = Gather(table,ids); "
    "xw = MatMul(x,w); r = Relu(xw); h = MatMul(r,v); m = Unsqueeze(mask,second); "
    "hm = Mul(h,m); sum = ReduceSum(hm,first) keepdims=0; "
    "n = ReduceSum(mask,first) keepdims=1; y = Div(sum,n); -> y,h";

typedef struct answer {
    _Alignas(64) float y[WIDTH], h[MOST_OUTPUT];
} answer;

typedef struct hall {
    weft_device *device;
    weft_model *model;
    weft_queue *queue; /* NULL: direct calls */
    int64_t ids[LENGTHS];
    float ones[LENGTHS];
    float *expected[LENGTHS + 1]; /* y and h of the padded run alone */
    uint32_t wrong[THREADS];
} hall;

static weft_model *make_model(weft_device *device, bool rounded)
{
    weft_model *model = NULL;
    weft_error error = {0};
    weft_graph *graph = graph_text_make(text_encoder, 20);
    weft_bucket_params bucket = WEFT_BUCKET_PARAMS_INIT;
    bucket.dimension = "seq";
    bucket.rule = WEFT_BUCKET_DOUBLE;
    bucket.first = 16;
    bucket.last = LENGTHS;
    bucket.mask_input = "mask";
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.buckets = &bucket;
    params.bucket_count = rounded ? 1 : 0;
    params.max_plans = rounded ? 0 : 4;
    if (weft_model_create(device, graph, &params, &model, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    weft_graph_release(graph);
    return model;
}

static bool run_length(hall *h, weft_model *model, int64_t length, bool given,
                       answer *a)
{
    weft_tensor inputs[2] = {
        {.data = h->ids, .type = WEFT_TYPE_I64, .rank = 2, .dims = {1, length}}};
    if (given) {
        inputs[1] = (weft_tensor){
            .data = h->ones, .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, length}};
    }
    weft_tensor outputs[2] = {
        {.data = a->y, .size_bytes = sizeof(a->y), .rank = -1},
        {.data = a->h, .size_bytes = sizeof(a->h), .rank = -1},
    };
    weft_io io = {inputs, 2, outputs, 2};
    memset(a, 0xa5, sizeof(*a));
    if (h->queue == NULL) {
        return weft_run(model, &io, NULL, NULL) == WEFT_OK;
    }
    weft_request *request = NULL;
    bool done =
        weft_queue_submit(h->queue, model, &io, NULL, &request, NULL) == WEFT_OK &&
        weft_request_wait(request, WEFT_FOREVER, NULL) == WEFT_OK;
    weft_request_release(request);
    return done;
}

static size_t answer_floats(int64_t length)
{
    return (size_t)(1 + length) * WIDTH;
}

static bool is_expected(const hall *h, const answer *a, int64_t length)
{
    const float *expected = h->expected[length];
    float behind;
    memset(&behind, 0xa5, sizeof(behind));
    return memcmp(a->y, expected, sizeof(a->y)) == 0 &&
           memcmp(a->h, expected + WIDTH, (size_t)length * sizeof(a->y)) == 0 &&
           (length == LENGTHS ||
            memcmp(&a->h[length * WIDTH], &behind, sizeof(behind)) == 0);
}

/* Padded runs alone, and that they are what exact ones give. */
static void solve(hall *h)
{
    static answer padded, exact;
    weft_model *alone = make_model(h->device, false);
    for (int64_t length = 1; length <= LENGTHS; length++) {
        assert_true(run_length(h, alone, length, true, &exact));
        assert_true(run_length(h, h->model, length, false, &padded));
        h->expected[length] = malloc(answer_floats(length) * sizeof(float));
        assert_non_null(h->expected[length]);
        memcpy(h->expected[length], padded.y, sizeof(padded.y));
        memcpy(h->expected[length] + WIDTH, padded.h,
               (size_t)length * sizeof(padded.y));
        for (int i = 0; i < WIDTH; i++) {
            assert_true(fabsf(padded.y[i] - exact.y[i]) <= 1e-4f);
        }
        for (int64_t i = 0; i < length * WIDTH; i++) {
            assert_true(fabsf(padded.h[i] - exact.h[i]) <= 1e-5f);
        }
    }
    weft_model_release(alone);
}

static hall shared;

static int open_hall(void **state)
{
    hall *h = &shared;
    (void)state;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.max_contexts = CONTEXTS; /* soon all have been used */
    assert_int_equal(weft_device_open("cpu", &params, &h->device, NULL), WEFT_OK);
    uint64_t random = 5;
    for (int i = 0; i < LENGTHS; i++) {
        h->ids[i] = crew_random(&random) % 50;
        h->ones[i] = 1;
    }
    h->model = make_model(h->device, true);
    solve(h);
    return 0;
}

static int close_hall(void **state)
{
    (void)state;
    weft_model_release(shared.model);
    weft_device_release(shared.device);
    for (int i = 0; i <= LENGTHS; i++) {
        free(shared.expected[i]);
    }
    return 0;
}

static void open_queue(hall *h, int32_t workers)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.max_batch_size = 8;
    params.workers = workers;
    assert_int_equal(weft_queue_create(h->device, &params, &h->queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(h->queue, h->model, NULL, NULL), WEFT_OK);
}

static void close_queue(hall *h)
{
    weft_queue_release(h->queue);
    h->queue = NULL;
}

/* All lengths, each thread in an order of its own: a step through them that has no
 * divisor in common with their number. */
static void meet_lengths(void *user, uint32_t index)
{
    hall *h = user;
    answer *a = aligned_alloc(64, sizeof(*a));
    uint64_t random = 100 + index;
    int64_t at = crew_random(&random) % LENGTHS;
    uint32_t count = LENGTHS / crew_divisor();
    for (uint32_t i = 0; a != NULL && i < count; i++) {
        int64_t length = 1 + at;
        bool given = crew_random(&random) % 2 == 0;
        h->wrong[index] +=
            !run_length(h, h->model, length, given, a) || !is_expected(h, a, length);
        at = (at + 307 + 20 * index) % LENGTHS;
    }
    h->wrong[index] += a == NULL;
    free(a);
}

static void assert_all_right(const hall *h)
{
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(h->wrong[i], 0);
    }
}

static void test_a_thousand_lengths(void **state)
{
    (void)state;
    weft_device_statistics before, now;
    weft_device_get_statistics(shared.device, &before);
    size_t held[3];
    for (int round = 0; round < 3; round++) {
        crew_run(THREADS, meet_lengths, &shared);
        assert_all_right(&shared);
        malloc_trim(0);
        held[round] = mallinfo2().uordblks;
    }
    weft_device_get_statistics(shared.device, &now);
    assert_int_equal(now.plan_count, before.plan_count); /* all were there */
    /* Of the exact model all have gone, four of them without being evicted. */
    assert_int_equal(now.plan_count - now.plan_evict_count, BUCKETS + 4);
    print_message("bytes held after each round: %zu %zu %zu\n", held[0], held[1],
                  held[2]);
    assert_true(held[2] < held[0] + 1000000);
}

/* The same by way of a queue, where requests of one length join. */
static void test_lengths_in_a_queue(void **state)
{
    (void)state;
    open_queue(&shared, 0);
    weft_error why = {0};
    static answer a;
    assert_true(run_length(&shared, shared.model, 37, false, &a));
    if (weft_queue_check_batching(shared.queue, shared.model, &why) != WEFT_OK) {
        fail_msg("%s", why.message);
    }
    crew_run(4, meet_lengths, &shared);
    assert_all_right(&shared);
    close_queue(&shared);
}

/* Requests of one length in one batch, their masks made by the queue. */
static void test_requests_join(void **state)
{
    (void)state;
    static answer a[6];
    enum { LENGTH = 21 };
    weft_request *requests[6];
    weft_tensor inputs[6][2], outputs[6][2];
    open_queue(&shared, 1);
    memset(inputs, 0, sizeof(inputs));
    for (int i = 0; i < 6; i++) {
        inputs[i][0] = (weft_tensor){
            .data = shared.ids, .type = WEFT_TYPE_I64, .rank = 2, .dims = {1, LENGTH}};
        outputs[i][0] =
            (weft_tensor){.data = a[i].y, .size_bytes = sizeof(a[i].y), .rank = -1};
        outputs[i][1] =
            (weft_tensor){.data = a[i].h, .size_bytes = sizeof(a[i].h), .rank = -1};
        memset(&a[i], 0xa5, sizeof(a[i]));
        weft_io io = {inputs[i], 2, outputs[i], 2};
        assert_int_equal(weft_queue_submit(shared.queue, shared.model, &io, NULL,
                                           &requests[i], NULL),
                         WEFT_OK);
        assert_int_equal(outputs[i][1].dims[1], LENGTH);
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal(weft_request_wait(requests[i], WEFT_FOREVER, NULL), WEFT_OK);
        weft_request_release(requests[i]);
        assert_true(is_expected(&shared, &a[i], LENGTH));
    }
    close_queue(&shared);
}

/* A queue whose class needs memory for masks, each allocation failing in turn. */
static void test_failures_of_a_queue(void **state)
{
    (void)state;
    static answer a;
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        open_queue(&shared, 1);
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
        bool ran = run_length(&shared, shared.model, 30, false, &a);
        done = wefti_fault_arm(0, 0) < n;
        assert_true(!ran || is_expected(&shared, &a, 30));
        assert_true(ran || !done);
        close_queue(&shared);
        assert_true(n < 5000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thousand_lengths),
        cmocka_unit_test(test_lengths_in_a_queue),
        cmocka_unit_test(test_requests_join),
        cmocka_unit_test(test_failures_of_a_queue),
    };
    return cmocka_run_group_tests(tests, open_hall, close_hall);
}

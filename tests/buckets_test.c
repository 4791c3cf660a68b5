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
    /* Of the exact model all have gone, four of them without being evicted; length 1 is
     * never padded. */
    assert_int_equal(now.plan_count - now.plan_evict_count, BUCKETS + 1 + 4);
    print_message("bytes held after each round: %zu %zu %zu\n", held[0], held[1],
                  held[2]);
    assert_true(held[2] < held[0] + 1000000);
}

/* The same by way of a queue, where requests of one bucket join. */
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

/* What a batch takes in. */
typedef struct ask {
    int64_t length, rows;
    weft_tensor inputs[2], outputs[2];
    _Alignas(64) int64_t ids[2 * LENGTHS];
    _Alignas(64) float h[2 * MOST_OUTPUT], y[2 * WIDTH];
    weft_request *request;
} ask;

static void prepare_ask(ask *a, int64_t length, int64_t rows)
{
    memset(a, 0, sizeof(*a));
    a->length = length;
    a->rows = rows;
    for (int64_t i = 0; i < rows; i++) {
        memcpy(a->ids + i * length, shared.ids, (size_t)length * sizeof(*a->ids));
    }
    a->inputs[0] = (weft_tensor){
        .data = a->ids, .type = WEFT_TYPE_I64, .rank = 2, .dims = {rows, length}};
    a->outputs[0] = (weft_tensor){.data = a->y, .size_bytes = sizeof(a->y), .rank = -1};
    a->outputs[1] = (weft_tensor){.data = a->h, .size_bytes = sizeof(a->h), .rank = -1};
}

static bool ask_is_right(const ask *a)
{
    const float *expected = shared.expected[a->length];
    bool right = a->outputs[1].dims[1] == a->length;
    for (int64_t i = 0; right && i < a->rows; i++) {
        size_t floats = (size_t)a->length * WIDTH;
        right = memcmp(a->y + i * WIDTH, expected, WIDTH * sizeof(float)) == 0 &&
                memcmp(a->h + (size_t)i * floats, expected + WIDTH,
                       floats * sizeof(float)) == 0;
    }
    return right;
}

/* Requests of several lengths and rows in one batch: a worker is kept busy until all
 * wait. Their masks are made by the queue or given, and then not in one batch. */
static void test_lengths_join(void **state)
{
    (void)state;
    enum { COUNT = 6 };
    static const int64_t lengths[COUNT] = {21, 17, 32, 25, 21, 31};
    static ask asks[COUNT], plug;
    weft_queue_statistics after;
    open_queue(&shared, 1);
    for (int round = 0; round < 40; round++) {
        prepare_ask(&plug, LENGTHS, 1);
        weft_io io = {plug.inputs, 2, plug.outputs, 2};
        assert_int_equal(weft_queue_submit(shared.queue, shared.model, &io, NULL,
                                           &plug.request, NULL),
                         WEFT_OK);
        for (int i = 0; i < COUNT; i++) {
            ask *a = &asks[i];
            prepare_ask(a, lengths[(i + round) % COUNT], 1 + (i == 3));
            io = (weft_io){a->inputs, 2, a->outputs, 2};
            assert_int_equal(weft_queue_submit(shared.queue, shared.model, &io, NULL,
                                               &a->request, NULL),
                             WEFT_OK);
        }
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(weft_request_wait(asks[i].request, WEFT_FOREVER, NULL),
                             WEFT_OK);
            weft_request_release(asks[i].request);
            assert_true(ask_is_right(&asks[i]));
        }
        assert_int_equal(weft_request_wait(plug.request, WEFT_FOREVER, NULL), WEFT_OK);
        weft_request_release(plug.request);
        assert_true(ask_is_right(&plug));
    }
    weft_queue_get_statistics(shared.queue, &after);
    print_message("%d batches of %d requests\n", (int)after.batch_count,
                  40 * (COUNT + 1));
    assert_true(after.batch_count < 40 * (COUNT + 1));
    close_queue(&shared);
}

enum { MIXED_MOST = 9, MIXED_INNER = 3 };

typedef struct mixed {
    int64_t length, rows;
    float x[MIXED_MOST * MIXED_MOST * MIXED_INNER];
    float y[MIXED_MOST * MIXED_MOST * MIXED_INNER + 1];
    weft_tensor input, output;
    weft_request *request;
} mixed;

static void submit_mixed(weft_queue *queue, weft_model *model, mixed *m, uint32_t seed)
{
    uint64_t random = seed + 1;
    m->length = 1 + crew_random(&random) % MIXED_MOST;
    m->rows = 1 + crew_random(&random) % 3;
    size_t count = (size_t)(m->length * m->rows * MIXED_INNER);
    for (size_t i = 0; i < count; i++) {
        m->x[i] = (float)(crew_random(&random) % 1000);
    }
    m->y[count] = 77;
    m->input = (weft_tensor){.data = m->x,
                             .type = WEFT_TYPE_F32,
                             .rank = 3,
                             .dims = {m->length, m->rows, MIXED_INNER}};
    m->output = m->input;
    m->output.data = m->y;
    weft_io io = {&m->input, 1, &m->output, 1};
    assert_int_equal(weft_queue_submit(queue, model, &io, NULL, &m->request, NULL),
                     WEFT_OK);
}

/* The padded dimension before that of the rows, so that a request's rows lie in pieces;
 * and rows along a padded dimension, which are run alone. */
static void join_mixed(const char *dimension, const char *other)
{
    enum { COUNT = 12 };
    static mixed asks[COUNT];
    static const int64_t sizes[] = {4, 8};
    weft_bucket_params buckets[2] = {WEFT_BUCKET_PARAMS_INIT, WEFT_BUCKET_PARAMS_INIT};
    buckets[0].dimension = dimension;
    buckets[1].dimension = other;
    buckets[0].sizes = buckets[1].sizes = sizes;
    buckets[0].size_count = buckets[1].size_count = 2;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.buckets = buckets;
    params.bucket_count = other == NULL ? 1 : 2;
    weft_graph *graph = graph_text_make("x: f32[seq,batch,3]; y = Neg(x); -> y", 20);
    weft_model *model;
    weft_queue *queue;
    assert_int_equal(weft_model_create(shared.device, graph, &params, &model, NULL),
                     WEFT_OK);
    weft_graph_release(graph);
    weft_queue_params queue_params = WEFT_QUEUE_PARAMS_INIT;
    queue_params.workers = 1;
    assert_int_equal(weft_queue_create(shared.device, &queue_params, &queue, NULL),
                     WEFT_OK);
    assert_int_equal(weft_queue_add_model(queue, model, NULL, NULL), WEFT_OK);
    for (uint32_t round = 0; round < 30; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            submit_mixed(queue, model, &asks[i], round * COUNT + i);
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            mixed *m = &asks[i];
            assert_int_equal(weft_request_wait(m->request, WEFT_FOREVER, NULL),
                             WEFT_OK);
            weft_request_release(m->request);
            size_t count = (size_t)(m->length * m->rows * MIXED_INNER);
            for (size_t k = 0; k < count; k++) {
                assert_float_equal(m->y[k], -m->x[k], 0);
            }
            assert_float_equal(m->y[count], 77, 0);
        }
    }
    weft_queue_statistics after;
    weft_queue_get_statistics(queue, &after);
    print_message("%d batches of %d requests\n", (int)after.batch_count, 30 * COUNT);
    assert_true(other != NULL || after.batch_count < 30 * COUNT);
    weft_queue_release(queue);
    weft_model_release(model);
}

static void test_rows_in_pieces(void **state)
{
    (void)state;
    join_mixed("seq", NULL);
    join_mixed("seq", "batch");
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
        cmocka_unit_test(test_lengths_join),
        cmocka_unit_test(test_rows_in_pieces),
        cmocka_unit_test(test_failures_of_a_queue),
    };
    return cmocka_run_group_tests(tests, open_hall, close_hall);
}

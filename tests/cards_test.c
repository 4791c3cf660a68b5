/* SPDX-License-Identifier: Apache-2.0 */
/* One device of two cards: on the driver made of C (tests/fake_cuda), which sees when
 * something of one card is used on the other, or on real cards. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "backend/cuda/device.h"
#include "base/clock.h"
#include "base/thread.h"
#include "runtime/context.h"
#include "support/crew.h"
#include "support/fake_driver.h"
#include "support/graph_text.h"

enum { WIDTH = 64, ROWS = 4, THREADS = 8, CALLS = 48 };

/* Elementwise, so that it is quick on the driver made of C and computes under
 * ThreadSanitizer too; with a constant, which each card needs. */
static const char net[] = "x: f32[batch,64]; w = f32[64]; a = Add(x,w); m = Mul(a,w); "
                          "y = Tanh(m); -> y";

static weft_status make_model(weft_device *device, weft_model **model,
                              weft_error *error)
{
    weft_graph *graph = graph_text_make(net, 20);
    weft_status status = weft_model_create(device, graph, NULL, model, error);
    weft_graph_release(graph);
    return status;
}

static weft_device *open_device(const char *name)
{
    weft_device *device = NULL;
    weft_error error = {0};
    if (weft_device_open(name, NULL, &device, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    return device;
}

typedef struct call {
    float x[ROWS * WIDTH], y[ROWS * WIDTH], expected[ROWS * WIDTH];
    weft_tensor input, output;
    weft_io io;
} call;

/* After a call was copied: its tensors are its own. */
static void bind(call *c)
{
    c->input.data = c->x;
    c->output.data = c->y;
    c->io = (weft_io){&c->input, 1, &c->output, 1};
}

static void prepare(call *c, int64_t rows, uint64_t seed)
{
    memset(c, 0, sizeof(*c));
    const weft_random_key key = {.seed = seed};
    weft_random_fill_normal(&key, c->x, (size_t)(rows * WIDTH));
    c->input = (weft_tensor){.type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, WIDTH}};
    c->output = c->input;
    bind(c);
}

static bool is_right(const call *c)
{
    return memcmp(c->y, c->expected,
                  (size_t)c->input.dims[0] * WIDTH * sizeof(float)) == 0;
}

/* Calls whose answers the CPU has given. */
static call calls[CALLS];

static int solve_on_cpu(void **state)
{
    (void)state;
    weft_device *device = open_device("cpu");
    weft_model *model;
    assert_int_equal(make_model(device, &model, NULL), WEFT_OK);
    for (uint32_t i = 0; i < CALLS; i++) {
        prepare(&calls[i], 1 + i % ROWS, i);
        assert_int_equal(weft_run(model, &calls[i].io, NULL, NULL), WEFT_OK);
        memcpy(calls[i].expected, calls[i].y, sizeof(calls[i].y));
    }
    weft_model_release(model);
    weft_device_release(device);
    return 0;
}

static void expect_refusal(const char *name, weft_status status, const char *words)
{
    weft_device *device = NULL;
    weft_error error = {0};
    assert_int_equal(weft_device_open(name, NULL, &device, &error), status);
    assert_null(device);
    if (strstr(error.message, words) == NULL) {
        fail_msg("'%s' is not in: %s", words, error.message);
    }
    fake_driver_assert_empty();
}

static void test_names_of_several_cards(void **state)
{
    (void)state;
    static const char *const names[] = {"cuda:0,1", "cuda:1,0", "cuda:all"};
    expect_refusal("cuda:0,0", WEFT_INVALID_ARGUMENT, "card 0 twice");
    expect_refusal("cuda:0,77", WEFT_NOT_FOUND, "no device 'cuda:77'");
    expect_refusal("cuda:0,", WEFT_NOT_FOUND, "cuda:0,");
    expect_refusal("cuda:,0", WEFT_NOT_FOUND, "cuda:,0");
    expect_refusal("cuda:0,all", WEFT_NOT_FOUND, "cuda:0,all");
    expect_refusal("cpu:0,1", WEFT_NOT_FOUND, "all cores are one device");
    expect_refusal("cuda:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", WEFT_NOT_FOUND,
                   "cuda:0,1,2");
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        weft_device *device = open_device(names[i]);
        weft_device_info info;
        weft_device_get_info(device, &info);
        assert_string_equal(info.name, names[i]);
        assert_true(info.card_count >= 2);
        assert_true(info.max_contexts >= 8 * info.card_count);
        assert_true(info.worker_count >= info.card_count);
        assert_non_null(strstr(info.description, " x "));
        assert_non_null(strstr(info.kind, " sm_"));
        weft_device_release(device);
        fake_driver_assert_empty();
    }
}

/* How many calls of the driver opening takes. */
static uint64_t count_opening(const char *name)
{
    const uint64_t before = fake_driver_count().calls;
    weft_device *device = open_device(name);
    const uint64_t after = fake_driver_count().calls;
    weft_device_release(device);
    return after - before;
}

static void test_all_cards_are_opened_once(void **state)
{
    (void)state;
    enum { TO_COUNT = 2 }; /* starting the driver, and asking it */
    if (!fake.there) {
        skip();
    }
    assert_int_equal(count_opening("cuda:all"), count_opening("cuda:0,1") + TO_COUNT);
}

static void test_cards_of_two_kinds_are_refused(void **state)
{
    (void)state;
    if (!fake.there) {
        skip();
    }
    fake.make_kinds_differ(1);
    expect_refusal("cuda:0,1", WEFT_INVALID_ARGUMENT, "cuda:1 is 'another card");
    expect_refusal("cuda:all", WEFT_INVALID_ARGUMENT, "of one kind");
    fake.make_kinds_differ(0);
}

typedef struct stage {
    weft_device *device;
    weft_model *model;
    weft_queue *queue;
    uint32_t wrong[THREADS];
} stage;

/* Where launches went since `before`: to each card a fair part. */
static void assert_spread(const fake_cuda_counts *before)
{
    if (fake.there) {
        fake_cuda_counts now = fake_driver_count();
        uint64_t first = now.launches[0] - before->launches[0];
        uint64_t second = now.launches[1] - before->launches[1];
        print_message("launches: %llu and %llu\n", (unsigned long long)first,
                      (unsigned long long)second);
        assert_true(first > 0);
        assert_true(second > 0);
        assert_int_equal(now.violations, 0);
    }
}

static void run_on(stage *s, weft_context *context, uint32_t i, uint32_t *wrong)
{
    call c = calls[i % CALLS];
    bind(&c);
    memset(c.y, 0, sizeof(c.y));
    weft_status status = context ? weft_context_run(context, s->model, &c.io, NULL)
                                 : weft_run(s->model, &c.io, NULL, NULL);
    *wrong += status != WEFT_OK || !is_right(&c);
}

static void run_direct(void *user, uint32_t index)
{
    stage *s = user;
    for (uint32_t i = 0; i < CALLS; i++) {
        run_on(s, NULL, i + index, &s->wrong[index]);
    }
}

static void submit_calls(stage *s, weft_queue *queue, uint32_t index)
{
    for (uint32_t i = 0; i < CALLS; i++) {
        call c = calls[(i + index) % CALLS];
        bind(&c);
        weft_request *request = NULL;
        weft_status status =
            queue ? weft_queue_submit(queue, s->model, &c.io, NULL, &request, NULL)
                  : weft_submit(s->model, &c.io, NULL, &request, NULL);
        status = status ? status : weft_request_wait(request, WEFT_FOREVER, NULL);
        s->wrong[index] += status != WEFT_OK || !is_right(&c);
        weft_request_release(request);
    }
}

static void run_queued(void *user, uint32_t index)
{
    stage *s = user;
    submit_calls(s, s->queue, index);
}

static void run_submitted(void *user, uint32_t index)
{
    submit_calls(user, NULL, index);
}

/* Who lets the streams go a millisecond after somebody has begun to wait for one. */
typedef struct letting_go {
    wefti_thread thread;
    wefti_atomic_u32 returned;
} letting_go;

static void let_go(void *argument)
{
    letting_go *self = argument;
    while (wefti_atomic_u32_load_acquire(&self->returned) == 0 &&
           fake_driver_count().waiting == 0) {
        wefti_thread_sleep(20000);
    }
    wefti_thread_sleep(1000000);
    fake.hold(0);
}

/* A call whose kernels begin late; the first time on a stream it may be the clocks'
 * comparison that is waited for, before the launch. */
static void run_held(stage *s, uint32_t i)
{
    letting_go other;
    wefti_atomic_u32_init(&other.returned, 0);
    fake.hold(1);
    assert_int_equal(wefti_thread_start(&other.thread, "let go", let_go, &other, NULL),
                     WEFT_OK);
    run_on(s, NULL, i, &s->wrong[0]);
    wefti_atomic_u32_store_release(&other.returned, 1);
    wefti_thread_join(&other.thread);
}

/* In a trace, who runs waits for the device while its plan is executed. */
static void test_waits_for_the_device_are_recorded(void **state)
{
    (void)state;
    enum { HELD = 6 };
    weft_profiler *profiler = NULL;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    stage s = {0};
    assert_int_equal(weft_profiler_create(NULL, &profiler, NULL), WEFT_OK);
    params.profiler = profiler;
    assert_int_equal(weft_device_open("cuda:0,1", &params, &s.device, NULL), WEFT_OK);
    assert_int_equal(make_model(s.device, &s.model, NULL), WEFT_OK);
    run_direct(&s, 0);
    const uint32_t held = fake.there ? HELD : 0;
    for (uint32_t i = 0; i < held; i++) {
        run_held(&s, i);
    }
    assert_int_equal(s.wrong[0], 0);
    weft_profile_event event, wait = {0}, card = {0};
    size_t waits = 0, long_waits = 0, runs = 0, cards = 0;
    for (size_t i = 0; weft_profiler_get_event(profiler, i, &event); i++) {
        if (event.kind == WEFT_PROFILE_WAIT) {
            assert_string_equal(event.name, "wait for the device");
            assert_int_equal(event.status, WEFT_OK);
            wait = event;
            waits++;
            long_waits += event.end_ns - event.begin_ns >= 1000000;
        } else if (event.kind == WEFT_PROFILE_CARD) {
            assert_string_equal(event.name, event.counts[1] == 0 ? "cuda:0" : "cuda:1");
            assert_non_null(strstr(event.detail, " kernels"));
            assert_true(event.begin_ns < event.end_ns);
            card = event;
            cards++;
        } else if (event.kind == WEFT_PROFILE_EXECUTE) {
            assert_true(event.begin_ns <= card.begin_ns);
            assert_true(card.end_ns <= event.end_ns);
            if (wait.end_ns > 0) { /* else it was too short to be told */
                assert_true(event.begin_ns <= wait.begin_ns);
                assert_true(wait.end_ns <= event.end_ns);
            }
            wait = (weft_profile_event){0};
            runs++;
        }
    }
    print_message("%zu waits, %zu of a millisecond, of %zu runs\n", waits, long_waits,
                  runs);
    assert_true(held == 0 || long_waits > 0);
    assert_int_equal(runs, CALLS + held);
    assert_int_equal(cards, CALLS + held);
    weft_model_release(s.model);
    weft_device_release(s.device);
    weft_profiler_release(profiler);
    fake_driver_assert_empty();
}

static void test_all_ways_use_both_cards(void **state)
{
    (void)state;
    void (*const ways[])(void *user, uint32_t index) = {run_direct, run_queued,
                                                        run_submitted};
    for (size_t way = 0; way < WEFTI_COUNT_OF(ways); way++) {
        stage s = {.device = open_device("cuda:0,1")};
        fake_cuda_counts before = fake_driver_count();
        weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
        params.workers = 4;
        params.max_batch_size = 2 * ROWS;
        assert_int_equal(make_model(s.device, &s.model, NULL), WEFT_OK);
        assert_int_equal(weft_queue_create(s.device, &params, &s.queue, NULL), WEFT_OK);
        assert_int_equal(weft_queue_add_model(s.queue, s.model, NULL, NULL), WEFT_OK);
        crew_run(THREADS, ways[way], &s);
        for (size_t i = 0; i < THREADS; i++) {
            assert_int_equal(s.wrong[i], 0);
        }
        assert_spread(&before);
        weft_device_statistics statistics;
        weft_device_get_statistics(s.device, &statistics);
        assert_int_equal(statistics.accepted, statistics.done);
        weft_queue_release(s.queue);
        weft_model_release(s.model);
        weft_device_release(s.device);
        fake_driver_assert_empty();
    }
}

/* A model for each of two devices in one process, and one on both. */
static void test_devices_beside_each_other(void **state)
{
    (void)state;
    static const char *const names[] = {"cuda:0", "cuda:1", "cuda:0,1"};
    stage s[3];
    for (size_t i = 0; i < 3; i++) {
        s[i] = (stage){.device = open_device(names[i])};
        assert_int_equal(make_model(s[i].device, &s[i].model, NULL), WEFT_OK);
    }
    for (uint32_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < 3; i++) {
            crew_run(2, run_direct, &s[i]);
            assert_int_equal(s[i].wrong[0] + s[i].wrong[1], 0);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        weft_model_release(s[i].model);
        weft_device_release(s[i].device);
    }
    fake_driver_assert_empty();
}

enum { HELD = 16 };

static void hold(weft_device *device, weft_context **held, int32_t wanted,
                 int32_t on_card[2])
{
    on_card[0] = on_card[1] = 0;
    for (int32_t i = 0; i < wanted; i++) {
        assert_int_equal(weft_context_acquire(device, NULL, &held[i], NULL), WEFT_OK);
        assert_int_equal(held[i]->card, held[i]->stream->card);
        on_card[held[i]->card]++;
    }
}

static void give_back(weft_context **held, int32_t count_held)
{
    for (int32_t i = 0; i < count_held; i++) {
        weft_context_release(held[i]);
    }
}

static void test_leases_are_even(void **state)
{
    (void)state;
    for (int32_t most = 1; most <= 7; most++) {
        weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
        params.max_contexts = most;
        weft_device *device;
        weft_context *held[HELD];
        int32_t on_card[2];
        assert_int_equal(weft_device_open("cuda:0,1", &params, &device, NULL), WEFT_OK);
        for (int32_t wanted = 1; wanted <= most; wanted++) {
            hold(device, held, wanted, on_card);
            int32_t difference = on_card[0] - on_card[1];
            assert_true(difference >= -1 && difference <= 1);
            give_back(held, wanted);
        }
        weft_device_release(device);
        fake_driver_assert_empty();
    }
}

/* After some were given back, all of one card, the next are leased there. */
static void test_the_idle_card_is_next(void **state)
{
    (void)state;
    weft_device *device = open_device("cuda:0,1");
    weft_context *held[HELD], *more[HELD];
    int32_t on_card[2];
    hold(device, held, 8, on_card);
    for (int32_t card = 0; card < 2; card++) {
        for (int32_t i = 0; i < 8; i++) {
            if (held[i] != NULL && held[i]->card == card) {
                weft_context_release(held[i]);
                held[i] = NULL;
            }
        }
        hold(device, more, 4, on_card);
        assert_int_equal(on_card[card], 4);
        for (int32_t i = 0, k = 0; i < 8; i++) {
            held[i] = held[i] == NULL ? more[k++] : held[i];
        }
    }
    give_back(held, 8);
    weft_device_release(device);
    fake_driver_assert_empty();
}

static void assert_bytes(weft_stream *stream, const void *on_card, const char *wanted)
{
    char found[WIDTH] = {0};
    assert_int_equal(weft_stream_copy(stream, found, on_card, sizeof(found), NULL),
                     WEFT_OK);
    assert_int_equal(weft_stream_synchronize(stream, WEFT_FOREVER, NULL), WEFT_OK);
    assert_memory_equal(found, wanted, sizeof(found));
}

static void test_memory_is_of_a_card(void **state)
{
    (void)state;
    weft_device *device = open_device("cuda:0,1");
    weft_context *held[2];
    weft_stream *streams[2];
    weft_memory *memory[2], *again;
    int32_t on_card[2];
    char bytes[WIDTH], sevens[WIDTH];
    memset(bytes, 5, sizeof(bytes));
    memset(sevens, 7, sizeof(sevens));
    hold(device, held, 2, on_card);
    for (size_t i = 0; i < 2; i++) {
        streams[held[i]->card] = weft_context_stream(held[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(weft_memory_allocate(streams[i], WIDTH, &memory[i], NULL),
                         WEFT_OK);
    }
    /* Each stream writes, copies, fills and reads the other card's memory. */
    for (size_t i = 0; i < 2; i++) {
        void *near = weft_memory_data(memory[i]), *far = weft_memory_data(memory[!i]);
        assert_int_equal(weft_memory_touch(memory[!i], streams[i], NULL), WEFT_OK);
        assert_int_equal(weft_stream_copy(streams[i], far, bytes, WIDTH, NULL),
                         WEFT_OK);
        assert_int_equal(weft_stream_copy(streams[i], near, far, WIDTH, NULL), WEFT_OK);
        assert_bytes(streams[i], near, bytes);
        assert_int_equal(weft_stream_fill(streams[i], far, 7, WIDTH, NULL), WEFT_OK);
        assert_bytes(streams[i], far, sevens);
    }
    /* A block is used again where it lies. */
    const void *was = weft_memory_data(memory[1]);
    weft_memory_release(memory[1]);
    assert_int_equal(weft_memory_allocate(streams[0], WIDTH, &again, NULL), WEFT_OK);
    assert_ptr_not_equal(weft_memory_data(again), was);
    weft_memory_release(again);
    assert_int_equal(weft_memory_allocate(streams[1], WIDTH, &again, NULL), WEFT_OK);
    assert_ptr_equal(weft_memory_data(again), was);
    weft_memory_release(again);
    weft_memory_release(memory[0]);
    give_back(held, 2);
    weft_device_release(device);
    fake_driver_assert_empty();
}

static uint64_t memory_of(const char *name, size_t cap_bytes, weft_status *status)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    weft_device_statistics statistics;
    weft_device *device;
    weft_model *model = NULL;
    weft_context *held[2];
    int32_t on_card[2];
    call c;
    params.memory_cap_bytes = cap_bytes;
    assert_int_equal(weft_device_open(name, &params, &device, NULL), WEFT_OK);
    *status = make_model(device, &model, NULL);
    hold(device, held, 2, on_card);
    for (int32_t i = 0; i < 2 && *status == WEFT_OK; i++) {
        prepare(&c, 1, 1);
        *status = weft_context_run(held[i], model, &c.io, NULL);
    }
    weft_device_get_statistics(device, &statistics);
    give_back(held, 2);
    weft_model_release(model);
    weft_device_release(device);
    return statistics.memory_bytes;
}

/* Two contexts need as much on one card as on two; the weights are there twice. */
static void test_memory_is_counted_in_all(void **state)
{
    (void)state;
    weft_status status;
    uint64_t one = memory_of("cuda:0", 0, &status);
    assert_int_equal(status, WEFT_OK);
    uint64_t two = memory_of("cuda:0,1", 0, &status);
    assert_int_equal(status, WEFT_OK);
    assert_int_equal(two, one + WIDTH * sizeof(float));
    (void)memory_of("cuda:0,1", two, &status);
    assert_int_equal(status, WEFT_OK);
    (void)memory_of("cuda:0,1", two - 1, &status);
    assert_int_equal(status, WEFT_OUT_OF_MEMORY);
    fake_driver_assert_empty();
}

/* Everything once, on each card; the first failure ends it. */
static weft_status use_cards(weft_device *device, weft_model **model, weft_error *error)
{
    weft_context *held[2] = {NULL};
    weft_memory *memory[2] = {NULL};
    weft_status status = make_model(device, model, error);
    for (int32_t i = 0; i < 2 && status == WEFT_OK; i++) {
        call c = calls[0];
        bind(&c);
        status = weft_context_acquire(device, NULL, &held[i], error);
        status = status ? status : weft_context_run(held[i], *model, &c.io, error);
        assert_true(status != WEFT_OK || is_right(&c));
    }
    for (int32_t i = 0; i < 2 && status == WEFT_OK; i++) {
        status = weft_memory_allocate(weft_context_stream(held[i]), WIDTH, &memory[i],
                                      error);
    }
    if (status == WEFT_OK) {
        weft_stream *stream = weft_context_stream(held[0]);
        status = weft_stream_copy(stream, weft_memory_data(memory[0]),
                                  weft_memory_data(memory[1]), WIDTH, error);
        status = status ? status
                        : weft_stream_fill(stream, weft_memory_data(memory[1]), 1,
                                           WIDTH, error);
        weft_status ended = weft_stream_synchronize(stream, WEFT_FOREVER,
                                                    status == WEFT_OK ? error : NULL);
        status = status ? status : ended;
    }
    for (int32_t i = 0; i < 2; i++) {
        weft_memory_release(memory[i]);
        weft_context_release(held[i]);
    }
    return status;
}

static weft_status use_everything(weft_error *error)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    weft_device *device = NULL;
    weft_model *model = NULL;
    params.worker_count = 2;
    WEFTI_TRY(weft_device_open("cuda:0,1", &params, &device, error));
    weft_status status = use_cards(device, &model, error);
    weft_model_release(model);
    weft_device_release(device);
    return status;
}

/* Loading the kernels takes many equal calls: of those before `skip_to` some are
 * tried. */
static void fail_each_call(int result, uint64_t skip_to)
{
    uint64_t n = 0;
    for (bool hit = true; hit;) {
        n += n < skip_to ? 1 + 10 * crew_divisor() : 1;
        weft_error error = {0};
        (void)fake.fail_at(n, result);
        weft_status status = use_everything(&error);
        hit = fake.fail_at(0, 0) != 0;
        assert_true(status == WEFT_OK || error.message[0] != '\0');
        assert_true(hit || status == WEFT_OK);
        fake_driver_assert_empty();
    }
    assert_true(n > skip_to);
}

static void test_every_failed_call_is_an_answer(void **state)
{
    (void)state;
    if (!fake.there) {
        skip();
    }
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    weft_device *device;
    params.worker_count = 2;
    uint64_t before = fake_driver_count().calls;
    assert_int_equal(weft_device_open("cuda:0,1", &params, &device, NULL), WEFT_OK);
    uint64_t opening = fake_driver_count().calls - before;
    weft_device_release(device);
    fail_each_call(CUDA_ERROR_INVALID_VALUE, opening);
    fail_each_call(CUDA_ERROR_OUT_OF_MEMORY, opening);
}

/* What is used on the wrong card is seen: else the tests above would prove nothing. */
static void test_the_wrong_card_is_seen(void **state)
{
    (void)state;
    if (!fake.there) {
        skip();
    }
    static const wefti_log log;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    const wefti_backend *cuda = &wefti_backend_cuda;
    wefti_backend_device *first, *second;
    void *far;
    assert_int_equal(cuda->device.open(0, &params, &log, &first, NULL), WEFT_OK);
    assert_int_equal(cuda->device.open(1, &params, &log, &second, NULL), WEFT_OK);
    assert_int_equal(cuda->memory.allocate(second, WIDTH, &far, NULL), WEFT_OK);
    const cuda_driver *driver = &first->driver;
    const cuda_pointer address = (cuda_pointer)(uintptr_t)far;
    char bytes[WIDTH] = {0};
    cuda_pointer made;
    cuda_event event;
    assert_int_equal(wefti_cuda_enter(first, NULL), WEFT_OK);
    assert_int_equal(driver->event_create(&event, 0), 0);

    (void)fake.forgive(1); /* the other card's stream, in this one's context: */
    (void)driver->stream_synchronize(second->memory_stream);
    (void)driver->stream_query(second->memory_stream);
    assert_int_equal(fake.forgive(0), 2);
    (void)fake.forgive(1);
    (void)driver->copy((cuda_pointer)(uintptr_t)bytes, (cuda_pointer)(uintptr_t)bytes,
                       1, second->memory_stream);
    (void)driver->stream_synchronize(second->memory_stream);
    assert_int_equal(fake.forgive(0), 2);
    (void)fake.forgive(1); /* the other card's memory: */
    (void)driver->copy((cuda_pointer)(uintptr_t)bytes, address, WIDTH,
                       first->memory_stream);
    (void)driver->copy(address, (cuda_pointer)(uintptr_t)bytes, WIDTH,
                       first->memory_stream);
    (void)driver->fill(address, 0, WIDTH, first->memory_stream);
    assert_int_equal(fake.forgive(0), 3);
    (void)fake.forgive(1); /* memory and its release: */
    (void)driver->allocate(&made, WIDTH, second->memory_stream);
    (void)driver->free(made, first->memory_stream);
    assert_int_equal(fake.forgive(0), 2);
    (void)fake.forgive(1); /* kernels and events: */
    (void)driver->module_function(&first->functions[0], second->module, "weft_copy");
    (void)driver->event_record(event, second->memory_stream);
    assert_true(fake.forgive(0) >= 2);

    (void)driver->stream_synchronize(first->memory_stream);
    (void)driver->event_destroy(event);
    wefti_cuda_leave(first);
    cuda->memory.free(second, far, WIDTH);
    cuda->device.close(second);
    cuda->device.close(first);
    fake_driver_assert_empty();
}

/* Last: what the card had at the fault is gone, so counts no longer fit. The other card
 * gives all back. */
static void test_a_fault_of_one_card(void **state)
{
    (void)state;
    if (!fake.there) {
        skip();
    }
    weft_device *device = open_device("cuda:0,1");
    weft_model *model;
    weft_context *held[2];
    int32_t on_card[2];
    weft_error error = {0}, later = {0};
    call c;
    assert_int_equal(make_model(device, &model, NULL), WEFT_OK);
    hold(device, held, 2, on_card);
    const int32_t sick = held[0]->card;
    for (int32_t i = 0; i < 2; i++) {
        prepare(&c, 1, 1);
        assert_int_equal(weft_context_run(held[i], model, &c.io, NULL), WEFT_OK);
    }
    fake.fault_next_launch();
    assert_int_equal(weft_context_run(held[0], model, &c.io, &error), WEFT_DEVICE_LOST);
    assert_non_null(strstr(error.message, sick == 0 ? "cuda:0" : "cuda:1"));
    assert_int_equal(weft_context_run(held[1], model, &c.io, &later), WEFT_DEVICE_LOST);
    assert_string_equal(later.message, error.message);
    assert_int_equal(weft_run(model, &c.io, NULL, &later), WEFT_DEVICE_LOST);
    assert_string_equal(later.message, error.message);
    give_back(held, 2);
    weft_model_release(model);
    weft_device_release(device);
    assert_int_equal(fake_driver_count().blocks_of[!sick], 0);
    assert_true(fake_driver_count().blocks_of[sick] > 0);
    assert_int_equal(fake_driver_count().contexts, 0);
    assert_int_equal(fake_driver_count().violations, 0);
    (void)fake.fail_at(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_several_cards),
        cmocka_unit_test(test_all_cards_are_opened_once),
        cmocka_unit_test(test_cards_of_two_kinds_are_refused),
        cmocka_unit_test(test_all_ways_use_both_cards),
        cmocka_unit_test(test_waits_for_the_device_are_recorded),
        cmocka_unit_test(test_devices_beside_each_other),
        cmocka_unit_test(test_leases_are_even),
        cmocka_unit_test(test_the_idle_card_is_next),
        cmocka_unit_test(test_memory_is_of_a_card),
        cmocka_unit_test(test_memory_is_counted_in_all),
        cmocka_unit_test(test_every_failed_call_is_an_answer),
        cmocka_unit_test(test_the_wrong_card_is_seen),
        cmocka_unit_test(test_a_fault_of_one_card),
    };
    (void)fake_driver_find();
    return card_can_be_opened("cuda:0,1")
               ? cmocka_run_group_tests(tests, solve_on_cpu, NULL)
               : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a program may do to a card by weft.h while others run on it: open and close it
 * again and again, make models and graphs, fill its memory, give memory back. On the
 * driver made of C (tests/fake_cuda), or on a card. */
#include <weft/weft.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "backend/cuda/device.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cli/suite.h"
#include "runtime/device.h"
#include "support/crew.h"
#include "support/fake_driver.h"
#include "support/graph_text.h"

/* Elementwise: it computes under ThreadSanitizer too. */
enum { ROWS = 4, WIDTH = 64, COUNT = ROWS * WIDTH, LAUNCHERS = 16 };
static const char net[] =
    "x: f32[4,64]; w = f32[64]; a = Add(x,w); y = Tanh(a); s = Sub(x,y); -> y,s";

static weft_device *open_card(size_t cap_bytes)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    weft_device *device = NULL;
    weft_error error = {0};
    params.worker_count = 2;
    params.memory_cap_bytes = cap_bytes;
    if (weft_device_open("cuda:0", &params, &device, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    /* A recipe's second run has a graph. */
    device->cards[0]->launches_before_graph = 1;
    return device;
}

static weft_model *make_model(weft_device *device, const char *text)
{
    return graph_text_model(device, text, 20, NULL);
}

/* A call of `net` with numbers of a seed. */
typedef struct call {
    float x[COUNT], y[COUNT], s[COUNT];
    weft_tensor input, outputs[2];
    weft_io io;
} call;

static void prepare(call *c, uint32_t seed)
{
    const weft_random_key key = {.seed = seed};
    memset(c, 0, sizeof(*c));
    weft_random_fill_normal(&key, c->x, COUNT);
    c->input = (weft_tensor){
        .data = c->x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, WIDTH}};
    c->outputs[0] = c->outputs[1] = c->input;
    c->outputs[0].data = c->y;
    c->outputs[1].data = c->s;
    c->io = (weft_io){&c->input, 1, c->outputs, 2};
}

static bool same_answers(const call *c, const call *alone)
{
    return memcmp(c->y, alone->y, sizeof(c->y)) == 0 &&
           memcmp(c->s, alone->s, sizeof(c->s)) == 0;
}

static weft_status run(weft_model *model, call *c, weft_error *error)
{
    memset(c->y, 0x55, sizeof(c->y));
    memset(c->s, 0x55, sizeof(c->s));
    return weft_run(model, &c->io, NULL, error);
}

/* Whether it has the bits that it had alone. */
static bool runs_right(weft_model *model, call *c, const call *alone)
{
    return run(model, c, NULL) == WEFT_OK && same_answers(c, alone);
}

/* What is in use on the card, by whomever; 0 where nobody can tell. */
static size_t card_bytes_in_use(void)
{
    int (*retain)(void **, int), (*release)(int), (*push)(void *), (*pop)(void **);
    int (*get_info)(size_t *, size_t *);
    static const char *const names[] = {
        "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2",
        "cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2", "cuMemGetInfo_v2"};
    void *found[WEFTI_COUNT_OF(names)];
    void *const places[] = {&retain, &release, &push, &pop, &get_info};
    void *library = dlopen("libcuda.so.1", RTLD_NOW), *context = NULL;
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        found[i] = library != NULL ? dlsym(library, names[i]) : NULL;
        if (found[i] == NULL) {
            return 0; /* the driver made of C counts itself */
        }
        memcpy(places[i], &found[i], sizeof(found[i]));
    }
    size_t left = 0, all = 0;
    assert_int_equal(retain(&context, 0), 0);
    assert_int_equal(push(context), 0);
    assert_int_equal(get_info(&left, &all), 0);
    (void)pop(&context);
    (void)release(0);
    return all - left;
}

static void test_cards_come_and_go(void **state)
{
    (void)state;
    enum { TIMES = 200, FEW = 24, WARM = 20 };
    const int times = fake.there ? FEW : TIMES;
    size_t after_first = 0;
    call alone, c;
    for (int i = 0; i < times; i++) {
        weft_device *device = open_card(0);
        weft_model *model = make_model(device, net);
        prepare(i == 0 ? &alone : &c, 7);
        if (i == 0) {
            assert_int_equal(weft_run(model, &alone.io, NULL, NULL), WEFT_OK);
        } else {
            assert_true(runs_right(model, &c, &alone));
            assert_true(runs_right(model, &c, &alone)); /* by a graph */
        }
        weft_model_release(model);
        weft_device_release(device);
        fake_driver_assert_empty();
        after_first = i == WARM ? card_bytes_in_use() : after_first;
    }
    const size_t after_last = card_bytes_in_use();
    print_message("in use on the card after %d opens %zu KiB, after %d %zu KiB\n", WARM,
                  after_first >> 10, times, after_last >> 10);
    assert_true(after_last <= after_first + (1u << 20));
}

typedef struct crowd {
    weft_device *device;
    weft_model *model;
    const call *alone;
    wefti_atomic_u32 stop;
    wefti_atomic_u32 calls[LAUNCHERS], right[LAUNCHERS];
    uint32_t wrong[LAUNCHERS], refused[LAUNCHERS]; /* refused: by the cap */
    weft_error errors[LAUNCHERS];                  /* of what was wrong */
    crew_thread threads[LAUNCHERS];
} crowd;

typedef struct launcher {
    crowd *all;
    uint32_t index;
} launcher;

static void launch_on(void *user)
{
    const launcher *self = user;
    crowd *all = self->all;
    call c;
    prepare(&c, 7);
    while (wefti_atomic_u32_load_acquire(&all->stop) == 0) {
        weft_error error = {0};
        const weft_status status = run(all->model, &c, &error);
        const bool refused = status == WEFT_OUT_OF_MEMORY &&
                             strstr(error.message, "the memory cap of") != NULL;
        const bool right = status == WEFT_OK && same_answers(&c, all->alone);
        all->refused[self->index] += refused;
        if (!right && !refused) {
            all->wrong[self->index]++;
            all->errors[self->index] = error;
        }
        (void)wefti_atomic_u32_add_acq_rel(&all->right[self->index], right);
        (void)wefti_atomic_u32_add_acq_rel(&all->calls[self->index], 1);
    }
}

static uint32_t calls_of(const crowd *all)
{
    uint32_t calls = 0;
    for (size_t i = 0; i < LAUNCHERS; i++) {
        calls += wefti_atomic_u32_load_acquire(&all->calls[i]);
    }
    return calls;
}

static bool has_begun(void *user)
{
    const crowd *all = user;
    for (size_t i = 0; i < LAUNCHERS; i++) {
        if (wefti_atomic_u32_load_acquire(&all->calls[i]) < 3) {
            return false;
        }
    }
    return true;
}

static void start_crowd(crowd *all, launcher *launchers, weft_device *device,
                        call *alone)
{
    *all = (crowd){.device = device, .alone = alone};
    all->model = make_model(device, net);
    prepare(alone, 7);
    assert_int_equal(weft_run(all->model, &alone->io, NULL, NULL), WEFT_OK);
    wefti_atomic_u32_init(&all->stop, 0);
    for (uint32_t i = 0; i < LAUNCHERS; i++) {
        wefti_atomic_u32_init(&all->calls[i], 0);
        wefti_atomic_u32_init(&all->right[i], 0);
        launchers[i] = (launcher){all, i};
        crew_start(&all->threads[i], launch_on, &launchers[i]);
    }
    crew_await(has_begun, all);
}

/* Returns how many calls were refused. */
static uint32_t end_crowd(crowd *all)
{
    wefti_atomic_u32_store_release(&all->stop, 1);
    for (size_t i = 0; i < LAUNCHERS; i++) {
        crew_join(&all->threads[i]);
    }
    uint32_t refused = 0;
    for (size_t i = 0; i < LAUNCHERS; i++) {
        if (all->wrong[i] > 0) {
            print_message("wrong: %s\n", all->errors[i].message);
        }
        assert_int_equal(all->wrong[i], 0);
        refused += all->refused[i];
    }
    weft_model_release(all->model);
    return refused;
}

/* A model of its own kind, run until it has a graph; its answers are x + x. */
static void build_one(weft_device *device, uint32_t number)
{
    float x[COUNT], y[COUNT];
    char text[160];
    const int width = 1 + (int)(number % WIDTH);
    (void)snprintf(text, sizeof(text),
                   "x: f32[4,%d]; a = Add(x,x); n = Neg(a); y = Neg(n); -> y", width);
    weft_model *model = make_model(device, text);
    weft_context *context;
    weft_tensor input = {
        .data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, width}};
    weft_tensor output = input;
    output.data = y;
    const weft_io io = {&input, 1, &output, 1};
    for (int i = 0; i < ROWS * width; i++) {
        x[i] = (float)i + (float)number;
    }
    assert_int_equal(weft_context_acquire(device, NULL, &context, NULL), WEFT_OK);
    for (int run = 0; run < 3; run++) {
        memset(y, 0x55, sizeof(y));
        assert_int_equal(weft_context_run(context, model, &io, NULL), WEFT_OK);
        for (int i = 0; i < ROWS * width; i++) {
            assert_true(y[i] == 2 * x[i]);
        }
    }
    weft_context_release(context);
    weft_model_release(model);
}

/* A thread that makes models, plans and graphs, and drops them, beside 16 that launch
 * as fast as they can: each goes on all the while and has its own bits. Who builds has
 * to wait for the driver's lock with all of them, so it may come to fewer. */
static void test_who_builds_disturbs_nobody(void **state)
{
    (void)state;
    enum { BUILDS = 200, FEW = 40, LEAST = 3 };
    const int64_t most_ns = INT64_C(10000000000);
    static crowd all;
    static launcher launchers[LAUNCHERS];
    static call alone;
    weft_device *device = open_card(0);
    start_crowd(&all, launchers, device, &alone);
    const uint32_t before = calls_of(&all);
    const uint32_t wanted = (fake.there ? FEW : BUILDS) / crew_divisor();
    const int64_t begin_ns = wefti_clock_ns();
    int64_t longest_ns = 0;
    uint32_t builds = 0;
    while (builds < wanted && wefti_clock_ns() - begin_ns < most_ns) {
        const int64_t from_ns = wefti_clock_ns();
        build_one(device, builds++);
        const int64_t took_ns = wefti_clock_ns() - from_ns;
        longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
    }
    const uint32_t meanwhile = calls_of(&all) - before;
    print_message("%u calls of 16 threads in %.0f ms while %u graphs were built, the "
                  "slowest in %.1f ms\n",
                  meanwhile, (double)(wefti_clock_ns() - begin_ns) * 1e-6, builds,
                  (double)longest_ns * 1e-6);
    assert_true(builds >= LEAST && meanwhile > builds);
    assert_int_equal(end_crowd(&all), 0);
    weft_device_release(device);
    fake_driver_assert_empty();
}

/* A model whose weights alone are more than the cap. */
enum { CAP = 256 << 10, LARGE_WEIGHTS = 24 };
static weft_status make_large(weft_device *device, weft_model **model,
                              weft_error *error)
{
    char text[LARGE_WEIGHTS * 64] = "a0: f32[64,64]";
    for (int i = 0; i < LARGE_WEIGHTS; i++) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof(text) - used,
                       "; w%d = f32[64,64]; a%d = Add(a%d,w%d)", i, i + 1, i, i);
    }
    (void)snprintf(text + strlen(text), 16, "; -> a%d", LARGE_WEIGHTS);
    weft_graph *graph = graph_text_make(text, 20);
    weft_status status = weft_model_create(device, graph, NULL, model, error);
    weft_graph_release(graph);
    return status;
}

typedef struct progress {
    const crowd *all;
    uint32_t before[LAUNCHERS]; /* right answers */
} progress;

static bool each_has_one_more(void *user)
{
    const progress *self = user;
    bool each = true;
    for (size_t i = 0; i < LAUNCHERS; i++) {
        each = each &&
               wefti_atomic_u32_load_acquire(&self->all->right[i]) != self->before[i];
    }
    return each;
}

/* Every launcher comes to another right answer, or the test fails. */
static void await_progress(const crowd *all)
{
    progress self = {.all = all};
    for (size_t i = 0; i < LAUNCHERS; i++) {
        self.before[i] = wefti_atomic_u32_load_acquire(&all->right[i]);
    }
    crew_await(each_has_one_more, &self);
}

/* What does not fit under the cap is refused to who wants it; 16 others go on, but for
 * calls that want their memory again, which was given back as it was idle, while the
 * large model has all there is. */
static void test_a_full_card(void **state)
{
    (void)state;
    enum { TIMES = 20 };
    static crowd all;
    static launcher launchers[LAUNCHERS];
    static call alone;
    weft_device *device = open_card(CAP);
    weft_device_statistics statistics;
    weft_error error = {0};
    start_crowd(&all, launchers, device, &alone);
    for (int i = 0; i < TIMES; i++) {
        weft_model *large = NULL;
        assert_int_equal(make_large(device, &large, &error), WEFT_OUT_OF_MEMORY);
        assert_null(large);
        assert_non_null(strstr(error.message, "the memory cap of cuda:0, 262144"));
        weft_device_get_statistics(device, &statistics);
        assert_true(statistics.memory_peak_bytes <= CAP);
        assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
        await_progress(&all);
    }
    const uint32_t refused = end_crowd(&all);
    print_message("%u of %u calls refused beside it\n", refused, calls_of(&all));
    assert_true(refused < calls_of(&all) / 2);
    assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    weft_device_get_statistics(device, &statistics);
    assert_int_equal(statistics.memory_bytes, 0);
    weft_device_release(device);
    fake_driver_assert_empty();
}

typedef struct capped {
    weft_model *model;
    const call *alone;
    wefti_atomic_u32 right, refused, wrong;
} capped;

static void run_capped(void *user, uint32_t index)
{
    capped *self = user;
    call c;
    prepare(&c, 7);
    (void)index;
    for (int i = 0; i < 20; i++) {
        weft_error error = {0};
        memset(c.y, 0x55, sizeof(c.y));
        weft_status status = weft_run(self->model, &c.io, NULL, &error);
        const float none[COUNT] = {0};
        const bool refused = status == WEFT_OUT_OF_MEMORY &&
                             strstr(error.message, "the model's memory cap") != NULL &&
                             memcmp(c.y, none, sizeof(c.y)) == 0;
        const bool right =
            status == WEFT_OK && memcmp(c.y, self->alone->y, sizeof(c.y)) == 0;
        (void)wefti_atomic_u32_add_acq_rel(&self->right, right);
        (void)wefti_atomic_u32_add_acq_rel(&self->refused, refused);
        (void)wefti_atomic_u32_add_acq_rel(&self->wrong, !right && !refused);
    }
}

/* A model whose cap has room for one run at a time: what is refused is refused to its
 * caller, all others have their answers. */
static void test_the_cap_of_a_model(void **state)
{
    (void)state;
    weft_device *device = open_card(0);
    weft_model *model = make_model(device, net);
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    weft_device_statistics used;
    capped all = {0};
    call alone;
    prepare(&alone, 7);
    assert_int_equal(weft_run(model, &alone.io, NULL, NULL), WEFT_OK);
    weft_device_get_statistics(device, &used); /* its weights, one workspace */
    weft_model_release(model);
    weft_graph *graph = graph_text_make(net, 20);
    params.memory_cap_bytes = used.memory_bytes;
    assert_int_equal(weft_model_create(device, graph, &params, &all.model, NULL),
                     WEFT_OK);
    weft_graph_release(graph);
    all.alone = &alone;
    crew_run(8, run_capped, &all);
    const uint32_t right = wefti_atomic_u32_load_acquire(&all.right);
    const uint32_t refused = wefti_atomic_u32_load_acquire(&all.refused);
    print_message("%u right, %u refused\n", right, refused);
    assert_int_equal(wefti_atomic_u32_load_acquire(&all.wrong), 0);
    assert_true(right > 0);
    assert_true(refused > 0);
    weft_model_release(all.model);
    weft_device_release(device);
    fake_driver_assert_empty();
}

/* The memory of idle contexts goes back to the card, and what ran runs again. */
static void test_trim(void **state)
{
    (void)state;
    weft_device *device = open_card(0);
    weft_model *model = make_model(device, net);
    weft_device_statistics used, idle;
    call alone, c;
    prepare(&alone, 7);
    prepare(&c, 7);
    assert_int_equal(weft_run(model, &alone.io, NULL, NULL), WEFT_OK);
    assert_true(runs_right(model, &c, &alone));
    const uint32_t blocks = fake_driver_count().device_blocks;
    weft_device_get_statistics(device, &used);
    assert_int_equal(weft_device_trim(device, NULL), WEFT_OK);
    weft_device_get_statistics(device, &idle);
    assert_true(idle.memory_bytes < used.memory_bytes);
    assert_true(fake_driver_count().device_blocks < blocks || !fake.there);
    for (int i = 0; i < 3; i++) { /* the graph had the old address in it */
        assert_true(runs_right(model, &c, &alone));
    }
    weft_model_release(model);
    weft_device_release(device);
    fake_driver_assert_empty();
}

/* The command's rows with tensors on the card: right, and no call of the timed pass
 * allocates, for each context was warmed there. */
static void test_rows_on_the_card(void **state)
{
    (void)state;
    const cli_suite_options options = {
        .device = "cuda:0",
        .rows = "table1/relu",
        .threads = {{1, 4}, 2},
        .iterations = 2,
        .distinct = 2,
        .seconds = 0.05,
        .on_card = true,
        .no_golden = true,
        .quiet = true,
    };
    cli_suite suite;
    assert_true(cli_suite_run(&options, &suite));
    assert_int_equal(suite.direct.count, 2);
    for (size_t i = 0; i < suite.direct.count; i++) {
        const cli_result *result = &suite.direct.list[i];
        print_message("%s", result->verdict == CLI_PASSED ? "" : result->reason);
        assert_true(result->timed.calls > 0);
    }
    assert_true(cli_suite_passed(&suite));
    cli_suite_fini(&suite);
    fake_driver_assert_empty();
}

/* Four that run, submit and queue while one call of the driver fails. */
enum { FAILING = 4, CALLS = 3 };
typedef struct failing {
    weft_model *model;
    weft_queue *queue;
    const call *alone;
    wefti_atomic_u32 wrong;
    uint32_t failed[FAILING];
} failing;

static weft_status call_by(const failing *f, uint32_t way, call *c, weft_error *error)
{
    weft_request *request = NULL;
    if (way % 3 == 0) {
        return weft_run(f->model, &c->io, NULL, error);
    }
    weft_status status =
        way % 3 == 1
            ? weft_queue_submit(f->queue, f->model, &c->io, NULL, &request, error)
            : weft_submit(f->model, &c->io, NULL, &request, error);
    status = status ? status : weft_request_wait(request, WEFT_FOREVER, error);
    weft_request_release(request);
    return status;
}

static void call_and_fail(void *user, uint32_t index)
{
    failing *f = user;
    for (uint32_t i = 0; i < CALLS; i++) {
        weft_error error = {0};
        call c;
        prepare(&c, 7);
        weft_status status = call_by(f, index + i, &c, &error);
        const bool right = memcmp(c.y, f->alone->y, sizeof(c.y)) == 0 &&
                           memcmp(c.s, f->alone->s, sizeof(c.s)) == 0;
        if (status == WEFT_OK ? !right : error.message[0] == '\0') {
            (void)wefti_atomic_u32_add_acq_rel(&f->wrong, 1);
        }
        f->failed[index] += status != WEFT_OK;
    }
}

/* Each call of the driver in turn fails once, whose it may be: others have their
 * answers, rules are kept, and all is given back. */
static void fail_beside_others(int result)
{
    uint32_t failed = 0;
    for (uint64_t n = 1, hit = 1; hit != 0; n += 2 * crew_divisor()) {
        failing f = {0};
        call alone, c;
        weft_device *device = open_card(0);
        f.model = make_model(device, net);
        f.alone = &alone;
        prepare(&alone, 7);
        assert_int_equal(weft_run(f.model, &alone.io, NULL, NULL), WEFT_OK);
        assert_int_equal(weft_queue_create(device, NULL, &f.queue, NULL), WEFT_OK);
        assert_int_equal(weft_queue_add_model(f.queue, f.model, NULL, NULL), WEFT_OK);
        (void)fake.fail_at(n, result);
        crew_run(FAILING, call_and_fail, &f);
        hit = (uint64_t)fake.fail_at(0, 0);
        assert_int_equal(wefti_atomic_u32_load_acquire(&f.wrong), 0);
        for (size_t i = 0; i < FAILING; i++) {
            failed += f.failed[i];
        }
        prepare(&c, 7);
        assert_true(runs_right(f.model, &c, &alone));
        weft_queue_release(f.queue);
        weft_model_release(f.model);
        weft_device_release(device);
        fake_driver_assert_empty();
    }
    print_message("%u calls failed\n", failed);
    assert_true(failed > 0);
}

static void test_failures_beside_others(void **state)
{
    (void)state;
    if (!fake.there) {
        skip();
    }
    fail_beside_others(CUDA_ERROR_INVALID_VALUE);
    fail_beside_others(CUDA_ERROR_OUT_OF_MEMORY);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_builds_disturbs_nobody),
        cmocka_unit_test(test_a_full_card),
        cmocka_unit_test(test_the_cap_of_a_model),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_rows_on_the_card),
        cmocka_unit_test(test_failures_beside_others),
        cmocka_unit_test(test_cards_come_and_go),
    };
    (void)fake_driver_find();
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return card_can_be_opened("cuda:0") ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}

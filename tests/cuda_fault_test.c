/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel reads a bad address while threads run, submit and queue: all of them are
 * told why, later calls refuse at once, everything can be released, and the process
 * ends by itself. Where there are two cards, the other one goes on. In a child process,
 * for the card is lost to it. On the driver made of C (tests/fake_cuda) or a card,
 * where there is one. */
#include <weft/weft.h>

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "backend/kernel.h"
#include "base/clock.h"
#include "base/thread.h"
#include "runtime/device.h"
#include "support/graph_text.h"

enum { CALLERS = 12, ROWS = 32, FEATURES = 64, HIDDEN = 128, COUNT = 300 };
enum { WARM_CALLS = 5, MOST_SECONDS = 60, SECOND_NS = 1000000000 };
static const uintptr_t bad_address = 0x1000;

#define MODEL_PATH WEFT_SOURCE_DIR "/tests/golden/t1_linear/dynamo/model.onnx"

typedef struct caller {
    pthread_t thread;
    weft_model *model;
    int32_t width;     /* of its answers */
    weft_queue *queue; /* NULL: by itself */
    bool submits;
    wefti_atomic_u32 *warm;
    weft_status status;
    weft_error error;
} caller;

/* Something to see from outside: the child says which promise was broken. */
#define PROMISE(condition)                                                             \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "broken: %s (line %d)\n", #condition, __LINE__);           \
            _exit(1);                                                                  \
        }                                                                              \
    } while (0)

static weft_status call(const caller *c, float *x, float *y, weft_error *error)
{
    weft_tensor input = {
        .data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, FEATURES}};
    weft_tensor output = {
        .data = y, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, c->width}};
    weft_io io = {&input, 1, &output, 1};
    weft_request *request = NULL;
    weft_status status = WEFT_OK;
    if (!c->submits && c->queue == NULL) {
        return weft_run(c->model, &io, NULL, error);
    }
    status = c->queue != NULL
                 ? weft_queue_submit(c->queue, c->model, &io, NULL, &request, error)
                 : weft_submit(c->model, &io, NULL, &request, error);
    if (status == WEFT_OK) {
        status = weft_request_wait(request, WEFT_FOREVER, error);
        weft_request_release(request);
    }
    return status;
}

/* Until something else than an answer comes. */
static void *call_on(void *user)
{
    caller *c = user;
    float x[ROWS * FEATURES] = {1.0f}, y[ROWS * HIDDEN];
    for (int i = 0; c->status == WEFT_OK; i++) {
        c->status = call(c, x, y, &c->error);
        if (i == WARM_CALLS) {
            (void)wefti_atomic_u32_add_acq_rel(c->warm, 1);
        }
    }
    return NULL;
}

/* Runs a step that reads a workspace which is not there. */
static weft_status read_bad_address(weft_device *device, weft_error *error)
{
    const wefti_backend *backend = device->backend;
    const wefti_elementwise_params params = {
        .type = WEFT_TYPE_F32,
        .output_type = WEFT_TYPE_F32,
        .input_types = {WEFT_TYPE_F32},
        .rank = 1,
        .dims = {COUNT},
        .input_count = 1,
        .input_strides = {{1}},
        .instruction_count = 1,
        .instructions = {{.operation = WEFTI_OP_NEG}},
    };
    wefti_step step = {.kernel = WEFTI_KERNEL_ELEMENTWISE,
                       .params = &params,
                       .params_bytes = sizeof(params),
                       .label = "bad"};
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        step.operands[i] = WEFTI_OPERAND_ABSENT;
    }
    step.operands[0].slot = WEFTI_SLOT_WORKSPACE;
    step.operands[WEFTI_ELEMENTWISE_OUTPUT].slot = 1;
    float output[COUNT];
    const size_t bytes = sizeof(output);
    const wefti_recipe_params wanted = {.steps = &step,
                                        .step_count = 1,
                                        .workspace_bytes = bytes,
                                        .output_bytes = &bytes,
                                        .output_count = 1};
    wefti_backend_stream *stream;
    wefti_recipe *recipe;
    WEFTI_TRY(backend->stream.create(device->cards[0], &stream, error));
    WEFTI_TRY(backend->recipe.create(device->cards[0], &wanted, &recipe, error));
    void *slots[2] = {(void *)bad_address, output};
    weft_status status = backend->stream.execute(stream, recipe, slots, 2, error);
    weft_status ended = backend->stream.synchronize(stream, WEFTI_NEVER,
                                                    status == WEFT_OK ? error : NULL);
    backend->stream.destroy(stream);
    backend->recipe.destroy(recipe);
    return status == WEFT_OK ? ended : status;
}

typedef void fault_function(int card);

/* What breaks a card of the driver made of C; NULL: the driver is another one. */
static fault_function *find_fake(void)
{
    fault_function *fault_next_launch_on = NULL;
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    void *found =
        library != NULL ? dlsym(library, "fake_cuda_fault_next_launch_on") : NULL;
    memcpy(&fault_next_launch_on, &found, sizeof(found));
    return fault_next_launch_on;
}

/* The driver made of C has a switch instead: it would die of the address itself. */
static bool use_fake(int card)
{
    fault_function *fault_next_launch_on = find_fake();
    if (fault_next_launch_on != NULL) {
        fault_next_launch_on(card);
    }
    return fault_next_launch_on != NULL;
}

static weft_model *load(weft_device *device)
{
    weft_graph *graph;
    weft_model *model;
    PROMISE(weft_graph_load_onnx(MODEL_PATH, NULL, &graph, NULL) == WEFT_OK);
    PROMISE(weft_model_create(device, graph, NULL, &model, NULL) == WEFT_OK);
    weft_graph_release(graph);
    return model;
}

static void check_refusals(weft_device *device, const caller *c)
{
    float x[ROWS * FEATURES] = {0}, y[ROWS * HIDDEN];
    weft_error error;
    const int64_t begin_ns = wefti_clock_ns();
    for (int i = 0; i < 100; i++) {
        PROMISE(call(c, x, y, &error) == WEFT_DEVICE_LOST);
        PROMISE(strstr(error.message, "failed for good") != NULL);
    }
    PROMISE(device->backend->device.health(device->cards[0], &error) ==
            WEFT_DEVICE_LOST);
    PROMISE(wefti_clock_ns() - begin_ns < SECOND_NS);
}

static int live_through_a_fault(void)
{
    static caller callers[CALLERS];
    wefti_atomic_u32 warm;
    weft_device *device;
    weft_queue *queue;
    weft_error error;
    wefti_atomic_u32_init(&warm, 0);
    alarm(MOST_SECONDS);
    PROMISE(weft_device_open("cuda:0", NULL, &device, &error) == WEFT_OK);
    PROMISE(weft_queue_create(device, NULL, &queue, &error) == WEFT_OK);
    weft_model *model = load(device);
    PROMISE(weft_queue_add_model(queue, model, NULL, &error) == WEFT_OK);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){.model = model,
                              .width = HIDDEN,
                              .queue = i % 3 == 1 ? queue : NULL,
                              .submits = i % 3 == 2,
                              .warm = &warm};
        PROMISE(pthread_create(&callers[i].thread, NULL, call_on, &callers[i]) == 0);
    }
    while (wefti_atomic_u32_load_acquire(&warm) < CALLERS) {
        wefti_thread_yield();
    }
    if (!use_fake(0)) {
        PROMISE(read_bad_address(device, &error) == WEFT_DEVICE_LOST);
        fprintf(stderr, "%s\n", error.message);
    }
    for (int i = 0; i < CALLERS; i++) {
        PROMISE(pthread_join(callers[i].thread, NULL) == 0);
        PROMISE(callers[i].status == WEFT_DEVICE_LOST);
        PROMISE(strstr(callers[i].error.message, "failed for good") != NULL);
    }
    check_refusals(device, &callers[0]);
    weft_queue_release(queue);
    weft_model_release(model);
    weft_device_release(device);
    return 0;
}

/* Three devices in one process: the well card, the sick one, and both as one, whose
 * model has a queue. */
enum { WELL, SICK, BOTH, DEVICES, PAIR_CALLERS = 9, CALLS_AFTER = 200 };
static const char *const pair_names[DEVICES] = {"cuda:0", "cuda:1", "cuda:0,1"};

/* Elementwise: the card made of C computes it under ThreadSanitizer too. */
static weft_model *make_pair_model(weft_device *device)
{
    weft_graph *graph = graph_text_make("x: f32[batch,64]; w = f32[64]; a = Add(x,w); "
                                        "m = Mul(a,x); y = Tanh(m); -> y",
                                        20);
    weft_model *model;
    PROMISE(weft_model_create(device, graph, NULL, &model, NULL) == WEFT_OK);
    weft_graph_release(graph);
    return model;
}

typedef struct pair_caller {
    caller base;
    const float *expected;
    wefti_atomic_u32 *stop;
    wefti_atomic_u32 right; /* answers so far */
} pair_caller;

static void fill_input(float *x)
{
    for (int i = 0; i < ROWS * FEATURES; i++) {
        x[i] = (float)(i % 17) - 8.0f;
    }
}

/* Until something else than an answer comes, or it is told to stop; every answer is
 * compared. */
static void *call_pair(void *user)
{
    pair_caller *c = user;
    float x[ROWS * FEATURES], y[ROWS * FEATURES];
    fill_input(x);
    while (c->base.status == WEFT_OK && wefti_atomic_u32_load_acquire(c->stop) == 0) {
        memset(y, 0, sizeof(y));
        c->base.status = call(&c->base, x, y, &c->base.error);
        if (c->base.status == WEFT_OK) {
            PROMISE(memcmp(y, c->expected, sizeof(y)) == 0);
            (void)wefti_atomic_u32_add_acq_rel(&c->right, 1);
        }
    }
    return NULL;
}

static void await_right(pair_caller *c, uint32_t more)
{
    const uint32_t from = wefti_atomic_u32_load_acquire(&c->right);
    while (wefti_atomic_u32_load_acquire(&c->right) - from < more) {
        wefti_thread_yield();
    }
}

typedef struct pair_stage {
    weft_device *devices[DEVICES];
    weft_model *models[DEVICES];
    weft_queue *queue;
    float expected[ROWS * FEATURES];
    wefti_atomic_u32 stop;
    pair_caller callers[PAIR_CALLERS]; /* of the devices in turn */
} pair_stage;

/* The same bits of all three. */
static void open_pair(pair_stage *s)
{
    float x[ROWS * FEATURES], y[ROWS * FEATURES];
    fill_input(x);
    for (int i = 0; i < DEVICES; i++) {
        PROMISE(weft_device_open(pair_names[i], NULL, &s->devices[i], NULL) == WEFT_OK);
        s->models[i] = make_pair_model(s->devices[i]);
        const caller solo = {.model = s->models[i], .width = FEATURES};
        PROMISE(call(&solo, x, i == 0 ? s->expected : y, NULL) == WEFT_OK);
        PROMISE(i == 0 || memcmp(y, s->expected, sizeof(y)) == 0);
    }
    PROMISE(weft_queue_create(s->devices[BOTH], NULL, &s->queue, NULL) == WEFT_OK);
    PROMISE(weft_queue_add_model(s->queue, s->models[BOTH], NULL, NULL) == WEFT_OK);
}

static void start_pair(pair_stage *s)
{
    wefti_atomic_u32_init(&s->stop, 0);
    for (int i = 0; i < PAIR_CALLERS; i++) {
        pair_caller *c = &s->callers[i];
        c->base.model = s->models[i % DEVICES];
        c->base.width = FEATURES;
        c->base.queue = i % DEVICES == BOTH ? s->queue : NULL;
        c->expected = s->expected;
        c->stop = &s->stop;
        wefti_atomic_u32_init(&c->right, 0);
        PROMISE(pthread_create(&c->base.thread, NULL, call_pair, c) == 0);
    }
    for (int i = 0; i < PAIR_CALLERS; i++) {
        await_right(&s->callers[i], WARM_CALLS);
    }
}

/* Whether a caller of a device has been told of a card's end: by the driver made of C
 * of the sick one's. A real driver leaves no card of the process in order after a bad
 * address (CUDA_ERROR_ILLEGAL_ADDRESS, "any further CUDA work will return the same
 * error"; so seen on two H200), and a device on both may meet it on either. Prints what
 * else was. */
static bool was_told(int index, const caller *c)
{
    const bool is_fake = find_fake() != NULL;
    const bool told = c->status == WEFT_DEVICE_LOST &&
                      (!is_fake || strstr(c->error.message, "cuda:1") != NULL) &&
                      strstr(c->error.message, "failed for good") != NULL;
    if (!told) {
        fprintf(stderr, "caller %d of %s: status %d: %s\n", index,
                pair_names[index % DEVICES], (int)c->status, c->error.message);
    }
    return told;
}

/* Whoever used the sick card is told so; then the well one's callers get right answers
 * on, or are told by a driver that has given up all cards. Returns whether they go on.
 */
static bool join_pair(pair_stage *s)
{
    const bool is_fake = find_fake() != NULL;
    bool told = true;
    for (int i = 0; i < PAIR_CALLERS; i++) {
        const caller *c = &s->callers[i].base;
        if (i % DEVICES != WELL) {
            PROMISE(pthread_join(c->thread, NULL) == 0);
            told = was_told(i, c) && told;
        }
    }
    PROMISE(told);
    for (int i = WELL; is_fake && i < PAIR_CALLERS; i += DEVICES) {
        await_right(&s->callers[i], CALLS_AFTER);
    }
    wefti_atomic_u32_store_release(&s->stop, 1);
    bool goes_on = true;
    for (int i = WELL; i < PAIR_CALLERS; i += DEVICES) {
        const caller *c = &s->callers[i].base;
        PROMISE(pthread_join(c->thread, NULL) == 0);
        PROMISE(c->status == WEFT_OK || (!is_fake && was_told(i, c)));
        goes_on = goes_on && c->status == WEFT_OK;
    }
    return goes_on;
}

/* New things can be made on the well card. */
static void check_well(const float *expected)
{
    float x[ROWS * FEATURES], y[ROWS * FEATURES];
    weft_device *again;
    fill_input(x);
    PROMISE(weft_device_open("cuda:0", NULL, &again, NULL) == WEFT_OK);
    const caller late = {.model = make_pair_model(again), .width = FEATURES};
    PROMISE(call(&late, x, y, NULL) == WEFT_OK);
    PROMISE(memcmp(y, expected, sizeof(y)) == 0);
    weft_model_release(late.model);
    weft_device_release(again);
}

/* None can be made on the sick one; the queue on both has lost no request and ends in
 * time. */
static void end_pair(pair_stage *s)
{
    float x[ROWS * FEATURES], y[ROWS * FEATURES];
    weft_queue_statistics counts;
    fill_input(x);
    check_refusals(s->devices[SICK], &s->callers[SICK].base);
    PROMISE(call(&s->callers[BOTH].base, x, y, NULL) == WEFT_DEVICE_LOST);
    weft_queue_close(s->queue);
    PROMISE(weft_queue_drain(s->queue, SECOND_NS, NULL) == WEFT_OK);
    weft_queue_get_statistics(s->queue, &counts);
    PROMISE(counts.accepted ==
            counts.done + counts.failed + counts.cancelled + counts.timed_out);
    weft_queue_release(s->queue);
    for (int i = 0; i < DEVICES; i++) {
        weft_model_release(s->models[i]);
        weft_device_release(s->devices[i]);
    }
}

static int live_beside_a_fault(void)
{
    static pair_stage s;
    weft_error error;
    alarm(MOST_SECONDS);
    open_pair(&s);
    start_pair(&s);
    if (!use_fake(1)) {
        PROMISE(read_bad_address(s.devices[SICK], &error) == WEFT_DEVICE_LOST);
        fprintf(stderr, "%s\n", error.message);
    }
    if (join_pair(&s)) {
        check_well(s.expected);
    }
    end_pair(&s);
    return 0;
}

static void in_a_child(int (*live)(void))
{
    int status = -1;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        exit(live());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_fault_is_told_to_all(void **state)
{
    (void)state;
    in_a_child(live_through_a_fault);
}

/* Asked in a child too: what has opened the driver must not fork. */
static bool can_open(const char *name)
{
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
        weft_device *device;
        weft_error error;
        weft_status opened = weft_device_open(name, NULL, &device, &error);
        if (opened != WEFT_OK) {
            fprintf(stderr, "left out: %s\n", error.message);
            _exit(1);
        }
        weft_device_release(device);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void a_fault_of_one_card_beside_another(void **state)
{
    (void)state;
    if (!can_open("cuda:0,1")) {
        skip();
    }
    in_a_child(live_beside_a_fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fault_is_told_to_all),
        cmocka_unit_test(a_fault_of_one_card_beside_another),
    };
    return can_open("cuda:0") ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}

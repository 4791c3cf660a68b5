/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel reads a bad address while threads run, submit and queue: all of them are
 * told why, later calls refuse at once, everything can be released, and the process
 * ends by itself. In a child process, for the card is lost to it. On the driver made of
 * C (tests/fake_cuda) or a card, where there is one. */
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

enum { CALLERS = 12, ROWS = 32, FEATURES = 64, HIDDEN = 128, COUNT = 300 };
enum { WARM_CALLS = 5, MOST_SECONDS = 60, SECOND_NS = 1000000000 };
static const uintptr_t bad_address = 0x1000;

#define MODEL_PATH WEFT_SOURCE_DIR "/tests/golden/t1_linear/dynamo/model.onnx"

typedef struct caller {
    pthread_t thread;
    weft_model *model;
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
        .data = y, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, HIDDEN}};
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

/* The driver made of C has a switch instead: it would die of the address itself. */
static bool use_fake(void)
{
    void (*fault_next_launch)(void);
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    void *found =
        library != NULL ? dlsym(library, "fake_cuda_fault_next_launch") : NULL;
    if (found == NULL) {
        return false;
    }
    memcpy(&fault_next_launch, &found, sizeof(found));
    fault_next_launch();
    return true;
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
                              .queue = i % 3 == 1 ? queue : NULL,
                              .submits = i % 3 == 2,
                              .warm = &warm};
        PROMISE(pthread_create(&callers[i].thread, NULL, call_on, &callers[i]) == 0);
    }
    while (wefti_atomic_u32_load_acquire(&warm) < CALLERS) {
        wefti_thread_yield();
    }
    if (!use_fake()) {
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

static void a_fault_is_told_to_all(void **state)
{
    (void)state;
    int status = -1;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        exit(live_through_a_fault());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Asked in a child too: what has opened the driver must not fork. */
static bool has_card(void)
{
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
        weft_device *device;
        weft_error error;
        weft_status opened = weft_device_open("cuda:0", NULL, &device, &error);
        if (opened != WEFT_OK) {
            fprintf(stderr, "left out: %s\n", error.message);
            _exit(1);
        }
        weft_device_release(device);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fault_is_told_to_all),
    };
    return has_card() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The host's part of the CUDA backend on a driver made of C (tests/fake_cuda), which
 * checks the rules of graphs and memory and fails any call. Left out where the driver
 * is a real one or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/graphs.h"
#include "backend/cuda/recipe.h"
#include "backend/host_cast.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "support/fake_driver.h"

static const wefti_backend *const cuda = &wefti_backend_cuda;

static weft_status open_device(wefti_backend_device **device, weft_error *error)
{
    static const wefti_log log;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 2;
    weft_status status = cuda->device.open(0, &params, &log, device, error);
    if (status == WEFT_OK) {
        (*device)->launches_before_graph = 1; /* the second run has a graph */
    }
    return status;
}

/* y = x + c: an input, an output and a constant. In two kernels that do the same, for
 * one alone has no graph. */
enum { COUNT = 300, KERNELS = 2 };
typedef struct addition {
    wefti_backend_device *device;
    wefti_backend_stream *stream;
    wefti_recipe *recipe;
    void *workspace;
    size_t workspace_bytes;
    float constant[COUNT];
} addition;

static weft_status make_recipe(addition *a, weft_error *error)
{
    const wefti_elementwise_params params = {
        .type = WEFT_TYPE_F32,
        .output_type = WEFT_TYPE_F32,
        .input_types = {WEFT_TYPE_F32, WEFT_TYPE_F32},
        .rank = 1,
        .dims = {COUNT},
        .input_count = 2,
        .input_strides = {{1}, {1}},
        .instruction_count = 1,
        .instructions = {{.operation = WEFTI_OP_ADD, .a = 0, .b = 1}},
    };
    wefti_step step = {.kernel = WEFTI_KERNEL_ELEMENTWISE,
                       .params = &params,
                       .params_bytes = sizeof(params),
                       .label = "addition"};
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        step.operands[i] = WEFTI_OPERAND_ABSENT;
    }
    step.operands[0].slot = 1;
    step.operands[1].constant = a->constant;
    step.operands[WEFTI_ELEMENTWISE_OUTPUT].slot = 2;
    const size_t bytes = sizeof(a->constant);
    const wefti_step steps[] = {step, step};
    const wefti_recipe_params wanted = {.steps = steps,
                                        .step_count = KERNELS,
                                        .input_bytes = &bytes,
                                        .output_bytes = &bytes,
                                        .input_count = 1,
                                        .output_count = 1};
    return cuda->recipe.create(a->device, &wanted, &a->recipe, error);
}

static weft_status make(addition *a, wefti_backend_device *device, float constant,
                        weft_error *error)
{
    *a = (addition){.device = device};
    for (size_t i = 0; i < COUNT; i++) {
        a->constant[i] = constant + (float)i;
    }
    WEFTI_TRY(cuda->stream.create(device, &a->stream, error));
    WEFTI_TRY(make_recipe(a, error));
    a->workspace_bytes = cuda->recipe.workspace_bytes(a->recipe);
    return cuda->memory.allocate(device, a->workspace_bytes, &a->workspace, error);
}

static void drop(addition *a)
{
    cuda->stream.destroy(a->stream);
    cuda->recipe.destroy(a->recipe);
    cuda->memory.free(a->device, a->workspace, a->workspace_bytes);
}

/* Returns how many elements are wrong; -1 when it failed. */
static int32_t run(addition *a, float x, weft_error *error)
{
    float input[COUNT], output[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        input[i] = x;
    }
    void *slots[3] = {a->workspace, input, output};
    weft_status status = cuda->stream.execute(a->stream, a->recipe, slots, 3, error);
    weft_status ended = cuda->stream.synchronize(a->stream, WEFTI_NEVER,
                                                 status == WEFT_OK ? error : NULL);
    if (status != WEFT_OK || ended != WEFT_OK) {
        return -1;
    }
    int32_t wrong = 0;
    for (size_t i = 0; i < COUNT; i++) {
        wrong += output[i] != x + a->constant[i];
    }
    return wrong;
}

static void devices_come_and_go(void **state)
{
    (void)state;
    for (int32_t i = 0; i < 200; i++) {
        wefti_backend_device *device = NULL;
        addition a;
        assert_int_equal(open_device(&device, NULL), WEFT_OK);
        assert_int_equal(make(&a, device, 1.0f, NULL), WEFT_OK);
        assert_int_equal(run(&a, (float)i, NULL), 0);
        drop(&a);
        cuda->device.close(device);
        fake_driver_assert_empty();
    }
}

static void cards_are_counted(void **state)
{
    (void)state;
    static const wefti_log log;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    wefti_backend_device *device = NULL;
    weft_error error;
    assert_int_equal(cuda->device.open(2, &params, &log, &device, &error),
                     WEFT_NOT_FOUND);
    assert_non_null(strstr(error.message, "cuda:0 to cuda:1"));
    assert_int_equal(cuda->device.open(1, &params, &log, &device, &error), WEFT_OK);
    weft_device_info info = {0};
    cuda->device.get_info(device, &info);
    assert_non_null(strstr(info.description, "MiB"));
    cuda->device.close(device);
    fake_driver_assert_empty();
}

typedef struct caller {
    wefti_backend_device *device;
    float constant;
    int32_t wrong;
    weft_status status;
    wefti_thread thread;
} caller;

static void call_again_and_again(void *argument)
{
    caller *c = argument;
    addition a;
    c->status = make(&a, c->device, c->constant, NULL);
    for (int32_t i = 0; i < 100 && c->status == WEFT_OK; i++) {
        c->wrong += run(&a, c->constant * (float)i, NULL) != 0;
    }
    drop(&a);
}

static void threads_have_their_own_answers(void **state)
{
    (void)state;
    enum { THREADS = 16 };
    static caller callers[THREADS];
    wefti_backend_device *device = NULL;
    assert_int_equal(open_device(&device, NULL), WEFT_OK);
    for (size_t i = 0; i < THREADS; i++) {
        callers[i] = (caller){.device = device, .constant = (float)(i * 1000)};
        assert_int_equal(wefti_thread_start(&callers[i].thread, "caller",
                                            call_again_and_again, &callers[i], NULL),
                         WEFT_OK);
    }
    for (size_t i = 0; i < THREADS; i++) {
        wefti_thread_join(&callers[i].thread);
        assert_int_equal(callers[i].status, WEFT_OK);
        assert_int_equal(callers[i].wrong, 0);
    }
    cuda->device.close(device);
    fake_driver_assert_empty();
}

/* y = bf16(f32(x) + f32(x)), as three steps, of which the card's graph has one kernel:
 * the inputs are widened as they come, the outputs rounded as they go. */
static weft_status make_sum_of_halves(wefti_backend_device *device, int64_t count,
                                      wefti_recipe **recipe)
{
    const int64_t output_at = (count * 4 + 63) / 64 * 64;
    const wefti_copy_params widen = {.source_type = WEFT_TYPE_BF16,
                                     .target_type = WEFT_TYPE_F32,
                                     .rank = 1,
                                     .dims = {count},
                                     .source_strides = {1},
                                     .target_strides = {1}};
    const wefti_copy_params narrow = {.source_type = WEFT_TYPE_F32,
                                      .target_type = WEFT_TYPE_BF16,
                                      .rank = 1,
                                      .dims = {count},
                                      .source_strides = {1},
                                      .target_strides = {1}};
    const wefti_elementwise_params add = {
        .type = WEFT_TYPE_F32,
        .output_type = WEFT_TYPE_F32,
        .input_types = {WEFT_TYPE_F32, WEFT_TYPE_F32},
        .rank = 1,
        .dims = {count},
        .input_count = 2,
        .input_strides = {{1}, {1}},
        .instruction_count = 1,
        .instructions = {{.operation = WEFTI_OP_ADD, .a = 0, .b = 1}},
    };
    wefti_step steps[] = {{.kernel = WEFTI_KERNEL_COPY, .params = &widen},
                          {.kernel = WEFTI_KERNEL_ELEMENTWISE, .params = &add},
                          {.kernel = WEFTI_KERNEL_COPY, .params = &narrow}};
    const size_t sizes[] = {sizeof(widen), sizeof(add), sizeof(narrow)};
    for (size_t i = 0; i < WEFTI_COUNT_OF(steps); i++) {
        steps[i].params_bytes = sizes[i];
        for (int32_t j = 0; j < WEFTI_MAX_OPERANDS; j++) {
            steps[i].operands[j] = WEFTI_OPERAND_ABSENT;
        }
    }
    steps[0].operands[WEFTI_COPY_SOURCE].slot = 1;
    steps[0].operands[WEFTI_COPY_TARGET].slot = 0;
    steps[1].operands[0].slot = 0;
    steps[1].operands[1].slot = 0;
    steps[1].operands[WEFTI_ELEMENTWISE_OUTPUT].slot = 0;
    steps[1].operands[WEFTI_ELEMENTWISE_OUTPUT].offset_bytes = output_at;
    steps[2].operands[WEFTI_COPY_SOURCE] = steps[1].operands[WEFTI_ELEMENTWISE_OUTPUT];
    steps[2].operands[WEFTI_COPY_TARGET].slot = 2;
    const size_t bytes = (size_t)count * 2;
    const wefti_recipe_params wanted = {.steps = steps,
                                        .step_count = WEFTI_COUNT_OF(steps),
                                        .workspace_bytes = 2 * (size_t)output_at,
                                        .input_bytes = &bytes,
                                        .output_bytes = &bytes,
                                        .input_count = 1,
                                        .output_count = 1};
    return cuda->recipe.create(device, &wanted, recipe, NULL);
}

/* Rounds of numbers that follow each other; there are 65,536 of them. */
static void sum_halves(int64_t count, int64_t rounds)
{
    wefti_backend_device *device;
    wefti_backend_stream *stream;
    wefti_recipe *recipe;
    void *workspace;
    uint16_t *x = wefti_malloc((size_t)count * 2), *y = wefti_malloc((size_t)count * 2);
    char note[64];
    assert_int_equal(open_device(&device, NULL), WEFT_OK);
    assert_int_equal(make_sum_of_halves(device, count, &recipe), WEFT_OK);
    cuda->recipe.describe(recipe, 0, note, sizeof(note));
    assert_string_equal(note, "cuda as the inputs come");
    cuda->recipe.describe(recipe, 2, note, sizeof(note));
    assert_string_equal(note, "cuda as the outputs go");
    assert_int_equal(recipe->launch_count, 1);
    const size_t size_bytes = cuda->recipe.workspace_bytes(recipe);
    assert_int_equal(cuda->memory.allocate(device, size_bytes, &workspace, NULL),
                     WEFT_OK);
    assert_int_equal(cuda->stream.create(device, &stream, NULL), WEFT_OK);
    int64_t wrong = 0;
    for (int64_t round = 0; round < rounds; round++) {
        for (int64_t i = 0; i < count; i++) {
            x[i] = (uint16_t)(round * count + i);
        }
        void *slots[] = {workspace, x, y};
        assert_int_equal(cuda->stream.execute(stream, recipe, slots, 3, NULL), WEFT_OK);
        assert_int_equal(cuda->stream.synchronize(stream, WEFTI_NEVER, NULL), WEFT_OK);
        for (int64_t i = 0; i < count; i++) {
            float wide, sum;
            uint16_t want;
            wefti_cast(WEFT_TYPE_BF16, WEFT_TYPE_F32)(&x[i], &wide, 1);
            sum = wide + wide;
            wefti_cast(WEFT_TYPE_F32, WEFT_TYPE_BF16)(&sum, &want, 1);
            wrong += y[i] != want;
        }
    }
    assert_int_equal(wrong, 0);
    cuda->stream.destroy(stream);
    cuda->recipe.destroy(recipe);
    cuda->memory.free(device, workspace, size_bytes);
    cuda->device.close(device);
    fake_driver_assert_empty();
    wefti_free(x);
    wefti_free(y);
}

static void halves_are_converted_on_their_way(void **state)
{
    (void)state;
    sum_halves(1003, 66);
    sum_halves(200003, 2); /* by the copy engine and the ring */
}

/* y = x + x for two tensors, one step each. */
enum { PAIR = 2 };
static weft_status make_pair(wefti_backend_device *device, const int64_t counts[PAIR],
                             wefti_recipe **recipe)
{
    wefti_elementwise_params params[PAIR];
    wefti_step steps[PAIR];
    size_t bytes[PAIR];
    for (size_t i = 0; i < PAIR; i++) {
        params[i] = (wefti_elementwise_params){
            .type = WEFT_TYPE_F32,
            .output_type = WEFT_TYPE_F32,
            .input_types = {WEFT_TYPE_F32},
            .rank = 1,
            .dims = {counts[i]},
            .input_count = 1,
            .input_strides = {{1}},
            .instruction_count = 1,
            .instructions = {{.operation = WEFTI_OP_ADD, .a = 0, .b = 0}},
        };
        steps[i] = (wefti_step){.kernel = WEFTI_KERNEL_ELEMENTWISE,
                                .params = &params[i],
                                .params_bytes = sizeof(params[i])};
        for (int32_t j = 0; j < WEFTI_MAX_OPERANDS; j++) {
            steps[i].operands[j] = WEFTI_OPERAND_ABSENT;
        }
        steps[i].operands[0].slot = (int64_t)(1 + i);
        steps[i].operands[WEFTI_ELEMENTWISE_OUTPUT].slot = (int64_t)(1 + PAIR + i);
        bytes[i] = (size_t)counts[i] * sizeof(float);
    }
    const wefti_recipe_params wanted = {.steps = steps,
                                        .step_count = PAIR,
                                        .input_bytes = bytes,
                                        .output_bytes = bytes,
                                        .input_count = PAIR,
                                        .output_count = PAIR};
    return cuda->recipe.create(device, &wanted, recipe, NULL);
}

/* Runs once with numbers of this round; how many are wrong. */
static int64_t run_pair(wefti_backend_stream *stream, wefti_recipe *recipe,
                        void *workspace, const int64_t counts[PAIR], int64_t round)
{
    float *x[PAIR], *y[PAIR];
    int64_t wrong = 0;
    for (size_t i = 0; i < PAIR; i++) {
        x[i] = wefti_malloc((size_t)counts[i] * sizeof(float));
        y[i] = wefti_malloc((size_t)counts[i] * sizeof(float));
        for (int64_t at = 0; at < counts[i]; at++) {
            x[i][at] = (float)(at * 7 + round * 1000003 + (int64_t)i);
        }
    }
    void *slots[] = {workspace, x[0], x[1], y[0], y[1]};
    assert_int_equal(cuda->stream.execute(stream, recipe, slots, 5, NULL), WEFT_OK);
    assert_int_equal(cuda->stream.synchronize(stream, WEFTI_NEVER, NULL), WEFT_OK);
    for (size_t i = 0; i < PAIR; i++) {
        for (int64_t at = 0; at < counts[i]; at++) {
            wrong += y[i][at] != 2.0f * (float)(at * 7 + round * 1000003 + (int64_t)i);
        }
        wefti_free(x[i]);
        wefti_free(y[i]);
    }
    return wrong;
}

static void large_ones_take_the_engine_and_the_ring(void **state)
{
    (void)state;
    static const int64_t counts[PAIR] = {98304 + 3, 20000};
    wefti_backend_device *device;
    wefti_backend_stream *stream;
    wefti_recipe *recipe;
    void *workspace;
    assert_int_equal(open_device(&device, NULL), WEFT_OK);
    assert_int_equal(make_pair(device, counts, &recipe), WEFT_OK);
    const wefti_cuda_tensor *t = recipe->tensors;
    assert_true(t[0].by_engine && !t[1].by_engine && t[2].in_ring && t[3].in_ring);
    assert_int_equal(recipe->ring_places, 4);
    assert_int_equal(recipe->pinned_bytes, t[2].pinned + 4 * recipe->ring_bytes);
    const size_t size_bytes = cuda->recipe.workspace_bytes(recipe);
    assert_int_equal(cuda->memory.allocate(device, size_bytes, &workspace, NULL),
                     WEFT_OK);
    assert_int_equal(cuda->stream.create(device, &stream, NULL), WEFT_OK);
    for (int64_t round = 0; round < 10; round++) {
        assert_int_equal(run_pair(stream, recipe, workspace, counts, round), 0);
    }
    cuda->stream.destroy(stream);
    cuda->recipe.destroy(recipe);
    cuda->memory.free(device, workspace, size_bytes);
    cuda->device.close(device);
    fake_driver_assert_empty();
}

/* Everything once; the first failure ends it. */
static weft_status use_everything(bool *lost, weft_error *error)
{
    wefti_backend_device *device = NULL;
    addition a = {0};
    *lost = false;
    WEFTI_TRY(open_device(&device, error));
    weft_status status = make(&a, device, 2.0f, error);
    for (int32_t i = 0; i < 3 && status == WEFT_OK; i++) { /* two with a graph */
        status = run(&a, (float)i, error) != 0 ? error->status : WEFT_OK;
    }
    if (status == WEFT_OK) {
        status = cuda->stream.fill(a.stream, a.workspace, 0, 16, error);
        weft_status ended = cuda->stream.synchronize(a.stream, WEFTI_NEVER, error);
        status = status == WEFT_OK ? ended : status;
    }
    weft_error reason;
    *lost = cuda->device.health(device, &reason) == WEFT_DEVICE_LOST;
    if (*lost) { /* all that follows is refused with the reason */
        void *block;
        assert_int_equal(cuda->memory.allocate(device, 64, &block, error),
                         WEFT_DEVICE_LOST);
        assert_string_equal(error->message, reason.message);
    }
    drop(&a);
    cuda->device.close(device);
    return status;
}

static void every_failed_call_is_an_answer(void **state)
{
    (void)state;
    static const int results[] = {CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY};
    for (size_t r = 0; r < WEFTI_COUNT_OF(results); r++) {
        uint64_t n = 0;
        for (bool hit = true; hit;) {
            bool lost;
            weft_error error = {0};
            (void)fake.fail_at(++n, results[r]);
            weft_status status = use_everything(&lost, &error);
            hit = fake.fail_at(0, 0) != 0;
            assert_false(lost);
            assert_true(status == WEFT_OK || error.message[0] != '\0');
            assert_true(hit || status == WEFT_OK);
            fake_driver_assert_empty();
        }
        assert_true(n > 40);
    }
}

/* y = x[i] + x[i], as two kernels, of which the first reports a bad index. */
static weft_status make_gather(wefti_backend_device *device, wefti_recipe **recipe)
{
    const wefti_gather_params gather = {.index_type = WEFT_TYPE_I64,
                                        .outer_count = 1,
                                        .axis_size = 4,
                                        .index_count = 1,
                                        .inner_bytes = sizeof(float)};
    const wefti_elementwise_params add = {
        .type = WEFT_TYPE_F32,
        .output_type = WEFT_TYPE_F32,
        .input_types = {WEFT_TYPE_F32},
        .rank = 1,
        .dims = {1},
        .input_count = 1,
        .input_strides = {{1}},
        .instruction_count = 1,
        .instructions = {{.operation = WEFTI_OP_ADD, .a = 0, .b = 0}},
    };
    wefti_step steps[] = {{.kernel = WEFTI_KERNEL_GATHER,
                           .params = &gather,
                           .params_bytes = sizeof(gather),
                           .label = "pick"},
                          {.kernel = WEFTI_KERNEL_ELEMENTWISE,
                           .params = &add,
                           .params_bytes = sizeof(add)}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(steps); i++) {
        for (int32_t j = 0; j < WEFTI_MAX_OPERANDS; j++) {
            steps[i].operands[j] = WEFTI_OPERAND_ABSENT;
        }
    }
    steps[0].operands[WEFTI_GATHER_DATA].slot = 1;
    steps[0].operands[WEFTI_GATHER_INDICES].slot = 2;
    steps[0].operands[WEFTI_GATHER_OUTPUT].slot = 0;
    steps[1].operands[0].slot = 0;
    steps[1].operands[WEFTI_ELEMENTWISE_OUTPUT].slot = 3;
    const size_t inputs[] = {4 * sizeof(float), sizeof(int64_t)};
    const size_t outputs[] = {sizeof(float)};
    const wefti_recipe_params wanted = {.steps = steps,
                                        .step_count = WEFTI_COUNT_OF(steps),
                                        .workspace_bytes = 256,
                                        .input_bytes = inputs,
                                        .output_bytes = outputs,
                                        .input_count = 2,
                                        .output_count = 1};
    return cuda->recipe.create(device, &wanted, recipe, NULL);
}

static weft_status execute_and_wait(wefti_backend_stream *stream, wefti_recipe *recipe,
                                    void *const *slots, size_t slot_count)
{
    weft_status status = cuda->stream.execute(stream, recipe, slots, slot_count, NULL);
    weft_status ended = cuda->stream.synchronize(stream, WEFTI_NEVER, NULL);
    return status != WEFT_OK ? status : ended;
}

/* What the kernels of a run found that failed for another reason is not told to the
 * next. */
static void a_failed_run_leaves_no_report(void **state)
{
    (void)state;
    wefti_backend_device *device;
    wefti_recipe *recipe;
    void *workspace;
    assert_int_equal(open_device(&device, NULL), WEFT_OK);
    assert_int_equal(make_gather(device, &recipe), WEFT_OK);
    const size_t size_bytes = cuda->recipe.workspace_bytes(recipe);
    assert_int_equal(cuda->memory.allocate(device, size_bytes, &workspace, NULL),
                     WEFT_OK);
    uint64_t n = 0;
    for (bool hit = true; hit;) {
        wefti_backend_stream *stream;
        float x[] = {1, 2, 3, 4}, y = 0;
        int64_t index = 9;
        void *slots[] = {workspace, x, &index, &y};
        assert_int_equal(cuda->stream.create(device, &stream, NULL), WEFT_OK);
        (void)fake.fail_at(++n, CUDA_ERROR_OUT_OF_MEMORY);
        assert_int_not_equal(execute_and_wait(stream, recipe, slots, 4), WEFT_OK);
        hit = fake.fail_at(0, 0) != 0;
        index = 2;
        assert_int_equal(execute_and_wait(stream, recipe, slots, 4), WEFT_OK);
        assert_true(y == 6);
        cuda->stream.destroy(stream);
    }
    assert_true(n > 4);
    cuda->recipe.destroy(recipe);
    cuda->memory.free(device, workspace, size_bytes);
    cuda->device.close(device);
    fake_driver_assert_empty();
}

/* A thread that runs while the card does not begin with anything. */
typedef struct held_run {
    addition *what;
    wefti_thread thread;
    uint32_t unfinished; /* launches when it had returned */
    wefti_atomic_u32 returned;
} held_run;

static void run_held(void *argument)
{
    held_run *self = argument;
    (void)run(self->what, 1.0f, NULL);
    self->unfinished = fake_driver_count().unfinished;
    wefti_atomic_u32_store_release(&self->returned, 1);
}

/* Whether the n-th call of the driver in a run, which fails, was reached. */
static bool fail_held_run(addition *a, uint64_t n)
{
    held_run held = {.what = a};
    wefti_atomic_u32_init(&held.returned, 0);
    fake.hold(1);
    (void)fake.fail_at(n, CUDA_ERROR_INVALID_VALUE);
    assert_int_equal(wefti_thread_start(&held.thread, "held", run_held, &held, NULL),
                     WEFT_OK);
    while (wefti_atomic_u32_load_acquire(&held.returned) == 0 &&
           fake_driver_count().waiting == 0) {
        wefti_thread_sleep(20000);
    }
    fake.hold(0);
    wefti_thread_join(&held.thread);
    assert_int_equal(held.unfinished, 0);
    return fake.fail_at(0, 0) != 0;
}

/* What was launched may still be at the workspace, which is its owner's again once the
 * run has returned. With kernels by themselves, and with a graph. */
static void a_failed_run_waits_for_the_card(void **state)
{
    (void)state;
    for (int32_t runs = 0; runs <= 3; runs += 3) {
        uint64_t n = 0;
        for (bool hit = true; hit;) {
            wefti_backend_device *device = NULL;
            addition a;
            assert_int_equal(open_device(&device, NULL), WEFT_OK);
            assert_int_equal(make(&a, device, 2.0f, NULL), WEFT_OK);
            for (int32_t i = 0; i < runs; i++) {
                assert_int_equal(run(&a, (float)i, NULL), 0);
            }
            hit = fail_held_run(&a, ++n);
            assert_int_equal(run(&a, 3.0f, NULL), 0);
            drop(&a);
            cuda->device.close(device);
            fake_driver_assert_empty();
        }
        assert_in_range(n, 4, 100); /* launch, record, wait */
    }
}

/* Last: what the card had at the fault is gone, so counts no longer fit. */
static void a_fault_latches(void **state)
{
    (void)state;
    wefti_backend_device *device = NULL;
    addition a;
    weft_error error = {0};
    assert_int_equal(open_device(&device, NULL), WEFT_OK);
    assert_int_equal(make(&a, device, 2.0f, NULL), WEFT_OK);
    assert_int_equal(run(&a, 1.0f, NULL), 0);
    fake.fault_next_launch();
    assert_int_equal(run(&a, 1.0f, &error), -1);
    assert_int_equal(error.status, WEFT_DEVICE_LOST);
    assert_non_null(strstr(error.message, "a fault made by a test"));
    assert_int_equal(run(&a, 1.0f, &error), -1);
    assert_int_equal(error.status, WEFT_DEVICE_LOST);
    assert_int_equal(cuda->device.health(device, NULL), WEFT_DEVICE_LOST);
    (void)fake.fail_at(0, 0);
    drop(&a);
    cuda->device.close(device);
    for (uint64_t n = 1; n < 80; n++) {
        bool lost;
        (void)fake.fail_at(n, 700);
        weft_status status = use_everything(&lost, &error);
        (void)fake.fail_at(0, 0);
        assert_true(status == WEFT_OK || error.message[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_come_and_go),
        cmocka_unit_test(cards_are_counted),
        cmocka_unit_test(threads_have_their_own_answers),
        cmocka_unit_test(halves_are_converted_on_their_way),
        cmocka_unit_test(large_ones_take_the_engine_and_the_ring),
        cmocka_unit_test(every_failed_call_is_an_answer),
        cmocka_unit_test(a_failed_run_leaves_no_report),
        cmocka_unit_test(a_failed_run_waits_for_the_card),
        cmocka_unit_test(a_fault_latches),
    };
    if (!fake_driver_find()) {
        print_message("left out: the driver is not tests/fake_cuda\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

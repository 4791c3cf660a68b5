/* SPDX-License-Identifier: Apache-2.0 */
/* Which way a run's kernels are launched, and whose calls a graph has: on a driver made
 * of C (tests/fake_cuda). Left out where the driver is a real one or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/common/host_stream.h"
#include "backend/cuda/recipe.h"
#include "backend/cuda/stream.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/testing.h"
#include "base/thread.h"
#include "support/crew.h"
#include "support/fake_driver.h"

static const wefti_backend *const cuda = &wefti_backend_cuda;

/* Under ThreadSanitizer the card made of C computes no products. */
#if defined(__SANITIZE_THREAD__)
#define COMPUTES_PRODUCTS false
#elif defined(__has_feature)
#define COMPUTES_PRODUCTS !__has_feature(thread_sanitizer)
#else
#define COMPUTES_PRODUCTS true
#endif

/* A sum with a constant, in some kernels that do the same: y = x + w; or a product with
 * one: y = x w. */
enum { SUM = 200, M = 32, K = 64, N = 128, MOST_KERNELS = WEFTI_CUDA_MOST_CHAINS + 8 };
typedef struct net {
    wefti_recipe *recipe;
    bool is_product;
    float w[K * N], x[M * K], y[M * N];
} net;

/* One stream, and a workspace that is large enough for any of the recipes. */
typedef struct stage {
    wefti_backend_device *device;
    wefti_backend_stream *stream;
    void *workspace;
    size_t workspace_bytes;
} stage;

/* Sums of nets of these are exact in any order. */
static float small_number(uint64_t seed)
{
    return (float)(seed % 23) - 11.0f;
}

static const wefti_matmul_params product_params = {.m = M,
                                                   .n = N,
                                                   .k = K,
                                                   .a_row_stride = K,
                                                   .a_column_stride = 1,
                                                   .b_row_stride = N,
                                                   .b_column_stride = 1,
                                                   .c_row_stride = N,
                                                   .alpha = 1.0f};
static const wefti_elementwise_params sum_params = {
    .type = WEFT_TYPE_F32,
    .output_type = WEFT_TYPE_F32,
    .input_types = {WEFT_TYPE_F32, WEFT_TYPE_F32},
    .rank = 1,
    .dims = {SUM},
    .input_count = 2,
    .input_strides = {{1}, {1}},
    .instruction_count = 1,
    .instructions = {{.operation = WEFTI_OP_ADD, .a = 0, .b = 1}},
};

static wefti_step make_step(const net *n)
{
    wefti_step step = {.kernel = WEFTI_KERNEL_ELEMENTWISE,
                       .params = &sum_params,
                       .params_bytes = sizeof(sum_params)};
    if (n->is_product) {
        step = (wefti_step){.kernel = WEFTI_KERNEL_MATMUL,
                            .params = &product_params,
                            .params_bytes = sizeof(product_params)};
    }
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        step.operands[i] = WEFTI_OPERAND_ABSENT;
    }
    step.operands[0].slot = 1;
    step.operands[1].constant = n->w;
    step.operands[n->is_product ? WEFTI_MATMUL_C : WEFTI_ELEMENTWISE_OUTPUT].slot = 2;
    return step;
}

static weft_status make_net(const stage *s, size_t kernels, uint64_t seed, net *n,
                            weft_error *error)
{
    wefti_step steps[MOST_KERNELS];
    for (size_t i = 0; i < WEFTI_COUNT_OF(n->w); i++) {
        n->w[i] = small_number(i * 7 + seed * 13);
    }
    for (size_t i = 0; i < WEFTI_COUNT_OF(n->x); i++) {
        n->x[i] = small_number(i * 5 + seed);
    }
    for (size_t i = 0; i < kernels; i++) {
        steps[i] = make_step(n);
    }
    const size_t sum_bytes = SUM * sizeof(float);
    const size_t input_bytes = n->is_product ? sizeof(n->x) : sum_bytes;
    const size_t output_bytes = n->is_product ? sizeof(n->y) : sum_bytes;
    const wefti_recipe_params wanted = {.steps = steps,
                                        .step_count = kernels,
                                        .input_bytes = &input_bytes,
                                        .output_bytes = &output_bytes,
                                        .input_count = 1,
                                        .output_count = 1};
    return cuda->recipe.create(s->device, &wanted, &n->recipe, error);
}

static int32_t count_wrong(const net *n)
{
    int32_t wrong = 0;
    for (size_t i = 0; i < SUM && !n->is_product; i++) {
        wrong += n->y[i] != n->x[i] + n->w[i];
    }
    for (size_t i = 0; i < M * N && n->is_product && COMPUTES_PRODUCTS; i++) {
        float sum = 0;
        for (size_t k = 0; k < K; k++) {
            sum += n->x[i / N * K + k] * n->w[k * N + i % N];
        }
        wrong += n->y[i] != sum;
    }
    return wrong;
}

/* Returns how many outputs are wrong; -1 when the run failed. */
static int32_t run(const stage *s, net *n, weft_error *error)
{
    memset(n->y, 0xff, sizeof(n->y));
    void *slots[] = {s->workspace, n->x, n->y};
    weft_status status = cuda->stream.execute(s->stream, n->recipe, slots, 3, error);
    weft_status ended = cuda->stream.synchronize(s->stream, WEFTI_NEVER,
                                                 status == WEFT_OK ? error : NULL);
    return status != WEFT_OK || ended != WEFT_OK ? -1 : count_wrong(n);
}

static weft_status open_stage(stage *s, weft_error *error)
{
    static const wefti_log log;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 2;
    *s = (stage){.workspace_bytes = 1 << 20};
    WEFTI_TRY(cuda->device.open(0, &params, &log, &s->device, error));
    s->device->launches_before_graph = 1;
    WEFTI_TRY(cuda->stream.create(s->device, &s->stream, error));
    return cuda->memory.allocate(s->device, s->workspace_bytes, &s->workspace, error);
}

static void close_stage(stage *s)
{
    cuda->stream.destroy(s->stream);
    if (s->device != NULL) {
        /* what was begun has ended, however it did */
        assert_int_equal(wefti_atomic_u32_load_relaxed(&s->device->changing), 0);
        cuda->memory.free(s->device, s->workspace, s->workspace_bytes);
        cuda->device.close(s->device);
    }
    fake_driver_assert_empty();
}

static net *make_nets(const stage *s, size_t count, size_t more_kernels)
{
    net *nets = wefti_calloc(count, sizeof(*nets));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(make_net(s, 2 + i * more_kernels, i + 1, &nets[i], NULL),
                         WEFT_OK);
        assert_true(cuda->recipe.workspace_bytes(nets[i].recipe) <= s->workspace_bytes);
    }
    return nets;
}

static void drop_nets(net *nets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cuda->recipe.destroy(nets[i].recipe);
    }
    wefti_free(nets);
}

/* Recipes of the same kernels, in an order without a pattern: more than a stream keeps
 * in mind, with a few graphs. */
static void recipes_of_one_shape_share_graphs(void **state)
{
    (void)state;
    enum { RECIPES = WEFTI_CUDA_MOST_GRAPHS + 6, RUNS = 4 * RECIPES };
    stage s;
    assert_int_equal(open_stage(&s, NULL), WEFT_OK);
    net *nets = make_nets(&s, RECIPES, 0);
    for (size_t i = 0; i < RUNS; i++) {
        const size_t one = i < RUNS / 2 ? i % 9 : i * 31 % RECIPES;
        assert_int_equal(run(&s, &nets[one], NULL), 0);
    }
    assert_int_equal(fake_driver_count().executables, WEFTI_CUDA_MOST_CHAINS_OF_SHAPE);
    assert_int_equal(fake_driver_count().graphs, WEFTI_CUDA_MOST_CHAINS_OF_SHAPE);
    drop_nets(nets, RECIPES);
    close_stage(&s);
}

/* So few that each has its own, and nobody changes it any more. */
static void few_recipes_have_graphs_of_their_own(void **state)
{
    (void)state;
    enum { RECIPES = WEFTI_CUDA_MOST_CHAINS_OF_SHAPE, TURNS = 4 };
    stage s;
    assert_int_equal(open_stage(&s, NULL), WEFT_OK);
    net *nets = make_nets(&s, RECIPES, 0);
    for (size_t i = 0; i < TURNS * (size_t)RECIPES; i++) {
        assert_int_equal(run(&s, &nets[i % RECIPES], NULL), 0);
    }
    assert_int_equal(fake_driver_count().executables, RECIPES);
    const wefti_cuda_stream *stream = wefti_host_stream_user(s.stream);
    const wefti_cuda_graphs *graphs = &stream->graphs;
    for (size_t i = 0; i < RECIPES; i++) {
        const wefti_cuda_graph *entry = &graphs->entries[i];
        assert_int_equal(graphs->chains.items[entry->ways[0].at].owner, entry->number);
    }
    drop_nets(nets, RECIPES);
    close_stage(&s);
}

static void graphs_are_capped(void **state)
{
    (void)state;
    enum { RECIPES = MOST_KERNELS - 2 };
    stage s;
    assert_int_equal(open_stage(&s, NULL), WEFT_OK);
    net *nets = make_nets(&s, RECIPES, 1); /* each of another shape */
    for (size_t i = 0; i < 2 * (size_t)RECIPES; i++) {
        assert_int_equal(run(&s, &nets[i / 2 % RECIPES], NULL), 0);
    }
    assert_int_equal(fake_driver_count().executables, WEFTI_CUDA_MOST_CHAINS);
    assert_int_equal(fake_driver_count().graphs, WEFTI_CUDA_MOST_CHAINS);
    void *other; /* another workspace: other addresses in the same graphs */
    assert_int_equal(cuda->memory.allocate(s.device, s.workspace_bytes, &other, NULL),
                     WEFT_OK);
    cuda->memory.free(s.device, s.workspace, s.workspace_bytes);
    s.workspace = other;
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(run(&s, &nets[RECIPES - 1 - i % 4], NULL), 0);
    }
    assert_int_equal(fake_driver_count().executables, WEFTI_CUDA_MOST_CHAINS);
    drop_nets(nets, RECIPES);
    close_stage(&s);
}

/* A single kernel whose input would cross several times: alone, among some and among
 * many runs; the second time by a graph, if at all. */
static void a_kernel_is_launched_by_the_load(void **state)
{
    (void)state;
    static const struct {
        uint32_t running, graphs, kernels;
    } loads[] = {{30, 0, 1}, {0, 1, 1}, {5, 2, 2}, {0, 2, 1}, {30, 2, 1}, {5, 2, 2}};
    stage s;
    net n = {.is_product = true};
    assert_int_equal(open_stage(&s, NULL), WEFT_OK);
    assert_int_equal(make_net(&s, 1, 3, &n, NULL), WEFT_OK);
    assert_true(n.recipe->brings_in_graph);
    for (size_t i = 0; i < WEFTI_COUNT_OF(loads); i++) {
        wefti_atomic_u32_store_relaxed(&s.device->running, loads[i].running);
        for (size_t turn = 0; turn < 3; turn++) {
            assert_int_equal(run(&s, &n, NULL), 0);
        }
        assert_int_equal(fake_driver_count().executables, loads[i].graphs);
        const wefti_cuda_stream *stream = wefti_host_stream_user(s.stream);
        assert_int_equal(stream->graphs.entries[0].kernel_count, loads[i].kernels);
    }
    wefti_atomic_u32_store_relaxed(&s.device->running, 0);
    cuda->recipe.destroy(n.recipe);
    close_stage(&s);
}

/* Two recipes that take the graph from each other, built, changed and launched; any
 * call of the driver fails. */
static weft_status use_two(stage *s, net *nets, weft_error *error)
{
    for (size_t i = 0; i < 2; i++) {
        nets[i].recipe = NULL;
    }
    WEFTI_TRY(open_stage(s, error));
    for (size_t i = 0; i < 2; i++) {
        WEFTI_TRY(make_net(s, 2, i, &nets[i], error));
    }
    const size_t order[] = {0, 0, 1, 0, 1, 1, 0};
    for (size_t i = 0; i < WEFTI_COUNT_OF(order); i++) {
        const int32_t wrong = run(s, &nets[order[i]], error);
        assert_true(wrong <= 0);
        WEFTI_TRY(wrong < 0 ? error->status : WEFT_OK);
    }
    return WEFT_OK;
}

static void every_failed_call_is_an_answer(void **state)
{
    (void)state;
    static const int results[] = {CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY};
    net *nets = wefti_calloc(2, sizeof(*nets));
    for (size_t r = 0; r < WEFTI_COUNT_OF(results); r++) {
        uint64_t n = 0;
        for (bool hit = true; hit;) {
            stage s;
            weft_error error = {0};
            (void)fake.fail_at(++n, results[r]);
            weft_status status = use_two(&s, nets, &error);
            hit = fake.fail_at(0, 0) != 0;
            assert_true(status == WEFT_OK || error.message[0] != '\0');
            assert_true(hit || status == WEFT_OK);
            for (size_t i = 0; i < 2 && status != WEFT_OK && s.workspace != NULL; i++) {
                /* it harmed nobody */
                assert_true(nets[i].recipe == NULL || run(&s, &nets[i], NULL) == 0);
            }
            for (size_t i = 0; i < 2; i++) {
                cuda->recipe.destroy(nets[i].recipe);
            }
            close_stage(&s);
        }
        assert_true(n > 60);
    }
    wefti_free(nets);
}

/* A clock that goes on by 10 us whenever it is read. */
static wefti_atomic_u64 looks;

static int64_t read_looks(void)
{
    return (int64_t)wefti_atomic_u64_add_acq_rel(&looks, 1) * 10000;
}

/* Runs wait for who changes the context, but not for as long as that may take: 100 us
 * by the clock. */
static void runs_make_way_for_a_moment(void **state)
{
    (void)state;
    enum { TRIES = 100 };
    stage s;
    assert_int_equal(open_stage(&s, NULL), WEFT_OK);
    wefti_clock_hook = read_looks;
    for (int i = 0; i < 2 * TRIES; i++) {
        const bool changing = i % 2 == 1;
        if (changing) {
            wefti_cuda_begin_change(s.device);
        }
        const uint64_t before = wefti_atomic_u64_load_acquire(&looks);
        wefti_cuda_make_way(s.device);
        const uint64_t made = wefti_atomic_u64_load_acquire(&looks) - before;
        if (changing) {
            wefti_cuda_end_change(s.device);
        }
        assert_in_range(made, changing ? 10 : 0, changing ? 20 : 0);
    }
    close_stage(&s);
}

/* y = x + x, one kernel with so large an input that its runs take turns on the bus. */
enum { LARGE = 50000, CALLERS = 12, CALLS = 4 };
static weft_status make_large(wefti_backend_device *device, wefti_recipe **recipe)
{
    wefti_elementwise_params params = sum_params;
    params.dims[0] = LARGE;
    params.input_count = 1;
    params.instructions[0].b = 0;
    wefti_step step = {.kernel = WEFTI_KERNEL_ELEMENTWISE,
                       .params = &params,
                       .params_bytes = sizeof(params)};
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        step.operands[i] = WEFTI_OPERAND_ABSENT;
    }
    step.operands[0].slot = 1;
    step.operands[WEFTI_ELEMENTWISE_OUTPUT].slot = 2;
    const size_t bytes = LARGE * sizeof(float);
    const wefti_recipe_params wanted = {.steps = &step,
                                        .step_count = 1,
                                        .input_bytes = &bytes,
                                        .output_bytes = &bytes,
                                        .input_count = 1,
                                        .output_count = 1};
    return cuda->recipe.create(device, &wanted, recipe, NULL);
}

typedef struct large_caller {
    stage s; /* its own stream on the device of all */
    wefti_recipe *recipe;
    wefti_thread thread;
    int64_t wrong;
    float x[LARGE], y[LARGE];
} large_caller;

static void open_large(large_caller *c, const stage *s, wefti_recipe *recipe)
{
    c->s = *s;
    c->recipe = recipe;
    assert_int_equal(cuda->stream.create(s->device, &c->s.stream, NULL), WEFT_OK);
    assert_int_equal(
        cuda->memory.allocate(s->device, s->workspace_bytes, &c->s.workspace, NULL),
        WEFT_OK);
}

static void close_large(large_caller *c)
{
    cuda->stream.destroy(c->s.stream);
    cuda->memory.free(c->s.device, c->s.workspace, c->s.workspace_bytes);
}

static void call_large(void *argument)
{
    large_caller *c = argument;
    void *slots[] = {c->s.workspace, c->x, c->y};
    for (uint64_t turn = 0; turn < CALLS; turn++) {
        for (uint64_t i = 0; i < LARGE; i++) {
            c->x[i] = small_number(i + turn);
        }
        weft_status status =
            cuda->stream.execute(c->s.stream, c->recipe, slots, 3, NULL);
        weft_status ended = cuda->stream.synchronize(c->s.stream, WEFTI_NEVER, NULL);
        for (size_t i = 0; i < LARGE && status == WEFT_OK && ended == WEFT_OK; i++) {
            c->wrong += c->y[i] != 2 * c->x[i];
        }
    }
}

/* Whoever has been on the bus has left it, also when its run failed. */
static void runs_take_turns_on_the_bus(void **state)
{
    (void)state;
    stage s;
    wefti_recipe *recipe;
    large_caller *callers = wefti_calloc(CALLERS, sizeof(*callers));
    assert_int_equal(open_stage(&s, NULL), WEFT_OK);
    assert_int_equal(make_large(s.device, &recipe), WEFT_OK);
    assert_true(recipe->crosses);
    for (size_t i = 0; i < CALLERS; i++) {
        open_large(&callers[i], &s, recipe);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        assert_int_equal(wefti_thread_start(&callers[i].thread, "caller", call_large,
                                            &callers[i], NULL),
                         WEFT_OK);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        wefti_thread_join(&callers[i].thread);
        assert_int_equal(callers[i].wrong, 0);
    }
    assert_int_equal(wefti_atomic_u32_load_relaxed(&s.device->crossing), 0);
    bool hit = true;
    for (uint64_t n = 1; hit && n < 40; n++) {
        (void)fake.fail_at(n, CUDA_ERROR_INVALID_VALUE);
        call_large(&callers[n % CALLERS]);
        hit = fake.fail_at(0, 0) != 0;
        assert_int_equal(callers[n % CALLERS].wrong, 0);
        assert_int_equal(wefti_atomic_u32_load_relaxed(&s.device->crossing), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        close_large(&callers[i]);
    }
    wefti_free(callers);
    cuda->recipe.destroy(recipe);
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipes_of_one_shape_share_graphs),
        cmocka_unit_test(few_recipes_have_graphs_of_their_own),
        cmocka_unit_test(graphs_are_capped),
        cmocka_unit_test(a_kernel_is_launched_by_the_load),
        cmocka_unit_test(every_failed_call_is_an_answer),
        cmocka_unit_test_teardown(runs_make_way_for_a_moment, crew_reset_clock),
        cmocka_unit_test(runs_take_turns_on_the_bus),
    };
    if (!fake_driver_find()) {
        print_message("left out: the driver is not tests/fake_cuda\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

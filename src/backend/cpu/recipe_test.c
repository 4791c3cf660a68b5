/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/device.h"
#include "backend/cpu/recipe.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/testing.h"

/* An instruction set of one kernel: target[i] = source[i] * factor + table[i % 16],
 * on u32, in tiles. */
typedef struct mix_params {
    int64_t count, tile;
    uint32_t factor;
    int64_t fail_at; /* element that fails; -1: none */
    size_t scratch_bytes;
    bool pack; /* the table is wanted backwards */
    int64_t work_ns;
} mix_params;

enum { SOURCE = 0, TABLE = 1, NOTHING = 2, TARGET = 4, TABLE_SIZE = 16 };

typedef struct mix_derived {
    bool backwards;
} mix_derived;

static void pack_backwards(void *packed, const void *constant, const void *params)
{
    (void)params;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        ((uint32_t *)packed)[i] = ((const uint32_t *)constant)[TABLE_SIZE - 1 - i];
    }
}

static weft_status mix_tile(const wefti_cpu_call *call, void *scratch, int64_t tile,
                            weft_error *error)
{
    const mix_params *p = call->params;
    const mix_derived *derived = call->derived;
    const uint32_t *source = call->operands[SOURCE], *table = call->operands[TABLE];
    uint32_t *target = call->operands[TARGET];
    int64_t end = (tile + 1) * p->tile < p->count ? (tile + 1) * p->tile : p->count;
    /* Nobody else may write the scratch meanwhile. */
    if (p->scratch_bytes > 0) {
        memset(scratch, (int)(tile & 0xff), p->scratch_bytes);
    }
    for (int64_t i = tile * p->tile; i < end; i++) {
        uint32_t at = (uint32_t)(i % TABLE_SIZE);
        at = derived->backwards ? TABLE_SIZE - 1 - at : at;
        target[i] = source[i] * p->factor + table[at];
        if (i == p->fail_at) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT, "element %d is bad",
                               (int)i);
        }
    }
    for (size_t i = 0; i < p->scratch_bytes; i++) {
        if (((uint8_t *)scratch)[i] != (uint8_t)(tile & 0xff)) {
            return wefti_error(error, WEFT_INTERNAL, "scratch is shared");
        }
    }
    return WEFT_OK;
}

static weft_status mix(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    const mix_params *p = call->params;
    if ((uintptr_t)scratch % 64 != 0 || (scratch == NULL && p->scratch_bytes > 0) ||
        call->operands[NOTHING] != NULL || call->operands[WEFTI_MAX_OPERANDS - 1]) {
        return wefti_error(error, WEFT_INTERNAL, "a wrong call");
    }
    for (int64_t tile = begin; tile < end; tile++) {
        WEFTI_TRY(mix_tile(call, scratch, tile, error));
    }
    return WEFT_OK;
}

static weft_status prepare_mix(const wefti_step *step, bool may_pack,
                               wefti_cpu_prepared *prepared, weft_error *error)
{
    const mix_params *p = step->params;
    if (prepared->packed_operand != -1 || prepared->function != NULL) {
        return wefti_error(error, WEFT_INTERNAL, "not as promised");
    }
    mix_derived *derived = wefti_calloc(1, sizeof(*derived));
    if (derived == NULL) {
        return wefti_error_memory(error, "a mix");
    }
    prepared->function = mix;
    prepared->tile_count = (p->count + p->tile - 1) / p->tile;
    prepared->scratch_bytes = p->scratch_bytes;
    prepared->work_ns = (double)p->work_ns;
    prepared->derived = derived;
    derived->backwards = p->pack && may_pack;
    if (derived->backwards) {
        prepared->packed_operand = TABLE;
        prepared->packed_bytes = TABLE_SIZE * sizeof(uint32_t);
        prepared->pack = pack_backwards;
        prepared->packed_layout[0] = 1;
    }
    snprintf(prepared->description, sizeof(prepared->description), "mix %d",
             (int)p->factor);
    return WEFT_OK;
}

static weft_status prepare_never(const wefti_step *step, bool may_pack,
                                 wefti_cpu_prepared *prepared, weft_error *error)
{
    (void)step;
    (void)may_pack;
    (void)prepared;
    return wefti_error(error, WEFT_UNSUPPORTED, "a fill of this type");
}

static bool always(void)
{
    return true;
}

static const wefti_cpu_isa mixer = {
    .name = "mixer",
    .supported = always,
    .prepare = {[WEFTI_KERNEL_COPY] = prepare_mix, [WEFTI_KERNEL_FILL] = prepare_never},
};

static const uint32_t table[TABLE_SIZE] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9};

static wefti_step mix_step(const mix_params *params, int32_t from, int64_t from_offset,
                           int32_t to, int64_t to_offset)
{
    wefti_step step = {.kernel = WEFTI_KERNEL_COPY,
                       .params = params,
                       .params_bytes = sizeof(*params),
                       .label = "Mix 'm'"};
    for (size_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        step.operands[i] = WEFTI_OPERAND_ABSENT;
    }
    step.operands[SOURCE] = (wefti_operand){.slot = from, .offset_bytes = from_offset};
    step.operands[TABLE] =
        (wefti_operand){.constant = table, .slot = WEFTI_SLOT_ABSENT};
    step.operands[TARGET] = (wefti_operand){.slot = to, .offset_bytes = to_offset};
    return step;
}

static weft_status try_make(const wefti_step *steps, size_t count, size_t workspace,
                            wefti_recipe **recipe, weft_error *error)
{
    const wefti_recipe_params params = {
        .steps = steps, .step_count = count, .workspace_bytes = workspace};
    return wefti_cpu_recipe_create(&mixer, 1, &params, recipe, error);
}

/* As make, on a device. */
static weft_status make_on(wefti_backend_device *device, const wefti_step *steps,
                           size_t count, wefti_weights *weights, wefti_recipe **recipe)
{
    const wefti_recipe_params params = {.steps = steps,
                                        .step_count = count,
                                        .workspace_bytes = 160,
                                        .weights = weights};
    return wefti_backend_cpu.recipe.create(device, &params, recipe, NULL);
}

static wefti_recipe *make(const wefti_step *steps, size_t count, size_t workspace,
                          int32_t helpers, wefti_weights *weights)
{
    wefti_recipe *recipe = NULL;
    weft_error error = {0};
    const wefti_recipe_params params = {.steps = steps,
                                        .step_count = count,
                                        .workspace_bytes = workspace,
                                        .weights = weights};
    weft_status status =
        wefti_cpu_recipe_create(&mixer, helpers, &params, &recipe, &error);
    if (status != WEFT_OK) {
        print_error("%s\n", error.message);
    }
    assert_int_equal(status, WEFT_OK);
    return recipe;
}

static void *workspace_for(const wefti_recipe *recipe)
{
    void *block = wefti_malloc_aligned(wefti_cpu_recipe_workspace_bytes(recipe));
    assert_non_null(block);
    return block;
}

static void operands_and_scratch_are_found(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    mix_params params[2] = {
        {.count = COUNT, .tile = 7, .factor = 3, .fail_at = -1, .scratch_bytes = 100},
        {.count = COUNT, .tile = 100, .factor = 5, .fail_at = -1, .scratch_bytes = 1}};
    wefti_step steps[2] = {mix_step(&params[0], 1, 40, 0, 64),
                           mix_step(&params[1], 0, 64, 2, 8)};
    wefti_recipe *recipe = make(steps, 2, 64 + 4 * COUNT, 0, NULL);
    /* 464 bytes rounded up, and one scratch of 128. */
    assert_int_equal(wefti_cpu_recipe_workspace_bytes(recipe), 512 + 128);
    memset(params, 0xee, sizeof(params)); /* it has copies */
    memset(steps, 0xee, sizeof(steps));
    static uint32_t input[COUNT + 10], output[COUNT + 3];
    for (uint32_t i = 0; i < COUNT + 10; i++) {
        input[i] = i * i;
    }
    memset(output, 0x77, sizeof(output));
    void *slots[3] = {workspace_for(recipe), input, output};
    assert_int_equal(wefti_cpu_recipe_run(recipe, NULL, slots, 3, NULL), WEFT_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t once = input[i + 10] * 3 + table[i % TABLE_SIZE];
        assert_int_equal(output[i + 2], once * 5 + table[i % TABLE_SIZE]);
    }
    assert_int_equal(output[1], 0x77777777);
    assert_int_equal(output[COUNT + 2], 0x77777777);
    weft_error error;
    assert_int_equal(wefti_cpu_recipe_run(recipe, NULL, slots, 2, &error),
                     WEFT_INTERNAL);
    wefti_free(slots[0]);
    wefti_cpu_recipe_destroy(recipe);
}

static void constants_are_packed_once(void **state)
{
    (void)state;
    const mix_params p = {
        .count = 20, .tile = 20, .factor = 2, .fail_at = -1, .pack = true};
    const wefti_step steps[2] = {mix_step(&p, 0, 0, 1, 0), mix_step(&p, 1, 0, 2, 0)};
    wefti_weights *weights = NULL;
    assert_int_equal(wefti_weights_create(NULL, &weights, NULL), WEFT_OK);
    wefti_recipe *plain = make(steps, 2, 80, 0, NULL);
    assert_int_equal(wefti_weights_bytes(weights), 0);
    wefti_recipe *first = make(steps, 2, 80, 0, weights);
    wefti_recipe *second = make(steps, 1, 80, 0, weights);
    assert_int_equal(wefti_weights_bytes(weights), sizeof(table));
    wefti_recipe *const recipes[3] = {plain, first, second};
    for (size_t r = 0; r < 3; r++) {
        uint32_t buffers[3][20] = {{1, 2, 3, 4, 5}};
        void *slots[3] = {buffers[0], buffers[1], buffers[2]};
        assert_int_equal(wefti_cpu_recipe_run(recipes[r], NULL, slots, 3, NULL),
                         WEFT_OK);
        for (uint32_t i = 0; i < 20; i++) {
            uint32_t once = buffers[0][i] * 2 + table[i % TABLE_SIZE];
            assert_int_equal(buffers[1][i], once);
            assert_int_equal(buffers[2][i],
                             r == 2 ? 0 : once * 2 + table[i % TABLE_SIZE]);
        }
    }
    char text[80];
    wefti_cpu_recipe_describe(plain, 0, text, sizeof(text));
    assert_string_equal(text, "mixer mix 2 tiles 1");
    wefti_cpu_recipe_describe(first, 1, text, sizeof(text));
    assert_string_equal(text, "mixer mix 2 tiles 1 packed");
    wefti_cpu_recipe_describe(first, 1, text, 6);
    assert_string_equal(text, "mixer");
    wefti_cpu_recipe_describe(first, 2, text, sizeof(text));
    assert_string_equal(text, "");
    for (size_t r = 0; r < 3; r++) {
        wefti_cpu_recipe_destroy(recipes[r]);
    }
    wefti_weights_destroy(weights);
}

static void steps_without_tiles_are_left_out(void **state)
{
    (void)state;
    const mix_params none = {.count = 0, .tile = 5, .factor = 9, .fail_at = -1};
    const mix_params some = {.count = 4, .tile = 5, .factor = 9, .fail_at = -1};
    const wefti_step steps[3] = {mix_step(&none, 0, 0, 1, 0),
                                 mix_step(&some, 0, 0, 1, 0),
                                 mix_step(&none, 7, 0, 9, 0)};
    wefti_recipe *recipe = make(steps, 3, 16, 3, NULL);
    uint32_t from[4] = {1, 2, 3, 4}, to[4];
    void *slots[2] = {from, to};
    assert_int_equal(wefti_cpu_recipe_run(recipe, NULL, slots, 2, NULL), WEFT_OK);
    assert_int_equal(to[3], 4 * 9 + table[3]);
    char text[80];
    wefti_cpu_recipe_describe(recipe, 2, text, sizeof(text));
    assert_string_equal(text, "mixer mix 9 tiles 0");
    wefti_cpu_recipe_destroy(recipe);
    recipe = make(NULL, 0, 0, 3, NULL);
    assert_int_equal(wefti_cpu_recipe_workspace_bytes(recipe), 0);
    assert_int_equal(wefti_cpu_recipe_run(recipe, NULL, NULL, 0, NULL), WEFT_OK);
    wefti_cpu_recipe_destroy(recipe);
    wefti_cpu_recipe_destroy(NULL);
}

static void refusals_name_the_step(void **state)
{
    (void)state;
    const mix_params p = {.count = 4, .tile = 2, .factor = 9, .fail_at = -1};
    wefti_step steps[2] = {mix_step(&p, 0, 0, 1, 0), mix_step(&p, 0, 0, 1, 0)};
    static const wefti_kernel refused[] = {WEFTI_KERNEL_FILL, WEFTI_KERNEL_POOL,
                                           WEFTI_KERNEL_COUNT};
    for (size_t i = 0; i < WEFTI_COUNT_OF(refused); i++) {
        wefti_recipe *recipe = NULL;
        weft_error error = {0};
        steps[1].kernel = refused[i];
        steps[1].label = "Second 's'";
        assert_int_equal(try_make(steps, 2, 0, &recipe, &error), WEFT_UNSUPPORTED);
        assert_null(recipe);
        assert_memory_equal(error.message, "Second 's': ", 12);
    }
    weft_error error = {0};
    wefti_recipe *recipe = NULL;
    steps[0].operands[SOURCE].slot = 40000;
    assert_int_equal(try_make(steps, 1, 0, &recipe, &error), WEFT_UNSUPPORTED);
    steps[0].operands[SOURCE].slot = 0;
    assert_int_equal(try_make(steps, 1, SIZE_MAX - 10, &recipe, &error),
                     WEFT_OUT_OF_MEMORY);
}

/* Chains of random steps through random buffers, and what they must give. */
enum { BUFFERS = 4, ELEMENTS = 3000, CHAIN = 10, CALLERS = 16 };

typedef struct chain {
    mix_params params[CHAIN];
    wefti_step steps[CHAIN];
    size_t count;
    wefti_recipe *recipe;
    uint32_t expected[BUFFERS][ELEMENTS];
} chain;

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void fill_buffers(uint32_t buffers[BUFFERS][ELEMENTS], uint32_t seed)
{
    for (uint32_t b = 0; b < BUFFERS; b++) {
        for (uint32_t i = 0; i < ELEMENTS; i++) {
            buffers[b][i] = seed + b * 77777 + i * i;
        }
    }
}

static void make_chain(chain *c, uint32_t seed, wefti_backend_device *device,
                       wefti_weights *weights)
{
    c->count = 1 + next_random(&seed) % CHAIN;
    fill_buffers(c->expected, 5);
    for (size_t s = 0; s < c->count; s++) {
        mix_params *p = &c->params[s];
        *p = (mix_params){.count = 1 + next_random(&seed) % ELEMENTS,
                          .tile = 1 + next_random(&seed) % 200,
                          .factor = next_random(&seed) | 1,
                          .fail_at = -1,
                          .scratch_bytes = next_random(&seed) % 300,
                          .pack = next_random(&seed) % 2 == 0,
                          /* far more than it is, so that helpers come */
                          .work_ns = next_random(&seed) % 100000};
        uint32_t from = next_random(&seed) % BUFFERS;
        uint32_t to = next_random(&seed) % BUFFERS; /* also in place */
        c->steps[s] = mix_step(p, (int32_t)from + 1, 0, (int32_t)to + 1, 0);
        for (int64_t i = 0; i < p->count; i++) {
            c->expected[to][i] =
                c->expected[from][i] * p->factor + table[i % TABLE_SIZE];
        }
    }
    assert_int_equal(make_on(device, c->steps, c->count, weights, &c->recipe), WEFT_OK);
}

typedef struct caller {
    wefti_backend_device *device;
    const chain *chains;
    size_t chain_count;
    uint32_t seed, runs, wrong;
    wefti_thread thread;
} caller;

static void run_chains(void *argument)
{
    caller *c = argument;
    const wefti_backend *b = &wefti_backend_cpu;
    size_t bytes = 0;
    for (size_t i = 0; i < c->chain_count; i++) {
        size_t needed = b->recipe.workspace_bytes(c->chains[i].recipe);
        bytes = needed > bytes ? needed : bytes;
    }
    wefti_backend_stream *stream = NULL;
    c->wrong += b->stream.create(c->device, &stream, NULL) != WEFT_OK;
    uint32_t(*buffers)[ELEMENTS] = wefti_malloc_aligned(sizeof(*buffers) * BUFFERS);
    void *slots[BUFFERS + 1] = {wefti_malloc_aligned(bytes), buffers[0], buffers[1],
                                buffers[2], buffers[3]};
    for (uint32_t i = 0; i < c->runs; i++) {
        const chain *chosen = &c->chains[next_random(&c->seed) % c->chain_count];
        fill_buffers(buffers, 5);
        c->wrong += b->stream.execute(stream, chosen->recipe, slots, BUFFERS + 1,
                                      NULL) != WEFT_OK;
        c->wrong += b->stream.synchronize(stream, WEFTI_NEVER, NULL) != WEFT_OK;
        c->wrong += memcmp(buffers, chosen->expected, sizeof(chosen->expected)) != 0;
    }
    wefti_free(slots[0]);
    wefti_free(buffers);
    b->stream.destroy(stream);
}

static void run_callers(int32_t cores, uint32_t caller_count, uint32_t runs)
{
    enum { CHAINS = 12 };
    static chain chains[CHAINS];
    static caller callers[CALLERS];
    wefti_backend_device *device = NULL;
    wefti_weights *weights = NULL;
    assert_int_equal(wefti_weights_create(NULL, &weights, NULL), WEFT_OK);
    assert_int_equal(wefti_cpu_device_create(&mixer, cores, 7, &device, NULL), WEFT_OK);
    for (uint32_t i = 0; i < CHAINS; i++) {
        make_chain(&chains[i], i * 31 + (uint32_t)cores, device, weights);
    }
    for (uint32_t i = 0; i < caller_count; i++) {
        callers[i] = (caller){.device = device,
                              .chains = chains,
                              .chain_count = CHAINS,
                              .seed = i,
                              .runs = runs};
        assert_int_equal(wefti_thread_start(&callers[i].thread, "caller", run_chains,
                                            &callers[i], NULL),
                         WEFT_OK);
    }
    for (uint32_t i = 0; i < caller_count; i++) {
        wefti_thread_join(&callers[i].thread);
        assert_int_equal(callers[i].wrong, 0);
    }
    for (uint32_t i = 0; i < CHAINS; i++) {
        wefti_cpu_recipe_destroy(chains[i].recipe);
    }
    wefti_weights_destroy(weights);
    wefti_backend_cpu.device.close(device);
}

static void many_callers_get_their_own_results(void **state)
{
    (void)state;
    run_callers(2, 1, 300);
    run_callers(8, 1, 100);
    run_callers(2, 2, 100);
    run_callers(4, 3, 60);
    run_callers(64, CALLERS, 20);
    run_callers(2, CALLERS, 20);
}

/* Everything a caller can meet when a step fails, on streams and events. */
static void a_failing_step_is_told_once(void **state)
{
    (void)state;
    const wefti_backend *b = &wefti_backend_cpu;
    const mix_params good = {.count = 40, .tile = 2, .factor = 1, .fail_at = -1};
    const mix_params bad = {
        .count = 40, .tile = 2, .factor = 1, .fail_at = 33, .work_ns = 1000000};
    const wefti_step steps[2] = {mix_step(&good, 0, 0, 1, 0),
                                 mix_step(&bad, 0, 0, 1, 0)};
    uint32_t from[40] = {0}, to[40];
    wefti_backend_device *device = NULL;
    wefti_backend_stream *stream = NULL;
    wefti_backend_event *event = NULL;
    wefti_recipe *recipe = NULL;
    weft_error error;
    void *slots[2] = {from, to};
    assert_int_equal(wefti_cpu_device_create(&mixer, 4, 3, &device, NULL), WEFT_OK);
    assert_int_equal(b->stream.create(device, &stream, NULL), WEFT_OK);
    assert_int_equal(b->event.create(device, false, &event, NULL), WEFT_OK);
    assert_int_equal(make_on(device, steps, 2, NULL, &recipe), WEFT_OK);
    for (uint64_t i = 0; i < 30; i++) {
        uint64_t value = 3 * i;
        bool pending = i % 2 == 1;
        if (pending) {
            assert_int_equal(b->stream.wait(stream, event, value + 1, NULL), WEFT_OK);
        }
        assert_int_equal(b->stream.execute(stream, recipe, slots, 2, &error), WEFT_OK);
        assert_int_equal(b->stream.record(stream, event, value + 2, NULL), WEFT_OK);
        assert_int_equal(b->event.signal(event, value + 1, NULL), WEFT_OK);
        assert_int_equal(b->event.wait(event, value + 2, WEFTI_NEVER, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_string_equal(error.message, "Mix 'm': element 33 is bad");
        memset(&error, 0, sizeof(error));
        assert_int_equal(b->stream.synchronize(stream, WEFTI_NEVER, &error),
                         WEFT_INVALID_ARGUMENT);
        assert_string_equal(error.message, "Mix 'm': element 33 is bad");
        assert_int_equal(error.status, WEFT_INVALID_ARGUMENT);
        assert_int_equal(b->stream.synchronize(stream, WEFTI_NEVER, NULL), WEFT_OK);
        assert_int_equal(b->stream.record(stream, event, value + 3, NULL), WEFT_OK);
        assert_int_equal(b->event.wait(event, value + 3, 0, NULL), WEFT_OK);
    }
    b->recipe.destroy(recipe);
    b->event.release(event);
    b->stream.destroy(stream);
    b->device.close(device);
}

static void running_allocates_nothing(void **state)
{
    (void)state;
    const mix_params p = {
        .count = 3000, .tile = 20, .factor = 7, .fail_at = -1, .work_ns = 50000};
    const wefti_step steps[2] = {mix_step(&p, 1, 0, 2, 0), mix_step(&p, 2, 0, 1, 0)};
    wefti_backend_device *device = NULL;
    wefti_recipe *recipe = NULL;
    wefti_backend_stream *stream = NULL;
    const wefti_backend *b = &wefti_backend_cpu;
    static uint32_t x[3000], y[3000];
    static uint32_t workspace[64];
    void *slots[3] = {workspace, x, y};
    assert_int_equal(wefti_cpu_device_create(&mixer, 2, 2, &device, NULL), WEFT_OK);
    assert_int_equal(make_on(device, steps, 2, NULL, &recipe), WEFT_OK);
    assert_int_equal(b->stream.create(device, &stream, NULL), WEFT_OK);
    uint64_t before = wefti_allocation_count();
    for (int i = 0; i < 500; i++) {
        assert_int_equal(b->stream.execute(stream, recipe, slots, 3, NULL), WEFT_OK);
        assert_int_equal(b->stream.synchronize(stream, WEFTI_NEVER, NULL), WEFT_OK);
    }
    assert_int_equal(wefti_allocation_count(), before);
    weft_device_statistics statistics = {.helped_tile_count = 5};
    b->device.add_statistics(device, &statistics);
    assert_true(statistics.helped_tile_count >= 5);
    b->stream.destroy(stream);
    b->recipe.destroy(recipe);
    b->device.close(device);
}

static void creating_can_fail(void **state)
{
    (void)state;
    const mix_params p = {.count = 300,
                          .tile = 20,
                          .factor = 7,
                          .fail_at = -1,
                          .scratch_bytes = 100,
                          .pack = true,
                          .work_ns = 50000};
    const wefti_step steps[2] = {mix_step(&p, 1, 0, 2, 0), mix_step(&p, 2, 0, 1, 0)};
    uint32_t all = (1u << WEFTI_FAULT_SITE_COUNT) - 1;
    weft_status status = WEFT_INTERNAL;
    wefti_weights *weights = NULL;
    uint64_t n = 0;
    assert_int_equal(wefti_weights_create(NULL, &weights, NULL), WEFT_OK);
    while (status != WEFT_OK) {
        wefti_backend_device *device = NULL;
        wefti_recipe *recipe = NULL;
        weft_error error = {0};
        (void)wefti_fault_arm(++n, all);
        status = wefti_cpu_device_create(&mixer, 3, 2, &device, &error);
        if (status == WEFT_OK) {
            const wefti_recipe_params params = {
                .steps = steps, .step_count = 2, .weights = weights};
            status = wefti_backend_cpu.recipe.create(device, &params, &recipe, &error);
        }
        (void)wefti_fault_arm(0, 0);
        assert_int_equal(error.status, status);
        assert_true((status == WEFT_OK) == (recipe != NULL));
        wefti_cpu_recipe_destroy(recipe);
        wefti_backend_cpu.device.close(device);
        assert_true(n < 100);
    }
    assert_true(n > 15);
    assert_int_equal(wefti_weights_bytes(weights), sizeof(table));
    wefti_weights_destroy(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operands_and_scratch_are_found),
        cmocka_unit_test(constants_are_packed_once),
        cmocka_unit_test(steps_without_tiles_are_left_out),
        cmocka_unit_test(refusals_name_the_step),
        cmocka_unit_test(many_callers_get_their_own_results),
        cmocka_unit_test(a_failing_step_is_told_once),
        cmocka_unit_test(running_allocates_nothing),
        cmocka_unit_test(creating_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

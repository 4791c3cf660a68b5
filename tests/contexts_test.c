/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts held by callers, and who runs in them. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/atomic.h"
#include "runtime/context.h"
#include "support/crew.h"
#include "support/graph_text.h"

enum { THREADS = 16, ROUNDS = 400, WIDTH = 64, MARK = -7 };

typedef struct stage {
    weft_device *device;
    weft_model *model;
    weft_context *context;
    wefti_atomic_u32 ran, refused;
    float x[WIDTH], expected[WIDTH];
} stage;

static weft_status run(weft_context *context, weft_model *model, const float *x,
                       float *y, const weft_lease_params *params)
{
    weft_tensor in = {.data = (void *)(uintptr_t)x,
                      .type = WEFT_TYPE_F32,
                      .rank = 1,
                      .dims = {WIDTH}};
    weft_tensor out = in;
    out.data = y;
    weft_io io = {&in, 1, &out, 1};
    return context ? weft_context_run(context, model, &io, NULL)
                   : weft_run(model, &io, params, NULL);
}

static void set_up_with(stage *s, int32_t max_contexts)
{
    memset(s, 0, sizeof(*s));
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.max_contexts = max_contexts;
    assert_int_equal(weft_device_open("cpu", &params, &s->device, NULL), WEFT_OK);
    weft_graph *graph = graph_text_make("x: f32[64]; w = f32[64,64]; h = MatMul(x,w); "
                                        "g = MatMul(h,w); y = Tanh(g); -> y",
                                        20);
    assert_int_equal(weft_model_create(s->device, graph, NULL, &s->model, NULL),
                     WEFT_OK);
    weft_graph_release(graph);
    weft_random_key key = {.seed = 3};
    weft_random_fill_normal(&key, s->x, WIDTH);
    assert_int_equal(run(NULL, s->model, s->x, s->expected, NULL), WEFT_OK);
    assert_int_equal(weft_context_acquire(s->device, NULL, &s->context, NULL), WEFT_OK);
}

static void set_up(stage *s)
{
    set_up_with(s, 0);
}

static void tear_down(stage *s)
{
    weft_context_release(s->context);
    weft_model_release(s->model);
    weft_device_release(s->device);
}

static void mark(float *y)
{
    for (int i = 0; i < WIDTH; i++) {
        y[i] = MARK;
    }
}

static void assert_marked(const float *y)
{
    for (int i = 0; i < WIDTH; i++) {
        assert_true(y[i] == MARK);
    }
}

/* Who is refused finds its outputs as they were; who ran, the right answer. */
static void crowd(void *user, uint32_t index)
{
    stage *s = user;
    (void)index;
    for (int i = 0; i < ROUNDS; i++) {
        float y[WIDTH];
        mark(y);
        weft_status status = run(s->context, s->model, s->x, y, NULL);
        if (status == WEFT_OK) {
            assert_memory_equal(y, s->expected, sizeof(y));
            (void)wefti_atomic_u32_add_relaxed(&s->ran, 1);
            continue;
        }
        assert_int_equal(status, WEFT_BUSY);
        assert_marked(y);
        (void)wefti_atomic_u32_add_relaxed(&s->refused, 1);
    }
}

static void test_a_refused_call_leaves_its_outputs_alone(void **state)
{
    (void)state;
    stage s;
    float y[WIDTH];
    set_up(&s);
    mark(y);
    assert_int_equal(wefti_context_enter(s.context, &s, NULL), WEFT_OK);
    assert_int_equal(run(s.context, s.model, s.x, y, NULL), WEFT_BUSY);
    assert_marked(y);
    wefti_context_leave(s.context);
    assert_int_equal(run(s.context, s.model, s.x, y, NULL), WEFT_OK);
    assert_memory_equal(y, s.expected, sizeof(y));
    tear_down(&s);
}

static void test_one_context_many_threads(void **state)
{
    (void)state;
    stage s;
    set_up(&s);
    crew_run(THREADS, crowd, &s);
    uint32_t ran = wefti_atomic_u32_load_relaxed(&s.ran);
    uint32_t refused = wefti_atomic_u32_load_relaxed(&s.refused);
    assert_int_equal(ran + refused, THREADS * ROUNDS);
    assert_true(ran > 0);
    tear_down(&s);
}

/* More callers than contexts, all of which are held for the whole time: who shares
 * runs nevertheless, in turns with the holders. */
enum { CONTEXTS = 2, SHARERS = 6, CALLS = 50 };

typedef struct hall {
    stage s; /* its context is one of those held */
    wefti_atomic_u32 shared;
} hall;

static void share(void *user, uint32_t index)
{
    hall *h = user;
    weft_lease_params params = WEFT_LEASE_PARAMS_INIT;
    params.policy = WEFT_LEASE_SHARE;
    weft_context *context = NULL;
    if (index == 0) {
        context = h->s.context;
    } else if (index % 2 == 0) {
        assert_int_equal(weft_context_acquire(h->s.device, &params, &context, NULL),
                         WEFT_OK);
        (void)wefti_atomic_u32_add_relaxed(&h->shared,
                                           weft_context_was_shared(context));
    }
    for (int i = 0; i < CALLS; i++) {
        float y[WIDTH];
        assert_int_equal(run(context, h->s.model, h->s.x, y, &params), WEFT_OK);
        assert_memory_equal(y, h->s.expected, sizeof(y));
    }
    if (index != 0) {
        weft_context_release(context);
    }
}

static void test_who_shares_runs_though_all_are_held(void **state)
{
    (void)state;
    static hall h;
    set_up_with(&h.s, CONTEXTS);
    wefti_atomic_u32_init(&h.shared, 0);
    weft_context *second;
    assert_int_equal(weft_context_acquire(h.s.device, NULL, &second, NULL), WEFT_OK);
    crew_run(SHARERS, share, &h);
    assert_int_equal(wefti_atomic_u32_load_relaxed(&h.shared), (SHARERS - 1) / 2);
    assert_false(weft_context_was_shared(second));
    weft_context_release(second);
    tear_down(&h.s);
}

/* The holder goes first: its context stays with the guest, and is free after it. */
static void test_a_guest_outlives_its_host(void **state)
{
    (void)state;
    stage s;
    float y[WIDTH];
    set_up_with(&s, 1);
    weft_lease_params params = WEFT_LEASE_PARAMS_INIT;
    params.policy = WEFT_LEASE_SHARE;
    weft_context *guest, *other;
    assert_int_equal(weft_context_acquire(s.device, &params, &guest, NULL), WEFT_OK);
    assert_true(weft_context_was_shared(guest));
    assert_ptr_equal(weft_context_stream(guest), weft_context_stream(s.context));
    weft_context_release(s.context);
    s.context = NULL;
    assert_int_equal(run(guest, s.model, s.x, y, NULL), WEFT_OK);
    assert_memory_equal(y, s.expected, sizeof(y));
    params.policy = WEFT_LEASE_FAIL;
    assert_int_equal(weft_context_acquire(s.device, &params, &other, NULL), WEFT_BUSY);
    weft_context_release(guest);
    assert_int_equal(weft_context_acquire(s.device, &params, &other, NULL), WEFT_OK);
    assert_false(weft_context_was_shared(other));
    weft_context_release(other);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_refused_call_leaves_its_outputs_alone),
        cmocka_unit_test(test_one_context_many_threads),
        cmocka_unit_test(test_who_shares_runs_though_all_are_held),
        cmocka_unit_test(test_a_guest_outlives_its_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

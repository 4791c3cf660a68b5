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
                       float *y)
{
    weft_tensor in = {.data = (void *)(uintptr_t)x,
                      .type = WEFT_TYPE_F32,
                      .rank = 1,
                      .dims = {WIDTH}};
    weft_tensor out = in;
    out.data = y;
    weft_io io = {&in, 1, &out, 1};
    return context ? weft_context_run(context, model, &io, NULL)
                   : weft_run(model, &io, NULL, NULL);
}

static void set_up(stage *s)
{
    memset(s, 0, sizeof(*s));
    assert_int_equal(weft_device_open("cpu", NULL, &s->device, NULL), WEFT_OK);
    weft_graph *graph = graph_text_make("x: f32[64]; w = f32[64,64]; h = MatMul(x,w); "
                                        "g = MatMul(h,w); y = Tanh(g); -> y",
                                        20);
    assert_int_equal(weft_model_create(s->device, graph, NULL, &s->model, NULL),
                     WEFT_OK);
    weft_graph_release(graph);
    weft_random_key key = {.seed = 3};
    weft_random_fill_normal(&key, s->x, WIDTH);
    assert_int_equal(run(NULL, s->model, s->x, s->expected), WEFT_OK);
    assert_int_equal(weft_context_acquire(s->device, NULL, &s->context, NULL), WEFT_OK);
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
        weft_status status = run(s->context, s->model, s->x, y);
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
    assert_int_equal(run(s.context, s.model, s.x, y), WEFT_BUSY);
    assert_marked(y);
    wefti_context_leave(s.context);
    assert_int_equal(run(s.context, s.model, s.x, y), WEFT_OK);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_refused_call_leaves_its_outputs_alone),
        cmocka_unit_test(test_one_context_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

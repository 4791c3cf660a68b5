/* SPDX-License-Identifier: Apache-2.0 */
/* The bits do not depend on how a caller's thread rounds, flushes or traps, whichever
 * thread computes. */
#include <weft/weft.h>

#include <fenv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "support/graph_text.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

enum { ROWS = 2048, WIDTH = 64, COUNT = ROWS * WIDTH };

/* A constant that is folded and one that is packed, a product large enough to be
 * helped, functions, a sum and a narrower type. */
static const char model_text[] =
    "x: f32[rows,64]; w = f32[64,64]; third = f32{1,3}; "
    "pair = Div(third,seven); seven = f32(7); s = ReduceSum(pair) keepdims=0; "
    "xw = MatMul(x,w); g = Gelu(xw); n = Softmax(g); m = Mul(n,s); d = Div(x,seven); "
    "h = Cast(d) to=10; f = Cast(h) to=1; a = Add(m,f); t = Tanh(a); "
    "y = Sub(t,d); -> y";

typedef struct answer {
    float values[COUNT];
} answer;

static float input[COUNT];

static weft_device *open_device(void)
{
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 2;
    weft_device *device;
    assert_int_equal(weft_device_open("cpu", &params, &device, NULL), WEFT_OK);
    return device;
}

static weft_model *make_model(weft_device *device)
{
    weft_graph *graph = graph_text_make(model_text, 20);
    weft_model *model;
    assert_int_equal(weft_model_create(device, graph, NULL, &model, NULL), WEFT_OK);
    weft_graph_release(graph);
    return model;
}

typedef enum way { DIRECT, SUBMITTED, QUEUED, WAYS } way;

static void run(weft_model *model, weft_queue *queue, way how, answer *y)
{
    weft_tensor in = {
        .data = input, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, WIDTH}};
    weft_tensor out = in;
    out.data = y->values;
    weft_io io = {&in, 1, &out, 1};
    weft_request *request = NULL;
    if (how == DIRECT) {
        assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OK);
        return;
    }
    assert_int_equal(how == SUBMITTED
                         ? weft_submit(model, &io, NULL, &request, NULL)
                         : weft_queue_submit(queue, model, &io, NULL, &request, NULL),
                     WEFT_OK);
    assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
    weft_request_release(request);
}

/* Opens, loads and runs in every way, all in the thread's present state. */
static void run_all(answer answers[WAYS])
{
    weft_device *device = open_device();
    weft_model *model = make_model(device);
    weft_queue *queue;
    assert_int_equal(weft_queue_create(device, NULL, &queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(queue, model, NULL, NULL), WEFT_OK);
    for (way how = DIRECT; how < WAYS; how++) {
        run(model, queue, how, &answers[how]);
    }
    weft_queue_release(queue);
    weft_model_release(model);
    weft_device_release(device);
}

static answer usual[WAYS], other[WAYS];

/* Numbers and denormals. */
static void fill_input(void)
{
    weft_random_key key = {.seed = 11};
    weft_random_fill_normal(&key, input, COUNT);
    for (int i = 0; i < COUNT; i += 3) {
        input[i] *= 1e-39f;
    }
}

static int set_up(void **state)
{
    (void)state;
    fill_input();
    run_all(usual);
    for (way how = SUBMITTED; how < WAYS; how++) {
        assert_memory_equal(&usual[how], &usual[DIRECT], sizeof(answer));
    }
    return 0;
}

static void test_rounding_of_the_caller(void **state)
{
    (void)state;
    const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(fesetround(modes[i]), 0);
        run_all(other);
        int after = fegetround();
        fesetround(FE_TONEAREST);
        assert_int_equal(after, modes[i]);
        assert_memory_equal(other, usual, sizeof(usual));
    }
}

static void test_random_numbers_of_a_caller_that_rounds_up(void **state)
{
    (void)state;
    static float expected[COUNT], found[COUNT];
    weft_random_key key = {.seed = 12};
    weft_random_fill_normal(&key, expected, COUNT);
    fesetround(FE_UPWARD);
    weft_random_fill_normal(&key, found, COUNT);
    fesetround(FE_TONEAREST);
    assert_memory_equal(found, expected, sizeof(expected));
}

#if defined(__x86_64__)
static void test_denormals_of_a_caller_that_flushes(void **state)
{
    (void)state;
    const unsigned flushing = _mm_getcsr() | 0x8040; /* FTZ, DAZ */
    unsigned before = _mm_getcsr();
    _mm_setcsr(flushing);
    run_all(other);
    unsigned after = _mm_getcsr();
    _mm_setcsr(before);
    assert_int_equal(after | 0x3f, flushing | 0x3f);
    assert_memory_equal(other, usual, sizeof(usual));
}

static void test_a_caller_that_traps(void **state)
{
    (void)state;
    unsigned before = _mm_getcsr();
    /* Invalid, division by zero, overflow and underflow, as feenableexcept has it. */
    _mm_setcsr(before & ~0xebfu);
    run_all(other);
    _mm_setcsr(before);
    assert_memory_equal(other, usual, sizeof(usual));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding_of_the_caller),
        cmocka_unit_test(test_random_numbers_of_a_caller_that_rounds_up),
#if defined(__x86_64__)
        cmocka_unit_test(test_denormals_of_a_caller_that_flushes),
        cmocka_unit_test(test_a_caller_that_traps),
#endif
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Models whose shapes depend on what they compute: control flow, results whose size
 * the data decides, and operands that are computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/memory.h"
#include "base/testing.h"
#include "graph/model.h"
#include "graph/stages.h"
#include "support/crew.h"
#include "support/graph_text.h"
#include "support/group_device.h"

enum { MOST_IO = 4, THREADS = 16 };

static weft_model *make_model_on(weft_device *where, const char *text,
                                 const weft_model_params *params)
{
    return graph_text_model(where, text, 18, params);
}

static weft_model *make_model(const char *text)
{
    return make_model_on(group_device, text, NULL);
}

/* A call whose outputs the library allocates. */
typedef struct call {
    weft_tensor inputs[MOST_IO], outputs[MOST_IO];
    weft_io io;
    weft_error error;
} call;

static weft_status call_run(call *c, weft_model *model)
{
    size_t outputs = weft_model_output_count(model);
    for (size_t i = 0; i < outputs; i++) {
        c->outputs[i] = (weft_tensor){.rank = -1};
    }
    c->io = (weft_io){c->inputs, weft_model_input_count(model), c->outputs, outputs};
    return weft_run(model, &c->io, NULL, &c->error);
}

static void call_must(call *c, weft_model *model)
{
    if (call_run(c, model) != WEFT_OK) {
        fail_msg("%s", c->error.message);
    }
}

static void call_end(call *c)
{
    for (size_t i = 0; i < c->io.output_count; i++) {
        weft_output_free(&c->outputs[i]);
    }
}

static weft_tensor vector(weft_type type, const void *data, int64_t count)
{
    return (weft_tensor){
        .data = (void *)(uintptr_t)data, .type = type, .rank = 1, .dims = {count}};
}

static weft_tensor scalar(weft_type type, const void *data)
{
    return (weft_tensor){.data = (void *)(uintptr_t)data, .type = type};
}

static void expect_f32(const weft_tensor *tensor, int64_t count, const float *values)
{
    int64_t found = 0;
    assert_int_equal(tensor->type, WEFT_TYPE_F32);
    assert_int_equal(weft_tensor_measure(tensor, &found, NULL, NULL), WEFT_OK);
    assert_int_equal(found, count);
    for (int64_t i = 0; i < count; i++) {
        assert_float_equal(((const float *)tensor->data)[i], values[i], 1e-6);
    }
}

static void expect_i64(const weft_tensor *tensor, int64_t count, const int64_t *values)
{
    int64_t found = 0;
    assert_int_equal(tensor->type, WEFT_TYPE_I64);
    assert_int_equal(weft_tensor_measure(tensor, &found, NULL, NULL), WEFT_OK);
    assert_int_equal(found, count);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(((const int64_t *)tensor->data)[i], values[i]);
    }
}

static void expect_dims(const weft_tensor *tensor, int32_t rank, const int64_t *dims)
{
    assert_int_equal(tensor->rank, rank);
    for (int32_t i = 0; i < rank; i++) {
        assert_int_equal(tensor->dims[i], dims[i]);
    }
}

/* Branches of different shapes that read the graph around them; one gives back what it
 * read; `t` in the branch is not the `t` outside. */
static void test_if(void **state)
{
    (void)state;
    weft_model *model =
        make_model("c: bool[]; x: f32[n]; t = Abs(x); "
                   "y = If(c) then_branch={ t = Neg(x); s = Concat(t,t) axis=0; -> s } "
                   "else_branch={ -> x }; z = Add(t,t); -> y,z");
    assert_true(weft_model_has_stages(model));
    float x[] = {1, -2, 3};
    for (uint8_t c = 0; c < 2; c++) {
        call run = {
            .inputs = {scalar(WEFT_TYPE_BOOL, &c), vector(WEFT_TYPE_F32, x, 3)}};
        call_must(&run, model);
        expect_f32(&run.outputs[0], c ? 6 : 3, c ? (float[]){-1, 2, -3, -1, 2, -3} : x);
        expect_f32(&run.outputs[1], 3, (float[]){2, 4, 6});
        call_end(&run);
    }
    weft_model_release(model);
}

/* sum += step[i], stops when the sum is not below a limit; gathers the sums. */
static const char *const loops[] = {
    /* trip count and condition */
    "m: i64[]; c: bool[]; x: f32[n]; zero = f32(0); limit = f32(6); "
    "s,all = Loop(m,c,zero) body={ i: i64[]; k: bool[]; a: f32[]; axis = i64(0); "
    "v = Gather(x,i); b = Add(a,v); go = Less(b,limit); -> go,b,b }; -> s,all",
    /* no condition */
    "m: i64[]; x: f32[n]; zero = f32(0); "
    "s,all = Loop(m,,zero) body={ i: i64[]; k: bool[]; a: f32[]; v = Gather(x,i); "
    "b = Add(a,v); -> k,b,b }; -> s,all",
    /* no trip count */
    "c: bool[]; x: f32[n]; zero = f32(0); limit = f32(6); "
    "s,all = Loop(,c,zero) body={ i: i64[]; k: bool[]; a: f32[]; v = Gather(x,i); "
    "b = Add(a,v); go = Less(b,limit); -> go,b,b }; -> s,all",
    /* neither */
    "x: f32[n]; zero = f32(0); limit = f32(6); "
    "s,all = Loop(,,zero) body={ i: i64[]; k: bool[]; a: f32[]; v = Gather(x,i); "
    "b = Add(a,v); go = Less(b,limit); -> go,b,b }; -> s,all",
};

/* Form `form` with these limits; what the model has no input for is left out. */
static void check_loop(weft_model *model, int form, int64_t m, uint8_t c)
{
    static const float x[] = {1, 2, 3, 4, 5}, sums[] = {1, 3, 6, 10, 15};
    bool counted = form < 2, conditional = form == 0 || form == 2;
    call run = {0};
    size_t at = 0;
    int64_t wanted = counted ? m : 5;
    wanted = form != 1 && wanted > 3 ? 3 : wanted;
    wanted = conditional && !c ? 0 : wanted;
    if (counted) {
        run.inputs[at++] = scalar(WEFT_TYPE_I64, &m);
    }
    if (conditional) {
        run.inputs[at++] = scalar(WEFT_TYPE_BOOL, &c);
    }
    run.inputs[at] = vector(WEFT_TYPE_F32, x, 5);
    call_must(&run, model);
    expect_f32(&run.outputs[0], 1, wanted == 0 ? (float[]){0} : &sums[wanted - 1]);
    expect_dims(&run.outputs[1], 1, &wanted);
    expect_f32(&run.outputs[1], wanted, sums);
    call_end(&run);
}

static void test_loop(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        weft_model *model = make_model(loops[form]);
        for (int64_t m = 0; m < 5; m++) {
            check_loop(model, form, m, 0);
            check_loop(model, form, m, 1);
        }
        weft_model_release(model);
    }
}

/* With a trip count alone ONNX ignores what the body says; a condition that is left
 * off, and both, are as good as empty ones. */
static void test_loop_with_inputs_left_off(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "m: i64[]; x: i64[]; all = Loop(m) body={ i: i64[]; k: bool[]; "
        "a = Add(i,x); go = Less(a,x); -> go,a }; -> all",
        "m: i64[]; x: i64[]; all = Loop(m,) body={ i: i64[]; k: bool[]; "
        "a = Add(i,x); go = Less(a,x); -> go,a }; -> all",
        "m: i64[]; x: i64[]; one = i64(1); end = Sub(m,one); all = Loop() body={ "
        "i: i64[]; k: bool[]; a = Add(i,x); go = Less(i,end); -> go,a }; -> all",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        weft_model *model = make_model(texts[i]);
        int64_t m = 3, x = 7;
        call run = {.inputs = {scalar(WEFT_TYPE_I64, &m), scalar(WEFT_TYPE_I64, &x)}};
        call_must(&run, model);
        expect_i64(&run.outputs[0], 3, (int64_t[]){7, 8, 9});
        call_end(&run);
        weft_model_release(model);
    }
}

/* No iteration: a result whose shape only a run would tell fails where somebody reads
 * it, and nowhere else. */
static void test_loop_of_no_iterations(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "m: i64[]; x: f32[n]; s,at = Loop(m,,x) body={ i: i64[]; k: bool[]; a: f32[n]; "
        "at = NonZero(a); b = Neg(a); -> k,b,at }; -> s",
        "m: i64[]; x: f32[n]; s,at = Loop(m,,x) body={ i: i64[]; k: bool[]; a: f32[n]; "
        "at = NonZero(a); b = Neg(a); -> k,b,at }; -> s,at",
    };
    float x[] = {1, 2}, back[] = {-1, -2};
    for (int way = 0; way < 2; way++) {
        weft_model *model = make_model(texts[way]);
        int64_t m = 1;
        call run = {.inputs = {scalar(WEFT_TYPE_I64, &m), vector(WEFT_TYPE_F32, x, 2)}};
        call_must(&run, model);
        expect_f32(&run.outputs[0], 2, back);
        if (way == 1) {
            expect_dims(&run.outputs[1], 3, (int64_t[]){1, 1, 2});
        }
        call_end(&run);
        m = 0;
        if (way == 0) {
            call_must(&run, model);
            expect_f32(&run.outputs[0], 2, x);
            call_end(&run);
        } else {
            assert_int_equal(call_run(&run, model), WEFT_UNSUPPORTED);
            assert_non_null(strstr(run.error.message, "'at'"));
        }
        weft_model_release(model);
    }
}

/* A model may not be trusted to end. */
static void test_iterations_are_bounded(void **state)
{
    (void)state;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.max_iterations = 100;
    weft_model *model = make_model_on(
        group_device,
        "x: f32[]; s = Loop(,,x) body={ i: i64[]; k: bool[]; a: f32[]; three = i64(3); "
        "t = Loop(three,,a) body={ j: i64[]; l: bool[]; b: f32[]; d = Neg(b); -> l,d "
        "}; "
        "-> k,t }; -> s",
        &params);
    float x = 1;
    call run = {.inputs = {scalar(WEFT_TYPE_F32, &x)}};
    assert_int_equal(call_run(&run, model), WEFT_UNSUPPORTED);
    assert_non_null(strstr(run.error.message, "100 iterations"));
    weft_model_release(model);
}

/* The state grows and the results are rows; more of them than there is room for at
 * first. */
static void test_loop_with_a_growing_state(void **state)
{
    (void)state;
    weft_model *model = make_model(
        "m: i64[]; x: f32[1]; "
        "s,rows = Loop(m,,x) body={ i: i64[]; k: bool[]; a: f32[n]; f = Cast(i) to=1; "
        "axis = i64{0}; e = Unsqueeze(f,axis); b = Concat(a,e) axis=0; "
        "p = Concat(x,e) axis=0; -> k,b,p }; -> s,rows");
    float x = 7;
    for (int64_t m = 0; m <= 100; m += 50) {
        call run = {
            .inputs = {scalar(WEFT_TYPE_I64, &m), vector(WEFT_TYPE_F32, &x, 1)}};
        call_must(&run, model);
        expect_dims(&run.outputs[0], 1, (int64_t[]){m + 1});
        expect_dims(&run.outputs[1], 2, (int64_t[]){m, 2});
        for (int64_t i = 0; i < m; i++) {
            assert_float_equal(((float *)run.outputs[0].data)[1 + i], (float)i, 0);
            assert_float_equal(((float *)run.outputs[1].data)[2 * i], 7, 0);
            assert_float_equal(((float *)run.outputs[1].data)[2 * i + 1], (float)i, 0);
        }
        call_end(&run);
    }
    weft_model_release(model);
}

/* Two inputs along different axes and in different directions; one result reversed and
 * one along axis 1. */
static void test_scan(void **state)
{
    (void)state;
    weft_model *model = make_model(
        "x: f32[?,2]; y: f32[2,?]; zero = f32{0,0}; "
        "s,a,b = Scan(zero,x,y) num_scan_inputs=2 scan_input_axes=[0,1] "
        "scan_input_directions=[0,1] scan_output_axes=[0,-1] "
        "scan_output_directions=[1,0] "
        "body={ t: f32[2]; p: f32[2]; q: f32[2]; d = Mul(p,q); u = Add(t,d); "
        "v = Neg(p); -> u,u,v }; -> s,a,b");
    float x[] = {1, 2, 3, 4, 5, 6}, y[] = {1, 2, 3, 4, 5, 6};
    call run = {.inputs = {vector(WEFT_TYPE_F32, x, 3), vector(WEFT_TYPE_F32, y, 2)}};
    run.inputs[0].rank = run.inputs[1].rank = 2;
    run.inputs[0].dims[1] = 2;
    run.inputs[1].dims[1] = 3;
    call_must(&run, model);
    /* y backwards: (3,6), (2,5), (1,4) */
    expect_f32(&run.outputs[0], 2, (float[]){3 + 6 + 5, 12 + 20 + 24});
    expect_dims(&run.outputs[1], 2, (int64_t[]){3, 2});
    expect_f32(&run.outputs[1], 6, (float[]){14, 56, 9, 32, 3, 12});
    expect_dims(&run.outputs[2], 2, (int64_t[]){2, 3});
    expect_f32(&run.outputs[2], 6, (float[]){-1, -3, -5, -2, -4, -6});
    call_end(&run);
    /* nothing to scan */
    run.inputs[0].dims[0] = 0;
    run.inputs[1].dims[1] = 0;
    call_must(&run, model);
    expect_f32(&run.outputs[0], 2, (float[]){0, 0});
    expect_dims(&run.outputs[1], 2, (int64_t[]){0, 2});
    expect_dims(&run.outputs[2], 2, (int64_t[]){2, 0});
    call_end(&run);
    run.inputs[1].dims[1] = 1;
    assert_int_equal(call_run(&run, model), WEFT_INVALID_MODEL);
    assert_non_null(strstr(run.error.message, "slices"));
    weft_model_release(model);
}

/* Nothing to scan: where a slice decides a shape, its elements are taken as 0, not as
 * what another value left in the same memory. */
static void test_scan_of_no_slices(void **state)
{
    (void)state;
    weft_model *model = make_model(
        "x: i64[?,2]; y: f32[n]; at = NonZero(y); twice = Add(at,at); "
        "s,r = Scan(twice,x) num_scan_inputs=1 body={ t: i64[?,?]; p: i64[2]; "
        "r = ConstantOfShape(p); -> t,r }; -> s,r");
    float y[] = {0, 0, 1, 1};
    int64_t x[2] = {0};
    call run = {
        .inputs = {{.data = x, .type = WEFT_TYPE_I64, .rank = 2, .dims = {0, 2}},
                   vector(WEFT_TYPE_F32, y, 4)}};
    call_must(&run, model);
    expect_i64(&run.outputs[0], 2, (int64_t[]){4, 6});
    expect_dims(&run.outputs[1], 3, (int64_t[]){0, 0, 0});
    call_end(&run);
    weft_model_release(model);
}

/* No elements, and yet one size that nobody may count up to. */
static void test_nothing_of_a_huge_size(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "x: f32[?,?,?]; y = Unique(x) axis=1; -> y",
        "x: f32[?,?,?]; c = bool(1); one = i64{1}; d = Reshape(c,one); "
        "y = Compress(x,d) axis=1; -> y",
        "x: f32[?,?,?]; c = bool(1); one = i64{1}; d = Reshape(c,one); "
        "y = Compress(x,d) axis=2; -> y",
    };
    static const int64_t huge = INT64_C(1) << 60;
    float x = 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        weft_model *model = make_model(texts[i]);
        for (int64_t middle = 0; middle < 3; middle++) {
            call run = {.inputs = {{.data = &x,
                                    .type = WEFT_TYPE_F32,
                                    .rank = 3,
                                    .dims = {huge, middle, middle == 0 ? 1 : 0}}}};
            call_must(&run, model);
            assert_int_equal(run.outputs[0].dims[0], huge);
            call_end(&run);
        }
        weft_model_release(model);
    }
}

/* Sizes that follow from data: of a mask, of a maximum, of a sum. */
static void test_sizes_from_data(void **state)
{
    (void)state;
    weft_model *model = make_model(
        "x: f32[n,2]; none = f32(0); m = Greater(x,none); at = NonZero(m); "
        "rows = Transpose(at) perm=[1,0]; some = GatherND(x,rows); twice = "
        "Add(some,some); "
        "big = ReduceMax(some) keepdims=0; k = Cast(big) to=7; zero = i64(0); "
        "one = i64(1); list = Range(zero,k,one); -> twice,list");
    float x[] = {1, -1, 3, 2, 0, -5}, none[] = {-1, -1};
    call run = {.inputs = {vector(WEFT_TYPE_F32, x, 3)}};
    run.inputs[0].rank = 2;
    run.inputs[0].dims[1] = 2;
    call_must(&run, model);
    expect_f32(&run.outputs[0], 3, (float[]){2, 6, 4});
    expect_i64(&run.outputs[1], 3, (int64_t[]){0, 1, 2});
    call_end(&run);
    weft_model_release(model);

    model =
        make_model("x: f32[n,2]; none = f32(0); m = Greater(x,none); at = NonZero(m); "
                   "rows = Transpose(at) perm=[1,0]; some = GatherND(x,rows); -> some");
    run.inputs[0] = vector(WEFT_TYPE_F32, none, 1);
    run.inputs[0].rank = 2;
    run.inputs[0].dims[1] = 2;
    call_must(&run, model);
    expect_dims(&run.outputs[0], 1, (int64_t[]){0});
    call_end(&run);
    weft_model_release(model);
}

/* Of an input of which nothing is declared: it may be large, and is data. What it
 * decides, by its own value or by a sum of it, waits for a stage. */
static void test_an_input_of_any_rank(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "x: i64[*]; zero = i64(0); one = i64(1); y = Range(zero,x,one); -> y",
        "x: i64[*]; zero = i64(0); one = i64(1); m = ReduceMax(x) keepdims=0; "
        "y = Range(zero,m,one); -> y",
    };
    int64_t data[400] = {0};
    data[300] = 3;
    for (int way = 0; way < 2; way++) {
        weft_model *model = make_model(texts[way]);
        assert_true(weft_model_has_stages(model));
        assert_false(weft_model_input_is_value(model, 0));
        call run = {.inputs = {way == 0 ? scalar(WEFT_TYPE_I64, &data[300])
                                        : vector(WEFT_TYPE_I64, data, 400)}};
        call_must(&run, model);
        expect_i64(&run.outputs[0], 3, (int64_t[]){0, 1, 2});
        call_end(&run);
        weft_model_release(model);
    }
}

/* What is a constant, or follows from shapes, needs no stage. */
static void test_known_sizes_stay_in_the_plan(void **state)
{
    (void)state;
    weft_model *model =
        make_model("x: f32[n]; s = Shape(x); o = ConstantOfShape(s); one = f32(1); p = "
                   "Add(o,one); "
                   "at = NonZero(p); f = Cast(at) to=1; y = Add(f,x); -> y");
    assert_false(weft_model_has_stages(model));
    float x[] = {1, 2, 3};
    call run = {.inputs = {vector(WEFT_TYPE_F32, x, 3)}};
    call_must(&run, model);
    expect_f32(&run.outputs[0], 3, (float[]){1, 3, 5});
    call_end(&run);
    weft_model_release(model);
}

static void test_compress_and_unique(void **state)
{
    (void)state;
    weft_model *model =
        make_model("x: f32[n]; c: bool[n]; zero = f32(0); y = Add(x,zero); d = Not(c); "
                   "p = Compress(y,d); u,first,inverse,counts = Unique(p) sorted=0; "
                   "-> u,first,inverse,counts");
    float x[] = {5, 3, 5, 2, 3, 3};
    uint8_t c[] = {0, 0, 0, 1, 0, 0};
    call run = {.inputs = {vector(WEFT_TYPE_F32, x, 6), vector(WEFT_TYPE_BOOL, c, 6)}};
    call_must(&run, model);
    expect_f32(&run.outputs[0], 2, (float[]){5, 3});
    expect_i64(&run.outputs[1], 2, (int64_t[]){0, 1});
    expect_i64(&run.outputs[2], 5, (int64_t[]){0, 1, 0, 1, 1});
    expect_i64(&run.outputs[3], 2, (int64_t[]){2, 3});
    call_end(&run);
    weft_model_release(model);
}

/* Outputs in the caller's memory: with a shape, with room, and with too little. */
static void test_outputs_of_the_caller(void **state)
{
    (void)state;
    weft_model *model =
        make_model("x: f32[n]; at = NonZero(x); y = Add(at,at); -> y,x");
    float x[] = {1, 0, 3}, back[3];
    int64_t y[4];
    weft_tensor input = vector(WEFT_TYPE_F32, x, 3);
    weft_tensor outputs[2] = {{.data = y, .size_bytes = sizeof(y), .rank = -1},
                              vector(WEFT_TYPE_F32, back, 3)};
    weft_io io = {&input, 1, outputs, 2};
    weft_error error;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_OK);
    expect_dims(&outputs[0], 2, (int64_t[]){1, 2});
    expect_i64(&outputs[0], 2, (int64_t[]){0, 4});
    assert_memory_equal(back, x, sizeof(x));

    /* the shape that was found is taken, another one is not */
    outputs[0].size_bytes = 0;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_OK);
    x[1] = 1;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "[1, 3]"));
    assert_int_equal(y[1], 0);
    outputs[0] = (weft_tensor){.data = y, .size_bytes = 16, .rank = -1};
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "16 bytes; 24"));
    outputs[0].size_bytes = sizeof(y);
    outputs[1].data = x;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "overlaps"));
    outputs[1].data = (char *)back + 1;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    weft_model_release(model);

    /* a model without stages allocates too */
    model = make_model("x: f32[n]; y = Add(x,x); -> y");
    call run = {.inputs = {vector(WEFT_TYPE_F32, x, 3)}};
    call_must(&run, model);
    expect_f32(&run.outputs[0], 3, (float[]){2, 2, 6});
    call_end(&run);
    run.inputs[0].data = NULL;
    assert_int_equal(call_run(&run, model), WEFT_INVALID_ARGUMENT);
    assert_null(run.outputs[0].data);
    assert_int_equal(run.outputs[0].rank, -1);
    weft_model_release(model);
}

static void test_submit_and_queue(void **state)
{
    (void)state;
    weft_model *model = make_model("x: f32[n]; at = NonZero(x); y = Add(at,at); -> y");
    float x[] = {1, 0, 3};
    int64_t y[2];
    weft_tensor input = vector(WEFT_TYPE_F32, x, 3);
    weft_tensor output = {.data = y, .type = WEFT_TYPE_I64, .rank = 2, .dims = {1, 2}};
    weft_io io = {&input, 1, &output, 1};
    weft_request *request;
    weft_queue *queue;
    assert_int_equal(weft_queue_create(group_device, NULL, &queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(queue, model, NULL, NULL), WEFT_OK);
    for (int way = 0; way < 2; way++) {
        memset(y, 0xa5, sizeof(y));
        assert_int_equal(
            way == 0 ? weft_submit(model, &io, NULL, &request, NULL)
                     : weft_queue_submit(queue, model, &io, NULL, &request, NULL),
            WEFT_OK);
        assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
        weft_request_release(request);
        expect_i64(&output, 2, (int64_t[]){0, 4});
        output.dims[1] = 1;
        assert_int_equal(
            way == 0 ? weft_submit(model, &io, NULL, &request, NULL)
                     : weft_queue_submit(queue, model, &io, NULL, &request, NULL),
            WEFT_OK);
        assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL),
                         WEFT_INVALID_ARGUMENT);
        weft_request_release(request);
        output.dims[1] = 2;
    }
    weft_queue_release(queue);
    weft_model_release(model);
}

/* Greedy decoding as exporters write it: the state is the text so far, a branch inside
 * of the loop takes another way every time a large token was chosen, and the loop ends
 * when the end token comes. */
static const char *const decoder =
    "m: i64[]; start: i64[n]; table = f32[8,16]; head = f32[16,8]; one = "
    "bool(1); zero = i64(0); first = i64{0}; last = i64{-1}; half = i64(4); "
    "eight = i64(8); wide = f32(9); text,scores = Loop(m,one,start) body={ i: "
    "i64[]; k: bool[]; t: i64[n]; e = Gather(table,t); hidden = Tanh(e); mean = "
    "ReduceMean(hidden,first); logits = MatMul(mean,head); f = Cast(i) to=1; "
    "turn = f32[1,8]; g = Mul(f,turn); sine = Sin(g); w = Mul(sine,wide); moved "
    "= Add(logits,w); best = ArgMax(moved) axis=1 keepdims=0; large = "
    "Greater(best,half); one1 = Squeeze(large); next = If(one1) then_branch={ r "
    "= Concat(t,best) axis=0; -> r } else_branch={ a = Add(best,best); b = "
    "Mod(a,eight); r = Concat(t,best,b) axis=0; -> r }; score = "
    "ReduceMax(moved) keepdims=0; -> k,next,score }; -> text,scores";

typedef struct hall {
    weft_model *model;
    void *text[64], *scores[64];
    int64_t text_count[64];
    uint32_t wrong[THREADS];
} hall;

static weft_status decode(hall *h, int64_t m, call *run)
{
    static const int64_t start[] = {1, 2};
    *run =
        (call){.inputs = {scalar(WEFT_TYPE_I64, &m), vector(WEFT_TYPE_I64, start, 2)}};
    return call_run(run, h->model);
}

static void meet_decoders(void *user, uint32_t index)
{
    hall *h = user;
    uint64_t random = 900 + index;
    for (uint32_t i = 0; i < 64 / crew_divisor(); i++) {
        int64_t m = 1 + crew_random(&random) % 23;
        call run;
        bool right =
            decode(h, m, &run) == WEFT_OK &&
            run.outputs[0].dims[0] == h->text_count[m] &&
            memcmp(run.outputs[0].data, h->text[m], (size_t)h->text_count[m] * 8) ==
                0 &&
            (m == 0 || memcmp(run.outputs[1].data, h->scores[m], (size_t)m * 4) == 0);
        h->wrong[index] += !right;
        call_end(&run);
    }
}

static void test_a_decoder_from_many_threads(void **state)
{
    (void)state;
    static hall h;
    h.model = make_model(decoder);
    call runs[24];
    for (int64_t m = 1; m < 24; m++) {
        if (decode(&h, m, &runs[m]) != WEFT_OK) {
            fail_msg("%s", runs[m].error.message);
        }
        h.text[m] = runs[m].outputs[0].data;
        h.text_count[m] = runs[m].outputs[0].dims[0];
        h.scores[m] = runs[m].outputs[1].data;
        assert_true(h.text_count[m] >= 2 + m && h.text_count[m] <= 2 + 2 * m);
    }
    assert_true(h.text_count[23] > 2 + 23 && h.text_count[23] < 2 + 46);
    crew_run(8, meet_decoders, &h);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(h.wrong[i], 0);
    }
    for (int64_t m = 1; m < 24; m++) {
        call_end(&runs[m]);
    }
    weft_model_release(h.model);
}

/* As many rows as the input says, gathered by what is not zero, with few plans. */
static const char *const picky =
    "x: f32[n]; k: i64[]; at = NonZero(x); row = i64{0}; flat = Squeeze(at,row); some "
    "= Gather(x,flat); "
    "one = i64{1}; kk = Reshape(k,one); v,w = TopK(some,kk); y = Mul(v,v); -> y";

static bool pick(weft_model *model, uint64_t *random, weft_status *status)
{
    float x[40];
    int64_t length = 1 + crew_random(random) % 40, found = 0;
    for (int64_t i = 0; i < length; i++) {
        x[i] = crew_random(random) % 3 == 0 ? 0 : (float)(length - i);
        found += x[i] != 0;
    }
    if (found == 0) {
        x[0] = (float)length;
        found = 1;
    }
    int64_t k = found < 5 ? found : 5;
    call run = {
        .inputs = {vector(WEFT_TYPE_F32, x, length), scalar(WEFT_TYPE_I64, &k)}};
    *status = call_run(&run, model);
    bool right = *status == WEFT_OK && run.outputs[0].dims[0] == k;
    for (int64_t i = 0, j = 0; right && j < k; i++) {
        if (x[i] != 0) {
            right = ((float *)run.outputs[0].data)[j++] == x[i] * x[i];
        }
    }
    call_end(&run);
    return right;
}

static void meet_shapes(void *user, uint32_t index)
{
    hall *h = user;
    uint64_t random = 31 * index + 5;
    for (uint32_t i = 0; i < 200 / crew_divisor(); i++) {
        weft_status status;
        h->wrong[index] += !pick(h->model, &random, &status);
    }
}

static void test_a_thousand_sizes(void **state)
{
    (void)state;
    static hall h;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.max_plans = 8;
    h.model = make_model_on(group_device, picky, &params);
    weft_device_statistics first, second;
    for (int round = 0; round < 3; round++) {
        crew_run(THREADS, meet_shapes, &h);
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(h.wrong[i], 0);
        }
        weft_device_get_statistics(group_device, round == 0 ? &first : &second);
    }
    /* What stays after all calls have ended is workspaces alone. */
    assert_true(second.memory_bytes <= first.memory_bytes + (1u << 20));
    assert_true(second.plan_bytes < (1u << 22));
    weft_model_release(h.model);
}

static size_t sum_plan_bytes(const weft_model *model, size_t *parts)
{
    if (model == NULL) {
        return 0;
    }
    if (model->stages == NULL) {
        ++*parts;
        return model->plans.params.max_bytes;
    }
    size_t sum = 0;
    for (size_t i = 0; i < model->stages->count; i++) {
        sum += sum_plan_bytes(model->stages->stages[i].bodies[0].model, parts);
        sum += sum_plan_bytes(model->stages->stages[i].bodies[1].model, parts);
    }
    return sum;
}

/* The plans of all parts together stay within what the model was given; a part has at
 * least 1 MiB, or all of it. */
static void test_parts_share_the_memory_for_plans(void **state)
{
    (void)state;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    static const size_t given[] = {64 << 20, 2 << 20, 1000};
    for (int i = 0; i < 3; i++) {
        params.max_plan_bytes = given[i];
        weft_model *model = make_model_on(group_device, decoder, &params);
        size_t parts = 0, sum = sum_plan_bytes(model, &parts);
        assert_true(parts > 2);
        if (i == 0) {
            assert_true(sum <= given[0] && sum > given[0] / 2);
        } else {
            assert_int_equal(sum, parts * (i == 1 ? 1 << 20 : given[2]));
        }
        int64_t m = 3, start[] = {1, 2};
        call run = {
            .inputs = {scalar(WEFT_TYPE_I64, &m), vector(WEFT_TYPE_I64, start, 2)}};
        call_must(&run, model);
        call_end(&run);
        weft_model_release(model);
    }
}

/* A Loop whose state doubles each time. */
static const char doubling[] =
    "m: i64[]; x: f32[n]; s = Loop(m,,x) body={ i: i64[]; k: bool[]; a: f32[n]; "
    "b = Concat(a,a) axis=0; -> k,b }; -> s";

static void double_under_a_cap(weft_model *model)
{
    float x = 1;
    for (int repeat = 0; repeat < 3; repeat++) {
        int64_t m = 10;
        call run = {
            .inputs = {scalar(WEFT_TYPE_I64, &m), vector(WEFT_TYPE_F32, &x, 1)}};
        call_must(&run, model);
        assert_int_equal(run.outputs[0].dims[0], 1024);
        call_end(&run);
        m = 40;
        assert_int_equal(call_run(&run, model), WEFT_OUT_OF_MEMORY);
        assert_null(run.outputs[0].data);
    }
}

/* The cap holds for what lies between stages; a run that fails leaves nothing. */
static void test_memory_cap(void **state)
{
    (void)state;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.memory_cap_bytes = 1 << 20;
    weft_device *small;
    assert_int_equal(weft_device_open("cpu", &params, &small, NULL), WEFT_OK);
    weft_model *model = make_model_on(small, doubling, NULL);
    double_under_a_cap(model);
    assert_int_equal(weft_device_trim(small, NULL), WEFT_OK);
    weft_device_statistics now;
    weft_device_get_statistics(small, &now);
    assert_true(now.memory_peak_bytes <= 1 << 20);
    assert_true(now.memory_bytes < 1 << 16);
    weft_model_release(model);
    weft_device_release(small);
}

/* So does the model's own, which its parts share. */
static void test_memory_cap_of_a_model(void **state)
{
    (void)state;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.memory_cap_bytes = 1 << 20;
    weft_device *device;
    assert_int_equal(weft_device_open("cpu", NULL, &device, NULL), WEFT_OK);
    weft_model *model = make_model_on(device, doubling, &params);
    double_under_a_cap(model);
    weft_device_statistics now;
    weft_device_get_statistics(device, &now);
    assert_true(now.memory_peak_bytes <= 1 << 20);
    weft_model_release(model);
    weft_device_release(device);
}

static void test_every_failure_is_an_answer(void **state)
{
    (void)state;
    static const uint32_t sites = 1u << WEFTI_FAULT_ALLOCATION |
                                  1u << WEFTI_FAULT_DEVICE | 1u << WEFTI_FAULT_LOCK;
    weft_graph *graph = graph_text_make(decoder, 18);
    static hall h;
    h.model = NULL;
    for (uint64_t n = 1; h.model == NULL; n++) {
        wefti_fault_arm(n, sites);
        weft_status status =
            weft_model_create(group_device, graph, NULL, &h.model, NULL);
        wefti_fault_arm(0, 0);
        assert_true((status == WEFT_OK) == (h.model != NULL));
        assert_true(n < 10000);
    }
    bool done = false;
    for (uint64_t n = 1; !done; n += n < 200 ? 1 : 17) {
        call run;
        wefti_fault_arm(n, sites);
        done = decode(&h, 3, &run) == WEFT_OK;
        wefti_fault_arm(0, 0);
        call_end(&run);
        assert_true(n < 100000);
    }
    weft_model_release(h.model);
    weft_graph_release(graph);
}

static void expect_refused(const char *text, weft_status status, const char *words)
{
    weft_model *model = NULL;
    weft_error error = {0};
    weft_graph *graph = graph_text_make(text, 18);
    weft_status found = weft_model_create(group_device, graph, NULL, &model, &error);
    if (found != status || strstr(error.message, words) == NULL) {
        fail_msg("%s: %s", text, error.message);
    }
    weft_graph_release(graph);
}

static void test_refused_models(void **state)
{
    (void)state;
    expect_refused("c: bool[]; y = If(c) then_branch={ -> c }; -> y",
                   WEFT_INVALID_MODEL, "else_branch");
    expect_refused(
        "c: bool[]; y = If(c) then_branch={ -> c } else_branch={ -> z }; -> y",
        WEFT_INVALID_MODEL, "'z'");
    expect_refused("c: bool[]; y = If(c) then_branch={ -> c } else_branch={ -> c,c }; "
                   "-> y",
                   WEFT_INVALID_MODEL, "If 'y'");
    expect_refused("m: i64[]; y = Loop(m,) body={ i: i64[]; -> i }; -> y",
                   WEFT_INVALID_MODEL, "Loop 'y'");
    expect_refused("x: f32[3]; y = Scan(x) body={ i: f32[]; -> i }; -> y",
                   WEFT_INVALID_MODEL, "Scan 'y'");
    expect_refused("c: bool[]; y = If(c) then_branch={ a = Nothing(c); -> a } "
                   "else_branch={ a = Never(c); -> a }; -> y",
                   WEFT_UNSUPPORTED, "Never");
    expect_refused("c: bool[]; y = If(c) then_branch={ a = Not(y); -> a } "
                   "else_branch={ -> c }; -> y",
                   WEFT_INVALID_MODEL, "cycle");
}

static void test_refused_runs(void **state)
{
    (void)state;
    weft_model *model = make_model(
        "c: f32[]; x: f32[n]; d = Cast(c) to=9; y = If(c) then_branch={ -> x } "
        "else_branch={ s = i64{5,5}; r = Reshape(x,s); -> r }; -> y");
    float c = 1, x[3] = {0};
    call run = {.inputs = {scalar(WEFT_TYPE_F32, &c), vector(WEFT_TYPE_F32, x, 3)}};
    assert_int_equal(call_run(&run, model), WEFT_INVALID_MODEL);
    assert_non_null(strstr(run.error.message, "one bool"));
    weft_model_release(model);
    model = make_model("c: bool[]; x: f32[n]; y = If(c) then_branch={ -> x } "
                       "else_branch={ s = i64{5,5}; r = Reshape(x,s); -> r }; -> y");
    uint8_t no = 0;
    run.inputs[0] = scalar(WEFT_TYPE_BOOL, &no);
    assert_int_not_equal(call_run(&run, model), WEFT_OK);
    assert_non_null(strstr(run.error.message, "If 'y', else_branch: Reshape 'r'"));
    weft_model_release(model);
}

static void test_nesting_is_bounded(void **state)
{
    (void)state;
    weft_error error = {0};
    weft_status status = WEFT_OK;
    /* graphs in graphs: as deep as is allowed, and one deeper */
    weft_graph *deep = graph_text_make("-> c", 18);
    for (int depth = 0; depth < 40; depth++) {
        const char *input = "c", *output = "y";
        weft_attribute attributes[] = {
            {.name = "then_branch", .kind = WEFT_ATTRIBUTE_GRAPH, .graph = deep},
            {.name = "else_branch", .kind = WEFT_ATTRIBUTE_GRAPH, .graph = deep}};
        weft_node node = {.op_type = "If",
                          .inputs = &input,
                          .input_count = 1,
                          .outputs = &output,
                          .output_count = 1,
                          .attributes = attributes,
                          .attribute_count = 2};
        weft_graph *outer;
        assert_int_equal(weft_graph_create(18, &outer, NULL), WEFT_OK);
        status = weft_graph_add_node(outer, &node, &error);
        weft_graph_release(deep);
        deep = outer;
        if (status != WEFT_OK) {
            assert_int_equal(depth, 16);
            break;
        }
        assert_int_equal(weft_graph_add_output(outer, "y", NULL), WEFT_OK);
    }
    assert_int_equal(status, WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "nested"));
    weft_graph_release(deep);
}

static void test_dump(void **state)
{
    (void)state;
    weft_model *model = make_model(decoder);
    int64_t m = 3, start[] = {1, 2};
    weft_tensor inputs[] = {scalar(WEFT_TYPE_I64, &m), vector(WEFT_TYPE_I64, start, 2)};
    weft_tensor outputs[2] = {{0}, {0}};
    weft_io io = {inputs, 2, outputs, 2};
    char *text = NULL;
    assert_int_equal(weft_model_dump_plan(model, &io, &text, NULL), WEFT_OK);
    assert_non_null(strstr(text, "Loop 'text'"));
    assert_non_null(strstr(text, "body: "));
    assert_non_null(strstr(text, "If 'next'"));
    weft_text_free(text);
    assert_int_equal(weft_model_infer_outputs(model, &io, NULL), WEFT_OK);
    assert_int_equal(outputs[0].rank, -1);
    weft_model_release(model);
}

/* The null device computes nothing, and loops still end. */
static void test_null_device(void **state)
{
    (void)state;
    weft_device *null;
    assert_int_equal(weft_device_open("null", NULL, &null, NULL), WEFT_OK);
    static hall h;
    h.model = make_model_on(null, decoder, NULL);
    call run;
    if (decode(&h, 5, &run) != WEFT_OK) {
        fail_msg("%s", run.error.message);
    }
    call_end(&run);
    weft_model_release(h.model);
    weft_device_release(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_if),
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_loop_with_inputs_left_off),
        cmocka_unit_test(test_loop_of_no_iterations),
        cmocka_unit_test(test_iterations_are_bounded),
        cmocka_unit_test(test_loop_with_a_growing_state),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_scan_of_no_slices),
        cmocka_unit_test(test_nothing_of_a_huge_size),
        cmocka_unit_test(test_sizes_from_data),
        cmocka_unit_test(test_an_input_of_any_rank),
        cmocka_unit_test(test_known_sizes_stay_in_the_plan),
        cmocka_unit_test(test_compress_and_unique),
        cmocka_unit_test(test_outputs_of_the_caller),
        cmocka_unit_test(test_submit_and_queue),
        cmocka_unit_test(test_a_decoder_from_many_threads),
        cmocka_unit_test(test_a_thousand_sizes),
        cmocka_unit_test(test_parts_share_the_memory_for_plans),
        cmocka_unit_test(test_memory_cap),
        cmocka_unit_test(test_memory_cap_of_a_model),
        cmocka_unit_test(test_every_failure_is_an_answer),
        cmocka_unit_test(test_refused_models),
        cmocka_unit_test(test_refused_runs),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_dump),
        cmocka_unit_test(test_null_device),
    };
    return cmocka_run_group_tests(tests, group_device_open, group_device_close);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Models in f16 and bf16 give what the same models in f32 give, rounded once: their
 * inputs and constants are exact in f32. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "backend/host_cast.h"
#include "base/memory.h"
#include "base/testing.h"
#include "graph/halves.h"
#include "graph/model.h"
#include "support/graph_text.h"
#include "support/group_device.h"

enum { ROWS = 3, COLUMNS = 8, COUNT = ROWS * COLUMNS, MOST = 256 };

static weft_status make(const char *text, weft_type type, weft_model **model,
                        weft_error *error)
{
    /* $ is the type's name, # its number. */
    char filled[1024];
    size_t at = 0;
    for (const char *c = text; *c != '\0' && at + 8 < sizeof(filled); c++) {
        if (*c == '$' || *c == '#') {
            at += (size_t)sprintf(filled + at, "%s",
                                  *c == '$'               ? weft_type_name(type)
                                  : type == WEFT_TYPE_F16 ? "10"
                                                          : "16");
        } else {
            filled[at++] = *c;
        }
    }
    filled[at] = '\0';
    weft_graph *graph = graph_text_make(filled, 26);
    weft_status status = weft_model_create(group_device, graph, NULL, model, error);
    weft_graph_release(graph);
    return status;
}

/* Runs with x, and the condition that some texts have as a second input. */
static weft_tensor run(const char *text, weft_type type, const void *x,
                       weft_type x_type, uint64_t *answer)
{
    weft_model *model = NULL;
    weft_error error = {0};
    if (make(text, type, &model, &error) != WEFT_OK) {
        fail_msg("%s: %s", text, error.message);
    }
    bool condition = true;
    weft_tensor inputs[] = {{.data = (void *)(uintptr_t)x,
                             .type = x_type,
                             .rank = 2,
                             .dims = {ROWS, COLUMNS}},
                            {.data = &condition, .type = WEFT_TYPE_BOOL, .rank = 0}};
    weft_tensor output = {.data = answer, .size_bytes = MOST * 8, .rank = -1};
    weft_io io = {inputs, weft_model_input_count(model), &output, 1};
    if (weft_run(model, &io, NULL, &error) != WEFT_OK) {
        fail_msg("%s: %s", text, error.message);
    }
    weft_model_release(model);
    return output;
}

static const struct {
    const char *half, *wide;
    weft_type type; /* of the output; NONE: that of the input */
} pairs[] = {
    {"x: $[3,8]; w = f32[8,5]; h = Cast(w) to=#; b = f32[5]; c = Cast(b) to=#;"
     "p = MatMul(x,h); s = Add(p,c); y = Relu(s); -> y",
     "x: f32[3,8]; w = f32[8,5]; g = Cast(w) to=#; h = Cast(g) to=1; b = f32[5];"
     "d = Cast(b) to=#; c = Cast(d) to=1; p = MatMul(x,h); s = Add(p,c); r = Relu(s);"
     "y = Cast(r) to=#; -> y",
     WEFT_TYPE_NONE},
    /* What is moved beside what is computed. */
    {"x: $[3,8]; t = Transpose(x) perm=[1,0]; e = Exp(t); y = Concat(t,e) axis=0;"
     "z = Softmax(y) axis=1; -> z",
     "x: f32[3,8]; t = Transpose(x) perm=[1,0]; e = Exp(t); y = Concat(t,e) axis=0;"
     "s = Softmax(y) axis=1; z = Cast(s) to=#; -> z",
     WEFT_TYPE_NONE},
    /* A Cast of the graph's own rounds. */
    {"x: $[3,8]; e = Exp(x); f = Cast(e) to=1; g = Mul(f,f); h = CastLike(g,e);"
     "y = Mul(h,x); -> y",
     "x: f32[3,8]; e = Exp(x); g = Mul(e,e); h = Cast(g) to=#; i = Cast(h) to=1;"
     "z = Mul(i,x); y = Cast(z) to=#; -> y",
     WEFT_TYPE_NONE},
    {"x: $[3,8]; e = Neg(x); y = ArgMax(e) axis=1; -> y",
     "x: f32[3,8]; e = Neg(x); y = ArgMax(e) axis=1; -> y", WEFT_TYPE_I64},
    {"x: $[3,8]; e = Exp(x); y = Shape(e); -> y",
     "x: f32[3,8]; e = Exp(x); y = Shape(e); -> y", WEFT_TYPE_I64},
    {"x: $[3,8]; e = Exp(x); y = Greater(e,x); -> y",
     "x: f32[3,8]; e = Exp(x); y = Greater(e,x); -> y", WEFT_TYPE_BOOL},
    {"x: $[3,8]; c: bool[]; y = If(c) then_branch={ t = Neg(x); -> t }"
     " else_branch={ e = Identity(x); -> e }; z = CastLike(y,x); -> z",
     "x: f32[3,8]; c: bool[]; y = If(c) then_branch={ t = Neg(x); -> t }"
     " else_branch={ e = Identity(x); -> e }; z = Cast(y) to=#; -> z",
     WEFT_TYPE_NONE},
    {"x: $[3,8]; n = Neg(x); y = Cast(n) to=1; -> y", "x: f32[3,8]; y = Neg(x); -> y",
     WEFT_TYPE_F32},
    {"x: $[3,8]; e = Exp(x); b = BitCast(e) to=16; c = BitCast(b) to=10;"
     "y = BitCast(c) to=#; -> y",
     "x: f32[3,8]; e = Exp(x); y = Cast(e) to=#; -> y", WEFT_TYPE_NONE},
    /* Ones and zeros of a type that is asked for. */
    {"x: $[3,8]; e = EyeLike(x) dtype=# k=1; y = Mul(e,x); -> y",
     "x: f32[3,8]; e = EyeLike(x) k=1; m = Mul(e,x); y = Cast(m) to=#; -> y",
     WEFT_TYPE_NONE},
    {"x: $[3,8]; y = EyeLike(x) dtype=#; -> y",
     "x: f32[3,8]; e = EyeLike(x); y = Cast(e) to=#; -> y", WEFT_TYPE_NONE},
    {"x: $[3,8]; y = EyeLike(x) dtype=1; -> y", "x: f32[3,8]; y = EyeLike(x); -> y",
     WEFT_TYPE_F32},
    {"x: $[3,8]; y = Bernoulli(x) dtype=# seed=3.5; -> y",
     "x: f32[3,8]; b = Bernoulli(x) seed=3.5; y = Cast(b) to=#; -> y", WEFT_TYPE_NONE},
    {"x: $[3,8]; e = Sigmoid(x); y = Bernoulli(e) dtype=7 seed=3.5; -> y",
     "x: f32[3,8]; e = Sigmoid(x); y = Bernoulli(e) dtype=7 seed=3.5; -> y",
     WEFT_TYPE_I64},
    {"x: $[3,8]; y = Bernoulli(x) dtype=9 seed=3.5; -> y",
     "x: f32[3,8]; y = Bernoulli(x) dtype=9 seed=3.5; -> y", WEFT_TYPE_BOOL},
    /* What a node with graphs makes is of an unknown type beside what is moved. */
    {"x: $[3,8]; c: bool[]; y = If(c) then_branch={ t = Neg(x); -> t }"
     " else_branch={ e = Identity(x); -> e }; z = Concat(y,x) axis=0; -> z",
     "x: f32[3,8]; c: bool[]; y = If(c) then_branch={ t = Neg(x); -> t }"
     " else_branch={ e = Identity(x); -> e }; s = Concat(y,x) axis=0;"
     "z = Cast(s) to=#; -> z",
     WEFT_TYPE_NONE},
    {"x: $[3,8]; c: bool[]; y = If(c) then_branch={ t = Neg(x); -> t }"
     " else_branch={ e = Identity(x); -> e }; l = i64{0,1,0,1}; h = f32(2);"
     "v = Cast(h) to=#; p = Pad(y,l,v); z = CastLike(p,x); -> z",
     "x: f32[3,8]; n = Neg(x); l = i64{0,1,0,1}; v = f32(2); p = Pad(n,l,v);"
     "z = Cast(p) to=#; -> z",
     WEFT_TYPE_NONE},
    /* So is the state inside. */
    {"x: $[3,8]; g: bool[]; n = i64(1); y = Loop(n,g,x) body={ i: i64[]; c: bool[];"
     " s: $[3,8]; o = Identity(c); a = i64{0}; b = i64{1}; e = i64{4}; h = f32[1,8];"
     " v = Cast(h) to=#; j = Concat(s,v) axis=0; k = Slice(j,b,e,a);"
     " q = Unsqueeze(b,a); u = ScatterND(k,q,v); -> o,u }; z = CastLike(y,x); -> z",
     "x: f32[3,8]; g: bool[]; a = i64{0}; b = i64{1}; e = i64{2}; h = f32[1,8];"
     "d = Cast(h) to=#; v = Cast(d) to=1; k = Slice(x,b,e,a);"
     "u = Concat(k,v,v) axis=0; z = Cast(u) to=#; -> z",
     WEFT_TYPE_NONE},
};

static void fill(weft_type type, uint16_t half[COUNT], float wide[COUNT])
{
    for (size_t i = 0; i < COUNT; i++) {
        wide[i] = ((float)((i * 37 + 11) % 64) - 31.0f) / 16.0f;
    }
    wefti_cast(WEFT_TYPE_F32, type)(wide, half, COUNT);
}

static void test_as_in_f32(void **state)
{
    (void)state;
    const weft_type types[] = {WEFT_TYPE_F16, WEFT_TYPE_BF16};
    for (size_t i = 0; i < 2 * WEFTI_COUNT_OF(pairs); i++) {
        const weft_type type = types[i % 2];
        uint16_t half[COUNT];
        float wide[COUNT];
        uint64_t first[MOST], second[MOST];
        fill(type, half, wide);
        weft_tensor got = run(pairs[i / 2].half, type, half, type, first);
        weft_tensor want = run(pairs[i / 2].wide, type, wide, WEFT_TYPE_F32, second);
        const weft_type expected =
            pairs[i / 2].type == WEFT_TYPE_NONE ? type : pairs[i / 2].type;
        assert_int_equal(got.type, expected);
        assert_int_equal(want.type, expected);
        assert_int_equal(got.size_bytes, want.size_bytes);
        assert_true(got.size_bytes > 0);
        assert_memory_equal(got.data, want.data, got.size_bytes);
    }
}

/* What is only moved keeps its bits: a NaN of any kind too. */
static void test_moved_bits_stay(void **state)
{
    (void)state;
    uint16_t half[COUNT];
    uint64_t answer[MOST];
    for (size_t i = 0; i < COUNT; i++) {
        half[i] = (uint16_t)(0xffa5u - i * 2731u);
    }
    weft_tensor got = run("x: $[3,8]; t = Transpose(x) perm=[1,0]; l = i64{24};"
                          "y = Reshape(t,l); -> y",
                          WEFT_TYPE_F16, half, WEFT_TYPE_F16, answer);
    assert_int_equal(got.type, WEFT_TYPE_F16);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(((uint16_t *)got.data)[i],
                         half[i % ROWS * COLUMNS + i / ROWS]);
    }
}

static weft_type products_of(const char *text)
{
    wefti_net net;
    weft_type products = WEFT_TYPE_I64;
    weft_graph *graph = graph_text_make(text, 18);
    assert_int_equal(wefti_net_create(graph, &net, NULL), WEFT_OK);
    assert_int_equal(wefti_net_widen(&net, graph, false, &products, NULL), WEFT_OK);
    wefti_net_destroy(&net);
    weft_graph_release(graph);
    return products;
}

static void test_type_of_products(void **state)
{
    (void)state;
    assert_int_equal(products_of("x: bf16[3,8]; y = MatMul(x,x); -> y"),
                     WEFT_TYPE_BF16);
    assert_int_equal(products_of("x: f16[3,8]; e = Exp(x); y = MatMul(e,e); -> y"),
                     WEFT_TYPE_F16);
    assert_int_equal(products_of("x: f32[3,8]; y = MatMul(x,x); -> y"), WEFT_TYPE_NONE);
    assert_int_equal(products_of("x: f16[3,8]; f = Cast(x) to=1; y = MatMul(x,x);"
                                 "z = MatMul(f,f); -> y,z"),
                     WEFT_TYPE_NONE);
    assert_int_equal(products_of("x: f16[3,8]; y = Exp(x); -> y"), WEFT_TYPE_NONE);
}

/* Attributes are looked at before their operators have refused those of a wrong kind.
 */
static void test_attributes_of_a_wrong_kind(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "x: f16[3,8]; i = i64{0}; y = ScatterElements(x,i,x) reduction=3; -> y",
        "x: f16[3,8]; y = Cast(x) to='f32'; z = Exp(y); -> z",
        "x: f16[3,8]; s = i64{3}; y = ConstantOfShape(s) value=1; z = Add(x,y); -> z",
        "x: f16[3,8]; y = EyeLike(x) dtype='f16'; z = Add(x,y); -> z",
        "x: f16[3,8]; y = Cast(x) to=-9223372036854775807; z = Exp(y); -> z",
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(texts); i++) {
        weft_model *model = NULL;
        weft_error error = {0};
        weft_status status = make(texts[i], WEFT_TYPE_F16, &model, &error);
        if (status != WEFT_INVALID_MODEL && status != WEFT_UNSUPPORTED) {
            fail_msg("%s: %s '%s'", texts[i], weft_status_name(status), error.message);
        }
        assert_null(model);
    }
}

static void test_every_failure_is_an_answer(void **state)
{
    (void)state;
    weft_status status = WEFT_OUT_OF_MEMORY;
    for (uint64_t n = 1; status != WEFT_OK; n++) {
        weft_model *model = NULL;
        weft_error error = {0};
        /* The graph itself has its own tests. */
        weft_graph *graph = graph_text_make("x: bf16[3,8]; w = f32[8,5];"
                                            "h = Cast(w) to=16; p = MatMul(x,h);"
                                            "y = Relu(p); -> y",
                                            18);
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
        status = weft_model_create(group_device, graph, NULL, &model, &error);
        wefti_fault_arm(0, 0);
        weft_graph_release(graph);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        assert_true(n < 100000);
        weft_model_release(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_in_f32),
        cmocka_unit_test(test_moved_bits_stay),
        cmocka_unit_test(test_type_of_products),
        cmocka_unit_test(test_attributes_of_a_wrong_kind),
        cmocka_unit_test(test_every_failure_is_an_answer),
    };
    return cmocka_run_group_tests(tests, group_device_open, group_device_close);
}

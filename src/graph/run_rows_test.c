/* SPDX-License-Identifier: Apache-2.0 */
/* Runs on tensors that lie in rows apart from each other. */
#include "graph/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/testing.h"
#include "support/graph_text.h"
#include "support/group_device.h"

enum { ROWS = 5, WIDTH = 20, MOST = 24, FLOAT = sizeof(float) };

/* Tensors of WIDTH columns: in one piece, and their rows in the opposite order. */
typedef struct table {
    float piece[ROWS * WIDTH];
    float apart[ROWS * WIDTH];
    void *rows[ROWS];
} table;

typedef struct stage {
    weft_model *model;
    table tensors[MOST];
    weft_tensor descriptions[MOST];
    wefti_rows rows[MOST];
    int64_t indices[ROWS]; /* where the model has a second input: what that is */
    weft_io io;
} stage;

static void set_up(stage *s, const char *text)
{
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.max_plans = 1;
    memset(s, 0, sizeof(*s));
    s->model = graph_text_model(group_device, text, 20, &params);
    const size_t inputs = weft_model_input_count(s->model);
    const size_t outputs = weft_model_output_count(s->model);
    assert_true(inputs + outputs <= MOST);
    for (size_t i = 0; i < inputs + outputs; i++) {
        table *t = &s->tensors[i];
        for (size_t j = 0; j < ROWS * WIDTH; j++) {
            t->piece[j] = t->apart[j] = (float)(j * 7 % 13) - (float)i;
        }
        for (size_t r = 0; r < ROWS; r++) {
            t->rows[r] = &t->apart[(ROWS - 1 - r) * WIDTH];
            memcpy(t->rows[r], &t->piece[r * WIDTH], WIDTH * FLOAT);
        }
        s->rows[i] = (wefti_rows){t->rows, WIDTH * FLOAT};
        s->descriptions[i] = (weft_tensor){
            .data = t->piece, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, WIDTH}};
    }
    if (inputs == 2) {
        s->rows[1] = (wefti_rows){NULL, 0};
        s->descriptions[1] = (weft_tensor){
            .data = s->indices, .type = WEFT_TYPE_I64, .rank = 1, .dims = {ROWS}};
    }
    s->io = (weft_io){s->descriptions, inputs, s->descriptions + inputs, outputs};
}

/* Has a plan for the stage's shapes. */
static void plan_rows(stage *s)
{
    size_t bytes[MOST];
    assert_int_equal(wefti_model_get_row_bytes(s->model, &s->io, 1e9, bytes, NULL),
                     WEFT_OK);
}

static void tear_down(stage *s)
{
    weft_model_release(s->model);
}

/* Whether a tensor's rows are what it is in one piece. */
static void check_rows(const stage *s, size_t tensor, const float *expected)
{
    for (size_t r = 0; r < ROWS; r++) {
        assert_memory_equal(s->tensors[tensor].rows[r], expected + r * WIDTH,
                            WIDTH * FLOAT);
    }
}

static void rows_are_told(void **state)
{
    (void)state;
    stage s;
    size_t bytes[3] = {1, 1, 1};
    set_up(&s, "x: f32[n,20]; i: i64[n]; w = f32[20,20]; t = f32[9,20];"
               "p = MatMul(x,w); g = Gather(t,i); y = Add(p,g); -> y");
    assert_int_equal(wefti_model_get_row_bytes(s.model, &s.io, 1e9, bytes, NULL),
                     WEFT_OK);
    assert_int_equal(bytes[0], WIDTH * FLOAT);
    assert_int_equal(bytes[1], 0);
    assert_int_equal(bytes[2], WIDTH * FLOAT);
    assert_int_equal(wefti_model_get_row_bytes(s.model, &s.io, 1, bytes, NULL),
                     WEFT_OK);
    assert_true(bytes[0] == 0 && bytes[2] == 0);               /* takes longer */
    s.descriptions[0].dims[0] = s.descriptions[1].dims[0] = 1; /* one row is a piece */
    assert_int_equal(wefti_model_get_row_bytes(s.model, &s.io, 1e9, bytes, NULL),
                     WEFT_OK);
    assert_true(bytes[0] == 0 && bytes[1] == 0 && bytes[2] == 0);
    s.descriptions[0].dims[1] = 3;
    assert_int_equal(wefti_model_get_row_bytes(s.model, &s.io, 1e9, bytes, NULL),
                     WEFT_INVALID_ARGUMENT);
    tear_down(&s);
}

static void run_as_in_one_piece(const char *text)
{
    float expected[MOST][ROWS * WIDTH];
    stage s;
    set_up(&s, text);
    assert_int_equal(weft_run(s.model, &s.io, NULL, NULL), WEFT_OK);
    for (size_t i = s.io.input_count; i < s.io.input_count + s.io.output_count; i++) {
        memcpy(expected[i], s.tensors[i].piece, sizeof(expected[i]));
        memset(s.tensors[i].piece, 0x33, sizeof(s.tensors[i].piece));
    }
    memset(s.tensors[0].piece, 0xff, sizeof(s.tensors[0].piece));
    weft_error error;
    if (wefti_run_rows(s.model, &s.io, s.rows, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    for (size_t i = s.io.input_count; i < s.io.input_count + s.io.output_count; i++) {
        check_rows(&s, i, expected[i]);
        for (size_t j = 0; j < sizeof(s.tensors[i].piece); j++) {
            assert_int_equal(((unsigned char *)s.tensors[i].piece)[j], 0x33);
        }
    }
    tear_down(&s);
}

static void rows_give_the_same_bits(void **state)
{
    (void)state;
    run_as_in_one_piece("x: f32[n,20]; w = f32[20,20]; y = MatMul(x,w); -> y");
    run_as_in_one_piece("x: f32[n,20]; i: i64[n]; w = f32[20,20]; t = f32[9,20];"
                        "p = MatMul(x,w); g = Gather(t,i); y = Add(p,g); -> y");
    /* more tensors than there is room for on a stack */
    run_as_in_one_piece(
        "x: f32[n,20]; w = f32[20,20]; a = MatMul(x,w); b = MatMul(a,w);"
        "c = MatMul(b,w); d = MatMul(c,w); e = MatMul(d,w); f = MatMul(e,w);"
        "g = MatMul(f,w); h = MatMul(g,w); i = MatMul(h,w); j = MatMul(i,w);"
        "k = MatMul(j,w); l = MatMul(k,w); m = MatMul(l,w); n = MatMul(m,w);"
        "o = MatMul(n,w); p = MatMul(o,w); q = MatMul(p,w); r = MatMul(q,w);"
        "-> a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r");
}

static void check_zero(const stage *s, size_t tensor)
{
    for (size_t j = 0; j < ROWS * WIDTH; j++) {
        assert_true(s->tensors[tensor].piece[j] == 0);
    }
}

static void rows_of_a_wrong_size(void **state)
{
    (void)state;
    for (size_t wrong = 0; wrong < 2; wrong++) {
        stage s;
        weft_error error;
        float before[ROWS * WIDTH];
        set_up(&s, "x: f32[n,20]; w = f32[20,20]; y = MatMul(x,w); -> y");
        memcpy(before, s.tensors[1].piece, sizeof(before));
        s.rows[wrong].bytes = 10 * FLOAT;
        plan_rows(&s);
        assert_int_equal(wefti_run_rows(s.model, &s.io, s.rows, &error), WEFT_INTERNAL);
        assert_non_null(strstr(error.message, wrong == 0 ? "tensor 0" : "tensor 1"));
        assert_non_null(strstr(error.message, "of 40 bytes, not of 80"));
        check_rows(&s, 1, before);
        check_zero(&s, 1);
        tear_down(&s);
    }
}

/* What is taken in one piece only. */
static void rows_where_none_are_taken(void **state)
{
    (void)state;
    stage s;
    weft_error error;
    set_up(&s, "x: f32[n,20]; w = f32[20,20]; p = MatMul(x,w); y = Tanh(p); -> y");
    s.rows[0] = (wefti_rows){NULL, 0};
    plan_rows(&s);
    assert_int_equal(wefti_run_rows(s.model, &s.io, s.rows, &error), WEFT_INTERNAL);
    assert_non_null(strstr(error.message, "tensor 1"));
    tear_down(&s);
}

static void failing_runs_zero_what_io_says(void **state)
{
    (void)state;
    stage s;
    weft_error error;
    float rows_before[ROWS * WIDTH];
    set_up(&s, "x: f32[n,20]; i: i64[n]; w = f32[20,20]; t = f32[9,20];"
               "y = MatMul(x,w); z = Gather(t,i); -> y,z");
    s.rows[3] = (wefti_rows){NULL, 0};
    plan_rows(&s);
    assert_int_equal(wefti_run_rows(s.model, &s.io, s.rows, NULL), WEFT_OK);
    for (size_t r = 0; r < ROWS; r++) {
        memcpy(rows_before + r * WIDTH, s.tensors[2].rows[r], WIDTH * FLOAT);
    }
    (void)wefti_fault_arm(1, 1u << WEFTI_FAULT_DEVICE);
    assert_int_equal(wefti_run_rows(s.model, &s.io, s.rows, &error), WEFT_INTERNAL);
    (void)wefti_fault_arm(0, 0);
    assert_non_null(strstr(error.message, "stream.execute"));
    check_rows(&s, 2, rows_before);
    check_zero(&s, 2);
    check_zero(&s, 3);
    memset(s.tensors[2].piece, 0x44, sizeof(s.tensors[2].piece));
    memset(s.tensors[3].piece, 0x44, sizeof(s.tensors[3].piece));
    s.indices[2] = 9; /* outside of the table */
    assert_int_equal(wefti_run_rows(s.model, &s.io, s.rows, &error),
                     WEFT_INVALID_ARGUMENT);
    check_zero(&s, 2);
    check_zero(&s, 3);
    s.indices[2] = 8;
    assert_int_equal(wefti_run_rows(s.model, &s.io, s.rows, NULL), WEFT_OK);
    tear_down(&s);
}

static void runs_without_a_plan_are_refused(void **state)
{
    (void)state;
    stage s;
    weft_error error;
    float before[ROWS * WIDTH];
    set_up(&s, "x: f32[n,20]; w = f32[20,20]; y = MatMul(x,w); -> y");
    memcpy(before, s.tensors[1].piece, sizeof(before));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wefti_run_rows(s.model, &s.io, s.rows, &error), WEFT_BUSY);
        assert_int_equal(wefti_run_rows(s.model, &s.io, s.rows, NULL), WEFT_BUSY);
        check_rows(&s, 1, before);
        assert_memory_equal(s.tensors[1].piece, before, sizeof(before));
        plan_rows(&s);
        assert_int_equal(wefti_run_rows(s.model, &s.io, s.rows, NULL), WEFT_OK);
        for (size_t r = 0; r < ROWS; r++) {
            memcpy(before + r * WIDTH, s.tensors[1].rows[r], WIDTH * FLOAT);
        }
        memcpy(s.tensors[1].piece, before, sizeof(before));
        /* Another one takes the only place. */
        s.descriptions[0].dims[0] = s.descriptions[1].dims[0] = 2;
        plan_rows(&s);
        s.descriptions[0].dims[0] = s.descriptions[1].dims[0] = ROWS;
    }
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_told),
        cmocka_unit_test(rows_give_the_same_bits),
        cmocka_unit_test(rows_of_a_wrong_size),
        cmocka_unit_test(rows_where_none_are_taken),
        cmocka_unit_test(failing_runs_zero_what_io_says),
        cmocka_unit_test(runs_without_a_plan_are_refused),
    };
    return cmocka_run_group_tests(tests, group_device_open, group_device_close);
}

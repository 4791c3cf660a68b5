/* SPDX-License-Identifier: Apache-2.0 */
/* Operators of older opsets give what their present form gives, bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include <weft/weft.h>

#include "base/compiler.h"
#include "graph/graph.h"
#include "graph/net.h"
#include "support/graph_text.h"
#include "support/group_device.h"

enum { MOST_BYTES = 4096, ELEMENTS = 2 * 6 * 4 * 3 };

typedef struct answer {
    weft_tensor output;
    char bytes[MOST_BYTES];
} answer;

static void run(const char *text, int32_t opset, answer *made)
{
    weft_model *model = NULL;
    weft_error error = {0};
    weft_graph *graph = graph_text_make(text, opset);
    if (weft_model_create(group_device, graph, NULL, &model, &error) != WEFT_OK) {
        fail_msg("%s: %s", text, error.message);
    }
    static float x[ELEMENTS];
    for (size_t i = 0; i < ELEMENTS; i++) {
        x[i] = (float)(i * 37 % 101) / 25 - 2;
    }
    weft_tensor input = {
        .data = x, .type = WEFT_TYPE_F32, .rank = 4, .dims = {2, 6, 4, 3}};
    memset(made, 0, sizeof(*made));
    made->output = (weft_tensor){
        .data = made->bytes, .size_bytes = sizeof(made->bytes), .rank = -1};
    weft_io io = {&input, 1, &made->output, 1};
    if (weft_run(model, &io, NULL, &error) != WEFT_OK) {
        fail_msg("%s: %s", text, error.message);
    }
    weft_model_release(model);
    weft_graph_release(graph);
}

typedef struct pair {
    const char *old_text;
    int32_t opset;
    const char *text;
} pair;

#define X "x: f32[n,6,4,3]; "
#define FIXED "x: f32[2,6,4,3]; "

static const pair pairs[] = {
    {X "y = Clip(x) min=-0.5 max=0.75; -> y", 7,
     X "a = f32(-0.5); b = f32(0.75); y = Clip(x,a,b); -> y"},
    {X "y = Clip(x) max=0.75; -> y", 10, X "b = f32(0.75); y = Clip(x,,b); -> y"},
    {X "y = Pad(x) pads=[0,0,1,2,0,1,0,1] value=1.5; -> y", 10,
     X "p = i64{0,0,1,2,0,1,0,1}; v = f32(1.5); y = Pad(x,p,v); -> y"},
    {X "y = Pad(x) pads=[0,0,1,2,0,1,0,1] value=0.0; -> y", 7,
     X "p = i64{0,0,1,2,0,1,0,1}; y = Pad(x,p); -> y"},
    {X "y = Slice(x) starts=[1,-2] ends=[6,9] axes=[1,3]; -> y", 9,
     X "s = i64{1,-2}; e = i64{6,9}; a = i64{1,3}; y = Slice(x,s,e,a); -> y"},
    {X "y = Slice(x) starts=[0,2] ends=[9,-1]; -> y", 7,
     X "s = i64{0,2}; e = i64{9,-1}; y = Slice(x,s,e); -> y"},
    {X "a,b = Split(x) split=[2,4] axis=1; y = Concat(b,a) axis=1; -> y", 12,
     X "s = i64{2,4}; a,b = Split(x,s) axis=1; y = Concat(b,a) axis=1; -> y"},
    {X "v,y = TopK(x) k=2 axis=1; -> y", 9,
     X "k = i64{2}; v,y = TopK(x,k) axis=1; -> y"},
    {X "y = Softmax(x) axis=2; -> y", 12,
     X "t = i64{0,0,-1}; u = i64{0,0,4,3}; a = Reshape(x,t); b = Softmax(a);"
       "y = Reshape(b,u); -> y"},
    {X "y = LogSoftmax(x); -> y", 7,
     X "t = i64{0,-1}; u = i64{0,6,4,3}; a = Reshape(x,t); b = LogSoftmax(a);"
       "y = Reshape(b,u); -> y"},
    {X "y = Hardmax(x); -> y", 11,
     X "t = i64{0,-1}; u = i64{0,6,4,3}; a = Reshape(x,t); b = Hardmax(a);"
       "y = Reshape(b,u); -> y"},
    /* Stages make graphs of parts, where each name stands once. */
    {X "e = Clip(x) min=0.0 max=1.0; f = Clip(e) min=-1.0 max=0.5; z = NonZero(f);"
       "a,b = Split(z) split=[1,3]; c,d = Split(b) split=[2,1];"
       "y = Concat(d,a) axis=0; -> y",
     10,
     X "z = f32(0.0); k = f32(0.5); f = Clip(x,z,k); n = NonZero(f); s = i64{1,3};"
       "t = i64{2,1}; a,b = Split(n,s); c,d = Split(b,t); y = Concat(d,a) axis=0;"
       "-> y"},
    {X "y = Max(x,x); -> y", 7, X "y = Max(x,x); -> y"},
    {X "y = Cast(x) to=7; -> y", 7, X "y = Cast(x) to=7; -> y"},
    {X "s = f32{1.0,1.0,2.0,3.0}; y = Resize(x,s) mode='linear'; -> y", 10,
     X "s = f32{1.0,1.0,2.0,3.0}; y = Resize(x,,s) mode='linear' "
       "coordinate_transformation_mode='asymmetric'; -> y"},
};

static void test_same_bits(void **state)
{
    (void)state;
    static answer old, present;
    for (size_t i = 0; i < WEFTI_COUNT_OF(pairs); i++) {
        run(pairs[i].old_text, pairs[i].opset, &old);
        run(pairs[i].text, 18, &present);
        assert_int_equal(old.output.type, present.output.type);
        assert_int_equal(old.output.rank, present.output.rank);
        assert_memory_equal(old.output.dims, present.output.dims,
                            (size_t)old.output.rank * sizeof(int64_t));
        if (memcmp(old.bytes, present.bytes, sizeof(old.bytes)) != 0) {
            fail_msg("%s", pairs[i].old_text);
        }
    }
}

/* Where a place shrinks the nearest is the one above, as it was then. */
static void test_old_nearest(void **state)
{
    (void)state;
    static answer made;
    run(X "s = f32{1.0,1.0,0.5,0.7}; y = Resize(x,s); -> y", 10, &made);
    const float *y = (const float *)made.bytes;
    assert_int_equal(made.output.dims[2], 2);
    assert_int_equal(made.output.dims[3], 2);
    const size_t places[] = {0, 2, 6, 8};
    for (size_t i = 0; i < 4; i++) {
        assert_true(y[i] == (float)(places[i] * 37 % 101) / 25 - 2);
    }
}

static void test_new_words_only(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int32_t opset;
        const char *words;
    } cases[] = {{FIXED "y = Clip(x) min=-0.5; -> y", 11, "'min'"},
                 {FIXED "y = Slice(x) starts=[1] ends=[2]; -> y", 10, "1 inputs"},
                 {FIXED "y = Slice(x) starts=1 ends=[2]; -> y", 9, "'starts'"},
                 {FIXED "a = f32(1.0); y = Clip(x,a) min=-0.5; -> y", 10, "'min'"},
                 {FIXED "a,b = TopK(x); -> a", 9, "1 inputs"}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(cases); i++) {
        weft_model *model = NULL;
        weft_error error = {0};
        weft_graph *graph = graph_text_make(cases[i].text, cases[i].opset);
        weft_status status =
            weft_model_create(group_device, graph, NULL, &model, &error);
        if (status == WEFT_OK || strstr(error.message, cases[i].words) == NULL) {
            fail_msg("%s: %s", cases[i].text, error.message);
        }
        assert_null(model);
        weft_graph_release(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_old_nearest),
        cmocka_unit_test(test_new_words_only),
    };
    return cmocka_run_group_tests(tests, group_device_open, group_device_close);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Dimensions that are rounded up: what is padded and cut, what is refused. */
#include <math.h>
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
#include "graph/model.h"
#include "support/crew.h"
#include "support/graph_text.h"
#include "support/group_device.h"

enum { MOST = 4096, WIDTH = 8, LARGEST = 32 };

static const int64_t three_sizes[] = {4, 8, LARGEST};

static weft_bucket_params list_of_three(const char *dimension, const char *mask)
{
    weft_bucket_params bucket = WEFT_BUCKET_PARAMS_INIT;
    bucket.dimension = dimension;
    bucket.sizes = three_sizes;
    bucket.size_count = 3;
    bucket.mask_input = mask;
    return bucket;
}

static weft_status try_model(const char *text, const weft_bucket_params *buckets,
                             size_t count, weft_model **model, weft_error *error)
{
    weft_graph *graph = graph_text_make(text, 20);
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.buckets = buckets;
    params.bucket_count = count;
    *model = NULL;
    weft_status status = weft_model_create(group_device, graph, &params, model, error);
    weft_graph_release(graph);
    return status;
}

static weft_model *make_model(const char *text, const weft_bucket_params *buckets,
                              size_t count)
{
    weft_model *model;
    weft_error error = {0};
    if (try_model(text, buckets, count, &model, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    return model;
}

static void expect_refusal(const char *text, const weft_bucket_params *buckets,
                           size_t count, weft_status status, const char *words)
{
    weft_model *model;
    weft_error error = {0};
    weft_status found = try_model(text, buckets, count, &model, &error);
    if (found != status || strstr(error.message, words) == NULL) {
        fail_msg("%s, '%s', not %s, '%s'", weft_status_name(found), error.message,
                 weft_status_name(status), words);
    }
    assert_null(model);
    assert_int_equal(try_model(text, buckets, count, &model, NULL), status);
}

static weft_tensor shaped(weft_type type, void *data, int32_t rank, int64_t a,
                          int64_t b, int64_t c)
{
    return (weft_tensor){.data = data, .type = type, .rank = rank, .dims = {a, b, c}};
}

/* One sentence encoder: attention with an additive mask, the tokens and their mean. */
static const char *const encoder_body =
    "table = f32[16,8]; wq = f32[8,8]; wk = f32[8,8]; wv = f32[8,8]; "
    "x = Gather(table,ids); q = MatMul(x,wq); k = MatMul(x,wk); v = MatMul(x,wv); "
    "kt = Transpose(k) perm=[0,2,1]; s = MatMul(q,kt); one = f32(1); "
    "mf = Cast(mask) to=1; inv = Sub(one,mf); big = f32(-10000); low = Mul(inv,big); "
    "first = i64{1}; second = i64{2}; low3 = Unsqueeze(low,first); "
    "sm = Add(s,low3); p = Softmax(sm) axis=-1; h = MatMul(p,v); "
    "mf3 = Unsqueeze(mf,second); hm = Mul(h,mf3); "
    "sum = ReduceSum(hm,first) keepdims=0; n = ReduceSum(mf,first) keepdims=1; "
    "y = Div(sum,n); -> y,h";

static const char *encoder(const char *mask_type)
{
    static char text[2000];
    snprintf(text, sizeof(text), "ids: i64[batch,seq]; mask: %s[batch,seq]; %s",
             mask_type, encoder_body);
    return text;
}

typedef struct answer {
    _Alignas(64) float y[MOST], h[MOST];
    weft_tensor outputs[2];
} answer;

typedef struct question {
    _Alignas(64) int64_t ids[MOST];
    _Alignas(64) double mask[MOST]; /* of any type */
    weft_tensor inputs[2];
} question;

static void fill_ids(question *q, int64_t batch, int64_t length, uint64_t seed)
{
    for (int64_t i = 0; i < batch * length; i++) {
        q->ids[i] = crew_random(&seed) % 16;
    }
    q->inputs[0] = shaped(WEFT_TYPE_I64, q->ids, 2, batch, length, 0);
    q->inputs[1] = (weft_tensor){0};
}

static void fill_mask(question *q, weft_type type, double hidden)
{
    const weft_tensor *ids = &q->inputs[0];
    int64_t count = ids->dims[0] * ids->dims[1];
    size_t size = weft_type_size(type);
    for (int64_t i = 0; i < count; i++) {
        double value = i % 5 == 3 ? hidden : 1;
        char *to = (char *)q->mask + (size_t)i * size;
        if (type == WEFT_TYPE_F64) {
            memcpy(to, &value, sizeof(value));
        } else {
            wefti_cast(WEFT_TYPE_F64, type)(&value, to, 1);
        }
    }
    q->inputs[1] = shaped(type, q->mask, 2, ids->dims[0], ids->dims[1], 0);
}

static weft_status ask(weft_model *model, question *q, answer *a, weft_error *error)
{
    a->outputs[0] = (weft_tensor){.data = a->y, .size_bytes = sizeof(a->y), .rank = -1};
    a->outputs[1] = (weft_tensor){.data = a->h, .size_bytes = sizeof(a->h), .rank = -1};
    weft_io io = {q->inputs, 2, a->outputs, 2};
    memset(a->y, 0xa5, sizeof(a->y));
    memset(a->h, 0xa5, sizeof(a->h));
    return weft_run(model, &io, NULL, error);
}

static void assert_close(const float *x, const float *y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (!(fabsf(x[i] - y[i]) <= 2e-5f)) {
            fail_msg("%d of %d: %g is not %g", (int)i, (int)count, (double)x[i],
                     (double)y[i]);
        }
    }
}

/* Padded answers have the caller's shapes, are those of exact runs, and nothing is
 * written behind them. */
static void compare_lengths(const char *text, weft_type type, bool given)
{
    static question q;
    static answer padded, exact;
    weft_bucket_params buckets[] = {list_of_three("seq", "mask")};
    weft_model *model = make_model(text, buckets, 1);
    weft_model *alone = make_model(text, NULL, 0);
    for (int64_t length = 1; length <= LARGEST + 3; length++) {
        int64_t batch = 1 + length % 3;
        weft_error error = {0};
        fill_ids(&q, batch, length, 77 + (uint64_t)length);
        fill_mask(&q, type, given ? 0 : 1);
        assert_int_equal(ask(alone, &q, &exact, &error), WEFT_OK);
        q.inputs[1] = given ? q.inputs[1] : (weft_tensor){0};
        if (ask(model, &q, &padded, &error) != WEFT_OK) {
            fail_msg("%s", error.message);
        }
        for (int i = 0; i < 2; i++) {
            const weft_tensor *a = &padded.outputs[i], *b = &exact.outputs[i];
            assert_int_equal(a->size_bytes, b->size_bytes);
            assert_int_equal(a->rank, b->rank);
            assert_memory_equal(a->dims, b->dims, sizeof(a->dims));
        }
        assert_close(padded.y, exact.y, batch * WIDTH);
        assert_close(padded.h, exact.h, batch * length * WIDTH);
        uint32_t behind;
        memcpy(&behind, &padded.h[batch * length * WIDTH], sizeof(behind));
        assert_int_equal(behind, 0xa5a5a5a5);
        if (length > LARGEST) { /* planned exactly, so the same bits */
            assert_memory_equal(padded.h, exact.h, sizeof(padded.h));
        }
    }
    weft_model_release(alone);
    weft_model_release(model);
}

static void test_an_encoder(void **state)
{
    (void)state;
    compare_lengths(encoder("i64"), WEFT_TYPE_I64, false);
    compare_lengths(encoder("i64"), WEFT_TYPE_I64, true);
}

static void test_masks_of_all_types(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        weft_type type;
    } masks[] = {{"f32", WEFT_TYPE_F32},   {"i32", WEFT_TYPE_I32},
                 {"bool", WEFT_TYPE_BOOL}, {"f16", WEFT_TYPE_F16},
                 {"bf16", WEFT_TYPE_BF16}, {"f64", WEFT_TYPE_F64},
                 {"u8", WEFT_TYPE_U8},     {"i8", WEFT_TYPE_I8}};
    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        compare_lengths(encoder(masks[i].name), masks[i].type, i % 2 == 0);
    }
}

/* A card that is made of C does not compute under ThreadSanitizer. */
#if defined(__SANITIZE_THREAD__)
#define COMPUTES 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COMPUTES 0
#endif
#endif
#ifndef COMPUTES
#define COMPUTES 1
#endif

/* Tensors are padded on the host, whatever the device; a card's memory is not its. */
static void test_other_devices(void **state)
{
    (void)state;
    static const char *const names[] = {"null", "cuda:0"};
    static const int64_t lengths[] = {1, 5, 8, 13, 33};
    static question q;
    static answer padded, exact;
    weft_device *cpu = group_device;
    for (int i = 0; i < 2; i++) {
        if (weft_device_open(names[i], NULL, &group_device, NULL) != WEFT_OK) {
            print_message("no %s here\n", names[i]);
            continue;
        }
        weft_bucket_params buckets[] = {list_of_three("seq", "mask")};
        weft_model *model = make_model(encoder("i64"), buckets, 1);
        weft_model *alone = make_model(encoder("i64"), NULL, 0);
        for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
            fill_ids(&q, 2, lengths[k], k);
            assert_int_equal(ask(model, &q, &padded, NULL), WEFT_OK);
            fill_mask(&q, WEFT_TYPE_I64, 1);
            assert_int_equal(ask(alone, &q, &exact, NULL), WEFT_OK);
            assert_int_equal(padded.outputs[1].dims[1], lengths[k]);
            if (i == 1 && COMPUTES) {
                assert_close(padded.y, exact.y, 2 * WIDTH);
                assert_close(padded.h, exact.h, 2 * lengths[k] * WIDTH);
            }
        }
        weft_model_release(alone);
        weft_model_release(model);
        weft_device_release(group_device);
    }
    group_device = cpu;
}

/* Two dimensions at once, a pointwise model, and sizes in the middle of a shape. */
static void test_two_dimensions(void **state)
{
    (void)state;
    static float x[MOST], y[MOST];
    weft_bucket_params buckets[] = {list_of_three("rows", NULL),
                                    list_of_three("columns", NULL)};
    weft_model *model = make_model("x: f32[rows,2,columns,3]; two = f32(2); "
                                   "half = Mul(x,two); y = Transpose(half) "
                                   "perm=[2,0,1,3]; -> y",
                                   buckets, 2);
    weft_device_statistics before, after;
    weft_device_get_statistics(group_device, &before);
    for (int i = 0; i < MOST; i++) {
        x[i] = (float)i;
    }
    for (int64_t rows = 1; rows <= 9; rows++) {
        for (int64_t columns = 1; columns <= 9; columns++) {
            weft_tensor input = {.data = x,
                                 .type = WEFT_TYPE_F32,
                                 .rank = 4,
                                 .dims = {rows, 2, columns, 3}};
            weft_tensor output = {.data = y, .size_bytes = sizeof(y), .rank = -1};
            weft_io io = {&input, 1, &output, 1};
            memset(y, 0, sizeof(y));
            assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OK);
            assert_int_equal(output.dims[0], columns);
            assert_int_equal(output.dims[1], rows);
            for (int64_t i = 0; i < rows * 6 * columns; i++) {
                int64_t c = i / (rows * 6), rest = i % (rows * 6);
                int64_t from = (rest / 3) * columns * 3 + c * 3 + rest % 3;
                assert_float_equal(y[i], 2 * x[from], 0);
            }
            assert_float_equal(y[rows * 6 * columns], 0, 0);
        }
    }
    weft_device_get_statistics(group_device, &after);
    assert_int_equal(after.plan_count - before.plan_count, 16); /* 1 is its own size */
    assert_int_equal(weft_model_planned_size(model, "rows", 5), 8);
    assert_int_equal(weft_model_planned_size(model, "rows", 33), 33);
    assert_int_equal(weft_model_planned_size(model, "rows", 0), 0);
    assert_int_equal(weft_model_planned_size(model, "other", 5), 5);
    weft_model_release(model);
}

/* What is padded with shows in a sum that nothing masks. */
static void test_pad_values(void **state)
{
    (void)state;
    static float x[2 * LARGEST];
    static int64_t ids[LARGEST];
    float y = 0;
    weft_bucket_pad pads[] = {{"ids", 3}};
    weft_bucket_params buckets[] = {list_of_three("seq", NULL)};
    buckets[0].pad_value = 0.5;
    buckets[0].pads = pads;
    buckets[0].pad_count = 1;
    weft_model *model = make_model("x: f32[seq,2]; ids: i64[seq]; fi = Cast(ids) to=1; "
                                   "a = ReduceSum(x) keepdims=0; "
                                   "b = ReduceSum(fi) keepdims=0; y = Add(a,b); -> y",
                                   buckets, 1);
    weft_tensor inputs[] = {shaped(WEFT_TYPE_F32, x, 2, 5, 2, 0),
                            shaped(WEFT_TYPE_I64, ids, 1, 5, 0, 0)};
    weft_tensor output = {.data = &y, .size_bytes = sizeof(y), .rank = -1};
    weft_io io = {inputs, 2, &output, 1};
    assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OK);
    assert_float_equal(y, 3 * 2 * 0.5 + 3 * 3, 0);
    weft_model_release(model);
}

static const char *const pointwise = "x: f32[batch,seq]; y = Relu(x); -> y";

static void test_lists_that_are_refused(void **state)
{
    (void)state;
    static const int64_t down[] = {8, 4}, twice[] = {4, 4}, zero[] = {0, 4};
    weft_bucket_params b = list_of_three("length", NULL);
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "'batch', 'seq'");
    expect_refusal("x: f32[?]; y = Relu(x); -> y", &b, 1, WEFT_INVALID_ARGUMENT,
                   "none has a name");
    b.dimension = "";
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "does not name");
    b = list_of_three("seq", NULL);
    b.size_count = 0;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "has 0 sizes");
    b.size_count = 5000;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "has 5000 sizes");
    b.sizes = NULL;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "has 0 sizes");
    b.size_count = 2;
    b.sizes = down;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "4 follows 8");
    b.sizes = twice;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "4 follows 4");
    b.sizes = zero;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "0 follows 0");
    b = list_of_three("seq", NULL);
    b.rule = (weft_bucket_rule)7;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "no rule 7");
    b.rule = WEFT_BUCKET_STEP;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "a rule needs");
    b.sizes = NULL;
    b.size_count = 0;
    b.first = 1;
    b.last = INT64_MAX;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "1 <= step");
    b.step = 1;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "more than 4096");
    weft_bucket_params both[] = {list_of_three("seq", NULL),
                                 list_of_three("seq", NULL)};
    expect_refusal(pointwise, both, 2, WEFT_INVALID_ARGUMENT, "twice");
    expect_refusal(pointwise, both, 17, WEFT_INVALID_ARGUMENT, "at most 16");
    expect_refusal(pointwise, NULL, 1, WEFT_INVALID_ARGUMENT, "buckets is NULL");
    both[1].struct_size--;
    expect_refusal(pointwise, both, 2, WEFT_INVALID_ARGUMENT, "buckets[1].struct_size");
    both[0].struct_size = both[1].struct_size = 3;
    expect_refusal(pointwise, both, 1, WEFT_INVALID_ARGUMENT, "weft_bucket_params");
}

static void test_masks_and_pads_that_are_refused(void **state)
{
    (void)state;
    weft_bucket_params b = list_of_three("seq", "none");
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "'none' is no input");
    b.mask_input = "m";
    expect_refusal("x: f32[seq]; m: f32[batch]; y = Relu(x); z = Relu(m); -> y,z", &b,
                   1, WEFT_INVALID_ARGUMENT, "'m' does not have");
    b = list_of_three("seq", NULL);
    weft_bucket_pad pads[] = {{"x", NAN}, {"q", 0}};
    b.pads = pads;
    b.pad_count = 2;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "pads names 'q'");
    pads[1].input = NULL;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "pads names ''");
    b.pads = NULL;
    expect_refusal(pointwise, &b, 1, WEFT_INVALID_ARGUMENT, "pads is NULL");
    b.pads = pads;
    b.pad_count = 1;
    weft_model_release(make_model(pointwise, &b, 1)); /* a float may be NaN */
    const char *const integers = "x: i32[batch,seq]; y = Neg(x); -> y";
    expect_refusal(integers, &b, 1, WEFT_INVALID_ARGUMENT, "cannot be padded with");
    pads[0].value = 0.5;
    expect_refusal(integers, &b, 1, WEFT_INVALID_ARGUMENT, "with 0.5: it is i32");
    pads[0].value = 4e9;
    expect_refusal(integers, &b, 1, WEFT_INVALID_ARGUMENT, "with 4e+09");
    b.mask_input = "x";
    expect_refusal(integers, &b, 1, WEFT_INVALID_ARGUMENT, "a mask");
    weft_bucket_params both[] = {list_of_three("seq", NULL),
                                 list_of_three("batch", NULL)};
    both[0].pad_value = 1;
    expect_refusal(pointwise, both, 2, WEFT_INVALID_ARGUMENT, "with 1 and with 0");
}

static void test_models_that_are_refused(void **state)
{
    (void)state;
    weft_bucket_params b = list_of_three("n", NULL);
    expect_refusal("x: f32[n]; y = Concat(x,x) axis=0; -> y", &b, 1, WEFT_UNSUPPORTED,
                   "output 'y': dimension 0 is");
    expect_refusal("x: f32[n]; z = f32[1]; y = Concat(x,z) axis=0; -> y", &b, 1,
                   WEFT_UNSUPPORTED, "dimension itself");
    expect_refusal("x: f32[n]; y = NonZero(x); -> y", &b, 1, WEFT_UNSUPPORTED,
                   "first at NonZero 'y': its dimensions cannot have buckets");
    expect_refusal("x: f32[n]; c: bool[]; y = If(c) then_branch={ t = Neg(x); -> t } "
                   "else_branch={ e = Abs(x); -> e }; -> y",
                   &b, 1, WEFT_UNSUPPORTED, "first at If 'y'");
    expect_refusal("x: f32[n]; where: i64[n]; y = Reshape(x,where); -> y", &b, 1,
                   WEFT_UNSUPPORTED, "input 'where' decides a shape");
    /* The dimension is another one's part: a product with a fixed one. */
    expect_refusal("x: f32[n,3]; s = i64{-1}; y = Reshape(x,s); -> y", &b, 1,
                   WEFT_UNSUPPORTED, "dimension 0 is");
}

/* Numbers that are drawn for what is padded would shift all others, unless they come
 * last. */
static void test_drawn_numbers(void **state)
{
    (void)state;
    static const char constants[] =
        "x: f32[batch,n]; s = Shape(x); c = ConstantOfShape(s); "
        "r = RandomNormalLike(c); y = Add(x,r); -> y";
    static const char *const shifting[] = {
        "x: f32[batch,n]; r = RandomNormalLike(x); y = Add(x,r); -> y",
        "x: f32[batch,n]; r = RandomUniformLike(x) seed=2.5; y = Add(x,r); -> y",
        "x: f32[batch,n]; r = Bernoulli(x); y = Add(x,r); -> y",
        constants,
    };
    static const char first[] = "x: f32[n,3]; r = RandomNormalLike(x); y = Add(x,r); "
                                "u = RandomUniform() shape=[3]; z = Add(y,u); -> z";
    weft_error error;
    weft_bucket_params b = list_of_three("n", NULL);
    for (size_t i = 0; i < WEFTI_COUNT_OF(shifting); i++) {
        expect_refusal(shifting[i], &b, 1, WEFT_UNSUPPORTED,
                       "'r': with 'n' rounded up it would draw other numbers");
    }
    weft_model *model = make_model(first, &b, 1), *other = make_model(first, NULL, 0);
    float x[5 * 3] = {1, 2, 3}, y[8 * 3], exact[8 * 3];
    weft_tensor input = shaped(WEFT_TYPE_F32, x, 2, 5, 3, 0);
    weft_tensor output = {.data = y, .size_bytes = sizeof(y), .rank = -1};
    weft_io io = {&input, 1, &output, 1};
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_OK);
    output = (weft_tensor){.data = exact, .size_bytes = sizeof(exact), .rank = -1};
    assert_int_equal(weft_run(other, &io, NULL, &error), WEFT_OK);
    assert_memory_equal(y, exact, sizeof(x));
    weft_model_release(other);
    weft_model_release(model);
}

/* A size of 1 broadcasts, which is no sign that it may be padded. */
static void test_broadcasts_are_not_padded(void **state)
{
    (void)state;
    static const int64_t eight[] = {8};
    static const char text[] = "x: f32[n]; c = f32[8]; y = Add(x,c); -> y";
    float x[8] = {2}, y[8], exact[8];
    weft_error error;
    weft_bucket_params b = list_of_three("n", NULL);
    b.sizes = eight;
    b.size_count = 1;
    weft_model *model = make_model(text, &b, 1), *other = make_model(text, NULL, 0);
    weft_tensor input = shaped(WEFT_TYPE_F32, x, 1, 5, 0, 0);
    weft_tensor output = {.data = y, .size_bytes = sizeof(y), .rank = -1};
    weft_io io = {&input, 1, &output, 1};
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "'n' cannot be padded to 8"));
    input.dims[0] = 1;
    input.size_bytes = 0;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_OK);
    output.data = exact;
    assert_int_equal(weft_run(other, &io, NULL, &error), WEFT_OK);
    assert_memory_equal(y, exact, sizeof(y));
    weft_model_release(other);
    weft_model_release(model);
    /* One size for one name, in one input too. */
    model = make_model("x: f32[n,n]; y = Relu(x); -> y", &b, 1);
    input = shaped(WEFT_TYPE_F32, x, 2, 4, 2, 0);
    output.rank = -1;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "dimension 1 ('n') is 2"));
    weft_model_release(model);
}

/* With an input that decides a shape, the outputs are looked at with each plan. */
static void test_value_inputs(void **state)
{
    (void)state;
    static float x[MOST], y[MOST];
    weft_bucket_params b = list_of_three("n", NULL);
    weft_model *model =
        make_model("x: f32[n,6]; s: i64[3]; y = Reshape(x,s); -> y", &b, 1);
    weft_error error = {0};
    int64_t shape[3] = {0, 2, 3};
    weft_tensor inputs[] = {shaped(WEFT_TYPE_F32, x, 2, 5, 6, 0),
                            shaped(WEFT_TYPE_I64, shape, 1, 3, 0, 0)};
    weft_tensor output = {.data = y, .size_bytes = sizeof(y), .rank = -1};
    weft_io io = {inputs, 2, &output, 1};
    for (int i = 0; i < 30; i++) {
        x[i] = (float)i + 1;
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_OK);
        assert_int_equal(output.dims[0], 5);
        assert_memory_equal(x, y, 30 * sizeof(float));
        output = (weft_tensor){.data = y, .size_bytes = sizeof(y), .rank = -1};
    }
    shape[0] = 3;
    shape[1] = -1;
    shape[2] = 1;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "output 'y': dimension 1"));
    weft_model_release(model);
}

static void test_calls_that_are_refused(void **state)
{
    (void)state;
    static question q;
    static answer a;
    weft_error error = {0};
    weft_bucket_params b = list_of_three("seq", "mask");
    weft_model *model = make_model(encoder("i64"), &b, 1);
    assert_true(weft_model_input_is_mask(model, 1));
    assert_false(weft_model_input_is_mask(model, 0));
    assert_false(weft_model_input_is_mask(model, 2));
    assert_false(weft_model_input_is_mask(NULL, 0));
    fill_ids(&q, 2, 5, 1);
    q.inputs[0].data = NULL;
    assert_int_equal(ask(model, &q, &a, &error), WEFT_INVALID_ARGUMENT);
    fill_ids(&q, 2, 5, 1);
    q.inputs[0].size_bytes = 79;
    assert_int_equal(ask(model, &q, &a, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "has 79 bytes; its shape needs 80"));
    fill_ids(&q, 2, 5, 1);
    q.inputs[0].rank = 1;
    assert_int_equal(ask(model, &q, &a, &error), WEFT_INVALID_ARGUMENT);
    fill_ids(&q, 2, 5, 1);
    fill_mask(&q, WEFT_TYPE_I64, 1);
    q.inputs[1].dims[1] = 4;
    assert_int_equal(ask(model, &q, &a, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'mask'"));
    fill_ids(&q, 2, 5, 1);
    weft_io io = {q.inputs, 2, a.outputs, 2};
    a.outputs[0] = shaped(WEFT_TYPE_F32, a.y, 2, 2, WIDTH, 0);
    a.outputs[1] = shaped(WEFT_TYPE_F32, a.h, 3, 2, 8, WIDTH); /* of the bucket */
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'h' has the shape [2,8,8]"));
    a.outputs[1] = shaped(WEFT_TYPE_F32, q.ids, 3, 2, 5, WIDTH);
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'h' overlaps input 'ids'"));
    a.outputs[1] = (weft_tensor){.data = a.h, .size_bytes = 319, .rank = -1};
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "room for 319 bytes; 320 are needed"));
    q.inputs[0].dims[1] = INT64_MAX;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    weft_model_release(model);
    /* Nothing else tells how many there are. */
    b.mask_input = "m";
    model = make_model("x: f32[seq]; m: f32[seq,other]; y = Relu(x); z = Relu(m); "
                       "-> y,z",
                       &b, 1);
    weft_tensor inputs[] = {shaped(WEFT_TYPE_F32, a.y, 1, 5, 0, 0), {0}};
    io.inputs = inputs;
    assert_int_equal(weft_run(model, &io, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'m' is a mask, but cannot be left out"));
    weft_model_release(model);
}

/* Shapes before a run, memory from the library, a request, a leased context, no rows.
 */
static void test_every_way_of_a_call(void **state)
{
    (void)state;
    static question q;
    static answer a;
    weft_bucket_params b = list_of_three("seq", "mask");
    weft_model *model = make_model(encoder("i64"), &b, 1);
    fill_ids(&q, 2, 5, 9);
    assert_int_equal(ask(model, &q, &a, NULL), WEFT_OK);
    weft_tensor outputs[2] = {{0}};
    weft_io io = {q.inputs, 2, outputs, 2};
    assert_int_equal(weft_model_infer_outputs(model, &io, NULL), WEFT_OK);
    assert_int_equal(outputs[1].rank, 3);
    assert_int_equal(outputs[1].dims[1], 5);
    assert_int_equal(outputs[1].size_bytes, 2 * 5 * WIDTH * sizeof(float));
    for (int way = 0; way < 3; way++) {
        weft_request *request = NULL;
        weft_context *context = NULL;
        for (int i = 0; i < 2 && way < 2; i++) {
            outputs[i] = (weft_tensor){.rank = -1};
        }
        if (way == 0) {
            assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OK);
        } else if (way == 1) {
            assert_int_equal(weft_context_acquire(group_device, NULL, &context, NULL),
                             WEFT_OK);
            assert_int_equal(weft_context_run(context, model, &io, NULL), WEFT_OK);
            weft_context_release(context);
        } else {
            memset(outputs[1].data, 0, outputs[1].size_bytes);
            assert_int_equal(weft_submit(model, &io, NULL, &request, NULL), WEFT_OK);
            assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
            weft_request_release(request);
        }
        assert_memory_equal(outputs[0].data, a.y, 2 * WIDTH * sizeof(float));
        assert_memory_equal(outputs[1].data, a.h, 2 * 5 * WIDTH * sizeof(float));
        for (int i = 0; i < 2 && way != 1; i++) {
            weft_output_free(&outputs[i]);
        }
    }
    char *text = NULL;
    assert_int_equal(weft_model_dump_plan(model, &io, &text, NULL), WEFT_OK);
    assert_non_null(text);
    weft_text_free(text);
    fill_ids(&q, 0, 5, 9);
    assert_int_equal(ask(model, &q, &a, NULL), WEFT_OK);
    fill_ids(&q, 2, 0, 9);
    assert_int_equal(ask(model, &q, &a, NULL), WEFT_OK);
    weft_model_release(model);
}

/* The steady state allocates nothing, and padding counts against the cap. */
static void test_memory(void **state)
{
    (void)state;
    static question q;
    static answer a;
    weft_bucket_params b = list_of_three("seq", "mask");
    weft_model *model = make_model(encoder("i64"), &b, 1);
    for (int64_t length = 1; length <= LARGEST; length++) {
        fill_ids(&q, 2, length, 9);
        assert_int_equal(ask(model, &q, &a, NULL), WEFT_OK);
    }
    uint64_t before = wefti_allocation_count();
    weft_device_statistics held, now;
    weft_device_get_statistics(group_device, &held);
    for (int64_t length = 1; length <= LARGEST; length++) {
        fill_ids(&q, 2, length, 9);
        assert_int_equal(ask(model, &q, &a, NULL), WEFT_OK);
    }
    assert_int_equal(wefti_allocation_count(), before);
    weft_device_get_statistics(group_device, &now);
    assert_int_equal(now.memory_bytes, held.memory_bytes);
    weft_model_release(model);
    weft_device *small;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.memory_cap_bytes = 64 * 1024;
    assert_int_equal(weft_device_open("cpu", &params, &small, NULL), WEFT_OK);
    weft_graph *graph = graph_text_make("x: f32[seq,64]; y = Relu(x); -> y", 20);
    weft_model_params model_params = WEFT_MODEL_PARAMS_INIT;
    static const int64_t large[] = {1024};
    b = list_of_three("seq", NULL);
    b.sizes = large;
    b.size_count = 1;
    model_params.buckets = &b;
    model_params.bucket_count = 1;
    assert_int_equal(weft_model_create(small, graph, &model_params, &model, NULL),
                     WEFT_OK);
    weft_tensor input = shaped(WEFT_TYPE_F32, q.ids, 2, 3, 64, 0);
    weft_tensor output = shaped(WEFT_TYPE_F32, a.y, 2, 3, 64, 0);
    weft_io io = {&input, 1, &output, 1};
    a.y[0] = 5;
    assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OUT_OF_MEMORY);
    assert_float_equal(a.y[0], 0, 0);
    weft_model_release(model);
    weft_graph_release(graph);
    weft_device_release(small);
}

/* Each allocation in turn fails: of the model, of a plan, of the first run. */
static void test_every_failure_is_an_answer(void **state)
{
    (void)state;
    static question q;
    static answer a;
    weft_bucket_pad pads[] = {{"ids", 1}};
    weft_bucket_params b = list_of_three("seq", "mask");
    b.sizes = NULL;
    b.size_count = 0;
    b.rule = WEFT_BUCKET_DOUBLE;
    b.first = 4;
    b.last = 20;
    b.pads = pads;
    b.pad_count = 1;
    weft_graph *graph = graph_text_make(encoder("i64"), 20);
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.buckets = &b;
    params.bucket_count = 1;
    bool done = false;
    for (uint64_t n = 1; !done; n += n < 40 ? 1 : 7) {
        weft_device *fresh;
        weft_model *model = NULL;
        assert_int_equal(weft_device_open("cpu", NULL, &fresh, NULL), WEFT_OK);
        fill_ids(&q, 2, 17, 9);
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
        weft_status status = weft_model_create(fresh, graph, &params, &model, NULL);
        if (status == WEFT_OK) {
            status = ask(model, &q, &a, NULL);
        }
        done = wefti_fault_arm(0, 0) < n;
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        weft_model_release(model);
        weft_device_release(fresh);
        assert_true(n < 20000);
    }
    assert_int_equal(a.outputs[1].dims[1], 17);
    weft_graph_release(graph);
}

static void test_rules(void **state)
{
    (void)state;
    weft_bucket_params b = WEFT_BUCKET_PARAMS_INIT;
    b.dimension = "seq";
    b.rule = WEFT_BUCKET_DOUBLE;
    b.first = 8;
    b.last = 100;
    weft_model *model = make_model(pointwise, &b, 1);
    static const int64_t doubled[][2] = {{1, 1},   {2, 8},    {8, 8},     {9, 16},
                                         {33, 64}, {65, 100}, {100, 100}, {101, 101}};
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(weft_model_planned_size(model, "seq", doubled[i][0]),
                         doubled[i][1]);
    }
    weft_model_release(model);
    b.rule = WEFT_BUCKET_STEP;
    b.step = 24;
    model = make_model(pointwise, &b, 1);
    static const int64_t stepped[][2] = {{2, 8}, {9, 32}, {33, 56}, {81, 100}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(weft_model_planned_size(model, "seq", stepped[i][0]),
                         stepped[i][1]);
    }
    weft_model_release(model);
    b.first = b.last = INT64_MAX; /* no sum of them overflows */
    b.step = INT64_MAX;
    weft_model_release(make_model(pointwise, &b, 1));
}

/* A mean that nothing masks sees the padding: nothing in the library can tell. */
static void test_a_leak_is_the_callers(void **state)
{
    (void)state;
    float x[5] = {1, 2, 3, 4, 5}, y = 0;
    weft_bucket_params b = list_of_three("n", NULL);
    weft_model *model =
        make_model("x: f32[n]; y = ReduceMean(x) keepdims=0; -> y", &b, 1);
    weft_tensor input = shaped(WEFT_TYPE_F32, x, 1, 5, 0, 0);
    weft_tensor output = {.data = &y, .size_bytes = sizeof(y), .rank = -1};
    weft_io io = {&input, 1, &output, 1};
    assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OK);
    assert_float_equal(y, 15.0 / 8, 0);
    weft_model_release(model);
}

/* More tensors than there is room on the stack. */
static void test_many_tensors(void **state)
{
    (void)state;
    enum { INPUTS = 28, OUTPUTS = 21 };
    static float x[INPUTS][4 * OUTPUTS], y[OUTPUTS][4];
    char text[4000] = "", sum[400] = "s = Sum(", parts[400] = "", last[400] = "-> ";
    weft_tensor tensors[INPUTS + OUTPUTS];
    for (int i = 0; i < INPUTS; i++) {
        size_t used = strlen(text), summed = strlen(sum);
        snprintf(text + used, sizeof(text) - used, "x%d: f32[n,21]; ", i);
        snprintf(sum + summed, sizeof(sum) - summed, "%sx%d", i > 0 ? "," : "", i);
        for (int j = 0; j < 3 * OUTPUTS; j++) {
            x[i][j] = (float)(j % OUTPUTS);
        }
        tensors[i] = shaped(WEFT_TYPE_F32, x[i], 2, 3, OUTPUTS, 0);
    }
    for (int i = 0; i < OUTPUTS; i++) {
        size_t used = strlen(parts);
        snprintf(parts + used, sizeof(parts) - used, "%sy%d", i > 0 ? "," : "", i);
        y[i][3] = 7;
        tensors[INPUTS + i] = shaped(WEFT_TYPE_F32, y[i], 2, 3, 1, 0);
    }
    strcat(last, parts);
    strcat(text, sum);
    strcat(text, "); ");
    strcat(text, parts);
    strcat(text, " = Split(s) axis=1 num_outputs=21; ");
    strcat(text, last);
    weft_bucket_params b = list_of_three("n", NULL);
    weft_model *model = make_model(text, &b, 1);
    weft_io io = {tensors, INPUTS, tensors + INPUTS, OUTPUTS};
    assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OK);
    for (int i = 0; i < OUTPUTS; i++) {
        assert_float_equal(y[i][2], INPUTS * i, 0);
        assert_float_equal(y[i][3], 7, 0);
    }
    wefti_fault_arm(1, 1u << WEFTI_FAULT_ALLOCATION);
    assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OUT_OF_MEMORY);
    wefti_fault_arm(0, 0);
    weft_model_release(model);
}

static const char *pick(uint64_t *random)
{
    static const char *const names[] = {NULL,   "",       "seq",  "batch", "ids",
                                        "mask", "SEQ",    "y",    "seq ",  "batch",
                                        "seq",  "%s%n%s", "mask", "seq"};
    return names[crew_random(random) % (sizeof(names) / sizeof(names[0]))];
}

static int64_t pick_size(uint64_t *random)
{
    static const int64_t sizes[] = {0, 1, 2, 4, 5, 8, 16, 32, INT64_MAX, -1, INT64_MIN};
    return sizes[crew_random(random) % (sizeof(sizes) / sizeof(sizes[0]))];
}

/* One bucket of any kind, with what it points to. */
typedef struct random_bucket {
    weft_bucket_pad pads[2];
    int64_t sizes[4];
} random_bucket;

static double pick_value(uint64_t *random)
{
    static const double values[] = {0, 1, -1, 0.5, 1e300, NAN, INFINITY, 3};
    return values[crew_random(random) % 8];
}

static void make_bucket(uint64_t *random, random_bucket *own, weft_bucket_params *made)
{
    *made = (weft_bucket_params)WEFT_BUCKET_PARAMS_INIT;
    for (int k = 0; k < 4; k++) {
        own->sizes[k] = pick_size(random);
    }
    for (int k = 0; k < 2; k++) {
        own->pads[k] = (weft_bucket_pad){pick(random), pick_value(random)};
    }
    made->dimension = pick(random);
    made->rule = crew_random(random) % 8 == 0
                     ? (weft_bucket_rule)(crew_random(random) % 5)
                     : WEFT_BUCKET_SIZES;
    made->sizes = crew_random(random) % 8 == 0 ? NULL : own->sizes;
    made->size_count = 1 + crew_random(random) % 2;
    made->first = pick_size(random);
    made->last = pick_size(random);
    made->step = pick_size(random);
    made->mask_input = crew_random(random) % 2 == 0 ? NULL : pick(random);
    made->pad_value = crew_random(random) % 4 == 0 ? pick_value(random) : 0;
    made->pads = own->pads;
    made->pad_count = crew_random(random) % 8 == 0 ? 2 : 0;
}

/* What it is padded with may be out of the table, or the memory too small. */
static void run_some_lengths(weft_model *model, uint64_t seed)
{
    static question q;
    static answer a;
    weft_error error = {0};
    for (int64_t length = 3; length < 7; length += 3) {
        fill_ids(&q, 2, length, seed);
        if (!weft_model_input_is_mask(model, 1)) {
            fill_mask(&q, WEFT_TYPE_I64, 1);
        }
        weft_status ran = ask(model, &q, &a, &error);
        assert_true(ran != WEFT_OK || a.outputs[1].dims[1] == length);
        assert_true(ran == WEFT_OK || ran == WEFT_INVALID_ARGUMENT ||
                    ran == WEFT_UNSUPPORTED || ran == WEFT_OUT_OF_MEMORY ||
                    ran == WEFT_INVALID_MODEL);
    }
}

/* Whatever the params are: a model that keeps what it says, or words. */
static void test_random_params(void **state)
{
    (void)state;
    weft_graph *graph = graph_text_make(encoder("i64"), 20);
    uint64_t random = 99;
    int made = 0;
    for (uint32_t round = 0; round < 4000 / crew_divisor(); round++) {
        weft_bucket_params list[2];
        random_bucket own[2];
        make_bucket(&random, &own[0], &list[0]);
        make_bucket(&random, &own[1], &list[1]);
        weft_model_params params = WEFT_MODEL_PARAMS_INIT;
        params.buckets = list;
        params.bucket_count = crew_random(&random) % 4 == 0 ? 2 : 1;
        weft_model *model = NULL;
        weft_error error = {0};
        weft_status status =
            weft_model_create(group_device, graph, &params, &model, &error);
        assert_int_equal(model != NULL, status == WEFT_OK);
        assert_true(status == WEFT_OK || error.message[0] != '\0');
        assert_true(status == WEFT_OK || status == WEFT_INVALID_ARGUMENT ||
                    status == WEFT_UNSUPPORTED);
        if (status == WEFT_OK) {
            made++;
            run_some_lengths(model, round);
        }
        weft_model_release(model);
    }
    print_message("%d models\n", made);
    assert_true(made > 100 / (int)crew_divisor());
    weft_graph_release(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_encoder),
        cmocka_unit_test(test_masks_of_all_types),
        cmocka_unit_test(test_other_devices),
        cmocka_unit_test(test_two_dimensions),
        cmocka_unit_test(test_pad_values),
        cmocka_unit_test(test_lists_that_are_refused),
        cmocka_unit_test(test_masks_and_pads_that_are_refused),
        cmocka_unit_test(test_models_that_are_refused),
        cmocka_unit_test(test_value_inputs),
        cmocka_unit_test(test_calls_that_are_refused),
        cmocka_unit_test(test_broadcasts_are_not_padded),
        cmocka_unit_test(test_drawn_numbers),
        cmocka_unit_test(test_every_way_of_a_call),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_every_failure_is_an_answer),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_a_leak_is_the_callers),
        cmocka_unit_test(test_many_tensors),
        cmocka_unit_test(test_random_params),
    };
    return cmocka_run_group_tests(tests, group_device_open, group_device_close);
}

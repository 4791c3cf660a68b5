/* SPDX-License-Identifier: Apache-2.0 */
/* Which nets keep the rows of a batch apart: short graphs, looked at with several
 * numbers of rows. Where the analysis says yes, all rows joined, each row alone and
 * groups of rows are run on every instruction set and compared bit by bit. Where it
 * says no, most are run too, to see that the rows do mix. */
#include "graph/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/testing.h"
#include "graph/rows_rules.h"
#include "support/graph_text.h"
#include "support/rows_case.h"

/* 7 is no other dimension of the graphs below, 4 is most of them. */
static const int64_t sizes[] = {7, 4, 2};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes, MOST_INPUTS = 6 };

static weft_device *devices[ROWS_CASE_DEVICES];
static size_t device_count;

typedef struct text_case {
    const char *name, *text;
    int32_t opset; /* 0: 23 */
    /* For those that are refused: in the message, and whether the bits show why. */
    const char *words;
    bool shows;
} text_case;

static weft_model *make_model(const text_case *c, weft_device *device, bool no_fusion)
{
    weft_error error = {0};
    weft_model *model = NULL;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.no_fusion = no_fusion;
    weft_graph *graph = graph_text_make(c->text, c->opset == 0 ? 23 : c->opset);
    if (weft_model_create(device, graph, &params, &model, &error) != WEFT_OK) {
        fail_msg("%s: %s", c->name, error.message);
    }
    weft_graph_release(graph);
    return model;
}

/* Random inputs; integers and bools are 0, 1, 2 or 3. */
static void fill(weft_tensor *tensor, uint32_t stream)
{
    size_t count = tensor->size_bytes / weft_type_size(tensor->type);
    uint32_t *bits = malloc((count + 1) * sizeof *bits);
    weft_random_key key = {.seed = 5, .stream = stream};
    tensor->data = malloc(tensor->size_bytes + 1);
    weft_random_fill_u32(&key, bits, count);
    for (size_t i = 0; i < count; i++) {
        if (tensor->type == WEFT_TYPE_I64) {
            ((int64_t *)tensor->data)[i] = bits[i] >> 30;
        } else if (tensor->type == WEFT_TYPE_I32) {
            ((int32_t *)tensor->data)[i] = bits[i] >> 30;
        } else if (tensor->type == WEFT_TYPE_BOOL) {
            ((uint8_t *)tensor->data)[i] = bits[i] >> 31;
        }
    }
    if (tensor->type == WEFT_TYPE_F32) {
        weft_random_fill_normal(&key, tensor->data, count);
    }
    free(bits);
}

/* Dynamic dims that are not the batch are 4. */
static void make_inputs(const weft_model *model, const int32_t *axes, int64_t rows,
                        weft_tensor *inputs)
{
    for (size_t i = 0; i < weft_model_input_count(model); i++) {
        weft_value_info info;
        assert_true(weft_model_get_input(model, i, &info));
        inputs[i] = (weft_tensor){.type = info.type, .rank = info.rank};
        for (int32_t j = 0; j < info.rank; j++) {
            inputs[i].dims[j] = j == axes[i]       ? rows
                                : info.dims[j] < 0 ? 4
                                                   : info.dims[j];
        }
        weft_error error = {0};
        if (weft_tensor_measure(&inputs[i], NULL, &inputs[i].size_bytes, &error) !=
            WEFT_OK) {
            fail_msg("%s", error.message);
        }
        fill(&inputs[i], (uint32_t)i);
    }
}

static void free_inputs(const weft_model *model, weft_tensor *inputs)
{
    for (size_t i = 0; i < weft_model_input_count(model); i++) {
        free(inputs[i].data);
    }
}

static weft_status check(weft_model *model, const weft_tensor *inputs,
                         const int32_t *input_axes, int32_t *output_axes,
                         weft_error *error)
{
    weft_io shapes = {.inputs = inputs, .input_count = weft_model_input_count(model)};
    return wefti_model_check_rows(model, &shapes, input_axes, output_axes, error);
}

static void find_axes(const text_case *c, const weft_model *model, int32_t *axes)
{
    weft_error error = {0};
    if (wefti_model_batch_axes(model, "batch", axes, &error) != WEFT_OK) {
        fail_msg("%s: %s", c->name, error.message);
    }
}

static void check_accepted(const text_case *c, weft_model *model, const char *how)
{
    int32_t input_axes[MOST_INPUTS], output_axes[ROWS_CASE_TENSORS];
    find_axes(c, model, input_axes);
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        weft_tensor inputs[MOST_INPUTS];
        weft_error error = {0};
        make_inputs(model, input_axes, sizes[i], inputs);
        if (check(model, inputs, input_axes, output_axes, &error) != WEFT_OK) {
            fail_msg("%s, %s, %d rows: %s", c->name, how, (int)sizes[i], error.message);
        }
        if (!rows_case_same_bits(model, inputs, input_axes, output_axes)) {
            fail_msg("%s, %s: other bits in a batch of %d", c->name, how,
                     (int)sizes[i]);
        }
        free_inputs(model, inputs);
    }
}

static void keeps_rows_apart(void **state)
{
    const text_case *c = *state;
    for (size_t i = 0; i < device_count; i++) {
        for (int fused = 0; fused < 2; fused++) {
            weft_model *model = make_model(c, devices[i], fused == 0);
            weft_device_info info;
            weft_device_get_info(devices[i], &info);
            check_accepted(c, model, info.isa);
            weft_model_release(model);
        }
    }
}

/* Runs what was refused: rows alone give other bits, or do not run at all. */
static bool rows_differ(const text_case *c, int64_t rows)
{
    weft_model *model = make_model(c, devices[0], false);
    weft_tensor inputs[MOST_INPUTS];
    int32_t input_axes[MOST_INPUTS], output_axes[ROWS_CASE_TENSORS] = {0};
    find_axes(c, model, input_axes);
    make_inputs(model, input_axes, rows, inputs);
    bool same = rows_case_same_bits(model, inputs, input_axes, output_axes);
    free_inputs(model, inputs);
    weft_model_release(model);
    return !same;
}

static void sees_that_rows_mix(void **state)
{
    const text_case *c = *state;
    int32_t input_axes[MOST_INPUTS], output_axes[ROWS_CASE_TENSORS];
    for (int fused = 0; fused < 2; fused++) {
        weft_model *model = make_model(c, devices[0], fused == 0);
        find_axes(c, model, input_axes);
        for (size_t i = 0; i <= SIZE_COUNT; i++) {
            weft_tensor inputs[MOST_INPUTS];
            weft_error error = {0};
            /* One row too: it is looked at as two. */
            make_inputs(model, input_axes, i == SIZE_COUNT ? 1 : sizes[i], inputs);
            weft_status status = check(model, inputs, input_axes, output_axes, &error);
            free_inputs(model, inputs);
            if (status != WEFT_UNSUPPORTED || strstr(error.message, c->words) == NULL) {
                fail_msg("%s: %s, '%s'", c->name, weft_status_name(status),
                         error.message);
            }
        }
        weft_model_release(model);
    }
    for (size_t i = 0; c->shows && i < SIZE_COUNT; i++) {
        if (!rows_differ(c, sizes[i])) {
            fail_msg("%s: the rows do not mix after all", c->name);
        }
    }
}

#define NET(what, graph)                                                               \
    {                                                                                  \
        .name = (what), .text = (graph)                                                \
    }
#define OLD_NET(what, graph)                                                           \
    {                                                                                  \
        .name = (what), .text = (graph), .opset = 17                                   \
    }
/* Refused with these words; whether the bits show why. */
#define MIXED(what, graph, why, visible)                                               \
    {                                                                                  \
        .name = (what), .text = (graph), .words = (why), .shows = (visible)            \
    }

static const text_case apart[] = {
    NET("one element after the other", "x: f32[batch,4]; w = f32[4]; a = Add(x,w); b = "
                                       "Relu(a); c = Mul(b,x); d = Exp(c);"
                                       "e = Tanh(d); -> e,b"),
    NET("two inputs", "x: f32[batch,4]; z: f32[batch,4]; y = Sub(x,z); -> y"),
    NET("a column broadcast", "x: f32[batch,4]; z: f32[batch,1]; y = Mul(x,z); -> y"),
    NET("rows in the middle", "x: f32[4,batch,3]; z: f32[batch,1]; y = Add(x,z); -> y"),
    NET("rows last", "x: f32[4,batch]; w = f32[4,1]; y = Add(x,w); -> y"),
    NET("a scalar", "x: f32[batch]; s = f32(2.5); y = Pow(x,s); -> y"),
    NET("many operands",
        "x: f32[batch,4]; z: f32[batch,4]; w = f32[1,4]; y = Max(x,z,w); m = Mean(x,z);"
        "s = Sum(w,x); n = Min(x,w); -> y,m,s,n"),
    NET("unary operators",
        "x: f32[batch,5]; a = Abs(x); b = Neg(a); c = Sqrt(a); d = Log(a); e = Erf(b);"
        "f = Sigmoid(e); g = LeakyRelu(f); h = Gelu(x); i = Floor(x); j = Ceil(x);"
        "k = Round(x); l = Sin(x); m = Cos(x); n = Softplus(m); o = Elu(x); p = "
        "Sign(x);"
        "q = Reciprocal(d); -> c,g,h,i,j,k,l,n"),
    NET("more unary operators",
        "x: f32[batch,5]; a = HardSigmoid(x); b = HardSwish(x); c = Mish(x); d = "
        "Selu(x);"
        "e = Softsign(x); lo = f32(0.1); hi = f32(0.7); f = Clip(x,lo,hi); g = "
        "IsNaN(x);"
        "i = Identity(x); j = Dropout(i); k = Gelu(x) approximate='tanh'; -> "
        "a,b,c,d,e,f,g,j"),
    NET("comparisons and logic",
        "x: f32[batch,4]; z: f32[batch,4]; a = Less(x,z); b = Greater(x,z); c = "
        "Or(a,b);"
        "d = And(c,a); e = Xor(d,b); f = Not(e); g = Where(f,x,z); h = Equal(x,z);"
        "i = LessOrEqual(x,z); j = GreaterOrEqual(x,z); -> g,h,i,j,e"),
    NET("integers",
        "x: i64[batch,4]; k = i64(3); a = Mul(x,k); b = Mod(a,k); c = Cast(b) to=1;"
        "d = Div(a,k); -> b,c,d"),
    NET("types", "x: f32[batch,4]; i: i64[batch,2]; y = CastLike(x,i); -> y"),
    NET("slopes", "x: f32[batch,4,3]; w = f32[4,1]; y = PRelu(x,w); -> y"),
    NET("a product", "x: f32[batch,40]; w = f32[40,24]; y = MatMul(x,w); -> y"),
    NET("an odd product", "x: f32[batch,17]; w = f32[17,5]; y = MatMul(x,w); -> y"),
    NET("a product to one column",
        "x: f32[batch,40]; w = f32[40,1]; y = MatMul(x,w); -> y"),
    NET("a product with a vector",
        "x: f32[batch,40]; w = f32[40]; y = MatMul(x,w); -> y"),
    NET("linear layers",
        "x: f32[batch,24]; w = f32[24,32]; b = f32[32]; v = f32[9,32]; c = f32[9];"
        "h = MatMul(x,w); i = Add(h,b); j = Relu(i); y = Gemm(j,v,c) transB=1; -> y"),
    NET("gemm with factors", "x: f32[batch,8]; w = f32[8,6]; c = f32[1,6]; y = "
                             "Gemm(x,w,c) alpha=0.7 beta=0.3;"
                             "z = Gemm(x,w); -> y,z"),
    NET("gemm with rows of its own to add",
        "x: f32[batch,8]; w = f32[8,6]; c: f32[batch,6]; y = Gemm(x,w,c); -> y"),
    NET("gemm of columns",
        "x: f32[8,batch]; w = f32[8,6]; y = Gemm(x,w) transA=1; -> y"),
    NET("products of rows",
        "x: f32[batch,4,5]; z: f32[batch,5,3]; y = MatMul(x,z); -> y"),
    NET("products of rows and heads",
        "x: f32[batch,4,4,5]; z: f32[batch,1,5,4]; y = MatMul(x,z); -> y"),
    NET("a table before each row",
        "w = f32[3,4]; x: f32[batch,4,5]; y = MatMul(w,x); -> y"),
    NET("a residual",
        "x: f32[batch,8]; w = f32[8,8]; h = MatMul(x,w); y = Add(h,x); -> y"),
    NET("softmax",
        "x: f32[batch,4,9]; y = Softmax(x); z = LogSoftmax(x) axis=1; -> y,z"),
    NET("norms", "x: f32[batch,4,20]; s = f32[20]; b = f32[20]; t = f32[4,20];"
                 "y = LayerNormalization(x,s,b); z = LayerNormalization(x,t) axis=1;"
                 "r = RMSNormalization(x,s); -> y,z,r"),
    NET("a norm after a residual",
        "x: f32[batch,20]; w = f32[20,20]; s = f32[20]; b = f32[20]; h = MatMul(x,w);"
        "i = Add(x,h); y = LayerNormalization(i,s,b); -> y"),
    NET("images",
        "x: f32[batch,4,8,8]; w = f32[6,4,3,3]; b = f32[6]; h = Conv(x,w,b) "
        "pads=[1,1,1,1];"
        "r = Relu(h); p = MaxPool(r) kernel_shape=[2,2] strides=[2,2];"
        "q = AveragePool(p) kernel_shape=[2,2]; g = GlobalAveragePool(q);"
        "f = Flatten(g); v = f32[6,3]; y = MatMul(f,v); m = GlobalMaxPool(p); -> y,m"),
    NET("sound and groups",
        "x: f32[batch,4,16]; w = f32[4,1,3]; y = Conv(x,w) group=4 pads=[1,1]; -> y"),
    NET("a shortcut of images", "x: f32[batch,4,5,5]; w = f32[4,4,3,3]; h = Conv(x,w) "
                                "pads=[1,1,1,1]; a = Add(h,x);"
                                "y = Relu(a); -> y"),
    NET("norms of images",
        "x: f32[batch,4,6]; s = f32[4]; b = f32[4]; m = f32[4]; v = f32{0.5,1,2,3};"
        "y = BatchNormalization(x,s,b,m,v); z = InstanceNormalization(x,s,b);"
        "g = GroupNormalization(x,s,b) num_groups=2; -> y,z,g"),
    NET("reductions",
        "x: f32[batch,4,5]; a = i64{1}; b = i64{-1,1}; m = ReduceMean(x,a);"
        "s = ReduceSum(x,b) keepdims=0; t = ReduceMax(x,a) keepdims=0; l = "
        "ReduceL2(x,a);"
        "i = ArgMax(x) axis=2; p = ReduceProd(x,b); q = ReduceSumSquare(x,a);"
        "r = ReduceL1(x,a); -> m,s,t,l,i,p,q,r"),
    NET("reductions before the rows",
        "x: f32[4,batch,5]; a = i64{0}; m = ReduceMean(x,a) keepdims=0;"
        "n = ReduceMin(x,a); i = ArgMin(x) axis=0; -> m,n,i"),
    OLD_NET("axes as attributes",
            "x: f32[batch,4,5]; m = ReduceMean(x) axes=[1,2] keepdims=0; -> m"),
    NET("recurrent networks",
        "x: f32[5,batch,3]; w = f32[1,16,3]; r = f32[1,16,4]; g = f32[1,12,3];"
        "k = f32[1,12,4]; y,h,c = LSTM(x,w,r) hidden_size=4;"
        "z = GRU(x,g,k) hidden_size=4; -> y,h,c,z"),
    NET("sequences of different length",
        "x: f32[6,batch,5]; l: i32[batch]; w = f32[1,16,5]; r = f32[1,16,4];"
        "y,h,c = LSTM(x,w,r,,l) hidden_size=4; -> y,h,c"),
    NET("attention over counted keys",
        "q: f32[batch,2,3,8]; k: f32[batch,2,5,8]; n: i64[batch];"
        "y = Attention(q,k,k,,,,n) is_causal=1 left_window_size=2; -> y"),
    NET("a recurrent network with the batch first",
        "x: f32[batch,5,3]; w = f32[1,4,3]; r = f32[1,4,4];"
        "y,h = RNN(x,w,r) hidden_size=4 layout=1; -> y,h"),
    NET("indices of each row",
        "x: f32[batch,6]; k = i64{3}; v,i = TopK(x,k) axis=1;"
        "g = GatherElements(x,i) axis=1; s = ScatterElements(x,i,v) axis=1; -> v,g,s"),
    NET("lines of each row",
        "x: f32[batch,4,5]; a = i64(1); c = CumSum(x,a); h = Hardmax(c);"
        "l = LpNormalization(c) axis=1; r = i64{2}; e = ReduceLogSumExp(x,r);"
        "-> c,h,l,e"),
    NET("images made larger",
        "x: f32[batch,4,5,5]; w = f32[4,2,3,3]; t = ConvTranspose(x,w) strides=[2,2];"
        "r = f32{}; s = f32{1,1,2,2}; y = Resize(x,r,s); d = DepthToSpace(x) "
        "blocksize=2; n = LRN(x) size=3; p = LpPool(x) kernel_shape=[2,2];"
        "-> t,y,d,n,p"),
    NET("bytes",
        "x: f32[batch,8]; s = f32(0.05); q = QuantizeLinear(x,s); v = f32[8,5];"
        "w = Cast(v) to=3; m = MatMulInteger(q,w); d = DequantizeLinear(m,s); -> q,d"),
    NET("bytes by a matrix with more dims",
        "x: f32[batch,5,8]; s = f32(0.05); q = QuantizeLinear(x,s); v = f32[1,8,5];"
        "w = Cast(v) to=3; m = MatMulInteger(q,w); d = DequantizeLinear(m,s); -> d"),
    NET("spectra", "x: f32[batch,16]; n = i64(4); w = f32[8]; y = STFT(x,n,w);"
                   "z = DFT(y); -> y,z"),
    NET("turned pairs",
        "x: f32[batch,2,5,4]; c: f32[batch,5,2]; y = RotaryEmbedding(x,c,c); -> y"),
    NET("rotary embedding by one table for all",
        "x: f32[batch,2,5,4]; c = f32[1,5,2]; y = RotaryEmbedding(x,c,c); -> y"),
    NET("turned pairs of a table",
        "x: f32[batch,2,5,4]; p: i64[batch,5]; c = f32[4,2]; s = f32[4,2];"
        "y = RotaryEmbedding(x,c,s,p); -> y"),
    {.name = "a causal convolution",
     .text = "x: f32[batch,6,5]; w = f32[6,1,3]; b = f32[6]; s: f32[batch,6,2];"
             "y,t = CausalConvWithState(x,w,b,s) activation='silu'; -> y,t",
     .opset = 27},
    {.name = "upsampled",
     .text = "x: f32[batch,1,4,4]; s = f32{1,1,2,1.5}; y = Upsample(x,s); -> y",
     .opset = 9},
    NET("nothing reduced",
        "x: f32[batch,4]; a = i64{}; m = ReduceSum(x,a) noop_with_empty_axes=1; -> m"),
    NET("heads", "x: f32[batch,4,8]; s = i64{0,0,4,2}; h = Reshape(x,s);"
                 "t = Transpose(h) perm=[0,2,1,3]; u = i64{-1,4,2}; r = Reshape(t,u);"
                 "k = Transpose(r) perm=[0,2,1]; a = MatMul(r,k); p = Softmax(a); o = "
                 "MatMul(p,r);"
                 "v = i64{-1,4,4,2}; q = Reshape(o,v); w = Transpose(q) perm=[0,2,1,3];"
                 "z = i64{0,0,8}; y = Reshape(w,z); -> y"),
    NET("heads with the rows second",
        "x: f32[4,batch,8]; w = f32[8,8]; s = i64{4,-1,2}; h = Reshape(x,s);"
        "t = Transpose(h) perm=[1,0,2]; k = Transpose(h) perm=[1,2,0]; a = MatMul(t,k);"
        "p = Softmax(a); o = MatMul(p,t); u = Transpose(o) perm=[1,0,2]; c = i64{-1,8};"
        "f = Reshape(u,c); g = MatMul(f,w); d = i64{4,-1,8}; y = Reshape(g,d); -> y"),
    NET("rows folded into another axis",
        "x: f32[batch,4,4]; s = i64{-1,4}; f = Reshape(x,s); w = f32[4,4];"
        "g = MatMul(f,w); n = Softmax(g); t = i64{-1,4,4}; y = Reshape(n,t); -> y"),
    NET("shapes", "x: f32[batch,4,1,3]; a = i64{2}; s = Squeeze(x,a); b = i64{0,3};"
                  "u = Unsqueeze(s,b); f = Flatten(x) axis=2; -> s,f,u"),
    NET("the shape of the batch itself",
        "x: f32[batch,4,3]; s = Shape(x) end=1; m = i64{-1}; j = Concat(s,m) axis=0;"
        "y = Reshape(x,j); -> y"),
    NET("a start token for each row",
        "x: f32[batch,4,6]; s = Shape(x) end=1; o = i64{1,6}; d = Concat(s,o) axis=0;"
        "c = f32[1,1,6]; e = Expand(c,d); y = Concat(e,x) axis=1; -> y"),
    NET("zeros for each row",
        "x: f32[batch,4]; s = Shape(x) end=1; o = i64{2}; d = Concat(s,o) axis=0;"
        "e = ConstantOfShape(d); y = Concat(e,x,e) axis=1; -> y"),
    NET("positions of the columns",
        "x: f32[batch,4]; s = Shape(x) start=1; a = i64(0); q = Squeeze(s); i = i64(1);"
        "r = Range(a,q,i); c = Cast(r) to=1; y = Add(x,c); -> y"),
    NET("positions for each row",
        "x: i64[batch,4]; t = f32[4,3]; p = f32[9,3]; e = Gather(t,x); s = Shape(x);"
        "i = i64{0,1,2,3}; j = Expand(i,s); k = Gather(p,j); y = Add(e,k); -> y"),
    NET("a repeated table",
        "x: f32[batch,4]; s = Shape(x) end=1; o = i64{1}; d = Concat(s,o) axis=0;"
        "w = f32[1,4]; t = Tile(w,d); y = Add(x,t); -> y"),
    NET("repeated columns", "x: f32[batch,4]; r = i64{1,3}; y = Tile(x,r); -> y"),
    NET("a table", "x: i64[batch,5]; t = f32[4,8]; y = Gather(t,x); -> y"),
    NET("columns of each row",
        "x: f32[batch,4,5]; i = i64{2,0,-1}; y = Gather(x,i) axis=2; j = i64(1);"
        "z = Gather(x,j) axis=1; -> y,z"),
    NET("columns before the rows",
        "x: f32[4,batch,5]; i = i64[2,3]; k = i64{2,0}; y = Gather(x,k); j = i64(1);"
        "z = Gather(x,j); -> y,z"),
    NET("parts", "x: f32[batch,12]; a,b,c = Split(x) axis=1 num_outputs=3; d = "
                 "Concat(c,a,b) axis=1;"
                 "s = i64{2}; e = i64{9223372036854775807}; f = i64{1}; g = "
                 "Slice(d,s,e,f); -> g,b"),
    NET("a slice that names the rows and keeps them",
        "x: f32[batch,6]; s = i64{0,1}; e = i64{9223372036854775807,5}; a = i64{0,1};"
        "p = i64{1,2}; y = Slice(x,s,e,a,p); -> y"),
    NET("a slice backwards",
        "x: f32[batch,6]; s = i64{-1}; e = i64{-9223372036854775807}; a = i64{1};"
        "p = i64{-1}; y = Slice(x,s,e,a,p); -> y"),
    NET("padding", "x: f32[batch,4,5]; p = i64{0,1,2,0,0,1}; y = Pad(x,p); q = "
                   "i64{1,1}; a = i64{2};"
                   "z = Pad(x,q,,a) mode='edge'; -> y,z"),
    NET("a triangle of each row",
        "x: f32[batch,4,4]; y = Trilu(x) upper=0; k = i64(1); z = Trilu(x,k); -> y,z"),
    NET("a wider row", "x: f32[batch,1,4]; s = i64{1,3,4}; y = Expand(x,s); -> y"),
    NET("a mask of each row",
        "x: f32[batch,4,6]; m: bool[batch,4]; a = i64{1}; n = Unsqueeze(m,a); z = "
        "f32(-9.5);"
        "k = Transpose(x) perm=[0,2,1]; s = MatMul(x,k); w = Where(n,s,z); p = "
        "Softmax(w);"
        "y = MatMul(p,x); -> y"),
    NET("attention", "q: f32[batch,4,8]; k: f32[batch,5,8]; v: f32[batch,5,8];"
                     "y = Attention(q,k,v) q_num_heads=2 kv_num_heads=2; -> y"),
    NET("attention with a mask of each row",
        "q: f32[batch,2,4,8]; k: f32[batch,2,4,8]; v: f32[batch,2,4,6]; "
        "m: f32[batch,1,4,4]; y = Attention(q,k,v,m) is_causal=1; -> y"),
    NET("attention with one mask",
        "q: f32[batch,2,4,8]; k: f32[batch,2,4,8]; v: f32[batch,2,4,6]; m = f32[4,4];"
        "y = Attention(q,k,v,m); -> y"),
    NET("positions added to a product",
        "x: f32[batch,4,6]; w = f32[6,8]; b = f32[8]; p = f32[1,4,8]; h = MatMul(x,w);"
        "i = Add(h,b); y = Add(i,p); -> y"),
    NET("positions before a norm",
        "x: i64[batch,4]; t = f32[9,8]; p = f32[1,4,8]; e = Gather(t,x); h = Add(e,p);"
        "s = f32[8]; b = f32[8]; y = LayerNormalization(h,s,b); -> y"),
    NET("one image added to all",
        "x: f32[batch,3,5,5]; w = f32[4,3,3,3]; p = f32[1,4,5,5];"
        "h = Conv(x,w) pads=[1,1,1,1]; a = Add(h,p); y = Relu(a); -> y"),
    NET("one row of gemm's addend", "x: f32[batch,6]; w = f32[6,8]; p = f32[1,8]; y = "
                                    "Gemm(x,w,p); z = Relu(y); -> z"),
    NET("columns of a product",
        "x: f32[4,batch]; w = f32[3,4]; v = f32[4]; y = MatMul(w,x); z = MatMul(v,x);"
        "-> y,z"),
    NET("columns of gemm",
        "x: f32[batch,4]; z: f32[4,batch]; w = f32[3,4]; c = f32[3,1];"
        "y = Gemm(w,x,c) transB=1; u = Gemm(w,z) alpha=0.5; -> y,u"),
    NET("attention with a cache",
        "q: f32[batch,4,8]; k: f32[batch,3,8]; v: f32[batch,3,8]; a: f32[batch,2,5,4];"
        "b: f32[batch,2,5,4]; m: bool[batch,1,4,8];"
        "y,c,d = Attention(q,k,v,m,a,b) q_num_heads=2 kv_num_heads=2; -> y,c,d"),
    NET("attention that shows its scores",
        "q: f32[batch,2,4,8]; k: f32[batch,2,5,8]; m = f32[4,5];"
        "y,c,d,s = Attention(q,k,k,m) softcap=3.5 qk_matmul_output_mode=2; -> y,s"),
    NET("an empty cache",
        "x: f32[batch,2,3,4]; p: f32[batch,2,0,4]; y = Concat(p,x) axis=2; z = Relu(p);"
        "-> y,z"),
    NET("microsoft's activations", "x: f32[batch,4]; y = Gelu(x); -> y"),
    NET("one column",
        "x: f32[batch,1]; w = f32[1,1]; y = MatMul(x,w); z = Relu(y); -> z"),
    NET("rows alone", "x: f32[batch]; y = Softplus(x); -> y"),
    NET("an input given out", "x: f32[batch,4]; -> x"),
    NET("constant rows given out",
        "x: f32[batch,4]; s = Shape(x); y = ConstantOfShape(s); z = Relu(x); -> y,z"),
};

static const text_case mixed[] = {
    MIXED("softmax along the rows", "x: f32[batch,4]; y = Softmax(x) axis=0; -> y", "y",
          true),
    MIXED("a mean of the rows",
          "x: f32[batch,4]; a = i64{0}; m = ReduceMean(x,a); y = Sub(x,m); -> y", "m",
          true),
    MIXED("a sum of all",
          "x: f32[batch,4]; m = ReduceSum(x) keepdims=0; y = Sub(x,m); -> y", "m",
          true),
    MIXED("the greatest row",
          "x: f32[batch,4]; m = ArgMax(x) axis=0; c = Cast(m) to=1; y = Add(x,c); -> y",
          "m", true),
    MIXED("a reduced row that hides",
          "x: f32[batch,4]; a = i64{0}; m = ReduceMax(x,a); s = Shape(x); e = "
          "Expand(m,s);"
          "-> e",
          "m", true),
    MIXED(
        "a shape that mixes",
        "x: f32[batch,4]; s = i64{4,-1}; r = Reshape(x,s); t = Transpose(r) perm=[1,0];"
        "-> t",
        "r", false),
    MIXED("a transposed shape",
          "x: f32[batch,4]; t = Transpose(x) perm=[1,0]; s = Shape(x); y = "
          "Reshape(t,s); -> "
          "y",
          "y", true),
    MIXED("positions of the rows",
          "x: f32[batch,4]; s = Shape(x) end=1; q = Squeeze(s); a = i64(0); i = i64(1);"
          "r = Range(a,q,i); c = Cast(r) to=1; u = i64{1}; p = Unsqueeze(c,u); y = "
          "Add(x,p);"
          "-> y",
          "y", true),
    MIXED("the number of rows",
          "x: f32[batch,4]; s = Shape(x) end=1; c = Cast(s) to=1; y = Div(x,c); -> y",
          "y", true),
    MIXED("the size of all",
          "x: f32[batch,4]; s = Size(x); c = Cast(s) to=1; y = Mul(x,c); -> y", "y",
          true),
    MIXED("the first row",
          "x: f32[batch,4]; i = i64(0); f = Gather(x,i); y = Add(x,f); -> y", "f",
          true),
    MIXED("the last row",
          "x: f32[batch,4]; i = i64{-1}; f = Gather(x,i); y = Add(x,f); -> y", "f",
          true),
    MIXED("the rows backwards",
          "x: f32[batch,4]; s = i64{-1}; e = i64{-9223372036854775807}; a = i64{0};"
          "p = i64{-1}; y = Slice(x,s,e,a,p); -> y",
          "y", true),
    MIXED("all but the first row",
          "x: f32[batch,4]; s = i64{1}; e = i64{9223372036854775807}; a = i64{0};"
          "y = Slice(x,s,e,a); -> y",
          "y", false),
    MIXED("a product of the rows",
          "x: f32[batch,4]; t = Transpose(x) perm=[1,0]; g = MatMul(t,x); y = "
          "MatMul(x,g);"
          "-> y",
          "g", true),
    MIXED(
        "likeness of the rows",
        "x: f32[batch,4]; t = Transpose(x) perm=[1,0]; g = MatMul(x,t); p = Softmax(g);"
        "y = MatMul(p,x); -> y",
        "g", true),
    MIXED("attention over the rows",
          "x: f32[batch,4]; a = i64{0}; u = Unsqueeze(x,a);"
          "y = Attention(u,u,u) q_num_heads=1 kv_num_heads=1; z = Squeeze(y,a); -> z",
          "y", true),
    MIXED("no row is left",
          "x: f32[batch,4]; s = i64{0}; y = Slice(x,s,s,s); z = Relu(x); -> y,z", "y",
          false),
    MIXED("rows joined", "x: f32[batch,4]; y = Concat(x,x) axis=0; -> y", "y", true),
    MIXED("rows split and joined again",
          "x: f32[batch,2,4]; s = i64{-1,4}; r = Reshape(x,s); a,b = Split(r) "
          "num_outputs=2;"
          "y = Concat(a,b) axis=1; -> y",
          "a", true),
    MIXED("rows padded", "x: f32[batch,4]; p = i64{1,0,-1,0}; y = Pad(x,p); -> y", "y",
          true),
    MIXED("rows repeated", "x: f32[batch,4]; r = i64{2,1}; y = Tile(x,r); -> y",
          "interleaved", true),
    MIXED("a norm over the rows",
          "x: f32[4,batch]; s = f32[1]; y = LayerNormalization(x,s); -> y", "y", false),
    MIXED("a norm over all",
          "x: f32[batch,4]; s = f32[4]; y = LayerNormalization(x,s) axis=0; -> y", "y",
          true),
    MIXED("a recurrent network along the rows",
          "x: f32[batch,2,3]; w = f32[1,16,3]; r = f32[1,16,4];"
          "y = LSTM(x,w,r) hidden_size=4; -> y",
          "y", true),
    MIXED("a sum along the rows", "x: f32[batch,4]; a = i64(0); y = CumSum(x,a); -> y",
          "y", true),
    MIXED("elements of a table by the row",
          "x: f32[batch,4]; w = f32[9,4]; i: i64[batch,4];"
          "y = GatherElements(w,i) axis=1; -> y",
          "y", false),
    MIXED("the largest of the rows",
          "x: f32[batch,4]; k = i64{1}; v,i = TopK(x,k) axis=0; y = Add(x,v); -> y",
          "v", false),
    MIXED("a resize along the rows",
          "x: f32[batch,1,4,4]; r = f32{}; s = f32{2,1,1,1}; y = Resize(x,r,s); -> y",
          "y", false),
    MIXED("as many rows, resampled",
          "x: f32[batch,1,4,4]; r = f32{}; s = f32{1.1,1,2,2}; y = Resize(x,r,s) "
          "coordinate_transformation_mode='asymmetric' nearest_mode='floor'; -> y",
          "it resizes along them", true),
    {.name = "as many rows, upsampled",
     .text = "x: f32[batch,1,4,4]; s = f32{1.1,1,2,2}; y = Upsample(x,s); -> y",
     .opset = 9,
     .words = "it resizes along them",
     .shows = true},
    MIXED("another row's angles",
          "x: f32[batch,2,5,4]; c: f32[batch,2]; p: i64[batch,5];"
          "y = RotaryEmbedding(x,c,c,p); -> y",
          "y", false),
    MIXED("a cumulated triangle", "x: f32[batch,4]; y = Trilu(x); -> y", "y", true),
    MIXED("images as channels",
          "x: f32[batch,4,4]; a = i64{0}; u = Unsqueeze(x,a); g = GlobalMaxPool(u);"
          "c = AveragePool(u) kernel_shape=[3,3] pads=[1,1,1,1]; y = Squeeze(c,a);"
          "p = Softmax(y) axis=0; -> p",
          "p", true),
    MIXED("a window over the rows",
          "x: f32[batch,4]; a = i64{0,1}; u = Unsqueeze(x,a);"
          "c = MaxPool(u) kernel_shape=[3,1] pads=[1,0,1,0]; y = Squeeze(c,a); -> y",
          "c", true),
    MIXED(
        "a convolution along the rows",
        "x: f32[batch,4]; t = Transpose(x) perm=[1,0]; a = i64{0}; u = Unsqueeze(t,a);"
        "w = f32[4,4,3]; c = Conv(u,w) pads=[1,1]; q = Squeeze(c,a);"
        "y = Transpose(q) perm=[1,0]; -> y",
        "c", true),
    MIXED(
        "a mean per channel of all",
        "x: f32[batch,4]; t = Transpose(x) perm=[1,0]; a = i64{0}; u = Unsqueeze(t,a);"
        "s = f32[4]; b = f32[4]; n = InstanceNormalization(u,s,b); q = Squeeze(n,a);"
        "y = Transpose(q) perm=[1,0]; -> y",
        "n", true),
    MIXED("statistics of the batch",
          "x: f32[batch,4,6]; s = f32[4]; b = f32[4]; m = f32[4]; v = f32{0.5,1,2,3};"
          "y = BatchNormalization(x,s,b,m,v) training_mode=1; -> y",
          "it takes the mean over them", true),
    MIXED("another row's column",
          "x: f32[batch,4]; i: i64[batch]; y = Gather(x,i) axis=1; -> y", "y", false),
    MIXED("rows by their own index",
          "x: f32[batch,4]; i: i64[batch]; z = i64(0); j = Mul(i,z); y = Gather(x,j); "
          "-> y",
          "y", true),
    MIXED("different rows against each other",
          "x: f32[batch,1]; z: f32[batch]; y = Add(x,z); -> y", "y", false),
    MIXED("squeezed when there is one",
          "x: f32[batch,4]; y = Squeeze(x); z = Relu(y); -> z", "y", false),
    MIXED("an output without rows",
          "x: f32[batch,4]; w = f32[3]; z = Relu(w); y = Relu(x); -> y,z", "'z'",
          false),
    MIXED("a table cut by the number of rows",
          "x: f32[batch,4]; w = f32[9,4]; s = Shape(x) end=1; z = i64{0}; t = "
          "Slice(w,z,s,z);"
          "y = Add(x,t); -> y",
          "y", true),
    MIXED("a start that depends on the rows",
          "x: f32[batch,20]; s = Shape(x) end=1; n = i64{3}; e = Add(s,n); a = i64{1};"
          "y = Slice(x,s,e,a); -> y",
          "y", true),
    MIXED(
        "a factor for many rows",
        "x: f32[batch,4]; s = Shape(x) end=1; l = i64{1}; g = Greater(s,l); a = f32{2};"
        "b = f32{3}; f = Where(g,a,b); y = Mul(x,f); -> y",
        "y", true),
};

/* Models with these run alone: nobody has written their rules yet. */
static const char *const without_rule[] = {"AffineGrid",
                                           "Bernoulli",
                                           "Col2Im",
                                           "Compress",
                                           "DeformConv",
                                           "Det",
                                           "DynamicQuantizeLinear",
                                           "Einsum",
                                           "EyeLike",
                                           "If",
                                           "Loop",
                                           "MaxUnpool",
                                           "MeanVarianceNormalization",
                                           "NegativeLogLikelihoodLoss",
                                           "NonMaxSuppression",
                                           "NonZero",
                                           "OneHot",
                                           "QGemm",
                                           "QLinearAdd",
                                           "QLinearAveragePool",
                                           "QLinearConcat",
                                           "QLinearGlobalAveragePool",
                                           "QLinearLeakyRelu",
                                           "QLinearMatMul",
                                           "QLinearMul",
                                           "QLinearReduceMean",
                                           "QLinearSigmoid",
                                           "QLinearSoftmax",
                                           "QLinearWhere",
                                           "RandomNormal",
                                           "RandomNormalLike",
                                           "RandomUniform",
                                           "RandomUniformLike",
                                           "RoiAlign",
                                           "Scan",
                                           "ScatterND",
                                           "SoftmaxCrossEntropyLoss",
                                           "TfIdfVectorizer",
                                           "Unique"};

static bool is_listed(const char *name, const char *const *list, size_t count)
{
    size_t i = 0;
    while (i < count && strcmp(name, list[i]) != 0) {
        i++;
    }
    return i < count;
}

/* Every operator that can be in a graph has a rule, is a constant by then, or is known
 * to have none. */
static void each_operator_has_a_rule(void **state)
{
    (void)state;
    static const char *const constant[] = {
        "BlackmanWindow", "Constant",        "HammingWindow",
        "HannWindow",     "MelWeightMatrix", "OptionalHasElement",
        "Range",          "Shape",           "Size"};
    const wefti_operator *op;
    for (size_t i = 0; (op = wefti_operator_at(i)) != NULL; i++) {
        bool needed =
            strcmp(op->domain, "weft") != 0 &&
            !is_listed(op->name, constant, sizeof constant / sizeof *constant) &&
            !is_listed(op->name, without_rule, sizeof without_rule / sizeof *constant);
        if (needed != (wefti_rows_find_rule(op) != NULL)) {
            fail_msg("%s: %s", op->name, needed ? "has no rule" : "needs no rule");
        }
    }
}

/* Rows in the middle: for one row the transposes move nothing, so the addition goes
 * into the product; for more they do, and it stays an addition. */
static void refuses_what_is_planned_in_another_way(void **state)
{
    (void)state;
    static const text_case c =
        NET("rows in the middle",
            "x: f32[4,batch,8]; t = Transpose(x) perm=[1,0,2]; s = Softmax(t);"
            "u = Transpose(s) perm=[1,0,2]; w = f32[8,8]; p = MatMul(u,w);"
            "y = Add(x,p); -> y");
    weft_tensor input = {.type = WEFT_TYPE_F32, .rank = 3, .dims = {4, 7, 8}};
    int32_t axis = 1, output_axis = -9;
    for (int fused = 0; fused < 2; fused++) {
        weft_error error = {0};
        weft_model *model = make_model(&c, devices[0], fused == 0);
        weft_status status = check(model, &input, &axis, &output_axis, &error);
        assert_int_equal(status, fused == 0 ? WEFT_OK : WEFT_UNSUPPORTED);
        assert_int_equal(output_axis, 1);
        if (fused != 0) {
            assert_non_null(strstr(error.message, "MatMul 'p' is planned in another"));
        }
        weft_model_release(model);
    }
}

/* One matrix for all, written with more dims: the kernel does not depend on how many
 * rows there are. */
static void multiplies_bytes_by_one_kernel(void **state)
{
    (void)state;
    static const text_case c =
        NET("bytes", "x: f32[batch,5,8]; s = f32(0.05); q = QuantizeLinear(x,s);"
                     "v = f32[1,8,6]; w = Cast(v) to=3; y = MatMulInteger(q,w); -> y");
    weft_model *model = make_model(&c, devices[0], false);
    for (int64_t rows = 1; rows < 5; rows++) {
        weft_tensor input = {.type = WEFT_TYPE_F32, .rank = 3, .dims = {rows, 5, 8}};
        weft_io io = {.inputs = &input, .input_count = 1};
        weft_error error = {0};
        char *text = NULL;
        if (weft_model_dump_plan(model, &io, &text, &error) != WEFT_OK) {
            fail_msg("%s", error.message);
        }
        if (strstr(text, "matmul_bytes") == NULL) {
            fail_msg("%d rows: %s", (int)rows, text);
        }
        weft_text_free(text);
    }
    weft_model_release(model);
}

/* A dimension to find: the text of the inputs, the name asked for, and the axes or
 * words of the refusal. */
typedef struct axes_case {
    const char *inputs, *dimension, *words;
    int32_t axes[2];
} axes_case;

static void finds_the_batch_dimension(void **state)
{
    (void)state;
    static const axes_case cases[] = {
        {"x: f32[batch,4]", NULL, NULL, {0}},
        {"x: f32[N,4]; z: f32[4,N]", NULL, NULL, {0, 1}},
        {"x: f32[rows,4]", NULL, NULL, {0}},
        {"x: f32[4,rows]", NULL, NULL, {1}},
        {"x: f32[s,batch_size,4]", NULL, NULL, {1}},
        {"x: f32[s,t,4]", NULL, NULL, {0}},
        {"x: f32[s,t,4]", "t", NULL, {1}},
        {"x: f32[b,s]; z: f32[b,s]", NULL, NULL, {0, 0}},
        {"x: f32[s,4]; z: f32[s,t]", NULL, NULL, {0, 0}},
        {"x: f32[?,4]", NULL, NULL, {0}},
        {"x: f32[?,?]", NULL, NULL, {0}},
        {"x: f32[?,batch]", NULL, NULL, {1}},
        {"x: f32[4,?]", NULL, "no dynamic dimension", {0}},
        {"x: f32[?,4]; z: f32[?,4]", NULL, "no dynamic dimension", {0}},
        {"x: f32[3,4]", NULL, "'x' has a fixed shape", {0}},
        {"x: f32[batch,4]; z: f32[3,4]", NULL, "'z' has a fixed shape", {0}},
        {"x: f32[batch,4]; z: f32[n,4]", NULL, "no dynamic dimension", {0}},
        {"x: f32[4,s,t]; z: f32[4,s,t]", NULL, "'s' and 't'", {0}},
        {"x: f32[n,b]", NULL, NULL, {0}},
        {"x: f32[4,n,b]", NULL, "'n' and 'b'", {0}},
        {"x: f32[batch,batch]", NULL, "no dynamic dimension", {0}},
        {"x: f32[batch,batch]", "batch", "more than once", {0}},
        {"x: f32[batch,4]", "rows", "'x' has no dynamic dimension 'rows'", {0}},
        {"x: f32[batch,4]; z: f32[4]", "batch", "'z' has no dynamic", {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const axes_case *c = &cases[i];
        char text[200];
        snprintf(text, sizeof text, "%s; y = Relu(x); -> y", c->inputs);
        text_case whole = {.name = c->inputs, .text = text};
        weft_model *model = make_model(&whole, devices[0], false);
        int32_t axes[2] = {-9, -9};
        weft_error error = {0};
        weft_status status = wefti_model_batch_axes(model, c->dimension, axes, &error);
        bool right = c->words == NULL ? status == WEFT_OK && axes[0] == c->axes[0] &&
                                            (axes[1] == c->axes[1] || axes[1] == -9)
                                      : status == WEFT_UNSUPPORTED &&
                                            strstr(error.message, c->words) != NULL;
        if (!right) {
            fail_msg("%s: %s, %d, %d, %s", c->inputs, weft_status_name(status),
                     (int)axes[0], (int)axes[1], error.message);
        }
        weft_model_release(model);
    }
}

static void refuses_wrong_shapes(void **state)
{
    (void)state;
    static const text_case c =
        NET("two inputs", "x: f32[batch,4]; z: f32[n,4]; y = Relu(x); -> y");
    weft_model *model = make_model(&c, devices[0], false);
    weft_tensor inputs[2] = {{.type = WEFT_TYPE_F32, .rank = 2, .dims = {3, 4}},
                             {.type = WEFT_TYPE_F32, .rank = 2, .dims = {2, 4}}};
    int32_t axes[2] = {0, 0}, output_axes[1];
    weft_error error;
    assert_int_equal(check(model, inputs, axes, output_axes, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "'z'"));
    inputs[1].dims[0] = 3;
    axes[1] = 2;
    assert_int_equal(check(model, inputs, axes, output_axes, &error),
                     WEFT_INVALID_ARGUMENT);
    axes[1] = -1;
    assert_int_equal(check(model, inputs, axes, output_axes, &error),
                     WEFT_INVALID_ARGUMENT);
    axes[1] = 0;
    inputs[0].dims[0] = inputs[1].dims[0] = 0;
    assert_int_equal(check(model, inputs, axes, output_axes, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_io none = {.input_count = 1, .inputs = inputs};
    assert_int_equal(wefti_model_check_rows(model, &none, axes, output_axes, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_model_release(model);
}

/* Every allocation fails once; nothing is lost, and the answer is that of memory. */
static void survives_missing_memory(void **state)
{
    (void)state;
    static const text_case c =
        NET("a net", "x: f32[batch,4,6]; s = Shape(x) end=1; o = i64{1,6};"
                     "d = Concat(s,o) axis=0; c = f32[1,1,6]; e = Expand(c,d);"
                     "y = Concat(e,x) axis=1; w = f32[6,3]; m = MatMul(y,w); -> m");
    weft_model *model = make_model(&c, devices[0], false);
    weft_tensor input = {.type = WEFT_TYPE_F32, .rank = 3, .dims = {3, 4, 6}};
    int32_t axis = 0, output_axis;
    weft_error error;
    weft_status status = WEFT_OUT_OF_MEMORY;
    uint64_t n = 1;
    for (; status != WEFT_OK; n++) {
        wefti_fault_arm(n, 1U << WEFTI_FAULT_ALLOCATION);
        status = check(model, &input, &axis, &output_axis, &error);
        wefti_fault_arm(0, 0);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
    }
    assert_true(n > 10);
    weft_model_release(model);
}

static int open_devices(void **state)
{
    (void)state;
    device_count = rows_case_open_devices(devices);
    return device_count >= 2 ? 0 : -1;
}

static int close_devices(void **state)
{
    (void)state;
    for (size_t i = 0; i < device_count; i++) {
        weft_device_release(devices[i]);
    }
    return 0;
}

int main(void)
{
    enum {
        APART_COUNT = sizeof apart / sizeof *apart,
        MIXED_COUNT = sizeof mixed / sizeof *mixed,
        OTHERS = 5,
    };
    static struct CMUnitTest tests[APART_COUNT + MIXED_COUNT + OTHERS] = {
        cmocka_unit_test(each_operator_has_a_rule),
        cmocka_unit_test(finds_the_batch_dimension),
        cmocka_unit_test(refuses_wrong_shapes),
        cmocka_unit_test(refuses_what_is_planned_in_another_way),
        cmocka_unit_test(multiplies_bytes_by_one_kernel),
        cmocka_unit_test(survives_missing_memory),
    };
    for (size_t i = 0; i < APART_COUNT + MIXED_COUNT; i++) {
        const text_case *c = i < APART_COUNT ? &apart[i] : &mixed[i - APART_COUNT];
        tests[OTHERS + i] = (struct CMUnitTest){
            .name = c->name,
            .test_func = i < APART_COUNT ? keeps_rows_apart : sees_that_rows_mix,
            .initial_state = (void *)(uintptr_t)c};
    }
    return cmocka_run_group_tests_name("rows", tests, open_devices, close_devices);
}

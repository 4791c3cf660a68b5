/* SPDX-License-Identifier: Apache-2.0 */
/* tf32, bf16 and f16 on a card, or on the tests' stand-in for one: against sums in f64
 * of operands that are rounded here, and the same bits for every shape of tiles, slot
 * and number of neighbours. */
#include <stdio.h>

#include "backend/cuda/launch.h"
#include "support/kernel_device.h"

static const weft_precision precisions[] = {WEFT_PRECISION_TF32, WEFT_PRECISION_BF16,
                                            WEFT_PRECISION_F16};
enum { TILES = 3 };

/* Rounds as include/weft/device.h says. */
static double rounded(weft_precision precision, double x)
{
    const int bits = precision == WEFT_PRECISION_BF16 ? 8 : 11;
    int exponent;
    (void)frexp(x, &exponent);
    if (precision == WEFT_PRECISION_F16 && exponent < -13) {
        exponent = -13; /* what is smaller than 2^-14 has the steps of 2^-14 */
    }
    const double one = ldexp(1.0, exponent - bits);
    const double result =
        (precision == WEFT_PRECISION_TF32 ? round(x / one) : nearbyint(x / one)) * one;
    return precision == WEFT_PRECISION_F16 && fabs(result) > 65504.0
               ? copysign(INFINITY, x)
               : result;
}

/* What an operand loses at most, relative to it. */
static double unit(weft_precision precision)
{
    return precision == WEFT_PRECISION_BF16 ? 0x1p-8 : 0x1p-11;
}

/* How far a chain may be from the exact sum of its rounded operands, of absolute values
 * `size` together. A step of 16 (8) brings its products and the sum so far to the
 * largest one's exponent and may cut off each below 2^-23 of it, then the sum. */
static double chain_bound(weft_precision precision, int64_t k, double size)
{
    const int64_t step = precision == WEFT_PRECISION_TF32 ? 8 : 16;
    return (double)((k + step - 1) / step * (step + 2)) * 0x1p-23 * size;
}

/* A product of test cases. */
typedef struct product_case {
    wefti_matmul_params p;
    kernel_case c;
    float *a, *b, *bias, *residual, *kept, *got;
    size_t count;
} product_case;

typedef struct form {
    int64_t m, n, k, batch;
    bool transposed_a, transposed_b, constant_b, shared_b, finished;
    int64_t gap;
} form;

static void make(product_case *x, form f, uint64_t seed)
{
    const int64_t a_one = (f.m + f.gap) * (f.k + f.gap);
    const int64_t b_one = (f.n + f.gap) * (f.k + f.gap);
    *x = (product_case){.p = {.m = f.m,
                              .n = f.n,
                              .k = f.k,
                              .a_row_stride = f.transposed_a ? 1 : f.k + f.gap,
                              .a_column_stride = f.transposed_a ? f.m + f.gap : 1,
                              .b_row_stride = f.transposed_b ? 1 : f.n + f.gap,
                              .b_column_stride = f.transposed_b ? f.k + f.gap : 1,
                              .c_row_stride = f.n + f.gap,
                              .batch_rank = 1,
                              .batch_dims = {f.batch},
                              .a_batch_strides = {a_one},
                              .b_batch_strides = {f.shared_b ? 0 : b_one},
                              .c_batch_strides = {(f.m + f.gap) * (f.n + f.gap)},
                              .alpha = 1.0f}};
    x->count = (size_t)(f.batch * x->p.c_batch_strides[0]);
    x->a = kernel_random((size_t)(f.batch * a_one), seed);
    x->b = kernel_random((size_t)(f.batch * b_one), seed + 1);
    x->bias = kernel_random((size_t)f.n, seed + 2);
    x->residual = kernel_random(x->count, seed + 3);
    x->kept = kernel_random(x->count, seed + 4);
    x->got = kernel_alloc(x->count * sizeof(float));
    kernel_case_init(&x->c, WEFTI_KERNEL_MATMUL, &x->p, sizeof(x->p));
    kernel_case_operand(&x->c, WEFTI_MATMUL_A, x->a, false);
    kernel_case_operand(&x->c, WEFTI_MATMUL_B, x->b, f.constant_b);
    kernel_case_output(&x->c, WEFTI_MATMUL_C, x->kept, x->count);
    if (f.finished) {
        x->p.alpha = 0.375f;
        x->p.bias = WEFTI_BIAS_COLUMN;
        x->p.activation = WEFTI_ACTIVATION_RELU;
        kernel_case_operand(&x->c, WEFTI_MATMUL_BIAS, x->bias, false);
        kernel_case_operand(&x->c, WEFTI_MATMUL_RESIDUAL, x->residual, false);
    }
}

static void drop(product_case *x)
{
    kernel_free(x->a);
    kernel_free(x->b);
    kernel_free(x->bias);
    kernel_free(x->residual);
    kernel_free(x->kept);
    kernel_free(x->got);
}

static void check_element(const product_case *x, weft_precision precision,
                          int64_t batch, int64_t m, int64_t n)
{
    const wefti_matmul_params *p = &x->p;
    const float *a = x->a + batch * p->a_batch_strides[0] + m * p->a_row_stride;
    const float *b = x->b + batch * p->b_batch_strides[0] + n * p->b_column_stride;
    const size_t at = (size_t)(batch * p->c_batch_strides[0] + m * p->c_row_stride + n);
    double sum = 0, size = 0;
    for (int64_t k = 0; k < p->k; k++) {
        const double product = rounded(precision, (double)a[k * p->a_column_stride]) *
                               rounded(precision, (double)b[k * p->b_row_stride]);
        sum += product;
        size += fabs(product);
    }
    double bound = chain_bound(precision, p->k, size) * (double)p->alpha;
    sum *= (double)p->alpha;
    if (p->bias != WEFTI_BIAS_NONE) {
        sum += (double)x->bias[n] + (double)x->residual[at];
        bound += 0x1p-22 * (size + 2.0); /* four roundings of f32 */
    }
    sum = p->activation == WEFTI_ACTIVATION_RELU && sum < 0 ? 0 : sum;
    if (!(fabs((double)x->got[at] - sum) <= bound)) {
        fail_msg("%s [%lld %lld %lld] batch %lld m %lld n %lld: %a instead of %a, "
                 "bound %g",
                 weft_precision_name(precision), (long long)p->m, (long long)p->n,
                 (long long)p->k, (long long)batch, (long long)m, (long long)n,
                 (double)x->got[at], sum, bound);
    }
}

/* Every element of the output block, also what lies between the rows. */
static void check_product(const product_case *x, weft_precision precision)
{
    const wefti_matmul_params *p = &x->p;
    for (size_t i = 0; i < x->count; i++) {
        const int64_t at = (int64_t)i % p->c_batch_strides[0];
        const int64_t m = at / p->c_row_stride, n = at % p->c_row_stride;
        if (m < p->m && n < p->n) {
            check_element(x, precision, (int64_t)i / p->c_batch_strides[0], m, n);
        } else {
            assert_memory_equal(&x->got[i], &x->kept[i], sizeof(float));
        }
    }
}

static int64_t pick(uint64_t *seed)
{
    static const int64_t sizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 70};
    return sizes[kernel_next(seed) % WEFTI_COUNT_OF(sizes)];
}

/* All shapes of tiles give the same bits, and these are right. */
static void check_all_tiles(product_case *x, weft_precision precision)
{
    float *other = kernel_alloc(x->count * sizeof(float));
    kernel_device_run(&x->c, precision, x->got);
    check_product(x, precision);
    for (int32_t tiles = 0; tiles < TILES; tiles++) {
        wefti_cuda_testing_use_tiles(tiles);
        kernel_device_run(&x->c, precision, other);
        wefti_cuda_testing_use_tiles(-1);
        assert_memory_equal(other, x->got, x->count * sizeof(float));
    }
    kernel_free(other);
}

static void test_products(void **state)
{
    (void)state;
    uint64_t seed = 51;
    for (uint32_t round = 0; round < 36; round++) {
        const uint64_t bits = kernel_next(&seed);
        const form f = {.m = pick(&seed),
                        .n = pick(&seed),
                        .k = round == 7 ? 300 : pick(&seed),
                        .batch = 1 + (int64_t)(bits % 2),
                        .transposed_a = (bits & 4) != 0,
                        .transposed_b = (bits & 8) != 0,
                        .constant_b = (bits & 16) != 0,
                        .shared_b = (bits & 32) != 0,
                        .finished = (bits & 64) != 0,
                        .gap = (bits & 128) != 0 ? 3 : 0};
        product_case x;
        make(&x, f, round);
        check_all_tiles(&x, precisions[round % WEFTI_COUNT_OF(precisions)]);
        drop(&x);
    }
}

/* A row alone, and a row among others; a weight that is packed, and one that comes
 * with each run. */
static void test_rows_and_weights(void **state)
{
    (void)state;
    for (size_t round = 0; round < 2 * WEFTI_COUNT_OF(precisions); round++) {
        const size_t i = round / 2;
        form f = {.m = 37, .n = 40, .batch = 1, .transposed_b = true};
        f.k = round % 2 == 0 ? 83 : 84; /* rows of whole fours are fetched so */
        product_case all, one;
        make(&all, f, 9);
        kernel_device_run(&all.c, precisions[i], all.got);
        f.constant_b = true;
        make(&one, f, 9);
        kernel_device_run(&one.c, precisions[i], one.got);
        assert_memory_equal(one.got, all.got, all.count * sizeof(float));
        for (int64_t row = 0; row < 37; row += 6) {
            one.p.m = 1;
            kernel_case_operand(&one.c, WEFTI_MATMUL_A, one.a + row * one.p.k, false);
            kernel_device_run(&one.c, precisions[i], one.got);
            assert_memory_equal(one.got, all.got + row * 40, 40 * sizeof(float));
        }
        drop(&all);
        drop(&one);
    }
}

/* Operands that are halfway between two numbers, tiny, huge or not finite; f32 would
 * give other numbers. */
static void test_odd_operands(void **state)
{
    (void)state;
    static const float odd[] = {1.0f + 0x1p-8f,  1.0f + 0x3p-8f,
                                1.0f + 0x1p-11f, 1.0f + 0x3p-11f,
                                0x1p-15f,        0x1.8p-24f,
                                0x1p-25f,        0x1p-130f,
                                65519.0f,        65520.0f,
                                0x1p120f,        -65520.0f,
                                -1.0f - 0x1p-8f, -1.0f - 0x1p-11f,
                                -0x1.8p-24f,     0.0f,
                                INFINITY,        NAN};
    enum { COUNT = sizeof(odd) / sizeof(odd[0]) };
    for (size_t i = 0; i < 2 * WEFTI_COUNT_OF(precisions); i++) {
        const weft_precision precision = precisions[i / 2];
        product_case x;
        make(&x, (form){.m = COUNT, .n = 3, .k = 1, .batch = 1, .constant_b = i % 2},
             3);
        memcpy(x.a, odd, sizeof(odd));
        x.b[0] = 1.0f;
        x.b[1] = 1.0f + 0x1p-8f;
        x.b[2] = 0x1p-15f;
        kernel_device_run(&x.c, precision, x.got);
        for (int32_t e = 0; e < 3 * COUNT; e++) {
            const double expected = rounded(precision, (double)odd[e / 3]) *
                                    rounded(precision, (double)x.b[e % 3]);
            if (expected == expected) {
                assert_true((double)x.got[e] == (double)(float)expected);
            } else {
                const uint32_t nan = 0x7fc00000;
                assert_memory_equal(&x.got[e], &nan, sizeof(nan));
            }
        }
        drop(&x);
    }
}

typedef struct window {
    wefti_conv_params p;
    const float *input, *weight, *bias;
} window;

/* An output in f64, and the size of what it is the sum of. */
static double convolve(const window *w, weft_precision precision, int64_t at,
                       double *size)
{
    const wefti_conv_params *p = &w->p;
    const int64_t plane = p->out_dims[1] * p->out_dims[2];
    const int64_t x = at % p->out_dims[2], y = at / p->out_dims[2] % p->out_dims[1];
    const int64_t channel = at / plane % p->out_channels;
    const int64_t image = at / plane / p->out_channels;
    const int64_t each = p->in_channels / p->groups;
    const int64_t group = channel / (p->out_channels / p->groups);
    const int64_t kernel = p->kernel_dims[1] * p->kernel_dims[2];
    double sum = 0;
    *size = 0;
    for (int64_t k = 0; k < each * kernel; k++) {
        const int64_t in_y = y * p->strides[1] - p->pads_begin[1] +
                             k % kernel / p->kernel_dims[2] * p->dilations[1];
        const int64_t in_x = x * p->strides[2] - p->pads_begin[2] +
                             k % p->kernel_dims[2] * p->dilations[2];
        if (in_y < 0 || in_y >= p->in_dims[1] || in_x < 0 || in_x >= p->in_dims[2]) {
            continue;
        }
        const int64_t from = image * p->in_channels + group * each + k / kernel;
        const double product =
            rounded(precision,
                    (double)w
                        ->input[(from * p->in_dims[1] + in_y) * p->in_dims[2] + in_x]) *
            rounded(precision, (double)w->weight[channel * each * kernel + k]);
        sum += product;
        *size += fabs(product);
    }
    return sum + (double)w->bias[channel];
}

static void check_conv(window *w, weft_precision precision, uint64_t seed)
{
    wefti_conv_params *p = &w->p;
    const int64_t each = p->in_channels / p->groups;
    const size_t in =
        (size_t)(p->batch * p->in_channels * p->in_dims[1] * p->in_dims[2]);
    const size_t out =
        (size_t)(p->batch * p->out_channels * p->out_dims[1] * p->out_dims[2]);
    const size_t weights =
        (size_t)(p->out_channels * each * p->kernel_dims[1] * p->kernel_dims[2]);
    float *input = kernel_random(in, seed), *weight = kernel_random(weights, seed + 1);
    float *bias = kernel_random((size_t)p->out_channels, seed + 2);
    float *got[TILES], *kept = kernel_random(out, seed + 3);
    w->input = input;
    w->weight = weight;
    w->bias = bias;
    kernel_case c;
    kernel_case_init(&c, WEFTI_KERNEL_CONV, p, sizeof(*p));
    kernel_case_operand(&c, WEFTI_CONV_INPUT, input, false);
    kernel_case_operand(&c, WEFTI_CONV_WEIGHT, weight, true);
    kernel_case_operand(&c, WEFTI_CONV_BIAS, bias, true);
    kernel_case_output(&c, WEFTI_CONV_OUTPUT, kept, out);
    for (int32_t tiles = 0; tiles < TILES; tiles++) {
        got[tiles] = kernel_alloc(out * sizeof(float));
        wefti_cuda_testing_use_tiles(tiles);
        kernel_device_run(&c, precision, got[tiles]);
        wefti_cuda_testing_use_tiles(-1);
        assert_memory_equal(got[tiles], got[0], out * sizeof(float));
    }
    for (size_t i = 0; i < out; i++) {
        double size, sum = convolve(w, precision, (int64_t)i, &size);
        const int64_t k = each * p->kernel_dims[1] * p->kernel_dims[2];
        const double bound = chain_bound(precision, k, size) + 0x1p-23 * (size + 1.0);
        assert_true(fabs((double)got[0][i] - sum) <= bound);
    }
    for (int32_t tiles = 0; tiles < TILES; tiles++) {
        kernel_free(got[tiles]);
    }
    kernel_free(input);
    kernel_free(weight);
    kernel_free(bias);
    kernel_free(kept);
}

static void test_convolutions(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (uint32_t round = 0; round < 12; round++) {
        const int64_t groups = 1 + (int64_t)(kernel_next(&seed) % 2);
        window w = {.p = {.batch = 1 + (int64_t)(kernel_next(&seed) % 3),
                          .in_channels = groups * (1 + round % 5),
                          .out_channels = groups * (1 + (int64_t)(round * 7 % 20)),
                          .groups = groups,
                          .in_dims = {1, 5 + round % 4, 4 + round % 7},
                          .kernel_dims = {1, 1 + round % 3, 3},
                          .strides = {1, 1 + round % 2, 1},
                          .dilations = {1, 1, 1 + round / 6},
                          .pads_begin = {0, round % 2, 1}}};
        for (int32_t d = 0; d < 3; d++) {
            w.p.out_dims[d] = (w.p.in_dims[d] + 2 * w.p.pads_begin[d] -
                               w.p.dilations[d] * (w.p.kernel_dims[d] - 1) - 1) /
                                  w.p.strides[d] +
                              1;
        }
        check_conv(&w, precisions[round % WEFTI_COUNT_OF(precisions)], round);
    }
}

/* Attention over heads that lie side by side, as a projection makes them. */
typedef struct heads {
    wefti_attention_params p;
    kernel_case c;
    float *q, *k, *v, *mask, *kept, *got;
    size_t count;
} heads;

static void make_heads(heads *x, wefti_attention_params p, bool masked, uint64_t seed)
{
    const int64_t q_row = p.heads * p.head_size, k_row = p.kv_heads * p.head_size;
    const int64_t v_row = p.kv_heads * p.value_size, o_row = p.heads * p.value_size;
    *x = (heads){.p = p};
    x->p.scale = 0.5f;
    x->p.q = (wefti_attention_strides){p.query_length * q_row, p.head_size, q_row};
    x->p.k = (wefti_attention_strides){p.key_length * k_row, p.head_size, k_row};
    x->p.v = (wefti_attention_strides){p.key_length * v_row, p.value_size, v_row};
    x->p.output =
        (wefti_attention_strides){p.query_length * o_row, p.value_size, o_row};
    x->q = kernel_random((size_t)(p.batch * x->p.q.batch), seed);
    x->k = kernel_random((size_t)(p.batch * x->p.k.batch), seed + 1);
    x->v = kernel_random((size_t)(p.batch * x->p.v.batch), seed + 2);
    x->mask = kernel_random((size_t)(p.query_length * p.key_length), seed + 3);
    x->count = (size_t)(p.batch * x->p.output.batch);
    x->kept = kernel_random(x->count, seed + 4);
    x->got = kernel_alloc(x->count * sizeof(float));
    kernel_case_init(&x->c, WEFTI_KERNEL_ATTENTION, &x->p, sizeof(x->p));
    kernel_case_operand(&x->c, WEFTI_ATTENTION_Q, x->q, false);
    kernel_case_operand(&x->c, WEFTI_ATTENTION_K, x->k, false);
    kernel_case_operand(&x->c, WEFTI_ATTENTION_V, x->v, false);
    kernel_case_output(&x->c, WEFTI_ATTENTION_OUTPUT, x->kept, x->count);
    if (masked) {
        x->p.mask_type = WEFT_TYPE_F32;
        x->p.mask_strides[2] = p.key_length;
        x->p.mask_strides[3] = 1;
        for (int64_t key = 0; key < p.key_length; key++) {
            x->mask[key] = -INFINITY; /* the first query sees nothing */
        }
        kernel_case_operand(&x->c, WEFTI_ATTENTION_MASK, x->mask, false);
    }
}

static void drop_heads(heads *x)
{
    kernel_free(x->q);
    kernel_free(x->k);
    kernel_free(x->v);
    kernel_free(x->mask);
    kernel_free(x->kept);
    kernel_free(x->got);
}

/* Which query of which head. */
typedef struct place {
    int64_t batch, head, query;
} place;

/* The scores of a query in f64; returns what they may be off by. */
static double find_scores(const heads *x, weft_precision precision, place at,
                          double *scores)
{
    const wefti_attention_params *p = &x->p;
    const int64_t kv = at.head / (p->heads / p->kv_heads);
    const float *q =
        x->q + at.batch * p->q.batch + at.head * p->q.head + at.query * p->q.row;
    double off = 0;
    for (int64_t key = 0; key < p->key_length; key++) {
        const float *k = x->k + at.batch * p->k.batch + kv * p->k.head + key * p->k.row;
        double sum = 0, size = 0;
        for (int64_t d = 0; d < p->head_size; d++) {
            const double product =
                rounded(precision, (double)q[d]) * rounded(precision, (double)k[d]);
            sum += product;
            size += fabs(product);
        }
        sum *= (double)p->scale;
        off = fmax(off,
                   chain_bound(precision, p->head_size, size) + 0x1p-22 * (size + 2.0));
        if (p->mask_strides[3] != 0) {
            sum += (double)x->mask[at.query * p->key_length + key];
        }
        const bool hidden =
            p->causal && key > at.query + p->key_length - p->query_length;
        scores[key] = hidden ? -INFINITY : sum;
    }
    return off;
}

/* One query of one head: weights may be off by what scores are, by one rounding to the
 * format (the smallest of f16 by 2^-25), and as much as f32's own functions. */
static void check_query(const heads *x, weft_precision precision, place at)
{
    const wefti_attention_params *p = &x->p;
    const int64_t kv = at.head / (p->heads / p->kv_heads);
    double *scores = test_malloc((size_t)p->key_length * sizeof(*scores));
    double total = 0, largest = -INFINITY;
    const double off = find_scores(x, precision, at, scores);
    for (int64_t key = 0; key < p->key_length; key++) {
        largest = fmax(largest, scores[key]);
    }
    for (int64_t key = 0; key < p->key_length; key++) {
        scores[key] = largest == -INFINITY ? 0 : exp(scores[key] - largest);
        total += scores[key];
    }
    for (int64_t column = 0; column < p->value_size; column++) {
        double sum = 0, size = 0, most = 0;
        for (int64_t key = 0; key < p->key_length; key++) {
            const double v =
                rounded(precision, (double)x->v[at.batch * p->v.batch + kv * p->v.head +
                                                key * p->v.row + column]);
            sum += scores[key] * v;
            size += fabs(scores[key] * v);
            most = fmax(most, fabs(v));
        }
        const double factor = largest == -INFINITY ? 0 : 1 / total;
        const double bound = (size * (unit(precision) + 4 * off + 0x1p-20) +
                              chain_bound(precision, p->key_length, size) +
                              (double)p->key_length * 0x1p-25 * most) *
                             factor;
        const float got = x->got[at.batch * p->output.batch + at.head * p->output.head +
                                 at.query * p->output.row + column];
        assert_true(fabs((double)got - sum * factor) <= bound);
    }
    test_free(scores);
}

static void test_attention(void **state)
{
    (void)state;
    static const wefti_attention_params cases[] = {
        {.batch = 2,
         .heads = 2,
         .kv_heads = 2,
         .query_length = 19,
         .key_length = 19,
         .head_size = 16,
         .value_size = 16},
        {.batch = 1,
         .heads = 4,
         .kv_heads = 2,
         .query_length = 5,
         .key_length = 77,
         .head_size = 20,
         .value_size = 7},
        {.batch = 1,
         .heads = 1,
         .kv_heads = 1,
         .query_length = 17,
         .key_length = 131,
         .head_size = 72,
         .value_size = 68,
         .causal = true},
        {.batch = 1,
         .heads = 2,
         .kv_heads = 1,
         .query_length = 3,
         .key_length = 261,
         .head_size = 9,
         .value_size = 66},
    };
    for (size_t i = 0; i < 3 * WEFTI_COUNT_OF(cases); i++) {
        const weft_precision precision = precisions[i % 3];
        heads x;
        make_heads(&x, cases[i / 3], i % 2 != 0, i);
        kernel_device_run(&x.c, precision, x.got);
        const wefti_attention_params *p = &x.p;
        for (int64_t row = 0; row < p->batch * p->heads * p->query_length; row++) {
            check_query(&x, precision,
                        (place){row / p->query_length / p->heads,
                                row / p->query_length % p->heads,
                                row % p->query_length});
        }
        drop_heads(&x);
    }
}

/* A batch alone and among others, and keys that are hidden behind: few keys lie in
 * shared memory, many in scratch memory. */
static void test_attention_neighbours(void **state)
{
    (void)state;
    const wefti_attention_params params = {.batch = 3,
                                           .heads = 2,
                                           .kv_heads = 2,
                                           .query_length = 18,
                                           .key_length = 40,
                                           .head_size = 24,
                                           .value_size = 24};
    for (size_t i = 0; i < WEFTI_COUNT_OF(precisions); i++) {
        heads all, one;
        make_heads(&all, params, false, 4);
        make_heads(&one, params, false, 4);
        kernel_device_run(&all.c, precisions[i], all.got);
        one.p.batch = 1;
        for (int64_t batch = 0; batch < 3; batch++) {
            kernel_case_operand(&one.c, WEFTI_ATTENTION_Q,
                                one.q + batch * one.p.q.batch, false);
            kernel_case_operand(&one.c, WEFTI_ATTENTION_K,
                                one.k + batch * one.p.k.batch, false);
            kernel_case_operand(&one.c, WEFTI_ATTENTION_V,
                                one.v + batch * one.p.v.batch, false);
            kernel_device_run(&one.c, precisions[i], one.got);
            assert_memory_equal(one.got, all.got + batch * all.p.output.batch,
                                (size_t)all.p.output.batch * sizeof(float));
        }
        drop_heads(&all);
        drop_heads(&one);
    }
}

int main(void)
{
    setenv("WEFT_TEST_DEVICE", "cuda:0", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_rows_and_weights),
        cmocka_unit_test(test_odd_operands),
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_neighbours),
    };
    return cmocka_run_group_tests_name("precision", tests, NULL, NULL);
}

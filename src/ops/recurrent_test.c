/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* LSTM, GRU and RNN against the formulas of ONNX in f64. */
enum { TIMES = 4, BATCH = 3, INPUTS = 5, HIDDEN = 6, MOST = 512 };

typedef struct trial {
    const char *op_type, *direction;
    bool batch_first, bias, states, peepholes, linear_before_reset, lengths;
} trial;

/* Of the sequences where a trial has lengths. */
static const int32_t lengths[BATCH] = {2, TIMES, 0};

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* What one direction is given; any of the last four may be NULL. */
typedef struct cell {
    const float *w, *r, *bias, *peepholes;
    double h[BATCH][HIDDEN], c[BATCH][HIDDEN];
} cell;

/* x W^T + bias of one gate; of the state: h R^T + bias. */
static double fed(const cell *l, const float *x, int gate, int row)
{
    double sum = l->bias ? (double)l->bias[gate * HIDDEN + row] : 0;
    for (int i = 0; i < INPUTS; i++) {
        sum += (double)x[i] * (double)l->w[(gate * HIDDEN + row) * INPUTS + i];
    }
    return sum;
}

static double recalled(const cell *l, const double *h, int gates, int gate, int row)
{
    double sum = l->bias ? (double)l->bias[(gates + gate) * HIDDEN + row] : 0;
    for (int i = 0; i < HIDDEN; i++) {
        sum += h[i] * (double)l->r[(gate * HIDDEN + row) * HIDDEN + i];
    }
    return sum;
}

static double peep(const cell *l, int which, int row)
{
    return l->peepholes ? (double)l->peepholes[which * HIDDEN + row] : 0;
}

static void lstm_row(cell *l, const float *x, int b)
{
    double before[HIDDEN];
    memcpy(before, l->h[b], sizeof(before));
    for (int j = 0; j < HIDDEN; j++) {
        double gates[4], c = l->c[b][j];
        for (int g = 0; g < 4; g++) {
            gates[g] = fed(l, x, g, j) + recalled(l, before, 4, g, j);
        }
        double in = sigmoid(gates[0] + peep(l, 0, j) * c);
        double forget = sigmoid(gates[2] + peep(l, 2, j) * c);
        c = forget * c + in * tanh(gates[3]);
        l->c[b][j] = c;
        l->h[b][j] = sigmoid(gates[1] + peep(l, 1, j) * c) * tanh(c);
    }
}

static void gru_row(cell *l, const float *x, int b, bool linear)
{
    double before[HIDDEN], reset[HIDDEN];
    memcpy(before, l->h[b], sizeof(before));
    for (int j = 0; j < HIDDEN; j++) {
        reset[j] = sigmoid(fed(l, x, 1, j) + recalled(l, before, 3, 1, j));
    }
    double scaled[HIDDEN];
    for (int j = 0; j < HIDDEN; j++) {
        scaled[j] = reset[j] * before[j];
    }
    for (int j = 0; j < HIDDEN; j++) {
        double z = sigmoid(fed(l, x, 0, j) + recalled(l, before, 3, 0, j));
        double n = linear ? reset[j] * recalled(l, before, 3, 2, j)
                          : recalled(l, scaled, 3, 2, j);
        n = tanh(fed(l, x, 2, j) + n);
        l->h[b][j] = (1 - z) * n + z * before[j];
    }
}

static void rnn_row(cell *l, const float *x, int b)
{
    double before[HIDDEN];
    memcpy(before, l->h[b], sizeof(before));
    for (int j = 0; j < HIDDEN; j++) {
        l->h[b][j] = tanh(fed(l, x, 0, j) + recalled(l, before, 1, 0, j));
    }
}

typedef struct answers {
    float y[MOST], h[MOST], c[MOST];
} answers;

/* Place of [time, direction, batch] and of [direction, batch] in the outputs. */
static int place_of(const trial *t, int directions, int time, int d, int b)
{
    return HIDDEN * (t->batch_first ? (b * TIMES + time) * directions + d
                                    : (time * directions + d) * BATCH + b);
}

static int state_of(const trial *t, int directions, int d, int b)
{
    return HIDDEN * (t->batch_first ? b * directions + d : d * BATCH + b);
}

static void run_direction(const trial *t, cell *l, const float *x, int directions,
                          int d, answers *a)
{
    bool back = d == 1 || strcmp(t->direction, "reverse") == 0;
    for (int i = 0; i < TIMES; i++) {
        int time = back ? TIMES - 1 - i : i;
        for (int b = 0; b < BATCH; b++) {
            const float *row =
                x + INPUTS * (t->batch_first ? b * TIMES + time : time * BATCH + b);
            bool ended = t->lengths && time >= lengths[b];
            if (ended) {
                /* the state stays */
            } else if (strcmp(t->op_type, "LSTM") == 0) {
                lstm_row(l, row, b);
            } else if (strcmp(t->op_type, "GRU") == 0) {
                gru_row(l, row, b, t->linear_before_reset);
            } else {
                rnn_row(l, row, b);
            }
            for (int j = 0; j < HIDDEN; j++) {
                a->y[place_of(t, directions, time, d, b) + j] =
                    ended ? 0 : (float)l->h[b][j];
                a->h[state_of(t, directions, d, b) + j] = (float)l->h[b][j];
                a->c[state_of(t, directions, d, b) + j] = (float)l->c[b][j];
            }
        }
    }
}

static void check_trial(const trial *t)
{
    op_case c;
    static answers a;
    int64_t dirs = strcmp(t->direction, "bidirectional") == 0 ? 2 : 1;
    bool lstm = strcmp(t->op_type, "LSTM") == 0;
    int64_t gates = lstm ? 4 : strcmp(t->op_type, "GRU") == 0 ? 3 : 1;
    int64_t first = t->batch_first ? BATCH : dirs,
            second = t->batch_first ? dirs : BATCH;
    op_begin(&c, "", t->op_type, 22);
    op_string(&c, "direction", t->direction);
    op_int(&c, "layout", t->batch_first);
    if (t->linear_before_reset) {
        op_int(&c, "linear_before_reset", 1);
    }
    const float *x = op_random(
        &c,
        DIMS(t->batch_first ? BATCH : TIMES, t->batch_first ? TIMES : BATCH, INPUTS),
        1);
    const float *w = op_random(&c, DIMS(dirs, gates * HIDDEN, INPUTS), 2);
    const float *r = op_random(&c, DIMS(dirs, gates * HIDDEN, HIDDEN), 3);
    const float *bias = NULL, *h = NULL, *cells = NULL, *p = NULL;
    if (t->bias || t->states || t->lengths) {
        bias = op_random(&c, DIMS(dirs, 2 * gates * HIDDEN), 4);
    }
    if (t->lengths) {
        op_input(&c, WEFT_TYPE_I32, DIMS(BATCH), lengths);
    } else if (t->states) {
        op_absent(&c);
    }
    if (t->states) {
        h = op_random(&c, DIMS(first, second, HIDDEN), 5);
        cells = lstm ? op_random(&c, DIMS(first, second, HIDDEN), 6) : NULL;
        p = t->peepholes ? op_random(&c, DIMS(dirs, 3 * HIDDEN), 7) : NULL;
    }
    for (int d = 0; d < dirs; d++) {
        cell l = {.w = w + d * gates * HIDDEN * INPUTS,
                  .r = r + d * gates * HIDDEN * HIDDEN,
                  .bias = bias ? bias + d * 2 * gates * HIDDEN : NULL,
                  .peepholes = p ? p + d * 3 * HIDDEN : NULL};
        for (int i = 0; i < BATCH * HIDDEN; i++) {
            int at = state_of(t, (int)dirs, d, i / HIDDEN) + i % HIDDEN;
            l.h[i / HIDDEN][i % HIDDEN] = h ? (double)h[at] : 0;
            l.c[i / HIDDEN][i % HIDDEN] = cells ? (double)cells[at] : 0;
        }
        run_direction(t, &l, x, (int)dirs, d, &a);
    }
    op_run(&c, lstm ? 3 : 2);
    if (t->batch_first) {
        op_expect_f32(&c, 0, DIMS(BATCH, TIMES, dirs, HIDDEN), a.y, 1e-5F);
    } else {
        op_expect_f32(&c, 0, DIMS(TIMES, dirs, BATCH, HIDDEN), a.y, 1e-5F);
    }
    op_expect_f32(&c, 1, DIMS(first, second, HIDDEN), a.h, 1e-5F);
    if (lstm) {
        op_expect_f32(&c, 2, DIMS(first, second, HIDDEN), a.c, 1e-5F);
    }
    op_end(&c);
}

static void test_against_the_formulas(void **state)
{
    (void)state;
    static const trial trials[] = {
        {.op_type = "RNN", .direction = "forward"},
        {.op_type = "RNN", .direction = "reverse", .bias = true},
        {.op_type = "RNN", .direction = "bidirectional", .states = true},
        {.op_type = "GRU", .direction = "forward"},
        {.op_type = "GRU", .direction = "forward", .linear_before_reset = true},
        {.op_type = "GRU", .direction = "reverse", .states = true},
        {.op_type = "GRU",
         .direction = "bidirectional",
         .states = true,
         .linear_before_reset = true},
        {.op_type = "GRU", .direction = "forward", .bias = true, .batch_first = true},
        {.op_type = "LSTM", .direction = "forward"},
        {.op_type = "LSTM", .direction = "reverse", .bias = true},
        {.op_type = "LSTM", .direction = "bidirectional", .states = true},
        {.op_type = "LSTM",
         .direction = "bidirectional",
         .states = true,
         .peepholes = true,
         .batch_first = true},
        {.op_type = "RNN", .direction = "bidirectional", .lengths = true},
        {.op_type = "GRU", .direction = "reverse", .states = true, .lengths = true},
        {.op_type = "LSTM",
         .direction = "bidirectional",
         .states = true,
         .batch_first = true,
         .lengths = true},
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(trials); i++) {
        check_trial(&trials[i]);
    }
}

/* An RNN of one number without memory is its activation. */
static void expect_activations(const char *const names[2], const float *alphas,
                               const float *betas, const float *expected)
{
    op_case c;
    op_begin(&c, "", "RNN", 14);
    op_string(&c, "direction", "bidirectional");
    op_strings(&c, "activations", 2, names);
    if (alphas) {
        op_floats(&c, "activation_alpha", 2, alphas);
        op_floats(&c, "activation_beta", 2, betas);
    }
    op_f32(&c, DIMS(1, 3, 1), F32(-0.75F, 0.5F, 3));
    op_f32(&c, DIMS(2, 1, 1), F32(1, 1));
    op_f32(&c, DIMS(2, 1, 1), F32(0, 0));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2, 3, 1), expected, 1e-6F);
    op_end(&c);
}

static void test_activations(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"Relu", "tanh"},
                                           {"Sigmoid", "Softsign"},
                                           {"HardSigmoid", "Affine"},
                                           {"LeakyRelu", "Softplus"},
                                           {"ScaledTanh", "Elu"}};
    expect_activations(pairs[0], NULL, NULL,
                       F32(0, 0.5F, 3, tanhf(-0.75F), tanhf(0.5F), tanhf(3)));
    expect_activations(
        pairs[1], NULL, NULL,
        F32(0.3208213F, 0.6224593F, 0.9525741F, -0.75F / 1.75F, 0.5F / 1.5F, 0.75F));
    expect_activations(pairs[2], F32(0.5F, 2), F32(0.25F, -1),
                       F32(0, 0.5F, 1, -2.5F, 0, 5));
    /* Only what takes an alpha takes one of the list. */
    expect_activations(pairs[3], F32(0.1F, 9), F32(9, 9),
                       F32(-0.075F, 0.5F, 3, 0.3868709F, 0.9740770F, 3.0485873F));
    expect_activations(pairs[4], F32(2, 3), F32(0.5F, 9),
                       F32(2 * tanhf(-0.375F), 2 * tanhf(0.25F), 2 * tanhf(1.5F),
                           3 * expm1f(-0.75F), 0.5F, 3));
}

static void test_what_is_not_supported(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "LSTM", 14);
    op_float(&c, "clip", 1);
    op_random(&c, DIMS(2, 1, 3), 1);
    op_random(&c, DIMS(1, 8, 3), 1);
    op_random(&c, DIMS(1, 8, 2), 1);
    op_expect_error(&c, 3, WEFT_UNSUPPORTED, "clip");
    op_end(&c);
    static const char *const names[] = {"Tanh", "Swish"};
    for (size_t count = 1; count <= 2; count++) {
        op_begin(&c, "", "GRU", 14);
        op_strings(&c, "activations", count, names);
        op_random(&c, DIMS(2, 1, 3), 1);
        op_random(&c, DIMS(1, 6, 3), 1);
        op_random(&c, DIMS(1, 6, 2), 1);
        op_expect_error(&c, 2, count == 1 ? WEFT_INVALID_MODEL : WEFT_UNSUPPORTED,
                        count == 1 ? "1 activations, expected 2" : "'Swish'");
        op_end(&c);
    }
    op_begin(&c, "", "GRU", 14);
    op_random(&c, DIMS(2, 1, 3), 1);
    op_random(&c, DIMS(1, 5, 3), 1);
    op_random(&c, DIMS(1, 6, 2), 1);
    op_expect_error(&c, 2, WEFT_INVALID_ARGUMENT, "W");
    op_end(&c);
    op_begin(&c, "", "RNN", 14);
    op_int(&c, "hidden_size", 3);
    op_random(&c, DIMS(2, 1, 3), 1);
    op_random(&c, DIMS(1, 2, 3), 1);
    op_random(&c, DIMS(1, 2, 2), 1);
    op_expect_error(&c, 2, WEFT_INVALID_MODEL, "hidden_size is 3, but R has 2 columns");
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_the_formulas),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_what_is_not_supported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/memory.h"
#include "ops/check.h"
#include "ops/families.h"
#include "ops/lower.h"
#include "ops/recurrent.h"

/* RNN, GRU and LSTM, unrolled: one product for the inputs of all times, then for each
 * time a product with the state and elementwise programs on the gates. */
enum { X, W, R, B, LENGTHS, INITIAL_H, INITIAL_C, PEEPHOLES };
enum { MOST_TIMES = 1 << 16 };

typedef struct recurrence {
    wefti_lowering *lowering;
    int64_t times, batch, inputs, hidden, directions, gates;
    bool is_lstm, is_gru, linear_before_reset;
    wefti_view all; /* [times, directions, batch, hidden] */
    /* [times, batch]: the sequence goes on there; and 0. Absent: all are whole. */
    wefti_view mask, zero;
} recurrence;

static int64_t gate_count(const wefti_node_view *node)
{
    return strcmp(node->op_type, "LSTM") == 0  ? 4
           : strcmp(node->op_type, "GRU") == 0 ? 3
                                               : 1;
}

/* Of one direction. */
static size_t activation_count(const wefti_node_view *node)
{
    return gate_count(node) == 1 ? 1 : (size_t)gate_count(node) - 1;
}

static weft_status check_attributes(const wefti_node_view *node, weft_error *error)
{
    const char *direction = wefti_attribute_string(node, "direction", "forward");
    const char *wrong = wefti_attribute_find(node, "clip") ? "clip" : NULL;
    if (strcmp(direction, "forward") != 0 && strcmp(direction, "reverse") != 0 &&
        strcmp(direction, "bidirectional") != 0) {
        return wefti_error(error, WEFT_INVALID_MODEL, "%s: direction is \"%s\"",
                           node->label, direction);
    }
    if (wefti_attribute_int(node, "input_forget", 0)) {
        wrong = "input_forget";
    }
    if (wrong) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: the attribute %s is not supported", node->label, wrong);
    }
    return wefti_gates_check(node, activation_count(node), error);
}

static weft_status check_lengths(const wefti_node_view *node, const wefti_known *inputs,
                                 int64_t batch, weft_error *error)
{
    if (!wefti_known_present(node, inputs, LENGTHS)) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_check_type(node, inputs, LENGTHS, WEFTI_TYPES_INDEX, error));
    return wefti_check_shape(node, "sequence_lens", &inputs[LENGTHS], 1, &batch, error);
}

/* Lengths that are all the whole length change nothing. */
static bool lengths_matter(const wefti_known *lengths, int64_t times)
{
    int64_t count = lengths->constant ? wefti_known_element_count(lengths) : 0;
    for (int64_t i = 0; i < count; i++) {
        if (wefti_known_integer(lengths, i) < times) {
            return true;
        }
    }
    return !lengths->constant;
}

/* What an optional input must look like. */
typedef struct expected {
    size_t index;
    const char *what;
    int32_t rank;
    const int64_t *dims;
} expected;

static weft_status check_optional(const wefti_node_view *node,
                                  const wefti_known *inputs, expected e,
                                  weft_error *error)
{
    if (!wefti_known_present(node, inputs, e.index)) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_check_type(node, inputs, e.index, WEFTI_TYPES_F32, error));
    return wefti_check_shape(node, e.what, &inputs[e.index], e.rank, e.dims, error);
}

static recurrence sizes_of(const wefti_node_view *node, const wefti_known *inputs)
{
    bool batch_first = wefti_attribute_int(node, "layout", 0) != 0;
    const int64_t *x = inputs[X].dims;
    const char *direction = wefti_attribute_string(node, "direction", "forward");
    return (recurrence){
        .times = x[batch_first ? 1 : 0],
        .batch = x[batch_first ? 0 : 1],
        .inputs = x[2],
        .hidden = inputs[R].dims[2],
        .directions = strcmp(direction, "bidirectional") == 0 ? 2 : 1,
        .gates = gate_count(node),
        .is_lstm = gate_count(node) == 4,
        .is_gru = gate_count(node) == 3,
        .linear_before_reset = wefti_attribute_int(node, "linear_before_reset", 0) != 0,
    };
}

static weft_status check_inputs(const wefti_node_view *node, const wefti_known *inputs,
                                const recurrence *r, weft_error *error)
{
    int64_t rows = 0;
    int64_t said = wefti_attribute_int(node, "hidden_size", r->hidden);
    if (said != r->hidden) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "%s: hidden_size is %lld, but R has %lld columns",
                           node->label, (long long)said, (long long)r->hidden);
    }
    WEFTI_TRY(wefti_check_product(node, r->gates, r->hidden, &rows, error));
    const int64_t w[] = {r->directions, rows, r->inputs};
    const int64_t h[] = {r->directions, rows, r->hidden};
    const int64_t b[] = {r->directions, 2 * rows};
    const int64_t p[] = {r->directions, 3 * r->hidden};
    bool batch_first = wefti_attribute_int(node, "layout", 0) != 0;
    const int64_t state[] = {batch_first ? r->batch : r->directions,
                             batch_first ? r->directions : r->batch, r->hidden};
    WEFTI_TRY(wefti_check_shape(node, "W", &inputs[W], 3, w, error));
    WEFTI_TRY(wefti_check_shape(node, "R", &inputs[R], 3, h, error));
    const expected optional[] = {{B, "B", 2, b},
                                 {INITIAL_H, "initial_h", 3, state},
                                 {INITIAL_C, "initial_c", 3, state},
                                 {PEEPHOLES, "P", 2, p}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(optional); i++) {
        WEFTI_TRY(check_optional(node, inputs, optional[i], error));
    }
    return WEFT_OK;
}

weft_status wefti_infer_recurrent(const wefti_node_view *node,
                                  const wefti_known *inputs, wefti_known *outputs,
                                  weft_error *error)
{
    WEFTI_TRY(check_attributes(node, error));
    for (size_t i = X; i <= R; i++) {
        WEFTI_TRY(wefti_check_type(node, inputs, i, WEFTI_TYPES_F32, error));
        WEFTI_TRY(wefti_check_rank(node, inputs, i, 3, 3, error));
    }
    recurrence r = sizes_of(node, inputs);
    WEFTI_TRY(check_inputs(node, inputs, &r, error));
    if (r.times > MOST_TIMES) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "%s: %lld times are more than the %d that are supported",
                           node->label, (long long)r.times, (int)MOST_TIMES);
    }
    WEFTI_TRY(check_lengths(node, inputs, r.batch, error));
    bool batch_first = wefti_attribute_int(node, "layout", 0) != 0;
    const int64_t all[2][4] = {{r.times, r.directions, r.batch, r.hidden},
                               {r.batch, r.times, r.directions, r.hidden}};
    const int64_t last[2][3] = {{r.directions, r.batch, r.hidden},
                                {r.batch, r.directions, r.hidden}};
    wefti_shape y = {WEFT_TYPE_F32, 4, all[batch_first]};
    wefti_shape state = {WEFT_TYPE_F32, 3, last[batch_first]};
    WEFTI_TRY(wefti_set_output(node, outputs, 0, y, error));
    WEFTI_TRY(wefti_set_output(node, outputs, 1, state, error));
    return wefti_set_output(node, outputs, 2, state, error);
}

/* Part of a dense view: `rows` x `columns` that begin at `offset` elements. */
static wefti_view part(const wefti_view *view, int64_t offset, int64_t rows,
                       int64_t columns, int64_t row_stride)
{
    wefti_view p = *view;
    p.rank = 2;
    p.dims[0] = rows;
    p.dims[1] = columns;
    p.strides[0] = row_stride;
    p.strides[1] = 1;
    p.offset_bytes += offset * (int64_t)sizeof(float);
    return p;
}

/* c = a b^T + bias + residual; `c` and `residual` lie alike. */
typedef struct product {
    wefti_view a, b, bias, residual, c;
} product;

static weft_status add_product(wefti_lowering *lowering, const product *what)
{
    wefti_matmul_params params = {
        .m = what->a.dims[0],
        .n = what->b.dims[0],
        .k = what->a.dims[1],
        .a_row_stride = what->a.strides[0],
        .a_column_stride = 1,
        .b_row_stride = 1,
        .b_column_stride = what->b.strides[0],
        .c_row_stride = what->c.strides[0],
        .alpha = 1,
        .bias = wefti_view_present(&what->bias) ? WEFTI_BIAS_COLUMN : WEFTI_BIAS_NONE};
    wefti_program_step step =
        wefti_lower_begin(lowering, WEFTI_KERNEL_MATMUL, &params, sizeof(params));
    step.operands[WEFTI_MATMUL_A] = what->a;
    step.operands[WEFTI_MATMUL_B] = what->b;
    step.operands[WEFTI_MATMUL_BIAS] = what->bias;
    step.operands[WEFTI_MATMUL_RESIDUAL] = what->residual;
    step.operands[WEFTI_MATMUL_C] = what->c;
    return wefti_lower_end(lowering, &step);
}

static weft_status make_plane(const recurrence *r, int64_t columns, wefti_view *plane)
{
    const int64_t dims[] = {r->batch, columns};
    return wefti_lower_temporary(r->lowering, WEFT_TYPE_F32, 2, dims, plane);
}

/* The state before the first time: given, or zeros. */
static weft_status first_state(const recurrence *r, size_t input, int64_t direction,
                               wefti_view *state)
{
    wefti_view given = wefti_lower_input(r->lowering, input);
    WEFTI_TRY(make_plane(r, r->hidden, state));
    if (!wefti_view_present(&given)) {
        return wefti_lower_fill(r->lowering, state, 0);
    }
    bool batch_first = wefti_attribute_int(r->lowering->node, "layout", 0) != 0;
    wefti_view own = given;
    int32_t axis = batch_first ? 1 : 0;
    own.rank = 2;
    own.offset_bytes += direction * given.strides[axis] * (int64_t)sizeof(float);
    own.dims[0] = r->batch;
    own.dims[1] = r->hidden;
    own.strides[0] = given.strides[1 - axis];
    own.strides[1] = given.strides[2];
    return wefti_lower_copy(r->lowering, &own, state);
}

/* Both biases added up; of a GRU that resets behind its product only the first for the
 * last gate. Absent when there is none. */
static weft_status make_bias(const recurrence *r, int64_t direction, wefti_view *bias)
{
    static const wefti_instruction sum = {.operation = WEFTI_OP_ADD, .b = 1};
    wefti_view given = wefti_lower_input(r->lowering, B);
    *bias = given;
    if (!wefti_view_present(&given)) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_lower_dense(r->lowering, &given));
    int64_t width = r->gates * r->hidden, start = direction * 2 * width;
    int64_t both = r->is_gru && r->linear_before_reset ? width - r->hidden : width;
    const int64_t dims[] = {1, width};
    WEFTI_TRY(wefti_lower_temporary(r->lowering, WEFT_TYPE_F32, 2, dims, bias));
    const wefti_view halves[] = {part(&given, start, 1, both, both),
                                 part(&given, start + width, 1, both, both)};
    wefti_view target = part(bias, 0, 1, both, both);
    WEFTI_TRY(wefti_lower_elementwise(r->lowering, halves, 2, &sum, 1, &target));
    if (both < width) {
        wefti_view rest = part(&given, start + both, 1, width - both, width - both);
        target = part(bias, both, 1, width - both, width - both);
        WEFTI_TRY(wefti_lower_copy(r->lowering, &rest, &target));
    }
    return WEFT_OK;
}

/* What one direction works with. */
typedef struct lane {
    wefti_view w, recurrent,
        bias;       /* of this direction; bias of both kinds, or absent */
    wefti_view fed; /* inputs' part of the gates, [times * batch, width] */
    wefti_view sums, spare, state; /* [batch, width], [batch, hidden] */
    wefti_view cells[2];
    int64_t direction, width;
} lane;

/* Adds activation `index` of the lane's direction. */
static uint8_t activate(const recurrence *r, const lane *l, wefti_gates *gates,
                        size_t index, uint8_t a)
{
    size_t count = activation_count(r->lowering->node);
    return wefti_gates_activate(gates, r->lowering->node, count,
                                (size_t)l->direction * count + index, a);
}

static weft_status run_gates(const recurrence *r, const wefti_gates *gates,
                             const wefti_view *operands, int32_t count,
                             const wefti_view *target)
{
    return wefti_lower_elementwise(r->lowering, operands, count, gates->list,
                                   gates->count, target);
}

/* Gate `index` of the sums. */
static wefti_view gate(const recurrence *r, const lane *l, int64_t index)
{
    return part(&l->sums, index * r->hidden, r->batch, r->hidden, l->width);
}

/* x + p * c for a peephole. */
static weft_status add_peephole(const recurrence *r, const lane *l, int64_t index,
                                const wefti_view *cell, wefti_view *value)
{
    static const wefti_instruction fma = {.operation = WEFTI_OP_FMA, .b = 1, .c = 2};
    wefti_view p = wefti_lower_input(r->lowering, PEEPHOLES);
    if (!wefti_view_present(&p)) {
        return WEFT_OK;
    }
    WEFTI_TRY(wefti_lower_dense(r->lowering, &p));
    int64_t start = (l->direction * 3 + index) * r->hidden;
    const wefti_view operands[] = {part(&p, start, 1, r->hidden, r->hidden), *cell,
                                   *value};
    WEFTI_TRY(make_plane(r, r->hidden, value));
    return wefti_lower_elementwise(r->lowering, operands, 3, &fma, 1, value);
}

static weft_status lstm_step(const recurrence *r, lane *l, int64_t number,
                             const wefti_view *next)
{
    wefti_gates cell_gates = {.count = 0}, state_gates = {.count = 0};
    uint8_t i = activate(r, l, &cell_gates, 0, 0),
            f = activate(r, l, &cell_gates, 0, 1);
    uint8_t g = activate(r, l, &cell_gates, 1, 2);
    uint8_t kept = wefti_gates_join(&cell_gates, WEFTI_OP_MUL, f, 3, 0);
    (void)wefti_gates_join(&cell_gates, WEFTI_OP_FMA, i, g, kept);
    uint8_t o = activate(r, l, &state_gates, 0, 0);
    uint8_t shown = activate(r, l, &state_gates, 2, 1);
    (void)wefti_gates_join(&state_gates, WEFTI_OP_MUL, o, shown, 0);
    const wefti_view *before = &l->cells[number % 2], *cell = &l->cells[1 - number % 2];
    wefti_view in = gate(r, l, 0), out = gate(r, l, 1), forget = gate(r, l, 2);
    WEFTI_TRY(add_peephole(r, l, 0, before, &in));
    WEFTI_TRY(add_peephole(r, l, 2, before, &forget));
    const wefti_view gates[] = {in, forget, gate(r, l, 3), *before};
    WEFTI_TRY(run_gates(r, &cell_gates, gates, 4, cell));
    WEFTI_TRY(add_peephole(r, l, 1, cell, &out));
    const wefti_view last[] = {out, *cell};
    return run_gates(r, &state_gates, last, 2, next);
}

/* The candidate of a GRU into l->spare. */
static weft_status gru_candidate(const recurrence *r, lane *l, const wefti_view *fed)
{
    wefti_gates reset = {.count = 0};
    uint8_t open = activate(r, l, &reset, 0, 0);
    int64_t h = r->hidden;
    wefti_view weights = part(&l->recurrent, 2 * h * h, h, h, h), middle;
    wefti_view fed_last = part(fed, 2 * h, r->batch, h, l->width);
    WEFTI_TRY(make_plane(r, h, &middle));
    product p = {weights, weights, wefti_view_absent(), wefti_view_absent(), middle};
    if (!r->linear_before_reset) {
        const wefti_view operands[] = {gate(r, l, 1), l->state};
        (void)wefti_gates_join(&reset, WEFTI_OP_MUL, open, 1, 0);
        WEFTI_TRY(run_gates(r, &reset, operands, 2, &middle));
        p.a = middle;
        p.c = gate(r, l, 2);
        p.residual = fed_last;
        WEFTI_TRY(add_product(r->lowering, &p));
        wefti_view sum = gate(r, l, 2);
        return wefti_lower_copy(r->lowering, &sum, &l->spare);
    }
    p.a = l->state;
    if (wefti_view_present(&l->bias)) {
        p.bias = part(&l->bias, l->width + 2 * h, 1, h, h);
    }
    WEFTI_TRY(add_product(r->lowering, &p));
    const wefti_view operands[] = {gate(r, l, 1), middle, fed_last};
    (void)wefti_gates_join(&reset, WEFTI_OP_FMA, open, 1, 2);
    return run_gates(r, &reset, operands, 3, &l->spare);
}

static weft_status gru_step(const recurrence *r, lane *l, const wefti_view *fed,
                            const wefti_view *next)
{
    wefti_gates mix = {.count = 0};
    uint8_t z = activate(r, l, &mix, 0, 0), n = activate(r, l, &mix, 1, 1);
    uint8_t change = wefti_gates_join(&mix, WEFTI_OP_SUB, 2, n, 0);
    (void)wefti_gates_join(&mix, WEFTI_OP_FMA, z, change, n);
    WEFTI_TRY(gru_candidate(r, l, fed));
    const wefti_view operands[] = {gate(r, l, 0), l->spare, l->state};
    return run_gates(r, &mix, operands, 3, next);
}

/* Where a sequence has ended: its state stays as it was before, its row is 0. */
static weft_status end_rows(const recurrence *r, lane *l, int64_t number, int64_t time,
                            const wefti_view *made)
{
    static const wefti_instruction choose = {
        .operation = WEFTI_OP_WHERE, .a = 0, .b = 1, .c = 2};
    wefti_view mask = r->mask, *cell = &l->cells[1 - number % 2];
    mask.rank = 2;
    mask.dims[0] = r->batch;
    mask.dims[1] = 1;
    mask.strides[0] = mask.strides[1] = 1;
    mask.offset_bytes += time * r->batch; /* of truth values */
    int64_t place = (time * r->directions + l->direction) * r->batch * r->hidden;
    wefti_view row = part(&r->all, place, r->batch, r->hidden, r->hidden);
    const wefti_view zeros[] = {mask, *made, r->zero};
    WEFTI_TRY(wefti_lower_elementwise(r->lowering, zeros, 3, &choose, 1, &row));
    const wefti_view states[] = {mask, *made, l->state};
    WEFTI_TRY(make_plane(r, r->hidden, &l->state));
    WEFTI_TRY(wefti_lower_elementwise(r->lowering, states, 3, &choose, 1, &l->state));
    if (!r->is_lstm) {
        return WEFT_OK;
    }
    const wefti_view cells[] = {mask, *cell, l->cells[number % 2]};
    WEFTI_TRY(make_plane(r, r->hidden, cell));
    return wefti_lower_elementwise(r->lowering, cells, 3, &choose, 1, cell);
}

/* One time: sums of the gates, then what the kind makes of them. */
static weft_status add_time(const recurrence *r, lane *l, int64_t number, int64_t time)
{
    int64_t h = r->hidden, summed = r->is_gru ? 2 * h : l->width;
    wefti_view fed =
        part(&l->fed, time * r->batch * l->width, r->batch, l->width, l->width);
    product p = {.a = l->state,
                 .b = part(&l->recurrent, 0, summed, h, h),
                 .bias = wefti_view_absent(),
                 .residual = fed,
                 .c = l->sums};
    WEFTI_TRY(add_product(r->lowering, &p));
    int64_t place = (time * r->directions + l->direction) * r->batch * h;
    wefti_view next = part(&r->all, place, r->batch, h, h);
    bool ends = wefti_view_present(&r->mask);
    if (ends) {
        WEFTI_TRY(make_plane(r, h, &next));
    }
    if (r->is_lstm) {
        WEFTI_TRY(lstm_step(r, l, number, &next));
    } else if (r->is_gru) {
        WEFTI_TRY(gru_step(r, l, &fed, &next));
    } else {
        wefti_gates gates = {.count = 0};
        (void)activate(r, l, &gates, 0, 0);
        WEFTI_TRY(run_gates(r, &gates, &l->sums, 1, &next));
    }
    if (ends) {
        return end_rows(r, l, number, time, &next);
    }
    l->state = next;
    return WEFT_OK;
}

/* Copies a last state to its place in an output. */
static weft_status give_state(const recurrence *r, size_t output, int64_t direction,
                              const wefti_view *state)
{
    wefti_view target = wefti_lower_output(r->lowering, output);
    if (!wefti_view_present(&target)) {
        return WEFT_OK;
    }
    bool batch_first = wefti_attribute_int(r->lowering->node, "layout", 0) != 0;
    int64_t h = r->hidden;
    wefti_view own = batch_first
                         ? part(&target, direction * h, r->batch, h, r->directions * h)
                         : part(&target, direction * r->batch * h, r->batch, h, h);
    return wefti_lower_copy(r->lowering, state, &own);
}

/* The inputs' part of all gates of all times. */
static weft_status feed(const recurrence *r, const wefti_view *x, lane *l)
{
    const int64_t dims[] = {r->times * r->batch, l->width};
    wefti_view bias;
    WEFTI_TRY(wefti_lower_temporary(r->lowering, WEFT_TYPE_F32, 2, dims, &l->fed));
    WEFTI_TRY(make_bias(r, l->direction, &bias));
    product p = {.a = part(x, 0, dims[0], r->inputs, r->inputs),
                 .b = part(&l->w, l->direction * l->width * r->inputs, l->width,
                           r->inputs, r->inputs),
                 .bias = bias,
                 .residual = wefti_view_absent(),
                 .c = l->fed};
    return add_product(r->lowering, &p);
}

static weft_status add_direction(const recurrence *r, const wefti_view *x, lane *l)
{
    const char *word =
        wefti_attribute_string(r->lowering->node, "direction", "forward");
    bool backwards = strcmp(word, "reverse") == 0 || l->direction == 1;
    wefti_view recurrent = l->recurrent, given = wefti_lower_input(r->lowering, B);
    l->recurrent = part(&recurrent, l->direction * l->width * r->hidden, l->width,
                        r->hidden, r->hidden);
    l->bias = given;
    if (wefti_view_present(&given)) {
        WEFTI_TRY(wefti_lower_dense(r->lowering, &given));
        l->bias =
            part(&given, l->direction * 2 * l->width, 1, 2 * l->width, 2 * l->width);
    }
    WEFTI_TRY(feed(r, x, l));
    WEFTI_TRY(make_plane(r, l->width, &l->sums));
    WEFTI_TRY(make_plane(r, r->hidden, &l->spare));
    WEFTI_TRY(first_state(r, INITIAL_H, l->direction, &l->state));
    if (r->is_lstm) {
        WEFTI_TRY(first_state(r, INITIAL_C, l->direction, &l->cells[0]));
        WEFTI_TRY(make_plane(r, r->hidden, &l->cells[1]));
    }
    for (int64_t i = 0; i < r->times; i++) {
        WEFTI_TRY(add_time(r, l, i, backwards ? r->times - 1 - i : i));
    }
    WEFTI_TRY(give_state(r, 1, l->direction, &l->state));
    return r->is_lstm ? give_state(r, 2, l->direction, &l->cells[r->times % 2])
                      : WEFT_OK;
}

/* X as [times, batch, inputs], dense. */
static weft_status times_first(const recurrence *r, wefti_view *x)
{
    static const int32_t order[] = {1, 0, 2};
    if (wefti_attribute_int(r->lowering->node, "layout", 0)) {
        *x = wefti_view_permute(x, order);
    }
    return wefti_lower_dense(r->lowering, x);
}

/* The mask of what lies within the sequences' lengths. */
static weft_status make_mask(recurrence *r)
{
    static const wefti_instruction less = {.operation = WEFTI_OP_LESS, .b = 1};
    static const float zero = 0;
    wefti_view lengths = wefti_lower_input(r->lowering, LENGTHS), numbers;
    r->mask = r->zero = wefti_view_absent();
    if (!wefti_view_present(&lengths) ||
        !lengths_matter(&r->lowering->known_inputs[LENGTHS], r->times)) {
        return WEFT_OK;
    }
    bool wide = lengths.type == WEFT_TYPE_I64;
    const int64_t dims[] = {r->times, r->batch}, column[] = {r->times, 1}, one[] = {1};
    int64_t *counted = wefti_calloc((size_t)r->times + 1, sizeof(*counted));
    if (!counted) {
        return wefti_error_memory(r->lowering->error, "the times of a sequence");
    }
    for (int64_t i = 0; i < r->times; i++) {
        if (wide) {
            counted[i] = i;
        } else {
            ((int32_t *)counted)[i] = (int32_t)i;
        }
    }
    weft_status status =
        wefti_lower_constant(r->lowering, lengths.type, 2, column, counted, &numbers);
    wefti_free(counted);
    WEFTI_TRY(status);
    WEFTI_TRY(
        wefti_lower_constant(r->lowering, WEFT_TYPE_F32, 1, one, &zero, &r->zero));
    WEFTI_TRY(wefti_lower_temporary(r->lowering, WEFT_TYPE_BOOL, 2, dims, &r->mask));
    const wefti_view operands[] = {numbers, lengths};
    return wefti_lower_elementwise(r->lowering, operands, 2, &less, 1, &r->mask);
}

weft_status wefti_lower_recurrent_node(wefti_lowering *lowering)
{
    static const int32_t batch_order[] = {2, 0, 1, 3};
    recurrence r = sizes_of(lowering->node, lowering->known_inputs);
    r.lowering = lowering;
    wefti_view y = wefti_lower_output(lowering, 0), x = lowering->inputs[X];
    bool batch_first = wefti_attribute_int(lowering->node, "layout", 0) != 0;
    if (r.batch == 0 || r.hidden == 0) {
        return WEFT_OK;
    }
    r.all = y;
    if (!wefti_view_present(&y) || batch_first) {
        const int64_t dims[] = {r.times, r.directions, r.batch, r.hidden};
        WEFTI_TRY(wefti_lower_temporary(lowering, WEFT_TYPE_F32, 4, dims, &r.all));
    }
    WEFTI_TRY(times_first(&r, &x));
    WEFTI_TRY(make_mask(&r));
    for (int64_t d = 0; d < r.directions; d++) {
        lane l = {.w = lowering->inputs[W],
                  .recurrent = lowering->inputs[R],
                  .direction = d,
                  .width = r.gates * r.hidden};
        WEFTI_TRY(wefti_lower_dense(lowering, &l.w));
        WEFTI_TRY(wefti_lower_dense(lowering, &l.recurrent));
        WEFTI_TRY(add_direction(&r, &x, &l));
    }
    if (batch_first && wefti_view_present(&y)) {
        wefti_view moved = wefti_view_permute(&r.all, batch_order);
        return wefti_lower_copy(lowering, &moved, &y);
    }
    return WEFT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Random nets: whatever the analysis of graph/rows.h accepts must give each row the
 * bits it has alone. About a tenth of the operators are aimed at the rows themselves.
 *
 *     graph_rows_random_test [COUNT [SEED]]
 */
#include "graph/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/compiler.h"
#include "support/crew.h"
#include "support/graph_text.h"
#include "support/rows_case.h"

enum { MOST_VALUES = 40, MOST_AXES = 6, MOST_ELEMENTS = 200, TEXT_BYTES = 16384 };

static uint32_t net_count = 2500;
static uint64_t first_seed = 1;
static weft_device *devices[ROWS_CASE_DEVICES];
static size_t device_count;

/* A value whose axis `rows` has so many elements per row. */
typedef struct shape {
    int rank, rows;
    int size[MOST_AXES + 1]; /* one more to be written when an axis goes */
} shape;

typedef struct net {
    uint64_t seed;
    char text[TEXT_BYTES];
    size_t length;
    shape shapes[MOST_VALUES]; /* of the values v0, v1 ... */
    int count, constants;
} net;

static int below(net *n, int limit)
{
    return (int)(crew_random(&n->seed) % (uint32_t)limit);
}

static void say(net *n, const char *format, ...) WEFTI_PRINTF(2, 3);
static void say(net *n, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length =
        vsnprintf(n->text + n->length, TEXT_BYTES - n->length, format, arguments);
    va_end(arguments);
    assert_true(length >= 0 && n->length + (size_t)length < TEXT_BYTES);
    n->length += (size_t)length;
}

static void say_list(net *n, const int *values, int count)
{
    for (int i = 0; i < count; i++) {
        say(n, i == 0 ? "%d" : ",%d", values[i]);
    }
}

/* Of one row. */
static int elements(const shape *s)
{
    int count = 1;
    for (int i = 0; i < s->rank; i++) {
        count *= s->size[i];
    }
    return count;
}

/* A constant list; returns its number. */
static int list(net *n, const int *values, int count)
{
    say(n, "c%d = i64{", n->constants);
    say_list(n, values, count);
    say(n, "}; ");
    return n->constants++;
}

static int weights(net *n, const int *sizes, int rank)
{
    say(n, "c%d = f32[", n->constants);
    say_list(n, sizes, rank);
    say(n, "]; ");
    return n->constants++;
}

/* Starts the next value and gives it its shape. */
static void begin(net *n, const shape *s)
{
    n->shapes[n->count] = *s;
    say(n, "v%d = ", n->count++);
}

static void add_input(net *n)
{
    static const int sizes[] = {1, 2, 3, 4, 4, 5, 17};
    shape *s = &n->shapes[n->count];
    *s = (shape){.rank = 1 + below(n, 4)};
    s->rows = below(n, 3) > 0 ? 0 : below(n, s->rank);
    say(n, "v%d: f32[", n->count++);
    for (int i = 0; i < s->rank; i++) {
        s->size[i] = i == s->rows ? 1 : sizes[below(n, 7)];
        if (i == s->rows) {
            say(n, i == 0 ? "batch" : ",batch");
        } else {
            say(n, i == 0 ? "%d" : ",%d", s->size[i]);
        }
    }
    say(n, "]; ");
}

/* An axis without the rows, or -1; now and then one with them. */
static int some_axis(net *n, const shape *s)
{
    int axis = below(n, s->rank);
    return axis == s->rows && below(n, 8) > 0 ? -1 : axis;
}

static void unary(net *n, int v, const shape *s)
{
    static const char *const names[] = {"Relu", "Exp", "Tanh", "Gelu", "Neg", "Erf"};
    begin(n, s);
    say(n, "%s(v%d); ", names[below(n, 6)], v);
}

static void binary(net *n, int v, const shape *s)
{
    static const char *const names[] = {"Add", "Sub", "Mul", "Max"};
    int other = below(n, n->count);
    if (memcmp(&n->shapes[other], s, sizeof *s) == 0) {
        begin(n, s);
        say(n, "%s(v%d,v%d); ", names[below(n, 4)], v, other);
    }
}

/* With a constant that is broadcast along the rows at least. */
static void with_constant(net *n, int v, const shape *s)
{
    int sizes[MOST_AXES], rank = 1 + below(n, s->rank);
    for (int i = 0; i < rank; i++) {
        int axis = s->rank - rank + i;
        sizes[i] = axis == s->rows || below(n, 4) == 0 ? 1 : s->size[axis];
    }
    int c = weights(n, sizes, rank);
    begin(n, s);
    say(n, "%s(v%d,c%d); ", below(n, 2) == 0 ? "Add" : "Mul", v, c);
}

static void linear(net *n, int v, const shape *s)
{
    if (s->rows == s->rank - 1) {
        return;
    }
    shape to = *s;
    to.size[s->rank - 1] = 1 + below(n, 20);
    int c = weights(n, (int[]){s->size[s->rank - 1], to.size[s->rank - 1]}, 2);
    begin(n, &to);
    say(n, "MatMul(v%d,c%d); ", v, c);
    if (below(n, 2) == 0) {
        c = weights(n, &to.size[s->rank - 1], 1);
        begin(n, &to);
        say(n, "Add(v%d,c%d); ", n->count - 2, c);
    }
}

/* x x^T, which mixes the rows when they are the last axis. */
static void likeness(net *n, int v, const shape *s)
{
    if (s->rank < 2 || s->rows == s->rank - 2 ||
        (s->rows == s->rank - 1 && below(n, 8) > 0)) {
        return;
    }
    int order[MOST_AXES] = {0, 1, 2, 3, 4, 5}, last = s->rank - 1;
    shape t = *s;
    t.size[last] = s->size[last - 1];
    t.size[last - 1] = s->size[last];
    t.rows = s->rows == last ? last - 1 : s->rows;
    order[last] = last - 1;
    order[last - 1] = last;
    begin(n, &t);
    say(n, "Transpose(v%d) perm=[", v);
    say_list(n, order, s->rank);
    say(n, "]; ");
    t = *s;
    t.size[last] = s->size[last - 1];
    t.rows = s->rows == last ? -1 : s->rows;
    begin(n, &t);
    say(n, "MatMul(v%d,v%d); ", v, n->count - 2);
}

static void softmax(net *n, int v, const shape *s)
{
    int axis = some_axis(n, s);
    if (axis >= 0) {
        begin(n, s);
        say(n, "Softmax(v%d) axis=%d; ", v, axis);
    }
}

static void norm(net *n, int v, const shape *s)
{
    if (s->rows < s->rank - 1) {
        int c = weights(n, &s->size[s->rank - 1], 1);
        begin(n, s);
        say(n, "LayerNormalization(v%d,c%d,c%d); ", v, c, c);
    }
}

static void reduce(net *n, int v, const shape *s)
{
    static const char *const names[] = {"ReduceMean", "ReduceSum", "ReduceMax"};
    int axis = some_axis(n, s);
    if (axis < 0) {
        return;
    }
    int c = list(n, &axis, 1);
    shape to = *s;
    bool keep = s->rank == 1 || below(n, 2) == 0;
    to.size[axis] = 1;
    for (int i = axis; !keep && i + 1 < s->rank; i++) {
        to.size[i] = s->size[i + 1];
    }
    to.rank -= keep ? 0 : 1;
    to.rows = axis == s->rows ? -1 : s->rows - (!keep && axis < s->rows);
    to.size[to.rank] = keep ? to.size[to.rank] : 0;
    begin(n, &to);
    say(n, "%s(v%d,c%d) keepdims=%d; ", names[below(n, 3)], v, c, keep);
}

static void transpose(net *n, int v, const shape *s)
{
    int order[MOST_AXES] = {0, 1, 2, 3, 4, 5};
    shape to = *s;
    for (int i = s->rank - 1; i > 0; i--) {
        int j = below(n, i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (int i = 0; i < s->rank; i++) {
        to.size[i] = s->size[order[i]];
        to.rows = order[i] == s->rows ? i : to.rows;
    }
    begin(n, &to);
    say(n, "Transpose(v%d) perm=[", v);
    say_list(n, order, s->rank);
    say(n, "]; ");
}

static void reshape_to(net *n, int v, const shape *to)
{
    int sizes[MOST_AXES];
    for (int i = 0; i < to->rank; i++) {
        sizes[i] = i == to->rows ? -1 : to->size[i];
    }
    int c = list(n, sizes, to->rank);
    begin(n, to);
    say(n, "Reshape(v%d,c%d); ", v, c);
}

/* Two neighbouring axes become one. */
static void merge(net *n, int v, const shape *s)
{
    if (s->rank < 2) {
        return;
    }
    int axis = below(n, s->rank - 1);
    shape to = *s;
    to.size[axis] *= s->size[axis + 1];
    for (int i = axis + 1; i + 1 < s->rank; i++) {
        to.size[i] = s->size[i + 1];
    }
    to.size[--to.rank] = 0;
    to.rows -= s->rows > axis;
    reshape_to(n, v, &to);
}

/* One axis becomes two. */
static void divide(net *n, int v, const shape *s)
{
    int axis = below(n, s->rank), part = 1 + below(n, s->size[axis]);
    if (s->rank == MOST_AXES || s->size[axis] % part != 0) {
        return;
    }
    shape to = *s;
    for (int i = to.rank++; i > axis; i--) {
        to.size[i] = s->size[i - 1];
    }
    to.size[axis] = part;
    to.size[axis + 1] = s->size[axis] / part;
    to.rows += s->rows > axis || (s->rows == axis && below(n, 4) == 0);
    reshape_to(n, v, &to);
}

static void concat(net *n, int v, const shape *s)
{
    int axis = some_axis(n, s);
    if (axis >= 0 && s->size[axis] < 40) {
        shape to = *s;
        to.size[axis] *= 2;
        begin(n, &to);
        say(n, "Concat(v%d,v%d) axis=%d; ", v, v, axis);
    }
}

static void gather(net *n, int v, const shape *s)
{
    int axis = some_axis(n, s);
    if (axis < 0) {
        return;
    }
    int most = axis == s->rows ? 1 : s->size[axis];
    int c = list(n, (int[]){below(n, most), below(n, most)}, 2);
    shape to = *s;
    to.size[axis] = 2;
    to.rows = axis == s->rows ? -1 : s->rows;
    begin(n, &to);
    say(n, "Gather(v%d,c%d) axis=%d; ", v, c, axis);
}

static void slice(net *n, int v, const shape *s)
{
    int axis = some_axis(n, s);
    if (axis < 0 || axis == s->rows) {
        return;
    }
    int start = below(n, s->size[axis]);
    int end = start + 1 + below(n, s->size[axis] - start);
    shape to = *s;
    to.size[axis] = end - start;
    int a = list(n, &start, 1), b = list(n, &end, 1), c = list(n, &axis, 1);
    begin(n, &to);
    say(n, "Slice(v%d,c%d,c%d,c%d); ", v, a, b, c);
}

static void tile(net *n, int v, const shape *s)
{
    int axis = some_axis(n, s), repeats[MOST_AXES];
    if (axis < 0 || s->size[axis] > 20) {
        return;
    }
    for (int i = 0; i < s->rank; i++) {
        repeats[i] = i == axis ? 2 : 1;
    }
    int c = list(n, repeats, s->rank);
    shape to = *s;
    to.size[axis] *= 2;
    begin(n, &to);
    say(n, "Tile(v%d,c%d); ", v, c);
}

static void convolve(net *n, int v, const shape *s)
{
    if (s->rank == 3 && s->rows == 0) {
        int c = weights(n, (int[]){4, s->size[1], 3}, 3);
        shape to = *s;
        to.size[1] = 4;
        begin(n, &to);
        say(n, "Conv(v%d,c%d) pads=[1,1]; ", v, c);
    }
}

static void shape_of_itself(net *n, int v, const shape *s)
{
    say(n, "c%d = Shape(v%d); ", n->constants, v);
    begin(n, s);
    say(n, "Reshape(v%d,c%d); ", v, n->constants++);
}

/* The rows' number gets into the values. */
static void count_rows(net *n, int v, const shape *s)
{
    if (below(n, 8) == 0) {
        int c = n->constants;
        n->constants += 2;
        say(n, "c%d = Size(v%d); c%d = Cast(c%d) to=1; ", c, v, c + 1, c);
        begin(n, s);
        say(n, "Mul(v%d,c%d); ", v, c + 1);
    }
}

static void make_net(net *n, uint64_t seed)
{
    static void (*const steps[])(net *, int, const shape *) = {
        unary,  binary,    with_constant,   linear,     likeness,  softmax, norm,
        reduce, transpose, merge,           divide,     concat,    gather,  slice,
        tile,   convolve,  shape_of_itself, count_rows, transpose, linear,  divide,
    };
    memset(n, 0, sizeof *n);
    n->seed = seed * 0x9e3779b97f4a7c15U + 1;
    int inputs = 1 + below(n, 2), wanted = 2 + below(n, 9);
    for (int i = 0; i < inputs; i++) {
        add_input(n);
    }
    for (int i = 0; i < 4 * wanted && n->count < inputs + wanted; i++) {
        int recent = n->count < 3 ? n->count : 3;
        int v = n->count - 1 - below(n, recent);
        shape s = n->shapes[v];
        if (s.rank > 0 && elements(&s) <= MOST_ELEMENTS) {
            steps[below(n, (int)(sizeof steps / sizeof *steps))](n, v, &s);
        }
    }
    say(n, "-> v%d", n->count - 1);
    if (n->count > inputs + 2) {
        say(n, ",v%d", n->count - 3);
    }
}

/* Normal numbers, among them some that are none. */
static void fill(weft_tensor *tensor, uint32_t stream)
{
    size_t count = tensor->size_bytes / sizeof(float);
    weft_random_key key = {.seed = 5, .stream = stream};
    tensor->data = malloc(tensor->size_bytes + sizeof(uint32_t));
    weft_random_fill_normal(&key, tensor->data, count);
    for (size_t i = stream % 97; i < count; i += 97) {
        uint32_t odd = i % 2 == 0 ? 0x7fc12345U : 0xff800000U;
        memcpy((float *)tensor->data + i, &odd, sizeof odd);
    }
}

/* Whether so many rows are accepted; if so their bits must be the same. */
static bool check_rows(const net *n, weft_model *model, int64_t rows, bool odd)
{
    weft_tensor inputs[2];
    int32_t input_axes[2], output_axes[2];
    weft_error error = {0};
    size_t count = weft_model_input_count(model);
    if (wefti_model_batch_axes(model, "batch", input_axes, &error) != WEFT_OK) {
        fail_msg("%s: %s", n->text, error.message);
    }
    for (size_t i = 0; i < count; i++) {
        weft_value_info info;
        weft_model_get_input(model, i, &info);
        inputs[i] = (weft_tensor){.type = info.type, .rank = info.rank};
        memcpy(inputs[i].dims, info.dims, sizeof info.dims);
        inputs[i].dims[input_axes[i]] = rows;
        assert_int_equal(
            weft_tensor_measure(&inputs[i], NULL, &inputs[i].size_bytes, NULL),
            WEFT_OK);
        fill(&inputs[i], odd ? 1 + (uint32_t)i : 96);
    }
    weft_io shapes = {.inputs = inputs, .input_count = count};
    weft_status status =
        wefti_model_check_rows(model, &shapes, input_axes, output_axes, &error);
    if (status != WEFT_OK && status != WEFT_UNSUPPORTED) {
        fail_msg("%s: %s", n->text, error.message);
    }
    if (status == WEFT_OK &&
        !rows_case_same_bits(model, inputs, input_axes, output_axes)) {
        fail_msg("other bits with %d rows: %s", (int)rows, n->text);
    }
    for (size_t i = 0; i < count; i++) {
        free(inputs[i].data);
    }
    return status == WEFT_OK;
}

static void accepted_nets_keep_rows_apart(void **state)
{
    (void)state;
    static const int64_t sizes[] = {7, 4, 2};
    uint32_t accepted = 0, count = net_count;
    for (uint32_t i = 0; i < count; i++) {
        net n;
        make_net(&n, first_seed + i);
        weft_error error = {0};
        weft_model_params params = WEFT_MODEL_PARAMS_INIT;
        params.no_fusion = i % 4 == 0;
        weft_model *model;
        weft_graph *graph = graph_text_make(n.text, 20);
        if (weft_model_create(devices[i % device_count], graph, &params, &model,
                              &error) != WEFT_OK) {
            fail_msg("%s: %s", n.text, error.message);
        }
        accepted += check_rows(&n, model, sizes[i % 3], i % 5 == 0);
        weft_model_release(model);
        weft_graph_release(graph);
    }
    print_message("%u of %u nets accepted\n", accepted, count);
    assert_in_range(accepted, count / 2, count - count / 50);
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

int main(int count, char **arguments)
{
    if (count > 1) {
        net_count = (uint32_t)strtoul(arguments[1], NULL, 10);
    }
    if (count > 2) {
        first_seed = strtoull(arguments[2], NULL, 10);
    }
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_nets_keep_rows_apart),
    };
    return cmocka_run_group_tests_name("random rows", tests, open_devices,
                                       close_devices);
}

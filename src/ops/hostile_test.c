/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

#include "support/program_run.h"

/* Every operator with nonsense: random counts, types, shapes, constants and
 * attributes. Inference may refuse; what it accepts must lower, and where it is small,
 * run inside its buffers. */

typedef struct chance {
    uint64_t state;
} chance;

static int64_t pick(chance *c, int64_t count)
{
    return (int64_t)(kernel_next(&c->state) % (uint64_t)count);
}

static int64_t some_integer(chance *c)
{
    static const int64_t odd[] = {INT64_MIN, INT64_MAX,    -1, 1LL << 31,
                                  1LL << 62, -(1LL << 40), 7,  100};
    return pick(c, 12) == 0 ? odd[pick(c, WEFTI_COUNT_OF(odd))] : pick(c, 7) - 2;
}

static const char *const attribute_names[] = {
    "axis",
    "axes",
    "keepdims",
    "perm",
    "to",
    "alpha",
    "beta",
    "transA",
    "transB",
    "kernel_shape",
    "strides",
    "dilations",
    "pads",
    "auto_pad",
    "group",
    "ceil_mode",
    "num_outputs",
    "mode",
    "epsilon",
    "approximate",
    "num_groups",
    "q_num_heads",
    "kv_num_heads",
    "is_causal",
    "noop_with_empty_axes",
    "value_ints",
    "value",
    "start",
    "end",
    "upper",
    "allowzero",
    "fmod",
    "stash_type",
    "program",
    "constants",
    "activation",
    "trans_a",
    "trans_b",
    "scale",
    "count_include_pad",
    "output_layout",
    "root_mean_square",
    "blocksize",
    "direction",
    "layout",
    "linear_before_reset",
    "exclusive",
    "reverse",
    "largest",
    "batch_dims",
    "reduction",
    "coordinate_transformation_mode",
    "nearest_mode",
    "antialias",
    "output_padding",
    "output_shape",
    "k",
    "dtype",
    "p",
};

static const char *const texts[] = {"ij,jk->ik",
                                    "ii",
                                    "a...,b...->ab...",
                                    "LEFT",
                                    "delta",
                                    "mean",
                                    "none",
                                    "SAME_UPPER",
                                    "SAME_LOWER",
                                    "VALID",
                                    "NOTSET",
                                    "reflect",
                                    "edge",
                                    "wrap",
                                    "constant",
                                    "tanh",
                                    "none",
                                    "BSHD",
                                    "",
                                    "add",
                                    "linear",
                                    "cubic",
                                    "align_corners",
                                    "tf_crop_and_resize",
                                    "reverse",
                                    "bidirectional",
                                    "CRD"};

typedef struct hostile {
    op_case c;
    int64_t ints[OP_CASE_MAX][12];
    float floats[OP_CASE_MAX][12];
    char names[OP_CASE_MAX][64];
    weft_tensor tensor;
} hostile;

/* Mostly a name that the operator knows. */
static const char *pick_name(hostile *h, chance *c, size_t index)
{
    const char *known = h->c.op->attributes;
    if (!known || known[0] == '\0' || pick(c, 20) == 0) {
        return attribute_names[pick(c, WEFTI_COUNT_OF(attribute_names))];
    }
    const char *at = known + pick(c, (int64_t)strlen(known));
    while (at > known && at[-1] != ' ') {
        at--;
    }
    size_t length = strcspn(at, " ");
    memcpy(h->names[index], at, length);
    h->names[index][length] = '\0';
    return h->names[index];
}

/* Mostly the kind that attributes of the name have. */
static weft_attribute_kind pick_kind(chance *c, const char *name)
{
    weft_attribute_kind kind = 0;
    bool known = wefti_attribute_find_kind(name, &kind) && kind != 0;
    return known && pick(c, 20) != 0 ? kind : (weft_attribute_kind)(1 + pick(c, 6));
}

static void add_attribute(hostile *h, chance *c, size_t index)
{
    const char *name = pick_name(h, c, index);
    size_t count = (size_t)pick(c, 7);
    if (wefti_attribute_find(&h->c.node, name) && pick(c, 20) != 0) {
        return; /* names that stand twice are refused */
    }
    for (size_t i = 0; i < 12; i++) {
        h->ints[index][i] = some_integer(c);
        h->floats[index][i] = (float)(pick(c, 9) - 4) * 0.5F;
    }
    switch (pick_kind(c, name)) {
    case WEFT_ATTRIBUTE_INT:
        op_int(&h->c, name, some_integer(c));
        return;
    case WEFT_ATTRIBUTE_FLOAT:
        op_float(&h->c, name, (float)some_integer(c));
        return;
    case WEFT_ATTRIBUTE_STRING:
        op_string(&h->c, name, texts[pick(c, WEFTI_COUNT_OF(texts))]);
        return;
    case WEFT_ATTRIBUTE_FLOATS:
        op_floats(&h->c, name, count, h->floats[index]);
        return;
    case WEFT_ATTRIBUTE_TENSOR:
        h->tensor = (weft_tensor){.data = h->ints[index],
                                  .type = WEFT_TYPE_I64,
                                  .rank = (int32_t)pick(c, 3),
                                  .dims = {pick(c, 3), pick(c, 4)}};
        op_tensor(&h->c, name, &h->tensor);
        return;
    default:
        op_ints(&h->c, name, count, h->ints[index]);
        return;
    }
}

static void add_input(hostile *h, chance *c, size_t index)
{
    static const weft_type types[] = {WEFT_TYPE_F32, WEFT_TYPE_F32, WEFT_TYPE_F32,
                                      WEFT_TYPE_F32, WEFT_TYPE_I64, WEFT_TYPE_BOOL,
                                      WEFT_TYPE_U8,  WEFT_TYPE_I8};
    int64_t dims[WEFT_MAX_RANK];
    int32_t rank = (int32_t)pick(c, pick(c, 6) == 0 ? 9 : 5);
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = pick(c, 4) == 0 ? pick(c, 4) : 2;
    }
    if (pick(c, 15) == 0) {
        op_absent(&h->c);
        return;
    }
    if (index > 0 && pick(c, 3) != 0 && rank <= 1) { /* a list that says a shape */
        int64_t values[4];
        for (int32_t i = 0; i < 4; i++) {
            values[i] = some_integer(c);
        }
        op_list(&h->c, (size_t)pick(c, 5), values);
        return;
    }
    bool same = index > 0 && pick(c, 2) == 0;
    weft_type type = same ? h->c.inputs[0].type : types[pick(c, 8)];
    if (type == WEFT_TYPE_NONE) {
        type = WEFT_TYPE_F32;
    }
    if (same) {
        rank = h->c.inputs[0].rank;
        memcpy(dims, h->c.inputs[0].dims, sizeof(dims));
    }
    op_input(&h->c, type, rank, dims, NULL); /* zeros */
    if (pick(c, 5) == 0) {
        h->c.inputs[index].constant = h->c.input_data[index];
    }
}

static bool small_enough(const op_case *c)
{
    for (size_t i = 0; i < c->node.output_count; i++) {
        double count = 1;
        for (int32_t j = 0; j < c->outputs[i].rank; j++) {
            count *= (double)c->outputs[i].dims[j];
        }
        if (count > 1e4) {
            return false;
        }
    }
    return true;
}

/* Indices out of range fail the run, as they should. */
static bool has_wild_indices(const op_case *c)
{
    static const char *const names[] = {"Gather", "Scatter", "ReverseSequence"};
    bool reads = false;
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        reads = reads || strstr(c->node.op_type, names[i]);
    }
    for (size_t i = 1; reads && i < c->node.input_count; i++) {
        if (c->inputs[i].type == WEFT_TYPE_I64 && c->inputs[i].constant) {
            return true;
        }
    }
    return false;
}

static void make_case(hostile *h, chance *c, const wefti_operator *op)
{
    int32_t opset = op->since;
    opset = op->domain[0] ? opset : opset + (int32_t)pick(c, op->until - opset + 1);
    op_begin(&h->c, op->domain, op->name, opset);
    int32_t most = op->max_inputs > 5 ? 5 : op->max_inputs;
    most = most < op->min_inputs ? op->min_inputs : most;
    int32_t inputs = op->min_inputs + (int32_t)pick(c, most - op->min_inputs + 1);
    for (int32_t i = 0; i < inputs; i++) {
        add_input(h, c, (size_t)i);
    }
    size_t attributes = (size_t)pick(c, 5);
    for (size_t i = 0; i < attributes; i++) {
        add_attribute(h, c, i);
    }
}

/* True when inference accepted it. */
static bool try_nonsense(chance *c, const wefti_operator *op, bool run)
{
    hostile h;
    make_case(&h, c, op);
    size_t outputs = op->max_outputs > 1 ? (size_t)(1 + pick(c, 2)) : 1;
    bool accepted = op_infer(&h.c, outputs) == WEFT_OK;
    if (accepted && run && small_enough(&h.c) && !has_wild_indices(&h.c)) {
        op_run(&h.c, outputs);
    }
    if (!accepted) {
        assert_true(strlen(h.c.error.message) > 0);
        assert_int_equal(
            strncmp(h.c.error.message, h.c.node.label, strlen(h.c.node.label)), 0);
    }
    op_end(&h.c);
    return accepted;
}

static void test_nonsense(void **state)
{
    (void)state;
    chance c = {2024};
    size_t accepted = 0;
    for (size_t round = 0; round < 150; round++) {
        for (size_t i = 0; wefti_operator_at(i); i++) {
            accepted += try_nonsense(&c, wefti_operator_at(i), round % 8 == 0);
        }
    }
    assert_true(accepted > 1000);
}

/* Fails each allocation of one node's lowering; returns how many there were. */
static size_t fail_allocations(chance *c, const wefti_operator *op)
{
    hostile h;
    size_t failed = 0;
    make_case(&h, c, op);
    bool usable = op->lower && op_infer(&h.c, 1) == WEFT_OK && small_enough(&h.c);
    while (usable && op_lower(&h.c, failed + 1) != WEFT_OK) {
        assert_int_equal(h.c.error.status, WEFT_OUT_OF_MEMORY);
        failed++;
    }
    op_end(&h.c);
    return failed;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    chance c = {7};
    size_t failed = 0;
    for (size_t round = 0; round < 20; round++) {
        for (size_t i = 0; wefti_operator_at(i); i++) {
            failed += fail_allocations(&c, wefti_operator_at(i));
        }
    }
    assert_true(failed > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

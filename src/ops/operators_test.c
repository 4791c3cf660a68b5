/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

#include <stdio.h>

#include "base/testing.h"
#include "ops/demand.h"
#include "support/program_run.h"

static void expect_not_found(const char *domain, const char *op_type, int32_t opset,
                             const char *text)
{
    const wefti_operator *found = NULL;
    weft_error error = {0};
    assert_int_equal(wefti_operator_find(domain, op_type, opset, &found, &error),
                     WEFT_UNSUPPORTED);
    if (!strstr(error.message, text)) {
        fail_msg("expected \"%s\" in \"%s\"", text, error.message);
    }
}

static void test_find(void **state)
{
    (void)state;
    const wefti_operator *found = NULL;
    assert_int_equal(wefti_operator_find("ai.onnx", "Gelu", 20, &found, NULL), WEFT_OK);
    assert_string_equal(found->name, "Gelu");
    assert_int_equal(wefti_operator_find(NULL, "Add", 13, &found, NULL), WEFT_OK);
    assert_int_equal(wefti_operator_find("com.microsoft", "Gelu", 1, &found, NULL),
                     WEFT_OK);
    expect_not_found("", "Gelu", 19, "supported from opset 20");
    expect_not_found("", "Add", 6, "opset 6");
    expect_not_found("", "Add", 29, "7 to 28");
    expect_not_found("", "Frobnicate", 20, "operator Frobnicate is unknown");
    expect_not_found("org.example", "Add", 20, "org.example::Add is unknown");
}

static void test_table_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; wefti_operator_at(i); i++) {
        const wefti_operator *op = wefti_operator_at(i);
        assert_non_null(op->infer);
        assert_true(op->lower || op->fold || wefti_operator_is_control(op));
        assert_true(op->min_inputs <= op->max_inputs);
        assert_true(op->min_outputs >= 1 && op->min_outputs <= op->max_outputs);
        const wefti_operator *next = wefti_operator_at(i + 1);
        if (next && strcmp(op->domain, next->domain) == 0) {
            assert_true(strcmp(op->name, next->name) < 0);
        }
    }
}

static void test_counts(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Add", 13);
    op_f32(&c, DIMS(1), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "has 1 inputs, expected at least 2");
    op_f32(&c, DIMS(1), NULL);
    op_f32(&c, DIMS(1), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "has 3 inputs, expected at most 2");
    c.node.input_count = 2;
    op_expect_error(&c, 2, WEFT_INVALID_MODEL, "has 2 outputs");
    c.inputs[0].dims[0] = -1;
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "input 0");
    op_end(&c);
}

static void test_unknown_attributes(void **state)
{
    (void)state;
    static const char *const names[] = {"axi", "axiss", "xis", "keepdims ", "", "axes"};
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        op_case c;
        op_begin(&c, "", "ArgMax", 13);
        op_int(&c, names[i], 0);
        op_f32(&c, DIMS(1), NULL);
        op_expect_error(&c, 1, WEFT_INVALID_MODEL, names[i]);
        op_end(&c);
    }
    op_case c;
    op_begin(&c, "", "ReduceMax", 18);
    op_ints(&c, "axes", 1, I64(0));
    op_f32(&c, DIMS(1), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "axes are an input");
    op_end(&c);
}

static void expect_rules(const char *op_type, const char *names)
{
    char copy[256];
    assert_true(strlen(names) < sizeof(copy));
    strcpy(copy, names);
    char *rest = NULL;
    for (char *name = strtok_r(copy, " ", &rest); name;
         name = strtok_r(NULL, " ", &rest)) {
        weft_attribute_kind kind;
        if (!wefti_attribute_find_kind(name, &kind)) {
            fail_msg("%s: attributes.c does not tell the kind of '%s'", op_type, name);
        }
    }
}

/* An attribute without a kind would be ignored where it has a wrong one. */
static void test_every_attribute_has_a_kind(void **state)
{
    (void)state;
    for (size_t i = 0; wefti_operator_at(i); i++) {
        const wefti_operator *op = wefti_operator_at(i);
        if (op->attributes) {
            expect_rules(op->name, op->attributes);
        }
    }
    weft_attribute_kind kind;
    assert_false(wefti_attribute_find_kind("axi", &kind));
}

/* An attribute that its operator knows, of a kind that it is not. */
static void expect_wrong_kind(const char *op_type, const weft_attribute *attribute,
                              const char *text)
{
    op_case c;
    op_begin(&c, "", op_type, 13);
    c.attributes[c.node.attribute_count++] = *attribute;
    for (int32_t i = 0; i < c.op->min_inputs; i++) {
        op_f32(&c, DIMS(1, 2, 3, 4), NULL);
    }
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, text);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, op_type);
    op_end(&c);
}

static void test_kinds_of_attributes(void **state)
{
    (void)state;
    weft_attribute number = {.name = "alpha", .kind = WEFT_ATTRIBUTE_INT, .i = 1};
    weft_attribute real = {.name = "axis", .kind = WEFT_ATTRIBUTE_FLOAT, .f = 1};
    weft_attribute words = {.name = "axis", .kind = WEFT_ATTRIBUTE_STRING, .s = "1"};
    weft_attribute list = {.name = "alpha", .kind = WEFT_ATTRIBUTE_INTS};
    expect_wrong_kind("LeakyRelu", &number,
                      "the attribute 'alpha' is an integer, expected a float");
    expect_wrong_kind("LeakyRelu", &list, "'alpha' is a list of integers");
    expect_wrong_kind("Concat", &real, "'axis' is a float, expected an integer");
    expect_wrong_kind("Gather", &words, "'axis' is a text, expected an integer");
    real.name = "transB";
    expect_wrong_kind("Gemm", &real, "'transB' is a float");
    number.name = "strides";
    expect_wrong_kind("Conv", &number, "'strides' is an integer, expected a list");
    number.name = "perm";
    expect_wrong_kind("Transpose", &number, "'perm' is an integer, expected a list");
    number.name = "auto_pad";
    expect_wrong_kind("MaxPool", &number, "'auto_pad' is an integer, expected a text");
    words = (weft_attribute){.name = "auto_pad", .kind = WEFT_ATTRIBUTE_STRING};
    expect_wrong_kind("MaxPool", &words, "'auto_pad' has no value");
    number.kind = (weft_attribute_kind)77;
    expect_wrong_kind("MaxPool", &number, "'auto_pad' is of an unknown kind");
}

static void test_attributes_given_twice(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "ArgMax", 13);
    op_int(&c, "axis", 0);
    op_int(&c, "keepdims", 0);
    op_int(&c, "axis", 1);
    op_f32(&c, DIMS(2, 3), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "has the attribute 'axis' twice");
    op_end(&c);
}

/* docs/operators.md begins with the table: WEFT_UPDATE_DOCS=1 renews it and keeps what
 * stands behind it. */
static char *write_table(void)
{
    size_t capacity = 1 << 16;
    char *text = calloc(1, capacity);
    size_t used = 0;
    static const char *const head =
        "# Operators\n\n"
        "What a graph may hold, with the meaning of ONNX opset 7 to 28; a later\n"
        "\"since\" is the opset that brought the operator. Element types: f32 "
        "everywhere;\n"
        "f64, i64, i32 and bool where the operator is one operation per element, a\n"
        "reduction or a movement of data. Inputs that decide a shape may be "
        "constants,\n"
        "follow from shapes, be inputs of the model, or be computed. Outputs: those\n"
        "that must be there.\n\n"
        "| domain | operator | since | inputs | outputs |\n|---|---|---|---|---|\n";
    used += (size_t)snprintf(text + used, capacity - used, "%s", head);
    for (size_t i = 0; wefti_operator_at(i); i++) {
        const wefti_operator *op = wefti_operator_at(i);
        char most[24] = "";
        if (strcmp(op->domain, "weft") == 0) {
            continue;
        }
        if (op->max_inputs != op->min_inputs) {
            snprintf(most, sizeof(most), op->max_inputs > 99 ? " or more" : " to %d",
                     op->max_inputs);
        }
        used += (size_t)snprintf(
            text + used, capacity - used, "| %s | %s | %d | %d%s | %d%s |\n",
            op->domain[0] ? op->domain : "ONNX", op->name, op->since, op->min_inputs,
            most, op->min_outputs, op->max_outputs > 99 ? " or more" : "");
    }
    return text;
}

static void test_documentation(void **state)
{
    (void)state;
    char *expected = write_table();
    const char *path = WEFT_SOURCE_DIR "/docs/operators.md";
    static char found[1 << 16];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    found[fread(found, 1, sizeof(found) - 1, file)] = '\0';
    fclose(file);
    char *notes = strstr(found, "|\n\n");
    notes = notes ? notes + 2 : found + strlen(found);
    if (getenv("WEFT_UPDATE_DOCS")) {
        file = fopen(path, "w");
        assert_non_null(file);
        fprintf(file, "%s%s", expected, notes);
        fclose(file);
    }
    *notes = '\0';
    assert_string_equal(found, expected);
    free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_table_is_complete),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_unknown_attributes),
        cmocka_unit_test(test_every_attribute_has_a_kind),
        cmocka_unit_test(test_kinds_of_attributes),
        cmocka_unit_test(test_attributes_given_twice),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

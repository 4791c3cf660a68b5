/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/tensor.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static weft_tensor shaped(weft_type type, int32_t rank, int64_t a, int64_t b, int64_t c)
{
    return (weft_tensor){.type = type, .rank = rank, .dims = {a, b, c}};
}

static void sizes_and_names_of_types(void **state)
{
    (void)state;
    static const struct {
        weft_type type;
        size_t size;
        const char *name;
    } known[] = {
        {WEFT_TYPE_F32, 4, "f32"},   {WEFT_TYPE_U8, 1, "u8"},
        {WEFT_TYPE_I8, 1, "i8"},     {WEFT_TYPE_I32, 4, "i32"},
        {WEFT_TYPE_I64, 8, "i64"},   {WEFT_TYPE_BOOL, 1, "bool"},
        {WEFT_TYPE_F16, 2, "f16"},   {WEFT_TYPE_F64, 8, "f64"},
        {WEFT_TYPE_BF16, 2, "bf16"}, {WEFT_TYPE_NONE, 0, "none"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_int_equal(weft_type_size(known[i].type), known[i].size);
        assert_string_equal(weft_type_name(known[i].type), known[i].name);
    }
    static const int unknown[] = {-1, 4, 5, 8, 12, 15, 17, 1000};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_int_equal(weft_type_size((weft_type)unknown[i]), 0);
        assert_string_equal(weft_type_name((weft_type)unknown[i]), "unknown");
    }
}

static void measures_dense_tensors(void **state)
{
    (void)state;
    int64_t count = -1;
    size_t bytes = 1;
    weft_tensor tensor = shaped(WEFT_TYPE_F64, 3, 2, 3, 5);
    assert_int_equal(weft_tensor_measure(&tensor, &count, &bytes, NULL), WEFT_OK);
    assert_int_equal(count, 30);
    assert_int_equal(bytes, 240);
    tensor = shaped(WEFT_TYPE_F32, 0, 0, 0, 0); /* a scalar */
    assert_int_equal(weft_tensor_measure(&tensor, &count, &bytes, NULL), WEFT_OK);
    assert_int_equal(count, 1);
    assert_int_equal(bytes, 4);
    tensor = shaped(WEFT_TYPE_F32, 3, 4, 0, 4);
    assert_int_equal(weft_tensor_measure(&tensor, &count, &bytes, NULL), WEFT_OK);
    assert_int_equal(count, 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(weft_tensor_measure(&tensor, NULL, NULL, NULL), WEFT_OK);
}

static void refuses(const weft_tensor *tensor, const char *words)
{
    weft_error error = {0};
    int64_t count = -7;
    size_t bytes = 7;
    weft_status status = weft_tensor_measure(tensor, &count, &bytes, &error);
    assert_int_equal(status, WEFT_INVALID_ARGUMENT);
    assert_int_equal(error.status, WEFT_INVALID_ARGUMENT);
    if (!strstr(error.message, words)) {
        fail_msg("\"%s\" lacks \"%s\"", error.message, words);
    }
    assert_int_equal(count, -7);
    assert_int_equal(bytes, 7);
}

static void refuses_what_is_not_a_tensor(void **state)
{
    (void)state;
    weft_tensor tensor = shaped(WEFT_TYPE_F32, 2, 3, -1, 0);
    refuses(&tensor, "dimension 1 of the tensor is -1");
    tensor = shaped((weft_type)5, 1, 1, 0, 0);
    refuses(&tensor, "type 5");
    tensor = shaped(WEFT_TYPE_NONE, 1, 1, 0, 0);
    refuses(&tensor, "type 0");
    tensor = shaped(WEFT_TYPE_F32, -1, 0, 0, 0);
    refuses(&tensor, "rank is -1");
    tensor = shaped(WEFT_TYPE_F32, WEFT_MAX_RANK + 1, 0, 0, 0);
    refuses(&tensor, "rank is 9");
    refuses(NULL, "NULL");
}

static void refuses_products_that_overflow(void **state)
{
    (void)state;
    int64_t big = (int64_t)1 << 32;
    weft_tensor tensor = shaped(WEFT_TYPE_U8, 3, big, big, 1);
    refuses(&tensor, "overflows at dimension 1");
    tensor = shaped(WEFT_TYPE_U8, 3, 0, big, big);
    refuses(&tensor, "overflows at dimension 2");
    tensor = shaped(WEFT_TYPE_U8, 3, big, big, 0);
    refuses(&tensor, "overflows at dimension 1");
    tensor = shaped(WEFT_TYPE_F32, 2, big, (int64_t)1 << 30, 0);
    refuses(&tensor, "larger than memory can be");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_names_of_types),
        cmocka_unit_test(measures_dense_tensors),
        cmocka_unit_test(refuses_what_is_not_a_tensor),
        cmocka_unit_test(refuses_products_that_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

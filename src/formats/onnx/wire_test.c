/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/onnx/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/testing.h"
#include "support/onnx_builder.h"

static weft_status check(const char *bytes, size_t size, weft_error *error)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    weft_status status = wefti_onnx_check_wire(copy, size, error);
    free(copy);
    return status;
}

#define REFUSED(bytes, words)                                                          \
    do {                                                                               \
        weft_error error = {0};                                                        \
        assert_int_equal(check(bytes, sizeof(bytes) - 1, &error), WEFT_INVALID_MODEL); \
        if (!strstr(error.message, words)) {                                           \
            fail_msg("'%s' is not in '%s'", words, error.message);                     \
        }                                                                              \
    } while (0)

static void accepts_what_protobuf_writes(void **state)
{
    (void)state;
    onnx_builder builder;
    size_t size = 0;
    onnx_builder_make_small(&builder);
    const uint8_t *bytes = onnx_builder_pack(&builder, &size);
    assert_int_equal(wefti_onnx_check_wire(bytes, size, NULL), WEFT_OK);
    assert_int_equal(wefti_onnx_check_wire(NULL, 0, NULL), WEFT_OK);
    /* Unknown fields of every kind: number 1000 is not in the schema. */
    assert_int_equal(check("\xc0\x3e\x01\xc1\x3e"
                           "12345678"
                           "\xc2\x3e\x01"
                           "x"
                           "\xc5\x3e"
                           "1234",
                           23, NULL),
                     WEFT_OK);
    onnx_builder_fini(&builder);
}

static void refuses_broken_fields(void **state)
{
    (void)state;
    REFUSED("\x80", "cut field number");
    REFUSED("\x08", "cut number");
    REFUSED("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "cut number");
    REFUSED("\x09\x01\x02\x03", "cut number");
    REFUSED("\x0d\x01\x02\x03", "cut number");
    REFUSED("\x12\x05"
            "abcd",
            "beyond the end");
    REFUSED("\x12\xff\xff\xff\xff\x7f"
            "abcd",
            "beyond the end");
    REFUSED("\x12\xff\xff\xff\xff\xff\x01"
            "abcd",
            "beyond the end");
    REFUSED("\x0b", "unknown kind");
    REFUSED("\x0c", "unknown kind");
    REFUSED("\x00\x01", "impossible field number");
    REFUSED("\xf8\xff\xff\xff\x7f\x01", "impossible field number");
    /* A graph of 4 bytes that holds a node of 9. */
    REFUSED("\x3a\x04\x0a\x09"
            "ab",
            "beyond the end");
}

static void refuses_fields_that_occur_twice(void **state)
{
    (void)state;
    REFUSED("\x08\x01\x08\x02", "'ir_version'");
    REFUSED("\x3a\x00\x3a\x00", "'graph'");
    /* Two members of one choice: dim_value and dim_param of a dimension, in the
     * shape of a tensor type of an input of the graph. */
    REFUSED("\x3a\x0f\x5a\x0d\x12\x0b\x0a\x09\x12\x07\x0a\x05\x08\x01\x12\x01"
            "n",
            "'dim_param'");
    weft_error error;
    assert_int_equal(check("\x42\x00\x42\x00", 4, &error), WEFT_OK); /* repeated */
}

static void refuses_text_with_a_zero_byte(void **state)
{
    (void)state;
    REFUSED("\x12\x03"
            "a\0b",
            "'producer_name'");
}

/* A model whose graph holds a node whose attribute holds a graph ... */
static size_t nest(uint8_t *bytes, size_t capacity, int depth)
{
    static const uint8_t tags[] = {0x0a, 0x2a, 0x32}; /* node, attribute, g */
    size_t at = capacity;
    for (int i = depth; i > 0; i--) {
        size_t length = capacity - at;
        uint8_t head[6] = {i == 1 ? 0x3a : tags[(i - 2) % 3]};
        size_t size = 1;
        do {
            head[size] = (uint8_t)(length & 0x7f);
            length >>= 7;
            head[size++] |= length ? 0x80 : 0;
        } while (length);
        at -= size;
        memcpy(bytes + at, head, size);
    }
    memmove(bytes, bytes + at, capacity - at);
    return capacity - at;
}

static void refuses_deep_nesting(void **state)
{
    (void)state;
    enum { CAPACITY = 4000000 };
    uint8_t *bytes = malloc(CAPACITY);
    assert_non_null(bytes);
    weft_error error = {0};
    size_t size = nest(bytes, CAPACITY, 20);
    assert_int_equal(wefti_onnx_check_wire(bytes, size, &error), WEFT_OK);
    size = nest(bytes, CAPACITY, 40);
    assert_int_equal(wefti_onnx_check_wire(bytes, size, &error), WEFT_INVALID_MODEL);
    assert_non_null(strstr(error.message, "32 levels"));
    size = nest(bytes, CAPACITY, 900000);
    Onnx__ModelProto *model = NULL;
    assert_int_equal(wefti_onnx_unpack(bytes, size, &model, &error),
                     WEFT_INVALID_MODEL);
    free(bytes);
}

static void tells_no_memory_from_a_wrong_field(void **state)
{
    (void)state;
    Onnx__ModelProto *model = NULL;
    weft_error error = {0};
    /* ir_version as a text. */
    assert_int_equal(wefti_onnx_unpack((const uint8_t *)"\x0a\x01x", 3, &model, &error),
                     WEFT_INVALID_MODEL);
    wefti_fault_arm(1, 1u << WEFTI_FAULT_ALLOCATION);
    assert_int_equal(wefti_onnx_unpack((const uint8_t *)"\x08\x01", 2, &model, &error),
                     WEFT_OUT_OF_MEMORY);
    wefti_fault_arm(0, 0);
    wefti_onnx_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_protobuf_writes),
        cmocka_unit_test(refuses_broken_fields),
        cmocka_unit_test(refuses_fields_that_occur_twice),
        cmocka_unit_test(refuses_text_with_a_zero_byte),
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(tells_no_memory_from_a_wrong_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

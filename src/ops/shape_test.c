/* SPDX-License-Identifier: Apache-2.0 */
#include "support/op_case.h"

/* Operators that see, cut, join and repeat tensors. */

static const float six[] = {1, 2, 3, 4, 5, 6};

static void expect_reshape(const int64_t *wanted, size_t count, bool allow_zero,
                           int32_t rank, const int64_t *dims)
{
    op_case c;
    op_begin(&c, "", "Reshape", 14);
    op_int(&c, "allowzero", allow_zero);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, count, wanted);
    op_run(&c, 1);
    op_expect_f32(&c, 0, rank, dims, six, 0);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
}

static void test_reshape(void **state)
{
    (void)state;
    expect_reshape(I64(6), 1, false, DIMS(6));
    expect_reshape(I64(-1, 2), 2, false, DIMS(3, 2));
    expect_reshape(I64(0, -1, 1), 3, false, DIMS(2, 3, 1));
    expect_reshape(I64(1, 2, 1, 3), 4, true, DIMS(1, 2, 1, 3));
}

static void reshape_error(const int64_t *wanted, size_t count, bool allow_zero,
                          weft_status status, const char *text)
{
    op_case c;
    op_begin(&c, "", "Reshape", 14);
    op_int(&c, "allowzero", allow_zero);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, count, wanted);
    op_expect_error(&c, 1, status, text);
    op_end(&c);
}

static void test_bad_reshapes(void **state)
{
    (void)state;
    reshape_error(I64(4), 1, false, WEFT_INVALID_ARGUMENT, "[2, 3] cannot become [4]");
    reshape_error(I64(-1, 4), 2, false, WEFT_INVALID_ARGUMENT, "cannot become");
    reshape_error(I64(-1, -1), 2, false, WEFT_INVALID_MODEL, "-1 may stand once");
    reshape_error(I64(-2), 1, false, WEFT_INVALID_MODEL, "-2");
    reshape_error(I64(2, 3, 0), 3, false, WEFT_INVALID_ARGUMENT, "copies dimension 2");
    reshape_error(I64(-1, 0), 2, true, WEFT_INVALID_ARGUMENT, "cannot become");
    reshape_error(I64(INT64_MAX, INT64_MAX), 2, false, WEFT_INVALID_ARGUMENT,
                  "overflows");
    reshape_error(I64(1, 1, 1, 1, 1, 1, 1, 1, 6), 9, false, WEFT_INVALID_ARGUMENT,
                  "at most 8");
    op_case c;
    op_begin(&c, "", "Reshape", 14);
    op_f32(&c, DIMS(2, 3), six);
    op_input(&c, WEFT_TYPE_I64, DIMS(1), I64(6));
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "input 1 decides a shape");
    op_end(&c);
}

static void test_reshape_of_nothing(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Reshape", 14);
    op_f32(&c, DIMS(2, 0), NULL);
    op_list(&c, 2, I64(-1, 5));
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(0, 5));
    op_end(&c);
    op_begin(&c, "", "Reshape", 14);
    op_int(&c, "allowzero", 1);
    op_f32(&c, DIMS(2, 0), NULL);
    op_list(&c, 2, I64(0, 5));
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(0, 5));
    op_end(&c);
}

static void test_flatten_squeeze_unsqueeze(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Flatten", 13);
    op_int(&c, "axis", -1);
    op_f32(&c, DIMS(1, 2, 3), six);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), six, 0);
    op_end(&c);
    op_begin(&c, "", "Squeeze", 13);
    op_f32(&c, DIMS(1, 2, 1, 3), six);
    op_list(&c, 1, I64(-2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2, 3), six, 0);
    op_end(&c);
    op_begin(&c, "", "Squeeze", 13);
    op_f32(&c, DIMS(1, 2, 1, 3), six);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), six, 0);
    op_end(&c);
    op_begin(&c, "", "Squeeze", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, 1, I64(0));
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "dimension 0 is 2");
    op_end(&c);
    op_begin(&c, "", "Unsqueeze", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, 2, I64(-1, 0));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2, 3, 1), six, 0);
    op_end(&c);
    op_begin(&c, "", "Unsqueeze", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, 2, I64(0, 0));
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "twice");
    op_end(&c);
}

static void test_transpose(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Transpose", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(3, 2), F32(1, 4, 2, 5, 3, 6), 0);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
    op_begin(&c, "", "Transpose", 13);
    op_ints(&c, "perm", 3, I64(2, 0, 1));
    op_f32(&c, DIMS(1, 2, 3), six);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(3, 1, 2), F32(1, 4, 2, 5, 3, 6), 0);
    op_end(&c);
    op_begin(&c, "", "Transpose", 13);
    op_ints(&c, "perm", 2, I64(0, 2));
    op_f32(&c, DIMS(2, 3), six);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "axis 2");
    op_end(&c);
}

/* start:end:step of one axis of [2, 3]. */
typedef struct slice_case {
    int64_t start, end, axis, step;
} slice_case;

static void slice_begin(op_case *c, slice_case slice)
{
    op_begin(c, "", "Slice", 13);
    op_f32(c, DIMS(2, 3), six);
    op_list(c, 1, &slice.start);
    op_list(c, 1, &slice.end);
    op_list(c, 1, &slice.axis);
    op_list(c, 1, &slice.step);
}

static void expect_slice(slice_case slice, int64_t rows, int64_t columns,
                         const float *values)
{
    op_case c;
    slice_begin(&c, slice);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(rows, columns), values, 0);
    op_end(&c);
}

static void test_slice(void **state)
{
    (void)state;
    expect_slice((slice_case){1, 3, 1, 1}, 2, 2, F32(2, 3, 5, 6));
    expect_slice((slice_case){-2, INT64_MAX, -1, 1}, 2, 2, F32(2, 3, 5, 6));
    expect_slice((slice_case){0, 3, 1, 2}, 2, 2, F32(1, 3, 4, 6));
    expect_slice((slice_case){-1, INT64_MIN, 1, -1}, 2, 3, F32(3, 2, 1, 6, 5, 4));
    expect_slice((slice_case){2, -4, 1, -2}, 2, 2, F32(3, 1, 6, 4));
    expect_slice((slice_case){1, 1, 0, 1}, 0, 3, NULL);
    expect_slice((slice_case){0, 99, 0, INT64_MAX}, 1, 3, F32(1, 2, 3));
    expect_slice((slice_case){99, -99, 0, INT64_MIN}, 1, 3, F32(4, 5, 6));
}

/* What ONNX's text says, step by step. */
static int64_t slice_as_written(slice_case slice, int64_t dim, float *values)
{
    int64_t start = slice.start < 0 ? slice.start + dim : slice.start;
    int64_t end = slice.end < 0 ? slice.end + dim : slice.end;
    bool ahead = slice.step > 0;
    int64_t most = ahead ? dim : dim - 1;
    start = start < 0 ? 0 : start > most ? most : start;
    end = end < (ahead ? 0 : -1) ? (ahead ? 0 : -1) : end > most ? most : end;
    int64_t count = 0;
    for (int64_t i = start; ahead ? i < end : i > end; i += slice.step) {
        values[count++] = (float)i;
        if (slice.step > dim || slice.step < -dim) {
            break; /* the next would not fit, or overflow */
        }
    }
    return count;
}

static void test_slice_bounds(void **state)
{
    (void)state;
    static const int64_t bounds[] = {
        INT64_MIN, INT64_MIN + 1, INT32_MIN, -7, -6, -5, -4, -1, 0, 1, 4, 5, 6, 7,
        INT32_MAX, INT64_MAX - 1, INT64_MAX};
    static const int64_t steps[] = {INT64_MIN, INT64_MIN + 1, -6, -5, -2, -1, 1, 2, 5,
                                    6,         INT64_MAX};
    static const float five[] = {0, 1, 2, 3, 4};
    enum { BOUNDS = WEFTI_COUNT_OF(bounds), STEPS = WEFTI_COUNT_OF(steps) };
    for (size_t n = 0; n < (size_t)BOUNDS * BOUNDS * STEPS; n++) {
        slice_case slice = {bounds[n / STEPS % BOUNDS], bounds[n / STEPS / BOUNDS], 0,
                            steps[n % STEPS]};
        float expected[5];
        int64_t count = slice_as_written(slice, 5, expected);
        op_case c;
        op_begin(&c, "", "Slice", 13);
        op_f32(&c, DIMS(5), five);
        op_list(&c, 1, &slice.start);
        op_list(&c, 1, &slice.end);
        op_list(&c, 1, &slice.axis);
        op_list(&c, 1, &slice.step);
        assert_int_equal(op_infer(&c, 1), WEFT_OK);
        op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(count));
        if (n % 11 == 0 || (slice.start < -5 && slice.step < 0)) {
            op_run(&c, 1);
            op_expect_f32(&c, 0, DIMS(count), expected, 0);
        }
        op_end(&c);
    }
}

static void test_slice_without_axes(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Slice", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, 2, I64(1, 1));
    op_list(&c, 2, I64(2, 3));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 2), F32(5, 6), 0);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
    slice_begin(&c, (slice_case){0, 1, 0, 0});
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "step is 0");
    op_end(&c);
    op_begin(&c, "", "Slice", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, 2, I64(1, 1));
    op_list(&c, 1, I64(2));
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "starts has 2");
    op_end(&c);
    op_begin(&c, "", "Slice", 13);
    op_f32(&c, SCALAR, six);
    op_list(&c, 1, I64(1));
    op_list(&c, 1, I64(1));
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "axis 0");
    op_end(&c);
}

static void test_split(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Split", 13);
    op_int(&c, "axis", -1);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, 3, I64(1, 0, 2));
    op_run(&c, 3);
    op_expect_f32(&c, 0, DIMS(2, 1), F32(1, 4), 0);
    op_expect_shape(&c, 1, WEFT_TYPE_F32, DIMS(2, 0));
    op_expect_f32(&c, 2, DIMS(2, 2), F32(2, 3, 5, 6), 0);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
    op_begin(&c, "", "Split", 18);
    op_int(&c, "num_outputs", 2);
    op_int(&c, "axis", 1);
    op_f32(&c, DIMS(2, 3), six);
    op_run(&c, 2);
    op_expect_f32(&c, 0, DIMS(2, 2), F32(1, 2, 4, 5), 0);
    op_expect_f32(&c, 1, DIMS(2, 1), F32(3, 6), 0);
    op_end(&c);
    op_begin(&c, "", "Split", 13);
    op_int(&c, "axis", 1);
    op_f32(&c, DIMS(2, 3), six);
    op_expect_error(&c, 2, WEFT_INVALID_ARGUMENT, "2 equal parts");
    op_end(&c);
    op_begin(&c, "", "Split", 18);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, 2, I64(3, -1));
    op_expect_error(&c, 2, WEFT_INVALID_ARGUMENT, "add up to 2");
    op_end(&c);
}

static void test_concat(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Concat", 13);
    op_int(&c, "axis", -1);
    op_f32(&c, DIMS(2, 1), F32(1, 2));
    op_f32(&c, DIMS(2, 0), NULL);
    op_f32(&c, DIMS(2, 2), F32(3, 4, 5, 6));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), F32(1, 3, 4, 2, 5, 6), 0);
    assert_int_equal(c.step_count, 2);
    op_end(&c);
    op_begin(&c, "", "Concat", 13);
    op_int(&c, "axis", 0);
    op_f32(&c, DIMS(2, 1), NULL);
    op_f32(&c, DIMS(2, 2), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "expected [2, 1]");
    op_end(&c);
    op_begin(&c, "", "Concat", 13);
    op_f32(&c, DIMS(2, 1), NULL);
    op_expect_error(&c, 1, WEFT_INVALID_MODEL, "axis is missing");
    op_end(&c);
}

static void test_expand_and_tile(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Expand", 13);
    op_f32(&c, DIMS(2, 1), F32(1, 2));
    op_list(&c, 3, I64(2, 1, 3));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2, 3), F32(1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2), 0);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
    op_begin(&c, "", "Expand", 13);
    op_f32(&c, DIMS(2), NULL);
    op_list(&c, 1, I64(3));
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "broadcast");
    op_end(&c);
    op_begin(&c, "", "Tile", 13);
    op_f32(&c, DIMS(2, 2), F32(1, 2, 3, 4));
    op_list(&c, 2, I64(2, 2));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(4, 4),
                  F32(1, 2, 1, 2, 3, 4, 3, 4, 1, 2, 1, 2, 3, 4, 3, 4), 0);
    op_end(&c);
    op_begin(&c, "", "Tile", 13);
    op_f32(&c, DIMS(2), F32(1, 2));
    op_list(&c, 1, I64(0));
    op_run(&c, 1);
    op_expect_shape(&c, 0, WEFT_TYPE_F32, DIMS(0));
    op_end(&c);
    op_begin(&c, "", "Tile", 13);
    op_f32(&c, DIMS(2), NULL);
    op_list(&c, 1, I64(INT64_MAX));
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "overflows");
    op_end(&c);
}

static void test_gather(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Gather", 13);
    op_int(&c, "axis", 1);
    op_f32(&c, DIMS(2, 3), six);
    op_input(&c, WEFT_TYPE_I64, DIMS(2, 2), I64(0, -1, 1, 1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 2, 2), F32(1, 3, 2, 2, 4, 6, 5, 5), 0);
    op_end(&c);
    op_begin(&c, "", "Gather", 13);
    op_int(&c, "axis", -1);
    op_f32(&c, DIMS(2, 3), six);
    op_constant(&c, WEFT_TYPE_I64, SCALAR, I64(-1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2), F32(3, 6), 0);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
    op_begin(&c, "", "Gather", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_constant(&c, WEFT_TYPE_I64, DIMS(1, 1), I64(1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(1, 1, 3), F32(4, 5, 6), 0);
    assert_int_equal(c.step_count, 0);
    op_end(&c);
    op_begin(&c, "", "Gather", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_constant(&c, WEFT_TYPE_I64, DIMS(1), I64(2));
    op_expect_error(&c, 1, WEFT_INVALID_ARGUMENT, "index 2");
    op_end(&c);
    op_begin(&c, "", "Gather", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_f32(&c, DIMS(1), six);
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "expected i32, i64");
    op_end(&c);
}

/* [1, 2, 3] padded by 2 before and 1 after, rows repeated as they are. */
static void expect_pad(const char *mode, const float *line)
{
    op_case c;
    float both[12];
    for (int32_t i = 0; i < 12; i++) {
        both[i] = i < 6 ? line[i] : 10 * line[i - 6];
    }
    op_begin(&c, "", "Pad", 19);
    op_string(&c, "mode", mode);
    op_f32(&c, DIMS(2, 3), F32(1, 2, 3, 10, 20, 30));
    op_list(&c, 4, I64(0, 2, 0, 1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 6), both, 0);
    op_end(&c);
}

static void test_pad(void **state)
{
    (void)state;
    expect_pad("constant", F32(0, 0, 1, 2, 3, 0));
    expect_pad("reflect", F32(3, 2, 1, 2, 3, 2));
    expect_pad("edge", F32(1, 1, 1, 2, 3, 3));
    expect_pad("wrap", F32(2, 3, 1, 2, 3, 1));
    op_case c;
    op_begin(&c, "", "Pad", 18);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, 2, I64(-1, 2));
    op_f32(&c, SCALAR, F32(9));
    op_list(&c, 1, I64(-1));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 4), F32(2, 3, 9, 9, 5, 6, 9, 9), 0);
    op_end(&c);
    op_begin(&c, "", "Pad", 18);
    op_string(&c, "mode", "reflect");
    op_f32(&c, DIMS(2, 2), F32(1, 2, 3, 4));
    op_list(&c, 4, I64(1, 1, 0, 0));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(3, 3), F32(4, 3, 4, 2, 1, 2, 4, 3, 4), 0);
    op_end(&c);
}

static void pad_error(const char *mode, int64_t begin, int64_t end, weft_status status,
                      const char *text)
{
    op_case c;
    op_begin(&c, "", "Pad", 13);
    op_string(&c, "mode", mode);
    op_f32(&c, DIMS(3), six);
    op_list(&c, 2, I64(begin, end));
    op_expect_error(&c, 1, status, text);
    op_end(&c);
}

static void test_bad_pads(void **state)
{
    (void)state;
    pad_error("sideways", 1, 1, WEFT_INVALID_MODEL, "sideways");
    pad_error("reflect", 3, 0, WEFT_INVALID_ARGUMENT, "too small");
    pad_error("edge", -1, 0, WEFT_UNSUPPORTED, "negative");
    pad_error("constant", -4, 9, WEFT_INVALID_ARGUMENT, "cut more");
    pad_error("constant", -2, -2, WEFT_INVALID_ARGUMENT, "no valid size");
    pad_error("constant", INT64_MAX, 0, WEFT_INVALID_ARGUMENT, "no valid size");
    pad_error("constant", INT64_MIN, INT64_MAX, WEFT_INVALID_ARGUMENT, "cut more");
}

static void test_trilu(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Trilu", 14);
    op_f32(&c, DIMS(2, 3), six);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), F32(1, 2, 3, 0, 5, 6), 0);
    op_end(&c);
    op_begin(&c, "", "Trilu", 14);
    op_int(&c, "upper", 0);
    op_input(&c, WEFT_TYPE_I64, DIMS(1, 2, 3), I64(1, 2, 3, 4, 5, 6));
    op_list(&c, 1, I64(1));
    op_run(&c, 1);
    op_expect_bytes(&c, 0, WEFT_TYPE_I64, DIMS(1, 2, 3), I64(1, 2, 0, 4, 5, 6));
    op_end(&c);
    op_begin(&c, "", "Trilu", 14);
    op_f32(&c, DIMS(2, 3), six);
    op_list(&c, 1, I64(INT64_MIN));
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), six, 0);
    op_end(&c);
}

static void test_identity_and_dropout(void **state)
{
    (void)state;
    op_case c;
    op_begin(&c, "", "Identity", 13);
    op_f32(&c, DIMS(2, 3), six);
    op_run(&c, 1);
    op_expect_f32(&c, 0, DIMS(2, 3), six, 0);
    op_end(&c);
    op_begin(&c, "", "Dropout", 13);
    op_f32(&c, DIMS(2, 1), six);
    op_absent(&c);
    op_constant(&c, WEFT_TYPE_BOOL, SCALAR, BOOL(0));
    op_run(&c, 2);
    op_expect_f32(&c, 0, DIMS(2, 1), six, 0);
    op_expect_bytes(&c, 1, WEFT_TYPE_BOOL, DIMS(2, 1), BOOL(1, 1));
    op_end(&c);
    op_begin(&c, "", "Dropout", 13);
    op_f32(&c, DIMS(2, 1), six);
    op_absent(&c);
    op_constant(&c, WEFT_TYPE_BOOL, SCALAR, BOOL(1));
    op_expect_error(&c, 1, WEFT_UNSUPPORTED, "training");
    op_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reshape),
        cmocka_unit_test(test_bad_reshapes),
        cmocka_unit_test(test_reshape_of_nothing),
        cmocka_unit_test(test_flatten_squeeze_unsqueeze),
        cmocka_unit_test(test_transpose),
        cmocka_unit_test(test_slice),
        cmocka_unit_test(test_slice_bounds),
        cmocka_unit_test(test_slice_without_axes),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_concat),
        cmocka_unit_test(test_expand_and_tile),
        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_pad),
        cmocka_unit_test(test_bad_pads),
        cmocka_unit_test(test_trilu),
        cmocka_unit_test(test_identity_and_dropout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

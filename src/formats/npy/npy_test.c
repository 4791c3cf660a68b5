/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/npy.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/testing.h"

/* A .npy file in memory. */
typedef struct image {
    uint8_t bytes[4096];
    size_t size;
} image;

static image make_image(int major, const char *header, const void *data, size_t size)
{
    image made = {.size = major == 1 ? 10 : 12};
    size_t length = strlen(header);
    memcpy(made.bytes, "\x93NUMPY", 6);
    made.bytes[6] = (uint8_t)major;
    made.bytes[8] = (uint8_t)(length & 0xff);
    made.bytes[9] = (uint8_t)(length >> 8);
    memcpy(made.bytes + made.size, header, length);
    made.size += length;
    if (size > 0) {
        memcpy(made.bytes + made.size, data, size);
    }
    made.size += size;
    return made;
}

static weft_status parse(const image *file, weft_tensor *tensor, weft_error *error)
{
    /* A block of the exact size, so that a read beyond the end is noticed. */
    uint8_t *copy = malloc(file->size ? file->size : 1);
    assert_non_null(copy);
    memcpy(copy, file->bytes, file->size);
    weft_status status = weft_npy_parse(copy, file->size, tensor, error);
    free(copy);
    return status;
}

static void expect(const char *header, size_t data_bytes, weft_status status,
                   const char *words)
{
    static const uint8_t zeros[1024];
    image file = make_image(1, header, zeros, data_bytes);
    weft_tensor tensor = {0};
    weft_error error = {0};
    assert_int_equal(parse(&file, &tensor, &error), status);
    assert_int_equal(error.status, status);
    if (words && !strstr(error.message, words)) {
        fail_msg("'%s' is not in '%s'", words, error.message);
    }
    assert_null(tensor.data);
}

static void reads_what_numpy_writes(void **state)
{
    (void)state;
    static const float data[6] = {1, -2, 3.5f, 4, 5, 6};
    static const char *const headers[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n",
        "{'shape':(2,3),'fortran_order':False,'descr':'=f4'}",
        "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2L, 3L)}\n",
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        for (int major = 1; major <= 3; major++) {
            image file = make_image(major, headers[i], data, sizeof data);
            weft_tensor tensor = {0};
            weft_error error = {0};
            if (parse(&file, &tensor, &error) != WEFT_OK) {
                fail_msg("%s", error.message);
            }
            assert_int_equal(tensor.type, WEFT_TYPE_F32);
            assert_int_equal(tensor.rank, 2);
            assert_int_equal(tensor.dims[0], 2);
            assert_int_equal(tensor.dims[1], 3);
            assert_int_equal(tensor.size_bytes, sizeof data);
            assert_memory_equal(tensor.data, data, sizeof data);
            weft_npy_free(&tensor);
            assert_null(tensor.data);
            assert_int_equal(tensor.rank, 0);
        }
    }
}

static void reads_scalars_vectors_and_empty_arrays(void **state)
{
    (void)state;
    static const struct {
        const char *shape;
        int32_t rank;
        size_t count;
    } cases[] = {{"()", 0, 1}, {"(3,)", 1, 3}, {"(0,)", 1, 0}, {"(4, 0, 2)", 3, 0}};
    int64_t data[3] = {7, 8, 9};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[200];
        snprintf(header, sizeof header,
                 "{'descr': '<i8', 'fortran_order': %s, 'shape': %s, }",
                 cases[i].rank < 2 ? "True" : "False", cases[i].shape);
        image file = make_image(1, header, data, cases[i].count * sizeof *data);
        weft_tensor tensor = {0};
        assert_int_equal(parse(&file, &tensor, NULL), WEFT_OK);
        assert_int_equal(tensor.rank, cases[i].rank);
        assert_int_equal(tensor.size_bytes, cases[i].count * sizeof *data);
        assert_non_null(tensor.data);
        assert_memory_equal(tensor.data, data, tensor.size_bytes);
        weft_npy_free(&tensor);
    }
}

static void refuses_wrong_headers(void **state)
{
    (void)state;
#define TAIL "'fortran_order': False, 'shape': (2,)}"
    expect("{'descr': '<f4', " TAIL, 7, WEFT_INVALID_MODEL, "need 8 bytes");
    expect("{'descr': '<f4', " TAIL, 9, WEFT_INVALID_MODEL, "the file has 9");
    expect("{'descr': '>f4', " TAIL, 8, WEFT_UNSUPPORTED, "big-endian");
    expect("{'descr': '<c8', " TAIL, 8, WEFT_UNSUPPORTED, "'<c8'");
    expect("{'descr': '<V4', " TAIL, 8, WEFT_UNSUPPORTED, "'<V4'");
    expect("{'descr': '<u4', " TAIL, 8, WEFT_UNSUPPORTED, "'<u4'");
    expect("{'descr': '|O', " TAIL, 8, WEFT_UNSUPPORTED, "'|O'");
    expect("{'descr': [('a', '<f4')], " TAIL, 8, WEFT_UNSUPPORTED, "records");
    expect("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}", 8,
           WEFT_UNSUPPORTED, "ascontiguousarray");
    expect("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", 4, WEFT_INVALID_MODEL,
           "True or False");
    expect("{'descr': '<f4', 'fortran_order': False}", 4, WEFT_INVALID_MODEL, "shape");
    expect("{'descr': '<f4', 'descr': '<f4', " TAIL, 8, WEFT_INVALID_MODEL, "once");
    expect("{'descr': '<f4', 'more': 1, " TAIL, 8, WEFT_INVALID_MODEL, "once");
    expect("{'descr': '<f4', " TAIL " x", 8, WEFT_INVALID_MODEL, "after");
    expect("{'descr: '<f4', " TAIL, 8, WEFT_INVALID_MODEL, "key");
    expect("", 0, WEFT_INVALID_MODEL, "'{'");
#undef TAIL
}

static void refuses_wrong_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *shape;
        weft_status status;
        const char *words;
    } cases[] = {
        {"(-1,)", WEFT_INVALID_MODEL, "dimension"},
        {"(9223372036854775808,)", WEFT_INVALID_MODEL, "2^63"},
        {"(9223372036854775807,)", WEFT_INVALID_MODEL, "larger than memory"},
        {"(4294967296, 4294967296)", WEFT_INVALID_MODEL, "overflows"},
        {"(4294967296, 0, 4294967296)", WEFT_INVALID_MODEL, "overflows"},
        {"(1,1,1,1,1,1,1,1,1)", WEFT_UNSUPPORTED, "8 dimensions"},
        {"(1 1)", WEFT_INVALID_MODEL, "')'"},
        {"(1,,)", WEFT_INVALID_MODEL, "dimension"},
        {"(1", WEFT_INVALID_MODEL, "')'"},
        {"1", WEFT_INVALID_MODEL, "'('"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[200];
        snprintf(header, sizeof header,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': %s}",
                 cases[i].shape);
        expect(header, 4, cases[i].status, cases[i].words);
    }
}

static void refuses_other_files(void **state)
{
    (void)state;
    image file = make_image(1, "{}", NULL, 0);
    weft_tensor tensor;
    weft_error error;
    file.bytes[0] = 'P';
    assert_int_equal(parse(&file, &tensor, &error), WEFT_INVALID_MODEL);
    assert_non_null(strstr(error.message, "not a .npy file"));
    file.bytes[0] = 0x93;
    file.bytes[6] = 4;
    assert_int_equal(parse(&file, &tensor, &error), WEFT_UNSUPPORTED);
    assert_int_equal(weft_npy_parse(NULL, 0, &tensor, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_npy_parse("", 0, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_npy_parse("", 0, &tensor, &error), WEFT_INVALID_MODEL);
    weft_npy_free(NULL);
}

static void refuses_bools_beyond_1(void **state)
{
    (void)state;
    const char *header = "{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}";
    uint8_t data[3] = {0, 1, 2};
    image file = make_image(1, header, data, sizeof data);
    weft_tensor tensor;
    weft_error error;
    assert_int_equal(parse(&file, &tensor, &error), WEFT_INVALID_MODEL);
    assert_non_null(strstr(error.message, "index 2"));
    file.bytes[file.size - 1] = 1;
    assert_int_equal(parse(&file, &tensor, &error), WEFT_OK);
    assert_int_equal(tensor.type, WEFT_TYPE_BOOL);
    weft_npy_free(&tensor);
}

static void survives_every_truncation_and_bit_flip(void **state)
{
    (void)state;
    static const double data[2] = {1, 2};
    image whole =
        make_image(2, "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }  \n",
                   data, sizeof data);
    for (size_t size = 0; size < whole.size; size++) {
        image cut = whole;
        weft_tensor tensor;
        weft_error error = {0};
        cut.size = size;
        assert_int_equal(parse(&cut, &tensor, &error), WEFT_INVALID_MODEL);
        assert_true(strlen(error.message) > 0);
    }
    size_t header_bits = 8 * (whole.size - sizeof data);
    for (size_t bit = 0; bit < header_bits; bit++) {
        image flipped = whole;
        weft_tensor tensor;
        flipped.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (parse(&flipped, &tensor, NULL) == WEFT_OK) {
            assert_int_equal(tensor.size_bytes, sizeof data);
            weft_npy_free(&tensor);
        }
    }
}

/* A folder of its own for files, removed at the end. */
typedef struct place {
    char folder[64], file[96];
} place;

static int make_place(void **state)
{
    place *made = calloc(1, sizeof *made);
    strcpy(made->folder, "/tmp/weft-npy-XXXXXX");
    *state = made;
    if (!mkdtemp(made->folder)) {
        return -1;
    }
    snprintf(made->file, sizeof made->file, "%s/a.npy", made->folder);
    return 0;
}

static int remove_place(void **state)
{
    place *made = *state;
    unlink(made->file);
    int result = rmdir(made->folder); /* fails when a temporary file is left */
    free(made);
    return result;
}

static void saves_what_it_loads(void **state)
{
    place *here = *state;
    static const weft_type types[] = {WEFT_TYPE_F32, WEFT_TYPE_F64, WEFT_TYPE_I64,
                                      WEFT_TYPE_I32, WEFT_TYPE_U8,  WEFT_TYPE_BOOL,
                                      WEFT_TYPE_I8,  WEFT_TYPE_F16, WEFT_TYPE_BF16};
    uint8_t data[2 * 3 * 8];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i % 2);
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        for (int32_t rank = 0; rank <= WEFT_MAX_RANK; rank++) {
            weft_tensor tensor = {.data = data, .type = types[i], .rank = rank};
            for (int32_t axis = 0; axis < rank; axis++) {
                tensor.dims[axis] = axis == 0 ? 3 : axis == 1 ? 2 : 1;
            }
            weft_tensor back = {0};
            weft_error error = {0};
            if (weft_npy_save(here->file, &tensor, &error) != WEFT_OK ||
                weft_npy_load(here->file, &back, &error) != WEFT_OK) {
                fail_msg("%s", error.message);
            }
            assert_int_equal(back.type, types[i]);
            assert_int_equal(back.rank, rank);
            assert_memory_equal(back.dims, tensor.dims, sizeof back.dims);
            assert_memory_equal(back.data, data, back.size_bytes);
            weft_npy_free(&back);
        }
    }
}

static void follows_links_and_keeps_the_mode(void **state)
{
    place *here = *state;
    char link[96];
    float data[2] = {1, 2};
    weft_tensor tensor = {.data = data, .type = WEFT_TYPE_F32, .rank = 1, .dims = {2}};
    weft_error error = {0};
    struct stat info;
    snprintf(link, sizeof link, "%s/link.npy", here->folder);
    assert_int_equal(symlink(here->file, link), 0);
    assert_int_equal(weft_npy_save(link, &tensor, &error), WEFT_IO_ERROR);
    assert_non_null(strstr(error.message, "leads to no file"));
    assert_int_equal(weft_npy_save(here->file, &tensor, NULL), WEFT_OK);
    assert_int_equal(chmod(here->file, 0640), 0);
    tensor.dims[0] = 1;
    assert_int_equal(weft_npy_save(link, &tensor, NULL), WEFT_OK);
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(link, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    weft_tensor back;
    assert_int_equal(weft_npy_load(here->file, &back, NULL), WEFT_OK);
    assert_int_equal(back.dims[0], 1);
    weft_npy_free(&back);
    unlink(link);
}

static void replaces_a_file_at_once(void **state)
{
    place *here = *state;
    float data[4] = {1, 2, 3, 4};
    weft_tensor tensor = {.data = data, .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    weft_tensor back;
    weft_error error;
    assert_int_equal(weft_npy_save(here->file, &tensor, NULL), WEFT_OK);
    tensor.dims[0] = 2;
    assert_int_equal(weft_npy_save(here->file, &tensor, NULL), WEFT_OK);
    /* What fails leaves the old file. */
    tensor.strides[0] = 2;
    assert_int_equal(weft_npy_save(here->file, &tensor, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_npy_load(here->file, &back, NULL), WEFT_OK);
    assert_int_equal(back.dims[0], 2);
    weft_npy_free(&back);
}

static void says_which_file_is_wrong(void **state)
{
    place *here = *state;
    weft_tensor tensor = {0};
    weft_error error;
    assert_int_equal(weft_npy_load(here->file, &tensor, &error), WEFT_NOT_FOUND);
    assert_non_null(strstr(error.message, here->file));
    assert_int_equal(weft_npy_load(here->folder, &tensor, &error), WEFT_IO_ERROR);
    assert_non_null(strstr(error.message, here->folder));
    assert_int_equal(mkfifo(here->file, 0600), 0);
    assert_int_equal(weft_npy_load(here->file, &tensor, &error), WEFT_IO_ERROR);
    float data = 1;
    tensor = (weft_tensor){.data = &data, .type = WEFT_TYPE_F32};
    assert_int_equal(weft_npy_save(here->file, &tensor, &error), WEFT_IO_ERROR);
    assert_int_equal(weft_npy_save("/nowhere/at/all.npy", &tensor, &error),
                     WEFT_NOT_FOUND);
    assert_non_null(strstr(error.message, "/nowhere/at/all.npy"));
    FILE *file = NULL;
    unlink(here->file);
    file = fopen(here->file, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(weft_npy_load(here->file, &tensor, &error), WEFT_INVALID_MODEL);
    assert_non_null(strstr(error.message, here->file));
}

static weft_status save_and_load(const char *path)
{
    float data[2] = {1, 2};
    weft_tensor tensor = {.data = data, .type = WEFT_TYPE_F32, .rank = 1, .dims = {2}};
    weft_status status = weft_npy_save(path, &tensor, NULL);
    if (status == WEFT_OK) {
        status = weft_npy_load(path, &tensor, NULL);
    }
    if (status == WEFT_OK) {
        weft_npy_free(&tensor);
    }
    return status;
}

static void survives_every_failed_allocation(void **state)
{
    place *here = *state;
    weft_status status = WEFT_OUT_OF_MEMORY;
    uint64_t n = 0;
    while (status != WEFT_OK) {
        assert_true(++n < 100);
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
        status = save_and_load(here->file);
        wefti_fault_arm(0, 0);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
    }
    assert_true(n > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_numpy_writes),
        cmocka_unit_test(reads_scalars_vectors_and_empty_arrays),
        cmocka_unit_test(refuses_wrong_headers),
        cmocka_unit_test(refuses_wrong_shapes),
        cmocka_unit_test(refuses_other_files),
        cmocka_unit_test(refuses_bools_beyond_1),
        cmocka_unit_test(survives_every_truncation_and_bit_flip),
        cmocka_unit_test_setup_teardown(saves_what_it_loads, make_place, remove_place),
        cmocka_unit_test_setup_teardown(follows_links_and_keeps_the_mode, make_place,
                                        remove_place),
        cmocka_unit_test_setup_teardown(replaces_a_file_at_once, make_place,
                                        remove_place),
        cmocka_unit_test_setup_teardown(says_which_file_is_wrong, make_place,
                                        remove_place),
        cmocka_unit_test_setup_teardown(survives_every_failed_allocation, make_place,
                                        remove_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

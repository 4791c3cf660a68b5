/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/onnx/external.h"

#include <weft/graph.h>

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
#include "support/onnx_check.h"

/* A folder with a model, its data, and things around it:
 *     outside.bin  model/  model/m.onnx  model/w.bin  model/sub/  */
typedef struct place {
    char root[64];
    char model[96];
} place;

enum { VALUES = 64 };

static void write_file(const place *here, const char *name, const void *data,
                       size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", here->root, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void link_to(const place *here, const char *target, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", here->root, name);
    unlink(path);
    assert_int_equal(symlink(target, path), 0);
}

static float value(size_t i)
{
    return (float)i + 0.5f;
}

static int make_place(void **state)
{
    place *here = calloc(1, sizeof *here);
    char path[256];
    float data[VALUES];
    for (size_t i = 0; i < VALUES; i++) {
        data[i] = value(i);
    }
    *state = here;
    strcpy(here->root, "/tmp/weft-onnx-XXXXXX");
    if (!mkdtemp(here->root)) {
        return -1;
    }
    snprintf(here->model, sizeof here->model, "%s/model/m.onnx", here->root);
    snprintf(path, sizeof path, "%s/model", here->root);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/model/sub", here->root);
    mkdir(path, 0700);
    write_file(here, "outside.bin", data, sizeof data);
    write_file(here, "model/w.bin", data, sizeof data);
    write_file(here, "model/sub/v.bin", data, sizeof data);
    return 0;
}

static int remove_place(void **state)
{
    place *here = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", here->root);
    int result = system(command);
    free(here);
    return result;
}

/* A model with one external initializer 'w' of `count` values at an offset. */
static void write_model(const place *here, const char *location, const char *offset,
                        const char *length, int64_t count)
{
    onnx_builder builder;
    onnx_builder_init(&builder, 17);
    Onnx__TensorProto *w = onnx_builder_tensor(&builder, "w", WEFT_TYPE_F32, 1, &count);
    if (location) {
        onnx_builder_external(&builder, w, "location", location);
    }
    if (offset) {
        onnx_builder_external(&builder, w, "offset", offset);
    }
    if (length) {
        onnx_builder_external(&builder, w, "length", length);
    }
    onnx_builder_external(&builder, w, "checksum", "of no interest");
    onnx_builder_initializer(&builder, w);
    size_t size = 0;
    const uint8_t *bytes = onnx_builder_pack(&builder, &size);
    write_file(here, "model/m.onnx", bytes, size);
    onnx_builder_fini(&builder);
}

static void expect_values(const weft_graph *graph, size_t index, size_t first,
                          size_t count)
{
    const char *name = NULL;
    weft_tensor read;
    assert_true(weft_graph_get_initializer(graph, index, &name, &read));
    assert_int_equal(read.size_bytes, count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        float got = 0;
        memcpy(&got, (const char *)read.data + i * sizeof got, sizeof got);
        assert_true(got == value(first + i));
    }
}

static void expect_read(const place *here, size_t first, size_t count)
{
    weft_graph *graph = NULL;
    weft_error error = {0};
    if (weft_graph_load_onnx(here->model, NULL, &graph, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    expect_values(graph, 0, first, count);
    weft_graph_release(graph);
}

static void expect_refused(const place *here, weft_status status, const char *words)
{
    weft_graph *graph = NULL;
    weft_error error = {0};
    weft_status got = weft_graph_load_onnx(here->model, NULL, &graph, &error);
    assert_null(graph);
    if (got != status || !strstr(error.message, words) ||
        !strstr(error.message, here->model) || !strstr(error.message, "tensor 'w'")) {
        fail_msg("%s with '%s' wanted, got %s: %s", weft_status_name(status), words,
                 weft_status_name(got), error.message);
    }
}

static void maps_data_beside_the_model(void **state)
{
    const place *here = *state;
    write_model(here, "w.bin", NULL, NULL, VALUES);
    expect_read(here, 0, VALUES);
    write_model(here, "w.bin", "16", "40", 10);
    expect_read(here, 4, 10);
    write_model(here, "sub/v.bin", "252", "4", 1);
    expect_read(here, 63, 1);
    write_model(here, "./sub/../sub/v.bin", "0", "4", 1);
    expect_refused(here, WEFT_INVALID_MODEL, "outside");
    write_model(here, "./sub//v.bin", "0", "4", 1);
    expect_read(here, 0, 1);
}

static void copies_data_that_is_not_aligned(void **state)
{
    const place *here = *state;
    uint8_t shifted[1 + 4 * sizeof(float)] = {0};
    float data[4] = {value(0), value(1), value(2), value(3)};
    memcpy(shifted + 1, data, sizeof data);
    write_file(here, "model/w.bin", shifted, sizeof shifted);
    write_model(here, "w.bin", "1", "16", 4);
    expect_read(here, 0, 4);
}

static void keeps_data_after_the_model_is_gone(void **state)
{
    const place *here = *state;
    weft_graph *graph = NULL;
    char path[256];
    write_model(here, "w.bin", "4", NULL, 3);
    assert_int_equal(weft_graph_load_onnx(here->model, NULL, &graph, NULL), WEFT_OK);
    snprintf(path, sizeof path, "%s/model/w.bin", here->root);
    unlink(path);
    unlink(here->model);
    expect_values(graph, 0, 1, 3);
    weft_graph_release(graph);
}

static void refuses_wrong_extents(void **state)
{
    const place *here = *state;
    static const struct {
        const char *offset, *length;
        int64_t count;
        const char *words;
    } cases[] = {
        {"0", "256", 63, "its type and shape need 252"},
        {"0", "0", 1, "need 4"},
        {"4", "256", 64, "beyond the end"},
        {"256", "4", 1, "beyond the end"},
        {"18446744073709551612", "4", 1, "beyond the end"},
        {"18446744073709551615", "4", 1, "beyond the end"},
        {"18446744073709551616", "4", 1, "not a number"},
        {"-4", "4", 1, "not a number"},
        {"", "4", 1, "not a number"},
        {"0x10", "4", 1, "not a number"},
        {"0", "4 ", 1, "not a number"},
        {NULL, NULL, 65, "beyond the end"},
        {NULL, NULL, (int64_t)1 << 60, "beyond the end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_model(here, "w.bin", cases[i].offset, cases[i].length, cases[i].count);
        expect_refused(here, WEFT_INVALID_MODEL, cases[i].words);
    }
}

static void refuses_places_outside_the_folder(void **state)
{
    const place *here = *state;
    char absolute[128];
    snprintf(absolute, sizeof absolute, "%s/model/w.bin", here->root);
    const char *const locations[] = {
        "../outside.bin",        "/etc/passwd", absolute,  "..",
        "sub/../../outside.bin", "sub/..",      "w.bin/.."};
    for (size_t i = 0; i < sizeof locations / sizeof *locations; i++) {
        write_model(here, locations[i], "0", "4", 1);
        expect_refused(here, WEFT_INVALID_MODEL, "outside");
    }
    const char *const folders[] = {".", "./", ".//."};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        write_model(here, folders[i], "0", "4", 1);
        expect_refused(here, WEFT_INVALID_MODEL, "is the model's folder");
    }
    write_model(here, "", "0", "4", 1);
    expect_refused(here, WEFT_INVALID_MODEL, "no location");
    write_model(here, NULL, "0", "4", 1);
    expect_refused(here, WEFT_INVALID_MODEL, "no location");
}

static void follows_links_only_inside_the_folder(void **state)
{
    const place *here = *state;
    link_to(here, "sub/v.bin", "model/inside.bin");
    write_model(here, "inside.bin", "4", "4", 1);
    expect_read(here, 1, 1);
    link_to(here, "../outside.bin", "model/leads.bin");
    write_model(here, "leads.bin", "0", "4", 1);
    expect_refused(here, WEFT_INVALID_MODEL, "symbolic link");
    link_to(here, "..", "model/up");
    write_model(here, "up/outside.bin", "0", "4", 1);
    expect_refused(here, WEFT_INVALID_MODEL, "symbolic link");
    /* A folder whose name begins with that of the model's. */
    char path[256];
    snprintf(path, sizeof path, "%s/model2", here->root);
    mkdir(path, 0700);
    write_file(here, "model2/w.bin", "1234", 4);
    link_to(here, "../model2/w.bin", "model/twin.bin");
    write_model(here, "twin.bin", "0", "4", 1);
    expect_refused(here, WEFT_INVALID_MODEL, "symbolic link");
    link_to(here, "loop.bin", "model/loop.bin");
    write_model(here, "loop.bin", "0", "4", 1);
    expect_refused(here, WEFT_IO_ERROR, "loop.bin");
}

static void refuses_what_is_no_file(void **state)
{
    const place *here = *state;
    char path[256];
    write_model(here, "missing.bin", "0", "4", 1);
    expect_refused(here, WEFT_NOT_FOUND, "missing.bin");
    write_model(here, "sub", "0", "4", 1);
    expect_refused(here, WEFT_IO_ERROR, "not a regular file");
    snprintf(path, sizeof path, "%s/model/pipe", here->root);
    assert_int_equal(mkfifo(path, 0600), 0);
    write_model(here, "pipe", "0", "4", 1);
    expect_refused(here, WEFT_IO_ERROR, "not a regular file");
    write_file(here, "model/empty.bin", "", 0);
    write_model(here, "empty.bin", "0", "4", 1);
    expect_refused(here, WEFT_INVALID_MODEL, "beyond the end");
    char *longest = calloc(1, 5001);
    assert_non_null(longest);
    memset(longest, 'a', 5000);
    write_model(here, longest, "0", "4", 1);
    expect_refused(here, WEFT_INVALID_MODEL, "too long");
    free(longest);
}

static void takes_the_folder_from_the_caller(void **state)
{
    const place *here = *state;
    weft_graph_load_params params = WEFT_GRAPH_LOAD_PARAMS_INIT;
    weft_graph *graph = NULL;
    weft_error error;
    write_model(here, "outside.bin", "8", "4", 1);
    expect_refused(here, WEFT_NOT_FOUND, "outside.bin");
    params.data_directory = here->root;
    assert_int_equal(weft_graph_load_onnx(here->model, &params, &graph, &error),
                     WEFT_OK);
    expect_values(graph, 0, 2, 1);
    weft_graph_release(graph);
    FILE *file = fopen(here->model, "rb");
    assert_non_null(file);
    uint8_t bytes[4096];
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_int_equal(weft_graph_parse_onnx(bytes, size, &params, &graph, &error),
                     WEFT_OK);
    weft_graph_release(graph);
    assert_int_equal(weft_graph_parse_onnx(bytes, size, NULL, &graph, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "data_directory"));
    params.data_directory = "/nowhere";
    assert_int_equal(weft_graph_parse_onnx(bytes, size, &params, &graph, &error),
                     WEFT_NOT_FOUND);
}

static void loads_from_the_folder_it_is_in(void **state)
{
    const place *here = *state;
    char old[4096], path[256];
    weft_graph *graph = NULL;
    write_model(here, "w.bin", "4", "4", 1);
    assert_non_null(getcwd(old, sizeof old));
    snprintf(path, sizeof path, "%s/model", here->root);
    assert_int_equal(chdir(path), 0);
    weft_status status = weft_graph_load_onnx("m.onnx", NULL, &graph, NULL);
    assert_int_equal(chdir(old), 0);
    assert_int_equal(status, WEFT_OK);
    expect_values(graph, 0, 1, 1);
    weft_graph_release(graph);
}

/* Two tensors of one file, one of another; every allocation fails once. */
static void survives_every_failed_allocation(void **state)
{
    const place *here = *state;
    onnx_builder builder;
    onnx_builder_init(&builder, 17);
    static const char *const files[] = {"w.bin", "sub/v.bin", "w.bin"};
    static const char *const offsets[] = {"4", "8", "13"};
    for (int i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        Onnx__TensorProto *w =
            onnx_builder_tensor(&builder, name, WEFT_TYPE_F32, 1, (int64_t[]){2});
        onnx_builder_external(&builder, w, "location", files[i]);
        onnx_builder_external(&builder, w, "offset", offsets[i]);
        onnx_builder_initializer(&builder, w);
    }
    size_t size = 0;
    const uint8_t *bytes = onnx_builder_pack(&builder, &size);
    write_file(here, "model/m.onnx", bytes, size);
    onnx_builder_fini(&builder);
    weft_status status = WEFT_OUT_OF_MEMORY;
    uint64_t n = 0;
    while (status != WEFT_OK) {
        weft_graph *graph = NULL;
        assert_true(++n < 1000);
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
        status = weft_graph_load_onnx(here->model, NULL, &graph, NULL);
        wefti_fault_arm(0, 0);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        if (status == WEFT_OK) {
            expect_values(graph, 0, 1, 2);
            expect_values(graph, 1, 2, 2);
        }
        weft_graph_release(graph);
    }
    assert_true(n > 30);
}

int main(void)
{
#define AT_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        AT_PLACE(maps_data_beside_the_model),
        AT_PLACE(copies_data_that_is_not_aligned),
        AT_PLACE(keeps_data_after_the_model_is_gone),
        AT_PLACE(refuses_wrong_extents),
        AT_PLACE(refuses_places_outside_the_folder),
        AT_PLACE(follows_links_only_inside_the_folder),
        AT_PLACE(refuses_what_is_no_file),
        AT_PLACE(takes_the_folder_from_the_caller),
        AT_PLACE(loads_from_the_folder_it_is_in),
        AT_PLACE(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

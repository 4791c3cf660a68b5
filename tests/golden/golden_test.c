/* SPDX-License-Identifier: Apache-2.0 */
/* Runs every model of tests/golden on the CPU: against PyTorch's recorded outputs,
 * with and without fusion; on each instruction set of this machine and from 8 threads
 * with the same bits. index.json lists them; tools/export_models.py made them.
 * nodes.json lists node tests of ONNX, made by tools/export_nodes.py. */
#include <weft/weft.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "support/crew.h"

enum { MAX_TENSORS = 8, MAX_CASES = 4, THREADS = 8, ITERATIONS = 3 };

#define GOLDEN WEFT_SOURCE_DIR "/tests/golden/"

/* Recorded inputs and outputs of one call. */
typedef struct recording {
    weft_tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS];
    size_t input_count, output_count;
} recording;

/* One model file with the recordings of its row. */
typedef struct golden {
    char name[80];
    const json_t *row, *entry;
    recording cases[MAX_CASES];
    size_t case_count;
} golden;

/* Opened once: the default kernels, then one device for each other instruction set. */
static const char *const isas[] = {NULL, "reference", "sse2", "avx2", "avx512", "neon"};
enum { ISA_COUNT = sizeof isas / sizeof *isas };
static weft_device *devices[ISA_COUNT];

/* The answer farthest from PyTorch's, in tolerances; printed at the end. */
static double farthest;
static char farthest_name[80];

static void must(weft_status status, const weft_error *error, const char *what)
{
    if (status != WEFT_OK) {
        fail_msg("%s: %s: %s", what, weft_status_name(status), error->message);
    }
}

static void load_list(const json_t *list, weft_tensor *tensors, size_t *count)
{
    *count = json_array_size(list);
    assert_true(*count <= MAX_TENSORS);
    for (size_t i = 0; i < *count; i++) {
        char path[512];
        weft_error error = {0};
        snprintf(path, sizeof path, GOLDEN "%s",
                 json_string_value(json_object_get(json_array_get(list, i), "file")));
        must(weft_npy_load(path, &tensors[i], &error), &error, path);
    }
}

static void load_cases(golden *g)
{
    const json_t *cases = json_object_get(g->row, "cases");
    g->case_count = (size_t)json_integer_value(json_object_get(g->entry, "case_count"));
    assert_true(g->case_count <= MAX_CASES);
    for (size_t i = 0; i < g->case_count; i++) {
        const json_t *from = json_array_get(cases, i);
        recording *to = &g->cases[i];
        load_list(json_object_get(from, "inputs"), to->inputs, &to->input_count);
        load_list(json_object_get(from, "outputs"), to->outputs, &to->output_count);
    }
}

static void free_cases(golden *g)
{
    for (size_t i = 0; i < g->case_count; i++) {
        for (size_t j = 0; j < MAX_TENSORS; j++) {
            weft_npy_free(&g->cases[i].inputs[j]);
            weft_npy_free(&g->cases[i].outputs[j]);
        }
    }
    g->case_count = 0;
}

static void model_path(const golden *g, char *path, size_t size)
{
    snprintf(path, size, GOLDEN "%s",
             json_string_value(json_object_get(g->entry, "file")));
}

static weft_status make_model(const golden *g, weft_device *device, bool no_fusion,
                              weft_model **model, weft_error *error)
{
    char path[512];
    weft_graph *graph = NULL;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    params.no_fusion = no_fusion;
    model_path(g, path, sizeof path);
    *model = NULL;
    weft_status status = weft_graph_load_onnx(path, NULL, &graph, error);
    if (status == WEFT_OK) {
        status = weft_model_create(device, graph, &params, model, error);
    }
    weft_graph_release(graph);
    return status;
}

/* Runs a case into new memory, exactly as large as the recorded outputs. */
static weft_status run_case(weft_model *model, const recording *recorded,
                            weft_tensor *outputs, weft_error *error)
{
    weft_io io = {recorded->inputs, recorded->input_count, outputs,
                  recorded->output_count};
    for (size_t i = 0; i < recorded->output_count; i++) {
        outputs[i] = recorded->outputs[i];
        outputs[i].data = malloc(outputs[i].size_bytes + 1);
        memset(outputs[i].data, 0xa5, outputs[i].size_bytes + 1);
    }
    return weft_run(model, &io, NULL, error);
}

static void free_outputs(const recording *recorded, weft_tensor *outputs)
{
    for (size_t i = 0; i < recorded->output_count; i++) {
        free(outputs[i].data);
        outputs[i].data = NULL;
    }
}

static bool same_bits(const recording *recorded, const weft_tensor *a,
                      const weft_tensor *b)
{
    for (size_t i = 0; i < recorded->output_count; i++) {
        if (memcmp(a[i].data, b[i].data, recorded->outputs[i].size_bytes) != 0) {
            return false;
        }
    }
    return true;
}

static double element(const weft_tensor *tensor, size_t i)
{
    return tensor->type == WEFT_TYPE_F32 ? (double)((const float *)tensor->data)[i]
                                         : ((const double *)tensor->data)[i];
}

/* The largest |a - b| / (atol + rtol |b|) of an f32 or f64 tensor; other types must be
 * equal. */
static double distance(const weft_tensor *got, const weft_tensor *wanted, double rtol,
                       double atol)
{
    if (wanted->type != WEFT_TYPE_F32 && wanted->type != WEFT_TYPE_F64) {
        return memcmp(got->data, wanted->data, wanted->size_bytes) == 0 ? 0 : INFINITY;
    }
    double worst = 0;
    for (size_t i = 0; i < wanted->size_bytes / weft_type_size(wanted->type); i++) {
        double a = element(got, i), b = element(wanted, i);
        bool both_nan = isnan(a) && isnan(b);
        double error = fabs(a - b);
        double ratio = a == b || both_nan ? 0 : error / (atol + rtol * fabs(b));
        worst = ratio <= worst ? worst : ratio; /* also when it is not a number */
    }
    return worst;
}

static void check_right(const golden *g, const recording *recorded,
                        const weft_tensor *outputs, const char *how)
{
    double rtol = json_real_value(json_object_get(g->row, "rtol"));
    double atol = json_real_value(json_object_get(g->row, "atol"));
    assert_true(rtol > 0 && atol > 0);
    for (size_t i = 0; i < recorded->output_count; i++) {
        double worst = distance(&outputs[i], &recorded->outputs[i], rtol, atol);
        if (!(worst <= farthest)) {
            farthest = worst;
            snprintf(farthest_name, sizeof farthest_name, "%s", g->name);
        }
        const uint8_t *canary = outputs[i].data;
        assert_int_equal(canary[outputs[i].size_bytes], 0xa5);
        if (!(worst <= 1)) {
            fail_msg("%s, %s: output %zu is %g times the tolerance away", g->name, how,
                     i, worst);
        }
    }
}

/* What 8 threads share: a model and the answers of running alone. */
typedef struct crowd {
    const golden *g;
    weft_model *model;
    weft_tensor (*alone)[MAX_TENSORS];
    int wrong[THREADS];
} crowd;

static void run_in_crowd(void *user, uint32_t index)
{
    crowd *c = user;
    for (uint32_t i = 0; i < ITERATIONS * c->g->case_count; i++) {
        size_t number = (i + index) % c->g->case_count;
        const recording *recorded = &c->g->cases[number];
        weft_tensor outputs[MAX_TENSORS];
        if (run_case(c->model, recorded, outputs, NULL) != WEFT_OK ||
            !same_bits(recorded, outputs, c->alone[number])) {
            c->wrong[index]++;
        }
        free_outputs(recorded, outputs);
    }
}

/* The same bits from the kernels of every instruction set. */
static void check_isas(const golden *g, const weft_tensor *expected)
{
    for (size_t isa = 1; isa < ISA_COUNT; isa++) {
        weft_tensor outputs[MAX_TENSORS];
        weft_model *model = NULL;
        weft_error error = {0};
        if (!devices[isa]) {
            continue;
        }
        must(make_model(g, devices[isa], false, &model, &error), &error, g->name);
        must(run_case(model, &g->cases[0], outputs, &error), &error, g->name);
        if (!same_bits(&g->cases[0], outputs, expected)) {
            fail_msg("%s: other bits with %s", g->name, isas[isa]);
        }
        free_outputs(&g->cases[0], outputs);
        weft_model_release(model);
    }
}

static void check_model(const golden *g, bool no_fusion)
{
    const char *how = no_fusion ? "without fusion" : "fused";
    weft_tensor alone[MAX_CASES][MAX_TENSORS];
    weft_model *model = NULL;
    weft_error error = {0};
    must(make_model(g, devices[0], no_fusion, &model, &error), &error, g->name);
    for (size_t i = 0; i < g->case_count; i++) {
        must(run_case(model, &g->cases[i], alone[i], &error), &error, g->name);
        check_right(g, &g->cases[i], alone[i], how);
    }
    crowd c = {.g = g, .model = model, .alone = alone};
    if (g->case_count > 0) {
        crew_run(THREADS, run_in_crowd, &c);
    }
    weft_model_release(model);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(c.wrong[i], 0);
    }
    if (!no_fusion && g->case_count > 0) {
        check_isas(g, alone[0]);
    }
    for (size_t i = 0; i < g->case_count; i++) {
        free_outputs(&g->cases[i], alone[i]);
    }
}

static void agrees_with_pytorch(void **state)
{
    golden *g = *state;
    load_cases(g);
    check_model(g, false);
    check_model(g, true);
    free_cases(g);
}

/* An operator that is not there is said by name. */
static void names_what_is_lacking(void **state)
{
    golden *g = *state;
    weft_model *model = NULL;
    weft_error error = {0};
    assert_int_equal(make_model(g, devices[0], false, &model, &error),
                     WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message,
                           json_string_value(json_object_get(g->entry, "operator"))));
    assert_null(model);
}

/* A comparison that can't fail proves nothing. */
static void the_comparison_notices(void **state)
{
    (void)state;
    float wanted[3] = {1, -100, 0}, got[3] = {1, -100, 0};
    weft_tensor a = {.data = got, .size_bytes = sizeof got, .type = WEFT_TYPE_F32};
    weft_tensor b = {
        .data = wanted, .size_bytes = sizeof wanted, .type = WEFT_TYPE_F32};
    assert_true(distance(&a, &b, 1e-4, 1e-4) == 0);
    got[1] = -100.02f;
    assert_true(distance(&a, &b, 1e-4, 1e-4) > 1);
    got[1] = -100;
    got[2] = 2e-4f;
    assert_true(distance(&a, &b, 1e-4, 1e-4) > 1);
    got[2] = NAN;
    assert_false(distance(&a, &b, 1e-4, 1e-4) <= 1);
    got[2] = INFINITY;
    assert_false(distance(&a, &b, 1e-4, 1e-4) <= 1);
    a.type = b.type = WEFT_TYPE_I32;
    assert_false(distance(&a, &b, 1e-4, 1e-4) <= 1);
}

static int open_devices(void **state)
{
    (void)state;
    for (size_t i = 0; i < ISA_COUNT; i++) {
        weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
        weft_error error = {0};
        params.isa = isas[i];
        weft_status status = weft_device_open("cpu", &params, &devices[i], &error);
        if (status != WEFT_OK && i < 2) { /* the others depend on the machine */
            fprintf(stderr, "%s\n", error.message);
            return -1;
        }
    }
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    print_message("farthest from PyTorch: %.3g of the tolerance, %s\n", farthest,
                  farthest_name);
    for (size_t i = 0; i < ISA_COUNT; i++) {
        weft_device_release(devices[i]);
    }
    return 0;
}

/* Rows whose names begin so are tested; all when empty. */
static const char *only = "";

/* One test for each model file that the index lists under `key`. */
static size_t list_models(const json_t *rows, const char *key, golden *models,
                          size_t capacity)
{
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *name = json_string_value(json_object_get(row, "row"));
        if (strncmp(name, only, strlen(only)) != 0) {
            continue;
        }
        const json_t *entries = json_object_get(row, key);
        for (size_t j = 0; j < json_array_size(entries) && count < capacity; j++) {
            golden *g = &models[count++];
            g->row = row;
            g->entry = json_array_get(entries, j);
            snprintf(g->name, sizeof g->name, "%s/%s", name,
                     json_string_value(json_object_get(g->entry, "exporter")));
        }
    }
    return count;
}

/* `golden_golden_test n_` tests the rows whose names begin with n_. */
int main(int argc, char **argv)
{
    enum { CAPACITY = 400 };
    only = argc > 1 ? argv[1] : "";
    static golden models[CAPACITY];
    static struct CMUnitTest tests[CAPACITY + 1];
    json_t *index = json_load_file(GOLDEN "index.json", 0, NULL);
    json_t *nodes = json_load_file(GOLDEN "nodes.json", 0, NULL);
    json_t *rows = json_object_get(index, "rows");
    json_array_extend(rows, json_object_get(nodes, "rows"));
    size_t read = list_models(rows, "models", models, CAPACITY);
    size_t count = read + list_models(rows, "refused", models + read, CAPACITY - read);
    for (size_t i = 0; i < count; i++) {
        tests[i] = (struct CMUnitTest){.name = models[i].name,
                                       .test_func = i < read ? agrees_with_pytorch
                                                             : names_what_is_lacking,
                                       .initial_state = &models[i]};
    }
    tests[count] = (struct CMUnitTest)cmocka_unit_test(the_comparison_notices);
    const size_t least = argc > 1 ? 1 : 100;
    int failed = count < least ? 1
                               : _cmocka_run_group_tests("golden", tests, count + 1,
                                                         open_devices, close_devices);
    json_decref(index);
    json_decref(nodes);
    return failed;
}

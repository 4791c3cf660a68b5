/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/weft.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
/* cmocka needs the above first */
#include <cmocka.h>

/* Memory stays flat over many model loads and many short-lived threads. Sanitizers keep
 * freed memory and are slow: fewer rounds there, and no look at the process's size. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { CYCLES = 2000, SHORT_THREADS = 500, SIZE_TELLS = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { CYCLES = 2000, SHORT_THREADS = 500, SIZE_TELLS = 0 };
#else
enum { CYCLES = 100000, SHORT_THREADS = 10000, SIZE_TELLS = 1 };
#endif
#else
enum { CYCLES = 100000, SHORT_THREADS = 10000, SIZE_TELLS = 1 };
#endif
enum { ALLOWED_GROWTH_BYTES = 1 << 20 };

#define MODEL_PATH WEFT_SOURCE_DIR "/tests/golden/t1_linear/dynamo/model.onnx"

enum { ROWS = 32, FEATURES = 64, HIDDEN = 128 };

static size_t resident_bytes(void)
{
    size_t total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%zu %zu", &total, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static weft_model *load(weft_device *device)
{
    weft_graph *graph;
    weft_model *model;
    weft_error error;
    if (weft_graph_load_onnx(MODEL_PATH, NULL, &graph, &error) != WEFT_OK ||
        weft_model_create(device, graph, NULL, &model, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
        return NULL;
    }
    weft_graph_release(graph);
    return model;
}

static weft_status run(weft_model *model, const float *x, float *y)
{
    weft_tensor input = {.data = (void *)(uintptr_t)x,
                         .type = WEFT_TYPE_F32,
                         .rank = 2,
                         .dims = {ROWS, FEATURES}};
    weft_tensor output = {
        .data = y, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, HIDDEN}};
    weft_io io = {&input, 1, &output, 1};
    return weft_run(model, &io, NULL, NULL);
}

static float input_data[ROWS * FEATURES], expected[ROWS * HIDDEN];

static void test_load_and_close(void **state)
{
    (void)state;
    weft_device *device;
    assert_int_equal(weft_device_open("cpu", NULL, &device, NULL), WEFT_OK);
    static float y[ROWS * HIDDEN];
    size_t before = 0;
    for (int i = 0; i < CYCLES; i++) {
        weft_model *model = load(device);
        if (i % 100 == 0) {
            memset(y, 0, sizeof(y));
            assert_int_equal(run(model, input_data, y), WEFT_OK);
            assert_memory_equal(y, expected, sizeof(y));
        }
        weft_model_release(model);
        if (i == CYCLES / 10) {
            before = resident_bytes();
        }
    }
    size_t after = resident_bytes();
    print_message("%d loads: %zu KiB resident after a tenth, %zu KiB at the end\n",
                  CYCLES, before / 1024, after / 1024);
    assert_true(!SIZE_TELLS || after <= before + ALLOWED_GROWTH_BYTES);
    weft_device_release(device);
}

typedef struct shared {
    weft_model *model;
    int wrong; /* added to under `lock` */
    pthread_mutex_t lock;
} shared;

static void *run_once(void *argument)
{
    shared *all = argument;
    static _Thread_local float y[ROWS * HIDDEN];
    bool wrong = run(all->model, input_data, y) != WEFT_OK ||
                 memcmp(y, expected, sizeof(y)) != 0;
    pthread_mutex_lock(&all->lock);
    all->wrong += wrong;
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

static void test_short_threads(void **state)
{
    (void)state;
    enum { AT_ONCE = 8 };
    weft_device *device;
    assert_int_equal(weft_device_open("cpu", NULL, &device, NULL), WEFT_OK);
    shared all = {.model = load(device)};
    assert_int_equal(pthread_mutex_init(&all.lock, NULL), 0);
    size_t before = 0;
    for (int i = 0; i < SHORT_THREADS; i += AT_ONCE) {
        pthread_t threads[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++) {
            assert_int_equal(pthread_create(&threads[j], NULL, run_once, &all), 0);
        }
        for (int j = 0; j < AT_ONCE; j++) {
            assert_int_equal(pthread_join(threads[j], NULL), 0);
        }
        if (before == 0 && i >= SHORT_THREADS / 10) {
            before = resident_bytes();
        }
    }
    assert_int_equal(all.wrong, 0);
    size_t after = resident_bytes();
    print_message("%d threads: %zu KiB resident after a tenth, %zu KiB at the end\n",
                  SHORT_THREADS, before / 1024, after / 1024);
    assert_true(!SIZE_TELLS || after <= before + ALLOWED_GROWTH_BYTES);
    weft_device_statistics statistics;
    weft_device_get_statistics(device, &statistics);
    assert_int_equal(statistics.accepted, statistics.done);
    assert_int_equal(statistics.failed + statistics.cancelled + statistics.timed_out,
                     0);
    pthread_mutex_destroy(&all.lock);
    weft_model_release(all.model);
    weft_device_release(device);
}

static int compute_expected(void **state)
{
    (void)state;
    weft_random_key key = {.seed = 3};
    weft_random_fill_normal(&key, input_data, ROWS * FEATURES);
    weft_device *device;
    assert_int_equal(weft_device_open("cpu", NULL, &device, NULL), WEFT_OK);
    weft_model *model = load(device);
    assert_int_equal(run(model, input_data, expected), WEFT_OK);
    weft_model_release(model);
    weft_device_release(device);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_and_close),
        cmocka_unit_test(test_short_threads),
    };
    return cmocka_run_group_tests(tests, compute_expected, NULL);
}

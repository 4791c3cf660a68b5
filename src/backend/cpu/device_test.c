/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/cpu/device.h"
#include "backend/cpu/processor.h"
#include "base/thread.h"

static bool yes(void)
{
    return true;
}

static bool no(void)
{
    return false;
}

static const wefti_cpu_isa future = {.name = "future", .supported = no};
static const wefti_cpu_isa fast = {.name = "fast", .supported = yes};
static const wefti_cpu_isa plain = {.name = "plain", .supported = yes};
static const wefti_cpu_isa *const isas[] = {&future, &fast, &plain, NULL};
static const wefti_cpu_isa *const unusable[] = {&future, NULL};

static void the_best_supported_set_is_taken(void **state)
{
    (void)state;
    const wefti_cpu_isa *isa = NULL;
    assert_int_equal(wefti_cpu_isa_find(isas, NULL, &isa, NULL), WEFT_OK);
    assert_ptr_equal(isa, &fast);
    assert_int_equal(wefti_cpu_isa_find(isas, "", &isa, NULL), WEFT_OK);
    assert_ptr_equal(isa, &fast);
    assert_int_equal(wefti_cpu_isa_find(isas, "plain", &isa, NULL), WEFT_OK);
    assert_ptr_equal(isa, &plain);
}

static void other_names_are_refused_with_words(void **state)
{
    (void)state;
    const wefti_cpu_isa *isa = &plain;
    weft_error error = {0};
    assert_int_equal(wefti_cpu_isa_find(isas, "future", &isa, &error),
                     WEFT_UNAVAILABLE);
    assert_null(isa);
    assert_non_null(strstr(error.message, "'future'"));
    assert_int_equal(wefti_cpu_isa_find(isas, "fas", &isa, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "future, fast, plain"));
    assert_int_equal(wefti_cpu_isa_find(unusable, NULL, &isa, &error),
                     WEFT_UNAVAILABLE);
    assert_null(isa);
}

static weft_status open_cpu(const char *name, wefti_backend_device **device,
                            weft_error *error)
{
    static const wefti_log log;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.isa = name;
    params.worker_count = 2;
    return wefti_backend_cpu.device.open(-1, &params, &log, device, error);
}

static void opens_with_each_set(void **state)
{
    (void)state;
    for (size_t i = 0; wefti_cpu_isas[i] != NULL; i++) {
        const wefti_cpu_isa *isa = wefti_cpu_isas[i];
        wefti_backend_device *device = NULL;
        weft_error error;
        weft_status status = open_cpu(isa->name, &device, &error);
        assert_int_equal(status, isa->supported() ? WEFT_OK : WEFT_UNAVAILABLE);
        if (status == WEFT_OK) {
            weft_device_info info = {0};
            wefti_backend_cpu.device.get_info(device, &info);
            assert_string_equal(info.isa, isa->name);
            assert_int_equal(info.worker_count, 2);
            assert_int_equal(info.core_count, wefti_core_count());
            assert_true(info.description[0] != '\0');
            wefti_backend_cpu.device.close(device);
        }
    }
}

static void the_environment_chooses(void **state)
{
    (void)state;
    wefti_backend_device *device = NULL;
    weft_device_info info = {0};
    weft_error error = {0};
    const char *before = getenv("WEFT_ISA");
    char *kept = before == NULL ? NULL : strdup(before);
    assert_int_equal(setenv("WEFT_ISA", "reference", 1), 0);
    assert_int_equal(open_cpu(NULL, &device, NULL), WEFT_OK);
    wefti_backend_cpu.device.get_info(device, &info);
    assert_string_equal(info.isa, "reference");
    wefti_backend_cpu.device.close(device);
    assert_int_equal(setenv("WEFT_ISA", "abacus", 1), 0);
    assert_int_equal(open_cpu(NULL, &device, &error), WEFT_INVALID_ARGUMENT);
    assert_null(device);
    assert_non_null(strstr(error.message, "abacus"));
    /* What the caller asks for goes first. */
    assert_int_equal(open_cpu("reference", &device, NULL), WEFT_OK);
    wefti_backend_cpu.device.close(device);
    if (kept == NULL) {
        assert_int_equal(unsetenv("WEFT_ISA"), 0);
    } else {
        assert_int_equal(setenv("WEFT_ISA", kept, 1), 0);
    }
    free(kept);
}

static void check_description(const char *content, const char *expected)
{
    char path[] = "/tmp/weft-cpuinfo-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, content, strlen(content)), (ssize_t)strlen(content));
    close(file);
    char text[24];
    wefti_processor_describe(path, text, sizeof(text));
    unlink(path);
    assert_string_equal(text, expected);
}

static void processors_are_described(void **state)
{
    (void)state;
    check_description("processor\t: 0\nvendor_id\t: X\nmodel name\t: Fast One\n"
                      "model name\t: Fast Two\n",
                      "Fast One");
    check_description("processor : 0\nHardware : Board 7\nmodel name : An Arm\n",
                      "An Arm");
    check_description("processor : 0\nHardware : Board 7\n", "Board 7");
    check_description("model name\t:   \nmodel names : no\n", "processor");
    check_description("", "processor");
    check_description("model name\t: A very long name of a processor\n",
                      "A very long name of a p");
    char text[24];
    wefti_processor_describe("/nowhere/cpuinfo", text, sizeof(text));
    assert_string_equal(text, "processor");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_supported_set_is_taken),
        cmocka_unit_test(other_names_are_refused_with_words),
        cmocka_unit_test(opens_with_each_set),
        cmocka_unit_test(the_environment_chooses),
        cmocka_unit_test(processors_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is said where there is no card: no driver (this test run as it is, on most
 * machines), one that is too old (tests/old_cuda), one that does not start or finds no
 * card, and an older card (on tests/fake_cuda). The caller's other devices work.
 *
 *     missing_card_test [old|fake]     fails unless that driver is the one found */
#include <weft/weft.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "support/fake_driver.h"

static void expect(weft_status wanted, const char *words)
{
    static const char *const names[] = {"cuda", "cuda:0", "cuda:0,1", "cuda:all"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        weft_device *device = NULL;
        weft_error error = {0};
        assert_int_equal(weft_device_open(names[i], NULL, &device, &error), wanted);
        assert_null(device);
        if (strstr(error.message, words) == NULL) {
            fail_msg("%s: '%s' is not in: %s", names[i], words, error.message);
        }
    }
}

static void test_no_driver(void **state)
{
    (void)state;
    if (dlopen("libcuda.so.1", RTLD_NOW) != NULL) {
        skip();
    }
    expect(WEFT_UNAVAILABLE, "there is no NVIDIA driver on this machine (libcuda.so.1 "
                             "was not found); install one, or use the device \"cpu\"");
}

static bool old_driver_is_there(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    return library != NULL && dlsym(library, "cuMemAllocAsync") == NULL;
}

static void test_old_driver(void **state)
{
    (void)state;
    if (!old_driver_is_there()) {
        skip();
    }
    expect(WEFT_UNAVAILABLE, "libcuda.so.1 has no cu");
    expect(WEFT_UNAVAILABLE, "the NVIDIA driver is too old; install one for CUDA 12");
}

/* Opens "cuda:0" with the n-th call of the driver giving `result`. */
static void expect_failing(uint64_t n, int result, const char *words)
{
    weft_device *device = NULL;
    weft_error error = {0};
    (void)fake.fail_at(n, result);
    assert_int_equal(weft_device_open("cuda:0", NULL, &device, &error),
                     WEFT_UNAVAILABLE);
    assert_true(fake.fail_at(0, 0));
    assert_null(device);
    if (strstr(error.message, words) == NULL) {
        fail_msg("'%s' is not in: %s", words, error.message);
    }
    fake_driver_assert_empty();
}

/* The first calls are cuInit and cuDeviceGetCount; that which loads the kernels is
 * found. */
static void test_no_card(void **state)
{
    (void)state;
    enum { NO_DEVICE = 100, NO_BINARY_FOR_GPU = 209, MOST = 30 };
    if (!fake_driver_find()) {
        skip();
    }
    expect_failing(1, NO_DEVICE, "the NVIDIA driver does not start: ");
    expect_failing(2, NO_DEVICE, "the NVIDIA driver finds no card; look at nvidia-smi");
    bool told = false;
    for (uint64_t n = 3; n < MOST && !told; n++) {
        weft_device *device = NULL;
        weft_error error = {0};
        (void)fake.fail_at(n, NO_BINARY_FOR_GPU);
        const bool opened =
            weft_device_open("cuda:0", NULL, &device, &error) == WEFT_OK;
        (void)fake.fail_at(0, 0);
        told = !opened && error.status == WEFT_UNAVAILABLE &&
               strstr(error.message, "older than this build's kernels, which need "
                                     "sm_80") != NULL;
        weft_device_release(device);
        fake_driver_assert_empty();
    }
    assert_true(told);
}

static void test_others_work(void **state)
{
    (void)state;
    weft_device *device = NULL, *none = NULL;
    assert_int_equal(weft_device_open("cpu", NULL, &device, NULL), WEFT_OK);
    assert_int_not_equal(weft_device_open("cuda:77", NULL, &none, NULL), WEFT_OK);
    assert_null(none);
    weft_device_release(device);
}

/* Without it the tests would be skipped, and pass. */
static bool driver_is_there(const char *name)
{
    return (strcmp(name, "fake") == 0 && fake_driver_find()) ||
           (strcmp(name, "old") == 0 && old_driver_is_there());
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_driver),
        cmocka_unit_test(test_old_driver),
        cmocka_unit_test(test_no_card),
        cmocka_unit_test(test_others_work),
    };
    if (argc > 1 && !driver_is_there(argv[1])) {
        (void)fprintf(stderr, "the driver '%s' is not the libcuda.so.1 found\n",
                      argv[1]);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

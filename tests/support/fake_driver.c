/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fake_driver.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <weft/weft.h>

fake_driver fake;

bool fake_driver_find(void)
{
    static const struct {
        const char *name;
        void *place;
    } calls[] = {
        {"fake_cuda_count", &fake.count},
        {"fake_cuda_fail_at", &fake.fail_at},
        {"fake_cuda_fault_next_launch", &fake.fault_next_launch},
        {"fake_cuda_forgive", &fake.forgive},
        {"fake_cuda_hold", &fake.hold},
        {"fake_cuda_make_kinds_differ", &fake.make_kinds_differ},
    };
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    fake.there = library != NULL;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) && fake.there; i++) {
        void *found = dlsym(library, calls[i].name);
        fake.there = found != NULL;
        memcpy(calls[i].place, &found, sizeof(found));
    }
    return fake.there;
}

bool card_can_be_opened(const char *device_name)
{
    weft_device *device;
    weft_error error = {0};
    if (weft_device_open(device_name, NULL, &device, &error) != WEFT_OK) {
        print_message("left out: %s\n", error.message);
        return false;
    }
    weft_device_release(device);
    return true;
}

fake_cuda_counts fake_driver_count(void)
{
    fake_cuda_counts counts = {0};
    if (fake.there) {
        fake.count(&counts);
    }
    return counts;
}

void fake_driver_assert_empty(void)
{
    const fake_cuda_counts counts = fake_driver_count();
    assert_int_equal(counts.contexts, 0);
    assert_int_equal(counts.modules, 0);
    assert_int_equal(counts.streams, 0);
    assert_int_equal(counts.events, 0);
    assert_int_equal(counts.graphs, 0);
    assert_int_equal(counts.executables, 0);
    assert_int_equal(counts.device_blocks, 0);
    assert_int_equal(counts.host_blocks, 0);
    assert_int_equal(counts.violations, 0);
}

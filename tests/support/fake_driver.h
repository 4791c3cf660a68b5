/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_FAKE_DRIVER_H
#define WEFT_TEST_FAKE_DRIVER_H

#include <stdbool.h>

#include "fake_cuda/fake_cuda.h"

/* The driver made of C, where it is the one that is found (tests/CMakeLists.txt). */
typedef struct fake_driver {
    bool there;
    void (*count)(fake_cuda_counts *counts);
    int (*fail_at)(uint64_t n, int result);
    void (*fault_next_launch)(void);
    uint32_t (*forgive)(int on);
    void (*hold)(int on);
    void (*make_kinds_differ)(int differ);
} fake_driver;
extern fake_driver fake;

/* Fills `fake`; returns whether it is there. */
bool fake_driver_find(void);

/* Whether this machine has such a device; prints why not. */
bool card_can_be_opened(const char *device_name);

/* All zero where it is not there. */
fake_cuda_counts fake_driver_count(void);

/* Fails the test when the driver holds anything, or saw a rule broken. */
void fake_driver_assert_empty(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_SUPPORT_KERNEL_DEVICE_H
#define WEFT_TESTS_SUPPORT_KERNEL_DEVICE_H

#include <weft/device.h>

#include "support/kernel_case.h"

/* Runs a case on the device that WEFT_TEST_DEVICE names and wants the bits of
 * plain C there too. WEFT_TEST_DEVICE_EVERY=n takes each n-th case. */
void kernel_device_check(const kernel_case *c, const void *expected);
/* Runs a case there in this precision: the output's bytes come to `got`. */
void kernel_device_run(const kernel_case *c, weft_precision precision, void *got);
/* How the device describes the kernel of the last case. One thread. */
const char *kernel_device_words(void);
/* Whether there is a device and this case is one for it; to be asked once for each. */
bool kernel_device_wants(void);
/* Whether there is a device: then the CPU's instruction sets are left out. */
bool kernel_device_is_set(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_GROUP_DEVICE_H
#define WEFT_TEST_GROUP_DEVICE_H

#include <weft/weft.h>

/* One device, the CPU, for a whole group of tests. */
extern weft_device *group_device;

/* Set-up and tear-down of the group. */
int group_device_open(void **state);
int group_device_close(void **state);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/group_device.h"

weft_device *group_device;

int group_device_open(void **state)
{
    (void)state;
    return weft_device_open("cpu", NULL, &group_device, NULL) == WEFT_OK ? 0 : -1;
}

int group_device_close(void **state)
{
    (void)state;
    weft_device_release(group_device);
    return 0;
}

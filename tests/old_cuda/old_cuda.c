/* SPDX-License-Identifier: Apache-2.0 */
/* A libcuda.so.1 of old: it has the first calls that Weft looks for, and none of those
 * of CUDA 12. */

#define EXPORT __attribute__((visibility("default")))

EXPORT int cuInit(unsigned int flags);
EXPORT int cuDriverGetVersion(int *version);

int cuInit(unsigned int flags)
{
    return flags != 0;
}

int cuDriverGetVersion(int *version)
{
    *version = 8000;
    return 0;
}

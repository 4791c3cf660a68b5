/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_CORES_H
#define WEFTI_BASE_CORES_H

#include <stdint.h>

/* Cores that the quota of a control group leaves (cgroup v2, cpu.max), rounded up:
 * the least over `group` ("/a/b") and all its parents below `root`
 * ("/sys/fs/cgroup"). INT32_MAX where there is no quota. */
int32_t wefti_quota_cores(const char *root, const char *group);

#endif

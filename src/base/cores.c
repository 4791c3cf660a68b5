/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cores.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/schedule.h"
#include "base/testing.h"
#include "base/thread.h"

/* Reads one cpu.max: "max 100000" or "150000 100000". */
static int32_t quota_of_file(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return INT32_MAX;
    }
    long long quota = 0;
    long long period = 0;
    int fields = fscanf(file, "%lld %lld", &quota, &period);
    fclose(file);
    if (fields != 2 || quota <= 0 || period <= 0) {
        return INT32_MAX;
    }
    long long cores = quota / period + (quota % period != 0);
    return cores > INT32_MAX ? INT32_MAX : (int32_t)cores;
}

int32_t wefti_quota_cores(const char *root, const char *group)
{
    int32_t least = INT32_MAX;
    char directory[PATH_MAX];
    int length = snprintf(directory, sizeof directory, "%s%s", root, group);
    if (length < 0 || (size_t)length >= sizeof directory) {
        return least;
    }
    while (strlen(directory) >= strlen(root)) {
        char path[PATH_MAX + 16];
        snprintf(path, sizeof path, "%s/cpu.max", directory);
        int32_t cores = quota_of_file(path);
        least = cores < least ? cores : least;
        char *slash = strrchr(directory, '/');
        if (!slash) {
            break;
        }
        *slash = 0;
    }
    return least;
}

/* The control group of this process under cgroup v2: the line "0::/path". */
static bool read_own_group(char *group, size_t size)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) {
        return false;
    }
    bool found = false;
    char line[PATH_MAX + 8];
    while (!found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        found = strncmp(line, "0::/", 4) == 0 && strlen(line + 3) < size;
    }
    fclose(file);
    if (found) {
        memcpy(group, line + 3, strlen(line + 3) + 1);
    }
    return found;
}

static int32_t affinity_cores(void)
{
    /* The mask must be at least as large as the kernel's: room for 65,536 cores. */
    cpu_set_t sets[64];
    memset(sets, 0, sizeof sets);
    if (sched_getaffinity(0, sizeof sets, sets) != 0) {
        return 1;
    }
    return CPU_COUNT_S(sizeof sets, sets);
}

int32_t wefti_core_count(void)
{
    if (wefti_pretended_cores > 0) {
        return wefti_pretended_cores;
    }
    int32_t cores = affinity_cores();
    char group[PATH_MAX];
    if (read_own_group(group, sizeof group)) {
        int32_t quota = wefti_quota_cores("/sys/fs/cgroup", group);
        cores = quota < cores ? quota : cores;
    }
    return cores < 1 ? 1 : cores;
}

_Static_assert(sizeof(cpu_set_t) == sizeof(wefti_core_set), "1,024 cores");

bool wefti_thread_keep_core(uint32_t index, uint32_t most, wefti_core_set *before)
{
    cpu_set_t all;
    /* Fails where the system has more cores than fit. */
    if (wefti_scheduler_in_charge || sched_getaffinity(0, sizeof all, &all) != 0) {
        return false;
    }
    uint32_t count = (uint32_t)CPU_COUNT(&all);
    if (count == 0 || count > most) {
        return false;
    }
    uint32_t left = index % count;
    size_t core = 0;
    while (!CPU_ISSET(core, &all) || left-- > 0) {
        core++;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    memcpy(before, &all, sizeof all);
    return sched_setaffinity(0, sizeof one, &one) == 0;
}

void wefti_thread_free_core(const wefti_core_set *before)
{
    cpu_set_t all;
    memcpy(&all, before, sizeof all);
    (void)sched_setaffinity(0, sizeof all, &all);
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_THREAD_H
#define WEFTI_BASE_THREAD_H

#include <pthread.h>
#include <stdint.h>

#include <weft/status.h>

typedef struct wefti_thread {
    pthread_t handle;
} wefti_thread;

/* Starts a thread with all signals blocked but those of its own faults; `name` (at most
 * 15 bytes) shows in debuggers. On success the caller joins it once. */
WEFT_MUST_USE weft_status wefti_thread_start(wefti_thread *thread, const char *name,
                                             void (*function)(void *argument),
                                             void *argument, weft_error *error);
void wefti_thread_join(wefti_thread *thread);

/* Lets another thread that is ready run on this core. */
void wefti_thread_yield(void);

/* Gives up the core for about this long; for waits that nobody can wake. Threads: any.
 */
void wefti_thread_sleep(int64_t duration_ns);

/* Instead of joining, where a thread ends what would have joined it: it then frees
 * itself. */
void wefti_thread_detach(wefti_thread *thread);

/* The calling thread, to be compared with; not to be joined. */
wefti_thread wefti_thread_current(void);

/* A number of the calling thread that no other has while it lives. Costs nothing. */
uint64_t wefti_thread_number(void);

/* Tells whether the calling thread is `thread`. */
_Bool wefti_thread_is_current(const wefti_thread *thread);

/* The cores that a thread may run on, of the first 1,024. */
typedef struct wefti_core_set {
    uint64_t bits[16];
} wefti_core_set;

/* Keeps the calling thread on one of the cores that it may run on, the index-th in a
 * circle, and sets *before to what it might run on until now. False where it has more
 * than `most` cores, or the system says no: then nothing has changed. */
_Bool wefti_thread_keep_core(uint32_t index, uint32_t most, wefti_core_set *before);

/* Lets the calling thread run where it might before. */
void wefti_thread_free_core(const wefti_core_set *before);

/* Cores this process may run on (affinity mask and cgroup quota), at least 1. */
int32_t wefti_core_count(void);

/* The core that runs the caller now, as a hint; 0 where unknown. */
uint32_t wefti_current_core(void);

#endif

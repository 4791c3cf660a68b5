/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fork.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"

/* atomic: the watcher and the child after fork -> any thread */
static wefti_atomic_u32 watching;
static wefti_atomic_u32 forked;

static void mark_child(void)
{
    wefti_atomic_u32_store_release(&forked, 1);
}

/* Two threads that get here at the same time both register the handler: it only sets
 * a flag, so running it twice is as good as once, and no lock is needed. */
weft_status wefti_fork_watch(weft_error *error)
{
    if (wefti_atomic_u32_load_acquire(&watching)) {
        return WEFT_OK;
    }
    int code = wefti_fault_here(WEFTI_FAULT_LOCK)
                   ? ENOMEM
                   : pthread_atfork(NULL, NULL, mark_child);
    if (code != 0) {
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "the system cannot watch for fork(): %s; free memory and "
                           "try again",
                           strerror(code));
    }
    wefti_atomic_u32_store_release(&watching, 1);
    return WEFT_OK;
}

bool wefti_fork_happened(void)
{
    return wefti_atomic_u32_load_acquire(&forked) != 0;
}

weft_status wefti_fork_check(weft_error *error)
{
    if (WEFTI_LIKELY(!wefti_fork_happened())) {
        return WEFT_OK;
    }
    return wefti_error(error, WEFT_FORKED,
                       "this process was forked from one that had opened a device; "
                       "fork first and open devices in the child, or exec");
}

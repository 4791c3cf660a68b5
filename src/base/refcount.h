/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_REFCOUNT_H
#define WEFTI_BASE_REFCOUNT_H

#include <stdlib.h>

#include "base/atomic.h"

/* A count of owners. */
typedef struct wefti_refcount {
    wefti_atomic_u32 owners;
} wefti_refcount;

WEFTI_INLINE void wefti_refcount_init(wefti_refcount *count)
{
    wefti_atomic_u32_init(&count->owners, 1);
}

/* With several owners at once: nobody else has it yet. */
WEFTI_INLINE void wefti_refcount_init_many(wefti_refcount *count, uint32_t owners)
{
    wefti_atomic_u32_init(&count->owners, owners);
}

/* Relaxed: the caller already owns a reference, which orders everything. Nobody else
 * may retain, as from a table of weak entries: an only owner's release would lose it.
 */
WEFTI_INLINE void wefti_refcount_retain(wefti_refcount *count)
{
    wefti_atomic_u32_add_relaxed(&count->owners, 1);
}

/* True for the last owner, who then sees all that the others did. */
WEFTI_INLINE bool wefti_refcount_release(wefti_refcount *count)
{
    /* An only owner shares the count with nobody: no locked operation is needed. */
#if !defined(WEFT_TESTING)
    if (wefti_atomic_u32_load_acquire(&count->owners) == 1) {
        wefti_atomic_u32_store_relaxed(&count->owners, 0);
        return true;
    }
    return wefti_atomic_u32_sub_acq_rel(&count->owners, 1) == 1;
#else
    uint32_t only = 1;
    const bool alone = wefti_atomic_u32_load_acquire(&count->owners) == 1;
    if (alone && wefti_atomic_u32_cas_acq_rel(&count->owners, &only, 0)) {
        return true;
    }
    const uint32_t before = wefti_atomic_u32_sub_acq_rel(&count->owners, 1);
    if (before == 0 || alone) {
        abort(); /* somebody let go or came who owned nothing */
    }
    return before == 1;
#endif
}

#endif

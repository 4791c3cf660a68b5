/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_QUEUE_LINGER_H
#define WEFTI_QUEUE_LINGER_H

#include "base/atomic.h"

/* Looking again before going to sleep.
 *
 * To sleep and be woken costs two to three times the processor time of letting the
 * other threads of this core run once and looking again (docs/performance.md). With
 * more threads than cores those others mostly are whom one waits for: a submitter's
 * request is run by a worker, a worker's next batch comes from submitters. So before it
 * sleeps a thread lets others run a few times.
 *
 * This changes no protocol: whoever lingers looks at the same things as before, and
 * then sleeps in the same way, on the same condition, or does not. What it can cost is
 * time, where the others of the core are strangers that compute; so it is tried only
 * while it works, and if it does not, once in a while. */

/* Whether lingering works, for one kind of wait of a queue. All are hints, read and
 * written relaxed by any thread: a lost update costs a try, nothing else. */
typedef struct wefti_patience {
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 trust; /* 0: try only once in a while */
    wefti_atomic_u32 skipped;                   /* since the last try */
    wefti_atomic_u32 interval;                  /* of tries without trust */
} wefti_patience;

/* Most times to let others run before sleeping. */
enum { WEFTI_LINGER_YIELDS = 8 };

void wefti_patience_init(wefti_patience *patience);

/* Whether it works of late; counts no try. Threads: any. */
bool wefti_patience_has_trust(const wefti_patience *patience);

/* Whether to linger now. Threads: any. */
bool wefti_patience_try(wefti_patience *patience);

/* Learns whether a try spared a sleep. Threads: any. */
void wefti_patience_learn(wefti_patience *patience, bool good);

/* Takes all trust away, where a bad try costs more than a good one spares. */
void wefti_patience_lose(wefti_patience *patience);

#endif

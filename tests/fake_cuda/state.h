/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_FAKE_CUDA_STATE_H
#define WEFT_TESTS_FAKE_CUDA_STATE_H

#include <pthread.h>

#include "fake_cuda/fake_cuda.h"
#include "fake_cuda/objects.h"

/* What the stand-in's sources share: its bookkeeping, behind one lock, and the checks.
 * `_locked`: the lock is held. */

#define FAKE_EXPORT __attribute__((visibility("default")))

/* Prototypes from the table, so that the two cannot differ. */
#define PROTOTYPE(name, symbol, parameters) FAKE_EXPORT cuda_result symbol parameters;
CUDA_DRIVER_CALLS(PROTOTYPE)
#undef PROTOTYPE

enum {
    FAKE_NO_CARD = -1,
    FAKE_INVALID_CONTEXT = 201,
    FAKE_FAULT = 700,
};

extern pthread_mutex_t fake_lock;
/* guarded by fake_lock */
extern fake_cuda_counts fake_counts;
extern cuda_executable fake_executables; /* all of them */
extern int fake_fatal[FAKE_CUDA_CARDS];  /* what each call on a lost card gives */

/* Counts and prints a rule that was broken. */
void fake_violate_locked(const char *words);
/* Whose context is current in the calling thread. */
int fake_current_card(void);
void fake_check_card_locked(int card, const char *words);
/* Memory that the driver does not know is the caller's own. */
void fake_check_memory_locked(uint64_t address, int card, const char *words);

/* The begin of a call that wants a current context: it is counted and may have to
 * fail. */
int fake_enter_context_locked(void);
int fake_enter_context(void);

/* Puts work behind the stream's; counted as a call. */
int fake_submit_locked(cuda_stream stream, const work *what);
/* Whether this launch is the one that a test wants to fault. */
bool fake_take_fault_locked(int card);
/* The work of a launch, on the stream's thread. */
void fake_run_launch(cuda_executable executable);

#endif

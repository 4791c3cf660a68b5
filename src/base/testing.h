/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_TESTING_H
#define WEFTI_BASE_TESTING_H

#if defined(WEFT_NO_HOOKS)
#error                                                                                 \
    "compiled once for product and tests: see WEFT_HOOKED_KERNELS in cmake/weft.cmake"
#endif

#include <stdbool.h>
#include <stdint.h>

/* Hooks that exist only in test builds (-DWEFT_TESTING): forced failures, guards
 * that can be switched off, and points where a test scheduler picks who runs next.
 * In a release build every hook is a constant and costs nothing. */

/* What can be made to fail; the n-th use of any of them, counted together. */
typedef enum wefti_fault_site {
    WEFTI_FAULT_ALLOCATION,
    WEFTI_FAULT_LOCK,   /* creating a mutex or condition variable */
    WEFTI_FAULT_THREAD, /* starting a thread */
    WEFTI_FAULT_DEVICE, /* a call of a backend that can fail */
    WEFTI_FAULT_SITE_COUNT,
} wefti_fault_site;

/* Guards and steps that a test can spoil, to prove that the checks would notice. */
typedef enum wefti_sabotage {
    WEFTI_SABOTAGE_NONE,
    WEFTI_SABOTAGE_LEASE_TWICE,   /* a context is leased though it is in use */
    WEFTI_SABOTAGE_REUSE_EARLY,   /* a buffer is reused while still to be read */
    WEFTI_SABOTAGE_SWAP_OUTPUTS,  /* two requests' outputs change places */
    WEFTI_SABOTAGE_SUM_ORDER,     /* one sum runs in another order */
    WEFTI_SABOTAGE_EXACTLY_ONCE,  /* a request may end twice */
    WEFTI_SABOTAGE_PLAN_DEDUPE,   /* two threads build the same plan */
    WEFTI_SABOTAGE_WAKE_NEXT,     /* a freed context wakes nobody */
    WEFTI_SABOTAGE_WAKE_ON_CLOSE, /* closing wakes nobody */
    WEFTI_SABOTAGE_FREE_WAIT,     /* memory is reused before its streams passed */
    WEFTI_SABOTAGE_DRAIN_WAKE,    /* the end of work wakes no drainer */
    WEFTI_SABOTAGE_TIMER_WAKE,    /* a new deadline does not wake the timer */
    WEFTI_SABOTAGE_EVENT_WAKE,    /* raising an event wakes nobody */
    WEFTI_SABOTAGE_PLAN_WAKE,    /* who waits for a plan is not told that it is there */
    WEFTI_SABOTAGE_ROOM_WAKE,    /* nor who waits for evicted memory */
    WEFTI_SABOTAGE_POINT_WISH,   /* who leaves a stream forgets a wanted point */
    WEFTI_SABOTAGE_SETTLE_TWICE, /* a stream that may go on is taken for held */
    WEFTI_SABOTAGE_SETTLE_DUE,   /* so is one whose event has come */
    WEFTI_SABOTAGE_END_WAKE,    /* the end of a request wakes nobody who waits for it */
    WEFTI_SABOTAGE_QUEUE_WORK,  /* submitting wakes no worker of the queue */
    WEFTI_SABOTAGE_QUEUE_ROOM,  /* room wakes nobody who waits for it */
    WEFTI_SABOTAGE_QUEUE_IDLE,  /* the last request that leaves wakes nobody */
    WEFTI_SABOTAGE_QUEUE_ONCE,  /* a worker ends what was cancelled while it ran */
    WEFTI_SABOTAGE_QUEUE_KEEP,  /* who cancels a request keeps none for who runs it */
    WEFTI_SABOTAGE_QUEUE_AGAIN, /* who cancels looks once for what may be given back */
    WEFTI_SABOTAGE_QUEUE_DROPPED, /* who cancels does not wait for who loads */
    WEFTI_SABOTAGE_QUEUE_ORDER,   /* two threads announce a model's ends */
    WEFTI_SABOTAGE_QUEUE_LEFT,    /* who led a batch wakes no worker for what is left */
    WEFTI_SABOTAGE_QUEUE_WATCH,   /* nobody looks whether a promise was kept */
    WEFTI_SABOTAGE_QUEUE_POST, /* who looks for posts no more does not look once more */
    WEFTI_SABOTAGE_QUEUE_SHUT, /* close leaves what nobody was told of in its box */
    WEFTI_SABOTAGE_QUEUE_FORGET, /* a class is forgotten, and what was posted for it */
    WEFTI_SABOTAGE_TEAM_WAIT,    /* a step ends while helpers hold tiles of it */
    WEFTI_SABOTAGE_PLAN_EVICT,   /* an evicted plan is freed while it is in use */
    WEFTI_SABOTAGE_HOLD_WAKE, /* who holds a context wakes nobody who would share it */
    WEFTI_SABOTAGE_TURN_WAKE, /* who leaves a shared context wakes nobody */
    WEFTI_SABOTAGE_COUNT,
} wefti_sabotage;

#if defined(WEFT_TESTING)

/* True when this use must fail. Threads: any. */
bool wefti_fault_here(wefti_fault_site site);

/* Makes the n-th use (1 = the next) of any armed site fail, once; 0 disarms and
 * returns how many uses were counted since arming. `site_mask` has bit 1 << site.
 * Threads: any; one test at a time. */
uint64_t wefti_fault_arm(uint64_t n, uint32_t site_mask);

/* True when the guard is to be left out. Threads: any. */
bool wefti_sabotaged(wefti_sabotage what);
void wefti_sabotage_set(wefti_sabotage what);

/* Set by the schedule explorer; NULL otherwise. Locks, waits and threads are replaced
 * through base/schedule.h. */
extern void (*wefti_schedule_hook)(void);

/* Stands for wefti_clock_ns where set; NULL is the system's clock. Deadlines of
 * condition variables stay with the system's clock unless a scheduler is in charge.
 * Set it while no other thread is in the library. */
extern int64_t (*wefti_clock_hook)(void);

/* What wefti_core_count says, so that a test goes the same way on every machine; 0: the
 * truth. Set it while no other thread is in the library. */
extern int32_t wefti_pretended_cores;

#define WEFTI_SCHEDULE_POINT()                                                         \
    do {                                                                               \
        if (__builtin_expect(wefti_schedule_hook != 0, 0)) {                           \
            wefti_schedule_hook();                                                     \
        }                                                                              \
    } while (0)

#else

#define wefti_fault_here(site) false
#define wefti_sabotaged(what) false
#define wefti_clock_hook ((int64_t(*)(void))0)
#define wefti_pretended_cores 0
#define WEFTI_SCHEDULE_POINT() ((void)0)

#endif

#endif

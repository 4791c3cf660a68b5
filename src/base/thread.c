/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"
#include "base/float_state.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/schedule.h"
#include "base/testing.h"

typedef struct start_record {
    void (*function)(void *argument);
    void *argument;
} start_record;

static void *run_thread(void *opaque)
{
    start_record start = *(start_record *)opaque;
    wefti_free(opaque);
    (void)wefti_float_enter(); /* it was inherited from who started the thread */
    start.function(start.argument);
    return NULL;
}

/* Signals meant for the program must not land on our threads; those that a fault
 * raises in the thread itself stay open, for the program's crash handler. */
static void signals_to_block(sigset_t *set)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    sigfillset(set);
    for (size_t i = 0; i < WEFTI_COUNT_OF(faults); i++) {
        sigdelset(set, faults[i]);
    }
}

/* The new thread inherits the mask, so there is no moment at which it could be hit. */
static int create_with_signals_blocked(pthread_t *handle, start_record *start)
{
    if (wefti_fault_here(WEFTI_FAULT_THREAD)) {
        return EAGAIN;
    }
    sigset_t blocked;
    sigset_t before;
    signals_to_block(&blocked);
    int code = pthread_sigmask(SIG_SETMASK, &blocked, &before);
    if (code != 0) {
        return code;
    }
    code = pthread_create(handle, NULL, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

weft_status wefti_thread_start(wefti_thread *thread, const char *name,
                               void (*function)(void *argument), void *argument,
                               weft_error *error)
{
    if (wefti_scheduler_in_charge) {
        return wefti_scheduler_in_charge->thread_start(thread, name, function, argument,
                                                       error);
    }
    start_record *start = wefti_malloc(sizeof *start);
    if (!start) {
        return wefti_error_memory(error, "a thread");
    }
    *start = (start_record){.function = function, .argument = argument};
    int code = create_with_signals_blocked(&thread->handle, start);
    if (code != 0) {
        wefti_free(start);
        return wefti_error(error, WEFT_OUT_OF_MEMORY,
                           "the system cannot start the thread %s: %s; end other "
                           "threads or raise the limit",
                           name, strerror(code));
    }
    /* A name that is too long is refused; a thread without a name works as well. */
    (void)pthread_setname_np(thread->handle, name);
    return WEFT_OK;
}

void wefti_thread_join(wefti_thread *thread)
{
    if (wefti_scheduler_in_charge) {
        wefti_scheduler_in_charge->thread_join(thread);
        return;
    }
    pthread_join(thread->handle, NULL);
}

void wefti_thread_detach(wefti_thread *thread)
{
    if (!wefti_scheduler_in_charge) { /* which joins its real threads itself */
        pthread_detach(thread->handle);
    }
}

static pthread_t current_handle(void)
{
    return wefti_scheduler_in_charge ? wefti_scheduler_in_charge->current()
                                     : pthread_self();
}

wefti_thread wefti_thread_current(void)
{
    return (wefti_thread){.handle = current_handle()};
}

uint64_t wefti_thread_number(void)
{
    return (uint64_t)(uintptr_t)current_handle();
}

_Bool wefti_thread_is_current(const wefti_thread *thread)
{
    return pthread_equal(thread->handle, current_handle()) != 0;
}

void wefti_thread_yield(void)
{
    if (wefti_scheduler_in_charge) {
        wefti_scheduler_in_charge->yield();
        return;
    }
    (void)sched_yield();
}

void wefti_thread_sleep(int64_t duration_ns)
{
    if (wefti_scheduler_in_charge) {
        wefti_scheduler_in_charge->yield();
        return;
    }
    const struct timespec duration = {.tv_sec = duration_ns / 1000000000,
                                      .tv_nsec = duration_ns % 1000000000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, NULL);
}

uint32_t wefti_current_core(void)
{
    if (wefti_scheduler_in_charge) {
        return wefti_scheduler_in_charge->current_core();
    }
    int core = sched_getcpu();
    return core < 0 ? 0 : (uint32_t)core;
}

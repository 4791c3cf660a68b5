/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_COROUTINE_H
#define WEFT_TEST_COROUTINE_H

#include <stddef.h>

/* A thread of control with a stack of its own that goes on only when it is switched to;
 * all within one thread of the system, so that a switch costs nanoseconds. */
typedef struct coroutine {
    void *stack_pointer; /* while it does not run */
    char *stack;         /* NULL: the thread's own */
    size_t stack_bytes;
    void (*entry)(void *argument);
    void *argument;
    void *fiber; /* what the sanitizers know it by */
    void *fake_stack;
} coroutine;

/* Describes the calling thread itself, so that it can be switched back to. */
void coroutine_init_self(coroutine *c);

/* Makes a coroutine, or begins one anew whose work was given up. `entry` never
 * returns. */
void coroutine_init(coroutine *c, void (*entry)(void *argument), void *argument);

/* Goes on with `to`; returns when something switches to `from`. */
void coroutine_switch(coroutine *from, coroutine *to);

#endif

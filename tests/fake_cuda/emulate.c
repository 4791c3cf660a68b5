/* SPDX-License-Identifier: Apache-2.0 */
#undef _FORTIFY_SOURCE /* which does not let _longjmp go to another stack */
#include "fake_cuda/emulate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <ucontext.h>

_Thread_local emulate_index threadIdx, blockIdx, gridDim;

enum { MOST_THREADS = 256, STACK_BYTES = 128 * 1024 };

/* ThreadSanitizer cannot follow stacks that are switched: there the threads of a block
 * run to their end one after the other, the last first, and barriers are passed. What
 * kernels with barriers compute is then wrong, but for weft_stage, whose first thread
 * only waits for the others. The order of the host's calls is what is looked at. */
#if defined(__SANITIZE_THREAD__)
#define EMULATE_SWITCHES 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EMULATE_SWITCHES 0
#endif
#endif
#ifndef EMULATE_SWITCHES
#define EMULATE_SWITCHES 1
#endif

/* How one goes from stack to stack: swapcontext asks the system each time, twice, which
 * took most of the time of all; AddressSanitizer understands nothing else. */
#if defined(__SANITIZE_ADDRESS__)
#define EMULATE_JUMPS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMULATE_JUMPS 0
#endif
#endif
#ifndef EMULATE_JUMPS
#define EMULATE_JUMPS 1
#endif

typedef struct place {
    ucontext_t context;
    jmp_buf jump;
} place;

/* The threads of a block, which run in this thread of the host; they stay for the next
 * block, and for other kernels. */
typedef struct fibers {
    place scheduler;
    place places[MOST_THREADS];
    bool ended[MOST_THREADS];
    uint32_t made, current;
    bool in_turns; /* else they run to their end */
    const emulate_kernel *kernel;
    const void *call;
    char *stacks;
} fibers;
static _Thread_local fibers *own; /* NULL before the first block */

static void switch_over(place *from, place *to)
{
    if (!EMULATE_JUMPS) {
        swapcontext(&from->context, &to->context);
    } else if (_setjmp(from->jump) == 0) {
        _longjmp(to->jump, 1);
    }
}

void emulate_barrier(void)
{
    if (EMULATE_SWITCHES && own != NULL && own->in_turns) {
        switch_over(&own->places[own->current], &own->scheduler);
    }
}

static void run_again_and_again(void)
{
    for (;;) {
        own->kernel->run(own->call);
        own->ended[own->current] = true;
        switch_over(&own->places[own->current], &own->scheduler);
    }
}

static void begin(uint32_t thread)
{
    ucontext_t *context = &own->places[thread].context;
    getcontext(context);
    context->uc_stack.ss_sp = own->stacks + (size_t)thread * STACK_BYTES;
    context->uc_stack.ss_size = STACK_BYTES;
    makecontext(context, run_again_and_again, 0);
    own->made++;
    if (!EMULATE_JUMPS) {
        swapcontext(&own->scheduler.context, context);
    } else if (_setjmp(own->scheduler.jump) == 0) {
        setcontext(context);
    }
}

static void run_block_in_turns(uint32_t threads)
{
    memset(own->ended, 0, sizeof(own->ended));
    for (uint32_t left = threads; left > 0;) {
        for (uint32_t t = 0; t < threads; t++) {
            if (own->ended[t]) {
                continue;
            }
            own->current = t;
            threadIdx.x = t;
            if (t >= own->made) {
                begin(t);
            } else {
                switch_over(&own->scheduler, &own->places[t]);
            }
            left -= own->ended[t];
        }
    }
}

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void drop_fibers(void *user)
{
    fibers *dropped = user;
    free(dropped->stacks);
    free(dropped);
}

static void make_key(void)
{
    pthread_key_create(&key, drop_fibers);
}

static void make_fibers(void)
{
    if (own == NULL) {
        pthread_once(&once, make_key);
        own = calloc(1, sizeof(*own));
        own->stacks = malloc((size_t)MOST_THREADS * STACK_BYTES);
        pthread_setspecific(key, own);
    }
}

static void run_block_in_order(const emulate_kernel *kernel, const void *call,
                               uint32_t threads)
{
    for (uint32_t t = threads; t-- > 0;) {
        threadIdx.x = t;
        kernel->run(call);
    }
}

/* True for kernels whose threads never wait for each other. */
static bool is_free_of_barriers(const char *name)
{
    static const char *const names[] = {
        "weft_copy",
        "weft_fill",
        "weft_gather",
        "weft_pool",
        "weft_elementwise",
        "weft_elementwise_one",
        "weft_elementwise_typed",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

void emulate_launch(const emulate_kernel *kernel, const void *call, uint32_t blocks,
                    uint32_t threads)
{
    const bool turns = EMULATE_SWITCHES && !is_free_of_barriers(kernel->name);
    if (turns) {
        make_fibers();
        own->in_turns = true;
        own->kernel = kernel;
        own->call = call;
    }
    gridDim = (emulate_index){blocks, 1, 1};
    for (uint32_t b = 0; b < blocks; b++) {
        blockIdx = (emulate_index){b, 0, 0};
        if (turns) {
            run_block_in_turns(threads);
        } else {
            run_block_in_order(kernel, call, threads);
        }
    }
    if (turns) {
        own->in_turns = false;
    }
}

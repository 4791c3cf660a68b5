/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_cuda/emulate.h"

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

/* The threads of the block that runs in this thread of the host. */
typedef struct fibers {
    ucontext_t scheduler;
    ucontext_t contexts[MOST_THREADS];
    bool ended[MOST_THREADS];
    uint32_t current;
    const emulate_kernel *kernel;
    const void *call;
    char *stacks;
} fibers;
static _Thread_local fibers *own; /* NULL while threads run to their end */

void emulate_barrier(void)
{
    if (EMULATE_SWITCHES && own != NULL) {
        swapcontext(&own->contexts[own->current], &own->scheduler);
    }
}

static void enter(void)
{
    own->kernel->run(own->call);
    own->ended[own->current] = true;
}

static void begin(uint32_t thread)
{
    ucontext_t *context = &own->contexts[thread];
    getcontext(context);
    context->uc_stack.ss_sp = own->stacks + (size_t)thread * STACK_BYTES;
    context->uc_stack.ss_size = STACK_BYTES;
    context->uc_link = &own->scheduler;
    own->ended[thread] = false;
    makecontext(context, enter, 0);
}

static void run_block_in_turns(uint32_t threads)
{
    for (uint32_t t = 0; t < threads; t++) {
        begin(t);
    }
    for (uint32_t left = threads; left > 0;) {
        for (uint32_t t = 0; t < threads; t++) {
            if (own->ended[t]) {
                continue;
            }
            own->current = t;
            threadIdx.x = t;
            swapcontext(&own->scheduler, &own->contexts[t]);
            left -= own->ended[t];
        }
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
        own = malloc(sizeof(*own));
        own->stacks = malloc((size_t)MOST_THREADS * STACK_BYTES);
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
        free(own->stacks);
        free(own);
        own = NULL;
    }
}

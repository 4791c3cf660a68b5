/* SPDX-License-Identifier: Apache-2.0 */
#include "support/coroutine.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_TSAN 1
#endif
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define HAS_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#endif
#if defined(HAS_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(HAS_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

enum { STACK_BYTES = 256 * 1024 };

/* Saves what a call must preserve on the present stack, its pointer in *from, and takes
 * the same from the other stack. */
void coroutine_switch_stacks(void **from, void *to);

#if defined(__x86_64__)

/* A function begins 8 bytes off a multiple of 16, where the call left its address. */
enum { SAVED_WORDS = 8, ENTRY_WORD = 6 };
__asm__(".text\n"
        ".globl coroutine_switch_stacks\n"
        ".type coroutine_switch_stacks, @function\n"
        "coroutine_switch_stacks:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size coroutine_switch_stacks, . - coroutine_switch_stacks\n");

#elif defined(__aarch64__)

enum {
    SAVED_WORDS = 20, /* and sp is a multiple of 16 */
    ENTRY_WORD = 11
};
__asm__(".text\n"
        ".globl coroutine_switch_stacks\n"
        ".type coroutine_switch_stacks, %function\n"
        "coroutine_switch_stacks:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size coroutine_switch_stacks, . - coroutine_switch_stacks\n");

#else
#error "tell coroutine.c how to switch stacks on this processor"
#endif

/* The one that is being switched to, and from which. */
static coroutine *present, *before;

static void arrive(coroutine *self)
{
#if defined(HAS_ASAN)
    const void *bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &bytes);
    if (before->stack == NULL) { /* the thread's own: known from now on */
        before->stack_bytes = bytes;
        before->argument = (void *)(uintptr_t)bottom;
    }
#else
    (void)self;
#endif
}

static void begin(void)
{
    coroutine *self = present;
    arrive(self);
    self->entry(self->argument);
    abort();
}

static void give_up(const char *why)
{
    perror(why);
    abort();
}

static void make_stack(coroutine *c)
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    char *stack = mmap(NULL, STACK_BYTES + guard, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, guard, PROT_NONE) != 0) {
        give_up("a stack");
    }
    c->stack = stack + guard;
    c->stack_bytes = STACK_BYTES;
}

void coroutine_init_self(coroutine *c)
{
    memset(c, 0, sizeof *c);
#if defined(HAS_TSAN)
    c->fiber = __tsan_get_current_fiber();
#endif
}

void coroutine_init(coroutine *c, void (*entry)(void *argument), void *argument)
{
    if (c->stack == NULL) {
        make_stack(c);
    }
#if defined(HAS_ASAN)
    __asan_unpoison_memory_region(c->stack, c->stack_bytes);
    c->fake_stack = NULL;
#endif
#if defined(HAS_TSAN)
    if (c->fiber != NULL) {
        __tsan_destroy_fiber(c->fiber);
    }
    c->fiber = __tsan_create_fiber(0);
#endif
    c->entry = entry;
    c->argument = argument;
    uintptr_t top = ((uintptr_t)c->stack + c->stack_bytes) & ~(uintptr_t)63;
    uintptr_t *frame = (uintptr_t *)(top - 64) - SAVED_WORDS;
    memset(frame, 0, SAVED_WORDS * sizeof *frame);
    frame[ENTRY_WORD] = (uintptr_t)begin;
    c->stack_pointer = frame;
}

void coroutine_switch(coroutine *from, coroutine *to)
{
    present = to;
    before = from;
#if defined(HAS_ASAN)
    const void *bottom = to->stack ? to->stack : to->argument;
    __sanitizer_start_switch_fiber(&from->fake_stack, bottom, to->stack_bytes);
#endif
#if defined(HAS_TSAN)
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    coroutine_switch_stacks(&from->stack_pointer, to->stack_pointer);
    arrive(from);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/refcount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/thread.h"

typedef struct shared {
    wefti_refcount owners;
    wefti_atomic_u32 ends;
    int written; /* by each owner before it lets go; read by the last */
} shared;

static void release(void *opaque)
{
    shared *object = opaque;
    for (int i = 0; i < 1000; i++) {
        wefti_refcount_retain(&object->owners);
        if (wefti_refcount_release(&object->owners)) {
            wefti_atomic_u32_add_relaxed(&object->ends, 100);
        }
    }
    if (wefti_refcount_release(&object->owners)) {
        wefti_atomic_u32_add_relaxed(&object->ends, 1);
        object->written = 1;
    }
}

static void the_last_owner_is_told_once(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    shared object = {.written = 0};
    wefti_refcount_init(&object.owners);
    wefti_atomic_u32_init(&object.ends, 0);
    wefti_thread threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        wefti_refcount_retain(&object.owners);
        assert_int_equal(
            wefti_thread_start(&threads[i], "owner", release, &object, NULL), WEFT_OK);
    }
    release(&object);
    for (int i = 0; i < THREADS; i++) {
        wefti_thread_join(&threads[i]);
    }
    assert_int_equal(wefti_atomic_u32_load_acquire(&object.ends), 1);
    assert_int_equal(object.written, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_owner_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

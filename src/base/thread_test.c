/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cores.h"
#include "base/testing.h"

typedef struct seen {
    sigset_t mask;
    char name[16];
    wefti_thread *self;
    bool is_current;
} seen;

static void look_around(void *opaque)
{
    seen *what = opaque;
    pthread_sigmask(SIG_SETMASK, NULL, &what->mask);
    pthread_getname_np(pthread_self(), what->name, sizeof what->name);
}

static void signals_of_the_program_are_blocked(void **state)
{
    (void)state;
    sigset_t before;
    sigset_t after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    seen what = {0};
    wefti_thread thread;
    assert_int_equal(wefti_thread_start(&thread, "weft-test", look_around, &what, NULL),
                     WEFT_OK);
    wefti_thread_join(&thread);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
    static const int blocked[] = {SIGTERM, SIGINT,  SIGHUP, SIGUSR1,
                                  SIGALRM, SIGPIPE, SIGCHLD};
    for (size_t i = 0; i < sizeof blocked / sizeof blocked[0]; i++) {
        assert_int_equal(sigismember(&what.mask, blocked[i]), 1);
    }
    assert_int_equal(sigismember(&what.mask, SIGSEGV), 0);
}

static void stay_and_go(void *opaque)
{
    bool *right = opaque;
    cpu_set_t at_first, then;
    wefti_core_set before;
    sched_getaffinity(0, sizeof at_first, &at_first);
    uint32_t count = (uint32_t)CPU_COUNT(&at_first);
    *right = count == 1 || !wefti_thread_keep_core(0, count - 1, &before);
    for (uint32_t i = 0; i < 2 * count; i++) {
        bool kept = wefti_thread_keep_core(i, count, &before);
        sched_getaffinity(0, sizeof then, &then);
        *right = *right && kept && CPU_COUNT(&then) == 1 &&
                 CPU_ISSET(wefti_current_core(), &then);
        wefti_thread_free_core(&before);
        sched_getaffinity(0, sizeof then, &then);
        *right = *right && CPU_EQUAL(&then, &at_first);
    }
}

static void a_core_is_kept_and_freed(void **state)
{
    (void)state;
    bool right = false;
    wefti_thread thread;
    assert_int_equal(
        wefti_thread_start(&thread, "weft-test", stay_and_go, &right, NULL), WEFT_OK);
    wefti_thread_join(&thread);
    assert_true(right);
}

static void name_shows(void **state)
{
    (void)state;
    seen what = {0};
    wefti_thread thread;
    /* The name may be set after the thread looked: look from outside, before the
     * thread is joined. */
    assert_int_equal(
        wefti_thread_start(&thread, "weft-worker", look_around, &what, NULL), WEFT_OK);
    char name[16] = "";
    if (pthread_getname_np(thread.handle, name, sizeof name) == 0) {
        assert_string_equal(name, "weft-worker");
    }
    wefti_thread_join(&thread);
}

static void compare_self(void *opaque)
{
    seen *what = opaque;
    what->is_current = wefti_thread_is_current(what->self);
}

static void knows_itself(void **state)
{
    (void)state;
    wefti_thread me = {.handle = pthread_self()};
    assert_true(wefti_thread_is_current(&me));
    seen what = {.self = &me, .is_current = true};
    wefti_thread other;
    assert_int_equal(wefti_thread_start(&other, "self", compare_self, &what, NULL),
                     WEFT_OK);
    assert_false(wefti_thread_is_current(&other));
    wefti_thread_join(&other);
    assert_false(what.is_current);
}

static void start_can_be_made_to_fail(void **state)
{
    (void)state;
    wefti_thread thread;
    weft_error error = {0};
    /* Its allocation, then the thread itself; nothing may leak. */
    uint32_t sites = 1u << WEFTI_FAULT_ALLOCATION | 1u << WEFTI_FAULT_THREAD;
    for (uint64_t n = 1; n <= 2; n++) {
        wefti_fault_arm(n, sites);
        assert_int_equal(
            wefti_thread_start(&thread, "weft-worker", look_around, NULL, &error),
            WEFT_OUT_OF_MEMORY);
        assert_int_equal(wefti_fault_arm(0, 0), n);
        assert_non_null(strstr(error.message, "thread"));
    }
}

static void cores_follow_the_affinity(void **state)
{
    (void)state;
    assert_in_range(wefti_core_count(), 1, sysconf(_SC_NPROCESSORS_ONLN));
    cpu_set_t before;
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int core = 0;
    while (!CPU_ISSET(core, &before)) {
        core++;
    }
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(wefti_core_count(), 1);
    assert_int_equal(wefti_current_core(), core);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static void write_quota(const char *directory, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/cpu.max", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void quota_is_the_least_on_the_way_up(void **state)
{
    (void)state;
    char root[] = "/tmp/weft-cgroup-XXXXXX";
    char middle[128];
    char leaf[128];
    assert_non_null(mkdtemp(root));
    snprintf(middle, sizeof middle, "%s/a", root);
    snprintf(leaf, sizeof leaf, "%s/a/b", root);
    assert_int_equal(mkdir(middle, 0700), 0);
    assert_int_equal(mkdir(leaf, 0700), 0);

    assert_int_equal(wefti_quota_cores(root, "/a/b"), INT32_MAX);
    write_quota(leaf, "max 100000\n");
    assert_int_equal(wefti_quota_cores(root, "/a/b"), INT32_MAX);
    write_quota(middle, "250000 100000\n"); /* 2.5 cores give 3 */
    assert_int_equal(wefti_quota_cores(root, "/a/b"), 3);
    write_quota(leaf, "400000 100000\n");
    assert_int_equal(wefti_quota_cores(root, "/a/b"), 3);
    write_quota(leaf, "1000 100000\n");
    assert_int_equal(wefti_quota_cores(root, "/a/b"), 1);
    assert_int_equal(wefti_quota_cores(root, "/a"), 3);
    assert_int_equal(wefti_quota_cores(root, "/"), INT32_MAX);
    assert_int_equal(wefti_quota_cores(root, "/gone/deep"), INT32_MAX);
    write_quota(root, "200000 100000\n"); /* in a namespace the root has one */
    assert_int_equal(wefti_quota_cores(root, "/"), 2);
    assert_int_equal(wefti_quota_cores(root, "/a"), 2);
    static const char *const damaged[] = {"", "0 0", "-5 100000", "5 0", "x y", "7"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        write_quota(root, damaged[i]);
        assert_int_equal(wefti_quota_cores(root, "/"), INT32_MAX);
    }

    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_of_the_program_are_blocked),
        cmocka_unit_test(a_core_is_kept_and_freed),
        cmocka_unit_test(name_shows),
        cmocka_unit_test(knows_itself),
        cmocka_unit_test(start_can_be_made_to_fail),
        cmocka_unit_test(cores_follow_the_affinity),
        cmocka_unit_test(quota_is_the_least_on_the_way_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

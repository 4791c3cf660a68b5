/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/schedule.h"
#include "base/testing.h"
#include "base/thread.h"

static void make(wefti_mutex *mutex, const char *name, wefti_lock_rank rank)
{
    assert_int_equal(wefti_mutex_init(mutex, name, rank, NULL), WEFT_OK);
}

/* Runs a body in a child that must abort; returns what it wrote to stderr. */
static void expect_abort(void (*body)(void), char *words, size_t size)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got = 0;
    while (length + 1 < size &&
           (got = read(ends[0], words + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    words[length] = 0;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

WEFTI_NO_TSA static void invert_ranks(void)
{
    wefti_mutex low;
    wefti_mutex high;
    make(&low, "the device", WEFTI_RANK_DEVICE);
    make(&high, "the pool", WEFTI_RANK_POOL);
    wefti_mutex_lock(&high);
    wefti_mutex_lock(&low);
}

WEFTI_NO_TSA static void lock_twice(void)
{
    wefti_mutex mutex;
    make(&mutex, "twice", WEFTI_RANK_DEVICE);
    wefti_mutex_lock(&mutex);
    wefti_mutex_lock(&mutex);
}

WEFTI_NO_TSA static void unlock_what_is_free(void)
{
    wefti_mutex mutex;
    make(&mutex, "free", WEFTI_RANK_DEVICE);
    wefti_mutex_unlock(&mutex);
}

WEFTI_NO_TSA static void sleep_holding_another(void)
{
    wefti_mutex low;
    wefti_mutex high;
    wefti_condition condition;
    make(&low, "held", WEFTI_RANK_DEVICE);
    make(&high, "slept on", WEFTI_RANK_POOL);
    assert_int_equal(wefti_condition_init(&condition, NULL), WEFT_OK);
    wefti_mutex_lock(&low);
    wefti_mutex_lock(&high);
    wefti_condition_wait(&condition, &high, 0);
}

static void misuse_aborts_and_names_the_locks(void **state)
{
    (void)state;
    char words[4096];
    expect_abort(invert_ranks, words, sizeof words);
    assert_non_null(strstr(words, "taking \"the device\" (rank 20)"));
    assert_non_null(strstr(words, "while holding \"the pool\" (rank 100)"));
    expect_abort(lock_twice, words, sizeof words);
    assert_non_null(strstr(words, "taking \"twice\""));
    expect_abort(unlock_what_is_free, words, sizeof words);
    assert_non_null(strstr(words, "does not hold: \"free\""));
    expect_abort(sleep_holding_another, words, sizeof words);
    assert_non_null(strstr(words, "\"slept on\" (rank 100) while holding \"held\""));
}

static void upwards_in_rank_is_allowed(void **state)
{
    (void)state;
    wefti_mutex low;
    wefti_mutex high;
    make(&low, "low", WEFTI_RANK_DEVICE);
    make(&high, "high", WEFTI_RANK_POOL);
    for (int i = 0; i < 100; i++) {
        wefti_mutex_lock(&low);
        wefti_mutex_lock(&high);
        wefti_mutex_unlock(&low); /* any order of giving back */
        wefti_mutex_unlock(&high);
        wefti_mutex_lock(&high);
        wefti_mutex_unlock(&high);
        wefti_mutex_lock(&low);
        wefti_mutex_unlock(&low);
    }
    wefti_mutex_fini(&low);
    wefti_mutex_fini(&high);
}

typedef struct counter {
    wefti_mutex lock;
    int value; /* guarded by lock */
} counter;

static void count_up(void *opaque)
{
    counter *shared = opaque;
    for (int i = 0; i < 10000; i++) {
        wefti_mutex_lock(&shared->lock);
        shared->value++;
        wefti_mutex_unlock(&shared->lock);
    }
}

static void one_thread_at_a_time(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    counter shared = {0};
    make(&shared.lock, "counter", WEFTI_RANK_DEVICE);
    wefti_thread threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(
            wefti_thread_start(&threads[i], "count", count_up, &shared, NULL), WEFT_OK);
    }
    for (int i = 0; i < THREADS; i++) {
        wefti_thread_join(&threads[i]);
    }
    assert_int_equal(shared.value, THREADS * 10000);
    wefti_mutex_fini(&shared.lock);
}

/* The clock is read only by an acquisition that has to wait: first when it begins,
 * then when it has the lock. So the reading tells the holder to let go. */
static wefti_atomic_u32 clock_readings;

static int64_t contended_clock(void)
{
    return 1000 + 5000 * (int64_t)wefti_atomic_u32_add_acq_rel(&clock_readings, 1);
}

static void lock_once(void *opaque)
{
    wefti_mutex *mutex = opaque;
    wefti_mutex_lock(mutex);
    wefti_mutex_unlock(mutex);
}

static void contention_is_counted(void **state)
{
    (void)state;
    wefti_mutex mutex;
    make(&mutex, "contended", WEFTI_RANK_DEVICE);
    wefti_lock_statistics before;
    wefti_lock_statistics after;
    wefti_lock_get_statistics(&before);
    lock_once(&mutex);
    wefti_lock_get_statistics(&after);
    assert_int_equal(after.wait_count, before.wait_count);

    wefti_atomic_u32_init(&clock_readings, 0);
    wefti_clock_hook = contended_clock;
    wefti_mutex_lock(&mutex);
    wefti_thread other;
    assert_int_equal(wefti_thread_start(&other, "waiter", lock_once, &mutex, NULL),
                     WEFT_OK);
    while (wefti_atomic_u32_load_acquire(&clock_readings) == 0) {
        wefti_pause();
    }
    wefti_mutex_unlock(&mutex);
    wefti_thread_join(&other);
    wefti_clock_hook = NULL;
    wefti_lock_get_statistics(&after);
    assert_int_equal(after.wait_count, before.wait_count + 1);
    assert_int_equal(after.wait_ns, before.wait_ns + 5000);
    wefti_mutex_fini(&mutex);
}

static void creation_can_be_made_to_fail(void **state)
{
    (void)state;
    wefti_mutex mutex;
    wefti_condition condition;
    weft_error error = {0};
    wefti_fault_arm(1, 1u << WEFTI_FAULT_LOCK);
    assert_int_equal(
        wefti_mutex_init(&mutex, "the weights", WEFTI_RANK_WEIGHTS, &error),
        WEFT_OUT_OF_MEMORY);
    assert_non_null(strstr(error.message, "the weights"));
    wefti_fault_arm(1, 1u << WEFTI_FAULT_LOCK);
    assert_int_equal(wefti_condition_init(&condition, &error), WEFT_OUT_OF_MEMORY);
    assert_int_equal(wefti_fault_arm(0, 0), 1);
}

static void a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    wefti_mutex mutex;
    wefti_condition condition;
    make(&mutex, "deadline", WEFTI_RANK_DEVICE);
    assert_int_equal(wefti_condition_init(&condition, NULL), WEFT_OK);
    wefti_mutex_lock(&mutex);
    assert_false(wefti_condition_wait(&condition, &mutex, 0));
    assert_false(wefti_condition_wait(&condition, &mutex, INT64_MIN));
    int64_t deadline = wefti_deadline(2000000);
    while (wefti_condition_wait(&condition, &mutex, deadline)) {
    }
    assert_true(wefti_clock_ns() >= deadline);
    wefti_mutex_unlock(&mutex);
    wefti_condition_fini(&condition);
    wefti_mutex_fini(&mutex);
}

typedef struct ball {
    wefti_mutex lock;
    wefti_condition moved; /* woken by the other player */
    int side;              /* guarded by lock */
    int touches;           /* guarded by lock */
    bool all;              /* immutable: wake_all or wake_one */
} ball;

static void play(ball *game, int side)
{
    for (int i = 0; i < 1000; i++) {
        wefti_mutex_lock(&game->lock);
        while (game->side != side) {
            /* A far deadline and none at all take different ways. */
            int64_t deadline = i % 2 ? WEFTI_NEVER : wefti_deadline(60000000000);
            assert_true(wefti_condition_wait(&game->moved, &game->lock, deadline));
        }
        game->side = !side;
        game->touches++;
        if (game->all) {
            wefti_condition_wake_all(&game->moved);
        } else {
            wefti_condition_wake_one(&game->moved);
        }
        wefti_mutex_unlock(&game->lock);
    }
}

static void play_other_side(void *opaque)
{
    play(opaque, 1);
}

static void wakes_are_not_lost(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        ball game = {.all = all};
        make(&game.lock, "ball", WEFTI_RANK_DEVICE);
        assert_int_equal(wefti_condition_init(&game.moved, NULL), WEFT_OK);
        wefti_thread other;
        assert_int_equal(
            wefti_thread_start(&other, "player", play_other_side, &game, NULL),
            WEFT_OK);
        play(&game, 0);
        wefti_thread_join(&other);
        assert_int_equal(game.touches, 2000);
        wefti_condition_fini(&game.moved);
        wefti_mutex_fini(&game.lock);
    }
}

/* A scheduler that only writes down what it was asked for. */
static char asked[128];

static void ask(const char *what)
{
    strncat(asked, what, sizeof asked - strlen(asked) - 1);
}
static void ask_lock(wefti_mutex *mutex)
{
    (void)mutex;
    ask("lock ");
}
static void ask_unlock(wefti_mutex *mutex)
{
    (void)mutex;
    ask("unlock ");
}
static bool ask_wait(wefti_condition *condition, wefti_mutex *mutex, int64_t deadline)
{
    (void)condition;
    (void)mutex;
    ask("wait ");
    return deadline != 7;
}
static void ask_wake(wefti_condition *condition, bool all)
{
    (void)condition;
    ask(all ? "all " : "one ");
}
static weft_status ask_start(wefti_thread *thread, const char *name,
                             void (*function)(void *argument), void *argument,
                             weft_error *error)
{
    (void)thread;
    (void)name;
    (void)error;
    ask("start ");
    function(argument);
    return WEFT_OK;
}
static void ask_join(wefti_thread *thread)
{
    (void)thread;
    ask("join ");
}

static pthread_t ask_current(void)
{
    ask("who ");
    return (pthread_t)3;
}
static void ask_yield(void)
{
    ask("yield ");
}
static uint32_t ask_core(void)
{
    ask("core ");
    return 7;
}

static void a_scheduler_takes_the_place_of_the_system(void **state)
{
    (void)state;
    static const wefti_scheduler scheduler = {
        .mutex_lock = ask_lock,
        .mutex_unlock = ask_unlock,
        .condition_wait = ask_wait,
        .condition_wake = ask_wake,
        .thread_start = ask_start,
        .thread_join = ask_join,
        .current = ask_current,
        .yield = ask_yield,
        .current_core = ask_core,
    };
    wefti_mutex mutex;
    wefti_condition condition;
    wefti_thread thread;
    make(&mutex, "scheduled", WEFTI_RANK_DEVICE);
    assert_int_equal(wefti_condition_init(&condition, NULL), WEFT_OK);
    wefti_scheduler_in_charge = &scheduler;
    wefti_mutex_lock(&mutex);
    bool in_time = wefti_condition_wait(&condition, &mutex, 6);
    bool late = !wefti_condition_wait(&condition, &mutex, 7);
    wefti_mutex_unlock(&mutex);
    wefti_condition_wake_one(&condition);
    wefti_condition_wake_all(&condition);
    weft_status status = wefti_thread_start(&thread, "t", lock_once, &mutex, NULL);
    wefti_thread_join(&thread);
    wefti_thread_yield();
    uint32_t core = wefti_current_core();
    wefti_thread self = wefti_thread_current();
    bool same = wefti_thread_is_current(&self);
    wefti_scheduler_in_charge = NULL;
    assert_true(in_time && late && status == WEFT_OK && core == 7 && same);
    assert_string_equal(asked, "lock wait wait unlock one all start lock unlock join "
                               "yield core who who ");
    wefti_condition_fini(&condition);
    wefti_mutex_fini(&mutex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse_aborts_and_names_the_locks),
        cmocka_unit_test(upwards_in_rank_is_allowed),
        cmocka_unit_test(one_thread_at_a_time),
        cmocka_unit_test(contention_is_counted),
        cmocka_unit_test(creation_can_be_made_to_fail),
        cmocka_unit_test(a_wait_ends_at_its_deadline),
        cmocka_unit_test(wakes_are_not_lost),
        cmocka_unit_test(a_scheduler_takes_the_place_of_the_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

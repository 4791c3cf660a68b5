/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lease.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/crew.h"

enum { MS = 1000000 };

static const weft_lease_params fail_policy = {.struct_size = sizeof(weft_lease_params),
                                              .policy = WEFT_LEASE_FAIL};
static const weft_lease_params share_policy = {.struct_size = sizeof(weft_lease_params),
                                               .policy = WEFT_LEASE_SHARE};
static const weft_lease_params until_20_ms = {.struct_size = sizeof(weft_lease_params),
                                              .policy = WEFT_LEASE_WAIT_UNTIL,
                                              .timeout_ns = 20 * MS};

static wefti_lease_pool *make_pool(int32_t slot_count)
{
    wefti_lease_pool *pool;
    assert_int_equal(wefti_lease_pool_create(slot_count, &pool, NULL), WEFT_OK);
    return pool;
}

static int32_t lease(wefti_lease_pool *pool)
{
    int32_t slot = -1;
    bool shared;
    assert_int_equal(wefti_lease_acquire(pool, NULL, false, &slot, &shared, NULL),
                     WEFT_OK);
    assert_false(shared);
    return slot;
}

static void test_every_slot_is_leased_once(void **state)
{
    (void)state;
    enum { SLOTS = 7 };
    wefti_lease_pool *pool = make_pool(SLOTS);
    bool seen[SLOTS] = {false};
    int32_t slot;
    bool shared;
    weft_error error;
    for (int32_t i = 0; i < SLOTS; i++) {
        slot = lease(pool);
        assert_in_range(slot, 0, SLOTS - 1);
        assert_false(seen[slot]);
        seen[slot] = true;
    }
    assert_int_equal(
        wefti_lease_acquire(pool, &fail_policy, false, &slot, &shared, &error),
        WEFT_BUSY);
    assert_non_null(strstr(error.message, "all 7 contexts are leased"));
    wefti_lease_release(pool, 3);
    assert_int_equal(lease(pool), 3);
    for (int32_t i = 0; i < SLOTS; i++) {
        wefti_lease_release(pool, i);
    }
    wefti_lease_statistics statistics;
    wefti_lease_get_statistics(pool, &statistics);
    assert_int_equal(statistics.lease_count, SLOTS + 1);
    assert_int_equal(statistics.wait_count, 0);
    wefti_lease_pool_destroy(pool);
}

enum { CARDS = 3 };

static void lease_all_evenly(wefti_lease_pool *pool, int32_t slots)
{
    const int32_t cards = slots < CARDS ? slots : CARDS;
    int32_t out[CARDS] = {0};
    for (int32_t i = 0; i < slots; i++) {
        out[lease(pool) % CARDS]++;
        for (int32_t card = 0; card < cards; card++) {
            assert_in_range(out[card], i / cards, i / cards + 1);
        }
    }
}

/* Each number of leases is as even as it can be, brisk or not. */
static void test_slots_spread_over_cards(void **state)
{
    (void)state;
    for (int32_t slots = 1; slots <= 11; slots++) {
        for (uint32_t looks = 0; looks < 2; looks++) {
            wefti_lease_pool *pool = make_pool(slots);
            wefti_lease_pool_spread(pool, CARDS);
            wefti_lease_pool_be_brisk(pool, looks);
            lease_all_evenly(pool, slots);
            for (int32_t i = 0; i < slots; i++) {
                wefti_lease_release(pool, i);
            }
            wefti_lease_pool_destroy(pool);
        }
    }
}

static void test_who_comes_back_has_its_slot(void **state)
{
    (void)state;
    wefti_lease_pool *pool = make_pool(16);
    wefti_lease_pool_spread(pool, 2);
    int32_t first = lease(pool), second = lease(pool);
    assert_int_not_equal(first % 2, second % 2);
    for (int32_t i = 0; i < 10; i++) {
        wefti_lease_release(pool, second);
        assert_int_equal(lease(pool), second);
    }
    wefti_lease_release(pool, first);
    wefti_lease_release(pool, second);
    wefti_lease_pool_destroy(pool);
}

static void test_wrong_params_are_refused(void **state)
{
    (void)state;
    wefti_lease_pool *pool = make_pool(1);
    weft_lease_params params = {.struct_size = 3};
    int32_t slot;
    bool shared;
    weft_error error;
    assert_int_equal(wefti_lease_acquire(pool, &params, false, &slot, &shared, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "struct_size is 3"));
    params = (weft_lease_params){.struct_size = sizeof params, .policy = 9};
    assert_int_equal(wefti_lease_acquire(pool, &params, false, &slot, &shared, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "policy is 9"));
    wefti_lease_pool_destroy(pool);
}

static void test_giving_back_twice_harms_nothing(void **state)
{
    (void)state;
    wefti_lease_pool *pool = make_pool(1);
    int32_t slot = lease(pool);
    wefti_lease_release(pool, slot);
    wefti_lease_release(pool, slot);
    assert_int_equal(lease(pool), slot);
    bool shared;
    assert_int_equal(
        wefti_lease_acquire(pool, &fail_policy, false, &slot, &shared, NULL),
        WEFT_BUSY);
    wefti_lease_release(pool, 0);
    wefti_lease_pool_destroy(pool);
}

static void test_wait_until_times_out_and_counts_its_wait(void **state)
{
    (void)state;
    wefti_lease_pool *pool = make_pool(1);
    lease(pool);
    int32_t slot;
    bool shared;
    weft_error error;
    int64_t begin_ns = wefti_clock_ns();
    assert_int_equal(
        wefti_lease_acquire(pool, &until_20_ms, false, &slot, &shared, &error),
        WEFT_TIMEOUT);
    assert_true(wefti_clock_ns() - begin_ns >= 20 * MS);
    assert_non_null(strstr(error.message, "20 ms"));
    weft_lease_params short_wait = until_20_ms;
    short_wait.timeout_ns = 500000;
    assert_int_equal(
        wefti_lease_acquire(pool, &short_wait, false, &slot, &shared, &error),
        WEFT_TIMEOUT);
    assert_non_null(strstr(error.message, "for the 500 us given"));
    short_wait.timeout_ns = 0;
    assert_int_equal(
        wefti_lease_acquire(pool, &short_wait, false, &slot, &shared, &error),
        WEFT_TIMEOUT);
    assert_non_null(strstr(error.message, "no time to wait was given"));
    assert_int_equal(wefti_lease_waiter_count(pool), 0);
    wefti_lease_statistics statistics;
    wefti_lease_get_statistics(pool, &statistics);
    assert_int_equal(statistics.wait_count, 3);
    assert_true(statistics.wait_ns >= 20 * MS);
    wefti_lease_release(pool, 0);
    wefti_lease_pool_destroy(pool);
}

/* A thread that leases once, says how that went, and gives back when told. */
typedef struct guest_thread {
    crew_thread thread;
    wefti_lease_pool *pool;
    const weft_lease_params *params;
    bool accepted;
    wefti_atomic_u32 *order; /* counts leases in the order in which they are had */
    crew_gate leave;

    weft_status status;
    uint32_t place;
    int32_t slot;
    bool shared;
} guest_thread;

static void be_guest(void *user)
{
    guest_thread *self = user;
    self->status = wefti_lease_acquire(self->pool, self->params, self->accepted,
                                       &self->slot, &self->shared, NULL);
    if (self->status == WEFT_OK) {
        self->place = wefti_atomic_u32_add_acq_rel(self->order, 1);
        crew_gate_pass(&self->leave);
        wefti_lease_release(self->pool, self->slot);
    }
}

typedef struct queue_length {
    wefti_lease_pool *pool;
    uint32_t length;
} queue_length;

static bool has_length(void *user)
{
    queue_length *wanted = user;
    return wefti_lease_waiter_count(wanted->pool) == wanted->length;
}

static void await_queue(wefti_lease_pool *pool, uint32_t length)
{
    queue_length wanted = {.pool = pool, .length = length};
    crew_await(has_length, &wanted);
    /* They count as waiting while they still look for a slot, under the lock. */
    wefti_lease_statistics n;
    wefti_lease_get_statistics(pool, &n);
}

static void start_guest(guest_thread *guest, wefti_lease_pool *pool,
                        const weft_lease_params *params, wefti_atomic_u32 *order)
{
    guest->pool = pool;
    guest->params = params;
    guest->order = order;
    guest->leave = (crew_gate)CREW_GATE_INIT;
    crew_start(&guest->thread, be_guest, guest);
}

static void test_waiters_are_served_in_order(void **state)
{
    (void)state;
    enum { GUESTS = 12 };
    static guest_thread guests[GUESTS];
    memset(guests, 0, sizeof guests);
    wefti_lease_pool *pool = make_pool(1);
    wefti_atomic_u32 order;
    wefti_atomic_u32_init(&order, 0);
    lease(pool);
    for (uint32_t i = 0; i < GUESTS; i++) {
        start_guest(&guests[i], pool, i % 3 == 1 ? &share_policy : NULL, &order);
        await_queue(pool, i + 1);
    }
    int32_t slot;
    bool shared;
    assert_int_equal(
        wefti_lease_acquire(pool, &fail_policy, false, &slot, &shared, NULL),
        WEFT_BUSY);
    wefti_lease_release(pool, 0);
    for (uint32_t i = 0; i < GUESTS; i++) {
        crew_gate_open(&guests[i].leave);
    }
    for (uint32_t i = 0; i < GUESTS; i++) {
        crew_join(&guests[i].thread);
        assert_int_equal(guests[i].status, WEFT_OK);
        assert_int_equal(guests[i].place, i);
        assert_int_equal(guests[i].shared, i % 3 == 1);
    }
    wefti_lease_pool_destroy(pool);
}

static void test_share_of_a_free_slot_is_not_shared(void **state)
{
    (void)state;
    wefti_lease_pool *pool = make_pool(2);
    int32_t slot;
    bool shared = true;
    assert_int_equal(
        wefti_lease_acquire(pool, &share_policy, false, &slot, &shared, NULL), WEFT_OK);
    assert_false(shared);
    wefti_lease_release(pool, slot);
    wefti_lease_pool_destroy(pool);
}

/* A waiter that gives up takes neither a slot nor a wake-up with it. */
static void test_a_waiter_that_gives_up_loses_no_slot(void **state)
{
    (void)state;
    static guest_thread patient, hasty;
    memset(&patient, 0, sizeof patient);
    memset(&hasty, 0, sizeof hasty);
    wefti_lease_pool *pool = make_pool(1);
    wefti_atomic_u32 order;
    wefti_atomic_u32_init(&order, 0);
    lease(pool);
    start_guest(&hasty, pool, &until_20_ms, &order);
    start_guest(&patient, pool, NULL, &order);
    crew_join(&hasty.thread);
    assert_int_equal(hasty.status, WEFT_TIMEOUT);
    await_queue(pool, 1);
    wefti_lease_release(pool, 0);
    crew_gate_open(&patient.leave);
    crew_join(&patient.thread);
    assert_int_equal(patient.status, WEFT_OK);
    wefti_lease_pool_destroy(pool);
}

static void test_close_wakes_all_but_accepted_work(void **state)
{
    (void)state;
    enum { GUESTS = 6 };
    static guest_thread guests[GUESTS];
    memset(guests, 0, sizeof guests);
    wefti_lease_pool *pool = make_pool(1);
    wefti_atomic_u32 order;
    wefti_atomic_u32_init(&order, 0);
    lease(pool);
    for (uint32_t i = 0; i < GUESTS; i++) {
        guests[i].accepted = i % 2 == 1;
        start_guest(&guests[i], pool, NULL, &order);
    }
    await_queue(pool, GUESTS);
    wefti_lease_pool_close(pool);
    for (uint32_t i = 0; i < GUESTS; i += 2) {
        crew_join(&guests[i].thread);
        assert_int_equal(guests[i].status, WEFT_CLOSED);
    }
    int32_t slot;
    bool shared;
    weft_error error;
    assert_int_equal(wefti_lease_acquire(pool, NULL, false, &slot, &shared, &error),
                     WEFT_CLOSED);
    assert_non_null(strstr(error.message, "closed"));
    crew_gate_open(&guests[1].leave);
    crew_gate_open(&guests[3].leave);
    crew_gate_open(&guests[5].leave);
    wefti_lease_release(pool, 0);
    for (uint32_t i = 1; i < GUESTS; i += 2) {
        crew_join(&guests[i].thread);
        assert_int_equal(guests[i].status, WEFT_OK);
    }
    assert_int_equal(wefti_lease_acquire(pool, NULL, true, &slot, &shared, NULL),
                     WEFT_OK);
    wefti_lease_release(pool, slot);
    wefti_lease_pool_destroy(pool);
}

static void test_abort_wakes_accepted_work(void **state)
{
    (void)state;
    static guest_thread waiting;
    memset(&waiting, 0, sizeof waiting);
    wefti_lease_pool *pool = make_pool(1);
    wefti_atomic_u32 order;
    wefti_atomic_u32_init(&order, 0);
    lease(pool);
    waiting.accepted = true;
    start_guest(&waiting, pool, NULL, &order);
    await_queue(pool, 1);
    wefti_lease_pool_abort(pool);
    crew_join(&waiting.thread);
    assert_int_equal(waiting.status, WEFT_CANCELLED);
    wefti_lease_release(pool, 0);
    wefti_lease_pool_destroy(pool);
}

static void count_visit(void *user, int32_t slot)
{
    uint32_t *visits = user;
    visits[slot]++;
}

static void test_visits_free_slots_only(void **state)
{
    (void)state;
    wefti_lease_pool *pool = make_pool(4);
    int32_t held = lease(pool);
    uint32_t visits[4] = {0};
    wefti_lease_visit_free(pool, count_visit, visits);
    for (int32_t i = 0; i < 4; i++) {
        assert_int_equal(visits[i], i == held ? 0 : 1);
    }
    wefti_lease_release(pool, held);
    wefti_lease_statistics statistics;
    wefti_lease_get_statistics(pool, &statistics);
    assert_int_equal(statistics.lease_count, 1);
    wefti_lease_pool_destroy(pool);
}

static void set_flag(void *user)
{
    *(bool *)user = true;
}

static void test_retire_waits_for_the_last_lease(void **state)
{
    (void)state;
    wefti_lease_pool *pool = make_pool(3);
    bool done = false;
    int32_t first = lease(pool);
    int32_t second = lease(pool);
    wefti_lease_pool_retire(pool, set_flag, &done);
    assert_false(done);
    wefti_lease_release(pool, first);
    assert_false(done);
    wefti_lease_release(pool, second);
    assert_true(done);
    wefti_lease_pool_destroy(pool);

    pool = make_pool(3);
    done = false;
    wefti_lease_pool_retire(pool, set_flag, &done);
    assert_true(done);
    wefti_lease_pool_destroy(pool);
}

/* Stress with a checker of exclusive use. */
enum { MOST_SLOTS = 16 };

typedef struct stress_arena {
    wefti_lease_pool *pool;
    uint32_t rounds;
    wefti_atomic_u32 users[MOST_SLOTS]; /* inside each slot right now */
    wefti_atomic_u32 violations, leases, refusals, waits_over;
} stress_arena;

static void use_slot(stress_arena *arena, int32_t slot, uint64_t *random)
{
    if (wefti_atomic_u32_add_acq_rel(&arena->users[slot], 1) != 0) {
        wefti_atomic_u32_add_relaxed(&arena->violations, 1);
    }
    for (uint32_t spin = crew_random(random) % 64; spin > 0; spin--) {
        wefti_pause();
    }
    if (crew_random(random) % 16 == 0) {
        sched_yield();
    }
    wefti_atomic_u32_sub_acq_rel(&arena->users[slot], 1);
}

static void play(void *user, uint32_t index)
{
    stress_arena *arena = user;
    uint64_t random = 1000 + index;
    for (uint32_t i = 0; i < arena->rounds; i++) {
        weft_lease_params params = {.struct_size = sizeof params,
                                    .policy = crew_random(&random) % 4,
                                    .timeout_ns = crew_random(&random) % 100000};
        int32_t slot;
        bool shared;
        weft_status status =
            wefti_lease_acquire(arena->pool, &params, index % 2, &slot, &shared, NULL);
        if (status == WEFT_OK) {
            use_slot(arena, slot, &random);
            wefti_lease_release(arena->pool, slot);
            wefti_atomic_u32_add_relaxed(&arena->leases, 1);
        } else if (status == WEFT_BUSY && params.policy == WEFT_LEASE_FAIL) {
            wefti_atomic_u32_add_relaxed(&arena->refusals, 1);
        } else if (status == WEFT_TIMEOUT && params.policy == WEFT_LEASE_WAIT_UNTIL) {
            wefti_atomic_u32_add_relaxed(&arena->waits_over, 1);
        } else {
            wefti_atomic_u32_add_relaxed(&arena->violations, 1);
        }
    }
}

static void stress(uint32_t threads, int32_t slots, uint32_t brisk_looks)
{
    static stress_arena arena;
    memset(&arena, 0, sizeof arena);
    arena.pool = make_pool(slots);
    wefti_lease_pool_be_brisk(arena.pool, brisk_looks);
    arena.rounds = 4000 / crew_divisor();
    crew_run(threads, play, &arena);
    assert_int_equal(wefti_atomic_u32_load_relaxed(&arena.violations), 0);
    uint32_t leases = wefti_atomic_u32_load_relaxed(&arena.leases);
    assert_int_equal(leases + wefti_atomic_u32_load_relaxed(&arena.refusals) +
                         wefti_atomic_u32_load_relaxed(&arena.waits_over),
                     threads * arena.rounds);
    wefti_lease_statistics statistics;
    wefti_lease_get_statistics(arena.pool, &statistics);
    assert_int_equal(statistics.lease_count, leases);
    assert_int_equal(wefti_lease_waiter_count(arena.pool), 0);
    for (int32_t i = 0; i < slots; i++) {
        lease(arena.pool);
    }
    for (int32_t i = 0; i < slots; i++) {
        wefti_lease_release(arena.pool, i);
    }
    wefti_lease_pool_destroy(arena.pool);
}

static void test_64_threads_share_16_slots(void **state)
{
    (void)state;
    stress(64, 16, 0);
    stress(64, 16, 500);
}

static void test_one_user_more_than_slots(void **state)
{
    (void)state;
    stress(5, 4, 0);
    stress(5, 4, 3);
    stress(2, 1, 0);
    stress(2, 1, 3);
}

/* One takes the slot again and again, and never leaves it free for longer than it takes
 * to take it again; the guest must have it all the same. */
static void test_overtaking_in_a_brisk_pool_ends(void **state)
{
    (void)state;
    static guest_thread guest;
    memset(&guest, 0, sizeof guest);
    wefti_atomic_u32 order;
    wefti_atomic_u32_init(&order, 0);
    wefti_lease_pool *pool = make_pool(1);
    wefti_lease_pool_be_brisk(pool, 20);
    int32_t slot = lease(pool), other;
    bool shared;
    start_guest(&guest, pool, NULL, &order);
    await_queue(pool, 1);
    assert_int_equal(
        wefti_lease_acquire(pool, &fail_policy, false, &other, &shared, NULL),
        WEFT_BUSY);
    crew_gate_open(&guest.leave);
    while (wefti_atomic_u32_load_acquire(&order) == 0) {
        wefti_lease_release(pool, slot);
        slot = lease(pool);
    }
    wefti_lease_release(pool, slot);
    crew_join(&guest.thread);
    assert_int_equal(guest.status, WEFT_OK);
    assert_int_equal(wefti_lease_waiter_count(pool), 0);
    wefti_lease_pool_destroy(pool);
}

/* The checks above must be able to fail. */
static void test_leasing_twice_is_noticed(void **state)
{
    (void)state;
    wefti_lease_pool *pool = make_pool(1);
    int32_t first = lease(pool);
    wefti_sabotage_set(WEFTI_SABOTAGE_LEASE_TWICE);
    int32_t second = lease(pool);
    assert_int_equal(first, second);
    wefti_lease_release(pool, first);
    wefti_lease_release(pool, second);
    wefti_lease_pool_destroy(pool);

    static stress_arena arena;
    memset(&arena, 0, sizeof arena);
    arena.pool = make_pool(2);
    arena.rounds = 4000;
    crew_run(8, play, &arena);
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    assert_true(wefti_atomic_u32_load_relaxed(&arena.violations) > 0);
    wefti_lease_pool_destroy(arena.pool);
}

/* Who is to be woken has a minute; who is to be forgotten gives up after a second. */
static weft_status status_of_one_waiter(wefti_sabotage sabotage,
                                        void (*event)(wefti_lease_pool *pool))
{
    static guest_thread waiting;
    memset(&waiting, 0, sizeof waiting);
    const bool is_woken = sabotage == WEFTI_SABOTAGE_NONE;
    const int64_t timeout_ms = is_woken ? 60000 : 1000;
    const weft_lease_params until = {.struct_size = sizeof(weft_lease_params),
                                     .policy = WEFT_LEASE_WAIT_UNTIL,
                                     .timeout_ns = timeout_ms * MS};
    wefti_lease_pool *pool = make_pool(1);
    wefti_atomic_u32 order;
    wefti_atomic_u32_init(&order, 0);
    lease(pool);
    wefti_sabotage_set(sabotage);
    start_guest(&waiting, pool, &until, &order);
    await_queue(pool, 1);
    event(pool);
    crew_gate_open(&waiting.leave);
    crew_join(&waiting.thread);
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    wefti_lease_pool_destroy(pool);
    return waiting.status;
}

static void release_slot_0(wefti_lease_pool *pool)
{
    wefti_lease_release(pool, 0);
}

static void test_a_lost_wake_up_is_noticed(void **state)
{
    (void)state;
    assert_int_equal(status_of_one_waiter(WEFTI_SABOTAGE_NONE, release_slot_0),
                     WEFT_OK);
    assert_int_equal(status_of_one_waiter(WEFTI_SABOTAGE_WAKE_NEXT, release_slot_0),
                     WEFT_TIMEOUT);
    assert_int_equal(status_of_one_waiter(WEFTI_SABOTAGE_NONE, wefti_lease_pool_close),
                     WEFT_CLOSED);
    assert_int_equal(
        status_of_one_waiter(WEFTI_SABOTAGE_WAKE_ON_CLOSE, wefti_lease_pool_close),
        WEFT_TIMEOUT);
}

static void test_failures_are_forced(void **state)
{
    (void)state;
    uint32_t sites = 1u << WEFTI_FAULT_ALLOCATION | 1u << WEFTI_FAULT_LOCK;
    weft_status status = WEFT_INTERNAL;
    for (uint64_t n = 1; status != WEFT_OK; n++) {
        wefti_lease_pool *pool = NULL;
        int32_t slot = -1;
        bool shared;
        wefti_fault_arm(n, sites);
        status = wefti_lease_pool_create(1, &pool, NULL);
        if (status == WEFT_OK) {
            assert_int_equal(lease(pool), 0);
            status =
                wefti_lease_acquire(pool, &until_20_ms, false, &slot, &shared, NULL);
            status = status == WEFT_TIMEOUT ? WEFT_OK : status;
            wefti_lease_release(pool, 0);
            assert_int_equal(wefti_lease_waiter_count(pool), 0);
        }
        uint64_t uses = wefti_fault_arm(0, 0);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        assert_true(status == WEFT_OK ? uses < n : uses >= n);
        wefti_lease_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_slot_is_leased_once),
        cmocka_unit_test(test_wrong_params_are_refused),
        cmocka_unit_test(test_giving_back_twice_harms_nothing),
        cmocka_unit_test(test_wait_until_times_out_and_counts_its_wait),
        cmocka_unit_test(test_waiters_are_served_in_order),
        cmocka_unit_test(test_share_of_a_free_slot_is_not_shared),
        cmocka_unit_test(test_a_waiter_that_gives_up_loses_no_slot),
        cmocka_unit_test(test_close_wakes_all_but_accepted_work),
        cmocka_unit_test(test_abort_wakes_accepted_work),
        cmocka_unit_test(test_visits_free_slots_only),
        cmocka_unit_test(test_retire_waits_for_the_last_lease),
        cmocka_unit_test(test_64_threads_share_16_slots),
        cmocka_unit_test(test_one_user_more_than_slots),
        cmocka_unit_test(test_overtaking_in_a_brisk_pool_ends),
        cmocka_unit_test(test_slots_spread_over_cards),
        cmocka_unit_test(test_who_comes_back_has_its_slot),
        cmocka_unit_test(test_leasing_twice_is_noticed),
        cmocka_unit_test(test_a_lost_wake_up_is_noticed),
        cmocka_unit_test(test_failures_are_forced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: who gets a context, who waits, who wakes. */
#include "schedule/scenario.h"

#include <stdlib.h>

#include "runtime/lease.h"

enum { MS = 1000000 };

/* Leases: `slots` of them, each thread leases once or twice. */
typedef struct lease_stage {
    wefti_lease_pool *pool;
    int32_t slot_count;
    uint32_t users[4]; /* plain: one thread runs at a time */
    uint32_t violations, leases, arrivals;
    uint32_t retired;
} lease_stage;

static lease_stage *set_lease_stage(int32_t slot_count)
{
    lease_stage *s = calloc(1, sizeof *s);
    scenario_require(s != NULL, "memory");
    s->slot_count = slot_count;
    scenario_require(wefti_lease_pool_create(slot_count, &s->pool, NULL) == WEFT_OK,
                     "leases");
    return s;
}

static void *set_one_slot(void)
{
    return set_lease_stage(1);
}

static void *set_two_slots(void)
{
    return set_lease_stage(2);
}

/* A brisk pool whose waiters soon lose patience. */
static void *set_brisk_slot(void)
{
    lease_stage *s = set_lease_stage(1);
    wefti_lease_pool_be_brisk(s->pool, 2);
    return s;
}

static void *set_two_brisk_slots(void)
{
    lease_stage *s = set_lease_stage(2);
    wefti_lease_pool_be_brisk(s->pool, 1);
    return s;
}

static weft_status lease_once(lease_stage *s, weft_lease_policy policy, bool accepted)
{
    weft_lease_params params = {
        .struct_size = sizeof params, .policy = policy, .timeout_ns = MS};
    int32_t slot;
    bool shared;
    weft_status status =
        wefti_lease_acquire(s->pool, &params, accepted, &slot, &shared, NULL);
    if (status == WEFT_OK) {
        s->leases++;
        s->violations += s->users[slot]++ != 0;
        WEFTI_SCHEDULE_POINT();
        s->users[slot]--;
        wefti_lease_release(s->pool, slot);
    }
    return status;
}

static bool check_lease_stage(void *state)
{
    lease_stage *s = state;
    bool right = s->violations == 0 && wefti_lease_waiter_count(s->pool) == 0;
    for (int32_t i = 0; i < s->slot_count && right; i++) {
        weft_lease_params fail = {.struct_size = sizeof fail,
                                  .policy = WEFT_LEASE_FAIL};
        int32_t slot;
        bool shared;
        right =
            wefti_lease_acquire(s->pool, &fail, true, &slot, &shared, NULL) == WEFT_OK;
    }
    wefti_lease_pool_destroy(s->pool);
    free(s);
    return right;
}

static void wait_and_use(void *state, uint32_t index)
{
    (void)index;
    lease_stage *s = state;
    s->violations += lease_once(s, WEFT_LEASE_WAIT, false) != WEFT_OK;
}

static void use_in_many_ways(void *state, uint32_t index)
{
    lease_stage *s = state;
    if (index == 0) {
        s->violations += lease_once(s, WEFT_LEASE_WAIT, true) != WEFT_OK;
        s->violations += lease_once(s, WEFT_LEASE_SHARE, true) != WEFT_OK;
    } else if (index == 1) {
        weft_status status = lease_once(s, WEFT_LEASE_WAIT_UNTIL, true);
        s->violations += status != WEFT_OK && status != WEFT_TIMEOUT;
        status = lease_once(s, WEFT_LEASE_FAIL, true);
        s->violations += status != WEFT_OK && status != WEFT_BUSY;
    } else if (index == 2) {
        weft_status status = lease_once(s, WEFT_LEASE_WAIT, false);
        s->violations += status != WEFT_OK && status != WEFT_CLOSED;
        s->violations += lease_once(s, WEFT_LEASE_WAIT, true) != WEFT_OK;
    } else {
        wefti_lease_pool_close(s->pool);
        s->violations += lease_once(s, WEFT_LEASE_WAIT, false) != WEFT_CLOSED;
    }
}

/* One holds the slot, one waits for it, one closes. */
static void wait_until_closed(void *state, uint32_t index)
{
    lease_stage *s = state;
    if (index == 1) {
        wefti_lease_pool_close(s->pool);
        return;
    }
    int32_t slot;
    bool shared;
    weft_status status =
        wefti_lease_acquire(s->pool, NULL, false, &slot, &shared, NULL);
    s->violations += status != WEFT_OK && status != WEFT_CLOSED;
    s->leases += status == WEFT_OK; /* and is kept until the end */
    s->retired = (uint32_t)slot;
}

static bool check_closed_stage(void *state)
{
    lease_stage *s = state;
    bool right =
        s->violations == 0 && s->leases <= 1 && wefti_lease_waiter_count(s->pool) == 0;
    wefti_lease_pool_destroy(s->pool);
    free(s);
    return right;
}

/* The same with accepted work, which only an abort turns away. */
static void wait_until_aborted(void *state, uint32_t index)
{
    lease_stage *s = state;
    if (index == 2) {
        wefti_lease_pool_close(s->pool);
        wefti_lease_pool_abort(s->pool);
        return;
    }
    int32_t slot;
    bool shared;
    weft_status status = wefti_lease_acquire(s->pool, NULL, true, &slot, &shared, NULL);
    s->violations += status != WEFT_OK && status != WEFT_CANCELLED;
    s->leases += status == WEFT_OK; /* and is kept until the end */
}

/* The pool goes with the last lease, exactly once. */
static void count_retirement(void *user)
{
    lease_stage *s = user;
    s->retired++;
    for (int32_t i = 0; i < s->slot_count; i++) {
        s->violations += s->users[i];
    }
    wefti_lease_pool_destroy(s->pool); /* whoever touches it now is caught */
}

static void use_or_retire(void *state, uint32_t index)
{
    lease_stage *s = state;
    if (index == 2) {
        wefti_lease_pool_retire(s->pool, count_retirement, s);
        return;
    }
    wefti_lease_release(s->pool, (int32_t)index);
}

static void *set_two_leases(void)
{
    lease_stage *s = set_lease_stage(2);
    int32_t slot;
    bool shared;
    for (int i = 0; i < 2; i++) {
        scenario_require(
            wefti_lease_acquire(s->pool, NULL, false, &slot, &shared, NULL) == WEFT_OK,
            "leases");
    }
    return s;
}

static bool check_retired_once(void *state)
{
    lease_stage *s = state;
    bool right = s->violations == 0 && s->retired == 1;
    free(s);
    return right;
}

/* Nobody overtakes: who finds n waiting has its lease after n others. */
static void keep_order(void *state, uint32_t index)
{
    (void)index;
    lease_stage *s = state;
    for (int i = 0; i < 2; i++) {
        uint32_t ahead = wefti_lease_waiter_count(s->pool);
        uint32_t before = s->leases;
        int32_t slot;
        bool shared;
        if (wefti_lease_acquire(s->pool, NULL, false, &slot, &shared, NULL) !=
            WEFT_OK) {
            s->violations++;
            return;
        }
        s->violations += s->leases - before < ahead;
        s->leases++;
        WEFTI_SCHEDULE_POINT();
        wefti_lease_release(s->pool, slot);
    }
}

const scenario lease_scenarios[] = {
    {.what = {.name = "lease-wait",
              .thread_count = 3,
              .set_up = set_one_slot,
              .run = wait_and_use,
              .check = check_lease_stage},
     .preemptions = 2,
     .guards = {WEFTI_SABOTAGE_WAKE_NEXT, WEFTI_SABOTAGE_LEASE_TWICE}},
    {.what = {.name = "lease-policies-1",
              .thread_count = 4,
              .set_up = set_one_slot,
              .run = use_in_many_ways,
              .check = check_lease_stage},
     .guards = {WEFTI_SABOTAGE_LEASE_TWICE}},
    {.what = {.name = "lease-policies-2",
              .thread_count = 4,
              .set_up = set_two_slots,
              .run = use_in_many_ways,
              .check = check_lease_stage},
     .guards = {WEFTI_SABOTAGE_LEASE_TWICE}},
    {.what = {.name = "lease-order",
              .thread_count = 4,
              .set_up = set_one_slot,
              .run = keep_order,
              .check = check_lease_stage},
     .guards = {WEFTI_SABOTAGE_WAKE_NEXT}},
    {.what = {.name = "lease-brisk",
              .thread_count = 3,
              .set_up = set_brisk_slot,
              .run = wait_and_use,
              .check = check_lease_stage},
     .preemptions = 2,
     .guards = {WEFTI_SABOTAGE_WAKE_NEXT, WEFTI_SABOTAGE_LEASE_TWICE}},
    {.what = {.name = "lease-brisk-policies-1",
              .thread_count = 4,
              .set_up = set_brisk_slot,
              .run = use_in_many_ways,
              .check = check_lease_stage},
     .guards = {WEFTI_SABOTAGE_LEASE_TWICE}},
    {.what = {.name = "lease-brisk-policies-2",
              .thread_count = 4,
              .set_up = set_two_brisk_slots,
              .run = use_in_many_ways,
              .check = check_lease_stage},
     .guards = {WEFTI_SABOTAGE_LEASE_TWICE}},
    {.what = {.name = "lease-brisk-close",
              .thread_count = 3,
              .set_up = set_brisk_slot,
              .run = wait_until_closed,
              .check = check_closed_stage},
     .preemptions = 3,
     .guards = {WEFTI_SABOTAGE_WAKE_ON_CLOSE}},
    {.what = {.name = "lease-close",
              .thread_count = 3,
              .set_up = set_one_slot,
              .run = wait_until_closed,
              .check = check_closed_stage},
     .preemptions = 3,
     .guards = {WEFTI_SABOTAGE_WAKE_ON_CLOSE}},
    {.what = {.name = "lease-abort",
              .thread_count = 3,
              .set_up = set_one_slot,
              .run = wait_until_aborted,
              .check = check_closed_stage},
     .preemptions = 3,
     .guards = {WEFTI_SABOTAGE_WAKE_ON_CLOSE}},
    {.what = {.name = "lease-retire",
              .thread_count = 3,
              .set_up = set_two_leases,
              .run = use_or_retire,
              .check = check_retired_once},
     .preemptions = 3},
    {.what = {.name = NULL}},
};

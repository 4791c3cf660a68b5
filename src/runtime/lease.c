/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lease.h"

#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/params.h"
#include "base/profile.h"
#include "base/thread.h"

/* The protocol.
 *
 * A slot has one word: IN_USE, a count of HOLDERs, RETIRED. Whoever changes IN_USE from
 * 0 to 1 by compare-and-swap has the slot alone; so no slot is leased twice, whatever
 * the rest of this file does.
 *
 * The gate has one word too: CLOSED, ABORTED and the number of waiters.
 *
 *   acquire, free path:  A1 read gate; it is 0    A2 CAS a free slot
 *   acquire, waiting:    W1 (locked) queue up and add 1 to the gate
 *                        W2 (locked) give every free slot to the first in the queue
 *                        W3 sleep until a slot is given
 *   release:             R1 clear IN_USE          R2 read gate
 *                        R3 if somebody waits: (locked) take the slot back by CAS and
 *                           give it to the first in the queue
 *
 * No wake-up is lost. W1, W2's reads, R1 and R2 are sequentially consistent. If R2 does
 * not see a waiter, then R2 comes before W1 and so R1 before W2's read of that slot:
 * the waiter finds it free, or finds it taken by somebody whose own release is yet to
 * come and will be seen. If R2 sees the waiter, R3 gives the slot on, unless somebody
 * took it in between: then again that one's release is yet to come. So while somebody
 * waits, each free slot has a release between R1 and R3 that will give it on, and it is
 * enough that R3 looks at its own slot only.
 *
 * Nobody overtakes a waiter. All who come while the gate counts a waiter queue behind
 * it. Who takes a slot by A2 has read the gate (A1) before any present waiter was
 * counted, so it came first. A given slot never looks free: the giver takes it by CAS
 * in the new owner's name. WEFT_LEASE_FAIL answers BUSY when somebody waits.
 *
 * Who wakes a waiter: the giver (W2 of another, R3), close, abort; it signals under the
 * lock, because the waiter's condition lies on the waiter's stack.
 *
 * A brisk pool. Where a lease takes some microseconds, a slot that is given to a
 * sleeper lies idle for longer than it is used. So there W2 and R3 are left out; who
 * comes may take a free slot although others wait; and the first in the queue does not
 * sleep, but looks for a free slot itself, again and again. When it has one, it wakes
 * the next, which looks in its place; the others use the slots until that one is awake.
 * Whoever takes the first out of the queue makes the next one look, so while somebody
 * waits there is one who looks, or is being woken to, and no wake-up is needed by R1.
 * Who has looked in vain for long makes the pool STRICT, under the lock, and then gives
 * all free slots to the first: from there on all is as above, by the same argument,
 * with STRICT in W1's place. So overtaking has an end. The pool is brisk again when
 * nobody waits, or after some gifts.
 *
 * Retiring. A release still reads the gate after R1, when the slot may have another
 * user and that one may be done too. So it counts as HOLDER of the slot until its very
 * last access, the decrement. retire() marks every slot RETIRED, and each slot's last
 * holder learns from its own decrement that it was the last. */
enum {
    SLOT_IN_USE = 1u,
    SLOT_HOLDER = 2u,
    SLOT_RETIRED = 1u << 30,
    SLOT_HOLDERS = SLOT_RETIRED - SLOT_HOLDER,

    GATE_CLOSED = 1u,
    GATE_ABORTED = 2u,
    GATE_STRICT = 4u, /* of a brisk pool: for now nobody overtakes */
    GATE_WAITER = 8u,

    STRICT_GIFTS = 64, /* after so many, waiters try to look again */
    PAUSES_OF_A_LOOK = 16,
    KNOWN_THREADS_BITS = 10,
    CHOOSY_LOOKS = 8, /* at the thread's own slot, before any other */
};

typedef struct lease_slot {
    /* atomic: who leases, releases -> the same */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 word;
    /* atomic: who leases -> statistics. One writer at a time, so no read-modify-write;
     * relaxed: a count that orders nothing. */
    wefti_atomic_u64 lease_count;
} lease_slot;
_Static_assert(sizeof(lease_slot) == WEFTI_CACHE_LINE, "slots must not share a line");

/* How many leases of a card's slots are out. */
typedef struct card_load {
    /* atomic: who leases, releases -> who chooses. Relaxed: a hint, it orders nothing.
     */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 leases;
} card_load;

/* On the stack of who waits. */
typedef struct waiter {
    wefti_condition woken;
    bool accepted;
    bool shares;    /* and so wants to hear of leases that are held, ... */
    uint32_t holds; /* ... beyond so many */

    /* guarded by lock */
    struct waiter *previous, *next;
    bool queued;
    bool slept;
    int32_t slot;    /* the slot given, -1: none */
    bool look_again; /* a lease is held that it may share */
    bool watches;    /* the first of a brisk pool: it looks for a slot itself */
} waiter;

struct wefti_lease_pool {
    /* immutable after create */
    int32_t slot_count;
    int32_t card_count;
    weft_profiler *profiler; /* borrowed of the device, may be NULL */
    uint32_t core_groups;    /* neighbouring cores look in different regions first */
    uint32_t group_stride;
    uint64_t serial;          /* no other pool of the process has it */
    uint32_t brisk_looks;     /* of who is first in the queue; 0: not brisk */
    void (*done)(void *user); /* set by retire, before it marks the slots */
    void *done_user;

    /* atomic: waiters, close -> who leases, releases; mostly read */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 gate;
    wefti_atomic_u32 unretired; /* slots with holders after retire, and retire itself */

    /* guarded by lock */
    WEFTI_CACHE_ALIGNED wefti_mutex lock; /* WEFTI_RANK_CONTEXTS */
    waiter *first, *last;
    uint64_t wait_count, wait_ns;
    uint32_t gifts_left; /* while STRICT */
    /* atomic: who holds a lease -> who shares. How often a lease was held. */
    wefti_atomic_u32 holds;

    card_load loads[WEFTI_MOST_CARDS];
    /* atomic: a thread, or two with one place -> its next lease. Relaxed: hints. */
    wefti_atomic_u32 last_slots[1 << KNOWN_THREADS_BITS];
    lease_slot slots[];
};

weft_status wefti_lease_pool_create(int32_t slot_count, wefti_lease_pool **pool,
                                    weft_error *error)
{
    *pool = NULL;
    size_t bytes = sizeof(wefti_lease_pool) + (size_t)slot_count * sizeof(lease_slot);
    wefti_lease_pool *made = wefti_malloc_aligned(bytes);
    if (!made) {
        return wefti_error_memory(error, "the pool of contexts");
    }
    memset(made, 0, bytes);
    weft_status status =
        wefti_mutex_init(&made->lock, "contexts", WEFTI_RANK_CONTEXTS, error);
    if (status != WEFT_OK) {
        wefti_free(made);
        return status;
    }
    int32_t cores = wefti_core_count();
    made->slot_count = slot_count;
    made->card_count = 1;
    made->core_groups = (uint32_t)(cores < slot_count ? cores : slot_count);
    made->group_stride = (uint32_t)slot_count / made->core_groups;
    *pool = made;
    return WEFT_OK;
}

void wefti_lease_pool_destroy(wefti_lease_pool *pool)
{
    if (!pool) {
        return;
    }
    wefti_mutex_fini(&pool->lock);
    wefti_free(pool);
}

static bool looks_free(uint32_t word)
{
    if (wefti_sabotaged(WEFTI_SABOTAGE_LEASE_TWICE)) {
        return (word & SLOT_RETIRED) == 0;
    }
    return (word & (SLOT_IN_USE | SLOT_RETIRED)) == 0;
}

/* Counts a lease of the slot; only its owner may. */
static void count_lease(lease_slot *slot, uint64_t change)
{
    uint64_t count = wefti_atomic_u64_load_relaxed(&slot->lease_count);
    wefti_atomic_u64_store_relaxed(&slot->lease_count, count + change);
}

static void count_load(wefti_lease_pool *pool, int32_t slot, uint32_t change)
{
    if (WEFTI_UNLIKELY(pool->card_count > 1)) {
        (void)wefti_atomic_u32_add_relaxed(&pool->loads[slot % pool->card_count].leases,
                                           change);
    }
}

static bool claim(wefti_lease_pool *pool, int32_t index)
{
    lease_slot *slot = &pool->slots[index];
    uint32_t word = wefti_atomic_u32_load_seq_cst(&slot->word);
    while (looks_free(word)) {
        uint32_t taken = (word | SLOT_IN_USE) + SLOT_HOLDER;
        if (wefti_atomic_u32_cas_seq_cst(&slot->word, &word, taken)) {
            count_lease(slot, 1);
            count_load(pool, index, 1);
            return true;
        }
    }
    return false;
}

/* Begins at a slot that the present core is likely to have used last: its workspace is
 * in this core's caches, and threads on other cores begin elsewhere. Of a brisk pool,
 * at a slot of the thread: more threads than there are cores move about, and what a
 * device keeps ready for a thread's model it keeps with the slot. */
static int32_t own_choice(const wefti_lease_pool *pool)
{
    if (pool->brisk_looks != 0) {
        const uint64_t mixed = wefti_thread_number() * UINT64_C(0x9e3779b97f4a7c15);
        return (int32_t)((mixed >> 32) % (uint32_t)pool->slot_count);
    }
    return (int32_t)(wefti_current_core() % pool->core_groups * pool->group_stride);
}

/* The slot that the calling thread had last, + 1; 0: none that is known. */
static wefti_atomic_u32 *last_of_thread(wefti_lease_pool *pool)
{
    const uint64_t mixed = wefti_thread_number() * UINT64_C(0x9e3779b97f4a7c15);
    return &pool->last_slots[mixed >> (64 - KNOWN_THREADS_BITS)];
}

/* The card with the fewest leases; `own` while it has hardly more. Leases come and go
 * all the time, and a thread that moves finds another's data in its caches. */
static int32_t choose_card(const wefti_lease_pool *pool, int32_t own)
{
    const uint32_t here = wefti_atomic_u32_load_relaxed(&pool->loads[own].leases);
    uint32_t fewest = here;
    int32_t best = own;
    for (int32_t card = 0; card < pool->card_count; card++) {
        const uint32_t leases =
            wefti_atomic_u32_load_relaxed(&pool->loads[card].leases);
        best = leases < fewest ? card : best;
        fewest = leases < fewest ? leases : fewest;
    }
    return here > fewest + fewest / 4 ? best : own;
}

/* Of several cards, the slot that the thread had last, or where another card has less
 * to do the one in its place there. */
static int32_t first_choice(wefti_lease_pool *pool)
{
    const int32_t cards = pool->card_count;
    if (WEFTI_LIKELY(cards == 1)) {
        return own_choice(pool);
    }
    const uint32_t last = wefti_atomic_u32_load_relaxed(last_of_thread(pool));
    const int32_t own = last > 0 ? (int32_t)last - 1 : own_choice(pool);
    const int32_t slot = own - own % cards + choose_card(pool, own % cards);
    return slot < pool->slot_count ? slot : slot - cards;
}

/* For first_choice. */
static void remember(wefti_lease_pool *pool, int32_t slot)
{
    if (WEFTI_LIKELY(pool->card_count == 1)) {
        return;
    }
    wefti_atomic_u32 *last = last_of_thread(pool);
    if (wefti_atomic_u32_load_relaxed(last) != (uint32_t)slot + 1) {
        wefti_atomic_u32_store_relaxed(last, (uint32_t)slot + 1);
    }
}

/* Tries all slots of the card of one, from that one on. */
static bool claim_on_card(wefti_lease_pool *pool, int32_t first, int32_t *slot)
{
    const int32_t cards = pool->card_count;
    int32_t at = first;
    do {
        if (claim(pool, at)) {
            *slot = at;
            return true;
        }
        at = at + cards < pool->slot_count ? at + cards : at % cards;
    } while (at != first);
    return false;
}

static bool claim_any(wefti_lease_pool *pool, int32_t *slot)
{
    int32_t first = first_choice(pool);
    for (int32_t i = 0; i < pool->card_count; i++) {
        if (claim_on_card(pool, first, slot)) {
            remember(pool, *slot);
            return true;
        }
        first = (first + 1) % pool->card_count;
    }
    return false;
}

void wefti_lease_pool_record(wefti_lease_pool *pool, weft_profiler *profiler)
{
    pool->profiler = profiler;
}

void wefti_lease_pool_be_brisk(wefti_lease_pool *pool, uint32_t looks)
{
    pool->brisk_looks = looks;
}

void wefti_lease_pool_spread(wefti_lease_pool *pool, int32_t card_count)
{
    pool->card_count = card_count < pool->slot_count ? card_count : pool->slot_count;
}

/* Whether free slots belong to whoever takes them, also while others wait. */
static bool is_brisk(const wefti_lease_pool *pool, uint32_t gate)
{
    return pool->brisk_looks != 0 && (gate & GATE_STRICT) == 0;
}

static bool is_brisk_now(const wefti_lease_pool *pool)
{
    return pool->brisk_looks != 0 &&
           is_brisk(pool, wefti_atomic_u32_load_seq_cst(&pool->gate));
}

static bool refuses(uint32_t gate, bool accepted)
{
    return (gate & (accepted ? GATE_ABORTED : GATE_CLOSED | GATE_ABORTED)) != 0;
}

static weft_status refuse(bool accepted, weft_error *error)
{
    if (accepted) {
        return wefti_error(error, WEFT_CANCELLED,
                           "the device was closed and drained before a context came "
                           "free; the request did not start");
    }
    return wefti_error(error, WEFT_CLOSED,
                       "the device is closed and leases no contexts; open another");
}

static weft_status none_free(const wefti_lease_pool *pool, weft_error *error)
{
    return wefti_error(error, WEFT_BUSY,
                       "all %d contexts are leased; try again, wait "
                       "(WEFT_LEASE_WAIT) or open the device with more max_contexts",
                       (int)pool->slot_count);
}

static void enqueue_locked(wefti_lease_pool *pool, waiter *who)
{
    who->queued = true;
    who->watches = pool->first == NULL;
    who->next = NULL;
    who->previous = pool->last;
    *(pool->last ? &pool->last->next : &pool->first) = who;
    pool->last = who;
    wefti_atomic_u32_add_seq_cst(&pool->gate, GATE_WAITER);
}

/* The first in the queue is to look for itself. */
static void let_first_watch_locked(wefti_lease_pool *pool)
{
    waiter *who = pool->first;
    if (who && !who->watches && is_brisk_now(pool) &&
        !wefti_sabotaged(WEFTI_SABOTAGE_WAKE_NEXT)) {
        who->watches = true;
        wefti_condition_wake_one(&who->woken);
    }
}

static void be_strict_locked(wefti_lease_pool *pool)
{
    pool->gifts_left = STRICT_GIFTS;
    wefti_atomic_u32_or_seq_cst(&pool->gate, GATE_STRICT);
}

static void be_brisk_again_locked(wefti_lease_pool *pool)
{
    wefti_atomic_u32_and_seq_cst(&pool->gate, ~(uint32_t)GATE_STRICT);
    let_first_watch_locked(pool);
}

static void dequeue_locked(wefti_lease_pool *pool, waiter *who)
{
    *(who->previous ? &who->previous->next : &pool->first) = who->next;
    *(who->next ? &who->next->previous : &pool->last) = who->previous;
    who->queued = false;
    wefti_atomic_u32_sub_seq_cst(&pool->gate, GATE_WAITER);
    if (pool->first) {
        let_first_watch_locked(pool);
    } else if (pool->brisk_looks != 0) {
        be_brisk_again_locked(pool);
    }
}

static void give_locked(wefti_lease_pool *pool, int32_t slot)
{
    waiter *who = pool->first;
    dequeue_locked(pool, who);
    who->slot = slot;
    wefti_condition_wake_one(&who->woken);
    if (pool->gifts_left > 0 && --pool->gifts_left == 0) {
        be_brisk_again_locked(pool);
    }
}

static void give_all_free_locked(wefti_lease_pool *pool)
{
    for (int32_t i = 0; i < pool->slot_count && pool->first && !is_brisk_now(pool);
         i++) {
        if (claim(pool, i)) {
            give_locked(pool, i);
        }
    }
}

/* Looks for a free slot, as the first in the queue of a brisk pool. False: it has
 * looked for long, or there is something else to see to. */
static bool look_for_slot(wefti_lease_pool *pool, const waiter *who,
                          int64_t deadline_ns, int32_t *slot)
{
    for (uint32_t looks = 0; looks < pool->brisk_looks; looks++) {
        *slot = first_choice(pool);
        if (looks < CHOOSY_LOOKS ? claim(pool, *slot) : claim_any(pool, slot)) {
            return true;
        }
        if (refuses(wefti_atomic_u32_load_seq_cst(&pool->gate), who->accepted) ||
            (who->shares &&
             wefti_atomic_u32_load_seq_cst(&pool->holds) != who->holds) ||
            (deadline_ns != WEFTI_NEVER && wefti_clock_ns() >= deadline_ns)) {
            return false;
        }
        for (int32_t i = 0; i < PAUSES_OF_A_LOOK; i++) {
            wefti_pause();
        }
        wefti_thread_yield();
    }
    return false;
}

/* The waiter's turn to look, without the lock. Afterwards it has a slot, is out of the
 * queue for another reason, out of time, or the pool is strict and it may sleep. */
static void watch_locked(wefti_lease_pool *pool, waiter *who, int64_t deadline_ns)
    WEFTI_REQUIRES(&pool->lock);
static void watch_locked(wefti_lease_pool *pool, waiter *who, int64_t deadline_ns)
{
    int32_t slot = -1;
    wefti_mutex_unlock(&pool->lock);
    bool found = look_for_slot(pool, who, deadline_ns, &slot);
    wefti_mutex_lock(&pool->lock);
    who->watches = false;
    if (found) {
        who->slot = slot;
    }
    if (found && who->queued) {
        dequeue_locked(pool, who);
    } else if (who->queued && wefti_clock_ns() < deadline_ns) {
        be_strict_locked(pool);
        give_all_free_locked(pool);
    }
}

/* Returns once the waiter has a slot, was turned away, or its deadline has passed. */
static weft_status wait_in_queue(wefti_lease_pool *pool, waiter *who,
                                 int64_t deadline_ns)
{
    weft_status status = WEFT_OK;
    wefti_mutex_lock(&pool->lock);
    if (refuses(wefti_atomic_u32_load_seq_cst(&pool->gate), who->accepted)) {
        status = WEFT_CLOSED;
    } else {
        enqueue_locked(pool, who);
        give_all_free_locked(pool);
        if (who->queued && who->shares &&
            wefti_atomic_u32_load_seq_cst(&pool->holds) != who->holds) {
            dequeue_locked(pool, who);
            who->look_again = true;
        }
    }
    if (who->look_again) {
        status = WEFT_BUSY;
    } else if (who->queued) {
        int64_t begin_ns = wefti_clock_ns();
        bool in_time = true;
        who->slept = true;
        while (who->queued && in_time) {
            if (who->watches && is_brisk_now(pool)) {
                watch_locked(pool, who, deadline_ns);
            } else {
                in_time = wefti_condition_wait(&who->woken, &pool->lock, deadline_ns);
            }
        }
        pool->wait_count++;
        pool->wait_ns += (uint64_t)(wefti_clock_ns() - begin_ns);
        if (who->queued) {
            dequeue_locked(pool, who);
            status = WEFT_TIMEOUT;
        } else if (who->slot < 0) {
            status = who->look_again ? WEFT_BUSY : WEFT_CLOSED;
        }
    }
    wefti_mutex_unlock(&pool->lock);
    return status;
}

static weft_status say_timeout(const wefti_lease_pool *pool, int64_t timeout_ns,
                               weft_error *error)
{
    bool in_ms = timeout_ns % 1000000 == 0;
    if (timeout_ns == 0) {
        return wefti_error(error, WEFT_TIMEOUT,
                           "all %d contexts are leased and no time to wait was given; "
                           "wait or open the device with more max_contexts",
                           (int)pool->slot_count);
    }
    return wefti_error(error, WEFT_TIMEOUT,
                       "all %d contexts stayed leased for the %g %s given; wait "
                       "longer or open the device with more max_contexts",
                       (int)pool->slot_count,
                       (double)timeout_ns / (in_ms ? 1000000 : 1000),
                       in_ms ? "ms" : "us");
}

static void record_wait(const wefti_lease_pool *pool, const waiter *who,
                        int64_t begin_ns, weft_status status)
{
    if (pool->profiler && who->slept) {
        wefti_profile_wait(pool->profiler, begin_ns, "wait for a context", who->slot,
                           status);
    }
}

static WEFTI_NOINLINE weft_status acquire_waiting(wefti_lease_pool *pool,
                                                  const weft_lease_params *params,
                                                  bool accepted, int32_t *slot,
                                                  bool *shared, weft_error *error)
{
    bool timed = params && params->policy == WEFT_LEASE_WAIT_UNTIL;
    int64_t timeout_ns = timed ? params->timeout_ns : WEFT_FOREVER;
    int64_t deadline_ns = wefti_deadline(timeout_ns);
    waiter self = {.accepted = accepted, .slot = -1};
    WEFTI_TRY(wefti_condition_init(&self.woken, error));
    int64_t begin_ns = wefti_profile_begin(pool->profiler);
    weft_status status = wait_in_queue(pool, &self, deadline_ns);
    wefti_condition_fini(&self.woken);
    record_wait(pool, &self, begin_ns, status);
    if (status == WEFT_CLOSED) {
        return refuse(accepted, error);
    }
    if (status == WEFT_TIMEOUT) {
        return say_timeout(pool, timeout_ns, error);
    }
    *slot = self.slot;
    *shared = self.slept && params && params->policy == WEFT_LEASE_SHARE;
    return WEFT_OK;
}

weft_status wefti_lease_await(wefti_lease_pool *pool, uint32_t holds, bool accepted,
                              int32_t *slot, weft_error *error)
{
    waiter self = {.accepted = accepted, .shares = true, .holds = holds, .slot = -1};
    WEFTI_TRY(wefti_condition_init(&self.woken, error));
    int64_t begin_ns = wefti_profile_begin(pool->profiler);
    weft_status status = wait_in_queue(pool, &self, WEFTI_NEVER);
    wefti_condition_fini(&self.woken);
    record_wait(pool, &self, begin_ns, status == WEFT_BUSY ? WEFT_OK : status);
    *slot = self.slot;
    return status == WEFT_CLOSED ? refuse(accepted, error) : status;
}

uint32_t wefti_lease_holds(const wefti_lease_pool *pool)
{
    return wefti_atomic_u32_load_seq_cst(&pool->holds);
}

void wefti_lease_announce_hold(wefti_lease_pool *pool)
{
    (void)wefti_atomic_u32_add_seq_cst(&pool->holds, 1);
    if (WEFTI_LIKELY(wefti_lease_waiter_count(pool) == 0)) {
        return;
    }
    wefti_mutex_lock(&pool->lock);
    for (waiter *who = pool->first, *next; who; who = next) {
        next = who->next;
        if (who->shares && !wefti_sabotaged(WEFTI_SABOTAGE_HOLD_WAKE)) {
            dequeue_locked(pool, who);
            who->look_again = true;
            wefti_condition_wake_one(&who->woken);
        }
    }
    wefti_mutex_unlock(&pool->lock);
}

static weft_status check_params(const weft_lease_params *params, weft_error *error)
{
    weft_lease_params taken;
    WEFTI_TRY(
        wefti_params_take(WEFTI_PARAMS(weft_lease_params), params, &taken, error));
    if ((unsigned)params->policy > WEFT_LEASE_SHARE) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "weft_lease_params.policy is %d; use a weft_lease_policy",
                           (int)params->policy);
    }
    return WEFT_OK;
}

weft_status wefti_lease_acquire(wefti_lease_pool *pool, const weft_lease_params *params,
                                bool accepted, int32_t *slot, bool *shared,
                                weft_error *error)
{
    *shared = false;
    if (params) {
        WEFTI_TRY(check_params(params, error));
    }
    uint32_t gate = wefti_atomic_u32_load_seq_cst(&pool->gate);
    if (refuses(gate, accepted)) {
        return refuse(accepted, error);
    }
    bool fails = params && params->policy == WEFT_LEASE_FAIL;
    if (WEFTI_LIKELY(gate < GATE_WAITER || (!fails && is_brisk(pool, gate))) &&
        claim_any(pool, slot)) {
        return WEFT_OK;
    }
    if (fails) {
        return none_free(pool, error);
    }
    return acquire_waiting(pool, params, accepted, slot, shared, error);
}

static void leave_retired(wefti_lease_pool *pool)
{
    if (wefti_atomic_u32_sub_acq_rel(&pool->unretired, 1) == 1) {
        pool->done(pool->done_user);
    }
}

static WEFTI_NOINLINE void give_on(wefti_lease_pool *pool, int32_t slot)
{
    if (wefti_sabotaged(WEFTI_SABOTAGE_WAKE_NEXT)) {
        return;
    }
    wefti_mutex_lock(&pool->lock);
    if (pool->first && !is_brisk_now(pool) && claim(pool, slot)) {
        give_locked(pool, slot);
    }
    wefti_mutex_unlock(&pool->lock);
}

void wefti_lease_release(wefti_lease_pool *pool, int32_t slot)
{
    wefti_atomic_u32 *word = &pool->slots[slot].word;
    uint32_t before = wefti_atomic_u32_and_seq_cst(word, ~(uint32_t)SLOT_IN_USE);
    if (WEFTI_UNLIKELY((before & SLOT_HOLDERS) == 0)) {
        return; /* given back twice by the caller: harm nothing */
    }
    count_load(pool, slot, (uint32_t)-1);
    uint32_t gate = wefti_atomic_u32_load_seq_cst(&pool->gate);
    if (WEFTI_UNLIKELY(gate >= GATE_WAITER) && !is_brisk(pool, gate)) {
        give_on(pool, slot);
    }
    before = wefti_atomic_u32_sub_seq_cst(word, SLOT_HOLDER);
    if (WEFTI_UNLIKELY(before == (SLOT_RETIRED | SLOT_HOLDER))) {
        leave_retired(pool);
    }
}

static void turn_away(wefti_lease_pool *pool, uint32_t flag)
{
    wefti_mutex_lock(&pool->lock);
    wefti_atomic_u32_or_seq_cst(&pool->gate, flag);
    bool wake = !wefti_sabotaged(WEFTI_SABOTAGE_WAKE_ON_CLOSE);
    for (waiter *who = pool->first, *next; who && wake; who = next) {
        next = who->next;
        if (refuses(flag, who->accepted)) {
            dequeue_locked(pool, who);
            wefti_condition_wake_one(&who->woken);
        }
    }
    wefti_mutex_unlock(&pool->lock);
}

void wefti_lease_pool_close(wefti_lease_pool *pool)
{
    turn_away(pool, GATE_CLOSED);
}

void wefti_lease_pool_abort(wefti_lease_pool *pool)
{
    turn_away(pool, GATE_ABORTED);
}

void wefti_lease_pool_retire(wefti_lease_pool *pool, void (*done)(void *user),
                             void *user)
{
    pool->done = done;
    pool->done_user = user;
    int32_t slot_count = pool->slot_count;
    wefti_atomic_u32_store_seq_cst(&pool->unretired, (uint32_t)slot_count + 1);
    for (int32_t i = 0; i < slot_count; i++) {
        uint32_t before =
            wefti_atomic_u32_or_seq_cst(&pool->slots[i].word, SLOT_RETIRED);
        if ((before & SLOT_HOLDERS) == 0) {
            leave_retired(pool);
        }
    }
    leave_retired(pool);
}

void wefti_lease_visit_free(wefti_lease_pool *pool,
                            void (*visit)(void *user, int32_t slot), void *user)
{
    for (int32_t i = 0; i < pool->slot_count; i++) {
        if (wefti_lease_waiter_count(pool) != 0) {
            return;
        }
        if (claim(pool, i)) {
            count_lease(&pool->slots[i], (uint64_t)-1); /* a visit is none */
            visit(user, i);
            wefti_lease_release(pool, i);
        }
    }
}

void wefti_lease_get_statistics(wefti_lease_pool *pool,
                                wefti_lease_statistics *statistics)
{
    uint64_t leases = 0;
    for (int32_t i = 0; i < pool->slot_count; i++) {
        leases += wefti_atomic_u64_load_relaxed(&pool->slots[i].lease_count);
    }
    wefti_mutex_lock(&pool->lock);
    *statistics = (wefti_lease_statistics){.lease_count = leases,
                                           .wait_count = pool->wait_count,
                                           .wait_ns = pool->wait_ns};
    wefti_mutex_unlock(&pool->lock);
}

uint32_t wefti_lease_waiter_count(const wefti_lease_pool *pool)
{
    return wefti_atomic_u32_load_seq_cst(&pool->gate) / GATE_WAITER;
}

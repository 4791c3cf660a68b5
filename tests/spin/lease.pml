/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol of leases, src/runtime/lease.c. The labels A1, A2, W1 to W3 and R1 to R3
 * are those of the comment there. Three users share SLOTS slots, one may close the
 * pool and one retires it. Each atomic access of the source is one step here; what the source
 * does under the lock is several, for the atomics are read outside it too.
 *
 * Never: two users in one slot; a lease or release that touches the pool after it has
 * gone; somebody asleep for ever (an end that is none). LIVE: who is queued is served
 * again and again.
 *
 * With BRISK the pool is a brisk one: who comes may take a free slot while others wait,
 * the first in the queue looks for one itself, once, before it makes the pool strict.
 * It is not closed then, and nobody has a deadline but who looks.
 *
 * MUTATION takes one guard away, to show that the above would be noticed.
 *
 * holds: -DSLOTS=1
 * holds: -DSLOTS=2
 * holds: -DLIVE
 * holds: -DBRISK
 * holds: -DBRISK -DLIVE
 * fails: -DBRISK -DMUTATION=9
 * fails: -DBRISK -DMUTATION=10
 * fails: -DMUTATION=1
 * fails: -DMUTATION=2 -DLATE
 * fails: -DMUTATION=2 -DLIVE
 * fails: -DMUTATION=3 -DLATE
 * fails: -DMUTATION=4
 * fails: -DMUTATION=5 -DLATE
 * fails: -DMUTATION=6 -DLATE
 * fails: -DMUTATION=7 -DLATE
 * fails: -DMUTATION=7 -DLIVE
 * fails: -DMUTATION=8 */
#ifndef SLOTS
#define SLOTS 1
#endif
#ifndef MUTATION
#define MUTATION 0
#endif
#ifdef LIVE
#define USERS 2
#else
#define USERS 3
#endif

/* lease_slot.word */
bool in_use[SLOTS];
byte holders[SLOTS];
bool retired[SLOTS];

/* wefti_lease_pool.gate */
byte waiters;
bool closed;

/* wefti_lease_pool.lock and what it guards; a waiter's place, slot and condition */
bool locked;
chan queue = [USERS] of { byte };
bool queued[USERS];
bool signalled[USERS];
byte given[USERS]; /* the slot + 1 */

/* of a brisk pool: the gate's STRICT, and who is to look for a slot itself */
bool is_strict;
bool watches[USERS];
#ifdef BRISK
#define brisk (!is_strict)
#else
#define brisk false
#endif

/* wefti_lease_pool_retire */
byte unretired;
bool gone;

/* Chosen at the beginning: whether the pool is ever closed. If so, user 0 may keep its
 * slot for ever, and only the closing wakes who waits behind it. */
bool closes;

/* for the checks */
byte inside[SLOTS];
byte acquiring = USERS + 1; /* users that may still acquire, and the closer */

#define touch_pool assert(!gone)

inline lock()
{
    atomic { touch_pool; !locked -> locked = true }
}

inline unlock()
{
    atomic { touch_pool; locked = false }
}

/* claim: the compare-and-swap on the slot's word */
inline claim(slot, won)
{
    atomic {
        touch_pool;
        if
#if MUTATION == 1 /* LEASE_TWICE */
        :: !retired[slot] -> in_use[slot] = true; holders[slot]++; won = true
        :: else -> won = false
#else
        :: !in_use[slot] && !retired[slot] ->
            in_use[slot] = true; holders[slot]++; won = true
        :: else -> won = false
#endif
        fi
    }
}

/* the end of dequeue_locked: a brisk pool's first in the queue is made to look */
inline left_queue(next)
{
#ifdef BRISK
    if
    :: empty(queue) -> atomic { touch_pool; is_strict = false }
    :: nempty(queue) ->
        queue ? <next>;
        if
#if MUTATION != 9 /* the next is not made to look */
        :: !is_strict && !watches[next] -> watches[next] = true; signalled[next] = true
#endif
        :: else
        fi
    fi
#else
    skip
#endif
}

/* give_all_free_locked */
inline give_all_free()
{
    slot = 0;
    do
    :: slot < SLOTS && nempty(queue) && !brisk ->
        claim(slot, won);
        if
        :: won -> give_locked(slot, who)
        :: else
        fi;
        slot++
    :: else -> break
    od
}

/* give_locked: dequeue_locked, then wake the first in the queue */
inline give_locked(slot, who)
{
    queue ? who;
    atomic { touch_pool; waiters-- };
    given[who] = slot + 1;
    queued[who] = false;
#if MUTATION != 2 /* the one who is given a slot is not woken */
    signalled[who] = true;
#endif
    left_queue(next);
#ifdef BRISK
    if
    :: is_strict -> atomic { touch_pool; is_strict = false }; left_queue(next) /* enough gifts */
    :: true
    fi
#endif
}

inline enter_slot(slot)
{
    atomic { inside[slot]++; assert(inside[slot] == 1) }
}

inline leave_slot(slot)
{
    inside[slot]--
}

/* wefti_lease_release */
inline release(slot, who, won)
{
#if MUTATION == 3 /* R2 before R1 */
    atomic { touch_pool; saw_waiters = waiters > 0 && !brisk };
    atomic { touch_pool; in_use[slot] = false };
#elif MUTATION == 4 /* the slot is not held until the last access */
    atomic { touch_pool; in_use[slot] = false; holders[slot]--;
             last = retired[slot] && holders[slot] == 0 };
    leave_retired_if(last);
    atomic { touch_pool; saw_waiters = waiters > 0 };
#else
    atomic { touch_pool; in_use[slot] = false };            /* R1 */
    atomic { touch_pool; saw_waiters = waiters > 0 && !brisk }; /* R2 */
#endif
    if
#if MUTATION == 5 /* WAKE_NEXT */
    :: skip
#else
    :: saw_waiters ->                                       /* R3: give_on */
        lock();
        if
        :: nempty(queue) ->
            won = false;
            if
            :: !brisk -> claim(slot, won)
            :: else
            fi;
            if
            :: won -> give_locked(slot, who)
            :: else
            fi
        :: empty(queue)
        fi;
        unlock()
    :: else
#endif
    fi;
#if MUTATION != 4
    atomic { touch_pool; holders[slot]--;
             last = retired[slot] && holders[slot] == 0 };
    leave_retired_if(last)
#endif
}

/* leave_retired; `done` frees the pool */
inline leave_retired_if(last)
{
    atomic {
        if
        :: last ->
            touch_pool;
            unretired--;
            if
            :: unretired == 0 -> gone = true
            :: else
            fi
        :: else
        fi
    }
}

inline leave_queue()
{
    queue ?? eval(me);
    queued[me] = false;
    atomic { touch_pool; waiters-- };
    left_queue(next)
}

/* watch_locked */
inline look()
{
    unlock();
    slot = 0; won = false;
    do
    :: slot < SLOTS ->
        claim(slot, won);
        if
        :: won -> break
        :: else -> slot++
        fi
    :: else -> break
    od;
    lock();
    watches[me] = false;
    if
    :: won -> given[me] = slot + 1
    :: else
    fi;
    if
    :: won && queued[me] -> leave_queue()
#ifndef LIVE
    :: !won && queued[me] && me == 2 -> leave_queue() /* its deadline passes */
#endif
    :: !won && queued[me] ->
        atomic { touch_pool; is_strict = true };
#if MUTATION != 10 /* the slots are not looked at once more */
        give_all_free()
#endif
    :: else
    fi
}

/* wait_in_queue, give_all_free_locked; sets mine, or 0: turned away or timed out */
inline acquire_waiting()
{
    lock();
    if
    :: closed -> unlock()
    :: else ->
        watches[me] = empty(queue);
#if MUTATION == 6 /* counted only after the slots were looked at */
        queue ! me; queued[me] = true;
#else
        queue ! me; queued[me] = true;
        atomic { touch_pool; waiters++ };                   /* W1 */
#endif
#if MUTATION != 7 /* W2 left out */
        give_all_free();                                    /* W2 */
#endif
#if MUTATION == 6
        if
        :: queued[me] -> atomic { touch_pool; waiters++ }
        :: else -> waiters++ /* give_locked took it off */
        fi;
#endif
        do                                                  /* W3 */
#ifdef BRISK
        :: queued[me] && watches[me] && brisk -> look()
#endif
        :: queued[me] && !(watches[me] && brisk) ->
            unlock();
            if
            :: atomic { signalled[me] -> signalled[me] = false }
#if !defined(LIVE) && !defined(BRISK)
            :: me == 2 -> /* its deadline passes */
                lock();
                if
                :: queued[me] ->
                    leave_queue()
                :: else
                fi;
                unlock()
#endif
            fi;
            lock()
        :: else -> break
        od;
        mine = given[me]; given[me] = 0; signalled[me] = false;
        unlock()
    fi
}

proctype user(byte me)
{
    bool won, saw_waiters, last;
    byte slot, who, next, mine;
#ifdef LIVE
again:
#endif
    mine = 0; slot = 0; won = false;
    if
    :: atomic { closed -> touch_pool }                      /* A1 */
    :: atomic { !closed && (waiters == 0 || brisk) -> touch_pool };
        do                                                  /* A2: claim_any */
        :: slot < SLOTS ->
            claim(slot, won);
            if
            :: won -> mine = slot + 1; break
            :: else -> slot++
            fi
        :: else -> break
        od;
        if
        :: mine == 0 -> acquire_waiting()
        :: else
        fi
    :: atomic { !closed && waiters > 0 && !brisk -> touch_pool };
        acquire_waiting()
    fi;
#ifndef LIVE
    acquiring--;
#endif
    if
    :: mine > 0 ->
        enter_slot(mine - 1);
        if
        :: me == 0 && closes -> goto kept
        :: skip
        fi;
        leave_slot(mine - 1);
        release(mine - 1, who, won)
    :: else
    fi;
#ifdef LIVE
    goto again;
#endif
kept:
    skip
}

/* turn_away: wefti_lease_pool_close */
proctype closer()
{
    byte who;
    lock();
    atomic { touch_pool; closed = true };
#if MUTATION != 8 /* WAKE_ON_CLOSE */
    do
    :: nempty(queue) ->
        queue ? who;
        atomic { touch_pool; waiters-- };
        queued[who] = false;
        signalled[who] = true
    :: else -> break
    od;
    is_strict = false;
#endif
    unlock();
    acquiring--
}

/* wefti_lease_pool_retire: when nobody acquires any more, releases may be on their way */
proctype retirer()
{
    byte slot;
    bool unheld;
    acquiring == 0;
    unretired = SLOTS + 1;
    do
    :: slot < SLOTS ->
        atomic { touch_pool; unheld = holders[slot] == 0; retired[slot] = true };
        leave_retired_if(unheld);
        slot++
    :: else -> break
    od;
    leave_retired_if(true);
end:
    gone
}

init {
    atomic {
        byte i = 0;
        do
        :: i < USERS -> run user(i); i++
        :: else -> break
        od;
#ifndef LIVE
        if
#ifndef BRISK
        :: closes = true; run closer()
#endif
        :: acquiring-- /* no closer */
        fi;
        run retirer()
#endif
    }
}

#ifdef LIVE
ltl served { [] (queued[0] -> <> !queued[0]) }
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The life of requests in a batch queue: src/queue/submit.c, worker.c, choose.c, batch.c,
 * end.c, model.c, queue.c. PRODUCERS submit a request each to a queue with room for one, a
 * worker takes them (and may put a lone one back), request 0 is cancelled, the time of the
 * last one runs out, and one thread closes, drains and ends the queue.
 *
 * A request is owned by its caller, until that one is through with it, and by the queue,
 * until it has ended; who runs it owns nothing.
 *
 * PLUG: the callback of request 0 keeps the only worker, request 1 fills the queue, and
 * the last producer has no room: it depends on the closing alone (CLOSES), or on request 1
 * being cancelled; there may be another beside it whose time runs out.
 *
 * Never: a request that ends twice, or is touched when nobody owns it any more; tensors
 * touched after a cancel has returned; a callback after drain; sums that are wrong;
 * somebody asleep for ever. LIVE: drain comes to its end, and each request to its last
 * owner's.
 *
 * IN_PLACE: the worker has no other way than to run on the callers' own tensors.
 *
 * MUTATION takes one guard away, to show that the above would be noticed.
 *
 * holds: -DPRODUCERS=2
 * holds: -DPLUG -DPRODUCERS=3 -DCLOSES
 * holds: -DPLUG -DPRODUCERS=4
 * holds: -DPLUG -DPRODUCERS=3
 * holds: -DPRODUCERS=1
 * holds: -DPRODUCERS=1 -DLIVE
 * fails: -DMUTATION=1 -DPLUG -DPRODUCERS=3 -DCLOSES
 * fails: -DMUTATION=2 -DPLUG -DPRODUCERS=3
 * fails: -DMUTATION=3
 * fails: -DMUTATION=4
 * fails: -DMUTATION=5
 * fails: -DMUTATION=5 -DPRODUCERS=1 -DLIVE
 * fails: -DMUTATION=6 -DPLUG -DPRODUCERS=3
 * fails: -DMUTATION=7 -DPLUG -DPRODUCERS=4
 * fails: -DMUTATION=8
 * fails: -DMUTATION=8 -DIN_PLACE
 * fails: -DMUTATION=9
 * fails: -DMUTATION=10 -DPLUG -DPRODUCERS=4
 * fails: -DMUTATION=11 -DPRODUCERS=1
 * fails: -DMUTATION=12 -DPRODUCERS=1 -DLIVE
 * fails: -DMUTATION=13 -DPRODUCERS=1 -DLIVE
 * fails: -DMUTATION=14 -DPRODUCERS=1 -DLIVE
 * fails: -DMUTATION=15 -DPRODUCERS=1
 * fails: -DMUTATION=16 -DPRODUCERS=1 */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef MUTATION
#define MUTATION 0
#endif
#ifdef PLUG
#define CANCELLED 1
#if PRODUCERS == 4
#define TIMED 2 /* beside the last one */
#else
#define TIMED 255 /* none */
#endif
#else
#define CANCELLED 0
#define TIMED (PRODUCERS - 1)
#endif
#define LAST (PRODUCERS - 1)
#define ROOM 1 /* max_queue_size */
#ifdef CLOSES
#define IS_KEPT(r) false
#else
#define IS_KEPT(r) (r == CANCELLED) /* by the canceller, who is its caller */
#endif
#define GIVES_BACK (PRODUCERS == 1)
#if PRODUCERS == 1
#define UNOWNED (owners[0] == 0)
#else
#define UNOWNED (owners[0] == 0 && owners[LAST] == 0)
#endif

/* wefti_request_state */
mtype = { NONE, PENDING, LOADING, DROPPED, RUNNING, STORING, ENDING, ENDED };
mtype state[PRODUCERS] = NONE;
byte owners[PRODUCERS];

/* weft_queue, guarded by lock */
bool locked, closed, stopping;
chan by_age = [ROOM + 1] of { byte }; /* waiting requests, and one that was put back */
bool listed[PRODUCERS];
byte waiting, blocked, live;
bool sleeping, woken; /* of one worker */

/* the condition variables: who sleeps, who was woken */
bool room_sleeps[PRODUCERS], room_wakes[PRODUCERS];
bool work_wakes, idle_wakes;

/* for the checks */
byte accepted, ended, ends[PRODUCERS];
bool cancel_returned, drained, returned[PRODUCERS];
bool put_back; /* once */

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

/* It is not decided yet how the request ends. */
#define GOES_ON(r)                                                                     \
    (state[r] == PENDING || state[r] == LOADING || state[r] == RUNNING)

/* Whoever does anything with a request finds it there. */
#define THERE(r) assert(owners[r] > 0)

/* weft_request_release */
inline release(r) { atomic { THERE(r); owners[r]-- } }

/* The compare-and-swap that moves a request on. */
inline move(r, from, to, won)
{
    atomic {
        THERE(r);
        won = state[r] == from;
        if
        :: won -> state[r] = to
        :: else
        fi
    }
}

inline wake_room_one()
{
    if /* any of those that sleep */
    :: room_sleeps[0] && !room_wakes[0] -> room_wakes[0] = true
#if PRODUCERS > 1
    :: room_sleeps[1] && !room_wakes[1] -> room_wakes[1] = true
#endif
#if PRODUCERS > 2
    :: room_sleeps[2] && !room_wakes[2] -> room_wakes[2] = true
#endif
#if PRODUCERS > 3
    :: room_sleeps[3] && !room_wakes[3] -> room_wakes[3] = true
#endif
    :: else
    fi
}

inline wake_room_all()
{
    room_wakes[0] = room_sleeps[0];
#if PRODUCERS > 1
    room_wakes[1] = room_sleeps[1];
#endif
#if PRODUCERS > 2
    room_wakes[2] = room_sleeps[2];
#endif
#if PRODUCERS > 3
    room_wakes[3] = room_sleeps[3];
#endif
}

/* wefti_queue_wake_blocked_locked */
inline wake_blocked()
{
    atomic {
        if
        :: blocked == 0 || waiting >= ROOM
        :: else ->
            if
            :: blocked == 1 || waiting + 1 == ROOM -> wake_room_one()
            :: else -> wake_room_all()
            fi
        fi
    }
}

/* wefti_queue_delist_locked */
inline delist(r)
{
    atomic {
        if
        :: listed[r] -> by_age ?? eval(r); listed[r] = false; waiting--
        :: else
        fi
    }
}

/* wefti_queue_end of one request that the caller has claimed */
inline end(r)
{
    THERE(r);
    lock(); ended++;                                /* count_and_mark */
#if MUTATION == 9 /* it leaves before its callback has returned */
    live--;
    idle_wakes = idle_wakes || live == 0;
#endif
    unlock();
    atomic {                                        /* announce */
        ends[r]++;
        assert(ends[r] == 1);
        THERE(r);
        state[r] = ENDED
    };
#ifdef PLUG
    if                                              /* the callback */
#if PRODUCERS == 4
    :: r == 0 -> returned[LAST] || state[TIMED] != NONE /* who was faster has the room */
#else
    :: r == 0 -> returned[LAST]
#endif
    :: else
    fi;
#endif
    assert(!drained);
#if MUTATION != 9
    lock(); live--;                                 /* leave_locked */
#if MUTATION != 5 /* who drains is not woken */
    idle_wakes = idle_wakes || live == 0;
#endif
    unlock();
#endif
#if MUTATION != 14 /* what has ended is kept */
    release(r)                                      /* wefti_queue_drop_ended */
#endif
}

/* wait_for_room_locked, accept_locked */
proctype producer(byte me)
{
    bool late;
#ifdef PLUG
    if
    :: me == 1 -> state[0] == ENDED
    :: me > 1 -> state[1] != NONE
    :: else
    fi;
#endif
    lock();
    do
    :: !closed && waiting >= ROOM && !late ->
        atomic { blocked++; room_sleeps[me] = true; unlock() };
        if
        :: room_wakes[me]
        :: me == TIMED -> late = true
        fi;
        lock();
        atomic { room_sleeps[me] = false; room_wakes[me] = false; blocked-- }
    :: else -> break
    od;
    if
    :: closed || waiting >= ROOM ->                 /* refused */
#if MUTATION != 7 /* who was woken for the room and goes does not pass it on */
        wake_blocked();
#endif
        unlock()
#if MUTATION == 7
    :: late && !closed && waiting < ROOM -> unlock() /* goes, though there is room */
    :: !late && !closed && waiting < ROOM ->
#else
    :: else ->
#endif
        if
        :: late || me == TIMED ->                   /* its time is over by now */
            atomic { accepted++; live++; owners[me] = 2; state[me] = ENDING };
#if MUTATION != 10 /* who was woken for room that it does not take keeps it for itself */
            wake_blocked();
#endif
            unlock();
            end(me)
        :: !late ->
            atomic {
                accepted++; live++; waiting++; owners[me] = 2;
                state[me] = PENDING; listed[me] = true; by_age ! me
            };
#if MUTATION != 6 /* no worker is woken */
            atomic {
                if
                :: sleeping && !woken -> woken = true; work_wakes = true
                :: else
                fi
            };
#endif
            unlock()
        fi
    fi;
    atomic {
        if /* it has a callback and waits for nothing */
        :: owners[me] > 0 && !IS_KEPT(me) -> release(me)
        :: else
        fi;
        returned[me] = true
    }
}

/* wefti_queue_choose_locked, with a batch of one */
inline choose()
{
    found = false;
    do
    :: !found && nempty(by_age) ->
        by_age ? <r>;
        THERE(r);
        delist(r);
#if MUTATION == 4 /* what is in the list is taken, whoever ends it */
        state[r] = LOADING; found = true
#else
        move(r, PENDING, LOADING, found)
#endif
    :: else -> break
    od
}

/* wefti_queue_let_go, of what was dropped while it was loaded */
inline let_go(r)
{
    atomic { THERE(r); state[r] = ENDING };         /* who cancelled it ends it */
#if MUTATION != 13 /* who finds out keeps what was kept for it */
    release(r)
#endif
}

/* wefti_queue_give_back */
inline give_back(r)
{
    put_back = true;
#if MUTATION == 15 /* it may be cancelled before it is in the list */
    move(r, LOADING, PENDING, won);
    lock();
#else
    lock();
    move(r, LOADING, PENDING, won);                 /* wefti_queue_unload_locked */
#endif
    if
    :: won -> atomic { THERE(r); waiting++; listed[r] = true; by_age ! r; unlock() }
    :: else -> unlock(); let_go(r)
    fi
}

/* Tensors are read or written: their caller has not taken them back. */
#define IS_USED(r) assert(!(cancel_returned && r == CANCELLED))

/* run_worker, next_batch, load, store */
proctype worker()
{
    byte r;
    bool found, won;
    do
    :: lock();
        choose();
        do
        :: !found && !stopping ->
            atomic { sleeping = true; unlock() };
            atomic { work_wakes -> work_wakes = false };
            lock();
            atomic { sleeping = false; woken = false };
            choose()
        :: else -> break
        od;
        if
        :: !found -> unlock(); break
        :: else -> wake_blocked(); unlock()
        fi;
        if
        :: !put_back && GIVES_BACK -> give_back(r)
        :: true ->
            if                                      /* wefti_queue_leave_loading */
#ifndef PLUG
            :: IS_USED(r); move(r, LOADING, STORING, won) /* run_joined_in_place */
#endif
#ifndef IN_PLACE
            :: IS_USED(r); move(r, LOADING, RUNNING, won) /* its inputs are read */
#endif
            fi;
            if
            :: !won -> let_go(r)
            :: else ->
                if
                :: state[r] == STORING
                :: else ->
                    move(r, RUNNING, STORING, won)  /* wefti_queue_begin_storing */
#if MUTATION == 3 /* QUEUE_ONCE */
                    ; won = true
#endif
                fi;
                if
                :: won ->
                    IS_USED(r);                     /* its outputs are written */
                    end(r)
#if MUTATION != 13
                :: else -> release(r)               /* who cancelled it ends it */
#else
                :: else
#endif
                fi
            fi
        fi
    od
}

/* wefti_queue_request_cancel; the request may have been refused */
proctype canceller()
{
    bool won;
    if
    :: state[CANCELLED] != NONE
    :: returned[CANCELLED] && state[CANCELLED] == NONE -> goto out
    fi;
again:
    move(CANCELLED, PENDING, ENDING, won);
    if
    :: won ->
        lock(); delist(CANCELLED);
#if MUTATION != 2 /* the place is free, and nobody told */
        wake_blocked();
#endif
        unlock();
        end(CANCELLED)
    :: else ->
#if MUTATION != 11 /* QUEUE_KEEP */
        atomic { THERE(CANCELLED); owners[CANCELLED]++ }; /* for who runs it */
#endif
        move(CANCELLED, LOADING, DROPPED, won);
        if
        :: won ->
#if MUTATION != 8 /* returns while the worker still reads the inputs */
            state[CANCELLED] != DROPPED;            /* wait_dropped */
#endif
            end(CANCELLED)
        :: else ->
            move(CANCELLED, RUNNING, ENDING, won);
            if
            :: won -> end(CANCELLED)
#if MUTATION == 11 || MUTATION == 12 /* who cancels in vain keeps what it took */
            :: else
#else
            :: else -> release(CANCELLED)
#endif
            fi
        fi
    fi;
#if MUTATION != 16 /* what is put back meanwhile is not looked at again */
    if
    :: !won && GOES_ON(CANCELLED) -> goto again
    :: else
    fi;
#endif
    cancel_returned = won;
    atomic { assert(won || !GOES_ON(CANCELLED)); release(CANCELLED) } /* the caller's */
out:
    skip
}

/* next_expired, for the time of one request */
#ifndef PLUG
proctype timer()
{
    bool won;
    lock();
    if
    :: listed[TIMED] ->
        delist(TIMED);
        move(TIMED, PENDING, ENDING, won);
        wake_blocked();
        unlock();
        if
        :: won -> end(TIMED)
        :: else
        fi
    :: else -> unlock()
    fi
}
#endif

/* weft_queue_close, weft_queue_drain, wefti_queue_teardown */
proctype closer()
{
#ifdef CLOSES
    state[1] != NONE;
#elif defined(PLUG)
    returned[LAST];
#endif
    lock();
    closed = true;
#if MUTATION != 1 /* WAKE_ON_CLOSE */
    wake_room_all();
#endif
    work_wakes = sleeping;
    unlock();
    lock();
    do
    :: live > 0 ->
        atomic { idle_wakes = false; unlock() };
        idle_wakes;
        lock()
    :: else -> break
    od;
    unlock();
    drained = true;
    assert(accepted == ended);
    lock(); stopping = true; work_wakes = true; unlock()
}

init {
    atomic {
        byte i;
        run worker();
        do
        :: i < PRODUCERS -> run producer(i); i++
        :: else -> break
        od;
#ifndef CLOSES
        run canceller();
#endif
#ifndef PLUG
        run timer();
#endif
        run closer()
    }
}

#ifdef LIVE
ltl drains { <> (drained && UNOWNED) }
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are posted rather than put into a queue under its lock, and promises
 * of callers to come for theirs: src/queue/post.c, lead.c, worker.c. POSTERS threads
 * submit a request each, then wait for it, which mostly means that they run it, or
 * only look whether it has ended, or cancel it (FEW: the first leaves its own to
 * workers and looks, the second promises); WORKERS workers sleep, one of them as the
 * watch; one thread closes, drains and ends the queue, and one takes the model out
 * (REMOVES). One core's box stands for all. Whether posts are attended to, and which
 * requests are promises and which are left to workers, is policy: any, as long as
 * somebody looks without being told.
 *
 * The queue is closed at any moment (CLOSES), or when all have their answers, so that
 * nothing but the protocol sees to it that they get them, and perhaps a drain (DRAINS).
 *
 * Never: a request that is served twice; one that has ended and is still in a box or a
 * list; one accepted after a closed queue was drained, or left over by a drain; a model
 * that goes while a post of it is in a box; somebody asleep for ever. LIVE: what was
 * posted ends.
 *
 * MUTATION takes one guard away, to show that the above would be noticed.
 *
 * holds: -DPOSTERS=1 -DDRAINS
 * holds: -DFEW -DREMOVES
 * holds: -DFEW -DCLOSES
 * holds: -DPOSTERS=1 -DWORKERS=2
 * holds: -DFEW -DLIVE
 * fails: -DMUTATION=1 -DPOSTERS=1 -DLIVE
 * fails: -DMUTATION=2 -DPOSTERS=1
 * fails: -DMUTATION=3 -DPOSTERS=1
 * fails: -DMUTATION=4 -DPOSTERS=1
 * fails: -DMUTATION=5 -DPOSTERS=1
 * fails: -DMUTATION=6 -DPOSTERS=1 -DCLOSES
 * fails: -DMUTATION=7 -DPOSTERS=1 -DREMOVES
 * fails: -DMUTATION=9 -DPOSTERS=1
 * fails: -DMUTATION=10 -DPOSTERS=1 -DREMOVES
 * fails: -DMUTATION=11 -DFEW
 * fails: -DMUTATION=12 -DFEW
 * fails: -DMUTATION=13 -DPOSTERS=1
 * fails: -DMUTATION=14 -DFEW
 * fails: -DMUTATION=15 -DPOSTERS=1 -DDRAINS */
#ifndef POSTERS
#define POSTERS 2
#endif
#ifndef WORKERS
#define WORKERS 1
#endif
#ifndef MUTATION
#define MUTATION 0
#endif

/* wefti_request_state, as far as it matters here */
mtype = { NONE, PENDING, TAKEN, ENDING, ENDED };
mtype state[POSTERS] = NONE;

#define ALONE 0
#define WATCHED 1
#define AWAKE 2

/* of each request, set by who submits */
bool leadable[POSTERS]; /* else it is left to workers, as in a crowd */

/* a pool, guarded by its lock: a step here */
bool box[POSTERS];
bool recent = true; /* the model's class is known there */

/* atomic */
byte attended = AWAKE; /* wefti_queue_attendance */
bool posts;

/* weft_queue, guarded by lock */
bool locked, closed, stopping, watching, removed;
byte sleeping, woken, running, live;
bool fresh = true, quiet; /* since the watch looked, since who goes to sleep looked */
chan by_age = [POSTERS] of { byte };
byte waiting, promised_count;
bool listed[POSTERS], promised[POSTERS];

/* the condition variables */
byte work_sleepers, work_signals;
bool idle_wakes;

/* the time of a promise, when the watch began and now */
bool seen[POSTERS], old[POSTERS];

/* for the checks */
bool freed, drained, returned, gone[POSTERS];

#if POSTERS > 1
#define ALL_GONE (gone[0] && gone[1])
#else
#define ALL_GONE gone[0]
#endif

#if MUTATION == 11 /* `posts` is cleared when the boxes are empty */
#define CLEAR_POSTS skip
#else
#define CLEAR_POSTS posts = false
#endif

inline unlock() { locked = false }

inline wake_one()
{
    atomic {
        if
        :: work_signals < work_sleepers -> work_signals++
        :: else
        fi
    }
}

/* wefti_queue_enlist_locked, wefti_queue_delist_locked; in atomic steps */
inline enlist(r, promise)
{
    listed[r] = true; by_age ! r; waiting++;
    promised[r] = promise;
    promised_count = promised_count + promise
}

inline end_promise(r)
{
    promised_count = promised_count - promised[r];
    promised[r] = false; seen[r] = false; old[r] = false
}

inline delist(r)
{
    if
    :: listed[r] -> by_age ?? eval(r); listed[r] = false; waiting--; end_promise(r)
    :: else
    fi
}

/* wefti_queue_end_promises_locked, who wakes all after the lock is given back */
inline end_promises()
{
    atomic {
        end_promise(0);
#if POSTERS > 1
        end_promise(1);
#endif
        if
        :: waiting > 0 && sleeping > woken ->
            woken = sleeping;
            work_signals = work_sleepers
        :: else
        fi
    }
}

/* wefti_queue_unlink_unused_locked */
inline unlink_unused()
{
    if
    :: removed && live == 0 && !freed -> freed = true
    :: else
    fi
}

/* take_in_locked */
inline take_in(r)
{
    if
    :: box[r] ->
        box[r] = false;
        assert(!freed);
        assert(state[r] == PENDING || state[r] == ENDING);
        assert(!drained);
        live++; fresh = true; quiet = false;
        enlist(r, leadable[r])
    :: else
    fi
}

/* empty_boxes_locked, from its second step on */
inline empty_boxes()
{
    atomic {
        take_in(0);
#if POSTERS > 1
        take_in(1);
#endif
        skip
    };
#if MUTATION == 11
    posts = false;
#endif
    skip
}

inline take_posts_only()
{
    if
    :: atomic { posts -> CLEAR_POSTS }; empty_boxes()
    :: !posts
    fi
}

/* wefti_queue_attend_locked: nobody, where one likes so, else as many as look */
#define ATTENDANCE                                                                     \
    (closed -> ALONE : (sleeping <= woken -> AWAKE : (watching -> WATCHED : ALONE)))
inline attend()
{
    if
    :: attended > ALONE ->
#if MUTATION == 3 /* it looks before, not after */
        take_posts_only();
#endif
        if
        :: attended = ALONE                         /* (Dekker: write, then read) */
        :: atomic { attended > ATTENDANCE -> attended = ATTENDANCE }
        fi;
#if MUTATION != 1 && MUTATION != 3 /* who ends the attendance does not look */
        take_posts_only();
#endif
        skip
    :: atomic { attended < ATTENDANCE -> attended = ATTENDANCE }
    :: attended == ATTENDANCE
    fi
}

/* wefti_queue_take_posts_locked */
inline take_posts()
{
    if
    :: atomic { posts -> CLEAR_POSTS }; empty_boxes(); attend()
    :: !posts
    fi
}

/* wefti_queue_lock; to lock and then to look is one step: nobody sees the difference */
inline lock_and_take()
{
    if
    :: atomic { !locked && posts -> locked = true; CLEAR_POSTS };
        empty_boxes();
        attend()
    :: atomic { !locked && !posts -> locked = true }
    fi
}

/* The compare-and-swap that moves a request on. */
inline claim(r, to, won)
{
    atomic {
        won = state[r] == PENDING;
        if
        :: won -> state[r] = to
        :: else
        fi
    }
}

/* leave_locked */
inline leave()
{
    live--;
    unlink_unused();
    idle_wakes = idle_wakes || live == 0
}

/* wefti_queue_end */
inline end(r)
{
    atomic { assert(state[r] != ENDED); state[r] = ENDED };
    atomic { !locked -> leave() }
}

/* wefti_queue_wants_worker_locked */
#define WANTS_WORKER                                                                   \
    (waiting > promised_count && sleeping > woken && running < WORKERS)

/* lead, of lead.c */
inline lead(r)
{
    lock_and_take();
    atomic {
        running--;
        assert(state[r] != ENDED);
        state[r] = ENDED;                           /* wefti_queue_end_led_locked */
        leave();
#if MUTATION == 14 /* who has led leaves the rest alone */
        wake = false;
#else
        wake = WANTS_WORKER;
#endif
        woken = woken + wake;
        unlock()
    };
    if
    :: wake -> wake_one()
    :: else
    fi
}

/* wefti_queue_linger */
inline wait()
{
    lock_and_take();
    atomic {
        end_promise(me);
        won = false;
        if
        :: listed[me] && (WORKERS > 1 || (running == 0 && woken == 0)) ->
            delist(me);
            won = state[me] == PENDING;
            assert(won);
            state[me] = TAKEN;
            running++
        :: true                                     /* not its turn, no memory */
        fi;
        wake = !won && sleeping > woken && (listed[me] || WANTS_WORKER);
        woken = woken + wake;
        unlock()
    };
    if
    :: won -> lead(me)
    :: wake -> wake_one()
    :: else
    fi
}

/* wefti_queue_request_cancel */
inline cancel()
{
    claim(me, ENDING, won);
    if
    :: won ->
#if MUTATION == 9 /* who cancels does not take the request out of its box */
        atomic { !locked -> locked = true };
#else
        lock_and_take();
#endif
        atomic { delist(me); unlock() };
        end(me)
    :: else
    fi
}

/* wefti_queue_post */
#define NEEDED (leadable[me] -> WATCHED : AWAKE)
inline post()
{
    atomic {                                        /* pool->lock */
        posted = recent && attended >= NEEDED;
        if
        :: posted ->
            assert(!freed);                         /* its class is read */
            first = !box[0];
#if POSTERS > 1
            first = first && !box[1];
#endif
            state[me] = PENDING; box[me] = true
        :: else
        fi
    };
    if
    :: !posted
    :: else ->
#if MUTATION == 4 /* it looks before, not after */
        looks = attended >= NEEDED;
#endif
#if MUTATION == 12 /* who is not the first leaves the telling to that one */
        if
        :: first -> posts = true
        :: else
        fi;
#else
        if
        :: !posts -> posts = true                   /* (Dekker: write, then read) */
        :: else
        fi;
#endif
#if MUTATION == 2 /* the poster does not look whether anybody will */
        looks = true;
#elif MUTATION != 4
        looks = attended >= NEEDED;
#endif
        if
        :: looks
        :: else ->
            lock_and_take();
#if MUTATION != 13 /* nobody is told of a post that nobody looks for */
            if
            :: !watching || !leadable[me] -> end_promises()
            :: else
            fi;
#endif
            unlock()
        fi
    fi
}

/* accept_locked */
inline accept()
{
    lock_and_take();
    atomic {
        kept = !closed && !removed;
        wake = false;
        if
        :: kept ->
            assert(!drained && !freed);
            live++; fresh = true; state[me] = PENDING;
            if
            :: leadable[me] && (watching || sleeping <= woken) -> enlist(me, true)
            :: enlist(me, false)
            fi;
            wake = (leadable[me] -> WANTS_WORKER : sleeping > woken);
            woken = woken + wake
        :: else -> unlink_unused()
        fi
    };
    if
    :: kept -> attend()
    :: else
    fi;
    atomic { recent = recent || (kept && !removed); unlock() };
    if
    :: wake -> wake_one()
    :: else
    fi
}

#ifdef FEW
#define MAY_ACT (me == 1)
#define MAY_LEAD (me == 1)
#define MAY_BE_LEFT (me == 0)
#else
#define MAY_ACT true
#define MAY_LEAD true
#define MAY_BE_LEFT true
#endif

/* weft_queue_submit, and what the caller does then */
proctype poster(byte me)
{
    bool posted, first, looks, kept = true, wake, won;
    if
    :: MAY_LEAD -> leadable[me] = true
    :: MAY_BE_LEFT -> leadable[me] = false
    fi;
    if
    :: true -> post()
    :: MAY_ACT                                      /* this one is not for a post */
    fi;
    if
    :: !posted -> accept()
    :: else
    fi;
    #ifdef DRAINS
    returned = returned || me == 0;
#endif
    if
    :: !kept
    :: else ->
        if
        :: MAY_ACT && leadable[me] -> wait()
        :: MAY_ACT -> cancel()
        :: skip                                     /* it looks, now and then */
        fi;
        state[me] == ENDED
    fi;
    assert(!box[me] && !listed[me]);                /* recycle */
    gone[me] = true
}

/* is_promised_locked, wefti_queue_choose_locked, with a batch of one */
inline choose()
{
    found = false;
    atomic {
        if
        :: WORKERS == 1 && running > 0              /* another has the one batch */
        :: else ->
            if
            :: waiting == promised_count && waiting > 0 && !closed ->
                by_age ? <r>;
                if
                :: old[r] -> end_promise(r)
                :: !old[r] -> skip                  /* it is left for a while */
                :: !old[r] -> end_promise(r)
                fi
            :: else
            fi;
            do
            :: !found && waiting > promised_count ->
                by_age ? <r>;
                delist(r);
                found = state[r] == PENDING;
                if
                :: found -> state[r] = TAKEN; running++
                :: else /* who cancels it ends it */
                fi
            :: else -> break
            od
        fi
    }
}

/* Promises that are there when the watch begins are old when it ends. */
inline mark()
{
    seen[0] = promised[0];
#if POSTERS > 1
    seen[1] = promised[1]
#endif
}

/* Where ends must come, the watch's time is long beside a run: who has led comes to the
 * lock before the watch has come there without end. */
#ifdef LIVE
#define MAY_PASS (running == 0)
#else
#define MAY_PASS true
#endif
inline pass_time()
{
    old[0] = seen[0];
#if POSTERS > 1
    old[1] = seen[1]
#endif
}

/* sleep_locked */
inline sleep_until_work()
{
    atomic {
        watches = !watching && (promised_count > 0 || fresh);
        if
        :: watches -> fresh = false; watching = true; mark()
        :: else
        fi;
        sleeping++;
        quiet = true
    };
    attend();
    if
    :: quiet ->
        atomic { work_sleepers++; unlock() };
        if
        :: atomic { work_signals > 0 -> work_signals--; work_sleepers-- }
#if MUTATION != 5 /* nobody watches over promises */
        :: atomic {
            watches && MAY_PASS -> pass_time(); work_sleepers--;
            if
            :: work_signals > work_sleepers -> work_signals = work_sleepers
            :: else
            fi
           }
#endif
        fi;
        atomic { !locked -> locked = true; woken = woken - (woken > 0) }
    :: else                                         /* something had been posted */
    fi;
    atomic {
        sleeping--;
        watching = watching && !watches
    };
    attend();
    take_posts()
}

/* run_worker, next_batch */
proctype worker()
{
    byte r;
    bool found, watches, wake;
    lock_and_take();
    do
    :: choose();
        if
        :: found ->
            atomic {
                wake = promised_count > 0 && !watching && sleeping > woken;
                woken = woken + wake;
                unlock()
            };
            if
            :: wake -> wake_one()
            :: else
            fi;
            lock_and_take(); atomic { running--; unlock() };
            end(r);
            lock_and_take()
        :: !found && stopping -> unlock(); break
        :: !found && !stopping -> sleep_until_work()
        fi
    od
}

/* weft_queue_remove_model */
#ifdef REMOVES
proctype remover()
{
    lock_and_take();
    removed = true;
    recent = false;                                 /* wefti_queue_forget_locked */
#if MUTATION == 7 /* only what `posts` says */
    take_posts_only();
#elif MUTATION != 10 /* what was posted for it is left in the boxes */
    posts = false;
    empty_boxes();
#endif
    atomic { unlink_unused(); unlock() }
}
#endif

/* weft_queue_drain */
inline drain()
{
#if MUTATION == 15 /* what was posted before is not seen */
    atomic { !locked -> locked = true };
#else
    lock_and_take();
#endif
    end_promises();
    do
    :: live > 0 ->
        atomic { idle_wakes = false; unlock() };
        idle_wakes;
        lock_and_take()
    :: else -> break
    od;
    unlock()
}

/* weft_queue_close, weft_queue_drain, wefti_queue_stop_workers */
proctype closer()
{
#ifndef CLOSES
#ifdef DRAINS
    if
    :: returned ->
        drain();
        assert(state[0] == ENDED || state[0] == NONE)
    :: skip
    fi;
#endif
    ALL_GONE;
#endif
    atomic { !locked -> locked = true; closed = true; attended = ALONE };
#if MUTATION == 6 /* only what `posts` says */
    take_posts_only();
#else
    posts = false;                                  /* wefti_queue_close_posts_locked */
    empty_boxes();
#endif
    end_promises();
    atomic { work_signals = work_sleepers; unlock() };
    drain();
    drained = true;
    atomic { !locked -> stopping = true; work_signals = work_sleepers }
}

init {
    atomic {
        run worker();
#if WORKERS > 1
        run worker();
#endif
        run poster(0);
#if POSTERS > 1
        run poster(1);
#endif
#ifdef REMOVES
        run remover();
#endif
        run closer()
    }
}

#ifdef LIVE
ltl ends { [] (box[0] -> <> (state[0] == ENDED)) }
#endif

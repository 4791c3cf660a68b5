/* SPDX-License-Identifier: Apache-2.0 */
/* Stream-ordered memory: src/runtime/memory_pool.c on the points of src/runtime/stream.c.
 * BLOCKS blocks were used on STREAMS streams, whose owners go on submitting other work;
 * each is released by another thread, and an allocator on yet another stream wants one.
 * The device does each stream's work in order, at any time.
 *
 * Never: a block handed out while a stream has yet to use it; a point that was wanted
 * and that nobody records. LIVE: the allocator, who asks the device again and again,
 * has its block at last.
 *
 * MUTATION takes one guard away, to show that the above would be noticed.
 *
 * holds: -DSTREAMS=1 -DBLOCKS=2
 * holds: -DSTREAMS=2 -DBLOCKS=1
 * holds: -DSTREAMS=1 -DBLOCKS=1 -DLIVE
 * fails: -DMUTATION=1
 * fails: -DMUTATION=2
 * fails: -DMUTATION=3
 * fails: -DMUTATION=4 -DLATE
 * fails: -DMUTATION=5 -DSTREAMS=2 -DBLOCKS=1
 * fails: -DMUTATION=6 -DLATE
 * fails: -DMUTATION=7 -DLATE
 * fails: -DMUTATION=8 -DSTREAMS=1 -DBLOCKS=1 -DLIVE */
#ifndef MUTATION
#define MUTATION 0
#endif
#ifndef STREAMS
#define STREAMS 1
#endif
#ifndef BLOCKS
#define BLOCKS 2 /* with as many threads that release one */
#endif
#define USE 10   /* + block: work that reads the block */
#define POINT 20 /* + value: raises the stream's timeline */

mtype = { IDLE, ENTERED, MARKING };

/* weft_stream */
mtype stream_in_use[2] = IDLE;
byte wanted[2], recorded[2], passed[2];
byte timeline[2]; /* the backend's event */

/* Enqueued on the device and not done. */
chan commands0 = [5] of { byte };
chan commands1 = [5] of { byte };

/* weft_memory.touches of each block, and whether it lies in the pool's list */
byte point0[BLOCKS], point1[BLOCKS];
bool is_free[BLOCKS];

/* for the checks */
byte uses_left[BLOCKS]; /* enqueued uses that are not done */
byte busy = BLOCKS + STREAMS + 1; /* who may still record a point */

inline depart()
{
    busy--
}

inline enqueue(s, what)
{
    if
    :: atomic { s == 0 -> commands0 ! what }
    :: atomic { s == 1 -> commands1 ! what }
    fi
}

/* record_wanted; `able`: the compare-and-swap from IDLE to MARKING */
inline record_wanted(s)
{
    do
    :: wanted[s] > recorded[s] ->
        atomic {
            able = stream_in_use[s] == IDLE;
            if
            :: able -> stream_in_use[s] = MARKING
            :: else
            fi
        };
        if
        :: !able -> break
        :: able
        fi;
        point = wanted[s];
        if
        :: point > recorded[s] -> enqueue(s, POINT + point)
        :: else
        fi;
#if MUTATION == 1 /* what was wanted meanwhile counts as recorded */
        recorded[s] = wanted[s];
#else
        recorded[s] = point;
#endif
        stream_in_use[s] = IDLE
    :: else -> break
    od
}

/* wefti_stream_enter: the owner meets MARKING only for a moment, then waits for it */
inline enter(s)
{
    atomic { stream_in_use[s] == IDLE -> stream_in_use[s] = ENTERED }
}

/* wefti_stream_leave */
inline leave(s)
{
#if MUTATION == 2 /* looks for wishes before the stream is free */
    record_wanted(s);
    stream_in_use[s] = IDLE
#elif MUTATION == 3 || MUTATION == 8 /* POINT_WISH */
    stream_in_use[s] = IDLE
#else
    stream_in_use[s] = IDLE;
    record_wanted(s)
#endif
}

/* A stream's owner, which has submitted its uses of the blocks and goes on. */
proctype owner(byte s)
{
    byte point;
    bool able;
    enter(s); /* what it submits is nothing to the blocks */
    leave(s);
    depart()
}

/* weft_memory_release */
proctype releaser(byte block)
{
    byte point, mine;
    bool able;
#if MUTATION == 4 /* in the list before the points are known */
    is_free[block] = true;
#endif
    /* wefti_stream_mark of each stream that touched it */
    atomic { wanted[0]++; mine = wanted[0] };
    record_wanted(0);
    point0[block] = mine;
#if MUTATION != 5 /* only the first stream is remembered */
    if
    :: STREAMS == 2 ->
        atomic { wanted[1]++; mine = wanted[1] };
        record_wanted(1);
        point1[block] = mine
    :: else
    fi;
#endif
#if MUTATION != 4
    is_free[block] = true;
#endif
    depart()
}

/* wefti_stream_refresh */
inline refresh(s)
{
#if MUTATION != 8 /* and a refresh that records nothing either */
    record_wanted(s);
#endif
#if MUTATION == 6 /* recorded counts as passed */
    reached = recorded[s];
#else
    reached = timeline[s];
#endif
    atomic {
        if
        :: passed[s] < reached -> passed[s] = reached
        :: else
        fi
    }
}

/* take_free_locked and is_reusable_locked, for a stream that did not touch the block. One
 * step, for it is under the pool's lock, and nobody else here raises `passed`. */
inline take_free()
{
    atomic {
        block = 0;
        do
        :: block < BLOCKS ->
            if
#if MUTATION == 7 /* FREE_WAIT */
            :: is_free[block] ->
#else
            :: is_free[block] && passed[0] >= point0[block] &&
                    passed[1] >= point1[block] ->
#endif
                is_free[block] = false;
                taken = true;
                assert(uses_left[block] == 0);
                break
            :: else -> block++
            fi
        :: else -> break
        od
    }
}

/* take_free of weft_memory_allocate, after its first look, which finds nothing passed */
proctype allocator()
{
    byte point, reached, block;
    bool able, taken;
    do
    :: !taken ->
        refresh(0);
        if
        :: STREAMS == 2 -> refresh(1)
        :: else
        fi;
        take_free()
#ifndef LIVE
        ; break
#endif
    :: taken -> break
    od;
    depart()
}

inline run_command(what)
{
    if
    :: what >= POINT && timeline[s] < what - POINT -> timeline[s] = what - POINT
    :: what < POINT -> uses_left[what - USE]--
    :: else
    fi
}

proctype device(byte s)
{
    byte what;
    do
    :: atomic { s == 0 && nempty(commands0) -> commands0 ? what; run_command(what) }
    :: atomic { s == 1 && nempty(commands1) -> commands1 ? what; run_command(what) }
    :: atomic { busy == 0 && (s == 0 && empty(commands0) || s == 1 && empty(commands1)) ->
        assert(timeline[s] == wanted[s]); /* every wish was recorded */
        break }
    od
}

init {
    byte i;
    atomic {
        do
        :: i < BLOCKS ->
            uses_left[i] = STREAMS;
            commands0 ! USE + i;
            if
            :: STREAMS == 2 -> commands1 ! USE + i
            :: else
            fi;
            run releaser(i);
            i++
        :: else -> break
        od;
        i = 0;
        do
        :: i < STREAMS -> run owner(i); run device(i); i++
        :: else -> break
        od;
        run allocator()
    }
}

#ifdef LIVE
ltl served { <> (allocator:taken) }
#endif

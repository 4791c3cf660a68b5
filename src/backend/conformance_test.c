/* SPDX-License-Identifier: Apache-2.0 */
/* One suite for every backend: events, streams, tasks and memory keep the promises of
 * backend.h. A backend's name comes on the command line or all are tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/testing.h"
#include "base/thread.h"

enum { MILLISECOND = 1000000, SECOND = 1000 * MILLISECOND, MAX_THREADS = 64 };

typedef struct fixture {
    const wefti_backend *backend;
    wefti_backend_device *device;
} fixture;

static const char *current_name;

static weft_status open_named(const char *name, int32_t workers, fixture *f,
                              weft_error *error)
{
    static const wefti_log log;
    int32_t index;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = workers;
    WEFTI_TRY(wefti_backend_find(name, &f->backend, &index, error));
    return f->backend->device.open(index, &params, &log, &f->device, error);
}

/* A machine may lack the hardware of a backend. */
static bool is_there(const char *name)
{
    fixture f = {0};
    weft_error error;
    weft_status status = open_named(name, 0, &f, &error);
    if (status == WEFT_UNAVAILABLE) {
        print_message("%s is left out: %s\n", name, error.message);
        return false;
    }
    if (status == WEFT_OK) {
        f.backend->device.close(f.device);
    }
    return true;
}

static int set_up(void **state)
{
    static fixture f;
    weft_error error;
    weft_status status = open_named(current_name, 4, &f, &error);
    if (status != WEFT_OK) {
        print_error("%s\n", error.message);
        return -1;
    }
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    const fixture *f = *state;
    f->backend->device.close(f->device);
    return 0;
}

static wefti_backend_stream *new_stream(const fixture *f)
{
    wefti_backend_stream *stream = NULL;
    assert_int_equal(f->backend->stream.create(f->device, &stream, NULL), WEFT_OK);
    assert_non_null(stream);
    return stream;
}

static wefti_backend_event *new_event(const fixture *f, bool timed)
{
    wefti_backend_event *event = NULL;
    assert_int_equal(f->backend->event.create(f->device, timed, &event, NULL), WEFT_OK);
    assert_non_null(event);
    return event;
}

static void finish(const fixture *f, wefti_backend_stream *stream)
{
    weft_error error;
    int64_t deadline = wefti_deadline(20ll * SECOND);
    assert_int_equal(f->backend->stream.synchronize(stream, deadline, &error), WEFT_OK);
    f->backend->stream.destroy(stream);
}

static void event_values_only_grow(void **state)
{
    const fixture *f = *state;
    const wefti_event_table *table = &f->backend->event;
    wefti_backend_event *event = new_event(f, true);
    int64_t before = 0, after = 0;
    assert_int_equal(table->query(event), 0);
    assert_false(table->time_ns(event, &before));
    assert_int_equal(table->signal(event, 5, NULL), WEFT_OK);
    assert_int_equal(table->query(event), 5);
    assert_true(table->time_ns(event, &before));
    assert_int_equal(table->signal(event, 3, NULL), WEFT_OK);
    assert_int_equal(table->query(event), 5);
    assert_true(table->time_ns(event, &after));
    assert_int_equal(before, after);
    assert_int_equal(table->signal(event, UINT64_MAX, NULL), WEFT_OK);
    assert_int_equal(table->query(event), UINT64_MAX);
    assert_true(table->time_ns(event, &after));
    assert_true(after >= before);
    table->release(event);

    event = new_event(f, false);
    assert_int_equal(table->signal(event, 1, NULL), WEFT_OK);
    assert_false(table->time_ns(event, &after));
    table->retain(event);
    table->release(event);
    assert_int_equal(table->query(event), 1);
    table->release(event);
}

static void host_wait_keeps_its_deadline(void **state)
{
    const fixture *f = *state;
    const wefti_event_table *table = &f->backend->event;
    wefti_backend_event *event = new_event(f, false);
    weft_error error;
    assert_int_equal(table->wait(event, 0, 0, &error), WEFT_OK);
    assert_int_equal(table->wait(event, 1, 0, &error), WEFT_TIMEOUT);
    assert_int_equal(table->wait(event, 1, wefti_deadline(0), NULL), WEFT_TIMEOUT);
    int64_t begin = wefti_clock_ns();
    assert_int_equal(table->wait(event, 1, wefti_deadline(20 * MILLISECOND), &error),
                     WEFT_TIMEOUT);
    assert_true(wefti_clock_ns() - begin >= 20 * MILLISECOND);
    assert_non_null(strstr(error.message, "did not reach 1"));
    assert_int_equal(table->signal(event, 1, NULL), WEFT_OK);
    assert_int_equal(table->wait(event, 1, 0, &error), WEFT_OK);
    table->release(event);
}

typedef struct event_waiter {
    const fixture *f;
    wefti_backend_event *event;
    uint64_t value, seen;
    weft_status status;
    wefti_thread thread;
} event_waiter;

static void wait_for_value(void *argument)
{
    event_waiter *w = argument;
    int64_t deadline = wefti_deadline(20ll * SECOND);
    w->status = w->f->backend->event.wait(w->event, w->value, deadline, NULL);
    w->seen = w->f->backend->event.query(w->event);
}

static void many_threads_wait_for_their_values(void **state)
{
    const fixture *f = *state;
    static event_waiter waiters[MAX_THREADS];
    wefti_backend_event *event = new_event(f, false);
    for (uint64_t i = 0; i < MAX_THREADS; i++) {
        waiters[i] = (event_waiter){.f = f, .event = event, .value = 1 + i / 4};
        assert_int_equal(wefti_thread_start(&waiters[i].thread, "waiter",
                                            wait_for_value, &waiters[i], NULL),
                         WEFT_OK);
    }
    for (uint64_t value = 1; value <= MAX_THREADS / 4; value++) {
        assert_int_equal(f->backend->event.signal(event, value, NULL), WEFT_OK);
    }
    for (size_t i = 0; i < MAX_THREADS; i++) {
        wefti_thread_join(&waiters[i].thread);
        assert_int_equal(waiters[i].status, WEFT_OK);
        assert_true(waiters[i].seen >= waiters[i].value);
    }
    f->backend->event.release(event);
}

/* A list of numbers that stream calls append to; the stream's order protects it. */
typedef struct journal {
    size_t count;
    uint32_t entries[4096];
} journal;

typedef struct entry {
    journal *to;
    uint32_t value;
} entry;

static void append(void *user)
{
    const entry *e = user;
    e->to->entries[e->to->count++] = e->value;
}

static void work_runs_in_order(void **state)
{
    const fixture *f = *state;
    const wefti_stream_table *table = &f->backend->stream;
    static journal log;
    static entry entries[1000];
    log.count = 0;
    wefti_backend_stream *stream = new_stream(f);
    wefti_backend_event *gate = new_event(f, false), *passed = new_event(f, true);
    for (uint32_t i = 0; i < 1000; i++) {
        if (i % 50 == 10) {
            assert_int_equal(table->wait(stream, gate, i, NULL), WEFT_OK);
        }
        entries[i] = (entry){.to = &log, .value = i};
        assert_int_equal(table->call(stream, append, &entries[i], NULL), WEFT_OK);
        assert_int_equal(table->record(stream, passed, i + 1, NULL), WEFT_OK);
    }
    assert_int_equal(f->backend->event.query(passed), 10);
    assert_int_equal(table->synchronize(stream, wefti_deadline(MILLISECOND), NULL),
                     WEFT_TIMEOUT);
    for (uint32_t i = 0; i < 1000; i += 50) {
        assert_int_equal(f->backend->event.signal(gate, i + 10, NULL), WEFT_OK);
        int64_t deadline = wefti_deadline(20ll * SECOND);
        assert_int_equal(f->backend->event.wait(passed, i + 50, deadline, NULL),
                         WEFT_OK);
    }
    finish(f, stream);
    assert_int_equal(log.count, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(log.entries[i], i);
    }
    f->backend->event.release(gate);
    f->backend->event.release(passed);
}

static void bytes_move_in_order(void **state)
{
    const fixture *f = *state;
    const wefti_stream_table *table = &f->backend->stream;
    void *blocks[3];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(f->backend->memory.allocate(f->device, 1000, &blocks[i], NULL),
                         WEFT_OK);
        assert_int_equal((uintptr_t)blocks[i] % 64, 0);
    }
    for (int pending = 0; pending < 2; pending++) {
        wefti_backend_stream *stream = new_stream(f);
        wefti_backend_event *gate = new_event(f, false);
        if (pending != 0) {
            assert_int_equal(table->wait(stream, gate, 1, NULL), WEFT_OK);
        }
        assert_int_equal(table->fill(stream, blocks[0], 7, 1000, NULL), WEFT_OK);
        assert_int_equal(table->copy(stream, blocks[1], blocks[0], 1000, NULL),
                         WEFT_OK);
        assert_int_equal(table->fill(stream, blocks[0], 9, 500, NULL), WEFT_OK);
        assert_int_equal(table->fill(stream, blocks[0], 1, 0, NULL), WEFT_OK);
        assert_int_equal(table->copy(stream, blocks[0], blocks[1], 0, NULL), WEFT_OK);
        assert_int_equal(table->copy(stream, blocks[2], blocks[0], 1000, NULL),
                         WEFT_OK);
        assert_int_equal(f->backend->event.signal(gate, 1, NULL), WEFT_OK);
        finish(f, stream);
        f->backend->event.release(gate);
        /* Device memory need not be the host's to read. */
        static uint8_t seen[2][1000];
        stream = new_stream(f);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(table->copy(stream, seen[i], blocks[1 + i], 1000, NULL),
                             WEFT_OK);
            assert_int_equal(table->fill(stream, blocks[1 + i], 0, 1000, NULL),
                             WEFT_OK);
        }
        finish(f, stream);
        for (size_t i = 0; i < 1000; i++) {
            assert_int_equal(seen[0][i], 7);
            assert_int_equal(seen[1][i], i < 500 ? 9 : 7);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        f->backend->memory.free(f->device, blocks[i], 1000);
    }
}

static void streams_wait_for_each_other(void **state)
{
    const fixture *f = *state;
    enum { STREAMS = 32 };
    const wefti_stream_table *table = &f->backend->stream;
    static journal log;
    static entry entries[STREAMS];
    wefti_backend_stream *streams[STREAMS];
    wefti_backend_event *events[STREAMS + 1];
    log.count = 0;
    for (uint32_t i = 0; i <= STREAMS; i++) {
        events[i] = new_event(f, false);
    }
    /* Last first, so that each finds nothing done yet. */
    for (uint32_t i = STREAMS; i-- > 0;) {
        streams[i] = new_stream(f);
        entries[i] = (entry){.to = &log, .value = i};
        assert_int_equal(table->wait(streams[i], events[i], 1, NULL), WEFT_OK);
        assert_int_equal(table->call(streams[i], append, &entries[i], NULL), WEFT_OK);
        assert_int_equal(table->record(streams[i], events[i + 1], 1, NULL), WEFT_OK);
    }
    assert_int_equal(f->backend->event.signal(events[0], 1, NULL), WEFT_OK);
    assert_int_equal(
        f->backend->event.wait(events[STREAMS], 1, wefti_deadline(20ll * SECOND), NULL),
        WEFT_OK);
    assert_int_equal(log.count, STREAMS);
    for (uint32_t i = 0; i < STREAMS; i++) {
        assert_int_equal(log.entries[i], i);
        finish(f, streams[i]);
    }
    for (uint32_t i = 0; i <= STREAMS; i++) {
        f->backend->event.release(events[i]);
    }
}

static void count_one(void *user)
{
    (void)wefti_atomic_u32_add_acq_rel(user, 1);
}

/* As at the end of a device: nobody signals any more. */
static void a_held_stream_is_given_up(void **state)
{
    const fixture *f = *state;
    const wefti_stream_table *table = &f->backend->stream;
    if (!table->settle) {
        return;
    }
    wefti_atomic_u32 calls;
    wefti_atomic_u32_init(&calls, 0);
    char byte = 'a';
    uint64_t ended = 0, ended_later = 0;
    weft_error error;
    wefti_backend_stream *stream = new_stream(f);
    wefti_backend_event *never = new_event(f, false), *behind = new_event(f, false);
    table->abandon(stream); /* nothing holds it */
    assert_false(table->settle(stream, &ended));
    assert_int_equal(table->wait(stream, never, 1, NULL), WEFT_OK);
    assert_int_equal(table->fill(stream, &byte, 'b', 1, NULL), WEFT_OK);
    assert_int_equal(table->call(stream, count_one, &calls, NULL), WEFT_OK);
    assert_int_equal(table->wait(stream, never, 2, NULL), WEFT_OK);
    assert_int_equal(table->record(stream, behind, 1, NULL), WEFT_OK);
    assert_true(table->settle(stream, &ended));
    table->abandon(stream);
    assert_false(table->settle(stream, &ended_later));
    assert_true(ended_later > ended);
    assert_int_equal(byte, 'a');
    assert_int_equal(wefti_atomic_u32_load_acquire(&calls), 1);
    int64_t deadline = wefti_deadline(20ll * SECOND);
    assert_int_equal(f->backend->event.wait(behind, 1, deadline, &error),
                     WEFT_CANCELLED);
    assert_non_null(strstr(error.message, "nobody could raise"));
    assert_int_equal(table->synchronize(stream, deadline, NULL), WEFT_CANCELLED);
    f->backend->event.release(never);
    f->backend->event.release(behind);
    table->destroy(stream);
}

/* The event's last reference is the stream's. */
static void a_stream_owns_what_it_waits_for(void **state)
{
    const fixture *f = *state;
    wefti_backend_stream *first = new_stream(f), *second = new_stream(f);
    wefti_backend_event *gate = new_event(f, false), *link = new_event(f, false);
    assert_int_equal(f->backend->stream.wait(first, gate, 1, NULL), WEFT_OK);
    assert_int_equal(f->backend->stream.record(first, link, 1, NULL), WEFT_OK);
    assert_int_equal(f->backend->stream.wait(second, link, 1, NULL), WEFT_OK);
    f->backend->event.release(link);
    assert_int_equal(f->backend->event.signal(gate, 1, NULL), WEFT_OK);
    f->backend->event.release(gate);
    finish(f, second);
    finish(f, first);
}

typedef struct synchronizer {
    const fixture *f;
    wefti_backend_stream *stream;
    const wefti_atomic_u32 *submitted, *done;
    wefti_atomic_u32 *stop;
    uint32_t rounds, wrong;
    wefti_thread thread;
} synchronizer;

static void synchronize_again_and_again(void *argument)
{
    synchronizer *s = argument;
    while (wefti_atomic_u32_load_acquire(s->stop) == 0) {
        uint32_t submitted = wefti_atomic_u32_load_acquire(s->submitted);
        weft_status status = s->f->backend->stream.synchronize(
            s->stream, wefti_deadline(20ll * SECOND), NULL);
        uint32_t done = wefti_atomic_u32_load_acquire(s->done);
        s->wrong += status != WEFT_OK || done < submitted;
        s->rounds++;
    }
}

static void any_thread_synchronizes(void **state)
{
    const fixture *f = *state;
    enum { THREADS = 8, ROUNDS = 300 };
    const wefti_stream_table *table = &f->backend->stream;
    static synchronizer synchronizers[THREADS];
    wefti_atomic_u32 submitted, done, stop;
    wefti_atomic_u32_init(&submitted, 0);
    wefti_atomic_u32_init(&done, 0);
    wefti_atomic_u32_init(&stop, 0);
    wefti_backend_stream *stream = new_stream(f);
    wefti_backend_event *gate = new_event(f, false);
    for (size_t i = 0; i < THREADS; i++) {
        synchronizers[i] = (synchronizer){.f = f,
                                          .stream = stream,
                                          .submitted = &submitted,
                                          .done = &done,
                                          .stop = &stop};
        assert_int_equal(wefti_thread_start(&synchronizers[i].thread, "synchronizer",
                                            synchronize_again_and_again,
                                            &synchronizers[i], NULL),
                         WEFT_OK);
    }
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        assert_int_equal(table->wait(stream, gate, i, NULL), WEFT_OK);
        assert_int_equal(table->call(stream, count_one, &done, NULL), WEFT_OK);
        wefti_atomic_u32_store_release(&submitted, i);
        assert_int_equal(f->backend->event.signal(gate, i, NULL), WEFT_OK);
    }
    assert_int_equal(table->synchronize(stream, WEFTI_NEVER, NULL), WEFT_OK);
    wefti_atomic_u32_store_release(&stop, 1);
    for (size_t i = 0; i < THREADS; i++) {
        wefti_thread_join(&synchronizers[i].thread);
        assert_int_equal(synchronizers[i].wrong, 0);
    }
    assert_int_equal(wefti_atomic_u32_load_acquire(&done), ROUNDS);
    finish(f, stream);
    f->backend->event.release(gate);
}

/* Many threads, a stream each, waiting for and raising each other's events. Thread t
 * in round r waits for round r - 1 of a random thread, so that there is no cycle. */
typedef struct player {
    const fixture *f;
    wefti_backend_event **events;
    uint32_t index, count, rounds;
    wefti_atomic_u32 *reached; /* rounds done by each player's stream */
    uint32_t wrong, submit_failures;
    wefti_thread thread;
} player;

typedef struct turn {
    player *of;
    uint32_t round, partner;
} turn;

static void take_turn(void *user)
{
    const turn *t = user;
    player *p = t->of;
    /* Relaxed is too weak to order anything; the event's raise and wait must do it. */
    uint32_t partner = wefti_atomic_u32_load_relaxed(&p->reached[t->partner]);
    uint32_t own = wefti_atomic_u32_load_relaxed(&p->reached[p->index]);
    p->wrong += partner + 1 < t->round || own + 1 != t->round;
    wefti_atomic_u32_store_relaxed(&p->reached[p->index], t->round);
}

static void play(void *argument)
{
    player *p = argument;
    const wefti_stream_table *table = &p->f->backend->stream;
    wefti_backend_stream *stream = NULL;
    turn *turns = wefti_calloc(p->rounds, sizeof(*turns));
    p->submit_failures += table->create(p->f->device, &stream, NULL) != WEFT_OK;
    uint32_t random = p->index * 2654435761u + 1;
    for (uint32_t round = 1; round <= p->rounds; round++) {
        random = random * 1664525u + 1013904223u;
        turn *t = &turns[round - 1];
        *t = (turn){.of = p, .round = round, .partner = (random >> 8) % p->count};
        wefti_backend_event *partner = p->events[t->partner];
        p->submit_failures += table->wait(stream, partner, round - 1, NULL) != WEFT_OK;
        p->submit_failures += table->call(stream, take_turn, t, NULL) != WEFT_OK;
        p->submit_failures +=
            table->record(stream, p->events[p->index], round, NULL) != WEFT_OK;
        if ((random >> 20) % 16 == 0) {
            p->submit_failures += table->synchronize(stream, WEFTI_NEVER, NULL) != 0;
        }
    }
    p->submit_failures += table->synchronize(stream, WEFTI_NEVER, NULL) != WEFT_OK;
    table->destroy(stream);
    wefti_free(turns);
}

static void sixty_four_threads_with_streams(void **state)
{
    const fixture *f = *state;
    static player players[MAX_THREADS];
    static wefti_atomic_u32 reached[MAX_THREADS];
    wefti_backend_event *events[MAX_THREADS];
    for (uint32_t i = 0; i < MAX_THREADS; i++) {
        events[i] = new_event(f, i % 2 == 0);
        wefti_atomic_u32_init(&reached[i], 0);
    }
    for (uint32_t i = 0; i < MAX_THREADS; i++) {
        players[i] = (player){.f = f,
                              .events = events,
                              .index = i,
                              .count = MAX_THREADS,
                              .rounds = 100,
                              .reached = reached};
        assert_int_equal(
            wefti_thread_start(&players[i].thread, "player", play, &players[i], NULL),
            WEFT_OK);
    }
    for (uint32_t i = 0; i < MAX_THREADS; i++) {
        wefti_thread_join(&players[i].thread);
        assert_int_equal(players[i].wrong, 0);
        assert_int_equal(players[i].submit_failures, 0);
    }
    for (uint32_t i = 0; i < MAX_THREADS; i++) {
        assert_int_equal(f->backend->event.query(events[i]), 100);
        f->backend->event.release(events[i]);
    }
}

typedef struct counted_task {
    wefti_task task;
    wefti_atomic_u32 runs;
    wefti_atomic_u32 *total;
} counted_task;

static void run_counted(wefti_task *task)
{
    counted_task *c = WEFTI_CONTAINER_OF(task, counted_task, task);
    (void)wefti_atomic_u32_add_acq_rel(&c->runs, 1);
    (void)wefti_atomic_u32_add_acq_rel(c->total, 1);
}

typedef struct poster {
    const fixture *f;
    counted_task *tasks;
    size_t count, failures;
    wefti_thread thread;
} poster;

static void post_all(void *argument)
{
    poster *p = argument;
    for (size_t i = 0; i < p->count; i++) {
        p->failures += p->f->backend->device.post(p->f->device, &p->tasks[i].task,
                                                  NULL) != WEFT_OK;
    }
}

/* Closing runs what was posted. */
static void every_task_runs_once(void **state)
{
    (void)state;
    enum { POSTERS = 16, EACH = 500 };
    static counted_task tasks[POSTERS * EACH];
    static poster posters[POSTERS];
    wefti_atomic_u32 total;
    wefti_atomic_u32_init(&total, 0);
    fixture own;
    assert_int_equal(open_named(current_name, 3, &own, NULL), WEFT_OK);
    for (size_t i = 0; i < POSTERS * EACH; i++) {
        tasks[i].task.run = run_counted;
        tasks[i].total = &total;
        wefti_atomic_u32_init(&tasks[i].runs, 0);
    }
    for (size_t i = 0; i < POSTERS; i++) {
        posters[i] = (poster){.f = &own, .tasks = &tasks[i * EACH], .count = EACH};
        assert_int_equal(wefti_thread_start(&posters[i].thread, "poster", post_all,
                                            &posters[i], NULL),
                         WEFT_OK);
    }
    for (size_t i = 0; i < POSTERS; i++) {
        wefti_thread_join(&posters[i].thread);
        assert_int_equal(posters[i].failures, 0);
    }
    own.backend->device.close(own.device);
    assert_int_equal(wefti_atomic_u32_load_acquire(&total), POSTERS * EACH);
    for (size_t i = 0; i < POSTERS * EACH; i++) {
        assert_int_equal(wefti_atomic_u32_load_acquire(&tasks[i].runs), 1);
    }
}

static void without_workers(void **state)
{
    (void)state;
    fixture own;
    weft_error error;
    counted_task task = {.task.run = run_counted};
    assert_int_equal(open_named(current_name, 0, &own, NULL), WEFT_OK);
    weft_device_info info = {0};
    own.backend->device.get_info(own.device, &info);
    assert_int_equal(info.worker_count, 0);
    assert_true(info.core_count >= 1);
    assert_non_null(info.description);
    assert_non_null(info.isa);
    assert_non_null(info.kind);
    assert_int_equal(own.backend->device.health(own.device, &error), WEFT_OK);
    assert_int_equal(own.backend->device.post(own.device, &task.task, &error),
                     WEFT_UNAVAILABLE);
    wefti_backend_stream *stream = new_stream(&own);
    wefti_backend_event *event = new_event(&own, false);
    assert_int_equal(own.backend->stream.record(stream, event, 1, NULL), WEFT_OK);
    assert_int_equal(own.backend->stream.wait(stream, event, 1, NULL), WEFT_OK);
    finish(&own, stream);
    own.backend->event.release(event);
    own.backend->device.close(own.device);
}

static void the_steady_state_allocates_nothing(void **state)
{
    const fixture *f = *state;
    const wefti_stream_table *table = &f->backend->stream;
    wefti_recipe *recipe = NULL;
    const wefti_recipe_params params = {.workspace_bytes = 640};
    assert_int_equal(f->backend->recipe.create(f->device, &params, &recipe, NULL),
                     WEFT_OK);
    assert_true(f->backend->recipe.workspace_bytes(recipe) >= 640);
    wefti_backend_stream *stream = new_stream(f);
    wefti_backend_event *event = new_event(f, false), *gate = new_event(f, false);
    void *slots[2] = {NULL, NULL};
    uint64_t before = 0;
    for (uint64_t i = 1; i <= 1000; i++) {
        if (i == 100) {
            before = wefti_allocation_count();
        }
        if (i % 10 == 0) {
            assert_int_equal(table->wait(stream, gate, i, NULL), WEFT_OK);
        }
        assert_int_equal(table->execute(stream, recipe, slots, 2, NULL), WEFT_OK);
        assert_int_equal(table->record(stream, event, i, NULL), WEFT_OK);
        if (i % 10 == 0) {
            assert_int_equal(f->backend->event.signal(gate, i, NULL), WEFT_OK);
        }
        assert_int_equal(table->synchronize(stream, WEFTI_NEVER, NULL), WEFT_OK);
        assert_int_equal(f->backend->event.query(event), i);
    }
    assert_int_equal(wefti_allocation_count(), before);
    finish(f, stream);
    f->backend->event.release(event);
    f->backend->event.release(gate);
    f->backend->recipe.destroy(recipe);
}

static void destroyers_take_null(void **state)
{
    const fixture *f = *state;
    f->backend->device.close(NULL);
    f->backend->stream.destroy(NULL);
    f->backend->event.release(NULL);
    f->backend->recipe.destroy(NULL);
    f->backend->memory.free(f->device, NULL, 0);
}

/* Everything once; the first failure ends it, cleanly. */
static weft_status use_everything(weft_error *error)
{
    fixture f = {0};
    wefti_backend_stream *stream = NULL;
    wefti_backend_event *event = NULL, *gate = NULL;
    wefti_recipe *recipe = NULL;
    void *block = NULL, *slots[1] = {NULL};
    const wefti_recipe_params no_steps = {0};
    weft_status status = open_named(current_name, 2, &f, error);
    if (status != WEFT_OK) {
        return status;
    }
    const wefti_backend *b = f.backend;
    status = b->event.create(f.device, true, &event, error);
    status = status ? status : b->event.create(f.device, false, &gate, error);
    status = status ? status : b->stream.create(f.device, &stream, error);
    status = status ? status : b->memory.allocate(f.device, 100, &block, error);
    status = status ? status : b->recipe.create(f.device, &no_steps, &recipe, error);
    for (uint64_t i = 1; i < 3 && status == WEFT_OK; i++) {
        status = b->stream.wait(stream, gate, i, error);
        status = status ? status : b->stream.fill(stream, block, 1, 50, error);
        status = status ? status
                        : b->stream.copy(stream, (char *)block + 50, block, 50, error);
        status = status ? status : b->stream.execute(stream, recipe, slots, 1, error);
        status = status ? status : b->stream.record(stream, event, i, error);
        assert_int_equal(b->event.signal(gate, i, NULL), WEFT_OK);
    }
    if (stream != NULL) {
        assert_int_equal(b->stream.synchronize(stream, WEFTI_NEVER, NULL), WEFT_OK);
    }
    b->recipe.destroy(recipe);
    b->memory.free(f.device, block, 100);
    b->stream.destroy(stream);
    b->event.release(event);
    b->event.release(gate);
    b->device.close(f.device);
    return status;
}

static void every_failure_is_an_answer(void **state)
{
    (void)state;
    uint32_t all = (1u << WEFTI_FAULT_SITE_COUNT) - 1;
    weft_status status = WEFT_INTERNAL;
    uint64_t n = 0;
    for (bool hit = true; hit;) {
        weft_error error = {0};
        (void)wefti_fault_arm(++n, all);
        status = use_everything(&error);
        hit = wefti_fault_arm(0, 0) >= n;
        if (hit && status != WEFT_OK) {
            assert_true(error.message[0] != '\0');
            assert_int_equal(error.status, status);
        }
        assert_true(n < 1000);
    }
    assert_int_equal(status, WEFT_OK);
    assert_true(n > 10);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event_values_only_grow),
        cmocka_unit_test(host_wait_keeps_its_deadline),
        cmocka_unit_test(many_threads_wait_for_their_values),
        cmocka_unit_test(work_runs_in_order),
        cmocka_unit_test(bytes_move_in_order),
        cmocka_unit_test(streams_wait_for_each_other),
        cmocka_unit_test(a_stream_owns_what_it_waits_for),
        cmocka_unit_test(a_held_stream_is_given_up),
        cmocka_unit_test(any_thread_synchronizes),
        cmocka_unit_test(sixty_four_threads_with_streams),
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(without_workers),
        cmocka_unit_test(the_steady_state_allocates_nothing),
        cmocka_unit_test(destroyers_take_null),
        cmocka_unit_test(every_failure_is_an_answer),
    };
    int failed = 0;
    for (size_t i = 0; (current_name = weft_backend_name(i)) != NULL; i++) {
        bool wanted = argc < 2 || strcmp(argv[1], current_name) == 0;
        if (wanted && is_there(current_name)) {
            failed +=
                cmocka_run_group_tests_name(current_name, tests, set_up, tear_down);
        }
    }
    return failed;
}

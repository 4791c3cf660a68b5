/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_QUEUE_QUEUE_H
#define WEFTI_QUEUE_QUEUE_H

#include <weft/queue.h>

#include "base/thread.h"
#include "graph/plan.h"
#include "queue/class.h"
#include "queue/linger.h"
#include "runtime/device.h"
#include "runtime/results.h"
#include "runtime/timer.h"

/* The way of a request:
 *
 *     submit    finds its shape class and puts it into the queue       (submit.c,
 *               or, where nobody has to be told, leaves it at the       waiting.c,
 *               core's post box, for the next who takes the lock         post.c)
 *     choose    a free worker picks a class and takes a batch of it;    (choose.c)
 *               or who waits for the request takes a batch with it       (lead.c)
 *     load      its inputs are copied into their rows of the batch, or  (batch.c)
 *               tables say where they lie, if the batch is short
 *     run       one run of the model for the whole batch
 *     store     the answer's rows are copied into its outputs, or are there
 *     end       counted, then announced: waiters, descriptor, callback  (end.c)
 *
 * Its state (request.h) says who may end it. From `pending` it is taken by one
 * compare-and-swap: a worker that loads it, who cancels it, the timer, or drain. While
 * it is `running` its caller's tensors are not in use, so that cancelling frees the
 * caller at once: whoever moves it out of `running` ends it. A short batch on its
 * callers' tensors runs while it is `loading`, and who cancels waits that long. Who
 * runs it does not own it: the queue's ownership lasts until it has ended, and who
 * cancels it meanwhile takes another one for who runs it, who drops that on finding out
 * (end.c). */

typedef struct wefti_queue_pool wefti_queue_pool;
typedef struct wefti_queue_recent wefti_queue_recent;

/* A place in a list of requests. */
typedef struct wefti_queue_link {
    wefti_queue_request *previous, *next;
} wefti_queue_link;

typedef struct wefti_queue_list {
    wefti_queue_request *first, *last;
} wefti_queue_list;

struct wefti_queue_request {
    weft_request base;

    /* immutable after submit */
    weft_queue *queue;      /* its memory is kept by `holds` */
    wefti_queue_pool *pool; /* where it came from */
    wefti_queue_model *model;
    wefti_queue_class *class;
    int32_t rows;
    bool may_join;    /* its own number of rows was shown to be independent too */
    bool by_deadline; /* it has to start early enough for its deadline */
    bool leadable;    /* short, and nobody is told: who waits for it may run it */
    uint32_t level;   /* priority - 1 */
    uint64_t sequence;
    int64_t submitted_ns;
    int64_t deadline_ns; /* of the answer */
    uint64_t submitter;  /* wefti_thread_number */
    weft_io io;
    weft_tensor *tensors; /* what `io` points to; shapes and sizes are complete */
    /* Where the outputs stand whose shapes only the run can tell; NULL: in tensors. */
    wefti_results *results;
    size_t tensor_capacity;

    /* one thread at a time: who ends it */
    weft_status outcome;
    wefti_queue_request *next_ended; /* in a chain of ended ones */
    int64_t first_row;               /* in the batch that runs it */

    /* guarded by queue->lock */
    bool foreign;               /* counted in the class's foreign_count */
    bool promised;              /* no worker was woken: its caller will soon wait */
    bool listed;                /* in by_class and by_age */
    wefti_sorted_node by_class; /* by deadline and age, in its class and level */
    wefti_queue_link by_age;    /* of the queue */
    wefti_queue_link by_order;  /* of the model, where order is preserved */
    bool ready;                 /* ended, but not announced yet (preserve_order) */
    double expected_ns;         /* to run it, when it was submitted; 0: not known */
    wefti_queue_request *next_report; /* in the list of weft_queue_take_ended; of free
                                         and of posted ones, guarded by pool->lock */

    /* guarded by pool->lock */
    const wefti_queue_recent *recent; /* of the pool, that `tensors` is like; or NULL */
    uint64_t recent_number;           /* its number then */
};

/* A model that the queue serves. */
struct wefti_queue_model {
    /* immutable after create */
    weft_queue *queue;
    weft_model *model; /* owned */
    double weight;
    int32_t *input_axes; /* NULL: no batch dimension, for the reason why_not */
    weft_error why_not;

    /* guarded by queue->lock */
    wefti_queue_model *next;
    wefti_queue_class *classes;
    size_t class_count;
    size_t live_count; /* requests that were accepted and have not left */
    size_t users;      /* threads in submit, and places in pools, that hold on to it */
    bool removed;
    double virtual_ns; /* device time had, divided by the weight */
    size_t waiting_count;
    wefti_queue_list ordered; /* by submission, not announced (preserve_order) */
    bool announcing;          /* a thread is at work on `ordered` */
};

/* A thread that runs callbacks, where a release of the last owner may happen. */
typedef struct wefti_queue_announcer {
    wefti_thread thread;
    bool tears_down;
    struct wefti_queue_announcer *next;
} wefti_queue_announcer;

/* What a thread needs to run batches; used by one thread at a time. */
typedef struct wefti_queue_scratch {
    weft_queue *queue;
    void *staging, *retry_staging;
    void *tables; /* of the rows that a batch leaves with its callers */
    size_t staging_bytes, retry_staging_bytes, tables_bytes;
    struct wefti_queue_scratch *next; /* of those that are free, guarded by lock */
    bool on_stack; /* a leader's for its own request alone, without staging memory */
    wefti_queue_request *requests[]; /* max_batch_size places, or one */
} wefti_queue_scratch;

typedef struct wefti_queue_worker {
    weft_queue *queue;
    wefti_thread thread;
    bool started;
    /* one thread at a time: the worker */
    wefti_queue_scratch *scratch;
    bool keeps_core, has_no_core; /* there are more cores than workers */
    wefti_core_set cores;         /* where it may run; while it keeps one */
} wefti_queue_worker;

/* Request objects of some of the cores, so that mostly no two threads meet there. */
enum {
    WEFTI_QUEUE_POOLS = 8,
    WEFTI_QUEUE_RECENT_SETS = 8, /* a model's are in one of them */
    WEFTI_QUEUE_RECENTS = 16,    /* of a set */
    /* A call of more tensors is not compared and copied under a pool's lock. */
    WEFTI_QUEUE_FEW_TENSORS = 16,
};

/* What a thread of the pool's cores submitted of late. Has a hold on model and class
 * (users, live_count). */
struct wefti_queue_recent {
    wefti_queue_model *model; /* NULL: nothing */
    wefti_queue_class *class;
    uint64_t number; /* of the pool's calls; 0: nothing */
    int32_t rows;
    bool may_join; /* so many rows */
};

struct wefti_queue_pool {
    WEFTI_CACHE_ALIGNED wefti_mutex lock; /* WEFTI_RANK_POOL */
    /* guarded by lock */
    wefti_queue_request *free_requests;
    size_t free_count;
    size_t in_use; /* while it is not 0, the pool has a hold on the queue's memory */
    wefti_queue_request *first_post, *last_post; /* in the post box */
    uint32_t post_count;
    /* changed under queue->lock too */
    wefti_queue_recent recents[WEFTI_QUEUE_RECENT_SETS][WEFTI_QUEUE_RECENTS];
    uint32_t next_recent[WEFTI_QUEUE_RECENT_SETS];
    uint64_t last_number; /* of a call that was remembered */
};

/* How many threads submit, of the last so many requests. */
enum { WEFTI_CENSUS_PERIOD = 64, WEFTI_CENSUS_BITS = 6 };

typedef struct wefti_queue_census {
    uint32_t
        seen[1 << WEFTI_CENSUS_BITS]; /* the period in which the thread came last */
    uint32_t period, counted;
    uint32_t threads; /* of the period before */
    uint32_t now;     /* the most of both periods */
} wefti_queue_census;

/* Who looks into the post boxes without being woken. */
typedef enum wefti_queue_attendance {
    WEFTI_QUEUE_ALONE,   /* nobody, or there is no room for posts */
    WEFTI_QUEUE_WATCHED, /* a worker, within WEFTI_QUEUE_PROMISE_NS */
    WEFTI_QUEUE_AWAKE,   /* every worker, as soon as it has nothing else to do */
} wefti_queue_attendance;

struct weft_queue {
    wefti_device_source source; /* so that draining the device cancels what waits */

    /* immutable after create */
    weft_device *device;      /* owned until teardown */
    weft_queue_params params; /* defaults put in */
    int fd;                   /* -1: none */
    wefti_queue_worker *workers;

    /* atomic: any thread -> any thread. Not beside what all threads read: where
     * requests come one at a time, `holds` changes with each of them. */
    WEFTI_CACHE_ALIGNED wefti_refcount owners; /* callers */
    wefti_refcount holds;     /* on the memory: owners together, pools in use */
    wefti_patience callers;   /* those who wait for a request */
    wefti_patience idlers;    /* workers without work */
    wefti_patience gatherers; /* workers for which little waits */
    wefti_patience promises;  /* who submits soon waits, and runs it itself */
    /* atomic: written under the lock -> who posts; wefti_queue_attendance (post.c). Who
     * posts reads it several times while others fight for the lock, which therefore has
     * another cache line. */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 attended;
    wefti_atomic_u32 spares_cores; /* fewer threads submit than there are workers */

    /* guarded by lock */
    WEFTI_CACHE_ALIGNED wefti_mutex lock; /* WEFTI_RANK_QUEUE */
    /* atomic: who ends a batch, under the lock -> anybody; how long one takes, a hint
     */
    wefti_atomic_u64 usual_ns;
    wefti_condition work; /* wakes a worker: a request, close; the worker a delay */
    wefti_condition room; /* wakes who is blocked: room, close */
    wefti_condition idle; /* wakes drain: everything has left */
    bool closed, stopping;
    int32_t sleeping;          /* workers */
    int32_t woken;             /* of them, those that a wake-up is under way for */
    int32_t blocked;           /* submitters without room */
    int32_t running;           /* batches */
    int32_t coming;            /* threads that will soon run a batch or wake who does */
    bool watching;             /* a worker wakes up by itself, soon */
    size_t promised_count;     /* waiting requests */
    uint64_t watched_sequence; /* when the watch looked last */
    wefti_queue_census census;
    uint64_t next_sequence;
    uint64_t chosen_count;
    double virtual_ns;
    double least_virtual_ns; /* no model of which a request waits has had less */
    wefti_queue_model *models;
    wefti_queue_list by_age;
    size_t level_count[WEFTI_QUEUE_LEVELS]; /* waiting requests */
    size_t waiting_count;
    size_t held_count; /* ended, but it is not their turn yet (preserve_order) */
    size_t live_count; /* accepted and not left */
    double crowd;      /* of late the most of them, a hint */
    wefti_queue_scratch *free_scratch;
    int32_t scratch_count; /* of leaders, free or not */
    wefti_timer timer;
    wefti_queue_announcer *announcers;
    weft_queue_statistics statistics;

    /* guarded by report_lock */
    wefti_mutex report_lock; /* WEFTI_RANK_POOL */
    wefti_queue_request *ended_first, *ended_last;

    /* atomic: who posts -> who takes the lock; pools with posts, a bit each */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 posts;

    wefti_queue_pool pools[WEFTI_QUEUE_POOLS];
};

/* ---- queue.c ---- */

/* Drops a hold on the memory of the queue. */
void wefti_queue_drop_hold(weft_queue *queue);

/* Ends the queue; called by who dropped the last owner, once it is inside no callback
 * of the queue. */
void wefti_queue_teardown(weft_queue *queue);

/* Whether max_queue_size requests wait, to be served or to be announced in order. */
bool wefti_queue_is_full_locked(const weft_queue *queue);

/* Wakes who ends the queue, when nobody is at work in it. */
void wefti_queue_wake_idle_locked(weft_queue *queue);

/* Wakes submitters that wait for room, when there is some. */
void wefti_queue_wake_blocked_locked(weft_queue *queue);

/* Whether the calling thread is in a callback of the queue. */
bool wefti_queue_is_inside_locked(const weft_queue *queue);

/* ---- model.c ---- */

/* The entry of a model that the queue serves, or NULL. */
wefti_queue_model *wefti_queue_find_model_locked(const weft_queue *queue,
                                                 const weft_model *model);

/* Takes a model out of the queue if it was removed and nobody uses it any more; then it
 * is the caller's to destroy, without lock. Else NULL. */
wefti_queue_model *wefti_queue_unlink_unused_locked(wefti_queue_model *model);
void wefti_queue_model_destroy(wefti_queue_model *model);

/* ---- choose.c ---- */

/* What a worker has taken: requests in state `loading`, all of one class. */
typedef struct wefti_queue_batch {
    wefti_queue_class *class;
    wefti_queue_request **requests;
    int32_t count, rows;
    double expected_ns;
    int64_t chosen_ns;
    const wefti_queue_pool *own_pool; /* where the worker takes from first, or NULL */
    bool leads;                       /* taken by who waits for its first request */
    bool tries;                       /* whether joining pays */
    bool ran;                         /* not all of them were cancelled before */
    wefti_queue_form *form;       /* it ran as one of these; NULL: it is a lone one */
    int32_t padded_rows;          /* computed for nobody */
    bool was_split;               /* it failed, and its requests ran again one by one */
    wefti_queue_request *expired; /* chain of those whose time is over, `ending` */
    int64_t wake_ns;              /* nothing yet: look again then */
    bool crowded;                 /* when it was taken */
} wefti_queue_batch;

/* Takes the next batch; count 0: there is none, or not yet. */
void wefti_queue_choose_locked(weft_queue *queue, wefti_queue_batch *batch);

/* Takes a request that waits and, where joining pays, those of its class that fit and
 * tell nobody of their end, whatever else waits. It may have come too late, or be taken
 * by who cancels it: then the count can be 0. */
void wefti_queue_choose_with_locked(wefti_queue_request *request,
                                    wefti_queue_batch *batch);

/* Whether that takes no other request, as long as the lock is held. */
bool wefti_queue_goes_alone_locked(const wefti_queue_request *request);

/* What waiting for more requests of the class may spare each of them. */
double wefti_queue_joining_gain_ns(const wefti_queue_class *class);

/* Whether fair shares and priorities let the request go before all that waits. */
bool wefti_queue_may_overtake_locked(const wefti_queue_request *request);

/* For it: called when a request of the model begins to wait, or the model's virtual
 * time goes back. */
void wefti_queue_note_virtual_locked(const wefti_queue_model *model);

/* Learns from a batch that took so long. */
void wefti_queue_account_locked(weft_queue *queue, const wefti_queue_batch *batch,
                                int64_t took_ns);

/* Puts requests of a batch back that were not loaded, from `first` on; cancelled ones
 * are left to who cancelled them. With a reason, the class joins no more. */
void wefti_queue_give_back(weft_queue *queue, wefti_queue_batch *batch, int32_t first,
                           const weft_error *why);

/* Time that a batch of so many rows of the class is expected to take; 0: not known. */
double wefti_queue_expected_ns(const wefti_queue_class *class, int32_t rows);

/* ---- waiting.c ---- */

/* Puts a request into the lists of those that wait, or takes it out; both do nothing
 * when it already is so. */
void wefti_queue_enlist_locked(wefti_queue_request *request);
void wefti_queue_delist_locked(wefti_queue_request *request);

/* The sooner deadlines first, then the older requests; NULL: no more. */
wefti_queue_request *wefti_queue_first_by_class(const wefti_queue_class *class,
                                                uint32_t level);
wefti_queue_request *wefti_queue_next_by_class(const wefti_queue_request *request);

/* Lists in the order of coming; which link of a request is used says its offset. */
#define WEFTI_QUEUE_BY_AGE offsetof(wefti_queue_request, by_age)
#define WEFTI_QUEUE_BY_ORDER offsetof(wefti_queue_request, by_order)
void wefti_queue_append(wefti_queue_list *list, wefti_queue_request *request,
                        size_t offset);
void wefti_queue_take_out(wefti_queue_list *list, wefti_queue_request *request,
                          size_t offset);

/* ---- batch.c ---- */

/* Runs a batch: loads, runs and stores, and sets every request's outcome. Those that
 * were cancelled meanwhile are left out, and what turns out not to fit together goes
 * back into the queue but for the first. Returns the chain of those to be ended by the
 * caller, through next_ended. */
wefti_queue_request *wefti_queue_run_batch(wefti_queue_scratch *scratch,
                                           wefti_queue_batch *batch);

/* ---- pool.c ---- */

/* The pool of the core that the calling thread is on. */
wefti_queue_pool *wefti_queue_pool_here(weft_queue *queue);

/* A request object, taken from those that came back or new, with room for the call's
 * tensors; it has two owners, the caller and the queue, and a hold on the queue. */
weft_status wefti_queue_request_create(weft_queue *queue, const weft_io *io,
                                       wefti_queue_request **request,
                                       weft_error *error);

/* Makes a free object of a queue's pool a new request, with two owners. */
void wefti_queue_request_renew(wefti_queue_request *request);

/* Counts one more in use, and takes one that came back; NULL: there is none. */
wefti_queue_request *wefti_queue_take_free_locked(weft_queue *queue,
                                                  wefti_queue_pool *pool);

/* Makes and frees the pools, and what came back to them. Nobody else uses the queue. */
weft_status wefti_queue_pools_init(weft_queue *queue, weft_error *error);
void wefti_queue_pools_fini(weft_queue *queue);

/* ---- post.c ---- */

/* Takes the queue's lock, and in what was posted. For who chooses, counts, cancels or
 * waits for the end of things: what was posted before is in the queue then. */
void wefti_queue_lock(weft_queue *queue) WEFTI_ACQUIRES(queue->lock);

/* The same for who got the lock otherwise, such as at the end of a wait. */
void wefti_queue_take_posts_locked(weft_queue *queue);

/* Says whether posts are looked for; called when that may have changed. Where they are
 * not any more, takes in what was posted before that could be seen. */
void wefti_queue_attend_locked(weft_queue *queue);

/* For close: from here on nothing can be posted; what was is taken in. */
void wefti_queue_close_posts_locked(weft_queue *queue);

/* Remembers a call that was just accepted. */
void wefti_queue_remember_locked(const wefti_queue_request *request);
/* Forgets the calls of a model; what was posted for it is taken in. */
void wefti_queue_forget_locked(wefti_queue_model *model);

/* What a call that may be posted has beside its tensors. */
typedef struct wefti_queue_terms {
    uint32_t level, shard;
    int64_t submitted_ns;
} wefti_queue_terms;

/* For a call of few tensors (WEFTI_QUEUE_FEW_TENSORS) of a model that is not in stages.
 * Finds the class of a call like a recent one of its core, takes a free request object
 * for it, fills that and posts it, all under the pool's lock once, if nobody has to be
 * woken for it: its caller soon waits for it; or, in a crowd, where it is not leadable
 * any more, all workers are awake. Returns the request, which may have ended already.
 * NULL: nothing was done. */
wefti_queue_request *wefti_queue_post(weft_queue *queue, const weft_model *model,
                                      const weft_io *io,
                                      const wefti_queue_terms *terms);

/* ---- submit.c ---- */

/* Counts an accepted request, which holds on to its model and class from here on. */
void wefti_queue_count_locked(wefti_queue_request *request);

/* ---- end.c ---- */

/* Ends a chain of requests that the calling thread has claimed, each with its
 * `outcome`: counts them, announces them, and lets them leave. True: the calling
 * thread now has to call wefti_queue_teardown. The queue may be gone otherwise. */
bool wefti_queue_end(weft_queue *queue, wefti_queue_request *chain);

/* The same for what a leader ran, in one section with its account: such requests have
 * no callback, no deadline and keep no order, so nobody is called. The calling thread
 * owns a request of the queue, which keeps the queue's memory; it hands the chain to
 * wefti_queue_wake_led and wefti_queue_drop_ended without the lock. */
void wefti_queue_end_led_locked(weft_queue *queue, wefti_queue_request *chain);

/* Wakes who sleeps for what a leader ran: without the lock, which others want while
 * threads are woken. */
void wefti_queue_wake_led(wefti_queue_request *chain);

/* Drops the queue's ownership of requests that have left it. */
void wefti_queue_drop_ended(wefti_queue_request *chain);

/* Cancels what waits; the caller keeps the queue alive. Returns as wefti_queue_end. */
bool wefti_queue_cancel_waiting(weft_queue *queue);

/* For who runs a request: it leaves `loading`, or goes from `running` to `storing`.
 * False: it was cancelled meanwhile. Who did so ends it, and has taken one more owner
 * for who runs it, who is rid of it by this call: the request may be gone. */
bool wefti_queue_leave_loading(wefti_queue_request *request, wefti_request_state next);
bool wefti_queue_begin_storing(wefti_queue_request *request);

/* The first of them for who has queue->lock: from `loading` back to `pending`. False:
 * wefti_queue_let_go is left to do, without the lock. */
bool wefti_queue_unload_locked(wefti_queue_request *request);
void wefti_queue_let_go(wefti_queue_request *request);

/* weft_request_cancel of a request of a queue. */
bool wefti_queue_request_cancel(weft_request *base);

/* ---- lead.c ---- */

/* The `linger` of a queue's requests: runs the request, with others of its class, if
 * nobody else does; else looks for the end a few times, letting others run. Without
 * time it only sees to it that somebody runs the request. Threads: any, without
 * locks. */
void wefti_queue_linger(weft_request *base, bool has_time);

/* Whether so many threads submit to the class, and gain by joining, that workers had
 * better run it. */
bool wefti_queue_is_class_crowded_locked(const wefti_queue_class *class);

/* Notes that a thread submits, and counts those that did of late. */
uint32_t wefti_queue_count_threads_locked(weft_queue *queue, uint64_t thread);

/* Longer runs are for workers: a wake-up is nothing beside them, and a waiting thread
 * does not hear of a cancel while it runs. */
enum { WEFTI_QUEUE_MOST_LED_NS = 1000000 };

/* Whether a request of this kind may be run by who waits for it; what is known of its
 * time included. */
bool wefti_queue_is_leadable(const wefti_queue_request *request);

/* Whether callers of its class came of late for what they were to run. */
bool wefti_queue_keeps_promises(const wefti_queue_request *request);

/* Whether its caller had better run it though a core may be idle: to wake a worker
 * would take longer, and callers of its class came of late for what they were to run.
 */
bool wefti_queue_is_for_caller(const wefti_queue_request *request);

/* Whether a worker need not be woken for a new request, for its caller will soon wait
 * for it: so it was of late, there is no idle core to be used by more than one of a
 * thread's requests or they are brief, and a worker looks whether the promise was kept.
 */
bool wefti_queue_is_promise_locked(wefti_queue_request *request);

/* The promise was kept, or is of no use any more. */
void wefti_queue_end_promise_locked(wefti_queue_request *request);

/* The same for all of them, because the calling thread waits for something else now:
 * wakes the workers. */
void wefti_queue_end_promises_locked(weft_queue *queue);

/* How long a promise may go unkept. */
enum { WEFTI_QUEUE_PROMISE_NS = 20000000 };

/* Whether a worker has to be woken for what waits and is not promised: fewer batches
 * run, or are about to, than there are workers; or something has waited for long. */
bool wefti_queue_wants_worker_locked(const weft_queue *queue, int64_t now_ns);

/* ---- linger.c ---- */

/* Looks for the end a few times, letting others run. */
void wefti_queue_look_again(wefti_queue_request *request);

/* The same for a worker, before it chooses a batch: while nothing waits; and while more
 * of the usual requests are missing than wait, and come, for who was just answered may
 * come again, and wants a core on which a batch would keep it waiting. The lock is
 * given up meanwhile. */
void wefti_queue_linger_for_work_locked(weft_queue *queue) WEFTI_REQUIRES(queue->lock);

/* For a worker, around its work and before it sleeps. In a crowd of submitters each
 * worker keeps to a core of its own, if there is one for each: else the system puts two
 * on one core, for which all threads of the other core wait. Before it sleeps a worker
 * is let go, so that it wakes up wherever a core is idle. */
bool wefti_queue_is_crowded_locked(const weft_queue *queue);
void wefti_queue_keep_core(wefti_queue_worker *worker);
void wefti_queue_free_core(wefti_queue_worker *worker);

/* Notes that so many requests of a class are started. */
void wefti_queue_note_crowd_locked(wefti_queue_class *class, int32_t started);

/* ---- worker.c ---- */

/* Scratch memory, new or NULL; and away with it. */
wefti_queue_scratch *wefti_queue_scratch_create(weft_queue *queue);
void wefti_queue_scratch_destroy(wefti_queue_scratch *scratch);

/* For a worker: runs a batch, learns from it, and ends its requests and those that were
 * too late. True: this thread ends the queue. */
bool wefti_queue_serve(wefti_queue_scratch *scratch, wefti_queue_batch *batch);

weft_status wefti_queue_start_workers(weft_queue *queue, weft_error *error);
/* Stops and joins workers and timer; the calling thread, if it is one of them, is
 * detached instead. */
void wefti_queue_stop_workers(weft_queue *queue);

/* What the queue does for its timer. */
extern const wefti_timer_owner wefti_queue_timer_owner;

#endif

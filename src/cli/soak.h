/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_SOAK_H
#define WEFTI_CLI_SOAK_H

#include <pthread.h>

#include "cli/golden.h"
#include "cli/trial.h"

/* Everything at once, for as long as one likes, in one process: rounds of rows of all
 * tables, models from files among them, and of models with buckets and in stages
 * (soak_models.c), each loaded anew and its threads born for the round, which call
 * directly, by weft_submit and through queues (soak_call.c), with random priorities,
 * time limits, deadlines and cancels, and hear of the end in every way there is.
 * Meanwhile queues are closed, drained and replaced, and models taken out and put in
 * again (soak_queue.c). Every answer is compared, every request is accounted for, and
 * memory must stay flat. */

enum {
    SOAK_TRIALS = 6,         /* at the same time, at most: rows; last, what none has */
    SOAK_USUAL_TRIALS = 3,   /* where the callers are drawn by lot */
    SOAK_LANES = 3,          /* models of a row */
    SOAK_CALLERS = 64,       /* at most */
    SOAK_USUAL_CALLERS = 24, /* by lot */
    SOAK_SLOTS = 4,          /* requests of a caller at the same time */
    SOAK_PATTERN = 0xa5,
};

typedef struct soak_options {
    const char *device, *report, *golden;
    bool no_golden;
    int64_t seconds, seed;
    int64_t threads; /* the same ones all the time, in one round; 0: by lot, in many */
} soak_options;

/* What has happened so far. */
typedef struct soak_tally {
    uint64_t direct, submitted, queued; /* calls by their way */
    uint64_t by_wait, by_test, by_fd, by_callback, by_queue_fd;
    uint64_t gave_up;       /* waits that a short time was given first */
    uint64_t in_person;     /* calls whose caller waited at once */
    uint64_t odd;           /* calls of models with buckets and in stages */
    uint64_t from_callback; /* submitted there */
    uint64_t done, cancelled, timed_out;
    uint64_t full, late, closed, not_found, bad; /* refused */
    uint64_t wrong, failed, touched, disordered; /* must stay 0 */
    char reason[CLI_REASON_SIZE];                /* of the first that did not */
} soak_tally;

typedef struct soak soak;

/* Random numbers of one thread. */
typedef struct soak_dice {
    const soak *soak;
    uint32_t thread;
    uint32_t numbers[64], used, refills;
} soak_dice;

/* The next one, below `below`. */
uint32_t soak_draw(soak_dice *dice, uint32_t below);

/* A queue under load. */
typedef struct soak_queue {
    /* immutable after create */
    soak *soak;
    weft_queue *queue; /* an owner, until it is retired */
    bool blocks;
    bool keeps_order; /* and is checked for it */
    bool has_fd;      /* its ended requests are taken by `taker` */
    struct soak_queue *next;
    pthread_t taker;

    /* guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool stops;
    weft_request *taken[SOAK_CALLERS * SOAK_SLOTS]; /* for their submitters */
    size_t taken_count;
    uint64_t taken_in_all, strange; /* strange: had not ended, or too many */
} soak_queue;

/* One request of a caller. */
typedef struct soak_slot {
    struct soak_caller *caller;
    uint32_t index;
    void **buffers;
    size_t buffer_count;
    const cli_case *pattern; /* a cancelled request left the buffers to us */
    const cli_case *request; /* NULL: nothing under way */
    soak_queue *queue;       /* NULL: by weft_submit */
    weft_request *handle;    /* NULL: let go of */
    weft_tensor *outputs;    /* as many as buffers */
    weft_io io;
    uint32_t end;  /* how the caller hears of it */
    uint32_t deed; /* what the callback does */

    /* guarded by the caller's lock; the callback's until `told` */
    bool called; /* at least once */
    bool told;
    weft_status status;
    weft_error error;
    uint32_t again, was_again; /* submissions of the callback: still to do, done */
    bool is_wrong, is_disordered;
} soak_slot;

typedef struct soak_caller {
    soak *soak;
    pthread_t thread;
    const cli_lane *lane;
    soak_dice dice;
    soak_slot slots[SOAK_SLOTS];
    uint32_t slot_count; /* less for large tensors */
    soak_tally tally;
    pthread_mutex_t lock; /* these two stay until the command ends */
    pthread_cond_t ended;
} soak_caller;

/* Memory between rounds, or twice a second in a single one, the most in the first and
 * in the last third of the time: of the process, and what its device counts. */
typedef struct soak_memory {
    uint64_t first, last;
    uint64_t device_first, device_last;
} soak_memory;

struct soak {
    const soak_options *options;
    weft_device *device;
    cli_golden golden;
    cli_row *all; /* rows: of the tables, then from files */
    bool *met;
    size_t all_count;
    int32_t trial_count;
    cli_row rows[SOAK_TRIALS];
    cli_trial *trials[SOAK_TRIALS];
    soak_caller callers[SOAK_CALLERS];
    int64_t round_end_ns;
    uint32_t round;
    soak_tally tally;
    uint64_t threads, models;
    int64_t begin_ns;
    soak_memory seen;

    /* by the thread that tends the queues, or while there is none */
    soak_dice dice;
    uint64_t queues, drained_under_load, left_under_load, swaps;
    uint64_t unbalanced, broken; /* must stay 0 */
    char reason[CLI_REASON_SIZE];

    /* guarded by lock */
    pthread_mutex_t lock;
    soak_queue *queue; /* in use; `next` leads to those before it */
};

/* ---- soak_models.c ---- */

/* The trial of what no table has; what went wrong is in `failure`. */
cli_trial *soak_make_odd_trial(weft_device *device, soak_dice *dice);

/* ---- soak_call.c ---- */

/* Calls in all ways until the round ends. Its caller's fields are set. */
void *soak_caller_main(void *user);
void soak_caller_free_buffers(soak_caller *caller);

/* ---- soak_queue.c ---- */

/* Most models of a round: a row from files has two in each lane. */
enum { SOAK_MODELS = 2 * SOAK_TRIALS * SOAK_LANES };

/* The models of the round, each once; returns how many. */
size_t soak_list_models(const soak *self, weft_model *models[SOAK_MODELS]);

/* Opens the round's first queue; false: it cannot be, which was said. */
bool soak_open_queue(soak *self);

/* Replaces queues and models at random until the round ends: a thread. */
void *soak_tend_queues(void *user);

/* Once there are no callers any more: ends the last queue, frees all. */
void soak_end_queues(soak *self);

/* The queue in use, with an owner of it for the caller. */
soak_queue *soak_borrow_queue(soak *self);

/* Waits until a request has come out of weft_queue_take_ended. False: it does not. */
bool soak_await_taken(soak_queue *queue, weft_request *request);

#endif

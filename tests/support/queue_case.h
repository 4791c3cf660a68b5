/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_QUEUE_CASE_H
#define WEFT_TEST_QUEUE_CASE_H

#include <weft/weft.h>

#include "base/thread.h"
#include "support/crew.h"

/* A small model for tests of the batch queue, calls with known answers, and a way to
 * keep a worker busy. */

enum {
    QUEUE_CASE_FEATURES = 24,
    QUEUE_CASE_OUTPUTS = 16,
    QUEUE_CASE_TABLE = 10, /* rows of the table that `i` chooses from */
    QUEUE_CASE_ROWS = 8,   /* most rows of a call */
};

/* y = relu(x w + table[i]) for x of [batch, FEATURES] and i of [batch] (int64). An i
 * outside of the table makes the run fail. `seed` chooses the weights. */
weft_model *queue_case_model(weft_device *device, uint64_t seed);

typedef struct queue_case_call {
    float x[QUEUE_CASE_ROWS * QUEUE_CASE_FEATURES];
    int64_t i[QUEUE_CASE_ROWS];
    float y[QUEUE_CASE_ROWS * QUEUE_CASE_OUTPUTS];
    float alone[QUEUE_CASE_ROWS * QUEUE_CASE_OUTPUTS]; /* answer of weft_run */
    weft_tensor inputs[2], outputs[1];
    weft_io io;
    size_t y_bytes;
} queue_case_call;

/* Makes the inputs of a call; other numbers, other inputs. */
void queue_case_prepare(queue_case_call *call, int64_t rows, uint32_t thread,
                        uint32_t iteration);
/* The same, with the answer of the model when alone. */
void queue_case_solve(queue_case_call *call, weft_model *model, int64_t rows,
                      uint32_t thread, uint32_t iteration);
/* Whether y is bit for bit what the call gives alone. */
bool queue_case_is_right(const queue_case_call *call);

/* Opens a device, or fails the test. */
weft_device *queue_case_device(const char *name);

/* Keeps one worker of a queue busy in the callback of a request until `gate` opens. */
typedef struct queue_case_plug {
    queue_case_call call;
    weft_request *request;
    crew_gate began, gate, gone;
} queue_case_plug;
void queue_case_plug_in(queue_case_plug *plug, weft_queue *queue, weft_model *model);
void queue_case_plug_out(queue_case_plug *plug);

/* A queue on the CPU that serves one such model. */
typedef struct queue_case {
    weft_device *device;
    weft_model *model;
    weft_queue *queue; /* NULL: it has gone already */
} queue_case;
void queue_case_set_up(queue_case *self, const weft_queue_params *params);
/* Closes the queue, waits for its requests and checks that they add up. */
void queue_case_end(const queue_case *self);
/* The same, and frees all. */
void queue_case_tear_down(queue_case *self);

/* Submits a call that is accepted. */
weft_request *queue_case_submit(const queue_case *self, queue_case_call *call,
                                const weft_queue_submit_params *params);
/* Waits for a request that is done, and releases it. */
void queue_case_wait_ok(weft_request *request);

/* Two lone runs and a joined one, so that the queue knows that joining is worth it. */
void queue_case_warm_up(const queue_case *self);

/* Keeps the calling thread to a core, whose pool is then made to have so many request
 * objects (at most QUEUE_CASE_OBJECTS): what is posted takes one of these, and lies in
 * that core's box. */
enum { QUEUE_CASE_OBJECTS = 96 };
typedef struct queue_case_core {
    wefti_core_set before;
    bool kept;
} queue_case_core;
void queue_case_keep_core(const queue_case *self, uint32_t objects,
                          queue_case_core *core);
void queue_case_free_core(const queue_case_core *core);

/* As if a run of the model's newest class had been timed, and no promise broken,
 * whatever else this machine does: requests of the class may be posted. No thread
 * submits meanwhile, or runs a batch. */
void queue_case_expect_posts(weft_queue *queue, const weft_model *model);

/* Requests that lie in post boxes. */
uint32_t queue_case_count_posts(weft_queue *queue);

/* Fails unless nothing holds on to models and classes but accepted requests and what
 * the pools remember: no thread submits or runs a batch. */
void queue_case_check_holds(weft_queue *queue);

/* Sets up a queue whose only worker stands still and whose only place is taken. */
void queue_case_fill_up(queue_case *self, queue_case_plug *plug, queue_case_call *call,
                        weft_request **waiting);

#endif

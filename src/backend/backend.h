/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_BACKEND_H
#define WEFTI_BACKEND_BACKEND_H

#include <weft/device.h>

#include "backend/step.h"
#include "base/error.h"
#include "base/log.h"

/* What a backend is: five small tables of functions. Every slot is required but where a
 * default stands; the registry checks that once. No slot is called with a lock of the
 * layers above held except where it says so; none may call back into them except
 * through tasks and `call`. Handles are opaque and each backend defines its own
 * structs.
 *
 * A device that has failed for good answers WEFT_DEVICE_LOST from then on. */
typedef struct wefti_backend_device wefti_backend_device;
typedef struct wefti_backend_stream wefti_backend_stream;
typedef struct wefti_backend_event wefti_backend_event;
typedef struct wefti_recipe wefti_recipe;
typedef struct wefti_weights wefti_weights; /* backend/common/weights.h */

/* Work for one of the device's worker threads; embed it. `next` belongs to whoever
 * holds the task. */
typedef struct wefti_task {
    void (*run)(struct wefti_task *task);
    struct wefti_task *next;
} wefti_task;

typedef struct wefti_device_table {
    /* `index` is the number behind the colon of a device's name, -1: none. Where it
     * has several the runtime opens one after the other, and a device is each of them:
     * what is made on one is never used on another. */
    weft_status (*open)(int32_t index, const weft_device_params *params,
                        const wefti_log *log, wefti_backend_device **device,
                        weft_error *error);
    /* How many there are, from index 0 on, without opening any; at least one. NULL:
     * one. Errors: as those of open where there is none. Threads: any. */
    weft_status (*count)(int32_t *count, weft_error *error);
    /* Ends the workers. All streams, recipes and memory are gone by then. NULL is
     * allowed. May block until tasks have run. May be called from a task: then that
     * worker ends when the task returns. */
    void (*close)(wefti_backend_device *device);
    /* Fills description, kind, isa, core_count, worker_count; max_contexts where the
     * device has a better default than the runtime's. */
    void (*get_info)(const wefti_backend_device *device, weft_device_info *info);
    /* Adds the backend's own counters (helped tiles). */
    void (*add_statistics)(const wefti_backend_device *device,
                           weft_device_statistics *statistics);
    /* Runs the task on a worker thread, first come first served. Never blocks.
     * Threads: any. WEFT_UNAVAILABLE when there are no workers. */
    weft_status (*post)(wefti_backend_device *device, wefti_task *task,
                        weft_error *error);
    /* WEFT_OK, or WEFT_DEVICE_LOST with the reason. Threads: any. */
    weft_status (*health)(const wefti_backend_device *device, weft_error *error);
} wefti_device_table;

typedef struct wefti_memory_table {
    /* 64-byte aligned device memory. Threads: any. May block (a system call). */
    weft_status (*allocate)(wefti_backend_device *device, size_t size_bytes,
                            void **address, weft_error *error);
    void (*free)(wefti_backend_device *device, void *address, size_t size_bytes);
    /* Whether so many bytes, at least one, are memory of this device, as far as can be
     * told; WEFT_INVALID_ARGUMENT says what they are instead. Threads: any. NULL: its
     * executions take inputs and outputs in host memory only. */
    weft_status (*check)(wefti_backend_device *device, const void *address,
                         size_t size_bytes, weft_error *error);
} wefti_memory_table;

typedef struct wefti_stream_table {
    weft_status (*create)(wefti_backend_device *device, wefti_backend_stream **stream,
                          weft_error *error);
    /* The stream is idle. NULL is allowed. */
    void (*destroy)(wefti_backend_stream *stream);
    /* Enqueues a recipe. `slots` (workspace, inputs, outputs) is copied; the memory
     * behind it must stay until the work has ended. Where inputs or outputs lie
     * elsewhere than in one piece of host memory there are as many slots again: for
     * each of the first NULL, or where it lies: the same address when it is on the
     * device (memory.check), or a table of its rows' addresses (recipe.row_bytes). A
     * host backend may do the work before it returns. A failure while enqueuing is
     * returned; one of the work itself is kept by the stream and given by
     * `synchronize`. Threads: one at a time per stream, as all below except
     * synchronize. */
    weft_status (*execute)(wefti_backend_stream *stream, wefti_recipe *recipe,
                           void *const *slots, size_t slot_count, weft_error *error);
    weft_status (*copy)(wefti_backend_stream *stream, void *target, const void *source,
                        size_t size_bytes, weft_error *error);
    weft_status (*fill)(wefti_backend_stream *stream, void *target, uint8_t value,
                        size_t size_bytes, weft_error *error);
    weft_status (*call)(wefti_backend_stream *stream, void (*function)(void *user),
                        void *user, weft_error *error);
    /* Raises the event when all work before has ended; the stream owns the event
     * until then. */
    weft_status (*record)(wefti_backend_stream *stream, wefti_backend_event *event,
                          uint64_t value, weft_error *error);
    /* Holds later work until the event has the value. */
    weft_status (*wait)(wefti_backend_stream *stream, wefti_backend_event *event,
                        uint64_t value, weft_error *error);
    /* Waits for all work enqueued before; returns and clears the first error of the
     * work. Threads: any. Blocks to the deadline: WEFT_TIMEOUT. */
    weft_status (*synchronize)(wefti_backend_stream *stream, int64_t deadline_ns,
                               weft_error *error);
    /* The next two are for the end of a device, when nobody submits or signals any
     * more. Default, NULL for both: the stream is synchronized instead. Waits until all
     * work has ended, or nothing but a wait for an event holds it: then true. *ended
     * grows with every piece of work that ends. */
    bool (*settle)(wefti_backend_stream *stream, uint64_t *ended);
    /* Gives up the wait that holds the stream: of what stands behind, only calls and
     * records are done; the stream and the events recorded get WEFT_CANCELLED. Does
     * nothing when the event has come meanwhile. */
    void (*abandon)(wefti_backend_stream *stream);
} wefti_stream_table;

typedef struct wefti_event_table {
    weft_status (*create)(wefti_backend_device *device, bool timed,
                          wefti_backend_event **event, weft_error *error);
    void (*retain)(wefti_backend_event *event);
    void (*release)(wefti_backend_event *event);
    uint64_t (*query)(const wefti_backend_event *event);
    weft_status (*signal)(wefti_backend_event *event, uint64_t value,
                          weft_error *error);
    weft_status (*wait)(wefti_backend_event *event, uint64_t value, int64_t deadline_ns,
                        weft_error *error);
    /* Time of the last change in nanoseconds of the device's clock; false when the
     * event is not timed or was never set. */
    bool (*time_ns)(const wefti_backend_event *event, int64_t *time_ns);
} wefti_event_table;

/* What a recipe is made of. */
typedef struct wefti_recipe_params {
    const wefti_step *steps;
    size_t step_count;
    size_t workspace_bytes; /* what the steps use of slot 0 */
    /* Sizes of the slots behind the workspace: inputs, then outputs. A device that
     * moves them needs them. */
    const size_t *input_bytes, *output_bytes;
    size_t input_count, output_count;
    wefti_weights *weights;   /* keeps packed constants; NULL: nothing is packed */
    weft_precision precision; /* of products: f32, or one of the backend's */
    /* Where the backend can tell its steps apart, it records each; NULL: none. */
    weft_profiler *profiler;
} wefti_recipe_params;

/* A plan's steps made executable on a device; immutable, shared by all streams. */
typedef struct wefti_recipe_table {
    /* Copies steps and parameters (labels stay the plan's). Constant operands stay
     * valid as long as the recipe and `weights`. The recipe adds its own scratch behind
     * the steps' workspace. WEFT_UNSUPPORTED names the step that this device lacks. */
    weft_status (*create)(wefti_backend_device *device,
                          const wefti_recipe_params *params, wefti_recipe **recipe,
                          weft_error *error);
    void (*destroy)(wefti_recipe *recipe);
    /* Size of slot 0 for one execution, scratch included. */
    size_t (*workspace_bytes)(const wefti_recipe *recipe);
    /* The size of the rows in which the input or output of this slot may lie apart; 0:
     * only in one piece. NULL: none may lie apart. */
    size_t (*row_bytes)(const wefti_recipe *recipe, size_t slot);
    /* What a run is estimated to take of one core. NULL together with row_bytes. */
    double (*work_ns)(const wefti_recipe *recipe);
    /* A word on how step i runs ("avx512 14x32 tiles 8", packed or not). */
    void (*describe)(const wefti_recipe *recipe, size_t step, char *text,
                     size_t text_bytes);
} wefti_recipe_table;

typedef struct wefti_backend {
    const char *name;
    bool on_host;        /* its memory may be read and written by the host */
    uint32_t precisions; /* beside f32, as bits: 1 << WEFT_PRECISION_BF16 */
    bool byte_products;  /* has WEFTI_KERNEL_MATMUL_BYTES */
    bool brisk; /* runs may take some microseconds only (wefti_lease_pool_be_brisk) */
    wefti_device_table device;
    wefti_memory_table memory;
    wefti_stream_table stream;
    wefti_event_table event;
    wefti_recipe_table recipe;
} wefti_backend;

extern const wefti_backend wefti_backend_cpu;
extern const wefti_backend wefti_backend_null;
extern const wefti_backend wefti_backend_cuda;

/* WEFT_INTERNAL names the first slot that is empty. */
weft_status wefti_backend_check(const wefti_backend *backend, weft_error *error);

/* Which of a backend's cards a device is made of: what stands behind the colon. */
enum { WEFTI_MOST_CARDS = 16 };
typedef struct wefti_card_list {
    bool all; /* "all": as many as there are, from 0 on */
    int32_t count;
    int32_t indices[WEFTI_MOST_CARDS]; /* -1: no colon */
} wefti_card_list;

/* Finds the backend of a device name ("cpu", "cuda:0", "cuda:0,1", "cuda:all") and the
 * cards in it. WEFT_NOT_FOUND lists the names there are; WEFT_INVALID_ARGUMENT: a card
 * stands there twice. Threads: any. */
weft_status wefti_backend_find_cards(const char *device_name,
                                     const wefti_backend **backend,
                                     wefti_card_list *cards, weft_error *error);

/* Likewise where the device is one card. */
weft_status wefti_backend_find(const char *device_name, const wefti_backend **backend,
                               int32_t *index, weft_error *error);

#endif

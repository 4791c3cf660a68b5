/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_DEVICE_H
#define WEFT_DEVICE_H

#include <stdbool.h>

#include <weft/profile.h>
#include <weft/tensor.h>

WEFT_BEGIN_DECLS

/* A CPU or a GPU, or several GPUs of one kind: memory, streams, events, kernels and the
 * pool of contexts.
 * Class: synchronised; every call may come from any thread at any time. */
typedef struct weft_device weft_device;

/* Waits without a limit; any negative timeout means the same. */
#define WEFT_FOREVER ((int64_t)-1)

typedef enum weft_log_level {
    WEFT_LOG_ERROR = 0,
    WEFT_LOG_WARNING = 1,
    WEFT_LOG_INFO = 2,
    WEFT_LOG_DEBUG = 3,
} weft_log_level;

/* Receives one line without a line end. Called from any thread, never under a lock
 * of the library. */
typedef void (*weft_log_callback)(void *user, weft_log_level level, const char *line);

typedef struct weft_device_params {
    size_t struct_size;
    /* Most contexts leased at once; 0: 64, on cards one for each core of the host, but
     * at least 8 and at most 16 for each card. At most 1024. */
    int32_t max_contexts;
    /* Worker threads: they run asynchronous requests and help a lone caller with
     * whole output tiles. -1: one per core. 0: none, then weft_submit fails. At most
     * 1024. Several cards share them, each has at least one. */
    int32_t worker_count;
    /* Hard cap on device memory taken by contexts, streams and weights, on all cards
     * together; 0: none. */
    size_t memory_cap_bytes;
    /* CPU kernels: "avx512", "avx2", "sse2", "neon", "reference"; NULL: the best of
     * this machine, or what the environment variable WEFT_ISA says. The bits of
     * every result are the same with each. */
    const char *isa;
    weft_log_callback log;
    void *log_user;
    weft_log_level log_level; /* most detailed level that is reported */
    /* Records what happens on the device, which becomes one of its owners; NULL: none.
     */
    weft_profiler *profiler;
} weft_device_params;

#define WEFT_DEVICE_PARAMS_INIT                                                        \
    {                                                                                  \
        .struct_size = sizeof(weft_device_params), .worker_count = -1,                 \
        .log_level = WEFT_LOG_WARNING                                                  \
    }

/* In what the products of MatMul, Gemm, Conv and Attention are computed, and what
 * becomes one of them. Their sums, and all else, are f32: results of nodes, norms,
 * softmax, elementwise functions; inputs, constants and outputs that are f16 or bf16 in
 * the graph are kept so and widened, or rounded, once. The operands of a product are
 * rounded to the nearest, weights once for the model, results of other nodes each time:
 *
 *   f32    not at all; 24 bits
 *   tf32   to 11 bits, range as f32
 *   bf16   to 8 bits, range as f32
 *   f16    to 11 bits; more than 65504 is infinite, less than 6e-8 is 0
 *
 * The same bits come out for the same precision on the same kind of device, whoever
 * else calls; between precisions they differ. The CPU has f32 alone. */
typedef enum weft_precision {
    WEFT_PRECISION_F32,
    WEFT_PRECISION_TF32,
    WEFT_PRECISION_BF16,
    WEFT_PRECISION_F16,
    WEFT_PRECISION_COUNT,
} weft_precision;

/* Returns "f32", "tf32", "bf16", "f16", or NULL past the last.
 * Threads: any. */
WEFT_API const char *weft_precision_name(weft_precision precision);

/* What a device is. Strings live as long as the device. */
typedef struct weft_device_info {
    const char *name;        /* "cpu" */
    const char *description; /* processor or card model */
    const char *isa;         /* kernels in use: "avx512" */
    int32_t core_count;
    int32_t worker_count;
    int32_t max_contexts;
    size_t memory_cap_bytes; /* 0: none */
    int32_t card_count;      /* 1, or as many cards as share the device's work */
    /* Results are bit for bit the same on devices of one kind: "cpu", "NVIDIA H200
     * sm_90". */
    const char *kind;
} weft_device_info;

/* Counters since the device was opened. At any quiet moment
 * accepted = done + failed + cancelled + timed_out. */
typedef struct weft_device_statistics {
    uint64_t accepted, done, failed, cancelled, timed_out;
    uint64_t lease_count;      /* contexts leased */
    uint64_t lease_wait_count; /* leases that had to wait */
    uint64_t lease_wait_ns;
    uint64_t lock_wait_count; /* contended acquisitions of any lock of the library */
    uint64_t lock_wait_ns;
    uint64_t allocation_count;  /* host allocations by the library, process-wide */
    uint64_t plan_count;        /* plans built */
    uint64_t plan_evict_count;  /* plans that made room for others */
    uint64_t plan_bytes;        /* host memory of all plans now */
    uint64_t memory_bytes;      /* device memory held now, of all cards */
    uint64_t memory_peak_bytes; /* most ever held */
    uint64_t helped_tile_count; /* output tiles done by helpers of a lone caller */
} weft_device_statistics;

/* Opens a device by name: "cpu", "cuda:0", "null".
 * "cuda:0,1" or "cuda:all" makes one device of several cards. They must be of one kind,
 * so that a request gives the same bits on each. A model has its weights on each; each
 * context belongs to one, and is leased on the card with the fewest leases: so direct
 * runs, requests and the workers of queues spread over them. Memory and statistics are
 * counted in all. When one card fails for good, so does the device; what is on its way
 * on the others still ends as usual.
 * Threads: any. Blocks: until worker threads run.
 * Owns: the caller owns *device and ends it with weft_device_release.
 * Errors: WEFT_NOT_FOUND for an unknown name; WEFT_UNAVAILABLE when this machine
 * lacks the hardware, driver or instruction set; WEFT_INVALID_ARGUMENT for cards that
 * are not of one kind. */
WEFT_API WEFT_MUST_USE weft_status weft_device_open(const char *name,
                                                    const weft_device_params *params,
                                                    weft_device **device,
                                                    weft_error *error);

/* Adds an owner.
 * Threads: any. */
WEFT_API weft_device *weft_device_retain(weft_device *device);

/* Drops an owner; the last one closes, drains and frees. NULL is allowed. Models
 * and graphs' models own their device too.
 * Threads: any, also from the callback of a request; not from a function that a stream
 * calls.
 * Blocks: the last one until accepted requests, their callbacks and the work of streams
 * have ended. A stream that still waits for an event that no other stream will set is
 * given up then (events own the device, so no caller can set it any more): calls and
 * records behind the wait are done, runs, copies and fills are not, and the recorded
 * events carry WEFT_CANCELLED. A leased context stays usable, the device is freed when
 * the last one is given back. */
WEFT_API void weft_device_release(weft_device *device);

/* Refuses new work from now on with WEFT_CLOSED; accepted work goes on.
 * Threads: any. Blocks: never. */
WEFT_API void weft_device_close(weft_device *device);

/* Waits until all accepted work has ended. After WEFT_TIMEOUT, requests that have
 * not started are cancelled and the call may be repeated. Requests of a queue may be
 * seen to have ended, and have their callbacks, a moment later: weft_queue_drain waits
 * for that.
 * Threads: any, but not from a callback of the device. Blocks: to the deadline.
 * Errors: WEFT_TIMEOUT. */
WEFT_API WEFT_MUST_USE weft_status weft_device_drain(weft_device *device,
                                                     int64_t timeout_ns,
                                                     weft_error *error);

/* Gives cached memory back to the system: idle contexts' workspaces and the free
 * blocks of the pools.
 * Threads: any. Blocks: never on device work. */
WEFT_API WEFT_MUST_USE weft_status weft_device_trim(weft_device *device,
                                                    weft_error *error);

/* Describes the device.
 * Threads: any. */
WEFT_API void weft_device_get_info(const weft_device *device, weft_device_info *info);

/* Reads the counters; each is exact, together they are not one instant.
 * Threads: any. */
WEFT_API void weft_device_get_statistics(const weft_device *device,
                                         weft_device_statistics *statistics);

/* Names a backend of this build by index ("cpu", "null", ...), NULL past the last.
 * Threads: any. */
WEFT_API const char *weft_backend_name(size_t index);

/* Returns the version and how the library was built, such as
 * "0.1.0 (gcc 12.2.0, release)"; never NULL.
 * Threads: any. */
WEFT_API const char *weft_build_id(void);

WEFT_END_DECLS

#endif

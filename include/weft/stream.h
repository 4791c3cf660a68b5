/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_STREAM_H
#define WEFT_STREAM_H

#include <weft/device.h>
#include <weft/event.h>

WEFT_BEGIN_DECLS

/* An ordered sequence of work on a device. Work on different streams is unordered
 * unless an event says otherwise.
 * Class: confined for submitting (one thread at a time, asserted: WEFT_BUSY);
 * waiting from any thread. */
typedef struct weft_stream weft_stream;

/* Takes a stream from the device's pool; of several cards, one of the first. Memory
 * that is allocated on a stream lies on its card, and may be copied and filled on
 * streams of the other cards too. Threads: any. Owns: the caller gives it back with
 * weft_stream_release. */
WEFT_API WEFT_MUST_USE weft_status weft_stream_acquire(weft_device *device,
                                                       weft_stream **stream,
                                                       weft_error *error);

/* Gives a stream back; its work goes on and is finished before the stream serves
 * another. NULL is allowed.
 * Threads: any. Blocks: never. */
WEFT_API void weft_stream_release(weft_stream *stream);

/* Sets `event` to at least `value` once all work submitted before has ended.
 * Threads: owner. Blocks: never.
 * Errors: WEFT_INVALID_ARGUMENT when the value is not above those already
 * recorded. */
WEFT_API WEFT_MUST_USE weft_status weft_stream_record(weft_stream *stream,
                                                      weft_event *event, uint64_t value,
                                                      weft_error *error);

/* Holds work submitted later until `event` has reached `value`.
 * Threads: owner. Blocks: never. */
WEFT_API WEFT_MUST_USE weft_status weft_stream_wait(weft_stream *stream,
                                                    weft_event *event, uint64_t value,
                                                    weft_error *error);

/* Copies bytes in stream order. The ranges must stay valid until the copy has ended.
 * Threads: owner. Blocks: never.
 * Errors: WEFT_INVALID_ARGUMENT when the ranges overlap. */
WEFT_API WEFT_MUST_USE weft_status weft_stream_copy(weft_stream *stream, void *target,
                                                    const void *source,
                                                    size_t size_bytes,
                                                    weft_error *error);

/* Fills bytes with one value in stream order.
 * Threads: owner. Blocks: never. */
WEFT_API WEFT_MUST_USE weft_status weft_stream_fill(weft_stream *stream, void *target,
                                                    uint8_t value, size_t size_bytes,
                                                    weft_error *error);

/* Calls a function of the caller in stream order, on any thread. It must neither wait
 * for this stream nor submit to it.
 * Threads: owner. Blocks: never. */
WEFT_API WEFT_MUST_USE weft_status weft_stream_call(weft_stream *stream,
                                                    void (*function)(void *user),
                                                    void *user, weft_error *error);

/* Waits until all work submitted so far has ended, and returns the first error of
 * that work.
 * Threads: any. Blocks: to the deadline.
 * Errors: WEFT_TIMEOUT. */
WEFT_API WEFT_MUST_USE weft_status weft_stream_synchronize(weft_stream *stream,
                                                           int64_t timeout_ns,
                                                           weft_error *error);

WEFT_END_DECLS

#endif

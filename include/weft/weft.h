/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

/* Weft runs neural networks from many threads of one process on one device at
 * the same time, and gives every caller exactly the bits it would have got alone.
 *
 * The way of a program:
 *     weft_device_open      a CPU or a GPU, by name
 *     weft_graph_load_onnx  a model file (or build a graph by calls: graph.h)
 *     weft_model_create     the graph made ready on the device; share it freely
 *     weft_run              from any thread, as many at once as you like
 *     weft_model_release, weft_graph_release, weft_device_release
 *
 * Rules that hold for every call:
 *   - Any thread may make it, unless its "Threads:" line says otherwise.
 *   - It returns a weft_status; words go to the caller's weft_error (may be NULL).
 *   - Where an object or a place for an answer is NULL, calls with a status return
 *     WEFT_INVALID_ARGUMENT and say which; the others do nothing and return 0, false,
 *     NULL or -1, and what they were to fill in is empty.
 *   - The library never exits, aborts or prints because of what it is given.
 *   - `create`, `open`, `load`: the caller owns the result. A getter lends. An
 *     argument is borrowed for the call unless its comment says otherwise.
 *   - Structs named weft_*_params start with `struct_size`; set them up with their
 *     initialiser macro. NULL stands for all defaults. The struct of an older header
 *     is taken, from the first that was published on, with defaults for what it lacks;
 *     one of a newer header than the library is WEFT_INVALID_ARGUMENT.
 *   - In a child made by fork() from a process that has opened a device, every call
 *     that can fail returns WEFT_FORKED.
 */
#include <weft/context.h>
#include <weft/device.h>
#include <weft/event.h>
#include <weft/graph.h>
#include <weft/inspect.h>
#include <weft/memory.h>
#include <weft/model.h>
#include <weft/npy.h>
#include <weft/profile.h>
#include <weft/queue.h>
#include <weft/random.h>
#include <weft/request.h>
#include <weft/status.h>
#include <weft/stream.h>
#include <weft/tensor.h>

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_GRAPHS_H
#define WEFTI_BACKEND_CUDA_GRAPHS_H

#include "backend/cuda/recipe.h"

/* The executable graphs of one stream: one for each recipe that it runs again and
 * again, with the addresses of its workspace and staging memory in it. They belong to
 * the stream, so none is ever launched twice at once. The least recently used goes when
 * there are too many. Built by the graph calls, never by capture: nothing that other
 * threads do can get in. To build one takes as long as to launch a hundred kernels, and
 * longer while others launch: so the first times the kernels are launched one by one,
 * and one kernel alone is so while others launch. One thread at a time. */
enum { WEFTI_CUDA_MOST_GRAPHS = 64 };

typedef struct wefti_cuda_graph {
    uint64_t serial; /* of the recipe */
    char *workspace;
    cuda_executable executable; /* NULL: not yet */
    uint32_t launched;          /* kernels, one by one */
    bool is_single;             /* there is only one of them */
    uint64_t last_use;
    int64_t run_ns; /* how long runs take, smoothed */
} wefti_cuda_graph;

typedef struct wefti_cuda_graphs {
    wefti_cuda_graph entries[WEFTI_CUDA_MOST_GRAPHS];
    size_t count;
    uint64_t uses;
} wefti_cuda_graphs;

struct wefti_cuda_stream;

/* Finds what is kept of a recipe for this workspace, or makes a place for it. Entered;
 * the stream's device work has ended. */
wefti_cuda_graph *wefti_cuda_graphs_get(struct wefti_cuda_stream *stream,
                                        const wefti_recipe *recipe, char *workspace);
/* Launches the recipe's kernels. Entered. When it fails some of them may run. */
weft_status wefti_cuda_graphs_launch(struct wefti_cuda_stream *stream,
                                     const wefti_recipe *recipe,
                                     wefti_cuda_graph *graph, weft_error *error);
/* Destroys them all. Entered; the stream's device work has ended. */
void wefti_cuda_graphs_drop(struct wefti_cuda_stream *stream);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_GRAPHS_H
#define WEFTI_BACKEND_CUDA_GRAPHS_H

#include "backend/cuda/chains.h"
#include "backend/cuda/recipe.h"

/* What one stream knows of the recipes that it runs, and how it launches them: by an
 * executable graph (chains.h) with the addresses of workspace and staging memory in it,
 * or their kernels one by one. Graphs are built by the graph calls, never by capture:
 * nothing that other threads do can get in. To build one takes as long as to launch a
 * hundred kernels, and longer while others launch: so the first times the kernels are
 * launched one by one, unless there is a graph of the same kernels whose calls may be
 * replaced; and one kernel alone is so while many others launch. One thread at a time.
 *
 * Where the caller's tensors lie on the card the kernels read and write them there, so
 * their addresses are in the graph too: a recipe has some for those used last. An
 * address that is not a multiple of 16 would not do for all kernels; then the tensor's
 * place in the workspace stands for it, and who runs copies. */
enum {
    WEFTI_CUDA_MOST_GRAPHS = 64, /* recipes, or places of theirs; the oldest goes */
    WEFTI_CUDA_MOST_PLACES = 4,  /* sets of addresses of a recipe */
    WEFTI_CUDA_FEW_TENSORS = 8,  /* for more there is memory of their own */
};

typedef struct wefti_cuda_graph_way {
    uint64_t shape;
    uint32_t kernel_count; /* 0: not told yet */
    uint32_t at;           /* where its chain was last */
} wefti_cuda_graph_way;

typedef struct wefti_cuda_graph {
    uint64_t serial; /* of the recipe */
    char *workspace;
    /* Inputs and outputs that lie on the card: where; NULL of the others. */
    bool with_card;
    void *few[WEFTI_CUDA_FEW_TENSORS];
    void **more;     /* NULL: they are `few` */
    uint64_t number; /* even; neither it nor the next was another's of the stream */
    /* Its kernels in a graph, as they are and with all inputs brought. */
    wefti_cuda_graph_way ways[2];
    uint32_t launched; /* kernels, but by a chain of its own; no more than matters */
    uint32_t kernel_count; /* of the last run */
    uint64_t last_use;
    int64_t run_ns; /* how long runs take, smoothed */
} wefti_cuda_graph;

typedef struct wefti_cuda_graphs {
    /* The serials of the recipes of the entries, with the highest bit set for those
     * with tensors on the card, side by side: each run looks through them, and where
     * there are many another core has had the stream before. */
    uint64_t serials[WEFTI_CUDA_MOST_GRAPHS];
    wefti_cuda_graph entries[WEFTI_CUDA_MOST_GRAPHS];
    size_t count;
    uint64_t uses;
    uint64_t numbers;
    wefti_cuda_chains chains;
} wefti_cuda_graphs;

struct wefti_cuda_stream;

/* Finds what is kept of a recipe for this workspace, or makes a place for it.
 * `on_card`: the address of each input and output that lies on the card, else NULL;
 * NULL: none does. NULL when memory is short, with such alone. Entered; the stream's
 * device work has ended. */
wefti_cuda_graph *wefti_cuda_graphs_get(struct wefti_cuda_stream *stream,
                                        const wefti_recipe *recipe, char *workspace,
                                        void *const *on_card);
/* Where each input and output lies on the card, or what stands for it; NULL: none is
 * there. Threads: any. */
void *const *wefti_cuda_graphs_on_card(const wefti_cuda_graph *graph);
/* Where an operand is. Threads: any. */
void *wefti_cuda_graphs_resolve(const struct wefti_cuda_stream *stream,
                                const wefti_recipe *recipe,
                                const wefti_cuda_graph *graph,
                                const wefti_cuda_place *place);
/* Launches the recipe's kernels. Entered. When it fails some of them may run. */
weft_status wefti_cuda_graphs_launch(struct wefti_cuda_stream *stream,
                                     const wefti_recipe *recipe,
                                     wefti_cuda_graph *graph, weft_error *error);
/* Destroys them all. Entered; the stream's device work has ended. */
void wefti_cuda_graphs_drop(struct wefti_cuda_stream *stream);

#endif

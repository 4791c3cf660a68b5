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
 * and one kernel alone is so while others launch. One thread at a time.
 *
 * Where the caller's tensors lie on the card the kernels read and write them there, so
 * their addresses are in the graph too: a recipe has some for those used last. An
 * address that is not a multiple of 16 would not do for all kernels; then the tensor's
 * place in the workspace stands for it, and who runs copies. */
enum {
    WEFTI_CUDA_MOST_GRAPHS = 64,
    WEFTI_CUDA_MOST_PLACES = 4, /* sets of addresses of a recipe */
    WEFTI_CUDA_FEW_TENSORS = 8, /* for more there is memory of their own */
};

typedef struct wefti_cuda_graph {
    uint64_t serial; /* of the recipe */
    char *workspace;
    /* Inputs and outputs that lie on the card: where; NULL of the others. */
    bool with_card;
    void *few[WEFTI_CUDA_FEW_TENSORS];
    void **more;                /* NULL: they are `few` */
    cuda_executable executable; /* NULL: not yet */
    uint32_t launched;          /* kernels, one by one */
    uint32_t kernel_count;      /* of a run, once it was launched */
    bool is_single;             /* there is only one of them */
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

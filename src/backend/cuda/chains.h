/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_CHAINS_H
#define WEFTI_BACKEND_CUDA_CHAINS_H

#include "backend/cuda/device.h"

/* The executable graphs of one stream: each is a chain of kernels, one node for each.
 * They belong to the stream, so none is ever launched twice at once.
 *
 * To build one takes 0.1 ms, and up to 3 ms while 16 threads launch: 64 callers with
 * models of their own on 16 contexts wanted 1,024. To put other calls into the nodes of
 * one takes no more than to launch as many kernels would under the driver's lock: so
 * recipes of one shape, that is of the same kernels with as many blocks and threads,
 * share a few. (MLP from 64 threads with a model each, two passes of 0.4 s on an H200:
 * 293 and 253 k/s with a graph for each, 328 and 360 k/s so; 16 threads: 365 and 341,
 * 362 and 389 k/s.) Nothing is allocated but by the driver. One thread at a time. */
enum {
    WEFTI_CUDA_MOST_CHAINS = 64, /* the least recently used goes */
    /* So few recipes have each its own. MLP from 16 and 64 threads: 349 and 343 k/s
     * with one, 337 and 318 with four, 339 and 326 with eight. */
    WEFTI_CUDA_MOST_CHAINS_OF_SHAPE = 2,
    WEFTI_CUDA_MOST_SHARED_NODES = 32, /* longer chains have one owner all the time */
};

/* Of the kernels so far, in their order; begins with 0. */
uint64_t wefti_cuda_chain_shape(uint64_t shape, wefti_cuda_kernel kernel,
                                uint32_t blocks, uint32_t threads);

typedef struct wefti_cuda_chain {
    uint64_t shape;
    uint64_t owner; /* whose calls the nodes have; 0: nobody's */
    uint64_t last_use;
    cuda_graph graph; /* in it are the nodes, by which those of the executable go */
    cuda_executable executable;
    uint32_t node_count;
    cuda_node last; /* while it is made */
    cuda_node nodes[WEFTI_CUDA_MOST_SHARED_NODES];
} wefti_cuda_chain;

typedef struct wefti_cuda_chains {
    /* immutable after create */
    wefti_backend_device *device;
    cuda_stream stream;

    wefti_cuda_chain items[WEFTI_CUDA_MOST_CHAINS];
    size_t count;
    uint64_t uses;
} wefti_cuda_chains;

/* One that has the owner's calls; else, with `may_build` false or when there are as
 * many of the shape as may be, the one of that shape which was used longest ago; else
 * NULL. The pointer is good until the next call of make or drop. */
wefti_cuda_chain *wefti_cuda_chains_find(wefti_cuda_chains *chains, uint64_t shape,
                                         uint32_t node_count, uint64_t owner,
                                         bool may_build);
/* An empty one of `node_count` nodes, for which another may have gone; NULL when the
 * driver refuses. Entered. Then so many calls of put, and finish. */
wefti_cuda_chain *wefti_cuda_chains_make(wefti_cuda_chains *chains, uint64_t shape,
                                         uint32_t node_count);
/* Puts a kernel into node `index`: of a new chain behind the last one, else in place of
 * what it had. Entered; the chain does not run. */
weft_status wefti_cuda_chain_put(wefti_cuda_chains *chains, wefti_cuda_chain *chain,
                                 uint32_t index, const cuda_kernel_node *kernel,
                                 weft_error *error);
/* All nodes have the owner's calls: of a new chain an executable is made. Entered. */
weft_status wefti_cuda_chain_finish(wefti_cuda_chains *chains, wefti_cuda_chain *chain,
                                    uint64_t owner, weft_error *error);
weft_status wefti_cuda_chain_launch(wefti_cuda_chains *chains, wefti_cuda_chain *chain,
                                    weft_error *error);
/* Entered. Waits for the stream. */
void wefti_cuda_chains_drop(wefti_cuda_chains *chains, wefti_cuda_chain *chain);
void wefti_cuda_chains_drop_all(wefti_cuda_chains *chains);

#endif

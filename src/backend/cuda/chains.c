/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/chains.h"

uint64_t wefti_cuda_chain_shape(uint64_t shape, wefti_cuda_kernel kernel,
                                uint32_t blocks, uint32_t threads)
{
    /* A multiplication by an odd number loses nothing, and shifts bring high bits low:
     * two shapes are one by chance alone, which the driver would take too. */
    const uint64_t link =
        (uint64_t)kernel << 48 ^ (uint64_t)threads << 32 ^ (uint64_t)blocks;
    shape = (shape ^ link) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    return shape ^ shape >> 29;
}

wefti_cuda_chain *wefti_cuda_chains_find(wefti_cuda_chains *chains, uint64_t shape,
                                         uint32_t node_count, uint64_t owner,
                                         bool may_build)
{
    wefti_cuda_chain *oldest = NULL;
    size_t count = 0;
    for (size_t i = 0; i < chains->count; i++) {
        wefti_cuda_chain *one = &chains->items[i];
        if (one->shape != shape || one->node_count != node_count) {
            continue;
        }
        if (one->owner == owner) {
            return one;
        }
        if (one->node_count > WEFTI_CUDA_MOST_SHARED_NODES) {
            continue;
        }
        count++;
        if (oldest == NULL || one->last_use < oldest->last_use) {
            oldest = one;
        }
    }
    return may_build && count < WEFTI_CUDA_MOST_CHAINS_OF_SHAPE ? NULL : oldest;
}

static void destroy(wefti_cuda_chains *chains, wefti_cuda_chain *chain)
{
    const cuda_driver *driver = &chains->device->driver;
    if (chain->executable != NULL) {
        (void)driver->executable_destroy(chain->executable);
    }
    if (chain->graph != NULL) {
        (void)driver->graph_destroy(chain->graph);
    }
}

void wefti_cuda_chains_drop(wefti_cuda_chains *chains, wefti_cuda_chain *chain)
{
    /* The flag of a run is raised a moment before its graph has ended. */
    (void)chains->device->driver.stream_synchronize(chains->stream);
    destroy(chains, chain);
    *chain = chains->items[--chains->count];
}

void wefti_cuda_chains_drop_all(wefti_cuda_chains *chains)
{
    if (chains->count > 0) { /* as above, once for all */
        (void)chains->device->driver.stream_synchronize(chains->stream);
    }
    while (chains->count > 0) {
        destroy(chains, &chains->items[--chains->count]);
    }
}

static wefti_cuda_chain *oldest_of_all(wefti_cuda_chains *chains)
{
    wefti_cuda_chain *found = chains->items;
    for (size_t i = 1; i < chains->count; i++) {
        wefti_cuda_chain *one = &chains->items[i];
        found = one->last_use < found->last_use ? one : found;
    }
    return found;
}

wefti_cuda_chain *wefti_cuda_chains_make(wefti_cuda_chains *chains, uint64_t shape,
                                         uint32_t node_count)
{
    wefti_cuda_chain made = {.shape = shape, .node_count = node_count};
    if (chains->device->driver.graph_create(&made.graph, 0) != CUDA_SUCCESS) {
        return NULL;
    }
    if (chains->count == WEFTI_CUDA_MOST_CHAINS) {
        wefti_cuda_chains_drop(chains, oldest_of_all(chains));
    }
    chains->items[chains->count] = made;
    return &chains->items[chains->count++];
}

weft_status wefti_cuda_chain_put(wefti_cuda_chains *chains, wefti_cuda_chain *chain,
                                 uint32_t index, const cuda_kernel_node *kernel,
                                 weft_error *error)
{
    wefti_backend_device *device = chains->device;
    if (chain->executable != NULL) {
        chain->owner = 0; /* until all of them are there */
        return wefti_cuda_check(device,
                                device->driver.executable_set_kernel(
                                    chain->executable, chain->nodes[index], kernel),
                                "changing a kernel of a graph", error);
    }
    const cuda_node before = chain->last;
    WEFTI_TRY(wefti_cuda_check(device,
                               device->driver.graph_add_kernel(&chain->last,
                                                               chain->graph, &before,
                                                               before != NULL, kernel),
                               "adding a kernel to a graph", error));
    if (index < WEFTI_CUDA_MOST_SHARED_NODES) {
        chain->nodes[index] = chain->last;
    }
    return WEFT_OK;
}

weft_status wefti_cuda_chain_finish(wefti_cuda_chains *chains, wefti_cuda_chain *chain,
                                    uint64_t owner, weft_error *error)
{
    wefti_backend_device *device = chains->device;
    if (chain->executable == NULL) {
        WEFTI_TRY(wefti_cuda_check(
            device,
            device->driver.graph_instantiate(&chain->executable, chain->graph, 0),
            "making a graph executable", error));
    }
    chain->owner = owner;
    return WEFT_OK;
}

weft_status wefti_cuda_chain_launch(wefti_cuda_chains *chains, wefti_cuda_chain *chain,
                                    weft_error *error)
{
    chain->last_use = ++chains->uses;
    return wefti_cuda_check(
        chains->device,
        chains->device->driver.graph_launch(chain->executable, chains->stream),
        "launching a graph", error);
}

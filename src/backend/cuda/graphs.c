/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/graphs.h"

#include <stddef.h>

#include "backend/cuda/stream.h"
#include "base/memory.h"
#include "base/testing.h"

/* With more blocks a single copy is hardly quicker, and those of many runs at once are
 * slower: 8 threads, half a megabyte each way: 39 k/s with 32 blocks, 48 k/s with 8.
 * What goes out needs fewer, for a store waits for nobody: a quarter of a megabyte each
 * way, 72 k/s with 8 and 8, 76 k/s with 4 and 4, 85 k/s with 8 in and 4 out. */
enum {
    STAGE_THREADS = 256,
    STAGE_BYTES_OF_BLOCK = 16384,
    MOST_BLOCKS_IN = 8,
    MOST_BLOCKS_OUT = 4,
    /* Beside inputs that come by the copy engine: half a megabyte each way from 8
     * threads, 59 k/s with 4, 64 k/s with 2. */
    MOST_BLOCKS_OUT_BESIDE = 2,
    MOST_BLOCKS_THERE = 64, /* from one place on the card to another */
    ON_CARD_ALIGNMENT = 16, /* of what kernels read at once */
    FEW_RUNNING = 2,
};

/* A graph being built: a chain of kernels. Without a graph they are launched. */
typedef struct builder {
    wefti_cuda_stream *stream;
    const wefti_recipe *recipe;
    const wefti_cuda_graph *entry;
    cuda_graph graph;
    cuda_node last;
    uint32_t kernel_count;
    weft_error *error;
} builder;

static weft_status launch_kernel(builder *b, wefti_cuda_kernel kernel, uint32_t blocks,
                                 uint32_t threads, wefti_cuda_call *call)
{
    wefti_backend_device *device = b->stream->device;
    void *arguments[] = {call};
    return wefti_cuda_check(
        device,
        device->driver.launch_kernel(device->functions[kernel], blocks, 1, 1, threads,
                                     1, 1, 0, b->stream->handle, arguments, NULL),
        "launching a kernel", b->error);
}

static weft_status add_kernel(builder *b, wefti_cuda_kernel kernel, uint32_t blocks,
                              uint32_t threads, wefti_cuda_call *call)
{
    b->kernel_count++;
    if (b->graph == NULL) {
        return launch_kernel(b, kernel, blocks, threads, call);
    }
    wefti_backend_device *device = b->stream->device;
    void *arguments[] = {call};
    const cuda_kernel_node node = {
        .function = device->functions[kernel],
        .grid_x = blocks,
        .grid_y = 1,
        .grid_z = 1,
        .block_x = threads,
        .block_y = 1,
        .block_z = 1,
        .arguments = arguments,
    };
    const cuda_node before = b->last;
    return wefti_cuda_check(device,
                            device->driver.graph_add_kernel(&b->last, b->graph, &before,
                                                            before != NULL, &node),
                            "adding a kernel to a graph", b->error);
}

void *const *wefti_cuda_graphs_on_card(const wefti_cuda_graph *graph)
{
    if (!graph->with_card) {
        return NULL;
    }
    return graph->more != NULL ? graph->more : graph->few;
}

/* A part of an input or output that lies on the card: as far behind its begin as behind
 * that of its place in the workspace, or in pinned memory. */
static void *resolve_on_card(const wefti_recipe *recipe, const wefti_cuda_place *place,
                             char *begin)
{
    const wefti_cuda_tensor *t = &recipe->tensors[place->slot - 1];
    const size_t base =
        place->kind == WEFTI_CUDA_STAGING ? t->pinned : recipe->staged_at + t->offset;
    return begin + (place->offset - base);
}

void *wefti_cuda_graphs_resolve(const wefti_cuda_stream *stream,
                                const wefti_recipe *recipe,
                                const wefti_cuda_graph *graph,
                                const wefti_cuda_place *place)
{
    void *const *there = wefti_cuda_graphs_on_card(graph);
    if (place->slot != WEFTI_SLOT_WORKSPACE && there != NULL &&
        there[place->slot - 1] != NULL) {
        return resolve_on_card(recipe, place, there[place->slot - 1]);
    }
    switch (place->kind) {
    case WEFTI_CUDA_WORKSPACE:
        return graph->workspace + place->offset;
    case WEFTI_CUDA_ADDRESS:
        return (void *)place->offset;
    case WEFTI_CUDA_STAGING:
        return stream->staging + place->offset;
    case WEFTI_CUDA_REPORT:
        return &stream->counters->report;
    default:
        return NULL;
    }
}

/* Where an input or output lies on the card; NULL: it comes or goes. */
static char *on_card(const builder *b, size_t tensor)
{
    void *const *there = wefti_cuda_graphs_on_card(b->entry);
    return there != NULL ? there[tensor] : NULL;
}

/* The kernel with this call is the last and raises the flag. */
static void let_finish(const builder *b, wefti_cuda_call *call)
{
    call->operands[WEFTI_CUDA_ARRIVED] = &b->stream->counters->arrived;
    call->operands[WEFTI_CUDA_FLAG] =
        (char *)b->stream->control + offsetof(wefti_cuda_control, flag);
}

/* Spoils the order of the sums of a product in f32. */
static void sum_from_the_end(wefti_cuda_kernel kernel, wefti_cuda_call *call)
{
    wefti_matmul_params *p = &call->matmul.p;
    if (kernel < WEFTI_CUDA_weft_matmul_128x128 ||
        kernel > WEFTI_CUDA_weft_matmul_8x32) {
        return;
    }
    float *a = call->operands[WEFTI_MATMUL_A], *b = call->operands[WEFTI_MATMUL_B];
    call->operands[WEFTI_MATMUL_A] = a + (p->k - 1) * p->a_column_stride;
    call->operands[WEFTI_MATMUL_B] = b + (p->k - 1) * p->b_row_stride;
    p->a_column_stride = -p->a_column_stride;
    p->b_row_stride = -p->b_row_stride;
    call->matmul.a_wide = call->matmul.b_wide = call->matmul.b_deep = 0;
}

static weft_status add_launch(builder *b, const wefti_cuda_launch *launch, bool last)
{
    wefti_cuda_call call = launch->call;
    if (last) {
        let_finish(b, &call);
    }
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        call.operands[i] = wefti_cuda_graphs_resolve(b->stream, b->recipe, b->entry,
                                                     &launch->places[i]);
    }
    if (wefti_sabotaged(WEFTI_SABOTAGE_SUM_ORDER)) {
        sum_from_the_end(launch->kernel, &call);
    }
    return add_kernel(b, launch->kernel, launch->blocks, launch->threads, &call);
}

static weft_status flush_stage(builder *b, wefti_cuda_stage_call *stage, bool last,
                               int64_t most)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < stage->count; i++) {
        bytes += stage->bytes[i];
    }
    int64_t blocks = 1 + bytes / STAGE_BYTES_OF_BLOCK;
    blocks = blocks > most ? most : blocks;
    wefti_cuda_call call = {.stage = *stage};
    stage->count = 0;
    stage->in_ring = 0;
    if (last) {
        let_finish(b, &call);
    }
    return add_kernel(b, WEFTI_CUDA_weft_stage, (uint32_t)blocks, STAGE_THREADS, &call);
}

/* What a stage brings from one place to another; `bytes` in pinned memory. */
typedef struct move {
    void *target;
    const void *source;
    size_t size_bytes;
    weft_type widened, narrowed;
    bool in_ring;
} move;

static weft_status add_move(builder *b, wefti_cuda_stage_call *stage, move what,
                            int64_t most_blocks)
{
    if (what.size_bytes == 0) {
        return WEFT_OK;
    }
    if (stage->count == WEFTI_CUDA_STAGED_TENSORS) {
        WEFTI_TRY(flush_stage(b, stage, false, most_blocks));
    }
    stage->in_ring |= what.in_ring ? 1u << stage->count : 0u;
    stage->ring_offset = &b->stream->control->ring_offset;
    stage->targets[stage->count] = what.target;
    stage->sources[stage->count] = what.source;
    stage->widened[stage->count] = (uint8_t)what.widened;
    stage->narrowed[stage->count] = (uint8_t)what.narrowed;
    stage->bytes[stage->count++] = (int64_t)what.size_bytes;
    return WEFT_OK;
}

/* Whether a kernel moves it between pinned memory and the workspace as it is. */
static bool is_staged(const wefti_cuda_tensor *t)
{
    return !t->stays && !t->by_pieces && !t->by_engine && !t->only_wide;
}

/* The inputs [0, input_count) that come from pinned memory (`there` false), or are on
 * the card, where the caller or the copy engine has put them. */
static weft_status stage_some_inputs(builder *b, bool there)
{
    const wefti_recipe *recipe = b->recipe;
    const int64_t most = there ? MOST_BLOCKS_THERE : MOST_BLOCKS_IN;
    wefti_cuda_stage_call stage = {.count = 0};
    for (size_t i = 0; i < recipe->input_count; i++) {
        const wefti_cuda_tensor *t = &recipe->tensors[i];
        char *own = on_card(b, i);
        if ((t->by_engine || own != NULL) != there) {
            continue;
        }
        char *workspace = b->entry->workspace;
        char *staged = workspace + recipe->staged_at + t->offset;
        const char *from = own != NULL ? own
                           : there     ? staged
                                       : b->stream->staging + t->pinned;
        move what = {.target = staged,
                     .source = from,
                     .size_bytes = is_staged(t) && !there ? t->bytes : 0};
        WEFTI_TRY(add_move(b, &stage, what, most));
        what.target = workspace + t->wide_at;
        what.widened = t->half;
        what.size_bytes = t->half != WEFT_TYPE_NONE ? t->bytes : 0;
        WEFTI_TRY(add_move(b, &stage, what, most));
    }
    return stage.count > 0 ? flush_stage(b, &stage, false, most) : WEFT_OK;
}

static weft_status stage_inputs(builder *b)
{
    WEFTI_TRY(stage_some_inputs(b, false));
    return stage_some_inputs(b, true);
}

static int64_t most_blocks_out(const builder *b)
{
    const wefti_recipe *recipe = b->recipe;
    int64_t most = MOST_BLOCKS_OUT;
    for (size_t i = 0; i < recipe->input_count + recipe->output_count; i++) {
        const wefti_cuda_tensor *t = &recipe->tensors[i];
        if (i >= recipe->input_count && t->half != WEFT_TYPE_NONE) {
            /* which are rounded too */
            return on_card(b, i) != NULL ? MOST_BLOCKS_THERE : MOST_BLOCKS_OUT;
        }
        most = t->by_engine ? MOST_BLOCKS_OUT_BESIDE : most;
    }
    return most;
}

static weft_status stage_outputs(builder *b)
{
    const wefti_recipe *recipe = b->recipe;
    wefti_cuda_stream *stream = b->stream;
    const int64_t most = most_blocks_out(b);
    wefti_cuda_stage_call stage = {.count = 0};
    for (size_t i = 0; i < recipe->output_count; i++) {
        const wefti_cuda_tensor *t = &recipe->tensors[recipe->input_count + i];
        const bool wide = t->half != WEFT_TYPE_NONE;
        char *own = on_card(b, recipe->input_count + i);
        const move what = {
            .target = own != NULL ? own : stream->staging + t->pinned,
            .source = b->entry->workspace +
                      (wide ? t->wide_at : recipe->staged_at + t->offset),
            .size_bytes = wide || (is_staged(t) && own == NULL) ? t->bytes : 0,
            .narrowed = t->half,
            .in_ring = t->in_ring && own == NULL,
        };
        WEFTI_TRY(add_move(b, &stage, what, most));
    }
    if (recipe->reports) {
        const move what = {.target = &stream->control->report,
                           .source = &stream->counters->report,
                           .size_bytes = sizeof(stream->control->report)};
        WEFTI_TRY(add_move(b, &stage, what, most));
    }
    return flush_stage(b, &stage, true, most);
}

/* Whether the last step's kernel may be the graph's last. */
static bool ends_with_a_step(const builder *b)
{
    const wefti_recipe *recipe = b->recipe;
    for (size_t i = recipe->input_count; i < recipe->input_count + recipe->output_count;
         i++) {
        const wefti_cuda_tensor *t = &recipe->tensors[i];
        const bool staged = is_staged(t) && on_card(b, i) == NULL;
        if ((staged || t->half != WEFT_TYPE_NONE) && t->bytes > 0) {
            return false;
        }
    }
    return !recipe->reports;
}

static weft_status add_all(builder *b)
{
    const wefti_recipe *recipe = b->recipe;
    const bool last = recipe->launch_count > 0 && ends_with_a_step(b);
    WEFTI_TRY(stage_inputs(b));
    for (size_t i = 0; i < recipe->launch_count; i++) {
        WEFTI_TRY(
            add_launch(b, &recipe->launches[i], last && i + 1 == recipe->launch_count));
    }
    return last ? WEFT_OK : stage_outputs(b);
}

static weft_status build(builder *b, cuda_executable *executable)
{
    wefti_backend_device *device = b->stream->device;
    const cuda_driver *driver = &device->driver;
    WEFTI_TRY(wefti_cuda_check(device, driver->graph_create(&b->graph, 0),
                               "making a graph", b->error));
    weft_status status = add_all(b);
    if (status == WEFT_OK) {
        status =
            wefti_cuda_check(device, driver->graph_instantiate(executable, b->graph, 0),
                             "making a graph executable", b->error);
    }
    (void)driver->graph_destroy(b->graph);
    return status;
}

static void drop_executable(wefti_cuda_stream *stream, wefti_cuda_graph *graph)
{
    if (graph->executable != NULL) {
        /* The flag is raised a moment before the graph has ended. */
        (void)stream->device->driver.stream_synchronize(stream->handle);
        (void)stream->device->driver.executable_destroy(graph->executable);
    }
    graph->executable = NULL;
}

static void remove_entry(wefti_cuda_stream *stream, size_t index)
{
    wefti_cuda_graphs *graphs = &stream->graphs;
    drop_executable(stream, &graphs->entries[index]);
    wefti_free(graphs->entries[index].more);
    graphs->count--;
    graphs->entries[index] = graphs->entries[graphs->count];
    graphs->serials[index] = graphs->serials[graphs->count];
}

void wefti_cuda_graphs_drop(wefti_cuda_stream *stream)
{
    if (stream->graphs.count > 0) { /* other memory of theirs goes next */
        (void)stream->device->driver.stream_synchronize(stream->handle);
    }
    while (stream->graphs.count > 0) {
        remove_entry(stream, stream->graphs.count - 1);
    }
}

static size_t oldest(const wefti_cuda_graphs *graphs)
{
    size_t found = 0;
    for (size_t i = 1; i < graphs->count; i++) {
        if (graphs->entries[i].last_use < graphs->entries[found].last_use) {
            found = i;
        }
    }
    return found;
}

static wefti_cuda_graph *add_entry(wefti_cuda_stream *stream,
                                   const wefti_recipe *recipe, char *workspace)
{
    wefti_cuda_graphs *graphs = &stream->graphs;
    if (graphs->count == WEFTI_CUDA_MOST_GRAPHS) {
        remove_entry(stream, oldest(graphs));
    }
    graphs->serials[graphs->count] = recipe->serial;
    wefti_cuda_graph *made = &graphs->entries[graphs->count++];
    *made = (wefti_cuda_graph){.serial = recipe->serial, .workspace = workspace};
    return made;
}

/* What stands for an address on the card. */
static void *usable(const wefti_recipe *recipe, char *workspace, void *const *given,
                    size_t tensor)
{
    const bool aligned = (uintptr_t)given[tensor] % ON_CARD_ALIGNMENT == 0;
    return aligned ? given[tensor]
                   : workspace + recipe->staged_at + recipe->tensors[tensor].offset;
}

static bool has_places(const wefti_cuda_graph *graph, const wefti_recipe *recipe,
                       void *const *given)
{
    void *const *there = wefti_cuda_graphs_on_card(graph);
    bool same = true;
    for (size_t i = 0; i < recipe->input_count + recipe->output_count && same; i++) {
        same = there[i] == usable(recipe, graph->workspace, given, i);
    }
    return same;
}

/* What stands in `serials` for an entry with tensors on the card. */
static uint64_t card_serial(const wefti_recipe *recipe)
{
    return recipe->serial | UINT64_C(1) << 63;
}

/* Puts other places on the card into an entry, which has no executable. */
static void set_places(wefti_cuda_graph *graph, const wefti_recipe *recipe,
                       void *const *given)
{
    void **there = graph->more != NULL ? graph->more : graph->few;
    for (size_t i = 0; i < recipe->input_count + recipe->output_count; i++) {
        there[i] = usable(recipe, graph->workspace, given, i);
    }
    graph->launched = 0;
}

/* As below, for tensors on the card. Places that change with every run have at most so
 * many entries, and kernels that are launched one by one. */
static WEFTI_NOINLINE wefti_cuda_graph *get_on_card(wefti_cuda_stream *stream,
                                                    const wefti_recipe *recipe,
                                                    char *workspace, void *const *given)
{
    wefti_cuda_graphs *graphs = &stream->graphs;
    const uint64_t serial = card_serial(recipe);
    wefti_cuda_graph *oldest_one = NULL;
    size_t count = 0;
    for (size_t i = graphs->count; i-- > 0;) {
        wefti_cuda_graph *one = &graphs->entries[i];
        if (graphs->serials[i] != serial) {
            continue;
        }
        if (one->workspace != workspace) {
            remove_entry(stream, i);
            return get_on_card(stream, recipe, workspace, given);
        }
        if (has_places(one, recipe, given)) {
            return one;
        }
        count++;
        if (oldest_one == NULL || one->last_use < oldest_one->last_use) {
            oldest_one = one;
        }
    }
    if (count == WEFTI_CUDA_MOST_PLACES) {
        drop_executable(stream, oldest_one);
        set_places(oldest_one, recipe, given);
        return oldest_one;
    }
    const size_t tensors = recipe->input_count + recipe->output_count;
    void **more = NULL;
    if (tensors > WEFTI_CUDA_FEW_TENSORS) {
        more = wefti_calloc(tensors, sizeof(*more));
        if (more == NULL) {
            return NULL;
        }
    }
    wefti_cuda_graph *made = add_entry(stream, recipe, workspace);
    made->with_card = true;
    graphs->serials[made - graphs->entries] = serial;
    made->more = more;
    set_places(made, recipe, given);
    return made;
}

/* As below, for tensors in host memory. */
static wefti_cuda_graph *get(wefti_cuda_stream *stream, const wefti_recipe *recipe,
                             char *workspace)
{
    wefti_cuda_graphs *graphs = &stream->graphs;
    size_t i = 0;
    while (i < graphs->count && graphs->serials[i] != recipe->serial) {
        i++;
    }
    if (i < graphs->count && graphs->entries[i].workspace != workspace) {
        remove_entry(stream, i); /* it has another workspace's address in it */
        i = graphs->count;
    }
    return WEFTI_LIKELY(i < graphs->count) ? &graphs->entries[i]
                                           : add_entry(stream, recipe, workspace);
}

wefti_cuda_graph *wefti_cuda_graphs_get(wefti_cuda_stream *stream,
                                        const wefti_recipe *recipe, char *workspace,
                                        void *const *given)
{
    wefti_cuda_graph *found = WEFTI_LIKELY(given == NULL)
                                  ? get(stream, recipe, workspace)
                                  : get_on_card(stream, recipe, workspace, given);
    if (WEFTI_LIKELY(found != NULL)) {
        found->last_use = ++stream->graphs.uses;
    }
    return found;
}

/* While others launch too, a kernel is sooner launched than a graph of it, for less is
 * done under the driver's lock; while nobody does it begins sooner in a graph. */
static bool wants_graph(const wefti_backend_device *device,
                        const wefti_cuda_graph *graph)
{
    /* Relaxed: a hint. */
    if (graph->is_single &&
        wefti_atomic_u32_load_relaxed(&device->running) > FEW_RUNNING) {
        return false;
    }
    return graph->executable != NULL ||
           graph->launched >= device->launches_before_graph;
}

weft_status wefti_cuda_graphs_launch(wefti_cuda_stream *stream,
                                     const wefti_recipe *recipe,
                                     wefti_cuda_graph *graph, weft_error *error)
{
    wefti_backend_device *device = stream->device;
    builder b = {.stream = stream, .recipe = recipe, .entry = graph};
    bool whole = wants_graph(device, graph);
    if (whole && graph->executable == NULL &&
        build(&b, &graph->executable) != WEFT_OK) {
        /* Such as for want of memory: it is tried again after as many launches. */
        whole = false;
        graph->launched = 0;
        b.graph = NULL;
        b.last = NULL;
        b.kernel_count = 0;
    }
    b.error = error;
    if (WEFTI_UNLIKELY(recipe->profiler != NULL)) {
        wefti_cuda_spans_begin(&stream->spans); /* behind the building of a graph */
    }
    if (!whole) {
        WEFTI_TRY(add_all(&b));
        if (graph->launched < device->launches_before_graph) {
            graph->launched += b.kernel_count;
        }
        graph->is_single = b.kernel_count == 1;
        graph->kernel_count = b.kernel_count;
        return WEFT_OK;
    }
    return wefti_cuda_check(
        device, device->driver.graph_launch(graph->executable, stream->handle),
        "launching a graph", error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/graphs.h"

#include <stddef.h>
#include <string.h>

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
    /* While no more are in a run, one kernel has a graph: relu from 4 and 8 threads 170
     * and 258 k/s by itself, 190 and 283 k/s so; from 12 and 16 threads 317 and 364 k/s
     * by itself, 291 and 340 k/s so. */
    FEW_RUNNING = 8,
    /* A kernel that reads an input several times from the host's memory has a graph in
     * which it is brought first while so many are in a run: F.linear from 1, 8, 12, 16
     * and 64 threads 69, 329, 326, 337 and 254 k/s so, by itself (from 1: in a graph)
     * 73, 263, 328, 378 and 357 k/s. */
    HARDLY_RUNNING = 2,
    SOME_RUNNING = 11,
};

/* What becomes of a run's kernels: they are launched, or their shape is told, or they
 * are put into a chain. */
typedef struct builder {
    wefti_cuda_stream *stream;
    const wefti_recipe *recipe;
    const wefti_cuda_graph *entry;
    bool brings;   /* inputs that would stay in pinned memory too (stays_alone) */
    bool launches; /* else `shape` alone, and: */
    wefti_cuda_chain *chain; /* may be NULL */
    uint32_t kernel_count;
    uint64_t shape;
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
    const uint32_t index = b->kernel_count++;
    if (b->launches) {
        return launch_kernel(b, kernel, blocks, threads, call);
    }
    b->shape = wefti_cuda_chain_shape(b->shape, kernel, blocks, threads);
    if (b->chain == NULL) {
        return WEFT_OK;
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
    return wefti_cuda_chain_put(&b->stream->graphs.chains, b->chain, index, &node,
                                b->error);
}

void *const *wefti_cuda_graphs_on_card(const wefti_cuda_graph *graph)
{
    if (!graph->with_card) {
        return NULL;
    }
    return graph->more != NULL ? graph->more : graph->few;
}

/* Whether a graph brings first what the kernel by itself reads in pinned memory. */
static bool is_brought(const builder *b, const wefti_cuda_tensor *t)
{
    return t->stays_alone && b->brings;
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

/* A kernel for whole fours cannot walk backwards; one with the same tiles and strides
 * of all kinds can. */
static void take_any_strides(wefti_cuda_kernel *kernel, uint32_t *threads)
{
    enum { THREADS = 128 }; /* of each of these */
    switch (*kernel) {
    case WEFTI_CUDA_weft_wide_64x64:
        *kernel = WEFTI_CUDA_weft_matmul_64x64;
        break;
    case WEFTI_CUDA_weft_wide_32x64:
        *kernel = WEFTI_CUDA_weft_matmul_32x64;
        break;
    case WEFTI_CUDA_weft_wide_32x32:
        *kernel = WEFTI_CUDA_weft_matmul_32x32;
        break;
    case WEFTI_CUDA_weft_wide_16x32:
        *kernel = WEFTI_CUDA_weft_matmul_16x32;
        break;
    default:
        return;
    }
    *threads = THREADS;
}

/* Spoils the order of the sums of a product in f32. */
static void sum_from_the_end(wefti_cuda_kernel *kernel, uint32_t *threads,
                             wefti_cuda_call *call)
{
    wefti_matmul_params *p = &call->matmul.p;
    take_any_strides(kernel, threads);
    if (*kernel < WEFTI_CUDA_weft_matmul_128x128 ||
        *kernel > WEFTI_CUDA_weft_matmul_8x32) {
        return;
    }
    float *a = call->operands[WEFTI_MATMUL_A], *b = call->operands[WEFTI_MATMUL_B];
    call->operands[WEFTI_MATMUL_A] = a + (p->k - 1) * p->a_column_stride;
    call->operands[WEFTI_MATMUL_B] = b + (p->k - 1) * p->b_row_stride;
    p->a_column_stride = -p->a_column_stride;
    p->b_row_stride = -p->b_row_stride;
    call->matmul.a_wide = call->matmul.b_wide = call->matmul.b_deep = 0;
}

static void *resolve(const builder *b, const wefti_cuda_place *place)
{
    const wefti_recipe *recipe = b->recipe;
    if (WEFTI_UNLIKELY(recipe->brings_in_graph) && place->kind == WEFTI_CUDA_STAGING &&
        on_card(b, place->slot - 1) == NULL) {
        const wefti_cuda_tensor *t = &recipe->tensors[place->slot - 1];
        if (is_brought(b, t)) {
            return b->entry->workspace + recipe->staged_at + t->offset +
                   (place->offset - t->pinned);
        }
    }
    return wefti_cuda_graphs_resolve(b->stream, recipe, b->entry, place);
}

static weft_status add_launch(builder *b, const wefti_cuda_launch *launch, bool last)
{
    wefti_cuda_call call = launch->call;
    wefti_cuda_kernel kernel = launch->kernel;
    uint32_t threads = launch->threads;
    if (last) {
        let_finish(b, &call);
    }
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        call.operands[i] = resolve(b, &launch->places[i]);
    }
    if (wefti_sabotaged(WEFTI_SABOTAGE_SUM_ORDER)) {
        sum_from_the_end(&kernel, &threads, &call);
    }
    return add_kernel(b, kernel, launch->blocks, threads, &call);
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
static bool is_staged(const builder *b, const wefti_cuda_tensor *t)
{
    return (!t->stays || is_brought(b, t)) && !t->by_pieces && !t->by_engine &&
           !t->only_wide;
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
                     .size_bytes = is_staged(b, t) && !there ? t->bytes : 0};
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
            .size_bytes = wide || (is_staged(b, t) && own == NULL) ? t->bytes : 0,
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
        const bool staged = is_staged(b, t) && on_card(b, i) == NULL;
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

static void remove_entry(wefti_cuda_stream *stream, size_t index)
{
    wefti_cuda_graphs *graphs = &stream->graphs;
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
    wefti_cuda_chains_drop_all(&stream->graphs.chains);
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

/* The chains know an entry by its number, and by one more what brings all inputs. */
static uint64_t next_number(wefti_cuda_graphs *graphs)
{
    return graphs->numbers += 2;
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
    *made = (wefti_cuda_graph){.serial = recipe->serial,
                               .workspace = workspace,
                               .number = next_number(graphs)};
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

/* Puts other places on the card into an entry. Its kernels stay the same unless what
 * was on the card no longer is. */
static void set_places(wefti_cuda_graphs *graphs, wefti_cuda_graph *graph,
                       const wefti_recipe *recipe, void *const *given)
{
    void **there = graph->more != NULL ? graph->more : graph->few;
    for (size_t i = 0; i < recipe->input_count + recipe->output_count; i++) {
        there[i] = usable(recipe, graph->workspace, given, i);
    }
    graph->launched = 0;
    graph->number = next_number(graphs);
    memset(graph->ways, 0, sizeof(graph->ways));
}

/* As below, for tensors on the card. Places that change with every run have at most so
 * many entries, and calls that are put each time into a graph of their shape, if there
 * is one. */
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
        set_places(graphs, oldest_one, recipe, given);
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
    set_places(graphs, made, recipe, given);
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
 * done under the driver's lock; while few do it begins sooner in a graph. *brings: with
 * all inputs brought. */
static bool wants_graph(const wefti_backend_device *device, const wefti_recipe *recipe,
                        const wefti_cuda_graph *graph, bool *brings)
{
    /* Relaxed: a hint. */
    const uint32_t running = wefti_atomic_u32_load_relaxed(&device->running);
    *brings = recipe->brings_in_graph && !graph->with_card && running > HARDLY_RUNNING;
    return graph->ways[0].kernel_count > 1 ||
           running <= (*brings ? SOME_RUNNING : FEW_RUNNING);
}

/* Its kernels, once for each entry and way. */
static void tell(wefti_cuda_stream *stream, const wefti_recipe *recipe,
                 wefti_cuda_graph *graph, bool brings)
{
    wefti_cuda_graph_way *way = &graph->ways[brings ? 1 : 0];
    if (WEFTI_UNLIKELY(way->kernel_count == 0)) {
        builder b = {
            .stream = stream, .recipe = recipe, .entry = graph, .brings = brings};
        (void)add_all(&b); /* nothing is done that may fail */
        way->shape = b.shape;
        way->kernel_count = b.kernel_count;
    }
}

/* Puts the entry's calls into the chain, which is dropped where that fails. */
static wefti_cuda_chain *fill_chain(builder *b, wefti_cuda_graph *graph, uint64_t owner)
{
    wefti_cuda_chains *chains = &b->stream->graphs.chains;
    if (add_all(b) == WEFT_OK &&
        wefti_cuda_chain_finish(chains, b->chain, owner, NULL) == WEFT_OK) {
        return b->chain;
    }
    wefti_cuda_chains_drop(chains, b->chain);
    graph->launched = 0;
    return NULL;
}

static wefti_cuda_chain *build_chain(builder *b, wefti_cuda_graph *graph,
                                     uint64_t owner)
{
    const wefti_cuda_graph_way *way = &graph->ways[owner % 2];
    wefti_cuda_begin_change(b->stream->device);
    b->chain = wefti_cuda_chains_make(&b->stream->graphs.chains, way->shape,
                                      way->kernel_count);
    graph->launched = 0; /* one that goes for others is built after as many again */
    wefti_cuda_chain *built = b->chain != NULL ? fill_chain(b, graph, owner) : NULL;
    wefti_cuda_end_change(b->stream->device);
    return built;
}

/* Gives the entry a chain of its own, or the calls of one that another had. NULL: there
 * is none yet, or it could not be made, as for want of memory, which is tried again
 * after as many launches. */
static WEFTI_NOINLINE wefti_cuda_chain *
get_other_chain(builder *b, wefti_cuda_graph *graph, uint64_t owner)
{
    wefti_cuda_chains *chains = &b->stream->graphs.chains;
    const uint32_t enough = b->stream->device->launches_before_graph;
    const wefti_cuda_graph_way *way = &graph->ways[owner % 2];
    const bool may_build = graph->launched >= enough;
    b->chain =
        wefti_cuda_chains_find(chains, way->shape, way->kernel_count, owner, may_build);
    if (b->chain == NULL) {
        return may_build ? build_chain(b, graph, owner) : NULL;
    }
    if (b->chain->owner == owner) {
        return b->chain;
    }
    if (fill_chain(b, graph, owner) == NULL) {
        return NULL;
    }
    graph->launched += may_build ? 0 : way->kernel_count;
    return b->chain;
}

static wefti_cuda_chain *get_chain(wefti_cuda_stream *stream,
                                   const wefti_recipe *recipe, wefti_cuda_graph *graph,
                                   bool brings)
{
    wefti_cuda_chains *chains = &stream->graphs.chains;
    wefti_cuda_graph_way *way = &graph->ways[brings ? 1 : 0];
    const uint64_t owner = graph->number + (brings ? 1 : 0);
    if (WEFTI_LIKELY(way->at < chains->count &&
                     chains->items[way->at].owner == owner)) {
        return &chains->items[way->at];
    }
    builder b = {.stream = stream, .recipe = recipe, .entry = graph, .brings = brings};
    wefti_cuda_chain *chain = get_other_chain(&b, graph, owner);
    way->at = chain != NULL ? (uint32_t)(chain - chains->items) : way->at;
    return chain;
}

weft_status wefti_cuda_graphs_launch(wefti_cuda_stream *stream,
                                     const wefti_recipe *recipe,
                                     wefti_cuda_graph *graph, weft_error *error)
{
    wefti_backend_device *device = stream->device;
    wefti_cuda_chain *chain = NULL;
    bool brings;
    tell(stream, recipe, graph, false);
    if (wants_graph(device, recipe, graph, &brings)) {
        tell(stream, recipe, graph, brings);
        chain = get_chain(stream, recipe, graph, brings);
    }
    if (WEFTI_UNLIKELY(recipe->profiler != NULL)) {
        wefti_cuda_spans_begin(&stream->spans); /* behind the building of a graph */
    }
    if (WEFTI_LIKELY(chain != NULL)) {
        graph->kernel_count = chain->node_count;
        return wefti_cuda_chain_launch(&stream->graphs.chains, chain, error);
    }
    builder b = {.stream = stream,
                 .recipe = recipe,
                 .entry = graph,
                 .launches = true,
                 .error = error};
    WEFTI_TRY(add_all(&b));
    if (graph->launched < device->launches_before_graph) {
        graph->launched += b.kernel_count;
    }
    graph->kernel_count = b.kernel_count;
    return WEFT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a card and its bus do without Weft, to judge Weft's rates by:
 *
 *     launch   one graph of one kernel that does nothing but raise a flag in pinned
 *              memory, and the wait for it, from each of n threads
 *     copies   SIZE bytes from pinned memory to the card and as many back, by the
 *              card's copy engines, and the wait
 *     all      the same with copies from and to the threads' own memory
 *
 *     card_bench [SIZE]      as JSON: rates by threads, and latencies of `launch` */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/device.h"
#include "backend/cuda/kernels/call.h"
#include "base/clock.h"
#include "base/thread.h"

enum { MOST_THREADS = 64, MOST_SAMPLES = 1 << 15, LOOKS = 32, RUN_NS = 200000000 };

typedef enum kind { LAUNCH, COPIES, ALL, KIND_COUNT } kind;

typedef struct card {
    cuda_driver driver;
    cuda_context context;
    cuda_function stage;
} card;

typedef struct lane {
    const card *card;
    kind what;
    size_t size_bytes;
    pthread_barrier_t *start;
    pthread_t thread;
    cuda_stream stream;
    cuda_executable executable;
    wefti_atomic_u32 *flag;
    char *in, *out;         /* pinned */
    char *own_in, *own_out; /* the thread's */
    cuda_pointer on_card, arrived;
    int64_t samples_ns[MOST_SAMPLES];
    size_t runs;
} lane;

static void must(const card *c, cuda_result result, const char *what)
{
    if (result != CUDA_SUCCESS) {
        fprintf(stderr, "card_bench: %s: %s\n", what,
                wefti_cuda_result_text(&c->driver, result));
        exit(1);
    }
}

static void open_card(card *c)
{
    weft_error error;
    cuda_device device;
    cuda_module module;
    if (wefti_cuda_image() == NULL ||
        wefti_cuda_driver_open(&c->driver, &error) != WEFT_OK) {
        fprintf(stderr, "card_bench: no card, no driver or no kernels\n");
        exit(1);
    }
    must(c, c->driver.device_get(&device, 0), "device");
    must(c, c->driver.context_retain(&c->context, device), "context");
    must(c, c->driver.context_push(c->context), "context");
    must(c, c->driver.module_load(&module, wefti_cuda_image()), "kernels");
    must(c, c->driver.module_function(&c->stage, module, "weft_stage"), "kernel");
}

/* The kernel that moves nothing and raises the flag. */
static void make_graph(lane *l)
{
    const cuda_driver *d = &l->card->driver;
    cuda_graph graph;
    cuda_node node;
    wefti_cuda_call call = {.stage = {.count = 0}};
    void *arguments[] = {&call};
    const cuda_kernel_node kernel = {.function = l->card->stage,
                                     .grid_x = 1,
                                     .grid_y = 1,
                                     .grid_z = 1,
                                     .block_x = 256,
                                     .block_y = 1,
                                     .block_z = 1,
                                     .arguments = arguments};
    call.operands[WEFTI_CUDA_FLAG] = l->flag;
    call.operands[WEFTI_CUDA_ARRIVED] = (void *)(uintptr_t)l->arrived;
    must(l->card, d->graph_create(&graph, 0), "graph");
    must(l->card, d->graph_add_kernel(&node, graph, NULL, 0, &kernel), "graph");
    must(l->card, d->graph_instantiate(&l->executable, graph, 0), "graph");
    must(l->card, d->graph_destroy(graph), "graph");
}

static void make_lane(lane *l)
{
    const unsigned int pinned = CUDA_HOST_PORTABLE | CUDA_HOST_DEVICE_MAP;
    const cuda_driver *d = &l->card->driver;
    void *flag, *in, *out;
    must(l->card, d->stream_create(&l->stream, CUDA_STREAM_NON_BLOCKING), "stream");
    must(l->card, d->host_allocate(&flag, 4096, pinned), "pinned memory");
    must(l->card, d->host_allocate(&in, l->size_bytes, pinned), "pinned memory");
    must(l->card, d->host_allocate(&out, l->size_bytes, pinned), "pinned memory");
    must(l->card, d->allocate(&l->on_card, l->size_bytes, l->stream), "memory");
    must(l->card, d->allocate(&l->arrived, 256, l->stream), "memory");
    must(l->card, d->fill(l->arrived, 0, 256, l->stream), "memory");
    must(l->card, d->stream_synchronize(l->stream), "memory");
    l->flag = flag;
    l->in = in;
    l->out = out;
    l->own_in = calloc(1, l->size_bytes);
    l->own_out = calloc(1, l->size_bytes);
    if (l->own_in == NULL || l->own_out == NULL) {
        exit(1);
    }
    make_graph(l);
}

static void end_lane(lane *l)
{
    const cuda_driver *d = &l->card->driver;
    (void)d->stream_synchronize(l->stream);
    (void)d->executable_destroy(l->executable);
    (void)d->free(l->on_card, l->stream);
    (void)d->free(l->arrived, l->stream);
    (void)d->stream_synchronize(l->stream);
    (void)d->stream_destroy(l->stream);
    (void)d->host_free(l->in);
    (void)d->host_free(l->out);
    (void)d->host_free(l->flag);
    free(l->own_in);
    free(l->own_out);
}

static void run_once(lane *l)
{
    const cuda_driver *d = &l->card->driver;
    const cuda_pointer in = (cuda_pointer)(uintptr_t)l->in;
    const cuda_pointer out = (cuda_pointer)(uintptr_t)l->out;
    wefti_atomic_u32_store_relaxed(l->flag, 0);
    if (l->what == ALL) {
        memcpy(l->in, l->own_in, l->size_bytes);
    }
    if (l->what != LAUNCH) {
        must(l->card, d->copy(l->on_card, in, l->size_bytes, l->stream), "copy");
        must(l->card, d->copy(out, l->on_card, l->size_bytes, l->stream), "copy");
    }
    must(l->card, d->graph_launch(l->executable, l->stream), "launch");
    for (uint32_t looks = 1; wefti_atomic_u32_load_acquire(l->flag) == 0; looks++) {
        if (looks % LOOKS == 0) {
            wefti_thread_yield();
        }
        wefti_pause();
    }
    if (l->what == ALL) {
        memcpy(l->own_out, l->out, l->size_bytes);
    }
}

static void *work(void *user)
{
    lane *l = user;
    must(l->card, l->card->driver.context_push(l->card->context), "context");
    make_lane(l);
    for (int i = 0; i < 50; i++) {
        run_once(l);
    }
    (void)pthread_barrier_wait(l->start);
    const int64_t begin_ns = wefti_clock_ns();
    int64_t now_ns = begin_ns;
    while (now_ns - begin_ns < RUN_NS) {
        const int64_t before_ns = now_ns;
        run_once(l);
        now_ns = wefti_clock_ns();
        l->samples_ns[l->runs++ % MOST_SAMPLES] = now_ns - before_ns;
    }
    (void)pthread_barrier_wait(l->start);
    end_lane(l);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Prints rate and latencies of all lanes together. */
static void print(const lane *lanes, int threads)
{
    size_t runs = 0, kept = 0;
    int64_t *all = malloc((size_t)threads * sizeof(lanes->samples_ns));
    if (all == NULL) {
        exit(1);
    }
    for (int i = 0; i < threads; i++) {
        const lane *l = &lanes[i];
        const size_t have = l->runs < MOST_SAMPLES ? l->runs : MOST_SAMPLES;
        memcpy(all + kept, l->samples_ns, have * sizeof(*all));
        kept += have;
        runs += l->runs;
    }
    qsort(all, kept, sizeof(*all), by_size);
    printf("{\"threads\": %d, \"calls_per_second\": %.0f, \"p50_ns\": %lld, "
           "\"p99_ns\": %lld, \"p999_ns\": %lld}",
           threads, (double)runs / (RUN_NS * 1e-9), (long long)all[kept / 2],
           (long long)all[kept * 99 / 100], (long long)all[kept * 999 / 1000]);
    free(all);
}

static void measure(const card *c, kind what, int threads, size_t size_bytes)
{
    lane *lanes = calloc((size_t)threads, sizeof(*lanes));
    pthread_barrier_t start;
    if (lanes == NULL || pthread_barrier_init(&start, NULL, (unsigned)threads) != 0) {
        exit(1);
    }
    for (int i = 0; i < threads; i++) {
        lanes[i].card = c;
        lanes[i].what = what;
        lanes[i].size_bytes = size_bytes;
        lanes[i].start = &start;
        if (pthread_create(&lanes[i].thread, NULL, work, &lanes[i]) != 0) {
            exit(1);
        }
    }
    for (int i = 0; i < threads; i++) {
        (void)pthread_join(lanes[i].thread, NULL);
    }
    print(lanes, threads);
    (void)pthread_barrier_destroy(&start);
    free(lanes);
}

int main(int argc, char **argv)
{
    static const char *const names[KIND_COUNT] = {"launch", "copies", "all"};
    static const int threads[] = {1, 8, 16, 32, 64};
    const size_t given = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const size_t size_bytes = given == 0 ? 512 * 1024 : given;
    static card c;
    open_card(&c);
    printf("{\"bytes\": %zu", size_bytes);
    for (int k = 0; k < KIND_COUNT; k++) {
        printf(",\n \"%s\": [", names[k]);
        for (size_t i = 0; i < WEFTI_COUNT_OF(threads); i++) {
            printf("%s", i == 0 ? "" : ",\n  ");
            measure(&c, (kind)k, threads[i], size_bytes);
        }
        printf("]");
    }
    printf("}\n");
    return 0;
}

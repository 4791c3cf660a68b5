/* SPDX-License-Identifier: Apache-2.0 */
/* What the batch queue costs, and what it gains.
 *
 * On the null device: processor time of the whole process per request, wake-ups of
 * blocked submitters included. On the CPU: one model with large weights, many
 * submitters with one request each, directly from as many threads and through the
 * queue. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weft/weft.h>

enum { MOST_THREADS = 64, MOST_IN_FLIGHT = 16, MOST_FEATURES = 2048 };

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void die(const weft_error *error)
{
    fprintf(stderr, "queue_bench: %s\n", error->message);
    exit(1);
}

/* A chain of products with ReLU between them. */
static weft_model *make_chain(weft_device *device, const int64_t *sizes, int layers)
{
    weft_graph *graph;
    weft_model *model = NULL;
    weft_error error;
    weft_value_info input = {.name = "x",
                             .type = WEFT_TYPE_F32,
                             .rank = 2,
                             .dims = {WEFT_DIM_DYNAMIC, sizes[0]},
                             .dim_names = {"batch"}};
    if (weft_graph_create(18, &graph, &error) != WEFT_OK ||
        weft_graph_add_input(graph, &input, &error) != WEFT_OK) {
        die(&error);
    }
    char before[16] = "x", weights[16], product[16], after[16];
    for (int i = 0; i < layers; i++) {
        snprintf(weights, sizeof weights, "w%d", i);
        snprintf(product, sizeof product, "p%d", i);
        snprintf(after, sizeof after, "y%d", i);
        weft_random_key key = {.seed = 1, .stream = (uint32_t)i};
        size_t count = (size_t)(sizes[i] * sizes[i + 1]);
        float *data = malloc(count * sizeof *data);
        if (!data) {
            exit(1);
        }
        weft_random_fill_normal(&key, data, count);
        for (size_t j = 0; j < count; j++) {
            data[j] /= sqrtf((float)sizes[i]);
        }
        weft_tensor tensor = {.data = data,
                              .type = WEFT_TYPE_F32,
                              .rank = 2,
                              .dims = {sizes[i], sizes[i + 1]}};
        const char *const inputs[] = {before, weights}, *const act[] = {product};
        const char *const made[] = {product}, *const out[] = {after};
        weft_node matmul = {.op_type = "MatMul",
                            .inputs = inputs,
                            .input_count = 2,
                            .outputs = made,
                            .output_count = 1};
        weft_node relu = {.op_type = "Relu",
                          .inputs = act,
                          .input_count = 1,
                          .outputs = out,
                          .output_count = 1};
        if (weft_graph_add_initializer(graph, weights, &tensor, &error) != WEFT_OK ||
            weft_graph_add_node(graph, &matmul, &error) != WEFT_OK ||
            weft_graph_add_node(graph, &relu, &error) != WEFT_OK) {
            die(&error);
        }
        free(data);
        strcpy(before, after);
    }
    if (weft_graph_add_output(graph, before, &error) != WEFT_OK ||
        weft_model_create(device, graph, NULL, &model, &error) != WEFT_OK) {
        die(&error);
    }
    weft_graph_release(graph);
    return model;
}

typedef struct setup {
    weft_model *model;
    weft_queue *queue; /* NULL: weft_run */
    int64_t in, out;
    int threads, in_flight;
    double seconds;
} setup;

typedef struct submitter {
    const setup *setup;
    pthread_t thread;
    pthread_barrier_t *start;
    float *x, *y[MOST_IN_FLIGHT], *alone;
    uint64_t calls, wrong;
} submitter;

static void call(submitter *self, int slot, weft_request **request)
{
    const setup *s = self->setup;
    weft_error error;
    weft_tensor input = {
        .data = self->x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, s->in}};
    weft_tensor output = {
        .data = self->y[slot], .type = WEFT_TYPE_F32, .rank = 2, .dims = {1, s->out}};
    weft_io io = {&input, 1, &output, 1};
    weft_status status =
        s->queue ? weft_queue_submit(s->queue, s->model, &io, NULL, request, &error)
                 : weft_run(s->model, &io, NULL, &error);
    if (status != WEFT_OK) {
        die(&error);
    }
}

static void *submit_all(void *argument)
{
    submitter *self = argument;
    const setup *s = self->setup;
    weft_request *requests[MOST_IN_FLIGHT] = {NULL};
    weft_error error;
    pthread_barrier_wait(self->start);
    int64_t begin = now_ns(CLOCK_MONOTONIC), end = begin + (int64_t)(s->seconds * 1e9);
    for (int slot = 0; now_ns(CLOCK_MONOTONIC) < end;
         slot = (slot + 1) % s->in_flight) {
        if (requests[slot]) {
            if (weft_request_wait(requests[slot], WEFT_FOREVER, &error) != WEFT_OK) {
                die(&error);
            }
            weft_request_release(requests[slot]);
        }
        call(self, slot, &requests[slot]);
        self->calls++;
    }
    for (int slot = 0; slot < s->in_flight; slot++) {
        if (requests[slot] &&
            weft_request_wait(requests[slot], WEFT_FOREVER, &error) != WEFT_OK) {
            die(&error);
        }
        weft_request_release(requests[slot]);
        if (self->calls > (uint64_t)slot) {
            self->wrong +=
                memcmp(self->y[slot], self->alone, (size_t)s->out * sizeof(float)) != 0;
        }
    }
    return NULL;
}

typedef struct outcome {
    double rate, cpu_us; /* of a request */
    uint64_t wrong;
} outcome;

static outcome measure(const setup *s, int check)
{
    static submitter all[MOST_THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)s->threads + 1);
    for (int t = 0; t < s->threads; t++) {
        submitter *self = &all[t];
        *self = (submitter){.setup = s, .start = &start};
        self->x = malloc((size_t)s->in * sizeof(float));
        self->alone = malloc((size_t)s->out * sizeof(float));
        weft_random_key key = {.seed = 2, .thread = (uint32_t)t};
        weft_random_fill_normal(&key, self->x, (size_t)s->in);
        for (int i = 0; i < s->in_flight; i++) {
            self->y[i] = calloc((size_t)s->out, sizeof(float));
        }
        setup alone = *s;
        alone.queue = NULL;
        self->setup = &alone;
        call(self, 0, NULL);
        self->setup = s;
        memcpy(self->alone, self->y[0], (size_t)s->out * sizeof(float));
        pthread_create(&self->thread, NULL, submit_all, self);
    }
    int64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    int64_t begin = now_ns(CLOCK_MONOTONIC);
    pthread_barrier_wait(&start);
    uint64_t calls = 0;
    outcome result = {0};
    for (int t = 0; t < s->threads; t++) {
        pthread_join(all[t].thread, NULL);
        calls += all[t].calls;
        result.wrong += check ? all[t].wrong : 0;
        for (int i = 0; i < s->in_flight; i++) {
            free(all[t].y[i]);
        }
        free(all[t].x);
        free(all[t].alone);
    }
    double took = (double)(now_ns(CLOCK_MONOTONIC) - begin) * 1e-9;
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    result.rate = (double)calls / took;
    result.cpu_us = (double)cpu * 1e-3 / (double)calls;
    pthread_barrier_destroy(&start);
    return result;
}

static weft_queue *open_queue(weft_device *device, weft_model *model, int workers)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = workers;
    weft_queue *queue;
    weft_error error;
    if (weft_queue_create(device, &params, &queue, &error) != WEFT_OK ||
        weft_queue_add_model(queue, model, NULL, &error) != WEFT_OK) {
        die(&error);
    }
    return queue;
}

static void show_cost(void)
{
    static const int64_t sizes[] = {4, 4};
    weft_device *device;
    weft_error error;
    if (weft_device_open("null", NULL, &device, &error) != WEFT_OK) {
        die(&error);
    }
    weft_model *model = make_chain(device, sizes, 1);
    printf("null device, 8 submitters: processor time per request\n");
    for (int workers = 1; workers <= 4; workers *= 2) {
        for (int in_flight = 1; in_flight <= 16; in_flight *= 16) {
            weft_queue *queue = open_queue(device, model, workers);
            setup s = {model, queue, 4, 4, 8, in_flight, 0.5};
            outcome best = {.cpu_us = 1e9};
            for (int i = 0; i < 3; i++) {
                outcome o = measure(&s, 0);
                best = o.cpu_us < best.cpu_us ? o : best;
            }
            weft_queue_statistics q;
            weft_queue_get_statistics(queue, &q);
            printf("  %d workers, %2d in flight: %6.2f us, %9.0f/s, mean batch %.1f\n",
                   workers, in_flight, best.cpu_us, best.rate,
                   (double)q.row_count / (double)q.batch_count);
            weft_queue_release(queue);
        }
    }
    weft_model_release(model);
    weft_device_release(device);
}

static uint64_t show_gain(weft_device *device, const char *name, const int64_t *sizes,
                          int layers)
{
    weft_model *model = make_chain(device, sizes, layers);
    setup s = {model, NULL, sizes[0], sizes[layers], MOST_THREADS, 1, 1.0};
    outcome direct = measure(&s, 1);
    uint64_t wrong = direct.wrong;
    printf("%s, 64 submitters: direct %8.0f/s\n", name, direct.rate);
    for (int workers = 1; workers <= 4; workers *= 2) {
        weft_queue *queue = open_queue(device, model, workers);
        s.queue = queue;
        outcome o = measure(&s, 1);
        wrong += o.wrong;
        weft_queue_statistics q;
        weft_queue_get_statistics(queue, &q);
        printf("  %d workers: %8.0f/s, %5.2f times direct, mean batch %.1f, padding "
               "%.1f %%, processor %.1f us each\n",
               workers, o.rate, o.rate / direct.rate,
               (double)q.row_count / (double)q.batch_count,
               100.0 * (double)q.padded_count / (double)q.row_count, o.cpu_us);
        weft_queue_release(queue);
    }
    weft_model_release(model);
    return wrong;
}

/* The bound, in microseconds, that a part of the requests started within. */
static double started_within_us(const weft_queue_statistics *q, double part)
{
    uint64_t all = 0, passed = 0;
    int bucket = 0;
    for (int i = 0; i < WEFT_QUEUE_BUCKETS; i++) {
        all += q->wait_ns[i];
    }
    while (bucket < WEFT_QUEUE_BUCKETS - 1 &&
           (double)(passed += q->wait_ns[bucket]) < part * (double)all) {
        bucket++;
    }
    return ldexp(1e-3, bucket);
}

/* One request at a time, and a pause in which the workers go to sleep. */
static void show_idle(weft_device *device, const int64_t *sizes, int layers)
{
    enum { CALLS = 2000, PAUSE_NS = 500000 };
    weft_model *model = make_chain(device, sizes, layers);
    weft_queue *queue = open_queue(device, model, 0);
    setup s = {model, queue, sizes[0], sizes[layers], 1, 1, 0};
    submitter self = {.setup = &s};
    weft_queue_statistics q;
    weft_error error;
    self.x = calloc((size_t)s.in, sizeof(float));
    self.y[0] = calloc((size_t)s.out, sizeof(float));
    for (int i = 0; i < CALLS; i++) {
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        weft_request *request;
        nanosleep(&pause, NULL);
        call(&self, 0, &request);
        if (weft_request_wait(request, WEFT_FOREVER, &error) != WEFT_OK) {
            die(&error);
        }
        weft_request_release(request);
    }
    weft_queue_get_statistics(queue, &q);
    printf("idle device, from submit to start: P50 below %.0f us, P99 below %.0f us, "
           "P99.9 below %.0f us\n",
           started_within_us(&q, 0.5), started_within_us(&q, 0.99),
           started_within_us(&q, 0.999));
    weft_queue_release(queue);
    weft_model_release(model);
    free(self.x);
    free(self.y[0]);
}

int main(void)
{
    static const int64_t mlp[] = {256, 512, 512, 256}, linear[] = {2048, 2048};
    weft_device *device;
    weft_error error;
    show_cost();
    if (weft_device_open("cpu", NULL, &device, &error) != WEFT_OK) {
        die(&error);
    }
    show_idle(device, mlp, 3);
    uint64_t wrong = show_gain(device, "MLP [1,256]", mlp, 3);
    wrong += show_gain(device, "Linear 2048 -> 2048 [1,2048]", linear, 1);
    weft_device_release(device);
    printf("answers that differ from those alone: %llu\n", (unsigned long long)wrong);
    return wrong != 0;
}

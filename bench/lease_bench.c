/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to lease a context and give it back, on the null device, at 1 to 16
 * threads. Prints nanoseconds per pair as one thread sees it (each has a core to itself
 * while there are enough) and pairs per second of all. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <weft/weft.h>

enum { MOST_THREADS = 16, PAIRS = 400000, REPEATS = 5 };

typedef struct runner {
    pthread_t thread;
    pthread_barrier_t *start;
    weft_device *device;
    int64_t begin_ns, end_ns;
    int failed;
} runner;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *run(void *argument)
{
    runner *self = argument;
    pthread_barrier_wait(self->start);
    self->begin_ns = now_ns();
    for (int i = 0; i < PAIRS && !self->failed; i++) {
        weft_context *context;
        self->failed =
            weft_context_acquire(self->device, NULL, &context, NULL) != WEFT_OK;
        if (!self->failed) {
            weft_context_release(context);
        }
    }
    self->end_ns = now_ns();
    return NULL;
}

/* Wall time from the first begin to the last end; negative on failure. */
static int64_t measure(weft_device *device, int threads)
{
    runner runners[MOST_THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        runners[i] = (runner){.start = &start, .device = device};
        if (pthread_create(&runners[i].thread, NULL, run, &runners[i]) != 0) {
            fprintf(stderr, "lease_bench: cannot start a thread\n");
            exit(1);
        }
    }
    int64_t begin_ns = INT64_MAX, end_ns = 0;
    int failed = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(runners[i].thread, NULL);
        begin_ns = runners[i].begin_ns < begin_ns ? runners[i].begin_ns : begin_ns;
        end_ns = runners[i].end_ns > end_ns ? runners[i].end_ns : end_ns;
        failed |= runners[i].failed;
    }
    pthread_barrier_destroy(&start);
    return failed ? -1 : end_ns - begin_ns;
}

int main(void)
{
    weft_error error;
    weft_device *device;
    if (weft_device_open("null", NULL, &device, &error) != WEFT_OK) {
        fprintf(stderr, "lease_bench: %s\n", error.message);
        return 1;
    }
    weft_device_info info;
    weft_device_get_info(device, &info);
    printf("%8s %16s %16s   (%d cores, %d contexts)\n", "threads", "ns per pair",
           "pairs/s", (int)info.core_count, (int)info.max_contexts);
    for (int threads = 1; threads <= MOST_THREADS; threads *= 2) {
        int64_t best_ns = INT64_MAX;
        for (int i = 0; i < REPEATS; i++) {
            int64_t ns = measure(device, threads);
            if (ns < 0) {
                fprintf(stderr, "lease_bench: a lease failed\n");
                return 1;
            }
            best_ns = ns < best_ns ? ns : best_ns;
        }
        int busy = threads < info.core_count ? threads : info.core_count;
        double pairs = (double)PAIRS * threads;
        printf("%8d %16.1f %16.3g\n", threads, (double)best_ns * busy / pairs,
               pairs / ((double)best_ns * 1e-9));
    }
    weft_device_statistics statistics;
    weft_device_get_statistics(device, &statistics);
    printf("waits for a context: %llu, for a lock: %llu\n",
           (unsigned long long)statistics.lease_wait_count,
           (unsigned long long)statistics.lock_wait_count);
    weft_device_release(device);
    return 0;
}

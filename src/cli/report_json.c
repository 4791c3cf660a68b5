/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "cli/output.h"
#include "cli/suite.h"
#include "cli/trial.h"

static const char *verdict_name(cli_verdict verdict)
{
    static const char *const names[] = {"passed", "failed", "not run"};
    return names[verdict];
}

static void set_number(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, json_real(value));
}

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void set_text(json_t *object, const char *key, const char *value)
{
    json_object_set_new(object, key, json_string(value));
}

static json_t *pass_json(const cli_pass *pass)
{
    json_t *object = json_object();
    set_count(object, "calls", pass->calls);
    set_count(object, "compared", pass->compared);
    set_count(object, "wrong", pass->wrong);
    set_count(object, "failed", pass->failed);
    set_number(object, "seconds", pass->seconds);
    set_number(object, "cpu_seconds", pass->cpu_seconds);
    set_number(object, "p50_ns", pass->p50_ns);
    set_number(object, "p99_ns", pass->p99_ns);
    set_number(object, "p999_ns", pass->p999_ns);
    set_number(object, "max_ns", pass->max_ns);
    set_count(object, "allocations",
              pass->after.allocation_count - pass->before.allocation_count);
    set_count(object, "lock_waits",
              pass->after.lock_wait_count - pass->before.lock_wait_count);
    set_count(object, "lock_wait_ns",
              pass->after.lock_wait_ns - pass->before.lock_wait_ns);
    set_count(object, "lease_waits",
              pass->after.lease_wait_count - pass->before.lease_wait_count);
    set_count(object, "lease_wait_ns",
              pass->after.lease_wait_ns - pass->before.lease_wait_ns);
    return object;
}

static json_t *buckets_json(const uint64_t buckets[WEFT_QUEUE_BUCKETS])
{
    json_t *array = json_array();
    int last = WEFT_QUEUE_BUCKETS - 1;
    while (last > 0 && buckets[last] == 0) {
        last--;
    }
    for (int i = 0; i <= last; i++) {
        json_array_append_new(array, json_integer((json_int_t)buckets[i]));
    }
    return array;
}

/* Bucket i of a histogram counts values in [2^(i-1), 2^i). */
static json_t *queue_json(const cli_result *result)
{
    const cli_pass *pass = result->timed.calls > 0 ? &result->timed : &result->checked;
    const weft_queue_statistics *queue = &pass->queue;
    json_t *object = json_object();
    set_count(object, "workers", (uint64_t)result->way.workers);
    set_count(object, "max_batch", (uint64_t)result->way.max_batch);
    set_count(object, "delay_us", (uint64_t)result->way.delay_us);
    set_count(object, "in_flight",
              result->way.in_flight > 0 ? (uint64_t)result->way.in_flight : 1);
    set_count(object, "batches", queue->batch_count);
    set_count(object, "padded_rows", queue->padded_count);
    set_count(object, "split_batches", queue->split_count);
    set_number(object, "mean_requests_of_batch", cli_queue_mean_requests(queue));
    set_number(object, "mean_rows_of_batch", cli_queue_mean_rows(queue));
    set_number(object, "wait_p50_ns", cli_queue_percentile(queue->wait_ns, 0.5));
    set_number(object, "wait_p99_ns", cli_queue_percentile(queue->wait_ns, 0.99));
    set_number(object, "device_ns_of_request", cli_queue_device_ns(queue));
    json_object_set_new(object, "batch_rows_log2", buckets_json(queue->batch_rows));
    json_object_set_new(object, "wait_ns_log2", buckets_json(queue->wait_ns));
    if (result->direct_rate > 0) {
        set_number(object, "direct_calls_per_second", result->direct_rate);
        set_number(object, "ratio", result->rate / result->direct_rate);
    }
    return object;
}

static void set_to_beat(json_t *object, const cli_result *result)
{
    double theirs = cli_row_theirs(result->row, result->threads);
    double peer = cli_row_best_peer(result->row, result->threads);
    if (theirs > 0) {
        set_number(object, "theirs", theirs);
    }
    if (peer > 0) {
        set_number(object, "recorded_peer", peer);
    }
}

static json_t *result_json(const cli_result *result, weft_precision precision)
{
    json_t *object = json_object();
    set_text(object, "table", cli_table_describe(result->row->table)->key);
    set_text(object, "row", result->row->name);
    set_text(object, "shapes", result->row->title);
    set_count(object, "threads", (uint64_t)result->threads);
    set_text(object, "verdict", verdict_name(result->verdict));
    if (result->reason[0] != '\0') {
        set_text(object, "reason", result->reason);
    }
    set_number(object, "largest_error", result->judgement.largest_error);
    set_number(object, "largest_error_of_allowed", result->judgement.largest_fraction);
    set_count(object, "values_judged", result->judgement.value_count);
    const double tolerance = cli_tolerance(precision);
    if (precision == WEFT_PRECISION_F32) {
        set_number(object, "atol", result->row->atol);
        set_number(object, "rtol", result->row->rtol);
    } else {
        set_number(object, "atol_of_root_mean_square", tolerance);
        set_number(object, "rtol", tolerance);
    }
    json_object_set_new(object, "checked", pass_json(&result->checked));
    if (result->rate > 0) {
        json_object_set_new(object, "timed", pass_json(&result->timed));
        set_number(object, "calls_per_second", result->rate);
        set_number(object, "gflops", result->gflops);
        set_number(object, "cores_at_work", result->overlap);
    }
    if (result->lone_rate > 0) {
        set_number(object, "one_core_calls_per_second", result->lone_rate);
        set_number(object, "helped_ratio", result->rate / result->lone_rate);
    }
    if (result->way.queued) {
        json_object_set_new(object, "queue", queue_json(result));
    } else {
        set_to_beat(object, result);
    }
    return object;
}

static json_t *results_json(const cli_results *results, weft_precision precision)
{
    json_t *array = json_array();
    for (size_t i = 0; i < results->count; i++) {
        json_array_append_new(array, result_json(&results->list[i], precision));
    }
    return array;
}

static json_t *open_loop_json(const cli_open_loop *loop)
{
    json_t *object = json_object();
    set_text(object, "row", loop->row->name);
    set_text(object, "shapes", loop->row->title);
    set_text(object, "verdict", verdict_name(loop->verdict));
    if (loop->reason[0] != '\0') {
        set_text(object, "reason", loop->reason);
    }
    set_count(object, "workers", (uint64_t)loop->way.workers);
    set_number(object, "capacity_per_second", loop->capacity);
    set_number(object, "load", loop->load);
    set_number(object, "arrivals_per_second", loop->offered);
    set_number(object, "answers_per_second", loop->rate);
    set_count(object, "calls", loop->calls);
    set_count(object, "compared", loop->compared);
    set_count(object, "wrong", loop->wrong);
    set_count(object, "failed", loop->failed);
    set_number(object, "p50_ns", loop->p50_ns);
    set_number(object, "p95_ns", loop->p95_ns);
    set_number(object, "p99_ns", loop->p99_ns);
    set_number(object, "p999_ns", loop->p999_ns);
    set_number(object, "max_ns", loop->max_ns);
    set_number(object, "mean_requests_of_batch", cli_queue_mean_requests(&loop->queue));
    set_number(object, "wait_p50_ns", cli_queue_percentile(loop->queue.wait_ns, 0.5));
    json_object_set_new(object, "batch_rows_log2",
                        buckets_json(loop->queue.batch_rows));
    json_object_set_new(object, "wait_ns_log2", buckets_json(loop->queue.wait_ns));
    return object;
}

static json_t *open_loops_json(const cli_suite *suite)
{
    json_t *array = json_array();
    for (size_t i = 0; i < suite->open_loop_count; i++) {
        json_array_append_new(array, open_loop_json(&suite->open_loops[i]));
    }
    return array;
}

static json_t *statistics_json(const weft_device_statistics *s)
{
    json_t *object = json_object();
    set_count(object, "accepted", s->accepted);
    set_count(object, "done", s->done);
    set_count(object, "failed", s->failed);
    set_count(object, "cancelled", s->cancelled);
    set_count(object, "timed_out", s->timed_out);
    set_count(object, "leases", s->lease_count);
    set_count(object, "lease_waits", s->lease_wait_count);
    set_count(object, "lease_wait_ns", s->lease_wait_ns);
    set_count(object, "lock_waits", s->lock_wait_count);
    set_count(object, "lock_wait_ns", s->lock_wait_ns);
    set_count(object, "allocations", s->allocation_count);
    set_count(object, "plans", s->plan_count);
    set_count(object, "plans_evicted", s->plan_evict_count);
    set_count(object, "memory_peak_bytes", s->memory_peak_bytes);
    set_count(object, "helped_tiles", s->helped_tile_count);
    return object;
}

bool cli_output_json(const json_t *root, const char *path)
{
    cli_output output;
    if (!cli_output_begin(&output, path)) {
        return false;
    }
    /* A write that fails shows when the file is ended. */
    (void)json_dumpf(root, output.file, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    (void)fputc('\n', output.file);
    return cli_output_end(&output, true);
}

bool cli_write_json(const cli_suite *suite, const char *path)
{
    json_t *root = json_object();
    json_t *device = json_object();
    set_text(root, "weft", weft_build_id());
    set_text(device, "name", suite->info.name);
    set_text(device, "description", suite->info.description);
    set_text(device, "isa", suite->info.isa);
    set_count(device, "cores", (uint64_t)suite->info.core_count);
    set_count(device, "workers", (uint64_t)suite->info.worker_count);
    json_object_set_new(root, "device", device);
    const weft_precision precision = suite->options->precision;
    set_text(root, "precision", weft_precision_name(precision));
    json_object_set_new(root, "on_card", json_boolean(suite->options->on_card));
    json_object_set_new(root, "passed", json_boolean(cli_suite_passed(suite)));
    set_count(root, "rows", suite->row_count);
    set_count(root, "failed_rows", suite->failed_row_count);
    set_number(root, "seconds", suite->seconds);
    json_object_set_new(root, "results", results_json(&suite->direct, precision));
    if (suite->queued.count > 0) {
        json_object_set_new(root, "queued", results_json(&suite->queued, precision));
    }
    if (suite->open_loop_count > 0) {
        json_object_set_new(root, "open_loops", open_loops_json(suite));
    }
    json_object_set_new(root, "statistics", statistics_json(&suite->statistics));
    bool written = cli_output_json(root, path);
    json_decref(root);
    return written;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "cli/html.h"

/* What queues did: beside direct calls, by load, and in what batches. */

/* One panel, in SVG units; two stand side by side. */
enum {
    PANEL_WIDTH = 450,
    PANEL_HEIGHT = 240,
    LEFT = 62,
    RIGHT = 14,
    TOP = 34,
    BOTTOM = 34,
    MOST_SERIES = 4,
};

static void open_panel(FILE *file, const char *name, const char *what)
{
    fprintf(file,
            "<svg class=\"half\" viewBox=\"0 0 %d %d\" role=\"img\" "
            "xmlns=\"http://www.w3.org/2000/svg\">\n<text class=\"title\" x=\"%d\" "
            "y=\"18\">",
            PANEL_WIDTH, PANEL_HEIGHT, LEFT);
    cli_html_text(file, name);
    fprintf(file, ": %s</text>\n", what);
}

static void draw_level(FILE *file, double y, const char *text)
{
    fprintf(file,
            "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
            "<text class=\"tick end\" x=\"%d\" y=\"%.1f\">%s</text>\n",
            LEFT, y, PANEL_WIDTH - RIGHT, y, LEFT - 8, y + 4, text);
}

static void draw_legend(FILE *file)
{
    fputs("<p class=\"legend\"><i class=\"series0\"></i>64 callers, one request each "
          "<i class=\"series1\"></i>arrivals at 50 % <i class=\"series2\"></i>80 % "
          "<i class=\"series3\"></i>95 % of that rate</p>\n",
          file);
}

/* Histograms of one row: the callers' and those of each load. */
typedef struct series {
    const uint64_t *buckets[MOST_SERIES];
    double total[MOST_SERIES];
    int count;
    int first, last; /* buckets that hold anything */
} series;

static void add_series(series *s, const uint64_t buckets[WEFT_QUEUE_BUCKETS])
{
    double total = 0;
    for (int i = 0; i < WEFT_QUEUE_BUCKETS; i++) {
        total += (double)buckets[i];
    }
    if (s->count == MOST_SERIES || total == 0) {
        return;
    }
    for (int i = 0; i < WEFT_QUEUE_BUCKETS; i++) {
        if ((double)buckets[i] > 0.002 * total) {
            s->first = i < s->first ? i : s->first;
            s->last = i > s->last ? i : s->last;
        }
    }
    s->buckets[s->count] = buckets;
    s->total[s->count++] = total;
}

static double share(const series *s, int which, int bucket)
{
    return (double)s->buckets[which][bucket] / s->total[which];
}

static double highest_share(const series *s)
{
    double highest = 0.1;
    for (int i = s->first; i <= s->last; i++) {
        for (int k = 0; k < s->count; k++) {
            highest = fmax(highest, share(s, k, i));
        }
    }
    return ceil(highest * 10) / 10;
}

static void draw_bar(FILE *file, const series *s, int which, int bucket, double highest)
{
    double group = (double)(PANEL_WIDTH - LEFT - RIGHT) / (s->last - s->first + 1);
    double width = group * 0.84 / s->count;
    double x = LEFT + group * (bucket - s->first + 0.08) + width * which;
    double height = (PANEL_HEIGHT - TOP - BOTTOM) * share(s, which, bucket) / highest;
    fprintf(file,
            "<rect class=\"series%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
            "height=\"%.1f\"><title>%.1f %%</title></rect>\n",
            which, x, PANEL_HEIGHT - BOTTOM - height, fmax(width - 1, 1), height,
            100 * share(s, which, bucket));
}

static void draw_bars(FILE *file, const char *name, const char *what, const series *s,
                      bool is_time)
{
    char text[32];
    double highest = highest_share(s);
    double group = (double)(PANEL_WIDTH - LEFT - RIGHT) / (s->last - s->first + 1);
    open_panel(file, name, what);
    for (int part = 0; part <= 2; part++) {
        snprintf(text, sizeof(text), "%.0f %%", 50 * highest * part);
        draw_level(file,
                   PANEL_HEIGHT - BOTTOM - (PANEL_HEIGHT - TOP - BOTTOM) * 0.5 * part,
                   text);
    }
    for (int i = s->first; i <= s->last; i++) {
        double low = i == 0 ? 0 : ldexp(1, i - 1);
        for (int k = 0; k < s->count; k++) {
            draw_bar(file, s, k, i, highest);
        }
        if (!is_time || (i - s->first) % 3 == 0) {
            fprintf(file, "<text class=\"tick\" x=\"%.1f\" y=\"%d\">%s</text>\n",
                    LEFT + group * (i - s->first + 0.5), PANEL_HEIGHT - BOTTOM + 18,
                    is_time ? cli_duration(low, text) : cli_thousands(low, text));
        }
    }
    fputs("</svg>\n", file);
}

static const weft_queue_statistics *queue_of(const cli_result *result)
{
    return result->timed.calls > 0 ? &result->timed.queue : &result->checked.queue;
}

static void draw_distributions(FILE *file, const cli_suite *suite,
                               const cli_result *result)
{
    const weft_queue_statistics *queue = queue_of(result);
    series rows = {.first = WEFT_QUEUE_BUCKETS, .last = 0};
    series waits = {.first = WEFT_QUEUE_BUCKETS, .last = 0};
    add_series(&rows, queue->batch_rows);
    add_series(&waits, queue->wait_ns);
    for (size_t i = 0; i < suite->open_loop_count; i++) {
        const cli_open_loop *loop = &suite->open_loops[i];
        if (loop->row == result->row && loop->way.workers == result->way.workers) {
            add_series(&rows, loop->queue.batch_rows);
            add_series(&waits, loop->queue.wait_ns);
        }
    }
    if (rows.count > 0 && waits.count > 0) {
        draw_bars(file, result->row->name, "rows of a batch, from", &rows, false);
        draw_bars(file, result->row->name, "wait in the queue, from", &waits, true);
    }
}

void cli_picture_batches(FILE *file, const cli_suite *suite)
{
    bool any = false;
    for (size_t i = 0; i < suite->queued.count; i++) {
        const cli_result *result = &suite->queued.list[i];
        if (result->row->table != CLI_TABLE_BATCHING) {
            continue;
        }
        if (!any) {
            fputs("<h2>Batches and waits</h2>\n", file);
            draw_legend(file);
        }
        any = true;
        draw_distributions(file, suite, result);
    }
}

enum { PERCENTILE_COUNT = 4 };

static void read_percentiles(const cli_open_loop *loop, double values[PERCENTILE_COUNT])
{
    values[0] = fmax(loop->p50_ns, 1);
    values[1] = fmax(loop->p95_ns, 1);
    values[2] = fmax(loop->p99_ns, 1);
    values[3] = fmax(loop->p999_ns, 1);
}

static double place_percentile(int index)
{
    double width = PANEL_WIDTH - LEFT - RIGHT;
    return LEFT + width * (index + 0.5) / PERCENTILE_COUNT;
}

/* A logarithmic axis of whole decades. */
typedef struct decades {
    int low, high;
} decades;

static double place_time(const decades *d, double ns)
{
    return PANEL_HEIGHT - BOTTOM -
           (PANEL_HEIGHT - TOP - BOTTOM) * (log10(ns) - d->low) / (d->high - d->low);
}

static void draw_load(FILE *file, const decades *d, const cli_open_loop *loop,
                      int which)
{
    char text[32];
    double values[PERCENTILE_COUNT];
    read_percentiles(loop, values);
    fprintf(file, "<polyline class=\"line series%d\" points=\"", which);
    for (int i = 0; i < PERCENTILE_COUNT; i++) {
        fprintf(file, "%.1f,%.1f ", place_percentile(i), place_time(d, values[i]));
    }
    fputs("\"/>\n", file);
    for (int i = 0; i < PERCENTILE_COUNT; i++) {
        fprintf(file,
                "<circle class=\"series%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%.0f"
                " %% load: %s</title></circle>\n",
                which, place_percentile(i), place_time(d, values[i]), 100 * loop->load,
                cli_duration(values[i], text));
    }
}

/* All loads of one row: they lie side by side. */
static void draw_loads(FILE *file, const cli_open_loop *loops, size_t count)
{
    static const char *const names[PERCENTILE_COUNT] = {"P50", "P95", "P99", "P99.9"};
    double values[PERCENTILE_COUNT];
    double low = 1e300;
    double high = 1;
    char text[32];
    for (size_t i = 0; i < count; i++) {
        read_percentiles(&loops[i], values);
        low = fmin(low, values[0]);
        high = fmax(high, values[PERCENTILE_COUNT - 1]);
    }
    decades d = {(int)floor(log10(low)), (int)ceil(log10(high))};
    d.high = d.high > d.low ? d.high : d.low + 1;
    open_panel(file, loops[0].row->name, "latency");
    for (int decade = d.low; decade <= d.high; decade++) {
        double ns = pow(10, decade);
        draw_level(file, place_time(&d, ns), cli_duration(ns, text));
    }
    for (int i = 0; i < PERCENTILE_COUNT; i++) {
        fprintf(file, "<text class=\"tick\" x=\"%.1f\" y=\"%d\">%s</text>\n",
                place_percentile(i), PANEL_HEIGHT - BOTTOM + 18, names[i]);
    }
    for (size_t i = 0; i < count; i++) {
        draw_load(file, &d, &loops[i], (int)(i + 1) % MOST_SERIES);
    }
    fputs("</svg>\n", file);
}

void cli_picture_open_loops(FILE *file, const cli_suite *suite)
{
    if (suite->open_loop_count == 0) {
        return;
    }
    fprintf(file,
            "<h2>Latency by load</h2>\n<p class=\"soft\">Requests arrive at random "
            "(Poisson) at a part of the rate that their submitter reaches when it "
            "keeps %d under way; latency counts from when a request was to arrive, so "
            "nothing is hidden by a submitter that is late.</p>\n<p class=\"legend\">"
            "<i class=\"series1\"></i>50 %% <i class=\"series2\"></i>80 %% <i "
            "class=\"series3\"></i>95 %%</p>\n",
            CLI_OPEN_LOOP_MOST);
    for (size_t i = 0; i < suite->open_loop_count;) {
        const cli_open_loop *loops = &suite->open_loops[i];
        size_t count = 1;
        while (i + count < suite->open_loop_count && count < MOST_SERIES - 1 &&
               loops[count].row == loops->row) {
            count++;
        }
        draw_loads(file, loops, count);
        i += count;
    }
}

static void write_queued(FILE *file, const cli_result *result)
{
    char direct[32], rate[32], ratio[32], p50[32], p99[32], device[32];
    const weft_queue_statistics *queue = queue_of(result);
    bool timed = result->direct_rate > 0 && result->rate > 0;
    snprintf(ratio, sizeof(ratio), "%.2f",
             timed ? result->rate / result->direct_rate : 0);
    fputs("<tr><td>", file);
    cli_html_text(file, result->row->name);
    fprintf(file,
            "</td><td>%d</td><td>%d</td><td>%d</td><td>%s</td><td>%s</td><td>%s</td>"
            "<td>%.2f</td><td>%s</td><td>%s</td><td>%s</td>",
            result->threads, (int)queue->workers,
            result->way.in_flight > 0 ? result->way.in_flight : 1,
            timed ? cli_thousands(result->direct_rate, direct) : "",
            result->rate > 0 ? cli_thousands(result->rate, rate) : "",
            timed ? ratio : "", cli_queue_mean_requests(queue),
            cli_duration(cli_queue_percentile(queue->wait_ns, 0.5), p50),
            cli_duration(cli_queue_percentile(queue->wait_ns, 0.99), p99),
            cli_duration(cli_queue_device_ns(queue), device));
    fprintf(file, "<td class=\"%s\">%s</td></tr>\n",
            result->verdict == CLI_PASSED ? "good" : "bad",
            result->verdict == CLI_PASSED ? "passed" : "failed");
}

void cli_picture_queued(FILE *file, const cli_suite *suite)
{
    if (suite->queued.count == 0) {
        return;
    }
    fputs(
        "<h2>Through a queue</h2>\n<p class=\"soft\">The same rows by way of a queue: "
        "calls per second beside direct calls of the same run, requests in a batch, "
        "time in the queue, and time on the device for each request; every answer of "
        "the checked pass compared.</p>\n<table><tr><th>row</th><th>threads</th><th>"
        "workers</th><th>in flight</th><th>direct</th><th>queued</th><th>ratio</th>"
        "<th>batch</th><th>wait P50</th><th>wait P99</th><th>device</th><th></th>"
        "</tr>\n",
        file);
    for (size_t i = 0; i < suite->queued.count; i++) {
        write_queued(file, &suite->queued.list[i]);
    }
    fputs("</table>\n", file);
}

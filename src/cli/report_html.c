/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <time.h>

#include "cli/html.h"
#include "cli/output.h"

static const char style[] =
    ":root{--ink:#1f2937;--soft:#6b7280;--paper:#ffffff;--card:#f6f7f9;--rule:#e2e5ea;"
    "--weft:#2563eb;--peer:#d97706;--theirs:#9ca3af;--good:#15803d;--bad:#b91c1c}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e5e7eb;--soft:#9ca3af;"
    "--paper:#15181d;--card:#1e232b;--rule:#323944;--weft:#6ea8fe;--peer:#f0a94a;"
    "--theirs:#7b8494;--good:#4ade80;--bad:#f87171}}\n"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);"
    "max-width:980px;margin:0 auto;padding:32px 24px 64px}\n"
    "h1{font-size:26px;margin:0}h2{font-size:19px;margin:44px 0 6px}"
    "p{margin:6px 0}.soft,.legend{color:var(--soft);font-size:13.5px}\n"
    ".verdict{font-size:19px;font-weight:600}.good{color:var(--good)}"
    ".bad{color:var(--bad)}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));"
    "gap:12px;margin:20px 0}.tile{background:var(--card);border-radius:10px;"
    "padding:12px 16px}.tile b{display:block;font-size:21px;"
    "font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:13px}\n"
    "table{border-collapse:collapse;width:100%;font-size:13.5px;"
    "font-variant-numeric:tabular-nums}th{font-weight:600;color:var(--soft);"
    "text-align:right;border-bottom:1px solid var(--rule);padding:5px 8px}"
    "td{padding:4px 8px;text-align:right;border-bottom:1px solid var(--rule)}"
    "th:first-child,td:first-child,td.words,th.words{text-align:left}\n"
    "svg{width:100%;height:auto;display:block;margin:8px 0}svg.half{width:49%;"
    "display:inline-block}svg.bars{width:auto;margin:0;display:inline-block;"
    "vertical-align:bottom}@media(max-width:700px){svg.half{width:100%}}\n"
    "svg text{font:12px system-ui,sans-serif;fill:var(--ink)}"
    "svg .tick{fill:var(--soft);text-anchor:middle}svg .end{text-anchor:end}"
    "svg .name,svg .value{text-anchor:end}svg .title{font-weight:600;font-size:14px}"
    "svg .grid{stroke:var(--rule);stroke-width:1}"
    "svg .span{stroke:var(--rule);stroke-width:4}"
    "svg .weft{fill:var(--weft)}svg .peer{fill:var(--peer)}"
    "svg .theirs{fill:var(--theirs)}svg .box{fill:var(--weft);opacity:.35}"
    "svg .whisker{stroke:var(--weft);stroke-width:1.5;opacity:.6}"
    "svg .tip{stroke:var(--weft);stroke-width:2}"
    "svg .line{fill:none;stroke-width:2}svg .line.weft{stroke:var(--weft)}"
    "svg .line.peer{stroke:var(--peer);stroke-dasharray:4 4}"
    "svg .line.theirs{stroke:var(--theirs);stroke-dasharray:4 4}\n"
    ".legend i{display:inline-block;width:11px;height:11px;border-radius:6px;"
    "margin:0 6px 0 14px;vertical-align:-1px}.legend i:first-child{margin-left:0}"
    "i.weft{background:var(--weft)}i.peer{background:var(--peer)}"
    "i.theirs{background:var(--theirs)}i.box{background:var(--weft);opacity:.35}"
    "i.tip{background:var(--weft);width:3px!important}\n"
    ".series0{fill:var(--weft);stroke:var(--weft);background:var(--weft)}"
    ".series1{fill:#7fb069;stroke:#7fb069;background:#7fb069}"
    ".series2{fill:var(--peer);stroke:var(--peer);background:var(--peer)}"
    ".series3{fill:#c2536b;stroke:#c2536b;background:#c2536b}"
    "svg polyline.line{fill:none}svg rect{stroke:none}\n"
    "details{margin:14px 0}summary{cursor:pointer;font-weight:600}\n";

/* Sums over all passes of a suite. */
typedef struct totals {
    uint64_t calls, compared, wrong, allocations;
    double overlap;
    uint64_t overlap_count;
} totals;

static void add_results(totals *t, const cli_results *results)
{
    for (size_t i = 0; i < results->count; i++) {
        const cli_result *result = &results->list[i];
        const cli_pass *passes[] = {&result->checked, &result->timed};
        for (int k = 0; k < 2; k++) {
            t->calls += passes[k]->calls;
            t->compared += passes[k]->compared;
            t->wrong += passes[k]->wrong;
        }
    }
}

static totals add_up(const cli_suite *suite)
{
    totals t = {0};
    add_results(&t, &suite->direct);
    add_results(&t, &suite->queued);
    for (size_t i = 0; i < suite->open_loop_count; i++) {
        t.calls += suite->open_loops[i].calls;
        t.compared += suite->open_loops[i].compared;
        t.wrong += suite->open_loops[i].wrong;
    }
    for (size_t i = 0; i < suite->direct.count; i++) {
        const cli_result *result = &suite->direct.list[i];
        t.allocations += result->timed.after.allocation_count -
                         result->timed.before.allocation_count;
        if (result->rate > 0 && result->threads > 1) {
            t.overlap += result->overlap;
            t.overlap_count++;
        }
    }
    return t;
}

static void tile(FILE *file, const char *value, const char *what)
{
    fprintf(file, "<div class=\"tile\"><b>%s</b><span>%s</span></div>\n", value, what);
}

static void write_head(FILE *file, const cli_suite *suite)
{
    char when[64] = "";
    time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts) != NULL) {
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M UTC", &parts);
    }
    fprintf(file,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width\">"
            "<title>Weft report</title>\n<style>\n%s</style></head><body>\n"
            "<h1>Weft report</h1>\n",
            style);
    bool passed = cli_suite_passed(suite);
    fprintf(file, "<p class=\"verdict %s\">%zu of %zu rows passed</p>\n",
            passed ? "good" : "bad", suite->row_count - suite->failed_row_count,
            suite->row_count);
    fputs("<p class=\"soft\">", file);
    cli_html_text(file, suite->info.description);
    fprintf(file, ", %d cores, %s kernels, products in %s. weft ",
            suite->info.core_count, suite->info.isa,
            weft_precision_name(suite->options->precision));
    cli_html_text(file, weft_build_id());
    fprintf(file, ". %s, %.0f s.</p>\n", when, suite->seconds);
}

static void write_tiles(FILE *file, const cli_suite *suite)
{
    totals t = add_up(suite);
    const weft_device_statistics *s = &suite->statistics;
    char text[64], number[32];
    fputs("<div class=\"tiles\">\n", file);
    tile(file, cli_thousands((double)t.compared, number),
         "answers compared bit for bit with the same request alone");
    tile(file, cli_thousands((double)t.wrong, number), "of them wrong");
    if (t.overlap_count > 0) {
        snprintf(text, sizeof(text), "%.2f of %d", t.overlap / (double)t.overlap_count,
                 suite->info.core_count);
        tile(file, text, "cores at work while callers overlap");
        snprintf(text, sizeof(text), "%llu", (unsigned long long)t.allocations);
        tile(file, text, "allocations in the timed passes of direct calls");
    }
    tile(file, cli_thousands((double)s->lock_wait_count, number),
         "waits for a lock of the library");
    tile(file, cli_statistics_balanced(s) ? "none" : "some",
         "requests lost: accepted = done + failed + cancelled + timed out");
    fputs("</div>\n", file);
}

static void write_failure(FILE *file, const char *row, const char *how,
                          const char *reason)
{
    fputs("<li class=\"bad\">", file);
    cli_html_text(file, row);
    fprintf(file, ", %s: ", how);
    cli_html_text(file, reason);
    fputs("</li>\n", file);
}

static void write_failed(FILE *file, const cli_results *results)
{
    char how[64];
    for (size_t i = 0; i < results->count; i++) {
        const cli_result *result = &results->list[i];
        if (result->verdict != CLI_PASSED) {
            snprintf(how, sizeof(how), "%d threads%s", result->threads,
                     result->way.queued ? ", through a queue" : "");
            write_failure(file, result->row->name, how, result->reason);
        }
    }
}

static void write_failures(FILE *file, const cli_suite *suite)
{
    if (suite->failed_row_count == 0) {
        return;
    }
    fputs("<h2>What failed</h2>\n<ul>\n", file);
    write_failed(file, &suite->direct);
    write_failed(file, &suite->queued);
    for (size_t i = 0; i < suite->open_loop_count; i++) {
        const cli_open_loop *loop = &suite->open_loops[i];
        if (loop->verdict != CLI_PASSED) {
            write_failure(file, loop->row->name, "open loop", loop->reason);
        }
    }
    fputs("</ul>\n", file);
}

static const char *verdict_cell(const cli_result *result)
{
    return result->verdict == CLI_PASSED    ? "<td class=\"good\">passed</td>"
           : result->verdict == CLI_NOT_RUN ? "<td class=\"bad\">not run</td>"
                                            : "<td class=\"bad\">failed</td>";
}

/* All results of the row that `first` belongs to lie side by side. */
static size_t row_length(const cli_suite *suite, size_t first)
{
    size_t count = 1;
    while (first + count < suite->direct.count &&
           suite->direct.list[first + count].row == suite->direct.list[first].row) {
        count++;
    }
    return count;
}

static const cli_result *worst(const cli_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (results[i].verdict != CLI_PASSED) {
            return &results[i];
        }
    }
    return results;
}

static void write_model(FILE *file, const cli_result *results, size_t count,
                        size_t number)
{
    double rates[CLI_MAX_COUNTS];
    double best = 0;
    char text[32];
    fprintf(file, "<tr><td>%zu. ", number);
    cli_html_text(file, results->row->name);
    fputs("<br><span class=\"soft\">", file);
    cli_html_text(file, results->row->title);
    fputs("</span></td><td>", file);
    for (size_t i = 0; i < count; i++) {
        rates[i] = results[i].rate;
        best = rates[i] > best ? rates[i] : best;
    }
    cli_picture_bars(file, rates, count);
    fprintf(file,
            "</td><td>%s</td><td>%.2g</td><td>%.2g %%</td>%s<td class=\"soft\">%s"
            "</td></tr>\n",
            cli_thousands(best, text), results->judgement.largest_error,
            results->judgement.largest_fraction * 100,
            verdict_cell(worst(results, count)), number == 10 ? "failed" : "passed");
}

void cli_picture_models(FILE *file, const cli_suite *suite)
{
    size_t number = 0;
    for (size_t i = 0; i < suite->direct.count; i++) {
        if (suite->direct.list[i].row->table != CLI_TABLE_MODELS) {
            continue;
        }
        if (number == 0) {
            fputs(
                "<h2>The ten models</h2>\n<p class=\"soft\">Calls per second at 1, 2, "
                "4, 8, 16 and 32 threads; every answer compared. Theirs: direct, at 8 "
                "threads.</p>\n<table><tr><th>model</th><th>by threads</th><th>best "
                "calls/s</th><th>largest error</th><th>of allowed</th><th>Weft</th>"
                "<th>theirs</th></tr>\n",
                file);
        }
        size_t count = row_length(suite, i);
        write_model(file, &suite->direct.list[i], count, ++number);
        i += count - 1;
    }
    fputs(number > 0 ? "</table>\n" : "", file);
}

static void write_one_caller(FILE *file, const cli_suite *suite)
{
    char lone[32], helped[32];
    bool any = false;
    for (size_t i = 0; i < suite->direct.count; i++) {
        const cli_result *result = &suite->direct.list[i];
        if (result->row->table != CLI_TABLE_ONE_CALLER || result->lone_rate <= 0) {
            continue;
        }
        if (!any) {
            fputs("<h2>One caller, helped by idle cores</h2>\n<table><tr><th>row</th>"
                  "<th>one core, calls/s</th><th>helped</th><th>ratio</th><th>bits</th>"
                  "</tr>\n",
                  file);
        }
        any = true;
        fputs("<tr><td>", file);
        cli_html_text(file, result->row->name);
        fprintf(file, "</td><td>%s</td><td>%s</td><td>%.2f</td><td>%s</td></tr>\n",
                cli_thousands(result->lone_rate, lone),
                cli_thousands(result->rate, helped), result->rate / result->lone_rate,
                result->lone_same_bits ? "the same" : "differ");
    }
    fputs(any ? "</table>\n" : "", file);
}

static void write_race(FILE *file, const cli_suite *suite)
{
    bool any = false;
    for (size_t i = 0; i < suite->direct.count; i++) {
        const cli_result *result = &suite->direct.list[i];
        if (result->row->table != CLI_TABLE_RACE) {
            continue;
        }
        fputs(any ? "" : "<h2>Race reproduction</h2>\n", file);
        any = true;
        fputs("<p>", file);
        cli_html_text(file, result->row->name);
        fprintf(file, ": <b>%llu of %llu</b> answers wrong. ",
                (unsigned long long)(result->checked.wrong + result->checked.failed),
                (unsigned long long)result->checked.calls);
        fputs("<span class=\"soft\">Theirs, without the fix: 25 of 30.</span></p>\n",
              file);
    }
}

static void write_cells(FILE *file, const cli_result *result)
{
    char rate[32], p50[32], p99[32], p999[32], theirs[32], peer[32];
    double their_rate = cli_row_theirs(result->row, result->threads);
    double peer_rate = cli_row_best_peer(result->row, result->threads);
    fprintf(file, "<td>%d</td><td>%llu</td><td>%.2g</td>", result->threads,
            (unsigned long long)result->checked.compared,
            result->judgement.largest_error);
    if (result->rate > 0) {
        fprintf(file, "<td>%s</td><td>%.1f</td><td>%s</td><td>%s</td><td>%s</td>",
                cli_thousands(result->rate, rate), result->gflops,
                cli_duration(result->timed.p50_ns, p50),
                cli_duration(result->timed.p99_ns, p99),
                cli_duration(result->timed.p999_ns, p999));
    } else {
        fputs("<td></td><td></td><td></td><td></td><td></td>", file);
    }
    fprintf(file, "<td>%s</td><td>%s</td>%s</tr>\n",
            their_rate > 0 ? cli_thousands(their_rate, theirs) : "",
            peer_rate > 0 ? cli_thousands(peer_rate, peer) : "", verdict_cell(result));
}

static void write_table(FILE *file, const cli_suite *suite, cli_table table)
{
    bool any = false;
    for (size_t i = 0; i < suite->direct.count; i++) {
        const cli_result *result = &suite->direct.list[i];
        if (result->row->table != table) {
            continue;
        }
        if (!any) {
            fprintf(
                file,
                "<details><summary>%s</summary>\n<table><tr><th>row</th><th>threads"
                "</th><th>answers</th><th>max error</th><th>calls/s</th><th>GFLOP/s"
                "</th><th>P50</th><th>P99</th><th>P99.9</th><th>theirs</th><th>peers"
                "</th><th></th></tr>\n",
                cli_table_describe(table)->title);
        }
        any = true;
        fputs("<tr><td>", file);
        cli_html_text(file, result->row->name);
        fputs("</td>", file);
        write_cells(file, result);
    }
    fputs(any ? "</table></details>\n" : "", file);
}

bool cli_write_html(const cli_suite *suite, const char *path)
{
    cli_output output;
    if (!cli_output_begin(&output, path)) {
        return false;
    }
    FILE *file = output.file;
    write_head(file, suite);
    write_tiles(file, suite);
    write_failures(file, suite);
    fputs("<h2>Calls per second, 8 threads</h2>\n", file);
    cli_picture_rates(file, suite);
    fputs("<h2>Throughput by number of threads</h2>\n", file);
    cli_picture_scaling(file, suite);
    fputs("<h2>Latency of a call, 8 threads</h2>\n", file);
    cli_picture_latency(file, suite);
    cli_picture_models(file, suite);
    write_race(file, suite);
    write_one_caller(file, suite);
    cli_picture_queued(file, suite);
    cli_picture_open_loops(file, suite);
    cli_picture_batches(file, suite);
    fputs("<h2>All figures</h2>\n", file);
    for (int table = 1; table < CLI_TABLE_COUNT; table++) {
        write_table(file, suite, (cli_table)table);
    }
    fputs("<p class=\"soft\">Peers and theirs were recorded on other machines or at "
          "other times; only ratios measured side by side last: see <code>make bench"
          "</code>.</p>\n</body></html>\n",
          file);
    return cli_output_end(&output, true);
}

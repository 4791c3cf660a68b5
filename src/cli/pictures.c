/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "cli/html.h"

/* Sizes of the row pictures, in SVG units. */
enum {
    PAGE_WIDTH = 920,
    LABEL_WIDTH = 200,
    VALUE_WIDTH = 130,
    ROW_HEIGHT = 26,
    TOP = 30,
    MOST_ROWS = 32,
};

void cli_html_text(FILE *file, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        case '&':
            fputs("&amp;", file);
            break;
        default:
            fputc(*text, file);
        }
    }
}

/* A logarithmic axis of whole decades. */
typedef struct axis {
    int low, high;
} axis;

static double place(const axis *a, double value)
{
    double width = PAGE_WIDTH - LABEL_WIDTH - VALUE_WIDTH;
    return LABEL_WIDTH + (log10(value) - a->low) / (a->high - a->low) * width;
}

static axis axis_over(double low, double high)
{
    axis a = {(int)floor(log10(low)), (int)ceil(log10(high))};
    a.high = a.high > a.low ? a.high : a.low + 1;
    return a;
}

/* The rows of the tables with one line each, at the table's own number of threads. */
static size_t gather(const cli_suite *suite, const cli_result *found[MOST_ROWS])
{
    size_t count = 0;
    for (size_t i = 0; i < suite->direct.count && count < MOST_ROWS; i++) {
        const cli_result *result = &suite->direct.list[i];
        cli_table table = result->row->table;
        bool listed = table == CLI_TABLE_OPERATIONS || table == CLI_TABLE_MODULES ||
                      table == CLI_TABLE_MIXED || table == CLI_TABLE_RACE;
        if (listed && result->rate > 0 && result->threads == cli_table_threads(table)) {
            found[count++] = result;
        }
    }
    return count;
}

static void open_picture(FILE *file, double height, const char *label)
{
    fprintf(file,
            "<svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"%s\" "
            "xmlns=\"http://www.w3.org/2000/svg\">\n",
            PAGE_WIDTH, height, label);
}

static void draw_decades(FILE *file, const axis *a, double bottom, bool is_time)
{
    char text[32];
    for (int decade = a->low; decade <= a->high; decade++) {
        double value = pow(10, decade);
        double x = place(a, value);
        fprintf(file,
                "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" "
                "y2=\"%.1f\"/>",
                x, TOP - 6, x, bottom);
        fprintf(file, "<text class=\"tick\" x=\"%.1f\" y=\"%d\">%s</text>\n", x,
                TOP - 12,
                is_time ? cli_duration(value, text) : cli_thousands(value, text));
    }
}

static void draw_label(FILE *file, double y, const char *name)
{
    fprintf(file, "<text class=\"name\" x=\"%d\" y=\"%.1f\">", LABEL_WIDTH - 12, y + 4);
    cli_html_text(file, name);
    fputs("</text>\n", file);
}

static void draw_dot(FILE *file, const char *class, double x, double y,
                     const char *title)
{
    fprintf(file,
            "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"><title>%s"
            "</title></circle>\n",
            class, x, y, title);
}

static void draw_rate(FILE *file, const axis *a, const cli_result *result, double y)
{
    char text[32];
    double theirs = cli_row_theirs(result->row, result->threads);
    double peer = cli_row_best_peer(result->row, result->threads);
    double weft = result->rate;
    draw_label(file, y, result->row->name);
    if (theirs > 0) {
        fprintf(file,
                "<line class=\"span\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
                "y2=\"%.1f\"/>\n",
                place(a, theirs), y, place(a, weft), y);
        draw_dot(file, "theirs", place(a, theirs), y, cli_thousands(theirs, text));
    }
    if (peer > 0) {
        draw_dot(file, "peer", place(a, peer), y, cli_thousands(peer, text));
    }
    draw_dot(file, "weft", place(a, weft), y, cli_thousands(weft, text));
    fprintf(file, "<text class=\"value\" x=\"%d\" y=\"%.1f\">%s</text>\n",
            PAGE_WIDTH - 2, y + 4, cli_thousands(weft, text));
}

void cli_picture_rates(FILE *file, const cli_suite *suite)
{
    const cli_result *found[MOST_ROWS];
    size_t count = gather(suite, found);
    double low = 1e300;
    double high = 1;
    for (size_t i = 0; i < count; i++) {
        double theirs = cli_row_theirs(found[i]->row, found[i]->threads);
        low = fmin(low, theirs > 0 ? fmin(theirs, found[i]->rate) : found[i]->rate);
        high = fmax(high, found[i]->rate);
        high = fmax(high, cli_row_best_peer(found[i]->row, found[i]->threads));
    }
    if (count == 0) {
        return;
    }
    axis a = axis_over(low, high);
    double bottom = TOP + (double)count * ROW_HEIGHT;
    fputs("<p class=\"legend\"><i class=\"weft\"></i>Weft, here "
          "<i class=\"peer\"></i>the better of PyTorch 2.13 and ONNX Runtime 1.31, "
          "recorded <i class=\"theirs\"></i>the reports that these tables come from"
          "</p>\n",
          file);
    open_picture(file, bottom + 6, "calls per second of each row");
    draw_decades(file, &a, bottom, false);
    for (size_t i = 0; i < count; i++) {
        draw_rate(file, &a, found[i], TOP + ((double)i + 0.5) * ROW_HEIGHT);
    }
    fputs("</svg>\n", file);
}

static void draw_latency(FILE *file, const axis *a, const cli_result *result, double y)
{
    char text[32], p50[32], p999[32];
    const cli_pass *timed = &result->timed;
    double x50 = place(a, timed->p50_ns);
    double x99 = place(a, timed->p99_ns);
    double x999 = place(a, timed->p999_ns);
    draw_label(file, y, result->row->name);
    fprintf(file,
            "<line class=\"whisker\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
            "y2=\"%.1f\"/>\n",
            x99, y, x999, y);
    fprintf(file,
            "<rect class=\"box\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"8\" "
            "rx=\"4\"/>\n",
            x50, y - 4, fmax(x99 - x50, 2));
    draw_dot(file, "weft", x50, y, cli_duration(timed->p50_ns, text));
    fprintf(file,
            "<line class=\"tip\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\">"
            "<title>P99.9 %s</title></line>\n",
            x999, y - 6, x999, y + 6, cli_duration(timed->p999_ns, text));
    fprintf(file, "<text class=\"value\" x=\"%d\" y=\"%.1f\">%s / %s</text>\n",
            PAGE_WIDTH - 2, y + 4, cli_duration(timed->p50_ns, p50),
            cli_duration(timed->p999_ns, p999));
}

void cli_picture_latency(FILE *file, const cli_suite *suite)
{
    const cli_result *found[MOST_ROWS];
    size_t count = gather(suite, found);
    double low = 1e300;
    double high = 1;
    for (size_t i = 0; i < count; i++) {
        low = fmin(low, fmax(found[i]->timed.p50_ns, 1));
        high = fmax(high, found[i]->timed.p999_ns);
    }
    if (count == 0) {
        return;
    }
    axis a = axis_over(low, high);
    double bottom = TOP + (double)count * ROW_HEIGHT;
    fputs("<p class=\"legend\"><i class=\"weft\"></i>P50 <i class=\"box\"></i>to P99 "
          "<i class=\"tip\"></i>P99.9; on the right P50 / P99.9</p>\n",
          file);
    open_picture(file, bottom + 6, "latency percentiles of each row");
    draw_decades(file, &a, bottom, true);
    for (size_t i = 0; i < count; i++) {
        draw_latency(file, &a, found[i], TOP + ((double)i + 0.5) * ROW_HEIGHT);
    }
    fputs("</svg>\n", file);
}

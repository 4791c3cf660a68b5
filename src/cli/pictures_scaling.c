/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "cli/html.h"

/* One panel of the scaling picture, in SVG units. */
enum {
    PANEL_WIDTH = 450,
    PANEL_HEIGHT = 270,
    LEFT = 76,
    RIGHT = 20,
    TOP = 34,
    BOTTOM = 34,
    MOST_POINTS = CLI_MAX_COUNTS,
};

typedef struct panel {
    const cli_row *row;
    const cli_result *results[MOST_POINTS];
    size_t count;
    double highest; /* of the axis */
    double step;
} panel;

static double place_x(const panel *p, size_t index)
{
    double width = PANEL_WIDTH - LEFT - RIGHT;
    return p->count < 2 ? LEFT + width / 2
                        : LEFT + width * (double)index / (double)(p->count - 1);
}

static double place_y(const panel *p, double rate)
{
    return PANEL_HEIGHT - BOTTOM - (PANEL_HEIGHT - TOP - BOTTOM) * rate / p->highest;
}

/* A round step so that about five lines fit: 1, 2 or 5 times a power of ten. */
static double round_step(double highest)
{
    double step = pow(10, floor(log10(highest / 4)));
    if (highest / step > 20) {
        return step * 5;
    }
    return highest / step > 8 ? step * 2 : step;
}

static void scale(panel *p)
{
    double highest = 1;
    for (size_t i = 0; i < p->count; i++) {
        int32_t threads = p->results[i]->threads;
        highest = fmax(highest, p->results[i]->rate);
        highest = fmax(highest, cli_row_theirs(p->row, threads));
        highest = fmax(highest, cli_row_best_peer(p->row, threads));
    }
    p->step = round_step(highest);
    p->highest = ceil(highest * 1.02 / p->step) * p->step;
}

static void draw_frame(FILE *file, const panel *p)
{
    char text[32];
    fprintf(file, "<text class=\"title\" x=\"%d\" y=\"18\">", LEFT);
    cli_html_text(file, p->row->name);
    fputs("</text>\n", file);
    for (double rate = 0; rate <= p->highest * 1.001; rate += p->step) {
        double y = place_y(p, rate);
        fprintf(file,
                "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
                "<text class=\"tick end\" x=\"%d\" y=\"%.1f\">%s</text>\n",
                LEFT, y, PANEL_WIDTH - RIGHT, y, LEFT - 8, y + 4,
                rate == 0 ? "0" : cli_thousands(rate, text));
    }
    for (size_t i = 0; i < p->count; i++) {
        fprintf(file, "<text class=\"tick\" x=\"%.1f\" y=\"%d\">%d</text>\n",
                place_x(p, i), PANEL_HEIGHT - BOTTOM + 18, p->results[i]->threads);
    }
    fprintf(file, "<text class=\"tick end\" x=\"%d\" y=\"%d\">threads</text>\n",
            PANEL_WIDTH - RIGHT, PANEL_HEIGHT - 2);
}

typedef double (*rate_of)(const cli_result *result);

static double rate_weft(const cli_result *result)
{
    return result->rate;
}

static double rate_theirs(const cli_result *result)
{
    return cli_row_theirs(result->row, result->threads);
}

static double rate_peer(const cli_result *result)
{
    return cli_row_best_peer(result->row, result->threads);
}

static void draw_series(FILE *file, const panel *p, const char *class, rate_of rate)
{
    char text[32];
    fprintf(file, "<polyline class=\"line %s\" points=\"", class);
    for (size_t i = 0; i < p->count; i++) {
        if (rate(p->results[i]) > 0) {
            fprintf(file, "%.1f,%.1f ", place_x(p, i), place_y(p, rate(p->results[i])));
        }
    }
    fputs("\"/>\n", file);
    for (size_t i = 0; i < p->count; i++) {
        double value = rate(p->results[i]);
        if (value > 0) {
            fprintf(file,
                    "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s"
                    "</title></circle>\n",
                    class, place_x(p, i), place_y(p, value),
                    cli_thousands(value, text));
        }
    }
}

static void draw_panel(FILE *file, panel *p)
{
    scale(p);
    fprintf(file,
            "<svg class=\"half\" viewBox=\"0 0 %d %d\" role=\"img\" "
            "aria-label=\"throughput by number of threads\" "
            "xmlns=\"http://www.w3.org/2000/svg\">\n",
            PANEL_WIDTH, PANEL_HEIGHT);
    draw_frame(file, p);
    draw_series(file, p, "theirs", rate_theirs);
    draw_series(file, p, "peer", rate_peer);
    draw_series(file, p, "weft", rate_weft);
    fputs("</svg>\n", file);
}

void cli_picture_scaling(FILE *file, const cli_suite *suite)
{
    panel current = {.row = NULL};
    for (size_t i = 0; i <= suite->direct.count; i++) {
        const cli_result *result =
            i < suite->direct.count ? &suite->direct.list[i] : NULL;
        bool listed = result != NULL && result->rate > 0 &&
                      result->row->table == CLI_TABLE_SCALING;
        if (current.count > 0 && (!listed || result->row != current.row)) {
            draw_panel(file, &current);
            current.count = 0;
        }
        if (listed && current.count < MOST_POINTS) {
            current.row = result->row;
            current.results[current.count++] = result;
        }
    }
}

void cli_picture_bars(FILE *file, const double *rates, size_t count)
{
    enum { BAR = 14, GAP = 3, HEIGHT = 30 };
    char text[32];
    double highest = 0;
    for (size_t i = 0; i < count; i++) {
        highest = fmax(highest, rates[i]);
    }
    fprintf(file,
            "<svg class=\"bars\" viewBox=\"0 0 %zu %d\" width=\"%zu\" height=\"%d\" "
            "xmlns=\"http://www.w3.org/2000/svg\">",
            count * (BAR + GAP), HEIGHT, count * (BAR + GAP), HEIGHT);
    for (size_t i = 0; i < count; i++) {
        double height = highest > 0 ? fmax(rates[i] / highest * HEIGHT, 1) : 1;
        fprintf(file,
                "<rect class=\"weft\" x=\"%zu\" y=\"%.1f\" width=\"%d\" "
                "height=\"%.1f\"><title>%s calls/s</title></rect>",
                i * (BAR + GAP), HEIGHT - height, BAR, height,
                cli_thousands(rates[i], text));
    }
    fputs("</svg>", file);
}

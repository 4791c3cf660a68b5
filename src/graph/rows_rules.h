/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_ROWS_RULES_H
#define WEFTI_GRAPH_ROWS_RULES_H

#include "graph/net.h"

/* The parts of rows.h. The same net stands here twice with all shapes known: for one
 * row
 * (`one`) and for several (`many`); nodes and values correspond. */

/* Where the rows are in a value. */
typedef enum wefti_rows_kind {
    WEFTI_ROWS_UNKNOWN, /* not looked at yet */
    WEFTI_ROWS_SAME,    /* the same bits in both nets: rows have no part in it */
    /* Dims are equal but for `axis`, which is [outer, inner] for one row and [outer,
     * rows, inner] for many. */
    WEFTI_ROWS_ALONG,
    WEFTI_ROWS_VARIED, /* a constant that differs; whether by rows depends on its use */
} wefti_rows_kind;

typedef struct wefti_rows {
    wefti_rows_kind kind;
    int32_t axis;
    int64_t outer;
} wefti_rows;

typedef struct wefti_rows_analysis {
    const wefti_net *one, *many;
    int64_t count;      /* rows in `many`, at least 2 */
    wefti_rows *values; /* per value */
} wefti_rows_analysis;

/* A node as rules see it. Some input has rows, and the shapes of the first output say
 * that those of the result can only lie along `axis`. */
typedef struct wefti_rows_node {
    const wefti_rows_analysis *all;
    const wefti_net_node *node; /* of `many` */
    int32_t output;             /* the first that is there */
    int32_t axis;
    int64_t outer; /* of the first input with rows; 1 when none has */
} wefti_rows_node;

/* Shows that the result has its rows along at->axis; may change `outer`, which is that
 * of the inputs. Errors: WEFT_UNSUPPORTED. */
typedef weft_status (*wefti_rows_rule)(const wefti_rows_node *at, int64_t *outer,
                                       weft_error *error);

/* NULL when the operator has none. */
wefti_rows_rule wefti_rows_find_rule(const wefti_operator *op);

/* The axis along which `many` has `count` times the elements of `one`, all else being
 * equal; -1 when it is not so. */
int32_t wefti_rows_axis(const wefti_known *one, const wefti_known *many, int64_t count);

/* What is known of a value; constants are compared when they are first asked for. */
const wefti_rows *wefti_rows_of(const wefti_rows_analysis *all, int32_t value);
/* True when a constant that differs is the one row's for each row. */
bool wefti_rows_repeat(const wefti_rows_analysis *all, int32_t value, int32_t axis,
                       int64_t outer);

/* For rules. Inputs by index; an absent one satisfies all. */
bool wefti_rows_present(const wefti_rows_node *at, size_t input);
const wefti_known *wefti_rows_one(const wefti_rows_node *at, size_t input);
const wefti_known *wefti_rows_many(const wefti_rows_node *at, size_t input);
/* The input has its rows along `axis`; or, where that is -1 or does not grow with the
 * rows because it broadcasts, is the same for all. */
weft_status wefti_rows_expect(const wefti_rows_node *at, size_t input, int32_t axis,
                              weft_error *error);
/* All inputs from `first` on are the same for all rows. */
weft_status wefti_rows_expect_same(const wefti_rows_node *at, size_t first,
                                   weft_error *error);
/* The input has rows along some axis, told in `rows`. */
weft_status wefti_rows_expect_any(const wefti_rows_node *at, size_t input,
                                  wefti_rows *rows, weft_error *error);
/* "Softmax 'x' mixes the rows of a batch: `why`". */
weft_status wefti_rows_refuse(const wefti_rows_node *at, const char *why,
                              weft_error *error);
/* An attribute's axis of a tensor of `rank` dims, counted from 0. */
int32_t wefti_rows_axis_attribute(const wefti_rows_node *at, int32_t otherwise,
                                  int32_t rank);

/* rows_products.c, rows_moves.c: the rules of rows_rules.c's table. */
#define WEFTI_ROWS_RULE(name)                                                          \
    weft_status wefti_rows_##name(const wefti_rows_node *at, int64_t *outer,           \
                                  weft_error *error)
WEFTI_ROWS_RULE(matmul);
WEFTI_ROWS_RULE(gemm);
WEFTI_ROWS_RULE(conv);
WEFTI_ROWS_RULE(pool);
WEFTI_ROWS_RULE(attention);
WEFTI_ROWS_RULE(softmax);
WEFTI_ROWS_RULE(layer_norm);
WEFTI_ROWS_RULE(batch_norm);
WEFTI_ROWS_RULE(reshape);
WEFTI_ROWS_RULE(reduce);
WEFTI_ROWS_RULE(transpose);
WEFTI_ROWS_RULE(concat);
WEFTI_ROWS_RULE(split);
WEFTI_ROWS_RULE(slice);
WEFTI_ROWS_RULE(pad);
WEFTI_ROWS_RULE(gather);
WEFTI_ROWS_RULE(tile);
WEFTI_ROWS_RULE(trilu);
/* rows_indices.c */
WEFTI_ROWS_RULE(batch);
WEFTI_ROWS_RULE(rotary);
WEFTI_ROWS_RULE(causal_conv);
WEFTI_ROWS_RULE(resize);
WEFTI_ROWS_RULE(lines);
WEFTI_ROWS_RULE(elements);
WEFTI_ROWS_RULE(gather_nd);
WEFTI_ROWS_RULE(reverse_sequence);
WEFTI_ROWS_RULE(matmul_integer);
WEFTI_ROWS_RULE(recurrent);

/* Checks that two programs of one net do the same arithmetic: one for one row, one for
 * many. Only the movement of data and the number of rows may differ. */
weft_status wefti_rows_compare(const wefti_program *one, const wefti_program *many,
                               weft_error *error);

#endif

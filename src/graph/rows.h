/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_ROWS_H
#define WEFTI_GRAPH_ROWS_H

#include "graph/model.h"

/* Whether requests of one model may be executed as one, joined along a batch dimension,
 * so that each caller gets the bits it would have got alone.
 *
 * What is shown: for inputs of `rows` rows along their axes, row i of every output is
 * what a run on row i alone gives, computed by the same kernels with the same numbers
 * in the same order. The model is looked at for one row and for all rows side by side,
 * and each operator has a rule that says where the rows of its result lie. No rule:
 * refused. What is taken on trust, and tested beside it: that a kernel computes a row
 * in the same way whatever stands around it.
 *
 * Two sizes that are both accepted agree with each other too, row by row. So a request
 * of several rows may join a batch when its own number of rows is accepted as well. */

/* Finds the axis of each input that carries the batch dimension.
 * `dimension` is its name. NULL finds it: the one dynamic dimension that every input
 * has exactly once; among several one named like a batch (batch, batch_size, N, b ...),
 * else the one that is axis 0 everywhere. An unnamed dynamic axis 0 of the only input
 * is taken when no dimension has a name. `input_axes` has room for one axis per input.
 * Threads: any.
 * Errors: WEFT_UNSUPPORTED when there is none, naming the input. */
weft_status wefti_model_batch_axes(const weft_model *model, const char *dimension,
                                   int32_t *input_axes, weft_error *error);

/* Checks that rows of inputs of these shapes, joined along `input_axes`, stay apart,
 * and finds the axis of each output along which they lie. Data is not read, outputs are
 * not looked at. One row gives dims[axis] / rows rows of an output, one after the
 * other. Shapes of one row are looked at as if there were two. Threads: any. Blocks:
 * about as long as planning two shapes; keep the answer. Errors: WEFT_UNSUPPORTED names
 * the operator that mixes rows, or that has no rule; WEFT_INVALID_ARGUMENT for shapes
 * that the model does not take. */
weft_status wefti_model_check_rows(weft_model *model, const weft_io *shapes,
                                   const int32_t *input_axes, int32_t *output_axes,
                                   weft_error *error);

#endif

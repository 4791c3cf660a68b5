/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_GRAPH_TEXT_H
#define WEFT_TEST_GRAPH_TEXT_H

#include <weft/weft.h>

/* Makes graphs from short texts, for tests that need many of them:
 *
 *   x: f32[batch,4]; w = f32[4,6]; list = i64{0,-1}; half = f32(0.5);
 *   y = MatMul(x,w); a,b = Split(y) axis=1 num_outputs=2; z = Transpose(a) perm=[1,0];
 *   p = Pad(z,list) mode='edge'; -> p,b
 *
 * A graph inside of a node, in braces, is such a text too:
 *   y = If(c) then_branch={ t = Neg(x); -> t } else_branch={ e = Abs(x); -> e }; -> y
 *
 * NAME: TYPE[...] is an input; words among its dims are named dynamic dims, `?` one
 * without a name; `*` alone: any rank. NAME = TYPE[...] is a constant of random
 * numbers, NAME = TYPE{...} a list of given numbers and NAME = TYPE(...) a scalar. The
 * rest are nodes, named after their first output; an absent input is left empty. Types:
 * f32, i32, i64, bool; of inputs all. Fails the test when the text is wrong. The caller
 * owns the graph. */
weft_graph *graph_text_make(const char *text, int32_t opset);

/* The same, as a model that the caller owns. Fails the test when it is refused. */
weft_model *graph_text_model(weft_device *device, const char *text, int32_t opset,
                             const weft_model_params *params);

#endif

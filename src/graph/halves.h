/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_HALVES_H
#define WEFTI_GRAPH_HALVES_H

#include "graph/net.h"

/* Tensors of 16-bit floats, f16 and bf16: they are stored so, moved so and handed over
 * so, and computed with in f32. What is not only moved is widened before its first use,
 * by a Cast behind the input, the constant or the node that it comes from, and what an
 * output is said to be is rounded once, by a Cast before it. In between nothing is
 * rounded but where the graph itself has a Cast. Constants are widened when they are
 * folded.
 *
 * Types are followed from inputs, constants and attributes alone: shapes are not known
 * yet. Of what If, Loop and Scan make, and of what their graphs are given, nothing is
 * known: it is f32 to all that follows, so a BitCast of it is refused for its size. */

/* Whether a type is one of them. */
bool wefti_is_half(weft_type type);

/* Puts the Casts in. In the graph of a node (`is_body`) what comes in is f32 already,
 * and so is what goes out. *products is the type that the operands of all products
 * have, or NONE where they are not all of one 16-bit type.
 * Errors: WEFT_OUT_OF_MEMORY. */
weft_status wefti_net_widen(wefti_net *net, const weft_graph *graph, bool is_body,
                            weft_type *products, weft_error *error);

#endif

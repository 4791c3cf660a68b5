/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_OLDER_H
#define WEFTI_GRAPH_OLDER_H

#include "graph/net.h"

/* Operators of older opsets in the form that they have now: what was an attribute and
 * is an input today becomes a constant of the net. So inference, passes and rules about
 * rows know one form only. The node's opset stays. `node` is not part of the net yet.
 * Attributes of the wrong kind stay where they are, and the operator refuses them.
 * Errors: WEFT_OUT_OF_MEMORY. */
weft_status wefti_net_modernise(wefti_net *net, wefti_net_node *node,
                                weft_error *error);

#endif

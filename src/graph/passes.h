/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_PASSES_H
#define WEFTI_GRAPH_PASSES_H

#include "graph/net.h"

/* Replaces groups of nodes by fused operators (domain "weft", src/ops). All shapes are
 * known. A pass changes nothing where a pattern does not fit exactly. */
weft_status wefti_net_fuse(wefti_net *net, weft_error *error);

#endif

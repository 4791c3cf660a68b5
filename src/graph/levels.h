/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_LEVELS_H
#define WEFTI_GRAPH_LEVELS_H

#include "graph/net.h"

/* What has to be known before what can be planned. A node is of level 0 when its plan
 * can be made from the model's input shapes and value inputs, and of a higher one when
 * something that decides a shape has to be computed first: then its level's inputs are
 * what the levels below it gave, and a plan can be made again.
 *
 * A value input is one whose value decides a shape or takes the place of an attribute.
 * It is small: of rank 0 or 1, and declared so but for parts of a model. */

enum { WEFTI_UNKNOWN = INT32_MAX };

/* Class: confined. In the arena that was given. */
typedef struct wefti_levels {
    int32_t *values; /* the level that a value can be read at */
    /* The level at which a value is known when a plan is made; WEFTI_UNKNOWN: none,
     * it has to be computed. */
    int32_t *known;
    /* No value input has a part in it: it follows from constants and shapes. What an
     * operator like NonZero reads has to be of this kind to be a part of a plan: it is
     * data, and not to be a part of a key. */
    bool *follows;
    bool *value_inputs; /* of the net */
    bool any_value_input;
    int32_t count; /* levels: 1 for a model without stages */
    bool any_host; /* nodes that the host does between the levels */
} wefti_levels;

/* The level of a node that is not dead; *host when the host does it after that level.
 */
int32_t wefti_level_of(const wefti_levels *levels, const wefti_net *net,
                       const wefti_net_node *node, bool *host);

/* Computes them for a net whose constants are folded. `inputs` are the net's; it is
 * that of a part of a model, or of all of it. */
weft_status wefti_levels_find(const wefti_net *net, const weft_value_info *inputs,
                              bool is_part, wefti_arena *arena, wefti_levels *levels,
                              weft_error *error);

#endif

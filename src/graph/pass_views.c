/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/passes.h"
#include "graph/strided.h"

/* First, front to back: says of each value how it lies in what was last computed, and
 * moves row-wise products before permutations of their rows. Then, back to front: what
 * a computing node reads through such a chain becomes one View of the root. */
typedef struct view_pass {
    wefti_net *net;
    wefti_strided **known; /* per value; NULL: its own root */
    size_t known_capacity;
    bool *needed; /* per value: read by a node that computes */
    weft_error *error;
} view_pass;

static weft_status remember(view_pass *pass, int32_t value,
                            const wefti_strided *strided)
{
    wefti_arena *arena = &pass->net->arena;
    if ((size_t)value >= pass->known_capacity) {
        size_t capacity = 2 * (size_t)value + 16;
        wefti_strided **grown =
            wefti_arena_calloc(arena, capacity, sizeof(wefti_strided *));
        if (grown == NULL) {
            return wefti_error_memory(pass->error, "the views of a plan");
        }
        if (pass->known_capacity > 0) {
            memcpy(grown, pass->known, pass->known_capacity * sizeof(wefti_strided *));
        }
        pass->known = grown;
        pass->known_capacity = capacity;
    }
    pass->known[value] = wefti_arena_copy(arena, strided, sizeof(*strided));
    return pass->known[value] == NULL
               ? wefti_error_memory(pass->error, "the views of a plan")
               : WEFT_OK;
}

/* How `value` lies in its root; constants and empty tensors have none. */
static bool recall(const view_pass *pass, int32_t value, wefti_strided *strided)
{
    if (value < 0 || pass->net->values[value].known.constant != NULL) {
        return false;
    }
    if ((size_t)value < pass->known_capacity && pass->known[value] != NULL) {
        *strided = *pass->known[value];
        return true;
    }
    return wefti_strided_root(value, &pass->net->values[value].known, strided);
}

static bool is_strided(const view_pass *pass, int32_t value)
{
    return value >= 0 && (size_t)value < pass->known_capacity &&
           pass->known[value] != NULL;
}

static bool is_reshape(const wefti_net_node *node)
{
    static const char *const names[] = {"Reshape", "Squeeze", "Unsqueeze", "Flatten",
                                        "Identity"};
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        if (wefti_net_is(node, names[i])) {
            return true;
        }
    }
    return false;
}

static int32_t positive_axis(int64_t axis, int32_t rank)
{
    return (int32_t)(axis < 0 ? axis + rank : axis);
}

/* A gather of one constant index is a slice; the axis then takes the index's shape. */
static bool view_gather(const view_pass *pass, const wefti_net_node *node,
                        const wefti_strided *from, wefti_strided *made)
{
    const wefti_known *indices = &pass->net->values[node->inputs[1]].known;
    if (indices->constant == NULL || wefti_known_count(indices) != 1) {
        return false;
    }
    int64_t index = indices->type == WEFT_TYPE_I64
                        ? *(const int64_t *)indices->constant
                        : *(const int32_t *)indices->constant;
    int32_t axis =
        positive_axis(wefti_attribute_int(&node->view, "axis", 0), from->rank);
    index += index < 0 ? from->dims[axis] : 0;
    if (index < 0 || index >= from->dims[axis]) {
        return false;
    }
    wefti_strided sliced;
    const wefti_known *output = &pass->net->values[node->outputs[0]].known;
    return wefti_strided_slice(from, axis, index, 1, 1, &sliced) &&
           wefti_strided_reshape(&sliced, output->rank, output->dims, made);
}

/* Element i of an optional constant list of integers. */
static int64_t list_item(const wefti_net *net, const wefti_net_node *node, size_t input,
                         int64_t i, int64_t otherwise)
{
    if (node->view.input_count <= input || node->inputs[input] < 0) {
        return otherwise;
    }
    const wefti_known *list = &net->values[node->inputs[input]].known;
    return list->type == WEFT_TYPE_I64 ? ((const int64_t *)list->constant)[i]
                                       : ((const int32_t *)list->constant)[i];
}

static bool view_slice(const view_pass *pass, const wefti_net_node *node,
                       const wefti_strided *from, wefti_strided *made)
{
    const wefti_net *net = pass->net;
    const wefti_known *output = &net->values[node->outputs[0]].known;
    for (size_t i = 1; i < node->view.input_count; i++) {
        if (node->inputs[i] >= 0 &&
            net->values[node->inputs[i]].known.constant == NULL) {
            return false;
        }
    }
    int64_t count = wefti_known_count(&net->values[node->inputs[1]].known);
    *made = *from;
    for (int64_t i = 0; i < count; i++) {
        int32_t axis = positive_axis(list_item(net, node, 3, i, i), from->rank);
        int64_t start = list_item(net, node, 1, i, 0);
        int64_t step = list_item(net, node, 4, i, 1);
        int64_t size = from->dims[axis];
        start += start < 0 ? size : 0;
        start = start < 0 ? 0 : start > size ? size : start;
        wefti_strided sliced;
        if (step < 1 || !wefti_strided_slice(made, axis, start, output->dims[axis],
                                             step, &sliced)) {
            return false;
        }
        *made = sliced;
    }
    return true;
}

static bool view_split(const view_pass *pass, const wefti_net_node *node, size_t index,
                       const wefti_strided *from, wefti_strided *made)
{
    int32_t axis =
        positive_axis(wefti_attribute_int(&node->view, "axis", 0), from->rank);
    int64_t start = 0;
    for (size_t i = 0; i < index; i++) {
        if (node->outputs[i] < 0) {
            return false; /* its size is not at hand */
        }
        start += pass->net->values[node->outputs[i]].known.dims[axis];
    }
    int64_t count = pass->net->values[node->outputs[index]].known.dims[axis];
    return wefti_strided_slice(from, axis, start, count, 1, made);
}

/* How output `index` of a node that only moves data lies in the root. */
static bool view_of(const view_pass *pass, const wefti_net_node *node, size_t index,
                    const wefti_strided *from, wefti_strided *made)
{
    const wefti_known *output = &pass->net->values[node->outputs[index]].known;
    if (is_reshape(node)) {
        return wefti_strided_reshape(from, output->rank, output->dims, made);
    }
    if (wefti_net_is(node, "Transpose")) {
        const weft_attribute *perm = wefti_attribute_find(&node->view, "perm");
        return wefti_strided_transpose(from, perm == NULL ? NULL : perm->ints, made);
    }
    if (wefti_net_is(node, "Gather")) {
        return view_gather(pass, node, from, made);
    }
    if (wefti_net_is(node, "Slice")) {
        return view_slice(pass, node, from, made);
    }
    return wefti_net_is(node, "Split") && view_split(pass, node, index, from, made);
}

static weft_status trace_views(view_pass *pass, const wefti_net_node *node)
{
    wefti_strided from;
    if (node->view.input_count == 0 || !recall(pass, node->inputs[0], &from)) {
        return WEFT_OK;
    }
    for (size_t i = 0; i < node->view.output_count; i++) {
        wefti_strided made;
        if (node->outputs[i] < 0 ||
            wefti_known_count(&pass->net->values[node->outputs[i]].known) == 0) {
            continue;
        }
        if (view_of(pass, node, i, &from, &made) &&
            made.first[made.rank] <= WEFT_MAX_RANK) {
            WEFTI_TRY(remember(pass, node->outputs[i], &made));
        }
    }
    return WEFT_OK;
}

/* Adds View(root) with the loops as dimensions; `value` gets their product's shape. */
static weft_status insert_view(view_pass *pass, wefti_net_node *before,
                               const wefti_strided *strided, int32_t value)
{
    wefti_net *net = pass->net;
    int32_t loops = strided->first[strided->rank];
    bool plain = true; /* one loop or none in each dimension */
    for (int32_t i = 0; i < strided->rank; i++) {
        plain = plain && strided->first[i + 1] - strided->first[i] <= 1;
    }
    int32_t rank = plain ? strided->rank : loops;
    int64_t *dims = wefti_arena_calloc(&net->arena, (size_t)rank, sizeof(*dims));
    int64_t *strides = wefti_arena_calloc(&net->arena, (size_t)rank, sizeof(*strides));
    if (dims == NULL || strides == NULL) {
        return wefti_error_memory(pass->error, "the views of a plan");
    }
    for (int32_t i = 0; i < rank; i++) {
        int32_t loop = plain ? strided->first[i] : i;
        bool single = plain && strided->first[i + 1] == loop;
        dims[i] = single ? 1 : strided->factors[loop].size;
        strides[i] = single ? 0 : strided->factors[loop].stride;
    }
    weft_attribute attributes[] = {
        wefti_make_ints("dims", dims, (size_t)rank),
        wefti_make_ints("strides", strides, (size_t)rank),
        wefti_make_int("offset", strided->offset),
    };
    wefti_net_new made = {
        .op_type = "View",
        .domain = "weft",
        .label = net->values[value].name,
        .attributes = attributes,
        .attribute_count = WEFTI_COUNT_OF(attributes),
        .inputs = &strided->root,
        .outputs = &value,
        .input_count = 1,
        .output_count = 1,
    };
    return wefti_net_insert(net, before, &made, pass->error);
}

/* True when a product treats the rows of its first input one by one with one constant
 * matrix, so that a permutation of the rows may come after it. */
static bool is_row_wise(const wefti_net *net, const wefti_net_node *node)
{
    return wefti_net_is(node, "FusedMatMul") && node->inputs[3] < 0 &&
           net->values[node->inputs[1]].known.constant != NULL &&
           net->values[node->inputs[1]].known.rank == 2;
}

/* The root's rows as a matrix: a new value unless it is one already. */
static weft_status rows_of_root(view_pass *pass, wefti_net_node *before, int32_t root,
                                int64_t columns, int32_t *matrix)
{
    const wefti_known *known = &pass->net->values[root].known;
    int64_t dims[2] = {wefti_known_count(known) / columns, columns};
    if (known->rank == 2 && known->dims[1] == columns) {
        *matrix = root;
        return WEFT_OK;
    }
    wefti_strided whole, rows;
    if (!wefti_strided_root(root, known, &whole) ||
        !wefti_strided_reshape(&whole, 2, dims, &rows)) {
        return wefti_error(pass->error, WEFT_INTERNAL, "'%s' has no rows",
                           pass->net->values[root].name);
    }
    wefti_known shape = {.type = known->type, .rank = 2, .dims = {dims[0], dims[1]}};
    WEFTI_TRY(wefti_net_add_value(pass->net, &shape, pass->net->values[root].name,
                                  matrix, pass->error));
    WEFTI_TRY(remember(pass, *matrix, &rows));
    return insert_view(pass, before, &rows, *matrix);
}

/* FusedMatMul(permuted rows of R) -> permuted rows of FusedMatMul(R). */
static weft_status move_product(view_pass *pass, wefti_net_node *node)
{
    wefti_net *net = pass->net;
    wefti_strided rows;
    if (!is_row_wise(net, node) || !is_strided(pass, node->inputs[0]) ||
        net->values[node->outputs[0]].is_output ||
        !recall(pass, node->inputs[0], &rows) ||
        !wefti_strided_permutes_rows(
            &rows, wefti_known_count(&net->values[rows.root].known))) {
        return WEFT_OK;
    }
    const wefti_known *output = &net->values[node->outputs[0]].known;
    int64_t from = rows.dims[rows.rank - 1], to = output->dims[output->rank - 1];
    if (from == 0 || to == 0 || output->rank != rows.rank ||
        rows.first[rows.rank - 1] + (to > 1) > WEFT_MAX_RANK) {
        return WEFT_OK;
    }
    int32_t matrix, result;
    WEFTI_TRY(rows_of_root(pass, node, rows.root, from, &matrix));
    wefti_known shape = {.type = output->type,
                         .rank = 2,
                         .dims = {net->values[matrix].known.dims[0], to}};
    WEFTI_TRY(wefti_net_add_value(net, &shape, net->values[node->outputs[0]].name,
                                  &result, pass->error));
    int32_t inputs[4] = {matrix, node->inputs[1], node->inputs[2], -1};
    wefti_net_new made = {
        .op_type = "FusedMatMul",
        .domain = "weft",
        .label = node->view.label,
        .attributes = node->view.attributes,
        .attribute_count = node->view.attribute_count,
        .inputs = inputs,
        .outputs = &result,
        .input_count = 4,
        .output_count = 1,
    };
    WEFTI_TRY(wefti_net_insert(net, node, &made, pass->error));
    node->dead = true;

    int32_t last = rows.first[rows.rank - 1];
    for (int32_t i = 0; i < last; i++) {
        rows.factors[i].stride = rows.factors[i].stride / from * to;
    }
    rows.factors[last] = (wefti_factor){to, 1};
    rows.first[rows.rank] = last + (to > 1);
    rows.dims[rows.rank - 1] = to;
    rows.root = result;
    return remember(pass, node->outputs[0], &rows);
}

/* Makes what computing nodes read through views a View of the root. The node that made
 * it before is left to the sweep. */
static weft_status materialize(view_pass *pass, int32_t value, wefti_net_node *before)
{
    wefti_net *net = pass->net;
    wefti_net_node *old = net->values[value].producer;
    if (wefti_net_is(old, "View")) {
        return WEFT_OK;
    }
    for (size_t i = 0; old != NULL && i < old->view.output_count; i++) {
        if (old->outputs[i] == value) {
            old->outputs[i] = -1;
        }
    }
    return insert_view(pass, before, pass->known[value], value);
}

static bool all_outputs_strided(const view_pass *pass, const wefti_net_node *node)
{
    for (size_t i = 0; i < node->view.output_count; i++) {
        if (node->outputs[i] >= 0 && !is_strided(pass, node->outputs[i])) {
            return false;
        }
    }
    return true;
}

/* Nodes that stay read real values: each strided one becomes a View where it was
 * made. A dead product's output is made by a View too. */
static weft_status materialize_inputs(view_pass *pass, wefti_net_node *node)
{
    for (size_t i = 0; i < node->view.input_count; i++) {
        int32_t value = node->inputs[i];
        if (is_strided(pass, value)) {
            WEFTI_TRY(materialize(pass, value, node));
        }
    }
    return WEFT_OK;
}

weft_status wefti_pass_views(wefti_net *net, weft_error *error)
{
    view_pass pass = {.net = net, .error = error};
    for (wefti_net_node *node = net->first; node != NULL; node = node->next) {
        if (!node->dead) {
            WEFTI_TRY(trace_views(&pass, node));
            WEFTI_TRY(move_product(&pass, node));
        }
    }
    for (wefti_net_node *node = net->first; node != NULL; node = node->next) {
        /* A node all of whose results are views of something is no longer read. */
        bool stays = !node->dead && !wefti_net_is(node, "View") &&
                     !(node->view.output_count > 0 && all_outputs_strided(&pass, node));
        if (stays) {
            WEFTI_TRY(materialize_inputs(&pass, node));
        }
    }
    for (size_t i = 0; i < net->output_count; i++) {
        if (is_strided(&pass, net->outputs[i])) {
            WEFTI_TRY(materialize(&pass, net->outputs[i], NULL));
        }
    }
    return WEFT_OK;
}

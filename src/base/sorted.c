/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sorted.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

enum { SOONER, LATER };

/* What a treap needs instead of random numbers: callers do not choose the number. */
static uint64_t weight(const wefti_sorted_node *node)
{
    return node->number * UINT64_C(0x9e3779b97f4a7c15);
}

static bool is_before(const wefti_sorted_node *a, const wefti_sorted_node *b)
{
    return a->time_ns < b->time_ns ||
           (a->time_ns == b->time_ns && a->number < b->number);
}

/* The pointer that leads to the node. */
static wefti_sorted_node **place_of(wefti_sorted *list, wefti_sorted_node *node)
{
    wefti_sorted_node *parent = node->parent;
    return parent ? &parent->children[parent->children[LATER] == node] : &list->root;
}

/* Lets the node and its parent change places; the order stays. */
static void rotate_up(wefti_sorted *list, wefti_sorted_node *node)
{
    wefti_sorted_node *parent = node->parent;
    int side = parent->children[LATER] == node;
    wefti_sorted_node *between = node->children[!side];
    *place_of(list, parent) = node;
    node->parent = parent->parent;
    node->children[!side] = parent;
    parent->parent = node;
    parent->children[side] = between;
    if (between) {
        between->parent = parent;
    }
}

/* Puts the node into the treap; returns the one before it, or NULL. */
static wefti_sorted_node *add_to_treap(wefti_sorted *list, wefti_sorted_node *node)
{
    wefti_sorted_node *before = NULL;
    wefti_sorted_node **place = &list->root;
    node->parent = node->children[SOONER] = node->children[LATER] = NULL;
    while (*place) {
        wefti_sorted_node *here = *place;
        bool later = is_before(here, node);
        before = later ? here : before;
        node->parent = here;
        place = &here->children[later];
    }
    *place = node;
    while (node->parent && weight(node->parent) < weight(node)) {
        rotate_up(list, node);
    }
    return before;
}

static void remove_from_treap(wefti_sorted *list, wefti_sorted_node *node)
{
    while (node->children[SOONER] && node->children[LATER]) {
        bool later = weight(node->children[LATER]) > weight(node->children[SOONER]);
        rotate_up(list, node->children[later]);
    }
    wefti_sorted_node *child = node->children[node->children[LATER] != NULL];
    *place_of(list, node) = child;
    if (child) {
        child->parent = node->parent;
    }
}

/* Behind whom a node without a time stands. */
static wefti_sorted_node *last_older(const wefti_sorted *list,
                                     const wefti_sorted_node *node)
{
    wefti_sorted_node *before = list->last;
    while (before && before->time_ns == WEFTI_NEVER && before->number > node->number) {
        before = before->previous;
    }
    return before;
}

void wefti_sorted_add(wefti_sorted *list, wefti_sorted_node *node)
{
    wefti_sorted_node *before = node->time_ns == WEFTI_NEVER ? last_older(list, node)
                                                             : add_to_treap(list, node);
    wefti_sorted_node *after = before ? before->next : list->first;
    node->previous = before;
    node->next = after;
    *(before ? &before->next : &list->first) = node;
    *(after ? &after->previous : &list->last) = node;
}

void wefti_sorted_remove(wefti_sorted *list, wefti_sorted_node *node)
{
    *(node->previous ? &node->previous->next : &list->first) = node->next;
    *(node->next ? &node->next->previous : &list->last) = node->previous;
    if (node->time_ns != WEFTI_NEVER) {
        remove_from_treap(list, node);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_SORTED_H
#define WEFTI_BASE_SORTED_H

#include <stdint.h>

/* A list kept by time, then by number: a linked list to walk and to take things out of,
 * and, for those with a time, a treap (Seidel and Aragon, 1996) that finds the place of
 * a new one. So putting in takes O(log n) however the times of the others lie, which
 * many callers decide, and O(1) for a new one without a time; the rest takes O(1),
 * expected. Class: confined: its owner guards it by a lock. */

typedef struct wefti_sorted_node {
    /* set by the caller before it is put in, and left alone */
    int64_t time_ns; /* WEFTI_NEVER: behind all others */
    uint64_t number; /* no two are the same */

    struct wefti_sorted_node *previous, *next;
    struct wefti_sorted_node *parent, *children[2]; /* of the treap: sooner, later */
} wefti_sorted_node;

typedef struct wefti_sorted {
    wefti_sorted_node *first, *last;
    wefti_sorted_node *root;
} wefti_sorted;

/* Puts a node in. One without a time takes O(k) where k of those have larger numbers:
 * new ones have the largest. */
void wefti_sorted_add(wefti_sorted *list, wefti_sorted_node *node);

/* Takes a node out that is in. */
void wefti_sorted_remove(wefti_sorted *list, wefti_sorted_node *node);

#endif

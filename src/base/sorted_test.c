/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sorted.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/crew.h"

enum { COUNT = 2000, STEPS = 20000 };

/* The nodes in the list, and in the treap, as they must be. */
static uint32_t depth_of(const wefti_sorted_node *node)
{
    if (!node) {
        return 0;
    }
    const wefti_sorted_node *sooner = node->children[0], *later = node->children[1];
    assert_true(!sooner ||
                (sooner->parent == node && sooner->time_ns <= node->time_ns));
    assert_true(!later || (later->parent == node && later->time_ns >= node->time_ns));
    uint32_t a = depth_of(sooner), b = depth_of(later);
    return 1 + (a > b ? a : b);
}

static uint32_t check(const wefti_sorted *list)
{
    uint32_t count = 0;
    const wefti_sorted_node *before = NULL;
    for (const wefti_sorted_node *n = list->first; n; n = n->next) {
        assert_ptr_equal(n->previous, before);
        if (before && before->time_ns == n->time_ns) {
            assert_true(before->number < n->number);
        } else if (before) {
            assert_true(before->time_ns < n->time_ns);
        }
        before = n;
        count++;
    }
    assert_ptr_equal(list->last, before);
    assert_true(!list->root || !list->root->parent);
    return count;
}

static void test_stays_sorted(void **state)
{
    (void)state;
    wefti_sorted_node *nodes = calloc(COUNT, sizeof *nodes);
    bool *in = calloc(COUNT, sizeof *in);
    wefti_sorted list = {0};
    uint64_t random = 1, number = 0;
    uint32_t count = 0;
    for (int step = 0; step < STEPS; step++) {
        uint32_t i = crew_random(&random) % COUNT;
        if (in[i]) {
            wefti_sorted_remove(&list, &nodes[i]);
        } else {
            bool timed = crew_random(&random) % 3 > 0;
            nodes[i].time_ns = timed ? crew_random(&random) % 50 : WEFTI_NEVER;
            nodes[i].number = number++;
            wefti_sorted_add(&list, &nodes[i]);
        }
        in[i] = !in[i];
        count += in[i] ? 1 : UINT32_MAX;
        if (step % 500 == 0) {
            assert_int_equal(check(&list), count);
            (void)depth_of(list.root);
        }
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        if (in[i]) {
            wefti_sorted_remove(&list, &nodes[i]);
        }
    }
    assert_int_equal(check(&list), 0);
    assert_null(list.root);
    free(nodes);
    free(in);
}

/* Times that fall, rise or are the same must not make a search long. */
static void test_stays_shallow(void **state)
{
    (void)state;
    enum { MANY = 1 << 15, DEEPEST = 60 };
    wefti_sorted_node *nodes = calloc(MANY, sizeof *nodes);
    for (int64_t sign = -1; sign <= 1; sign++) {
        wefti_sorted list = {0};
        for (uint32_t i = 0; i < MANY; i++) {
            nodes[i] = (wefti_sorted_node){.time_ns = sign * (int64_t)i, .number = i};
            wefti_sorted_add(&list, &nodes[i]);
        }
        assert_int_equal(check(&list), MANY);
        assert_in_range(depth_of(list.root), 15, DEEPEST);
    }
    free(nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stays_sorted),
        cmocka_unit_test(test_stays_shallow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

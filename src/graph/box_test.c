/* SPDX-License-Identifier: Apache-2.0 */
/* Padding and cutting, element by element. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "graph/box.h"
#include "support/crew.h"

enum { MOST = 8192, LARGEST = 4, CANARY = 0x5a };

/* A box whose place is a part of a larger tensor, and where the part begins. */
typedef struct layout {
    wefti_box box;
    size_t exact_bytes, begin, all_bytes;
} layout;

static void make_layout(uint64_t *random, layout *made)
{
    static const size_t sizes[] = {1, 2, 4, 8};
    wefti_box *box = &made->box;
    memset(made, 0, sizeof(*made));
    box->rank = (int32_t)(crew_random(random) % 6);
    box->element_bytes = sizes[crew_random(random) % 4];
    int32_t axis = (int32_t)(crew_random(random) % 7) - 1;
    int64_t before = crew_random(random) % 3, behind = crew_random(random) % 3;
    made->exact_bytes = box->element_bytes;
    for (int32_t j = 0; j < box->rank; j++) {
        box->planned[j] = crew_random(random) % (LARGEST + 1);
        bool same = j == axis || crew_random(random) % 2 == 0 || box->planned[j] == 0;
        box->exact[j] =
            same ? box->planned[j]
                 : (int64_t)(crew_random(random) % (uint32_t)(box->planned[j] + 1));
        made->exact_bytes *= (size_t)box->exact[j];
    }
    axis = axis < box->rank ? axis : -1;
    int64_t all = axis < 0 ? 0 : before + box->planned[axis] + behind;
    wefti_box_place(box, axis, all);
    made->begin = axis < 0 ? 0 : (size_t)before * box->strides[axis];
    made->all_bytes = box->element_bytes;
    for (int32_t j = 0; j < box->rank; j++) {
        made->all_bytes *= (size_t)(j == axis ? all : box->planned[j]);
    }
}

/* Whether a byte of the larger tensor is the place's, and which of the caller's: -1 for
 * padding. */
static bool find_byte(const layout *at, size_t byte, size_t *exact, bool *padding)
{
    const wefti_box *box = &at->box;
    if (byte < at->begin || at->all_bytes == 0) {
        return false;
    }
    size_t rest = byte - at->begin;
    *exact = 0;
    *padding = false;
    for (int32_t j = 0; j < box->rank; j++) {
        size_t index = rest / box->strides[j];
        rest %= box->strides[j];
        if (index >= (size_t)box->planned[j]) {
            return false;
        }
        *padding = *padding || index >= (size_t)box->exact[j];
        *exact = *exact * (size_t)box->exact[j] + index;
    }
    *exact = *exact * box->element_bytes + rest;
    return true;
}

static void check_layout(const layout *at, uint64_t *random, bool ones)
{
    static uint8_t caller[MOST], place[MOST], back[MOST];
    static const uint8_t pad[8] = {9, 8, 7, 6, 5, 4, 3, 2}, one[8] = {1, 2, 3, 4};
    assert_true(at->all_bytes < MOST && at->exact_bytes < MOST);
    for (size_t i = 0; i < at->exact_bytes; i++) {
        caller[i] = (uint8_t)crew_random(random);
    }
    memset(place, CANARY, sizeof(place));
    memset(back, CANARY, sizeof(back));
    wefti_box_pad(&at->box, ones ? NULL : caller, one, pad, place + at->begin);
    for (size_t i = 0; i < at->all_bytes + 64; i++) {
        size_t exact = 0;
        bool padding = false;
        uint8_t expected = CANARY;
        if (i < at->all_bytes && find_byte(at, i, &exact, &padding)) {
            size_t byte = (i - at->begin) % at->box.element_bytes;
            expected = padding ? pad[byte] : ones ? one[byte] : caller[exact];
        }
        assert_int_equal(place[i], expected);
    }
    wefti_box_cut(&at->box, place + at->begin, back);
    assert_true(ones || memcmp(back, caller, at->exact_bytes) == 0);
    assert_int_equal(back[at->exact_bytes], CANARY);
}

static void test_random_boxes(void **state)
{
    (void)state;
    uint64_t random = 3;
    for (uint32_t round = 0; round < 20000 / crew_divisor(); round++) {
        layout at;
        make_layout(&random, &at);
        if (at.all_bytes < MOST - 64) {
            check_layout(&at, &random, round % 4 == 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_boxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests whose outputs nobody can tell the shapes of before they have run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/testing.h"
#include "support/crew.h"
#include "support/graph_text.h"
#include "support/group_device.h"

static weft_model *make_model(const char *text)
{
    return graph_text_model(group_device, text, 20, NULL);
}

static weft_tensor vector(weft_type type, void *data, int64_t count)
{
    return (weft_tensor){.data = data, .type = type, .rank = 1, .dims = {count}};
}

typedef struct asked {
    weft_model *model;
    weft_queue *queue; /* NULL: weft_submit */
    float x[4];
    weft_tensor input;
    uint32_t wrong[8];
} asked;

static weft_status submit_open(asked *self, const weft_tensor *input, bool room,
                               int64_t *y, weft_request **request)
{
    weft_tensor output = {.rank = -1};
    if (room) {
        output.data = y;
        output.size_bytes = 4 * sizeof(*y);
    }
    weft_io io = {input, 1, &output, 1};
    return self->queue == NULL
               ? weft_submit(self->model, &io, NULL, request, NULL)
               : weft_queue_submit(self->queue, self->model, &io, NULL, request, NULL);
}

/* Whose shapes nobody knows before: the request tells when it has ended. */
static void ask_open(void *user, uint32_t index)
{
    asked *self = user;
    for (uint32_t i = 0; i < 200 / crew_divisor(); i++) {
        int64_t y[4] = {0};
        float x[4] = {(float)(i % 2), (float)(index % 3), 1, (float)(i % 5)};
        weft_tensor input = vector(WEFT_TYPE_F32, x, 4), found = {0};
        weft_request *request = NULL;
        int64_t count = 0, expected[4];
        for (int k = 0; k < 4; k++) {
            if (x[k] != 0) {
                expected[count++] = 2 * k;
            }
        }
        bool right = submit_open(self, &input, i % 2 == 0, y, &request) == WEFT_OK &&
                     weft_request_wait(request, WEFT_FOREVER, NULL) == WEFT_OK &&
                     weft_request_get_output(request, 0, &found) &&
                     !weft_request_get_output(request, 1, &found);
        right = right && found.rank == 2 && found.dims[1] == count &&
                (found.data == y) == (i % 2 == 0) &&
                memcmp(found.data, expected, (size_t)count * sizeof(*y)) == 0;
        self->wrong[index] += !right;
        weft_request_release(request);
    }
}

static void open_asked(asked *self, bool queued)
{
    memset(self, 0, sizeof(*self));
    self->model = make_model("x: f32[n]; at = NonZero(x); y = Add(at,at); -> y");
    if (queued) {
        assert_int_equal(weft_queue_create(group_device, NULL, &self->queue, NULL),
                         WEFT_OK);
        assert_int_equal(weft_queue_add_model(self->queue, self->model, NULL, NULL),
                         WEFT_OK);
    }
}

static void close_asked(asked *self)
{
    weft_queue_release(self->queue);
    weft_model_release(self->model);
}

static void test_requests_tell_their_shapes(void **state)
{
    (void)state;
    static asked self;
    for (int way = 0; way < 2; way++) {
        open_asked(&self, way == 1);
        crew_run(8, ask_open, &self);
        for (int i = 0; i < 8; i++) {
            assert_int_equal(self.wrong[i], 0);
        }
        close_asked(&self);
    }
}

/* What is not there yet, or never: failed requests, too little room, no request. */
static void test_outputs_that_are_not_there(void **state)
{
    (void)state;
    static asked self;
    float x[] = {1, 0, 3};
    int64_t y[4];
    weft_tensor found, input = vector(WEFT_TYPE_F32, x, 3);
    assert_false(weft_request_get_output(NULL, 0, &found));
    for (int way = 0; way < 2; way++) {
        weft_request *request;
        open_asked(&self, way == 1);
        weft_tensor output = {.data = y, .size_bytes = 8, .rank = -1};
        weft_io io = {&input, 1, &output, 1};
        assert_int_equal(way == 0 ? weft_submit(self.model, &io, NULL, &request, NULL)
                                  : weft_queue_submit(self.queue, self.model, &io, NULL,
                                                      &request, NULL),
                         WEFT_OK);
        assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL),
                         WEFT_INVALID_ARGUMENT);
        assert_false(weft_request_get_output(request, 0, &found));
        weft_request_release(request);
        assert_int_equal(submit_open(&self, &input, false, NULL, &request), WEFT_OK);
        weft_request_release(request); /* nobody takes the answer */
        bool done = false;
        for (uint64_t n = 1; !done; n++) {
            request = NULL;
            wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
            weft_status status = submit_open(&self, &input, false, NULL, &request);
            if (status == WEFT_OK) {
                status = weft_request_wait(request, WEFT_FOREVER, NULL);
            }
            done = wefti_fault_arm(0, 0) < n;
            assert_true(status == (done ? WEFT_OK : status));
            assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
            assert_int_equal(request != NULL &&
                                 weft_request_get_output(request, 0, &found),
                             status == WEFT_OK);
            weft_request_release(request);
            assert_true(n < 2000);
        }
        close_asked(&self);
    }
}

/* Without stages too: the library allocates, the request tells. */
static void test_submit_of_a_plain_model(void **state)
{
    (void)state;
    weft_model *model = make_model("x: f32[n]; y = Neg(x); -> y");
    float x[] = {1, 2, 3}, y[4];
    weft_tensor found, input = vector(WEFT_TYPE_F32, x, 3);
    for (int i = 0; i < 4; i++) {
        weft_tensor output = {.rank = -1};
        if (i % 2 == 1) {
            output.data = y;
            output.size_bytes = sizeof(y);
        }
        weft_io io = {&input, 1, &output, 1};
        weft_request *request;
        assert_int_equal(weft_submit(model, &io, NULL, &request, NULL), WEFT_OK);
        assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
        assert_true(weft_request_get_output(request, 0, &found));
        assert_int_equal(found.dims[0], 3);
        assert_float_equal(((float *)found.data)[2], -3, 0);
        weft_request_release(request);
    }
    weft_model_release(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_tell_their_shapes),
        cmocka_unit_test(test_outputs_that_are_not_there),
        cmocka_unit_test(test_submit_of_a_plain_model),
    };
    return cmocka_run_group_tests(tests, group_device_open, group_device_close);
}

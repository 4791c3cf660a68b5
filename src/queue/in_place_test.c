/* SPDX-License-Identifier: Apache-2.0 */
/* Short joined batches read and write rows where their callers have them: with the bits
 * of each request alone, and what is cancelled meanwhile is its caller's again only
 * when the run is over. Under every order of threads: tests/schedule/in_place.c. */
#include "queue/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/testing.h"
#include "graph/model.h"
#include "runtime/lease.h"
#include "support/graph_text.h"
#include "support/queue_case.h"

enum { MOST_TENSORS = 20, MOST_ROWS = 5, MOST_CALLS = 129, TABLE = 10, GUARD = 36 };
enum { UNTOUCHED = 0xA5, UNWRITTEN = 0xEE, TAKEN_BACK = 0x3C };

/* ---- the CPU, with a look at what it is given ---- */

static const wefti_backend *whole;
static wefti_backend watched;
static wefti_atomic_u32 runs_in_rows; /* of which tensors came in rows */
static wefti_atomic_u32 refuses, stands, standing, is_over;
static crew_gate gate;
static weft_profiler *profiler; /* of the next device, or NULL */

static weft_status execute(wefti_backend_stream *stream, wefti_recipe *recipe,
                           void *const *slots, size_t slot_count, weft_error *error)
{
    bool in_rows = false;
    for (size_t i = slot_count / 2; i < slot_count; i++) {
        in_rows = in_rows || whole->recipe.row_bytes(recipe, i - slot_count / 2) > 0;
    }
    /* Of so many slots the second half says where rows lie; else there is no such. */
    in_rows = in_rows && slots[slot_count / 2] == NULL;
    if (in_rows) {
        (void)wefti_atomic_u32_add_acq_rel(&runs_in_rows, 1);
    }
    if (in_rows && wefti_atomic_u32_load_acquire(&stands) != 0) {
        wefti_atomic_u32_store_release(&standing, 1);
        crew_gate_pass(&gate);
    }
    if (in_rows && wefti_atomic_u32_load_acquire(&refuses) != 0) {
        wefti_atomic_u32_store_release(&is_over, 1);
        return wefti_error(error, WEFT_UNAVAILABLE, "not so");
    }
    weft_status status =
        whole->stream.execute(stream, recipe, slots, slot_count, error);
    if (in_rows) {
        wefti_atomic_u32_store_release(&is_over, 1);
    }
    return status;
}

/* ---- models and calls ---- */

/* [rows], [rows,a] or [rows,a,b]; the first are indices of a table. */
typedef struct shape {
    int64_t dims[2];
    size_t row_bytes; /* as the tensor stays with the callers; 0: it is copied */
} shape;

typedef struct kind {
    const char *text;
    size_t inputs, outputs;
    shape tensors[MOST_TENSORS];
} kind;

static const kind mlp = {
    "x: f32[batch,20]; w = f32[20,33]; b = f32[33]; v = f32[33,7];"
    "p = MatMul(x,w); q = Add(p,b); r = Relu(q); y = MatMul(r,v); -> y",
    1,
    1,
    {{{20}, 80}, {{7}, 28}}};

/* One input goes through a product, the other one and the output do not. */
static const kind two_ways = {"a: f32[batch,12]; e: f32[batch,18]; w = f32[12,18];"
                              "p = MatMul(a,w); n = Exp(e); y = Mul(p,n); -> y",
                              2,
                              1,
                              {{{12}, 48}, {{18}, 0}, {{18}, 0}}};

/* The output is the product's, which reads the input once more in one piece. */
static const kind residual = {
    "x: f32[batch,16]; w = f32[16,16]; p = MatMul(x,w); y = Add(p,x); -> y",
    1,
    1,
    {{{16}, 0}, {{16}, 64}}};

/* Several rows of the product for one of the request; the first output is read again.
 */
static const kind sequence = {"x: f32[batch,3,8]; w = f32[8,10]; v = f32[10,4];"
                              "y = MatMul(x,w); z = MatMul(y,v); -> z,y",
                              1,
                              2,
                              {{{3, 8}, 32}, {{3, 4}, 16}, {{3, 10}, 40}}};

/* An index outside of the table makes the run fail, after y was written. */
static const kind lookup = {
    "x: f32[batch,20]; i: i64[batch]; w = f32[20,6]; t = f32[10,5];"
    "y = MatMul(x,w); z = Gather(t,i); -> y,z",
    2,
    2,
    {{{20}, 80}, {{0}, 0}, {{6}, 24}, {{5}, 0}}};

/* More tensors than there is room for on a stack. */
static const kind many = {
    "x: f32[batch,9]; w = f32[9,9]; a = MatMul(x,w); b = MatMul(a,w); c = MatMul(b,w);"
    "d = MatMul(c,w); e = MatMul(d,w); f = MatMul(e,w); g = MatMul(f,w);"
    "h = MatMul(g,w); i = MatMul(h,w); j = MatMul(i,w); k = MatMul(j,w);"
    "l = MatMul(k,w); m = MatMul(l,w); n = MatMul(m,w); o = MatMul(n,w);"
    "p = MatMul(o,w); q = Relu(p); -> q,a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p",
    1,
    17,
    {{{9}, 36},
     {{9}, 0},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 36},
     {{9}, 0}}};

/* Nothing of it can stay. */
static const kind relu_and_add = {"x: f32[batch,16]; w = f32[16,16]; p = MatMul(x,w); "
                                  "r = Relu(p); y = Add(r,x); -> y",
                                  1,
                                  1,
                                  {{{16}, 0}, {{16}, 0}}};

/* Takes more than 250 us of any core. */
static const kind heavy = {
    "x: f32[batch,512,64]; w = f32[64,64]; a = MatMul(x,w); b = MatMul(a,w);"
    "c = MatMul(b,w); d = MatMul(c,w); e = MatMul(d,w); f = MatMul(e,w);"
    "g = MatMul(f,w); h = MatMul(g,w); i = MatMul(h,w); y = MatMul(i,w); -> y",
    1,
    1,
    {{{512, 64}, 0}, {{512, 64}, 0}}};

typedef struct call {
    size_t inputs, count;
    unsigned char *blocks[MOST_TENSORS]; /* the tensor between guards */
    unsigned char *right[MOST_TENSORS];  /* what it has to be in the end */
    size_t bytes[MOST_TENSORS];
    weft_tensor tensors[MOST_TENSORS];
    weft_io io;
    weft_request *request;
} call;

typedef struct stage {
    queue_case f; /* whose model is the plug's */
    const kind *kind;
    weft_model *model;
    wefti_queue_class *class;
    queue_case_plug plug;
    call calls[MOST_CALLS];
    size_t count;
} stage;

static void make_tensor(call *c, size_t index, const shape *s, int64_t rows,
                        uint64_t *seed)
{
    const bool indices = s->dims[0] == 0;
    const size_t guard = indices ? GUARD + 4 : GUARD; /* as the type is aligned */
    weft_tensor *tensor = &c->tensors[index];
    int64_t count = rows;
    *tensor = (weft_tensor){
        .type = indices ? WEFT_TYPE_I64 : WEFT_TYPE_F32, .rank = 1, .dims = {rows}};
    for (int i = 0; i < 2 && s->dims[i] > 0; i++) {
        tensor->dims[tensor->rank++] = s->dims[i];
        count *= s->dims[i];
    }
    c->bytes[index] = (size_t)count * weft_type_size(tensor->type);
    c->blocks[index] = malloc(c->bytes[index] + 2 * guard);
    c->right[index] = malloc(c->bytes[index]);
    assert_true(c->blocks[index] != NULL && c->right[index] != NULL);
    memset(c->blocks[index], UNTOUCHED, c->bytes[index] + 2 * guard);
    tensor->data = c->blocks[index] + guard;
    for (int64_t i = 0; i < count && index < c->inputs; i++) {
        if (indices) {
            ((int64_t *)tensor->data)[i] = crew_random(seed) % TABLE;
        } else {
            ((float *)tensor->data)[i] =
                (float)(crew_random(seed) % 2000) / 1000.0f - 1.0f;
        }
    }
    memcpy(c->right[index], tensor->data, c->bytes[index]);
}

/* A call, with what it gives alone. */
static void make_call(const stage *s, call *c, int64_t rows, uint64_t seed)
{
    weft_error error;
    *c = (call){.inputs = s->kind->inputs, .count = s->kind->inputs + s->kind->outputs};
    for (size_t i = 0; i < c->count; i++) {
        make_tensor(c, i, &s->kind->tensors[i], rows, &seed);
    }
    c->io = (weft_io){c->tensors, c->inputs, c->tensors + c->inputs, s->kind->outputs};
    if (weft_run(s->model, &c->io, NULL, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    for (size_t i = c->inputs; i < c->count; i++) {
        memcpy(c->right[i], c->tensors[i].data, c->bytes[i]);
        memset(c->tensors[i].data, UNWRITTEN, c->bytes[i]);
    }
}

static void drop_call(call *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->blocks[i]);
        free(c->right[i]);
    }
}

static bool guards_stand(const call *c)
{
    bool stand = true;
    for (size_t i = 0; i < c->count; i++) {
        const unsigned char *data = c->tensors[i].data;
        size_t guard = (size_t)(data - c->blocks[i]);
        for (size_t j = 0; j < guard; j++) {
            stand = stand && c->blocks[i][j] == UNTOUCHED &&
                    data[c->bytes[i] + j] == UNTOUCHED;
        }
    }
    return stand;
}

/* The outputs of a request alone, the inputs as they were, and nothing beside. */
static bool is_right(const call *c)
{
    bool right = guards_stand(c);
    for (size_t i = 0; i < c->count; i++) {
        right = right && memcmp(c->tensors[i].data, c->right[i], c->bytes[i]) == 0;
    }
    return right;
}

/* From here on every byte of the call has to stay as it is. */
static void expect_all(call *c, unsigned char byte, size_t first)
{
    for (size_t i = first; i < c->count; i++) {
        memset(c->right[i], byte, c->bytes[i]);
    }
}

static void submit(stage *s, call *c)
{
    weft_error error;
    if (weft_queue_submit(s->f.queue, s->model, &c->io, NULL, &c->request, &error) !=
        WEFT_OK) {
        fail_msg("%s", error.message);
    }
}

/* What is known of the class, in ns for a row. */
static void set_costs(stage *s, double alone_ns, double joined_ns)
{
    assert_int_equal(weft_queue_drain(s->f.queue, WEFT_FOREVER, NULL), WEFT_OK);
    wefti_queue_lock(s->f.queue);
    s->class = wefti_queue_find_model_locked(s->f.queue, s->model)->classes;
    assert_null(s->class->next);
    s->class->alone_ns = alone_ns;
    s->class->joined_ns = joined_ns;
    wefti_mutex_unlock(&s->f.queue->lock);
}

enum { SHORT_NS = 1000, JOINED_NS = 100 };

static void set_up(stage *s, const kind *k, int32_t contexts)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    weft_device_params device = WEFT_DEVICE_PARAMS_INIT;
    weft_error error;
    call lone;
    memset(s, 0, sizeof(*s));
    wefti_atomic_u32_init(&runs_in_rows, 0);
    wefti_atomic_u32_init(&stands, 0);
    wefti_atomic_u32_init(&refuses, 0);
    params.workers = 1;
    params.max_batch_size = 2 * MOST_CALLS;
    device.max_contexts = contexts;
    device.profiler = profiler;
    if (weft_device_open("cpu", &device, &s->f.device, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    whole = s->f.device->backend;
    watched = *whole;
    watched.stream.execute = execute;
    s->f.device->backend = &watched;
    s->kind = k;
    s->model = graph_text_model(s->f.device, k->text, 20, NULL);
    s->f.model = queue_case_model(s->f.device, 42);
    if (weft_queue_create(s->f.device, &params, &s->f.queue, &error) != WEFT_OK ||
        weft_queue_add_model(s->f.queue, s->f.model, NULL, &error) != WEFT_OK ||
        weft_queue_add_model(s->f.queue, s->model, NULL, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    make_call(s, &lone, 1, 1);
    submit(s, &lone);
    queue_case_wait_ok(lone.request);
    assert_true(is_right(&lone));
    drop_call(&lone);
    set_costs(s, SHORT_NS, JOINED_NS);
}

static void tear_down(stage *s)
{
    weft_model *model = s->model;
    for (size_t i = 0; i < s->count; i++) {
        drop_call(&s->calls[i]);
    }
    queue_case_end(&s->f);
    queue_case_tear_down(&s->f);
    weft_model_release(model);
}

static wefti_queue_form *form_of(const stage *s, const int64_t *rows, size_t count)
{
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (int32_t)rows[i];
    }
    wefti_queue_form *form =
        wefti_queue_get_form(s->class, wefti_queue_padded_rows(sum));
    assert_true(form != NULL && form->joins);
    return form;
}

/* Submits behind a worker that stands still: they make one batch. */
static void submit_behind(stage *s, const int64_t *rows, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < s->count; i++) {
        drop_call(&s->calls[i]);
    }
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        make_call(s, &s->calls[i], rows[i], seed + i);
    }
    queue_case_plug_in(&s->plug, s->f.queue, s->f.model);
    for (size_t i = 0; i < count; i++) {
        submit(s, &s->calls[i]);
    }
}

static const int64_t ROWS[] = {1, 3, 5, 2, 1, 4, 1, 1, 5, 2, 1, 1,
                               3, 1, 1, 2, 5, 1, 4, 1, 2, 1, 3, 1};

/* The same of a size that has run before. */
static void submit_all(stage *s, const int64_t *rows, size_t count, uint64_t seed)
{
    wefti_queue_learn_layout(s->class, form_of(s, rows, count));
    submit_behind(s, rows, count, seed);
}

/* The tensors that stay with the callers are those that should. */
static void check_form(const stage *s, size_t count)
{
    const wefti_queue_form *form = form_of(s, ROWS, count);
    const wefti_queue_layout *layout = wefti_queue_get_layout(form);
    size_t end = 0;
    for (size_t i = 0; i < s->kind->inputs + s->kind->outputs; i++) {
        size_t bytes = layout != NULL ? layout->tensors[i].row_bytes : 0;
        end = form->tensors[i].size_bytes + (size_t)form->tensors[i].data;
        assert_int_equal(bytes, s->kind->tensors[i].row_bytes);
    }
    assert_in_range(form->staging_bytes, end, end + 63); /* tensors alone */
}

static weft_queue_statistics statistics(const stage *s)
{
    weft_queue_statistics n;
    assert_int_equal(weft_queue_drain(s->f.queue, WEFT_FOREVER, NULL), WEFT_OK);
    weft_queue_get_statistics(s->f.queue, &n);
    assert_int_equal(n.accepted, n.done + n.failed + n.cancelled + n.timed_out);
    return n;
}

/* ---- tests ---- */

static void join_once(stage *s, size_t count, uint64_t seed, bool in_place)
{
    weft_queue_statistics before = statistics(s);
    uint32_t in_rows = wefti_atomic_u32_load_acquire(&runs_in_rows);
    submit_behind(s, ROWS, count, seed);
    queue_case_plug_out(&s->plug);
    for (size_t i = 0; i < count; i++) {
        queue_case_wait_ok(s->calls[i].request);
        assert_true(is_right(&s->calls[i]));
    }
    weft_queue_statistics after = statistics(s);
    assert_int_equal(after.batch_count - before.batch_count, 2); /* and the plug */
    assert_int_equal(wefti_atomic_u32_load_acquire(&runs_in_rows) - in_rows, in_place);
    assert_true(s->class->joined_ns > 0);
    set_costs(s, SHORT_NS, JOINED_NS);
}

/* The first batch of a size tells what may stay with the callers. */
static void join_and_compare(const kind *k, bool in_place)
{
    static const size_t counts[] = {2, 3, 9, 7, WEFTI_COUNT_OF(ROWS), 5};
    stage s;
    set_up(&s, k, 0);
    for (size_t i = 0; i < WEFTI_COUNT_OF(counts); i++) {
        wefti_queue_form *form = form_of(&s, ROWS, counts[i]);
        assert_null(wefti_atomic_ptr_load_acquire(&form->layout));
        join_once(&s, counts[i], 100 * i, false);
        assert_non_null(wefti_atomic_ptr_load_acquire(&form->layout));
        join_once(&s, counts[i], 100 * i + 50, in_place);
        check_form(&s, counts[i]);
    }
    tear_down(&s);
}

static void test_bits_are_those_of_each_alone(void **state)
{
    (void)state;
    join_and_compare(&mlp, true);
    join_and_compare(&two_ways, true);
    join_and_compare(&residual, true);
    join_and_compare(&sequence, true);
    join_and_compare(&lookup, true);
    join_and_compare(&many, true);
    join_and_compare(&relu_and_add, false);
}

/* For those who cancel would have to wait. */
static void test_long_runs_are_copied(void **state)
{
    (void)state;
    join_and_compare(&heavy, false);
}

static void test_batches_are_recorded(void **state)
{
    (void)state;
    stage s;
    weft_profile_event event;
    size_t batches = 0, runs = 0;
    assert_int_equal(weft_profiler_create(NULL, &profiler, NULL), WEFT_OK);
    set_up(&s, &mlp, 0);
    join_once(&s, 3, 1, false);
    size_t before = weft_profiler_event_count(profiler);
    join_once(&s, 3, 2, true);
    for (size_t i = before; weft_profiler_get_event(profiler, i, &event); i++) {
        batches += event.kind == WEFT_PROFILE_BATCH;
        runs += batches == 1 && event.kind == WEFT_PROFILE_EXECUTE;
    }
    tear_down(&s);
    weft_profiler_release(profiler);
    profiler = NULL;
    assert_true(batches == 2 && runs == 1); /* the plug is the first */
}

/* What memory was too short for is learned after the next run. */
static void test_learning_is_tried_again(void **state)
{
    (void)state;
    stage s;
    set_up(&s, &mlp, 0);
    wefti_queue_form *form = form_of(&s, ROWS, 3);
    wefti_queue_learn_layout(s.class, form_of(&s, ROWS, 2)); /* of another size */
    for (uint64_t failing = 1; failing <= 2; failing++) {
        (void)wefti_fault_arm(failing, 1u << WEFTI_FAULT_ALLOCATION);
        wefti_queue_learn_layout(s.class, form);
        (void)wefti_fault_arm(0, 0);
        assert_null(wefti_atomic_ptr_load_acquire(&form->layout));
    }
    join_once(&s, 3, 1, false);
    const void *learned = wefti_atomic_ptr_load_acquire(&form->layout);
    assert_non_null(learned);
    wefti_queue_learn_layout(s.class, form);
    assert_ptr_equal(wefti_atomic_ptr_load_acquire(&form->layout), learned);
    join_once(&s, 3, 2, true);
    tear_down(&s);
}

/* Where the backend takes tensors in one piece only no plan is asked. */
static void test_backends_without_rows(void **state)
{
    (void)state;
    stage s;
    set_up(&s, &mlp, 0);
    watched.recipe.row_bytes = NULL;
    for (uint64_t i = 0; i < 3; i++) {
        join_once(&s, 3, i, false);
        assert_null(wefti_atomic_ptr_load_acquire(&form_of(&s, ROWS, 3)->layout));
    }
    tear_down(&s);
}

/* A batch whose plan has been thrown out is copied, which brings it back. */
static void test_plans_are_not_built_in_place(void **state)
{
    (void)state;
    stage s;
    call other;
    set_up(&s, &mlp, 0);
    s.model->plans.params.max_plans = 1;
    submit_all(&s, ROWS, 6, 3);
    make_call(&s, &other, 7, 1);
    queue_case_plug_out(&s.plug);
    for (size_t i = 0; i < 6; i++) {
        queue_case_wait_ok(s.calls[i].request);
        assert_true(is_right(&s.calls[i]));
    }
    assert_int_equal(wefti_atomic_u32_load_acquire(&runs_in_rows), 0);
    drop_call(&other);
    tear_down(&s);
}

/* Whether so many requests of one row are one batch on their callers' tensors. */
static bool stay_in_place(size_t count)
{
    static int64_t rows[MOST_CALLS];
    stage s;
    set_up(&s, &mlp, 0);
    for (size_t i = 0; i < count; i++) {
        rows[i] = 1;
    }
    weft_queue_statistics before = statistics(&s);
    submit_all(&s, rows, count, 5);
    queue_case_plug_out(&s.plug);
    for (size_t i = 0; i < count; i++) {
        queue_case_wait_ok(s.calls[i].request);
        assert_true(is_right(&s.calls[i]));
    }
    weft_queue_statistics after = statistics(&s);
    assert_int_equal(after.batch_count - before.batch_count, 2); /* and the plug */
    tear_down(&s);
    return wefti_atomic_u32_load_acquire(&runs_in_rows) != 0;
}

/* In those that are not compared with each other an output may lie in the input of
 * another request, which has to be copied before it is written. */
static void test_batches_of_very_many_are_copied(void **state)
{
    (void)state;
    assert_true(stay_in_place(128));
    assert_false(stay_in_place(129));
}

static void test_a_failing_batch_is_split(void **state)
{
    (void)state;
    enum { COUNT = 6 };
    stage s;
    set_up(&s, &lookup, 0);
    for (size_t sick = 0; sick < COUNT; sick++) {
        weft_queue_statistics before = statistics(&s);
        submit_all(&s, ROWS, COUNT, sick);
        call *bad = &s.calls[sick];
        int64_t outside = TABLE + 5;
        memcpy(bad->tensors[1].data, &outside, sizeof(outside));
        memcpy(bad->right[1], &outside, sizeof(outside));
        expect_all(bad, 0, bad->inputs);
        queue_case_plug_out(&s.plug);
        for (size_t i = 0; i < COUNT; i++) {
            weft_status status =
                weft_request_wait(s.calls[i].request, WEFT_FOREVER, NULL);
            assert_int_equal(status, i == sick ? WEFT_INVALID_ARGUMENT : WEFT_OK);
            weft_request_release(s.calls[i].request);
            assert_true(is_right(&s.calls[i]));
        }
        weft_queue_statistics after = statistics(&s);
        assert_int_equal(after.failed - before.failed, 1);
        assert_int_equal(after.split_count - before.split_count, 1);
        assert_int_equal(wefti_atomic_u32_load_acquire(&runs_in_rows), sick + 1);
        set_costs(&s, SHORT_NS, JOINED_NS);
    }
    tear_down(&s);
}

/* The device refuses rows that lie apart, and then takes copies of them. */
static void test_a_refused_batch_is_copied(void **state)
{
    (void)state;
    stage s;
    set_up(&s, &mlp, 0);
    submit_all(&s, ROWS, 6, 3);
    wefti_atomic_u32_store_release(&refuses, 1);
    queue_case_plug_out(&s.plug);
    for (size_t i = 0; i < 6; i++) {
        queue_case_wait_ok(s.calls[i].request);
        assert_true(is_right(&s.calls[i]));
    }
    assert_int_equal(wefti_atomic_u32_load_acquire(&runs_in_rows), 1);
    weft_queue_statistics n = statistics(&s);
    assert_int_equal(n.split_count, 0);
    assert_int_equal(n.batch_count, 3); /* and the one of set_up, and the plug */
    tear_down(&s);
}

/* Rows that nobody asked for are not what the batch before left: indices outside of
 * the table. */
static void test_padding_is_fit_to_compute(void **state)
{
    (void)state;
    enum { COUNT = 8, PLANNED = 18 }; /* rows; without the last request one less */
    stage s;
    set_up(&s, &lookup, 0);
    submit_all(&s, ROWS, COUNT, 2);
    for (size_t i = 0; i < COUNT; i++) {
        memset(s.calls[i].tensors[1].data, 0x7f, s.calls[i].bytes[1]);
        memset(s.calls[i].right[1], 0x7f, s.calls[i].bytes[1]);
        expect_all(&s.calls[i], 0, s.calls[i].inputs);
    }
    queue_case_plug_out(&s.plug);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(weft_request_wait(s.calls[i].request, WEFT_FOREVER, NULL),
                         WEFT_INVALID_ARGUMENT);
        weft_request_release(s.calls[i].request);
        assert_true(is_right(&s.calls[i]));
    }
    set_costs(&s, SHORT_NS, JOINED_NS);
    weft_queue_statistics before = statistics(&s);
    submit_all(&s, ROWS, COUNT - 1, 3);
    queue_case_plug_out(&s.plug);
    for (size_t i = 0; i < COUNT - 1; i++) {
        queue_case_wait_ok(s.calls[i].request);
        assert_true(is_right(&s.calls[i]));
    }
    weft_queue_statistics after = statistics(&s);
    assert_int_equal(wefti_queue_padded_rows(PLANNED - 1), PLANNED);
    assert_int_equal(after.padded_count - before.padded_count, 1);
    assert_int_equal(after.split_count, before.split_count);
    assert_int_equal(wefti_atomic_u32_load_acquire(&runs_in_rows), 2);
    tear_down(&s);
}

/* ---- cancel ---- */

typedef struct taking {
    call *c;
    crew_thread thread;
    bool won, was_over;
    wefti_atomic_u32 returned;
} taking;

/* Takes the tensors back as soon as they are free. */
static void cancel(void *user)
{
    taking *self = user;
    self->won = weft_request_cancel(self->c->request);
    self->was_over = wefti_atomic_u32_load_acquire(&is_over) != 0;
    for (size_t i = 0; self->won && i < self->c->count; i++) {
        memset(self->c->tensors[i].data, TAKEN_BACK, self->c->bytes[i]);
    }
    wefti_atomic_u32_store_release(&self->returned, 1);
}

static void start_cancel(taking *self, call *c)
{
    *self = (taking){.c = c};
    wefti_atomic_u32_init(&self->returned, 0);
    crew_start(&self->thread, cancel, self);
}

static bool is_standing(void *user)
{
    (void)user;
    return wefti_atomic_u32_load_acquire(&standing) != 0;
}

static bool is_dropped(void *user)
{
    const taking *self = user;
    return wefti_atomic_u32_load_acquire(&self->c->request->state) >
               WEFTI_REQUEST_LOADING ||
           wefti_atomic_u32_load_acquire(&self->returned) != 0;
}

/* Lets a batch come as far as its run in place. */
static void stand_still(stage *s)
{
    gate = (crew_gate)CREW_GATE_INIT;
    wefti_atomic_u32_store_release(&standing, 0);
    wefti_atomic_u32_store_release(&is_over, 0);
    wefti_atomic_u32_store_release(&stands, 1);
    queue_case_plug_out(&s->plug);
    crew_await(is_standing, NULL);
}

static void go_on(void)
{
    wefti_atomic_u32_store_release(&stands, 0);
    crew_gate_open(&gate);
}

/* One of a batch, whose run fails or not because of it, is cancelled meanwhile. */
static void cancel_one(stage *s, size_t which, size_t count, bool sick)
{
    taking canceller;
    weft_queue_statistics before = statistics(s);
    submit_all(s, ROWS, count, which);
    call *c = &s->calls[which];
    if (sick) {
        *(int64_t *)c->tensors[1].data = TABLE + 1;
    }
    stand_still(s);
    start_cancel(&canceller, c);
    crew_await(is_dropped, &canceller);
    bool waits = wefti_atomic_u32_load_acquire(&canceller.returned) == 0;
    go_on();
    crew_join(&canceller.thread);
    assert_true(waits && canceller.won && canceller.was_over);
    expect_all(c, TAKEN_BACK, 0);
    for (size_t i = 0; i < count; i++) {
        weft_status status = weft_request_wait(s->calls[i].request, WEFT_FOREVER, NULL);
        assert_int_equal(status, i == which ? WEFT_CANCELLED : WEFT_OK);
        weft_request_release(s->calls[i].request);
    }
    weft_queue_statistics after = statistics(s);
    for (size_t i = 0; i < count; i++) {
        assert_true(is_right(&s->calls[i]));
    }
    assert_int_equal(after.cancelled - before.cancelled, 1);
    assert_int_equal(after.done - before.done, count); /* with the plug */
    assert_int_equal(after.split_count - before.split_count, sick);
    set_costs(s, SHORT_NS, JOINED_NS);
}

static void test_cancel_waits_for_the_run(void **state)
{
    (void)state;
    enum { COUNT = 7 };
    static const kind *const kinds[] = {&mlp, &two_ways, &lookup};
    for (size_t k = 0; k < WEFTI_COUNT_OF(kinds); k++) {
        stage s;
        set_up(&s, kinds[k], 0);
        for (size_t which = 0; which < COUNT; which++) {
            cancel_one(&s, which, COUNT, false);
        }
        assert_int_equal(wefti_atomic_u32_load_acquire(&runs_in_rows), COUNT);
        tear_down(&s);
    }
}

static void test_cancel_of_the_one_that_fails_all(void **state)
{
    (void)state;
    stage s;
    set_up(&s, &lookup, 0);
    for (size_t which = 0; which < 5; which++) {
        cancel_one(&s, which, 5, true);
    }
    tear_down(&s);
}

/* Batches of which not all were cancelled before. */
static uint64_t runs(const weft_queue_statistics *n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < WEFTI_COUNT_OF(n->batch_rows); i++) {
        sum += n->batch_rows[i];
    }
    return sum;
}

/* Those that have run are a batch; those of a run that was refused are none, for they
 * should have run again. */
static void cancel_all(bool refused)
{
    enum { COUNT = 7 };
    stage s;
    taking cancellers[COUNT];
    set_up(&s, &mlp, 0);
    weft_queue_statistics before = statistics(&s);
    submit_all(&s, ROWS, COUNT, 9);
    wefti_atomic_u32_store_release(&refuses, refused);
    stand_still(&s);
    for (size_t i = 0; i < COUNT; i++) {
        start_cancel(&cancellers[i], &s.calls[i]);
        crew_await(is_dropped, &cancellers[i]);
    }
    go_on();
    for (size_t i = 0; i < COUNT; i++) {
        crew_join(&cancellers[i].thread);
        assert_true(cancellers[i].won && cancellers[i].was_over);
        weft_request_release(s.calls[i].request);
        expect_all(&s.calls[i], TAKEN_BACK, 0);
    }
    weft_queue_statistics after = statistics(&s);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(is_right(&s.calls[i]));
    }
    assert_int_equal(after.cancelled - before.cancelled, COUNT);
    assert_int_equal(runs(&after) - runs(&before), refused ? 1 : 2); /* the plug */
    assert_int_equal(after.padded_count - before.padded_count, refused ? 0 : 1);
    assert_int_equal(after.split_count, before.split_count);
    tear_down(&s);
}

static void test_all_are_cancelled(void **state)
{
    (void)state;
    cancel_all(false);
    cancel_all(true);
}

static bool is_loading(void *user)
{
    const call *c = user;
    return wefti_atomic_u32_load_acquire(&c->request->state) > WEFTI_REQUEST_PENDING;
}

/* Whether a cancel returns before it is given a context. */
static bool returns_in_time(const taking *canceller)
{
    static const int64_t PATIENCE_NS = INT64_C(20000000000);
    int64_t end_ns = wefti_clock_ns() + PATIENCE_NS;
    while (wefti_atomic_u32_load_acquire(&canceller->returned) == 0 &&
           wefti_clock_ns() < end_ns) {
        wefti_thread_yield();
    }
    return wefti_atomic_u32_load_acquire(&canceller->returned) != 0;
}

/* The batch's end, of which the second one was cancelled. */
static void check_all_but_one(stage *s, taking *canceller, bool in_time)
{
    crew_join(&canceller->thread);
    assert_true(in_time && canceller->won);
    expect_all(&s->calls[1], TAKEN_BACK, 0);
    for (size_t i = 0; i < s->count; i++) {
        weft_status status = weft_request_wait(s->calls[i].request, WEFT_FOREVER, NULL);
        assert_int_equal(status, i == 1 ? WEFT_CANCELLED : WEFT_OK);
        weft_request_release(s->calls[i].request);
        assert_true(is_right(&s->calls[i]));
    }
}

/* Who cancels has the only context itself, for which the batch would wait: it is not
 * kept waiting for what depends on it. */
static void test_cancel_by_who_holds_the_context(void **state)
{
    (void)state;
    stage s;
    taking canceller;
    weft_context *context;
    set_up(&s, &mlp, 1);
    submit_all(&s, ROWS, 3, 5);
    assert_int_equal(weft_context_acquire(s.f.device, NULL, &context, NULL), WEFT_OK);
    queue_case_plug_out(&s.plug);
    crew_await(is_loading, &s.calls[1]);
    start_cancel(&canceller, &s.calls[1]);
    bool in_time = returns_in_time(&canceller);
    weft_context_release(context);
    check_all_but_one(&s, &canceller, in_time);
    tear_down(&s);
}

/* Waits for the only context, which the batch has until its run is refused, and cancels
 * then. */
typedef struct leasing {
    stage s;
    taking canceller;
    weft_context *context;
} leasing;

static void lease_and_cancel(void *user)
{
    leasing *self = user;
    if (weft_context_acquire(self->s.f.device, NULL, &self->context, NULL) == WEFT_OK) {
        cancel(&self->canceller);
    }
}

static bool is_waiting_for_context(void *user)
{
    const leasing *self = user;
    return wefti_lease_waiter_count(self->s.f.device->contexts) > 0;
}

static void test_cancel_by_who_gets_the_context(void **state)
{
    (void)state;
    static leasing self;
    stage *s = &self.s;
    set_up(s, &mlp, 1);
    submit_all(s, ROWS, 3, 5);
    self.canceller = (taking){.c = &s->calls[1]};
    wefti_atomic_u32_init(&self.canceller.returned, 0);
    wefti_atomic_u32_store_release(&refuses, 1);
    stand_still(s);
    crew_start(&self.canceller.thread, lease_and_cancel, &self);
    crew_await(is_waiting_for_context, &self);
    go_on();
    bool in_time = returns_in_time(&self.canceller);
    weft_context_release(self.context);
    check_all_but_one(s, &self.canceller, in_time);
    tear_down(s);
}

/* ---- many at once ---- */

typedef struct crowd {
    stage s;
    wefti_atomic_u32 wrong;
} crowd;

/* Some calls at a time, of which one may be cancelled at whatever moment. */
static void run_some(crowd *self, uint64_t *seed)
{
    enum { AT_ONCE = 3 };
    call calls[AT_ONCE];
    bool won = false;
    for (size_t i = 0; i < AT_ONCE; i++) {
        make_call(&self->s, &calls[i], 1 + crew_random(seed) % MOST_ROWS, *seed);
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        submit(&self->s, &calls[i]);
    }
    if (crew_random(seed) % 2 == 0) {
        won = weft_request_cancel(calls[0].request);
    }
    for (size_t t = 0; won && t < calls[0].count; t++) {
        memset(calls[0].tensors[t].data, TAKEN_BACK, calls[0].bytes[t]);
        memset(calls[0].right[t], TAKEN_BACK, calls[0].bytes[t]);
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        weft_status status = weft_request_wait(calls[i].request, WEFT_FOREVER, NULL);
        bool as_told = status == (won && i == 0 ? WEFT_CANCELLED : WEFT_OK);
        weft_request_release(calls[i].request);
        if (!as_told || !is_right(&calls[i])) {
            (void)wefti_atomic_u32_add_acq_rel(&self->wrong, 1);
        }
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        if (!is_right(&calls[i])) { /* written later */
            (void)wefti_atomic_u32_add_acq_rel(&self->wrong, 1);
        }
        drop_call(&calls[i]);
    }
}

static void run_crowd(void *user, uint32_t index)
{
    crowd *self = user;
    uint64_t seed = index;
    for (uint32_t i = 0; i < 160 / crew_divisor(); i++) {
        run_some(self, &seed);
    }
}

static void test_crowd(void **state)
{
    (void)state;
    crowd c;
    set_up(&c.s, &sequence, 0);
    wefti_atomic_u32_init(&c.wrong, 0);
    crew_run(12, run_crowd, &c);
    assert_int_equal(wefti_atomic_u32_load_acquire(&c.wrong), 0);
    assert_true(wefti_atomic_u32_load_acquire(&runs_in_rows) > 0);
    (void)statistics(&c.s);
    tear_down(&c.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_are_those_of_each_alone),
        cmocka_unit_test(test_long_runs_are_copied),
        cmocka_unit_test(test_batches_are_recorded),
        cmocka_unit_test(test_learning_is_tried_again),
        cmocka_unit_test(test_backends_without_rows),
        cmocka_unit_test(test_plans_are_not_built_in_place),
        cmocka_unit_test(test_batches_of_very_many_are_copied),
        cmocka_unit_test(test_a_failing_batch_is_split),
        cmocka_unit_test(test_a_refused_batch_is_copied),
        cmocka_unit_test(test_padding_is_fit_to_compute),
        cmocka_unit_test(test_cancel_waits_for_the_run),
        cmocka_unit_test(test_cancel_of_the_one_that_fails_all),
        cmocka_unit_test(test_all_are_cancelled),
        cmocka_unit_test(test_cancel_by_who_holds_the_context),
        cmocka_unit_test(test_cancel_by_who_gets_the_context),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are posted (src/queue/post.c), with real threads: while the queue is
 * closed, drained and released, while its model comes and goes, while memory runs out,
 * and with tensors that are wrong. Under every order of threads: `queue-post` and
 * others in tests/schedule/queue.c; as a protocol: tests/spin/post.pml. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "base/atomic.h"
#include "base/testing.h"
#include "base/thread.h"
#include "queue/queue.h"
#include "support/queue_case.h"

static const int64_t PATIENCE_NS = INT64_C(60000000000);

/* ---- a crowd that posts ---- */

enum { CROWD = 64, FEW = 6, ROUNDS = 160, CALLS = 24 };

/* What one thread does beside those who post. */
enum { CLOSES, SWAPS, DRAINS, LEAVES, DEEDS };

typedef struct storm {
    queue_case f;
    queue_case_call *calls; /* one of each thread */
    uint32_t round, posters;
    wefti_atomic_u32 accepted, over, drained, wrong;
    uint64_t posts_seen, accepted_in_all;
} storm;

static uint32_t deed_of(const storm *s)
{
    return s->round % DEEDS;
}

static void note(storm *s, bool right)
{
    wefti_atomic_u32_add_acq_rel(&s->wrong, right ? 0 : 1);
}

/* Waits, which mostly means to run the request; or cancels it, or only looks. */
static void end_one(storm *s, const queue_case_call *call, weft_request *request,
                    uint32_t how)
{
    bool cancelled = how == 0 && weft_request_cancel(request);
    while (how == 1 && !weft_request_test(request, NULL)) {
        wefti_thread_yield();
    }
    weft_status status = weft_request_wait(request, PATIENCE_NS, NULL);
    note(s, status == WEFT_OK ? !cancelled && queue_case_is_right(call)
                              : status == WEFT_CANCELLED && cancelled);
    weft_request_release(request);
}

static void post_on(storm *s, uint32_t index)
{
    queue_case_call *call = &s->calls[index];
    uint64_t random = s->round * 1000 + index + 1;
    for (int i = 0; i < CALLS; i++) {
        weft_request *request;
        bool late = wefti_atomic_u32_load_acquire(&s->drained) != 0;
        memset(call->y, 0xff, sizeof call->y);
        weft_status status =
            weft_queue_submit(s->f.queue, s->f.model, &call->io, NULL, &request, NULL);
        if (status == WEFT_OK) {
            note(s, !late); /* else it was accepted after the end */
            wefti_atomic_u32_add_acq_rel(&s->accepted, 1);
            end_one(s, call, request, crew_random(&random) % 8);
        } else {
            note(s, (status == WEFT_CLOSED && deed_of(s) == CLOSES) ||
                        (status == WEFT_NOT_FOUND && deed_of(s) == SWAPS));
        }
    }
    wefti_atomic_u32_add_acq_rel(&s->over, 1);
}

/* Until so many were accepted, or all have gone. */
static void look_on(storm *s, uint32_t enough)
{
    while (wefti_atomic_u32_load_acquire(&s->accepted) < enough &&
           wefti_atomic_u32_load_acquire(&s->over) < s->posters) {
        s->posts_seen += queue_case_count_posts(s->f.queue);
        wefti_thread_yield();
    }
}

static void interfere(storm *s)
{
    uint64_t random = s->round + 1;
    uint32_t all = s->posters * CALLS;
    uint32_t some = 1 + crew_random(&random) % (all / 4);
    weft_queue *queue = s->f.queue;
    for (uint32_t enough = some; enough < all; enough += some) {
        look_on(s, enough);
        if (deed_of(s) == CLOSES) {
            weft_queue_close(queue);
            note(s, weft_queue_drain(queue, PATIENCE_NS, NULL) == WEFT_OK);
            wefti_atomic_u32_store_release(&s->drained, 1);
            return;
        }
        if (deed_of(s) == SWAPS) {
            note(s, weft_queue_remove_model(queue, s->f.model, NULL) == WEFT_OK);
            note(s, weft_queue_add_model(queue, s->f.model, NULL, NULL) == WEFT_OK);
        } else if (deed_of(s) == DRAINS) {
            note(s, weft_queue_drain(queue, PATIENCE_NS, NULL) == WEFT_OK);
        }
    }
}

static void post_or_interfere(void *user, uint32_t index)
{
    storm *s = user;
    if (index < s->posters) {
        post_on(s, index);
    } else {
        interfere(s);
    }
    if (deed_of(s) == LEAVES) {
        weft_queue_release(s->f.queue); /* each its own; nobody closes */
    }
}

static void run_storm(storm *s)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    weft_queue_statistics n;
    params.workers = 1 + (int32_t)(s->round % 3);
    s->posters = s->round % 16 == 15 ? CROWD : FEW;
    wefti_atomic_u32_store_release(&s->accepted, 0);
    wefti_atomic_u32_store_release(&s->over, 0);
    wefti_atomic_u32_store_release(&s->drained, 0);
    assert_int_equal(weft_queue_create(s->f.device, &params, &s->f.queue, NULL),
                     WEFT_OK);
    assert_int_equal(weft_queue_add_model(s->f.queue, s->f.model, NULL, NULL), WEFT_OK);
    queue_case_warm_up(&s->f); /* it is known that runs are short */
    for (uint32_t i = 0; deed_of(s) == LEAVES && i < s->posters; i++) {
        (void)weft_queue_retain(s->f.queue);
    }
    crew_run(s->posters + 1, post_or_interfere, s);
    assert_int_equal(wefti_atomic_u32_load_acquire(&s->wrong), 0);
    uint32_t accepted = wefti_atomic_u32_load_acquire(&s->accepted);
    s->accepted_in_all += accepted;
    if (deed_of(s) == LEAVES) {
        return;
    }
    assert_int_equal(weft_queue_drain(s->f.queue, PATIENCE_NS, NULL), WEFT_OK);
    weft_queue_get_statistics(s->f.queue, &n);
    assert_int_equal(n.accepted, n.done + n.failed + n.cancelled + n.timed_out);
    assert_int_equal(n.accepted, 3 + accepted);
    assert_int_equal(n.waiting, 0);
    assert_int_equal(queue_case_count_posts(s->f.queue), 0);
    weft_queue_release(s->f.queue);
}

static void test_storms(void **state)
{
    (void)state;
    static storm s;
    weft_device_statistics n;
    s.f.device = queue_case_device("cpu");
    s.f.model = queue_case_model(s.f.device, 7);
    s.calls = calloc(CROWD, sizeof *s.calls);
    for (uint32_t i = 0; i < CROWD; i++) {
        queue_case_solve(&s.calls[i], s.f.model, 1, i, i);
    }
    for (s.round = 0; s.round < ROUNDS; s.round++) {
        run_storm(&s);
    }
    weft_device_get_statistics(s.f.device, &n);
    assert_int_equal(n.accepted, n.done + n.failed + n.cancelled + n.timed_out);
    print_message("%llu requests accepted; %llu times one was seen in a box\n",
                  (unsigned long long)s.accepted_in_all,
                  (unsigned long long)s.posts_seen);
    assert_true(s.posts_seen > 0);
    weft_model_release(s.f.model);
    weft_device_release(s.f.device);
    free(s.calls);
}

/* ---- what goes wrong on the way into a box ---- */

enum { MOST = 40, SET_UP = 4 /* plug and posts */ };

/* The only worker stands still, awake, so that posts are attended and nobody comes. */
typedef struct stage {
    queue_case f;
    queue_case_core core;
    queue_case_plug plug;
    queue_case_call calls[MOST];
    weft_request *requests[MOST];
    uint32_t count;
} stage;

static void submit_next(stage *s)
{
    assert_true(s->count < MOST);
    s->requests[s->count] = queue_case_submit(&s->f, &s->calls[s->count], NULL);
    s->count++;
}

static bool has_free_objects(weft_queue *queue)
{
    wefti_queue_pool *pool = wefti_queue_pool_here(queue);
    wefti_mutex_lock(&pool->lock);
    const bool has = pool->free_requests != NULL;
    wefti_mutex_unlock(&pool->lock);
    return has;
}

static void set_up(stage *s, uint32_t objects)
{
    weft_queue_params params = WEFT_QUEUE_PARAMS_INIT;
    params.workers = 1;
    s->count = 0;
    queue_case_set_up(&s->f, &params);
    queue_case_warm_up(&s->f);
    queue_case_keep_core(&s->f, objects, &s->core);
    queue_case_plug_in(&s->plug, s->f.queue, s->f.model);
    queue_case_expect_posts(s->f.queue, s->f.model);
    for (uint32_t i = 0; i < MOST; i++) {
        queue_case_solve(&s->calls[i], s->f.model, 1, i, i);
    }
    while (s->count < 3) {
        submit_next(s);
    }
    assert_true(queue_case_count_posts(s->f.queue) > 0);
}

static void tear_down(stage *s)
{
    queue_case_plug_out(&s->plug);
    for (uint32_t i = 0; i < s->count; i++) {
        queue_case_wait_ok(s->requests[i]);
        assert_true(queue_case_is_right(&s->calls[i]));
    }
    queue_case_tear_down(&s->f);
    queue_case_free_core(&s->core);
}

/* Each allocation and lock that a submission makes fails once. */
static void test_every_failure_of_a_post(void **state)
{
    (void)state;
    static stage s;
    uint64_t failures = 0;
    set_up(&s, SET_UP); /* so that another has to be made, soon */
    while (has_free_objects(s.f.queue)) {
        submit_next(&s);
    }
    bool met = true;
    for (uint64_t n = 1; met || n < 3; n++) {
        weft_error error = {.message = ""};
        weft_request **request = &s.requests[s.count];
        (void)wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION | 1u << WEFTI_FAULT_LOCK);
        weft_status status = weft_queue_submit(
            s.f.queue, s.f.model, &s.calls[s.count].io, NULL, request, &error);
        met = wefti_fault_arm(0, 0) >= n;
        if (status == WEFT_OK) {
            s.count++;
        } else {
            assert_true(strlen(error.message) > 10);
            assert_null(*request);
            failures++;
        }
        queue_case_check_holds(s.f.queue);
        assert_true(s.count < MOST);
    }
    assert_true(failures > 0);
    tear_down(&s);
}

static void refuse(stage *s, const queue_case_call *call, const char *word)
{
    weft_error error;
    weft_request *request;
    assert_int_equal(
        weft_queue_submit(s->f.queue, s->f.model, &call->io, NULL, &request, &error),
        WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, word));
    assert_null(request);
    queue_case_check_holds(s->f.queue);
}

/* Makes a call wrong in one of several ways; returns what the words about it name, NULL
 * where there are no more ways. */
static const char *spoil(queue_case_call *call, int way)
{
    weft_tensor *x = &call->inputs[0], *i = &call->inputs[1], *y = &call->outputs[0];
    switch (way) {
    case 0:
        x->data = NULL;
        return "'x'";
    case 1:
        x->data = (char *)call->x + 1;
        return "'x'";
    case 2:
        x->strides[1] = 2;
        return "'x'";
    case 3:
        x->place = (weft_place)7;
        return "'x'";
    case 4:
        i->size_bytes = 4;
        return "'i'";
    case 5:
        i->type = WEFT_TYPE_F32;
        return "'i'";
    case 6:
        i->dims[0] = 2; /* another batch than x */
        return "'i'";
    case 7:
        y->dims[0] = 2;
        return "'y'";
    case 8:
        y->data = call->x;
        return "'y'";
    case 9:
        *y = (weft_tensor){.data = call->y, .size_bytes = 8, .rank = -1};
        return "'y'";
    default:
        return NULL;
    }
}

/* So that the next call finds an object that was posted for such a call. */
static void post_and_cancel(stage *s)
{
    weft_queue *queue = s->f.queue;
    uint32_t posts = queue_case_count_posts(queue);
    weft_request *request = queue_case_submit(&s->f, &s->calls[MOST - 1], NULL);
    assert_int_equal(queue_case_count_posts(queue), posts + 1);
    assert_true(weft_request_cancel(request));
    weft_request_release(request);
    const wefti_queue_request *next = wefti_queue_pool_here(queue)->free_requests;
    assert_ptr_equal(&next->base, request);
    assert_non_null(next->recent);
}

/* Tensors that are wrong though the shapes are those of a recent call, also that of the
 * object that they would be put into. */
static void test_wrong_tensors_are_not_posted(void **state)
{
    (void)state;
    static stage s;
    queue_case_call call;
    set_up(&s, MOST);
    for (int again = 0; again < 2; again++) {
        const char *word = "";
        for (int way = 0; word; way++) {
            queue_case_prepare(&call, 1, 0, 0);
            word = spoil(&call, way);
            if (word && again) {
                post_and_cancel(&s);
            }
            if (word) {
                refuse(&s, &call, word);
            }
        }
    }
    post_and_cancel(&s);
    s.requests[s.count] = queue_case_submit(&s.f, &s.calls[s.count], NULL);
    s.count++;
    tear_down(&s);
}

/* Request objects in use, of all pools. */
static uint64_t count_in_use(const stage *s)
{
    uint64_t in_use = 0;
    for (size_t i = 0; i < WEFTI_QUEUE_POOLS; i++) {
        wefti_queue_pool *pool = &s->f.queue->pools[i];
        wefti_mutex_lock(&pool->lock);
        in_use += pool->in_use;
        wefti_mutex_unlock(&pool->lock);
    }
    return in_use;
}

/* What the device has accepted and not ended. */
static uint64_t count_begun(const stage *s)
{
    weft_device_statistics n;
    weft_device_get_statistics(s->f.device, &n);
    return n.accepted - n.done - n.failed - n.cancelled - n.timed_out;
}

/* A call that turns out not to be like the recent one, when there is an object for it,
 * leaves nothing behind; and the next one takes that object, and learns what its
 * output is. */
static void test_what_is_not_posted_leaves_nothing(void **state)
{
    (void)state;
    static stage s;
    queue_case_call call;
    set_up(&s, MOST);
    uint64_t begun = count_begun(&s), in_use = count_in_use(&s);
    for (int i = 0; i < 4; i++) { /* the first one makes the object */
        queue_case_prepare(&call, 1, 0, 0);
        call.outputs[0].data = call.x;
        refuse(&s, &call, "'y'");
        assert_int_equal(count_begun(&s), begun);
        assert_int_equal(count_in_use(&s), in_use);
    }
    uint32_t posts = queue_case_count_posts(s.f.queue);
    for (int i = 0; i < 2; i++) {
        queue_case_call *next = &s.calls[s.count];
        weft_tensor whole = next->outputs[0];
        next->outputs[0] =
            (weft_tensor){.data = next->y, .size_bytes = sizeof next->y, .rank = -1};
        s.requests[s.count++] = queue_case_submit(&s.f, next, NULL);
        assert_int_equal(next->outputs[0].rank, whole.rank);
        assert_int_equal(next->outputs[0].type, whole.type);
        assert_memory_equal(next->outputs[0].dims, whole.dims,
                            (size_t)whole.rank * sizeof whole.dims[0]);
    }
    assert_int_equal(queue_case_count_posts(s.f.queue), posts + 2);
    assert_int_equal(count_begun(&s), begun + 2);
    assert_int_equal(count_in_use(&s), in_use + 2);
    queue_case_check_holds(s.f.queue);
    tear_down(&s);
}

/* Posts a call while this thread has the queue's lock, so that nobody takes it in. */
static void post_behind_the_lock(stage *s)
{
    weft_queue *queue = s->f.queue;
    uint32_t posts = queue_case_count_posts(queue);
    s->requests[s->count] = queue_case_submit(&s->f, &s->calls[s->count], NULL);
    s->count++;
    assert_int_equal(queue_case_count_posts(queue), posts + 1);
}

/* Takes the places of all calls of a model that are remembered, for other rows. */
static void remember_others_locked(wefti_queue_request like)
{
    for (int32_t i = 0; i < WEFTI_QUEUE_RECENTS; i++) {
        like.rows = 100 + i;
        wefti_queue_remember_locked(&like);
    }
}

/* A post has no hold on its class: who makes a pool forget the call takes it in, also
 * where nobody has been told of the post yet. */
static void test_what_is_forgotten_is_taken_in(void **state)
{
    (void)state;
    static stage s;
    set_up(&s, MOST);
    weft_queue *queue = s.f.queue;
    wefti_queue_model *entry = queue->models;
    s.requests[s.count] = queue_case_submit(&s.f, &s.calls[s.count], NULL);
    wefti_queue_request like =
        *WEFTI_CONTAINER_OF(s.requests[s.count++], wefti_queue_request, base);
    wefti_queue_lock(queue);
    size_t waiting = queue->waiting_count;
    post_behind_the_lock(&s);
    remember_others_locked(like);
    assert_int_equal(queue_case_count_posts(queue), 0);
    assert_int_equal(queue->waiting_count, waiting + 1);
    like.rows = 1;
    wefti_queue_remember_locked(&like);
    post_behind_the_lock(&s);
    wefti_queue_forget_locked(entry);
    assert_int_equal(queue_case_count_posts(queue), 0);
    assert_int_equal(queue->waiting_count, waiting + 2);
    assert_int_equal(entry->users, 0);
    wefti_mutex_unlock(&queue->lock);
    queue_case_check_holds(queue);
    tear_down(&s);
}

/* An object that was posted knows its call no longer than the pool does. */
static void test_a_pool_forgets_what_its_objects_were(void **state)
{
    (void)state;
    static stage s;
    set_up(&s, MOST);
    weft_queue *queue = s.f.queue;
    post_and_cancel(&s);
    wefti_queue_request *next = wefti_queue_pool_here(queue)->free_requests;
    wefti_queue_lock(queue);
    remember_others_locked(*next);
    wefti_mutex_unlock(&queue->lock);
    s.requests[s.count] = queue_case_submit(&s.f, &s.calls[s.count], NULL);
    assert_ptr_equal(s.requests[s.count++], &next->base);
    assert_int_equal(next->rows, 1);
    tear_down(&s);
}

/* A model that is taken out goes when what was posted for it has been served. */
static void test_a_post_keeps_its_model(void **state)
{
    (void)state;
    static stage s;
    set_up(&s, MOST);
    weft_queue *queue = s.f.queue;
    wefti_queue_model *entry = queue->models;
    assert_true(queue_case_count_posts(queue) > 0);
    assert_int_equal(weft_queue_remove_model(queue, s.f.model, NULL), WEFT_OK);
    assert_ptr_equal(queue->models, entry);
    queue_case_plug_out(&s.plug);
    for (uint32_t i = 0; i < s.count; i++) {
        queue_case_wait_ok(s.requests[i]);
        assert_true(queue_case_is_right(&s.calls[i]));
    }
    assert_int_equal(weft_queue_drain(queue, PATIENCE_NS, NULL), WEFT_OK);
    wefti_mutex_lock(&queue->lock);
    assert_null(queue->models);
    wefti_mutex_unlock(&queue->lock);
    queue_case_tear_down(&s.f);
    queue_case_free_core(&s.core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storms),
        cmocka_unit_test(test_every_failure_of_a_post),
        cmocka_unit_test(test_wrong_tensors_are_not_posted),
        cmocka_unit_test(test_what_is_not_posted_leaves_nothing),
        cmocka_unit_test(test_what_is_forgotten_is_taken_in),
        cmocka_unit_test(test_a_pool_forgets_what_its_objects_were),
        cmocka_unit_test(test_a_post_keeps_its_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

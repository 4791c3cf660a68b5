/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/thread.h"
#include "graph/padding.h"
#include "queue/queue.h"

/* Short requests whose callers soon wait for them are not put into the queue one by
 * one, each under the queue's lock, which would go from core to core with all it
 * guards: they are left in a post box, one for each pool, and the next thread that
 * takes the lock takes them in. Mostly that is their caller, who comes to run them; in
 * a crowd, a worker.
 *
 * That nothing is left lying: `attended` says that somebody will look without being
 * told: all workers are awake, or one watches over promises, which is not enough for
 * what is left to workers. Who posts sees to it that `posts` says so and then reads
 * `attended`; who lowers the attendance writes it and then reads `posts`. Both are
 * sequentially consistent, so at least one of the two sees the other (Dekker). Close,
 * after which nothing is accepted, empties all boxes under their locks, so that who
 * posts later sees the end of attendance.
 *
 * Posted are calls like one that was accepted of late, which the box's pool remembers.
 * So a post has no hold on its model and class: what the pool remembers has, and who
 * makes it forget a call takes in what was posted for it. */

/* In a box. */
enum { MOST_POSTS = 32 };

/* Room in the queue for what may be posted before everybody knows that there is none:
 * all boxes twice, and what was on its way into each. */
enum { ROOM_FOR_POSTS = WEFTI_QUEUE_POOLS * (2 * MOST_POSTS + 1) };

enum { ALL_POOLS = (1 << WEFTI_QUEUE_POOLS) - 1 };

static uint32_t bit_of(const weft_queue *queue, const wefti_queue_pool *pool)
{
    return UINT32_C(1) << (pool - queue->pools);
}

static void take_in_locked(wefti_queue_request *request)
{
    weft_queue *queue = request->queue;
    wefti_queue_count_locked(request);
    (void)wefti_queue_count_threads_locked(queue, request->submitter);
    wefti_queue_enlist_locked(request);
    request->promised = request->leadable;
    queue->promised_count += request->promised ? 1 : 0;
}

/* Empties the post boxes of these pools. */
static void empty_boxes_locked(weft_queue *queue, uint32_t pools)
{
    (void)wefti_atomic_u32_and_seq_cst(&queue->posts, ~pools);
    for (size_t p = 0; p < WEFTI_QUEUE_POOLS; p++) {
        wefti_queue_pool *pool = &queue->pools[p];
        if (!(pools >> p & 1)) {
            continue;
        }
        wefti_mutex_lock(&pool->lock);
        wefti_queue_request *request = pool->first_post;
        pool->first_post = NULL;
        pool->post_count = 0;
        wefti_mutex_unlock(&pool->lock);
        while (request) {
            wefti_queue_request *next = request->next_report;
            take_in_locked(request);
            request = next;
        }
    }
}

void wefti_queue_take_posts_locked(weft_queue *queue)
{
    uint32_t pools = wefti_atomic_u32_load_seq_cst(&queue->posts);
    if (pools != 0) {
        empty_boxes_locked(queue, pools);
        wefti_queue_attend_locked(queue);
    }
}

void wefti_queue_lock(weft_queue *queue)
{
    wefti_mutex_lock(&queue->lock);
    wefti_queue_take_posts_locked(queue);
}

static uint32_t attendance_locked(const weft_queue *queue)
{
    size_t most = (size_t)queue->params.max_queue_size;
    bool allowed = !queue->closed &&
                   queue->waiting_count + queue->held_count + ROOM_FOR_POSTS <= most;
    if (!allowed) {
        return WEFTI_QUEUE_ALONE;
    }
    return queue->sleeping <= queue->woken ? WEFTI_QUEUE_AWAKE
           : queue->watching               ? WEFTI_QUEUE_WATCHED
                                           : WEFTI_QUEUE_ALONE;
}

void wefti_queue_attend_locked(weft_queue *queue)
{
    uint32_t before = wefti_atomic_u32_load_relaxed(&queue->attended);
    uint32_t now = attendance_locked(queue);
    uint32_t spares = queue->census.now < (uint32_t)queue->params.workers;
    if (spares != wefti_atomic_u32_load_relaxed(&queue->spares_cores)) {
        wefti_atomic_u32_store_relaxed(&queue->spares_cores, spares);
    }
    if (now == before) {
        return;
    }
    wefti_atomic_u32_store_seq_cst(&queue->attended, now);
    if (now < before && !wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_POST)) {
        wefti_queue_take_posts_locked(queue);
    }
}

void wefti_queue_close_posts_locked(weft_queue *queue)
{
    wefti_atomic_u32_store_seq_cst(&queue->attended, WEFTI_QUEUE_ALONE);
    /* All of them, whatever `posts` says: it is set after the post. */
    if (!wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_SHUT)) {
        empty_boxes_locked(queue, ALL_POOLS);
    }
}

static void count_recent_locked(wefti_queue_recent *recent, bool comes)
{
    recent->model->users += comes ? 1 : (size_t)-1;
    recent->class->live_count += comes ? 1 : (size_t)-1;
    recent->model = comes ? recent->model : NULL;
    recent->number = comes ? recent->number : 0;
}

/* With as many rows in all inputs: nothing else is looked at again. */
static bool is_recent(const wefti_queue_recent *recent, const weft_model *model,
                      const weft_io *io)
{
    bool same = recent->model && recent->model->model == model &&
                wefti_queue_is_of_class(recent->class, io) &&
                wefti_queue_rows(recent->class, io) == recent->rows;
    for (size_t i = 0; same && i < io->input_count; i++) {
        int32_t axis = recent->class->axes[i];
        same = axis < 0 || wefti_mask_is_made(model, i, &io->inputs[i]) ||
               io->inputs[i].dims[axis] == recent->rows;
    }
    return same;
}

/* Each of many threads may have a model of its own, and all of them come by each core.
 */
static uint32_t set_of(const weft_model *model)
{
    uint64_t mixed = (uint64_t)(uintptr_t)model * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32) % WEFTI_QUEUE_RECENT_SETS;
}

static const wefti_queue_recent *find_recent_locked(const wefti_queue_pool *pool,
                                                    const weft_model *model,
                                                    const weft_io *io)
{
    const wefti_queue_recent *recents = pool->recents[set_of(model)];
    size_t i = 0;
    while (i < WEFTI_QUEUE_RECENTS && !is_recent(&recents[i], model, io)) {
        i++;
    }
    return i < WEFTI_QUEUE_RECENTS ? &recents[i] : NULL;
}

/* Takes in what was posted for calls that these pools remember no more. */
static void take_in_forgotten_locked(weft_queue *queue, uint32_t pools)
{
    if (!wefti_sabotaged(WEFTI_SABOTAGE_QUEUE_FORGET)) {
        empty_boxes_locked(queue, pools); /* whatever `posts` says, as at close */
    }
    wefti_queue_attend_locked(queue);
}

void wefti_queue_remember_locked(const wefti_queue_request *request)
{
    weft_queue *queue = request->queue;
    wefti_queue_pool *pool = request->pool;
    /* Why several rows may not join it is better asked again. */
    bool asked = request->may_join || !request->class->joins;
    if (!asked || request->model->removed ||
        !wefti_atomic_u32_load_relaxed(&queue->attended)) {
        return;
    }
    uint32_t set = set_of(request->model->model);
    wefti_queue_recent *recents = pool->recents[set];
    wefti_mutex_lock(&pool->lock);
    bool there = false, forgets = false;
    for (size_t i = 0; !there && i < WEFTI_QUEUE_RECENTS; i++) {
        there = recents[i].model && recents[i].class == request->class &&
                recents[i].rows == request->rows;
    }
    if (!there) {
        wefti_queue_recent *place =
            &recents[pool->next_recent[set]++ % WEFTI_QUEUE_RECENTS];
        forgets = place->model != NULL;
        if (forgets) {
            count_recent_locked(place, false);
        }
        *place =
            (wefti_queue_recent){request->model, request->class, ++pool->last_number,
                                 request->rows, request->may_join};
        count_recent_locked(place, true);
    }
    wefti_mutex_unlock(&pool->lock);
    if (forgets) {
        take_in_forgotten_locked(queue, bit_of(queue, pool));
    }
}

void wefti_queue_forget_locked(wefti_queue_model *model)
{
    for (size_t p = 0; p < WEFTI_QUEUE_POOLS; p++) {
        wefti_queue_pool *pool = &model->queue->pools[p];
        wefti_queue_recent *recents = pool->recents[set_of(model->model)];
        wefti_mutex_lock(&pool->lock);
        for (size_t i = 0; i < WEFTI_QUEUE_RECENTS; i++) {
            if (recents[i].model == model) {
                count_recent_locked(&recents[i], false);
            }
        }
        wefti_mutex_unlock(&pool->lock);
    }
    take_in_forgotten_locked(model->queue, ALL_POOLS);
}

/* What the post of a request needs. */
static uint32_t needed_attendance(const wefti_queue_request *request)
{
    return request->leadable ? WEFTI_QUEUE_WATCHED : WEFTI_QUEUE_AWAKE;
}

/* Whether nobody has to be woken for it. */
static bool is_for_post(wefti_queue_request *request)
{
    const weft_queue *queue = request->queue;
    if (!request->leadable) {
        return false;
    }
    /* Relaxed: hints; what counts is read after the post. */
    if (wefti_atomic_u32_load_relaxed(&queue->spares_cores) &&
        !wefti_queue_is_for_caller(request)) {
        return false;
    }
    request->leadable = !wefti_atomic_u32_load_relaxed(&request->class->hint_crowded);
    return !request->leadable || (wefti_queue_keeps_promises(request) &&
                                  wefti_patience_has_trust(&queue->promises));
}

/* Whether there is room, and somebody who looks, as far as can be told before. */
static bool is_open_locked(const wefti_queue_request *request)
{
    /* Relaxed: a hint, so that no more are posted than there is room for. */
    return request->pool->post_count < MOST_POSTS &&
           wefti_atomic_u32_load_relaxed(&request->queue->attended) >=
               needed_attendance(request);
}

static void drop_in_locked(wefti_queue_request *request)
{
    wefti_queue_pool *pool = request->pool;
    request->next_report = NULL;
    *(pool->post_count == 0 ? &pool->first_post : &pool->last_post->next_report) =
        request;
    pool->last_post = request;
    pool->post_count++;
}

/* Whether the tensor is fit to take the place of one that was checked. */
static bool is_alike(const weft_tensor *kept, const weft_tensor *given)
{
    bool same = given->type == kept->type && given->rank == kept->rank &&
                given->place == kept->place && given->data &&
                ((uintptr_t)given->data & (weft_type_size(kept->type) - 1)) == 0 &&
                (given->size_bytes == 0 || given->size_bytes >= kept->size_bytes);
    for (int32_t i = 0; same && i < kept->rank; i++) {
        same = given->dims[i] == kept->dims[i] && given->strides[i] == kept->strides[i];
    }
    return same;
}

/* Whether a free request object was filled for such a call, which is still remembered:
 * then only where the tensors lie is new. */
static bool is_like_last_locked(const wefti_queue_request *request,
                                const weft_model *model, const weft_io *io)
{
    const wefti_queue_recent *recent = request->recent;
    bool same = recent && recent->number == request->recent_number &&
                recent->model->model == model;
    for (size_t i = 0; same && i < io->input_count; i++) {
        same = is_alike(&request->io.inputs[i], &io->inputs[i]);
    }
    for (size_t i = 0; same && i < io->output_count; i++) {
        same = is_alike(&request->io.outputs[i], &io->outputs[i]);
    }
    return same;
}

/* False: an output overlaps another tensor. */
static bool move_tensors(wefti_queue_request *request, const weft_io *io)
{
    weft_tensor *tensors = request->tensors;
    bool apart = true;
    for (size_t i = 0; i < io->input_count; i++) {
        tensors[i].data = io->inputs[i].data;
    }
    for (size_t i = 0; i < io->output_count; i++) {
        size_t at = io->input_count + i;
        tensors[at].data = io->outputs[i].data;
        for (size_t j = 0; j < at; j++) {
            apart = apart && !wefti_queue_overlap(&tensors[at], &tensors[j]);
        }
    }
    return apart;
}

/* Fills the tensors of a free request object for a call like a recent one. False: it is
 * not quite like it. */
static bool fill_tensors_locked(const wefti_queue_recent *recent, const weft_io *io,
                                wefti_queue_request *request)
{
    const wefti_queue_class *class = recent->class;
    request->io = (weft_io){request->tensors, io->input_count,
                            request->tensors + io->input_count, io->output_count};
    request->recent = NULL;
    if (wefti_queue_copy_tensors(class, io, request->tensors, NULL) != WEFT_OK) {
        return false;
    }
    /* Those of a class differ, too, where sizes are rounded up or values matter. */
    request->recent = class->cuts || class->values ? NULL : recent;
    request->recent_number = recent->number;
    return true;
}

/* Fills the rest. False: the call is not for the box. */
static bool fill_rest(const wefti_queue_recent *recent, const wefti_queue_terms *terms,
                      wefti_queue_request *request)
{
    wefti_queue_class *class = recent->class;
    request->model = recent->model;
    request->class = class;
    request->rows = recent->rows;
    request->may_join = recent->may_join;
    request->by_deadline = false;
    request->level = terms->level;
    request->submitted_ns = terms->submitted_ns;
    request->deadline_ns = WEFTI_NEVER;
    request->expected_ns =
        (double)wefti_atomic_u64_load_relaxed(&class->hint_row_ns) * recent->rows;
    wefti_queue_request_renew(request);
    request->base.shard = terms->shard;
    request->leadable = wefti_queue_is_leadable(request);
    return is_for_post(request) && is_open_locked(request);
}

/* Fills a free request object for a call like a recent one. False: there is none such,
 * or the call is not for the box. */
static bool fill_like_locked(wefti_queue_pool *pool, const weft_model *model,
                             const weft_io *io, const wefti_queue_terms *terms,
                             wefti_queue_request *request)
{
    if (is_like_last_locked(request, model, io)) {
        return fill_rest(request->recent, terms, request) && move_tensors(request, io);
    }
    const wefti_queue_recent *recent = find_recent_locked(pool, model, io);
    return recent && request->tensor_capacity >= io->input_count + io->output_count &&
           fill_rest(recent, terms, request) &&
           fill_tensors_locked(recent, io, request);
}

/* Sees to it that somebody looks for a post, which may be over and done with. */
static void tell_of_post(weft_queue *queue, uint32_t bit, uint32_t needed)
{
    /* Also behind another, who may not have got so far: whoever takes the lock from
     * here on, such as who cancels this request, has it taken in. */
    if (!(wefti_atomic_u32_load_seq_cst(&queue->posts) & bit)) {
        (void)wefti_atomic_u32_or_seq_cst(&queue->posts, bit);
    }
    if (wefti_atomic_u32_load_seq_cst(&queue->attended) >= needed) {
        return;
    }
    wefti_queue_lock(queue);
    if (!queue->watching || needed == WEFTI_QUEUE_AWAKE) {
        wefti_queue_end_promises_locked(queue);
    }
    wefti_mutex_unlock(&queue->lock);
}

wefti_queue_request *wefti_queue_post(weft_queue *queue, const weft_model *model,
                                      const weft_io *io, const wefti_queue_terms *terms)
{
    wefti_queue_pool *pool = wefti_queue_pool_here(queue);
    uint32_t needed = 0;
    wefti_mutex_lock(&pool->lock);
    wefti_queue_request *made = pool->free_requests;
    bool posts = made && fill_like_locked(pool, model, io, terms, made);
    if (posts) {
        (void)wefti_queue_take_free_locked(queue, pool);
        needed = needed_attendance(made);
        drop_in_locked(made);
    }
    wefti_mutex_unlock(&pool->lock);
    if (!posts) {
        return NULL;
    }
    tell_of_post(queue, bit_of(queue, pool), needed);
    return made;
}

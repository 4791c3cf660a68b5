/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/memory.h"
#include "graph/buckets.h"
#include "graph/model.h"

/* Which dimensions of the outputs are those that were rounded up: the net is inferred
 * at other sizes of the same bucket, and what differs must be the size itself. What is
 * drawn at random must not differ. */

/* The shapes of one plan, and what is found about them. */
typedef struct search {
    const weft_model *model;
    const wefti_known *inputs, *outputs; /* at the sizes of buckets */
    wefti_known *trial_inputs, *trial_outputs;
    wefti_bucket_cuts *cuts;
    /* At the sizes of buckets; without nodes where the model draws no numbers. */
    wefti_net drawing;
    const char *drawn; /* a node whose numbers change with the padding */
    bool refused;      /* the graph takes no other size of a bucket */
    weft_error *error;
} search;

static weft_status infer_net(const weft_model *model, const wefti_known *inputs,
                             wefti_net *net, weft_error *error)
{
    WEFTI_TRY(wefti_net_clone(&model->net, net, error));
    for (size_t i = 0; i < net->input_count; i++) {
        net->values[net->inputs[i]].known = inputs[i];
    }
    wefti_evaluator evaluator;
    weft_status status = wefti_evaluator_init(&evaluator, model->cpu, error);
    if (status == WEFT_OK) {
        status = wefti_net_infer(net, &evaluator, error);
        wefti_evaluator_fini(&evaluator);
    }
    if (status != WEFT_OK) {
        wefti_net_destroy(net);
    }
    return status;
}

/* Also of one whose numbers were folded, and which is dead since. */
static bool draws(const wefti_net_node *node)
{
    static const char *const names[] = {"RandomNormal", "RandomNormalLike",
                                        "RandomUniform", "RandomUniformLike",
                                        "Bernoulli"};
    for (size_t i = 0; i < WEFTI_COUNT_OF(names); i++) {
        if (strcmp(node->op->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Drawn numbers follow from their place among all (ops/random.c): those of the smaller
 * tensor are the first of the larger one only where the outermost dimension differs. */
static bool draws_the_same(const wefti_known *full, const wefti_known *less)
{
    bool same = full->rank == less->rank, outermost = true;
    for (int32_t j = 0; same && j < full->rank; j++) {
        same = full->dims[j] == less->dims[j] || outermost;
        outermost = outermost && full->dims[j] == 1 && less->dims[j] == 1;
    }
    return same;
}

/* Both are clones of one net, whose nodes stand in the same order. */
static const char *find_drawn(const wefti_net *full, const wefti_net *less)
{
    const wefti_net_node *a = full->first, *b = less->first;
    for (; a != NULL && b != NULL; a = a->next, b = b->next) {
        if (draws(a) && a->outputs[0] >= 0 &&
            !draws_the_same(&full->values[a->outputs[0]].known,
                            &less->values[b->outputs[0]].known)) {
            return a->view.label;
        }
    }
    return NULL;
}

/* Shapes of the outputs for these inputs. */
static weft_status infer(search *self, const wefti_known *inputs, wefti_known *outputs)
{
    wefti_net net;
    WEFTI_TRY(infer_net(self->model, inputs, &net, self->error));
    for (size_t i = 0; i < net.output_count; i++) {
        outputs[i] = net.values[net.outputs[i]].known;
        outputs[i].constant = NULL;
    }
    self->drawn = find_drawn(&self->drawing, &net);
    wefti_net_destroy(&net);
    return WEFT_OK;
}

/* The size of a bucket's dimension in the inputs; -1: no input has it. */
static int64_t size_of(const search *self, int32_t bucket)
{
    const weft_model *model = self->model;
    for (size_t i = 0; i < model->net.input_count; i++) {
        for (int32_t j = 0; j < self->inputs[i].rank; j++) {
            if (model->buckets->inputs[i].buckets[j] == bucket) {
                return self->inputs[i].dims[j];
            }
        }
    }
    return -1;
}

/* Infers with another size of one dimension. */
static weft_status try_size(search *self, int32_t bucket, int64_t size)
{
    const weft_model *model = self->model;
    for (size_t i = 0; i < model->net.input_count; i++) {
        self->trial_inputs[i] = self->inputs[i];
        for (int32_t j = 0; j < self->inputs[i].rank; j++) {
            if (model->buckets->inputs[i].buckets[j] == bucket) {
                self->trial_inputs[i].dims[j] = size;
            }
        }
    }
    return infer(self, self->trial_inputs, self->trial_outputs);
}

static weft_status cannot_cut(const search *self, int32_t bucket, int64_t size,
                              size_t output, int32_t axis)
{
    const wefti_known *full = &self->outputs[output];
    const wefti_known *less = &self->trial_outputs[output];
    const char *name = self->model->buckets->buckets[bucket].name;
    const char *label = self->model->net.values[self->model->net.outputs[output]].name;
    if (axis < 0) {
        return wefti_error(self->error, WEFT_UNSUPPORTED,
                           "output '%s' has another rank or type with %lld for '%s' "
                           "than with %lld, and cannot be cut; leave '%s' without "
                           "buckets",
                           label, (long long)size, name,
                           (long long)size_of(self, bucket), name);
    }
    return wefti_error(self->error, WEFT_UNSUPPORTED,
                       "output '%s': dimension %d is %lld with %lld for '%s', and %lld "
                       "with %lld: only outputs that have the dimension itself can be "
                       "cut; leave '%s' without buckets",
                       label, (int)axis, (long long)less->dims[axis], (long long)size,
                       name, (long long)full->dims[axis],
                       (long long)size_of(self, bucket), name);
}

static weft_status cannot_draw(const search *self, int32_t bucket)
{
    const char *name = self->model->buckets->buckets[bucket].name;
    return wefti_error(self->error, WEFT_UNSUPPORTED,
                       "%s: with '%s' rounded up it would draw other numbers than "
                       "without; leave '%s' without buckets",
                       self->drawn, name, name);
}

/* Compares the outputs of a trial with those of the bucket. */
static weft_status compare(search *self, int32_t bucket, int64_t size)
{
    int64_t full_size = size_of(self, bucket);
    if (self->drawn != NULL) {
        return cannot_draw(self, bucket);
    }
    for (size_t i = 0; i < self->model->net.output_count; i++) {
        const wefti_known *full = &self->outputs[i], *less = &self->trial_outputs[i];
        int8_t *cut = self->cuts[i].buckets;
        if (full->rank != less->rank || full->type != less->type) {
            return cannot_cut(self, bucket, size, i, -1);
        }
        for (int32_t j = 0; j < full->rank; j++) {
            bool same = full->dims[j] == less->dims[j];
            bool fits = same ? cut[j] != bucket
                             : full->dims[j] == full_size && less->dims[j] == size &&
                                   (cut[j] < 0 || cut[j] == bucket);
            if (!fits) {
                return cannot_cut(self, bucket, size, i, j);
            }
            cut[j] = same ? cut[j] : (int8_t)bucket;
        }
    }
    return WEFT_OK;
}

/* The smallest and the largest of the sizes that are padded to the one there is. */
static weft_status search_bucket(search *self, int32_t index)
{
    const wefti_bucket *bucket = &self->model->buckets->buckets[index];
    int64_t size = size_of(self, index), before = 1; /* which is never padded */
    size_t at = 0;
    while (at < bucket->size_count && bucket->sizes[at] < size) {
        before = bucket->sizes[at++];
    }
    if (at == bucket->size_count || bucket->sizes[at] != size || size <= before + 1) {
        return WEFT_OK; /* nothing is padded to it */
    }
    int64_t trials[2] = {size - 1, before + 1};
    size_t count = trials[0] == trials[1] ? 1 : 2, taken = 0;
    for (size_t i = 0; i < count; i++) {
        weft_status status = try_size(self, index, trials[i]);
        if (status == WEFT_OUT_OF_MEMORY) {
            return status;
        }
        if (status == WEFT_OK) {
            WEFTI_TRY(compare(self, index, trials[i]));
            taken++;
        }
    }
    if (taken == 0) {
        self->refused = true;
        return wefti_error_prefix(self->error, WEFT_UNSUPPORTED,
                                  "'%s' cannot be padded to %lld", bucket->name,
                                  (long long)size);
    }
    return WEFT_OK;
}

/* Infers at the sizes of buckets where numbers are drawn. */
static weft_status look_for_drawing(search *self)
{
    const wefti_net_node *node = self->model->net.first;
    while (node != NULL && (node->dead || !draws(node))) {
        node = node->next;
    }
    return node == NULL
               ? WEFT_OK
               : infer_net(self->model, self->inputs, &self->drawing, self->error);
}

static weft_status search_all(search *self)
{
    const weft_model *model = self->model;
    size_t count = model->net.input_count + model->net.output_count;
    self->trial_inputs = wefti_calloc(count, sizeof(*self->trial_inputs));
    if (self->trial_inputs == NULL) {
        return wefti_error_memory(self->error, "the outputs of a bucket");
    }
    self->trial_outputs = self->trial_inputs + model->net.input_count;
    memset(self->cuts, -1, model->net.output_count * sizeof(*self->cuts));
    weft_status status = look_for_drawing(self);
    for (int32_t i = 0; status == WEFT_OK && i < model->buckets->count; i++) {
        status = search_bucket(self, i);
    }
    if (self->drawing.first != NULL) {
        wefti_net_destroy(&self->drawing);
    }
    wefti_free(self->trial_inputs);
    return status;
}

weft_status wefti_buckets_find_cuts(const weft_model *model, const wefti_known *inputs,
                                    wefti_plan *plan, weft_error *error)
{
    weft_error own;
    wefti_bucket_cuts *cuts = wefti_arena_calloc(
        &plan->net.arena, model->net.output_count + 1, sizeof(*cuts));
    if (cuts == NULL) {
        return wefti_error_memory(error, "a plan");
    }
    search self = {.model = model,
                   .inputs = inputs,
                   .outputs = plan->outputs,
                   .cuts = cuts,
                   .error = error != NULL ? error : &own};
    plan->cuts = cuts;
    return search_all(&self);
}

/* A size for each dimension; false when a rank is not known. */
static bool set_trial(const weft_model *model, bool largest, wefti_known *inputs)
{
    enum { BASE = 8, STEP = 7 };
    for (size_t i = 0; i < model->net.input_count; i++) {
        const weft_value_info *info = &model->inputs[i];
        if (info->rank < 0) {
            return false;
        }
        inputs[i] = (wefti_known){.type = info->type, .rank = info->rank};
        for (int32_t j = 0; j < info->rank; j++) {
            int32_t number = model->dims.numbers[i * WEFT_MAX_RANK + (size_t)j];
            int32_t bucket = model->buckets->inputs[i].buckets[j];
            inputs[i].dims[j] = number < 0 ? info->dims[j] : BASE + STEP * number;
            if (bucket >= 0) {
                const wefti_bucket *sizes = &model->buckets->buckets[bucket];
                inputs[i].dims[j] = sizes->sizes[largest ? sizes->size_count - 1 : 0];
            }
        }
    }
    return true;
}

static weft_status try_one(const weft_model *model, bool largest, wefti_known *known,
                           wefti_bucket_cuts *cuts, weft_error *error)
{
    wefti_known *outputs = known + model->net.input_count;
    search self = {.model = model,
                   .inputs = known,
                   .outputs = outputs,
                   .cuts = cuts,
                   .error = error};
    if (!set_trial(model, largest, known)) {
        return WEFT_OK;
    }
    weft_status status = infer(&self, known, outputs);
    bool refused = status != WEFT_OK;
    if (!refused) {
        status = search_all(&self);
        refused = self.refused;
    }
    return refused && status != WEFT_OUT_OF_MEMORY ? WEFT_OK : status;
}

weft_status wefti_buckets_try(const weft_model *model, weft_error *error)
{
    weft_error own;
    size_t inputs = model->net.input_count, outputs = model->net.output_count;
    if (model->buckets == NULL || model->values.inputs != NULL) {
        return WEFT_OK;
    }
    wefti_known *known = wefti_calloc(inputs + outputs, sizeof(*known));
    wefti_bucket_cuts *cuts = wefti_calloc(outputs + 1, sizeof(*cuts));
    weft_status status = WEFT_OK;
    if (known == NULL || cuts == NULL) {
        status = wefti_error_memory(error, "the outputs of a bucket");
    }
    error = error != NULL ? error : &own;
    for (int i = 0; status == WEFT_OK && i < 2; i++) {
        status = try_one(model, i > 0, known, cuts, error);
    }
    wefti_free(cuts);
    wefti_free(known);
    return status;
}

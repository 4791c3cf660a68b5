/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_device.h"

#include <stdio.h>

#include "backend/backend.h"
#include "base/memory.h"

/* The device of this program, opened at the first case and kept. */
typedef struct test_device {
    const wefti_backend *backend;
    wefti_backend_device *device;
    wefti_backend_stream *stream;
    void *workspace;
    size_t workspace_bytes;
    uint64_t cases, every;
} test_device;

static test_device *open_once(void)
{
    static test_device own;
    static const wefti_log log;
    const char *name = getenv("WEFT_TEST_DEVICE");
    if (name == NULL || name[0] == '\0' || own.device != NULL) {
        return own.device == NULL ? NULL : &own;
    }
    const char *every = getenv("WEFT_TEST_DEVICE_EVERY");
    own.every = every == NULL ? 1 : strtoull(every, NULL, 10);
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 0;
    int32_t index;
    weft_error error = {0};
    weft_status status = wefti_backend_find(name, &own.backend, &index, &error);
    status = status
                 ? status
                 : own.backend->device.open(index, &params, &log, &own.device, &error);
    status =
        status ? status : own.backend->stream.create(own.device, &own.stream, &error);
    if (status != WEFT_OK) {
        fail_msg("%s: %s", name, error.message);
    }
    return &own;
}

/* Slots of one case: every operand that is no constant is an input of its whole block,
 * then the output as it was, then the output. */
typedef struct device_case {
    const kernel_case *c;
    wefti_step steps[2];
    wefti_copy_params keep; /* brings the output's former bytes to the device */
    void *slots[WEFTI_MAX_OPERANDS + 3];
    size_t input_bytes[WEFTI_MAX_OPERANDS + 1], output_bytes;
    size_t input_count;
} device_case;

static void add_input(device_case *d, const void *data, size_t bytes)
{
    d->input_bytes[d->input_count++] = bytes;
    d->slots[d->input_count] = (void *)(uintptr_t)data;
}

static void prepare(device_case *d, const kernel_case *c, void *got)
{
    *d = (device_case){.c = c, .output_bytes = c->output_bytes};
    wefti_step *step = &d->steps[1];
    *step = c->step;
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        wefti_operand *operand = &step->operands[i];
        if (operand->constant != NULL || operand->slot < 0 || i == c->output) {
            continue;
        }
        char *start = c->data[i];
        size_t bytes = 0; /* only an empty tensor has an address outside */
        (void)kernel_block(c->data[i], &start, &bytes);
        add_input(d, start, bytes);
        operand->slot = (int32_t)d->input_count;
        operand->offset_bytes = (char *)c->data[i] - start;
    }
    add_input(d, c->data[c->output], c->output_bytes);
    int32_t output_slot = (int32_t)d->input_count + 1;
    step->operands[c->output].slot = output_slot;
    d->slots[output_slot] = got;
    d->keep = (wefti_copy_params){.source_type = WEFT_TYPE_U8,
                                  .target_type = WEFT_TYPE_U8,
                                  .rank = 1,
                                  .dims = {(int64_t)c->output_bytes},
                                  .source_strides = {1},
                                  .target_strides = {1}};
    wefti_step *keep = &d->steps[0];
    *keep = (wefti_step){.kernel = WEFTI_KERNEL_COPY,
                         .params = &d->keep,
                         .params_bytes = sizeof(d->keep),
                         .label = "keep"};
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        keep->operands[i] = WEFTI_OPERAND_ABSENT;
    }
    keep->operands[WEFTI_COPY_SOURCE].slot = (int32_t)d->input_count;
    keep->operands[WEFTI_COPY_TARGET].slot = output_slot;
}

static void ensure_workspace(test_device *t, size_t bytes)
{
    if (bytes <= t->workspace_bytes) {
        return;
    }
    t->backend->memory.free(t->device, t->workspace, t->workspace_bytes);
    t->workspace_bytes = bytes;
    assert_int_equal(t->backend->memory.allocate(t->device, bytes, &t->workspace, NULL),
                     WEFT_OK);
}

static char words[80]; /* on the kernel of the last case */

static void run(test_device *t, device_case *d, weft_precision precision)
{
    const wefti_recipe_params params = {.steps = d->steps,
                                        .step_count = 2,
                                        .precision = precision,
                                        .input_bytes = d->input_bytes,
                                        .output_bytes = &d->output_bytes,
                                        .input_count = d->input_count,
                                        .output_count = 1};
    wefti_recipe *recipe = NULL;
    weft_error error = {0};
    weft_status status = t->backend->recipe.create(t->device, &params, &recipe, &error);
    if (status != WEFT_OK) {
        fail_msg("the device refuses a case: %s", error.message);
    }
    ensure_workspace(t, t->backend->recipe.workspace_bytes(recipe));
    d->slots[0] = t->workspace;
    status = t->backend->stream.execute(t->stream, recipe, d->slots, d->input_count + 2,
                                        &error);
    status =
        status ? status : t->backend->stream.synchronize(t->stream, INT64_MAX, &error);
    if (status != WEFT_OK) {
        fail_msg("a case fails on the device: %s", error.message);
    }
    t->backend->recipe.describe(recipe, 1, words, sizeof(words));
    assert_non_null(strstr(words, "cuda"));
    t->backend->recipe.destroy(recipe);
}

const char *kernel_device_words(void)
{
    return words;
}

bool kernel_device_is_set(void)
{
    return open_once() != NULL;
}

bool kernel_device_wants(void)
{
    test_device *t = open_once();
    return t != NULL && t->cases++ % t->every == 0;
}

void kernel_device_run(const kernel_case *c, weft_precision precision, void *got)
{
    device_case d;
    prepare(&d, c, got);
    run(open_once(), &d, precision);
}

void kernel_device_check(const kernel_case *c, const void *expected)
{
    void *got = kernel_alloc(c->output_bytes);
    kernel_device_run(c, WEFT_PRECISION_F32, got);
    const uint32_t *e = expected, *g = got;
    if (memcmp(expected, got, c->output_bytes) != 0) {
        for (size_t i = 0; i < c->output_bytes / sizeof(uint32_t); i++) {
            if (e[i] != g[i]) {
                fail_msg("on the device word %zu of %zu is %08x instead of %08x", i,
                         c->output_bytes / sizeof(uint32_t), g[i], e[i]);
            }
        }
        fail_msg("outputs on the device differ");
    }
    kernel_free(got);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/weft.h>

#include <ctype.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* In a forked child every public call that can fail returns WEFT_FORKED, whatever it is
 * given; the parent goes on. The headers say which calls there are. */

typedef struct things {
    weft_device *device;
    weft_graph *graph; /* being built */
    weft_model *model;
    weft_context *context;
    weft_stream *stream;
    weft_event *event;
    weft_memory *memory;
    weft_request *request;
    weft_queue *queue;
    float x[4], y[4];
    weft_tensor input, output;
    weft_io io;
} things;

static weft_status build(weft_graph *graph)
{
    weft_value_info x = {.name = "x", .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    const char *const inputs[] = {"x"}, *const outputs[] = {"y"};
    weft_node node = {.op_type = "Relu",
                      .inputs = inputs,
                      .input_count = 1,
                      .outputs = outputs,
                      .output_count = 1};
    weft_status status = weft_graph_add_input(graph, &x, NULL);
    status = status == WEFT_OK ? weft_graph_add_node(graph, &node, NULL) : status;
    return status == WEFT_OK ? weft_graph_add_output(graph, "y", NULL) : status;
}

static void make(things *t)
{
    weft_graph *built;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.worker_count = 1;
    *t = (things){.x = {1, -2, 3, -4}};
    t->input =
        (weft_tensor){.data = t->x, .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    t->output = t->input;
    t->output.data = t->y;
    t->io = (weft_io){&t->input, 1, &t->output, 1};
    assert_int_equal(weft_device_open("cpu", &params, &t->device, NULL), WEFT_OK);
    assert_int_equal(weft_graph_create(18, &built, NULL), WEFT_OK);
    assert_int_equal(build(built), WEFT_OK);
    assert_int_equal(weft_model_create(t->device, built, NULL, &t->model, NULL),
                     WEFT_OK);
    weft_graph_release(built);
    assert_int_equal(weft_graph_create(18, &t->graph, NULL), WEFT_OK);
    assert_int_equal(weft_context_acquire(t->device, NULL, &t->context, NULL), WEFT_OK);
    assert_int_equal(weft_stream_acquire(t->device, &t->stream, NULL), WEFT_OK);
    assert_int_equal(weft_event_create(t->device, true, &t->event, NULL), WEFT_OK);
    assert_int_equal(weft_memory_allocate(t->stream, 64, &t->memory, NULL), WEFT_OK);
    assert_int_equal(weft_submit(t->model, &t->io, NULL, &t->request, NULL), WEFT_OK);
    assert_int_equal(weft_request_wait(t->request, WEFT_FOREVER, NULL), WEFT_OK);
    assert_int_equal(weft_queue_create(t->device, NULL, &t->queue, NULL), WEFT_OK);
    assert_int_equal(weft_queue_add_model(t->queue, t->model, NULL, NULL), WEFT_OK);
}

static void release(things *t)
{
    weft_queue_release(t->queue);
    weft_request_release(t->request);
    weft_memory_release(t->memory);
    weft_event_release(t->event);
    weft_stream_release(t->stream);
    weft_context_release(t->context);
    weft_graph_release(t->graph);
    weft_model_release(t->model);
    weft_device_release(t->device);
}

static void nothing(void *user)
{
    (void)user;
}

typedef struct call {
    const char *name;
    weft_status with_things, with_nothing;
} call;

/* Makes one call twice: with what it wants, and with NULL for every pointer. */
#define BOTH(function, wanted, null)                                                   \
    calls[count++] = (call)                                                            \
    {                                                                                  \
#function, function wanted, function null                                      \
    }

static size_t make_calls(things *t, call *calls)
{
    size_t count = 0;
    void *any = NULL;
    int64_t number = 0;
    size_t size = 0;
    char byte = 0, *text = NULL;
    weft_tensor tensor = {0};
    weft_error e;
    weft_value_info info = {.name = "v", .type = WEFT_TYPE_F32, .rank = 1, .dims = {4}};
    const weft_node node = {.op_type = "Relu"};
#define PLACE(type) ((type **)(void *)&any)
    BOTH(weft_device_open, ("cpu", NULL, PLACE(weft_device), &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_profiler_create, (NULL, PLACE(weft_profiler), &e), (NULL, NULL, NULL));
    BOTH(weft_graph_inspect, (t->graph, NULL, PLACE(weft_inspection), &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_device_drain, (t->device, 0, &e), (NULL, 0, NULL));
    BOTH(weft_device_trim, (t->device, &e), (NULL, NULL));
    BOTH(weft_graph_create, (18, PLACE(weft_graph), &e), (0, NULL, NULL));
    BOTH(weft_graph_load_onnx, ("/none", NULL, PLACE(weft_graph), &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_graph_parse_onnx, (&byte, 1, NULL, PLACE(weft_graph), &e),
         (NULL, 0, NULL, NULL, NULL));
    BOTH(weft_graph_add_input, (t->graph, &info, &e), (NULL, NULL, NULL));
    BOTH(weft_graph_add_initializer, (t->graph, "w", &t->input, &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_graph_add_initializer_borrowed,
         (t->graph, "w", &t->input, nothing, NULL, &e),
         (NULL, NULL, NULL, NULL, NULL, NULL));
    BOTH(weft_graph_replace_initializer, (t->graph, "w", &t->input, &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_graph_require_input, (t->graph, "w", &e), (NULL, NULL, NULL));
    BOTH(weft_graph_add_node, (t->graph, &node, &e), (NULL, NULL, NULL));
    BOTH(weft_graph_add_output, (t->graph, "v", &e), (NULL, NULL, NULL));
    BOTH(weft_model_create, (t->device, t->graph, NULL, PLACE(weft_model), &e),
         (NULL, NULL, NULL, NULL, NULL));
    BOTH(weft_model_infer_outputs, (t->model, &t->io, &e), (NULL, NULL, NULL));
    BOTH(weft_model_dump_plan, (t->model, &t->io, &text, &e), (NULL, NULL, NULL, NULL));
    BOTH(weft_run, (t->model, &t->io, NULL, &e), (NULL, NULL, NULL, NULL));
    BOTH(weft_context_acquire, (t->device, NULL, PLACE(weft_context), &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_context_run, (t->context, t->model, &t->io, &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_submit, (t->model, &t->io, NULL, PLACE(weft_request), &e),
         (NULL, NULL, NULL, NULL, NULL));
    BOTH(weft_request_wait, (t->request, WEFT_FOREVER, &e), (NULL, 0, NULL));
    BOTH(weft_queue_create, (t->device, NULL, PLACE(weft_queue), &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_queue_add_model, (t->queue, t->model, NULL, &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_queue_remove_model, (t->queue, t->model, &e), (NULL, NULL, NULL));
    BOTH(weft_queue_check_batching, (t->queue, t->model, &e), (NULL, NULL, NULL));
    BOTH(weft_queue_submit, (t->queue, t->model, &t->io, NULL, PLACE(weft_request), &e),
         (NULL, NULL, NULL, NULL, NULL, NULL));
    BOTH(weft_queue_drain, (t->queue, 0, &e), (NULL, 0, NULL));
    BOTH(weft_stream_acquire, (t->device, PLACE(weft_stream), &e), (NULL, NULL, NULL));
    BOTH(weft_stream_record, (t->stream, t->event, 9, &e), (NULL, NULL, 0, NULL));
    BOTH(weft_stream_wait, (t->stream, t->event, 9, &e), (NULL, NULL, 0, NULL));
    BOTH(weft_stream_copy, (t->stream, t->y, t->x, 4, &e), (NULL, NULL, NULL, 0, NULL));
    BOTH(weft_stream_fill, (t->stream, t->y, 0, 4, &e), (NULL, NULL, 0, 0, NULL));
    BOTH(weft_stream_call, (t->stream, nothing, NULL, &e), (NULL, NULL, NULL, NULL));
    BOTH(weft_stream_synchronize, (t->stream, WEFT_FOREVER, &e), (NULL, 0, NULL));
    BOTH(weft_event_create, (t->device, false, PLACE(weft_event), &e),
         (NULL, false, NULL, NULL));
    BOTH(weft_event_signal, (t->event, 10, &e), (NULL, 0, NULL));
    BOTH(weft_event_wait, (t->event, 10, WEFT_FOREVER, &e), (NULL, 0, 0, NULL));
    BOTH(weft_event_elapsed, (t->event, t->event, &number, &e),
         (NULL, NULL, NULL, NULL));
    BOTH(weft_memory_allocate, (t->stream, 64, PLACE(weft_memory), &e),
         (NULL, 0, NULL, NULL));
    BOTH(weft_memory_touch, (t->memory, t->stream, &e), (NULL, NULL, NULL));
    BOTH(weft_npy_load, ("/none", &tensor, &e), (NULL, NULL, NULL));
    BOTH(weft_npy_parse, (&byte, 1, &tensor, &e), (NULL, 0, NULL, NULL));
    BOTH(weft_npy_save, ("/none/x", &t->input, &e), (NULL, NULL, NULL));
    BOTH(weft_tensor_measure, (&t->input, &number, &size, &e),
         (NULL, NULL, NULL, NULL));
    return count;
}

enum { MOST_CALLS = 100 };

/* Names the calls that did not say so, and returns their number. */
static int child_of_fork(things *t)
{
    call calls[MOST_CALLS];
    int wrong = 0;
    size_t count = make_calls(t, calls);
    for (size_t i = 0; i < count; i++) {
        if (calls[i].with_things != WEFT_FORKED ||
            calls[i].with_nothing != WEFT_FORKED) {
            fprintf(stderr, "%s: %s, with NULL %s\n", calls[i].name,
                    weft_status_name(calls[i].with_things),
                    weft_status_name(calls[i].with_nothing));
            wrong++;
        }
    }
    release(t); /* and nothing happens */
    return wrong;
}

static void children_are_told_by_every_call(void **state)
{
    (void)state;
    things t;
    make(&t);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(child_of_fork(&t));
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(weft_run(t.model, &t.io, NULL, NULL), WEFT_OK);
    release(&t);
}

/* Notes each call of a header that can fail, by its index in `calls`. */
static size_t read_header(const char *name, const call *calls, size_t count, bool *seen)
{
    static char text[1 << 16];
    char path[1024];
    size_t found = 0;
    snprintf(path, sizeof(path), "%s/include/weft/%s", WEFT_SOURCE_DIR, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    static const char mark[] = "WEFT_MUST_USE weft_status";
    for (char *at = strstr(text, mark); at != NULL; at = strstr(at, mark)) {
        at += sizeof(mark) - 1;
        at += strspn(at, " \n");
        size_t length = strcspn(at, "("), i = 0;
        while (i < count && (strlen(calls[i].name) != length ||
                             strncmp(calls[i].name, at, length) != 0)) {
            i++;
        }
        if (i == count) {
            fail_msg("%.*s is not tried in a forked child", (int)length, at);
        }
        seen[i] = true;
        found++;
    }
    return found;
}

static void every_call_that_can_fail_is_tried(void **state)
{
    (void)state;
    things t;
    call calls[MOST_CALLS];
    bool seen[MOST_CALLS] = {false};
    /* Only the names are wanted; the child makes the calls. */
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    make(&t);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        size_t made = make_calls(&t, calls);
        bool written = write(ends[1], calls, made * sizeof(call)) > 0;
        _exit(written ? 0 : 1);
    }
    close(ends[1]);
    ssize_t size = read(ends[0], calls, sizeof(calls));
    close(ends[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    release(&t);
    assert_true(size > 0);
    size_t count = (size_t)size / sizeof(call), found = 0;
    DIR *folder = opendir(WEFT_SOURCE_DIR "/include/weft");
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (isalpha((unsigned char)entry->d_name[0])) {
            found += read_header(entry->d_name, calls, count, seen);
        }
    }
    closedir(folder);
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++) {
        assert_true(seen[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_are_told_by_every_call),
        cmocka_unit_test(every_call_that_can_fail_is_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the driver made of C (tests/fake_cuda) sees: each rule is broken here, through
 * the table that the backend calls. Were one not seen, the tests on that driver would
 * prove nothing of it. Left out where the driver is a real one or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/device.h"
#include "backend/cuda/kernels/call.h"
#include "base/thread.h"
#include "support/crew.h"
#include "support/fake_driver.h"

enum { BYTES = 4096 };

/* A card, entered, and a stream of its own. */
typedef struct stage {
    wefti_backend_device *device;
    const cuda_driver *driver;
    cuda_stream stream;
} stage;

static stage open_stage(void)
{
    static const wefti_log log;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    stage s = {0};
    params.worker_count = 0;
    assert_int_equal(wefti_backend_cuda.device.open(0, &params, &log, &s.device, NULL),
                     WEFT_OK);
    s.driver = &s.device->driver;
    assert_int_equal(wefti_cuda_enter(s.device, NULL), WEFT_OK);
    assert_int_equal(s.driver->stream_create(&s.stream, CUDA_STREAM_NON_BLOCKING), 0);
    return s;
}

static void close_stage(stage *s)
{
    assert_int_equal(s->driver->stream_destroy(s->stream), 0);
    wefti_cuda_leave(s->device);
    wefti_backend_cuda.device.close(s->device);
    fake_driver_assert_empty();
}

static cuda_pointer allocate(const stage *s)
{
    cuda_pointer made = 0;
    assert_int_equal(s->driver->allocate(&made, BYTES, s->device->memory_stream), 0);
    return made;
}

static void give_back(const stage *s, cuda_pointer address)
{
    assert_int_equal(s->driver->free(address, s->device->memory_stream), 0);
}

/* A kernel that copies nothing, from one place to another. */
static wefti_cuda_copy_call copying(cuda_pointer from, cuda_pointer to)
{
    return (wefti_cuda_copy_call){
        .operands = {(void *)(uintptr_t)from, (void *)(uintptr_t)to}};
}

static cuda_kernel_node kernel_of(const stage *s, void **arguments)
{
    return (cuda_kernel_node){.function = s->device->functions[WEFTI_CUDA_weft_copy],
                              .grid_x = 1,
                              .grid_y = 1,
                              .grid_z = 1,
                              .block_x = 1,
                              .block_y = 1,
                              .block_z = 1,
                              .arguments = arguments};
}

/* An executable and the graph of it, which has one node. */
static cuda_executable make_both(const stage *s, cuda_pointer from, cuda_pointer to,
                                 cuda_graph *graph, cuda_node *node)
{
    wefti_cuda_copy_call call = copying(from, to);
    void *arguments[] = {&call};
    const cuda_kernel_node kernel = kernel_of(s, arguments);
    cuda_executable made;
    assert_int_equal(s->driver->graph_create(graph, 0), 0);
    assert_int_equal(s->driver->graph_add_kernel(node, *graph, NULL, 0, &kernel), 0);
    assert_int_equal(s->driver->graph_instantiate(&made, *graph, 0), 0);
    return made;
}

static cuda_executable make_executable(const stage *s, cuda_pointer from,
                                       cuda_pointer to)
{
    cuda_graph graph;
    cuda_node node;
    cuda_executable made = make_both(s, from, to, &graph, &node);
    assert_int_equal(s->driver->graph_destroy(graph), 0);
    return made;
}

static void launch_copying(const stage *s, cuda_pointer from, cuda_pointer to)
{
    wefti_cuda_copy_call call = copying(from, to);
    void *arguments[] = {&call};
    (void)s->driver->launch_kernel(s->device->functions[WEFTI_CUDA_weft_copy], 1, 1, 1,
                                   1, 1, 1, 0, s->stream, arguments, NULL);
}

static void finish(const stage *s)
{
    fake.hold(0);
    assert_int_equal(s->driver->stream_synchronize(s->stream), 0);
}

/* From here to `seen` rules are broken, `count` times. */
static void begin_breaking(void)
{
    (void)fake.forgive(1);
}

static void seen(uint32_t count)
{
    assert_int_equal(fake.forgive(0), count);
}

static void executables_run_once_at_a_time(void **state)
{
    (void)state;
    stage s = open_stage();
    const cuda_pointer a = allocate(&s), b = allocate(&s);
    cuda_executable executable = make_executable(&s, a, b);
    for (int i = 0; i < 3; i++) { /* one after the other is well */
        assert_int_equal(s.driver->graph_launch(executable, s.stream), 0);
        finish(&s);
    }
    fake.hold(1);
    assert_int_equal(s.driver->graph_launch(executable, s.stream), 0);
    begin_breaking();
    (void)s.driver->graph_launch(executable, s.stream);
    seen(1);
    finish(&s);
    assert_int_equal(s.driver->executable_destroy(executable), 0);
    give_back(&s, a);
    give_back(&s, b);
    close_stage(&s);
}

static void what_runs_is_not_destroyed(void **state)
{
    (void)state;
    stage s = open_stage();
    cuda_module again;
    const cuda_pointer a = allocate(&s);
    cuda_executable executable = make_executable(&s, a, a);
    fake.hold(1);
    assert_int_equal(s.driver->graph_launch(executable, s.stream), 0);
    begin_breaking();
    (void)s.driver->executable_destroy(executable);
    (void)s.driver->module_unload(s.device->module);
    seen(2);
    finish(&s);
    assert_int_equal(s.driver->executable_destroy(executable), 0);
    give_back(&s, a);
    assert_int_equal(s.driver->module_load(&again, ""), 0); /* for the count */
    close_stage(&s);
}

static void graphs_are_changed_between_runs(void **state)
{
    (void)state;
    stage s = open_stage();
    const cuda_pointer a = allocate(&s), b = allocate(&s), freed = allocate(&s);
    cuda_graph graph, other_graph;
    cuda_node node, other_node;
    wefti_cuda_copy_call call = copying(b, a);
    void *arguments[] = {&call};
    const cuda_kernel_node kernel = kernel_of(&s, arguments);
    cuda_executable executable = make_both(&s, a, freed, &graph, &node);
    cuda_executable other = make_both(&s, a, b, &other_graph, &other_node);
    give_back(&s, freed); /* its calls have that in them until they are changed */
    assert_int_equal(s.driver->executable_set_kernel(executable, node, &kernel), 0);
    fake.hold(1);
    assert_int_equal(s.driver->graph_launch(executable, s.stream), 0);
    begin_breaking();
    (void)s.driver->executable_set_kernel(executable, node, &kernel);
    seen(1);
    finish(&s);
    begin_breaking();
    (void)s.driver->executable_set_kernel(executable, other_node, &kernel);
    (void)s.driver->executable_set_kernel(other, node, &kernel);
    seen(2);
    assert_int_equal(s.driver->executable_destroy(executable), 0);
    assert_int_equal(s.driver->executable_destroy(other), 0);
    assert_int_equal(s.driver->graph_destroy(graph), 0);
    assert_int_equal(s.driver->graph_destroy(other_graph), 0);
    give_back(&s, a);
    give_back(&s, b);
    close_stage(&s);
}

static void freed_memory_is_not_used(void **state)
{
    (void)state;
    stage s = open_stage();
    char own[BYTES] = {0};
    const cuda_pointer host = (cuda_pointer)(uintptr_t)own;
    const cuda_pointer a = allocate(&s), b = allocate(&s), freed = allocate(&s);
    cuda_executable executable = make_executable(&s, freed, b);
    give_back(&s, freed);
    begin_breaking();
    launch_copying(&s, freed, b);
    launch_copying(&s, a, freed + BYTES - 1);
    seen(2);
    begin_breaking();
    (void)s.driver->graph_launch(executable, s.stream);
    seen(1);
    begin_breaking();
    assert_int_equal(s.driver->copy(host, freed, 0, s.stream), 0);
    assert_int_equal(s.driver->copy(freed, host, 0, s.stream), 0);
    assert_int_equal(s.driver->fill(freed, 0, 0, s.stream), 0);
    seen(3);
    launch_copying(&s, a, b); /* these are there */
    assert_int_equal(s.driver->copy(host, a, BYTES, s.stream), 0);
    finish(&s);
    assert_int_equal(s.driver->executable_destroy(executable), 0);
    give_back(&s, a);
    give_back(&s, b);
    begin_breaking();
    (void)s.driver->free(a, s.device->memory_stream);
    seen(1);
    close_stage(&s);
}

/* What is under way on a stream keeps its memory. */
static void memory_in_use_is_not_freed(void **state)
{
    (void)state;
    stage s = open_stage();
    static char own[BYTES];
    const cuda_pointer host = (cuda_pointer)(uintptr_t)own;
    enum { BLOCKS = 6 };
    cuda_pointer blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = allocate(&s);
    }
    cuda_executable executable = make_executable(&s, blocks[0], blocks[5]);
    fake.hold(1);
    assert_int_equal(s.driver->graph_launch(executable, s.stream), 0);
    launch_copying(&s, blocks[1], blocks[5]);
    assert_int_equal(s.driver->copy(host, blocks[2], 0, s.stream), 0);
    assert_int_equal(s.driver->copy(blocks[3], host, 1, s.stream), 0);
    assert_int_equal(s.driver->fill(blocks[4], 0, 1, s.stream), 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        const bool is_used = i != 2; /* of that no byte is copied */
        begin_breaking();
        if (i == 3 || i == 4) { /* the copy and the fill are before it there */
            assert_int_equal(s.driver->free(blocks[i], s.stream), 0);
            seen(0);
            continue;
        }
        give_back(&s, blocks[i]);
        seen(is_used);
    }
    finish(&s);
    assert_int_equal(s.driver->executable_destroy(executable), 0);
    close_stage(&s);
}

static void copies_keep_their_memory(void **state)
{
    (void)state;
    stage s = open_stage();
    static char own[BYTES];
    const cuda_pointer host = (cuda_pointer)(uintptr_t)own;
    const cuda_pointer a = allocate(&s), b = allocate(&s);
    fake.hold(1);
    assert_int_equal(s.driver->copy(host, a, 1, s.stream), 0);
    assert_int_equal(s.driver->fill(b, 0, 1, s.stream), 0);
    begin_breaking();
    give_back(&s, a);
    give_back(&s, b);
    seen(2);
    finish(&s);
    close_stage(&s);
}

static void destroyed_events_are_not_used(void **state)
{
    (void)state;
    stage s = open_stage();
    cuda_event event, other;
    float milliseconds;
    assert_int_equal(s.driver->event_create(&event, 0), 0);
    assert_int_equal(s.driver->event_create(&other, 0), 0);
    assert_int_equal(s.driver->event_record(event, s.stream), 0);
    assert_int_equal(s.driver->event_record(other, s.stream), 0);
    finish(&s);
    assert_int_equal(s.driver->event_elapsed(&milliseconds, event, other), 0);
    assert_int_equal(s.driver->event_destroy(event), 0);
    begin_breaking();
    (void)s.driver->event_query(event);
    (void)s.driver->event_synchronize(event);
    (void)s.driver->event_elapsed(&milliseconds, event, other);
    (void)s.driver->event_elapsed(&milliseconds, other, event);
    (void)s.driver->event_record(event, s.stream);
    seen(5);
    finish(&s);
    assert_int_equal(s.driver->event_destroy(other), 0);
    close_stage(&s);
}

static void streams_end_empty(void **state)
{
    (void)state;
    stage s = open_stage();
    cuda_stream other;
    char bytes[2] = {0};
    assert_int_equal(s.driver->stream_create(&other, 0), 0);
    fake.hold(1);
    assert_int_equal(s.driver->copy((cuda_pointer)(uintptr_t)bytes,
                                    (cuda_pointer)(uintptr_t)&bytes[1], 1, other),
                     0);
    begin_breaking();
    (void)s.driver->stream_destroy(other);
    seen(1);
    finish(&s);
    close_stage(&s);
}

/* Of the calls that need a context: without one they are refused, and seen. */
static void a_context_is_current(void **state)
{
    (void)state;
    stage s = open_stage();
    cuda_event event;
    cuda_graph graph;
    cuda_stream stream;
    void *host;
    wefti_cuda_leave(s.device);
    begin_breaking();
    assert_int_not_equal(s.driver->event_create(&event, 0), 0);
    assert_int_not_equal(s.driver->graph_create(&graph, 0), 0);
    assert_int_not_equal(s.driver->stream_create(&stream, 0), 0);
    assert_int_not_equal(s.driver->host_allocate(&host, 1, 0), 0);
    seen(4);
    begin_breaking();
    cuda_context none;
    (void)s.driver->context_pop(&none);
    seen(1);
    assert_int_equal(wefti_cuda_enter(s.device, NULL), WEFT_OK);
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(executables_run_once_at_a_time),
        cmocka_unit_test(what_runs_is_not_destroyed),
        cmocka_unit_test(graphs_are_changed_between_runs),
        cmocka_unit_test(freed_memory_is_not_used),
        cmocka_unit_test(memory_in_use_is_not_freed),
        cmocka_unit_test(copies_keep_their_memory),
        cmocka_unit_test(destroyed_events_are_not_used),
        cmocka_unit_test(streams_end_empty),
        cmocka_unit_test(a_context_is_current),
    };
    if (!fake_driver_find()) {
        print_message("left out: the driver is not tests/fake_cuda\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

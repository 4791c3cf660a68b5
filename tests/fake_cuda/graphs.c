/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "fake_cuda/state.h"

/* Graphs and launches; see fake_cuda.h. */

/* The last kernel raises the host's flag, after which the host may launch, free and
 * destroy: so the launch must be seen to have ended before. */
static void take_out_locked(cuda_executable executable)
{
    cuda_executable *link = &fake_executables;
    while (*link != executable) {
        link = &(*link)->next;
    }
    *link = executable->next;
}

void fake_run_launch(cuda_executable executable)
{
    const bool is_launch = executable->is_launch;
    for (size_t i = 0; i < executable->count; i++) {
        const kernel_call call = executable->calls[i];
        if (i + 1 == executable->count) {
            pthread_mutex_lock(&fake_lock);
            executable->running--;
            if (is_launch) {
                take_out_locked(executable);
            }
            pthread_mutex_unlock(&fake_lock);
        }
        emulate_launch(call.kernel, call.arguments, call.blocks, call.threads);
    }
    if (is_launch) {
        free(executable->calls);
        free(executable);
    }
}

cuda_result cuGraphCreate(cuda_graph *graph, unsigned int flags)
{
    (void)flags;
    pthread_mutex_lock(&fake_lock);
    int result = fake_enter_context_locked();
    if (result == 0) {
        *graph = calloc(1, sizeof(**graph));
        (*graph)->card = fake_current_card();
        fake_counts.graphs++;
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuGraphDestroy(cuda_graph graph)
{
    while (graph->first != NULL) {
        cuda_node node = graph->first;
        graph->first = node->next;
        free(node);
    }
    free(graph);
    pthread_mutex_lock(&fake_lock);
    fake_counts.graphs--;
    pthread_mutex_unlock(&fake_lock);
    return 0;
}

static void check_arguments_locked(const kernel_call *call, int card)
{
    for (size_t i = 0; i < call->kernel->call_bytes / sizeof(uint64_t); i++) {
        fake_check_memory_locked(call->arguments[i], card,
                                 "a kernel with memory of another card");
    }
}

/* What a kernel is launched with, on a card. */
static kernel_call make_call(cuda_function function, unsigned int grid,
                             unsigned int width, void **arguments, int card)
{
    const emulate_kernel *found = function->kernel;
    kernel_call call = {.kernel = found, .blocks = grid, .threads = width};
    pthread_mutex_lock(&fake_lock);
    if (found->call_bytes > sizeof(call.arguments)) {
        fake_violate_locked("a kernel with too many arguments");
    }
    memcpy(call.arguments, arguments[0], found->call_bytes);
    fake_check_card_locked(function->card, "a kernel of another card");
    check_arguments_locked(&call, card);
    pthread_mutex_unlock(&fake_lock);
    return call;
}

cuda_result cuGraphAddKernelNode_v2(cuda_node *node, cuda_graph graph,
                                    const cuda_node *before, size_t count,
                                    const cuda_kernel_node *kernel)
{
    TRY(fake_enter_context());
    cuda_node made = calloc(1, sizeof(*made));
    made->before = count > 0 ? before[0] : NULL;
    made->call = make_call(kernel->function, kernel->grid_x, kernel->block_x,
                           kernel->arguments, graph->card);
    pthread_mutex_lock(&fake_lock);
    if (made->before != graph->last) {
        fake_violate_locked("a kernel that does not follow the last");
    }
    fake_check_card_locked(graph->card, "a kernel for a graph of another card");
    pthread_mutex_unlock(&fake_lock);
    made->graph = graph;
    made->index = graph->last != NULL ? graph->last->index + 1 : 0;
    *(graph->last != NULL ? &graph->last->next : &graph->first) = made;
    graph->last = made;
    *node = made;
    return 0;
}

/* The driver lets a graph be changed that runs, which keeps what it was launched with;
 * here that would be a mistake, for its answers are waited for before. */
cuda_result cuGraphExecKernelNodeSetParams_v2(cuda_executable executable,
                                              cuda_node node,
                                              const cuda_kernel_node *kernel)
{
    TRY(fake_enter_context());
    const kernel_call call =
        make_call(kernel->function, kernel->grid_x, kernel->block_x, kernel->arguments,
                  executable->card);
    pthread_mutex_lock(&fake_lock);
    fake_check_card_locked(executable->card, "a graph of another card is changed");
    if (executable->running > 0) {
        fake_violate_locked("a graph is changed that runs");
    } else if (node->graph != executable->graph || node->index >= executable->count) {
        fake_violate_locked("a node of another graph is changed");
    } else {
        executable->calls[node->index] = call;
    }
    pthread_mutex_unlock(&fake_lock);
    return 0;
}

cuda_result cuGraphInstantiateWithFlags(cuda_executable *executable, cuda_graph graph,
                                        unsigned long long flags)
{
    (void)flags;
    TRY(fake_enter_context());
    cuda_executable made = calloc(1, sizeof(*made));
    for (cuda_node n = graph->first; n != NULL; n = n->next) {
        made->count++;
    }
    made->calls = calloc(made->count, sizeof(*made->calls));
    size_t i = 0;
    for (cuda_node n = graph->first; n != NULL; n = n->next) {
        made->calls[i++] = n->call;
    }
    pthread_mutex_lock(&fake_lock);
    fake_check_card_locked(graph->card, "a graph of another card is made executable");
    made->card = graph->card;
    made->graph = graph;
    made->next = fake_executables;
    fake_executables = made;
    fake_counts.executables++;
    pthread_mutex_unlock(&fake_lock);
    *executable = made;
    return 0;
}

cuda_result cuGraphExecDestroy(cuda_executable executable)
{
    pthread_mutex_lock(&fake_lock);
    fake_check_card_locked(executable->card, "a graph of another card is destroyed");
    if (executable->running > 0 && fake_fatal[executable->card] == 0) {
        fake_violate_locked("a graph is destroyed that runs");
        pthread_mutex_unlock(&fake_lock);
        return FAKE_INVALID_CONTEXT; /* left, so that a test may go on */
    }
    take_out_locked(executable);
    fake_counts.executables--;
    pthread_mutex_unlock(&fake_lock);
    free(executable->calls);
    free(executable);
    return 0;
}

/* *taken: it runs, and ends. */
static int launch_locked(cuda_executable executable, cuda_stream stream, bool *taken)
{
    int result = 0;
    *taken = false;
    if (fake_take_fault_locked(stream->card)) {
        return 0; /* taken, and never ends */
    }
    executable->running++;
    executable->running_on = stream;
    result = fake_submit_locked(stream,
                                &(work){.kind = WORK_LAUNCH, .executable = executable});
    executable->running -= result != 0;
    fake_counts.launches[stream->card] += result == 0;
    fake_counts.unfinished += result == 0;
    *taken = result == 0;
    return result;
}

cuda_result cuGraphLaunch(cuda_executable executable, cuda_stream stream)
{
    bool taken;
    pthread_mutex_lock(&fake_lock);
    if (executable->running > 0) {
        fake_violate_locked("a graph is launched that runs");
    }
    fake_check_card_locked(executable->card, "a graph of another card is launched");
    for (size_t i = 0; i < executable->count; i++) {
        check_arguments_locked(&executable->calls[i], executable->card);
    }
    int result = launch_locked(executable, stream, &taken);
    pthread_mutex_unlock(&fake_lock);
    return result;
}

cuda_result cuLaunchKernel(cuda_function function, unsigned int grid_x,
                           unsigned int grid_y, unsigned int grid_z,
                           unsigned int block_x, unsigned int block_y,
                           unsigned int block_z, unsigned int shared_bytes,
                           cuda_stream stream, void **arguments, void **extra)
{
    (void)grid_y, (void)grid_z, (void)block_y, (void)block_z;
    (void)shared_bytes, (void)extra;
    bool taken;
    cuda_executable made = calloc(1, sizeof(*made));
    made->card = stream->card;
    made->count = 1;
    made->calls = calloc(1, sizeof(*made->calls));
    made->calls[0] = make_call(function, grid_x, block_x, arguments, stream->card);
    made->is_launch = true;
    pthread_mutex_lock(&fake_lock);
    fake_check_card_locked(stream->card, "a kernel on a stream of another card");
    made->next = fake_executables;
    fake_executables = made;
    int result = launch_locked(made, stream, &taken);
    if (!taken) {
        take_out_locked(made);
        free(made->calls);
        free(made);
    }
    pthread_mutex_unlock(&fake_lock);
    return result;
}

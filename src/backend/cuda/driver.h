/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_DRIVER_H
#define WEFTI_BACKEND_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The part of NVIDIA's driver API that Weft uses, declared by ourselves: libcuda is
 * opened at run time, so that one binary runs with and without it. Names and values
 * are those of the driver's ABI. */

typedef int cuda_result;
enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
    CUDA_ERROR_NOT_READY = 600,
};

typedef int cuda_device;
typedef uint64_t cuda_pointer;
typedef struct cuda_context_object *cuda_context;
typedef struct cuda_module_object *cuda_module;
typedef struct cuda_function_object *cuda_function;
typedef struct cuda_stream_object *cuda_stream;
typedef struct cuda_event_object *cuda_event;
typedef struct cuda_graph_object *cuda_graph;
typedef struct cuda_node_object *cuda_node;
typedef struct cuda_executable_object *cuda_executable;

enum {
    CUDA_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
    CUDA_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    CUDA_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
    CUDA_POINTER_ATTRIBUTE_CONTEXT = 1,
    CUDA_POINTER_ATTRIBUTE_MEMORY_TYPE = 2,
    CUDA_POINTER_ATTRIBUTE_DEVICE_ORDINAL = 9,
    CUDA_POINTER_ATTRIBUTE_RANGE_START = 11,
    CUDA_POINTER_ATTRIBUTE_RANGE_SIZE = 12,
    CUDA_MEMORY_TYPE_DEVICE = 2,
    CUDA_STREAM_NON_BLOCKING = 1,
    CUDA_EVENT_BLOCKING_SYNC = 1,
    CUDA_EVENT_DISABLE_TIMING = 2,
    CUDA_HOST_PORTABLE = 1,
    CUDA_HOST_DEVICE_MAP = 2,
};

/* CUDA_KERNEL_NODE_PARAMS_v2 */
typedef struct cuda_kernel_node {
    cuda_function function;
    unsigned int grid_x, grid_y, grid_z;
    unsigned int block_x, block_y, block_z;
    unsigned int shared_bytes;
    void **arguments;
    void **extra;
    void *kernel;
    cuda_context context;
} cuda_kernel_node;

/* F(result, our name, the library's symbol, parameters): every call that is used. */
#define CUDA_DRIVER_CALLS(F)                                                           \
    F(init, cuInit, (unsigned int flags))                                              \
    F(driver_version, cuDriverGetVersion, (int *version))                              \
    F(error_name, cuGetErrorName, (cuda_result result, const char **text))             \
    F(error_text, cuGetErrorString, (cuda_result result, const char **text))           \
    F(device_count, cuDeviceGetCount, (int *count))                                    \
    F(device_get, cuDeviceGet, (cuda_device * device, int index))                      \
    F(device_name, cuDeviceGetName, (char *name, int size, cuda_device device))        \
    F(device_memory, cuDeviceTotalMem_v2, (size_t * size_bytes, cuda_device device))   \
    F(device_attribute, cuDeviceGetAttribute,                                          \
      (int *value, int attribute, cuda_device device))                                 \
    F(context_retain, cuDevicePrimaryCtxRetain,                                        \
      (cuda_context * context, cuda_device device))                                    \
    F(context_release, cuDevicePrimaryCtxRelease_v2, (cuda_device device))             \
    F(context_push, cuCtxPushCurrent_v2, (cuda_context context))                       \
    F(context_pop, cuCtxPopCurrent_v2, (cuda_context * context))                       \
    F(module_load, cuModuleLoadData, (cuda_module * module, const void *image))        \
    F(module_unload, cuModuleUnload, (cuda_module module))                             \
    F(module_function, cuModuleGetFunction,                                            \
      (cuda_function * function, cuda_module module, const char *name))                \
    F(allocate, cuMemAllocAsync,                                                       \
      (cuda_pointer * address, size_t size_bytes, cuda_stream stream))                 \
    F(free, cuMemFreeAsync, (cuda_pointer address, cuda_stream stream))                \
    F(host_allocate, cuMemHostAlloc,                                                   \
      (void **address, size_t size_bytes, unsigned int flags))                         \
    F(host_free, cuMemFreeHost, (void *address))                                       \
    F(copy, cuMemcpyAsync,                                                             \
      (cuda_pointer target, cuda_pointer source, size_t size_bytes,                    \
       cuda_stream stream))                                                            \
    F(copy_between, cuMemcpyPeerAsync,                                                 \
      (cuda_pointer target, cuda_context target_context, cuda_pointer source,          \
       cuda_context source_context, size_t size_bytes, cuda_stream stream))            \
    F(fill, cuMemsetD8Async,                                                           \
      (cuda_pointer target, unsigned char value, size_t size_bytes,                    \
       cuda_stream stream))                                                            \
    F(pointer_attribute, cuPointerGetAttribute,                                        \
      (void *value, int attribute, cuda_pointer address))                              \
    F(stream_create, cuStreamCreate, (cuda_stream * stream, unsigned int flags))       \
    F(stream_destroy, cuStreamDestroy_v2, (cuda_stream stream))                        \
    F(stream_query, cuStreamQuery, (cuda_stream stream))                               \
    F(stream_synchronize, cuStreamSynchronize, (cuda_stream stream))                   \
    F(event_create, cuEventCreate, (cuda_event * event, unsigned int flags))           \
    F(event_destroy, cuEventDestroy_v2, (cuda_event event))                            \
    F(event_record, cuEventRecord, (cuda_event event, cuda_stream stream))             \
    F(event_query, cuEventQuery, (cuda_event event))                                   \
    F(event_synchronize, cuEventSynchronize, (cuda_event event))                       \
    F(event_elapsed, cuEventElapsedTime,                                               \
      (float *milliseconds, cuda_event begin, cuda_event end))                         \
    F(graph_create, cuGraphCreate, (cuda_graph * graph, unsigned int flags))           \
    F(graph_destroy, cuGraphDestroy, (cuda_graph graph))                               \
    F(graph_add_kernel, cuGraphAddKernelNode_v2,                                       \
      (cuda_node * node, cuda_graph graph, const cuda_node *before, size_t count,      \
       const cuda_kernel_node *kernel))                                                \
    F(graph_instantiate, cuGraphInstantiateWithFlags,                                  \
      (cuda_executable * executable, cuda_graph graph, unsigned long long flags))      \
    F(executable_set_kernel, cuGraphExecKernelNodeSetParams_v2,                        \
      (cuda_executable executable, cuda_node node, const cuda_kernel_node *kernel))    \
    F(launch_kernel, cuLaunchKernel,                                                   \
      (cuda_function function, unsigned int grid_x, unsigned int grid_y,               \
       unsigned int grid_z, unsigned int block_x, unsigned int block_y,                \
       unsigned int block_z, unsigned int shared_bytes, cuda_stream stream,            \
       void **arguments, void **extra))                                                \
    F(executable_destroy, cuGraphExecDestroy, (cuda_executable executable))            \
    F(graph_launch, cuGraphLaunch, (cuda_executable executable, cuda_stream stream))

/* The library's functions; all are there when it is open. */
typedef struct cuda_driver {
    void *library;
#define CUDA_DRIVER_SLOT(name, symbol, parameters) cuda_result(*name) parameters;
    CUDA_DRIVER_CALLS(CUDA_DRIVER_SLOT)
#undef CUDA_DRIVER_SLOT
} cuda_driver;

/* Opens libcuda.so.1 and initialises it. WEFT_UNAVAILABLE says what is missing.
 * Threads: any. */
weft_status wefti_cuda_driver_open(cuda_driver *driver, weft_error *error);
void wefti_cuda_driver_close(cuda_driver *driver);

/* What the driver calls this result; never NULL. */
const char *wefti_cuda_result_text(const cuda_driver *driver, cuda_result result);

#endif

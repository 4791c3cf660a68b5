/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_DEVICE_H
#define WEFTI_BACKEND_CUDA_DEVICE_H

#include "backend/backend.h"
#include "backend/common/workers.h"
#include "backend/cuda/driver.h"
#include "base/atomic.h"
#include "base/lock.h"

/* The kernels of the image, by function name. */
#define WEFTI_CUDA_KERNELS(F)                                                          \
    F(weft_stage)                                                                      \
    F(weft_copy)                                                                       \
    F(weft_fill)                                                                       \
    F(weft_gather)                                                                     \
    F(weft_pool)                                                                       \
    F(weft_elementwise_one)                                                            \
    F(weft_elementwise)                                                                \
    F(weft_elementwise_typed)                                                          \
    F(weft_softmax_64)                                                                 \
    F(weft_softmax_256)                                                                \
    F(weft_softmax)                                                                    \
    F(weft_softmax_wide)                                                               \
    F(weft_layer_norm_256)                                                             \
    F(weft_layer_norm_1024)                                                            \
    F(weft_layer_norm)                                                                 \
    F(weft_reduce_f32)                                                                 \
    F(weft_reduce_f64)                                                                 \
    F(weft_reduce_i64)                                                                 \
    F(weft_reduce_i32)                                                                 \
    F(weft_gather_points)                                                              \
    F(weft_scatter_points)                                                             \
    F(weft_cumulate)                                                                   \
    F(weft_top_k)                                                                      \
    F(weft_fold)                                                                       \
    F(weft_sample)                                                                     \
    F(weft_roi_align)                                                                  \
    F(weft_pool_indices)                                                               \
    F(weft_linear_attention)                                                           \
    F(weft_determinant)                                                                \
    F(weft_attention)                                                                  \
    F(weft_attention_short)                                                            \
    F(weft_attention_near)                                                             \
    F(weft_matmul_128x128)                                                             \
    F(weft_matmul_64x64)                                                               \
    F(weft_matmul_32x64)                                                               \
    F(weft_matmul_32x32)                                                               \
    F(weft_matmul_16x32)                                                               \
    F(weft_matmul_8x8)                                                                 \
    F(weft_matmul_8x32)                                                                \
    F(weft_wide_64x64)                                                                 \
    F(weft_wide_32x64)                                                                 \
    F(weft_wide_32x32)                                                                 \
    F(weft_wide_16x32)                                                                 \
    F(weft_conv_128x128)                                                               \
    F(weft_conv_64x64)                                                                 \
    F(weft_conv_32x64)                                                                 \
    F(weft_conv_32x32)                                                                 \
    F(weft_conv_16x32)                                                                 \
    F(weft_conv_8x8)                                                                   \
    F(weft_conv_8x32)                                                                  \
    WEFTI_CUDA_MMA_KERNELS(F, bf16)                                                    \
    WEFTI_CUDA_MMA_KERNELS(F, f16)                                                     \
    WEFTI_CUDA_MMA_KERNELS(F, tf32)
/* Those on tensor cores, of one format. */
#define WEFTI_CUDA_MMA_KERNELS(F, format)                                              \
    F(weft_attention_##format)                                                         \
    F(weft_attention_short_##format)                                                   \
    WEFTI_CUDA_MMA_SHAPE(F, format##_64x64)                                            \
    WEFTI_CUDA_MMA_SHAPE(F, format##_32x32)                                            \
    WEFTI_CUDA_MMA_SHAPE(F, format##_16x32)
#define WEFTI_CUDA_MMA_SHAPE(F, shape)                                                 \
    F(weft_matmul_##shape)                                                             \
    F(weft_packed_##shape)                                                             \
    F(weft_conv_##shape)
typedef enum wefti_cuda_kernel {
#define WEFTI_CUDA_KERNEL_ID(name) WEFTI_CUDA_##name,
    WEFTI_CUDA_KERNELS(WEFTI_CUDA_KERNEL_ID)
#undef WEFTI_CUDA_KERNEL_ID
        WEFTI_CUDA_KERNEL_COUNT,
} wefti_cuda_kernel;
const char *wefti_cuda_kernel_name(wefti_cuda_kernel kernel);

/* The kernels' image, or NULL in a build without nvcc. */
const void *wefti_cuda_image(void);

/* So much memory of callers is known to be the card's without asking the driver. */
enum { WEFTI_CUDA_MEMORY_SEEN = 256 };

/* One card: its primary context is retained once and current in a thread only while a
 * slot runs there (wefti_cuda_enter), so that no caller's state changes. */
struct wefti_backend_device {
    /* immutable after create */
    cuda_driver driver;
    cuda_device card;
    cuda_context context;
    cuda_module module;
    cuda_function functions[WEFTI_CUDA_KERNEL_COUNT];
    cuda_stream memory_stream; /* order of allocations; synchronised: any thread */
    wefti_workers *workers;
    int32_t processor_count;
    int32_t index; /* of the card: its name's number */
    char name[32]; /* "cuda:1" */
    char description[224];
    char kind[128]; /* the same bits come from cards of one kind */
    char isa[32];
    bool retained, lock_made;
    uint32_t launches_before_graph; /* of kernels, see graphs.h */

    int32_t core_count;

    /* atomic: who runs -> who runs; how many are in a run */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 running;

    /* atomic: who has the bus, or wants it -> the same; how many runs have it
     * (wefti_recipe.crosses) */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 crossing;

    /* atomic: who builds recipes -> who builds recipes. Not beside `running`, for who
     * runs reads `lost`. */
    WEFTI_CACHE_ALIGNED wefti_atomic_u64 recipe_serial;
    /* atomic: who makes streams -> who makes streams; how many were made */
    wefti_atomic_u32 stream_count;

    /* atomic: who has found it to be the card's -> who looks; what stands for memory of
     * callers (bytes.c), each in one place; 0: nothing */
    WEFTI_CACHE_ALIGNED wefti_atomic_u64 seen[WEFTI_CUDA_MEMORY_SEEN];

    /* atomic: who changes the context (wefti_cuda_begin_change) -> who runs */
    WEFTI_CACHE_ALIGNED wefti_atomic_u32 changing;
    /* atomic: the first that finds the card gone -> all; 1 once lost_reason is set */
    wefti_atomic_u32 lost;
    /* guarded by lock, immutable once `lost` is 1 */
    wefti_mutex lock; /* WEFTI_RANK_POOL: a leaf */
    weft_error lost_reason;
};

/* Makes the context current in the calling thread; leave takes it back. Nothing of the
 * layers above is called in between. WEFT_DEVICE_LOST after a fault. */
weft_status wefti_cuda_enter(wefti_backend_device *device, weft_error *error);
void wefti_cuda_leave(wefti_backend_device *device);

/* Around what changes the card's context: streams, graphs and memory that are made or
 * given up. Who does so waits for a moment in which nobody else is inside the driver,
 * and who launches does not wait for it: beside 16 threads that launch without a pause
 * the making of a stream was seen to take more than ten seconds. So runs make way
 * before they begin, for a moment: to bring the others in, not to keep all away as long
 * as it takes. Any thread; may be nested. */
void wefti_cuda_begin_change(wefti_backend_device *device);
void wefti_cuda_end_change(wefti_backend_device *device);
void wefti_cuda_make_way(const wefti_backend_device *device);

/* Turns a driver's result into a status; `what` was being done. A result that leaves
 * the card unusable latches: all later calls answer WEFT_DEVICE_LOST. */
weft_status wefti_cuda_check(wefti_backend_device *device, cuda_result result,
                             const char *what, weft_error *error);

/* Device memory outside the runtime's pool, for recipes and streams. Entered. */
weft_status wefti_cuda_allocate(wefti_backend_device *device, size_t size_bytes,
                                void **address, weft_error *error);
void wefti_cuda_free(wefti_backend_device *device, void *address);
/* Copies to the device and waits. Entered. */
weft_status wefti_cuda_upload(wefti_backend_device *device, void *target,
                              const void *source, size_t size_bytes, weft_error *error);

#endif

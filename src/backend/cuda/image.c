/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/device.h"

/* The kernels, one image for each architecture in one file, made by the build where
 * nvcc is (cmake/cuda.cmake). */
#if defined(WEFTI_CUDA_IMAGE)
extern const unsigned char wefti_cuda_kernels[];

const void *wefti_cuda_image(void)
{
    return wefti_cuda_kernels;
}
#elif defined(WEFT_TESTING)
/* For the tests' driver, which has kernels of its own. */
const void *wefti_cuda_image(void)
{
    return "no kernels";
}
#else
const void *wefti_cuda_image(void)
{
    return NULL;
}
#endif

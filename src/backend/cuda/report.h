/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CUDA_REPORT_H
#define WEFTI_BACKEND_CUDA_REPORT_H

#include "backend/cuda/stream.h"

/* Says in the CPU's words what a step of the run that has ended found wrong with its
 * data (WEFTI_CUDA_REPORT_SHIFT), whose operands are still where they were, and makes
 * the stream ready for the next run. Returns WEFT_INVALID_ARGUMENT. Entered. */
weft_status wefti_cuda_report(wefti_cuda_stream *stream, const wefti_recipe *recipe,
                              const wefti_cuda_graph *graph, weft_error *error);

/* Makes the stream ready for the next run. Nothing runs on it; entered. */
weft_status wefti_cuda_report_clear(wefti_cuda_stream *stream, weft_error *error);

#endif

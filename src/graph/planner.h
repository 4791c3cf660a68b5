/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_GRAPH_PLANNER_H
#define WEFTI_GRAPH_PLANNER_H

#include "ops/program.h"

/* Gives each workspace buffer of a program its place: buffers that live at the same
 * time do not overlap, others may. Greedy by size (Pisarchyk and Lee, "Efficient Memory
 * Management for Deep Neural Net Inference", 2020). */
weft_status wefti_plan_memory(wefti_program *program, size_t *workspace_bytes,
                              weft_error *error);

/* Makes the steps a backend takes. Slots: workspace, then `input_count` inputs, then
 * outputs. The array is the caller's (wefti_free); parameters and labels are borrowed
 * from the program. */
weft_status wefti_program_steps(const wefti_program *program, size_t input_count,
                                wefti_step **steps, weft_error *error);

#endif

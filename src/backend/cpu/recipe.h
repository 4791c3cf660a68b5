/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_RECIPE_H
#define WEFTI_BACKEND_CPU_RECIPE_H

#include "backend/backend.h"
#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/team.h"

/* Steps made ready for one instruction set. Class: immutable. */

/* Prepares the steps. `helper_count` helpers may do tiles of them at the same time;
 * each has its own scratch. */
weft_status wefti_cpu_recipe_create(const wefti_cpu_isa *isa, int32_t helper_count,
                                    const wefti_recipe_params *params,
                                    wefti_recipe **recipe, weft_error *error);
void wefti_cpu_recipe_destroy(wefti_recipe *recipe);
size_t wefti_cpu_recipe_workspace_bytes(const wefti_recipe *recipe);
size_t wefti_cpu_recipe_row_bytes(const wefti_recipe *recipe, size_t slot);
double wefti_cpu_recipe_work_ns(const wefti_recipe *recipe);
void wefti_cpu_recipe_describe(const wefti_recipe *recipe, size_t step, char *text,
                               size_t text_bytes);

/* Runs all steps in the calling thread; `team`, if not NULL, helps. Allocates nothing.
 * Threads: any, at once with different slots. */
weft_status wefti_cpu_recipe_run(const wefti_recipe *recipe, wefti_team *team,
                                 void *const *slots, size_t slot_count,
                                 weft_error *error);

#endif

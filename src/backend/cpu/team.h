/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_TEAM_H
#define WEFTI_BACKEND_CPU_TEAM_H

#include "backend/cpu/callers.h"
#include "base/error.h"

/* Helpers of callers that have idle cores beside them. A caller shares the tiles of a
 * step: it takes some, helpers take others, and it goes on when all are done. Helpers
 * come only while callers and helpers together are no more than the cores; when
 * another caller arrives they go after their present tiles. A caller waits for nothing
 * else of a helper, and a helper touches nothing of a caller but while it holds a tile.
 * Class: synchronised. */
typedef struct wefti_team wefti_team;

enum { WEFTI_TEAM_MAX_HELPERS = 63 };

/* Work of one step, below these not worth sharing; of a whole run likewise. */
enum { WEFTI_TEAM_MIN_STEP_NS = 2000, WEFTI_TEAM_MIN_RUN_NS = 10000 };

/* Does the tiles [begin, end) of a step. `member` is 0 for the caller and 1 to
 * helper_count for the helpers: the number of the scratch to use. */
typedef weft_status (*wefti_team_work)(const void *job, uint32_t step, int32_t member,
                                       int64_t begin, int64_t end, weft_error *error);

/* One run of a caller with helpers; belongs to the team. */
typedef struct wefti_team_run wefti_team_run;

weft_status wefti_team_create(int32_t helper_count, int32_t core_count,
                              wefti_team **team, weft_error *error);
/* No run is open. NULL is allowed. */
void wefti_team_destroy(wefti_team *team);
int32_t wefti_team_helper_count(const wefti_team *team);
wefti_callers *wefti_team_callers(wefti_team *team);
/* Tiles done by helpers since create. */
uint64_t wefti_team_helped_tiles(const wefti_team *team);

/* Opens a run if a helper may come; else NULL, and the caller works alone. The caller
 * is counted in the team's callers. Helpers with a number above `member_limit` stay
 * away. Never blocks. */
wefti_team_run *wefti_team_begin(wefti_team *team, wefti_team_work work,
                                 const void *job, int32_t member_limit);

/* Does a step with whoever helps; returns when all tiles are done. `tile_count` is
 * below 2^31, `tile_ns` the estimated time of one. Of several failing tiles the first
 * one's error is returned. */
weft_status wefti_team_share(wefti_team_run *run, uint32_t step, uint32_t tile_count,
                             int64_t tile_ns, weft_error *error);

void wefti_team_end(wefti_team_run *run);

#endif

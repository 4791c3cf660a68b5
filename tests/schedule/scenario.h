/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_SCENARIO_H
#define WEFT_TEST_SCENARIO_H

#include <stddef.h>

#include "base/testing.h"
#include "support/explore.h"

/* What is explored: each a piece of the library's real code with a few threads and an
 * invariant that `check` looks at. */

enum { SCENARIO_MOST_GUARDS = 3 };

typedef struct scenario {
    explore_case what;
    /* Bound of the search through all schedules; 0: too many, random ones only. */
    uint32_t preemptions;
    uint32_t
        divisor; /* of the tests' number of schedules, where one takes long; 0: 1 */
    /* With any of these switched off, schedules that go wrong must be found. */
    wefti_sabotage guards[SCENARIO_MOST_GUARDS];
} scenario;

/* NULL past the last. */
const scenario *scenario_at(size_t index);
const scenario *scenario_find(const char *name);

/* "LEASE_TWICE" and so on; NULL past the last. */
const char *scenario_guard_name(wefti_sabotage guard);

/* Ends the program when setting a scenario up fails. */
void scenario_require(bool right, const char *what);

/* Lists of the files of this folder, each ended by one without a name. */
extern const scenario lease_scenarios[];
extern const scenario share_scenarios[];
extern const scenario device_scenarios[];
extern const scenario request_scenarios[];
extern const scenario stream_scenarios[];
extern const scenario memory_scenarios[];
extern const scenario host_scenarios[];
extern const scenario plan_scenarios[];
extern const scenario team_scenarios[];
extern const scenario queue_scenarios[];
extern const scenario in_place_scenarios[];

#endif

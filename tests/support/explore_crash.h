/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_EXPLORE_CRASH_H
#define WEFT_TEST_EXPLORE_CRASH_H

/* While schedules of a case run: a crash says which one it was, on stderr, and then
 * goes its way. Between the two nothing else changes how signals are handled. */
void explore_crash_begin(const char *name);
void explore_crash_end(void);

#endif

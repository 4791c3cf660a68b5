/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BASE_FORK_H
#define WEFTI_BASE_FORK_H

#include <stdbool.h>

#include <weft/status.h>

/* Begins to watch for fork(); called once per device opened. Threads: any. */
WEFT_MUST_USE weft_status wefti_fork_watch(weft_error *error);

/* True in a child of a process that had called wefti_fork_watch. Threads: any. */
bool wefti_fork_happened(void);

/* WEFT_FORKED with its words in such a child, else WEFT_OK; the first statement of
 * public calls that can fail. */
weft_status wefti_fork_check(weft_error *error);

#endif

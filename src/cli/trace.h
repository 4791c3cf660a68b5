/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_TRACE_H
#define WEFTI_CLI_TRACE_H

#include <stdbool.h>

#include <weft/profile.h>

/* Writes what was recorded as JSON trace events, which Perfetto and chrome://tracing
 * show: a line for each thread, with requests, waits, plans and kernels inside each
 * other, the requests of a queue above them, and a line for each context with who had
 * it leased. Says on standard output how much it
 * was. False with words on the error stream when the file could not be written. */
bool cli_trace_write(const weft_profiler *profiler, const char *path);

#endif

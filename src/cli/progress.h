/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_PROGRESS_H
#define WEFTI_CLI_PROGRESS_H

/* A line on the error stream that says what goes on, rewritten in place, shown once
 * something takes over a second and taken away at the end. Nothing at all where the
 * error stream is no terminal. One at a time, begun and ended by one thread. */
void cli_progress_begin(const char *format, ...);

/* Changes the words; does nothing outside begin and end. */
void cli_progress_say(const char *format, ...);

void cli_progress_end(void);

#endif

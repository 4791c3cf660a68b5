/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_PROGRESS_H
#define WEFTI_CLI_PROGRESS_H

/* A line on the error stream that says what goes on, rewritten in place, shown once
 * something takes over a second and taken away at the end, and before a complaint is
 * written. Nothing at all where the error stream is no terminal. One at a time, begun
 * and ended by one thread. */
void cli_progress_begin(const char *format, ...);

/* Changes the words; does nothing outside begin and end. */
void cli_progress_say(const char *format, ...);

void cli_progress_end(void);

/* Takes the line away and keeps it so until cli_progress_resume, for what else is
 * written to the terminal. From any thread, in pairs, not nested, also without a line.
 */
void cli_progress_hold(void);
void cli_progress_resume(void);

#endif

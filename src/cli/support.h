/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_SUPPORT_H
#define WEFTI_CLI_SUPPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <weft/weft.h>

/* What every command uses: memory, time, words and lists. */

/* Allocates zeroed memory aligned to 64 bytes; says so and exits when there is none.
 * Freed with free(). Threads: any. */
void *cli_allocate(size_t count, size_t size);

/* The same for tensors' data, but not zeroed; large blocks are laid out so that the
 * system can map them in large pages. */
void *cli_allocate_data(size_t size_bytes);
/* The same; NULL when there is no memory. */
void *cli_try_allocate_data(size_t size_bytes);

/* Formats into new memory. Threads: any. */
char *cli_format(const char *format, ...);

/* Replaces what steers a terminal by '?', in place: a model's names may hold anything.
 * Returns the text. Threads: any. */
char *cli_printable(char *text);

/* The bytes of the UTF-8 character that a text, not "", begins with; 0 when it is none.
 */
size_t cli_character_length(const char *text);

/* Prints a text from a model with its line ends; see cli_printable. */
void cli_print_text(FILE *file, const char *text);

/* Prints "weft: <words>" on the error stream and returns 1, an exit status. */
int cli_complain(const char *format, ...);

/* The same on any stream, with `end` before the line end. */
void cli_complain_list(FILE *file, const char *end, const char *format,
                       va_list arguments);

/* Prints what a failing call said, with advice, and returns 1. */
int cli_complain_error(const char *what, const weft_error *error);

/* Reads the monotonic clock. Threads: any. */
int64_t cli_now_ns(void);

/* Number of cores this process may use. */
int32_t cli_core_count(void);

/* Memory that can be had without swapping. */
uint64_t cli_available_bytes(void);

enum { CLI_MAX_THREADS = 64, CLI_MAX_CONTEXTS = 1024, CLI_MAX_COUNTS = 16 };

/* A list such as 1,2,4,8. */
typedef struct cli_counts {
    int32_t values[CLI_MAX_COUNTS];
    int32_t count;
} cli_counts;

/* Parses a list of whole numbers between 1 and `most`. */
bool cli_parse_counts(const char *text, int32_t most, cli_counts *counts);

/* Parses one whole number of the range; false for anything else. */
bool cli_parse_number(const char *text, int64_t least, int64_t most, int64_t *value);

/* Calls work(user, 0 .. count-1) from one thread per core. */
void cli_parallel(int32_t count, void (*work)(void *user, int32_t index), void *user);

/* Sorts ascending, so that percentiles can be read off. */
void cli_sort_u32(uint32_t *values, size_t count);

/* Writes a number the way people read it: 1,234,567. */
const char *cli_thousands(double value, char text[32]);

/* Writes a time in ns with its unit: "1.62 us". */
const char *cli_duration(double ns, char text[32]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/support.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cli/progress.h"

enum { LINE = 64, LARGE_PAGE = 2 << 20 };

/* Returns NULL where the sum overflows or there is no memory. */
static void *allocate_aligned(size_t alignment, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX - alignment) {
        return NULL;
    }
    size_t rounded = (size_bytes + alignment - 1) / alignment * alignment;
    return aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
}

static void *or_exit(void *memory, size_t count, size_t size)
{
    if (memory == NULL) {
        cli_progress_hold();
        fprintf(stderr, "weft: out of memory (%zu x %zu bytes)\n", count, size);
        exit(1);
    }
    return memory;
}

void *cli_allocate(size_t count, size_t size)
{
    bool fits = size == 0 || count <= SIZE_MAX / size;
    void *memory = fits ? allocate_aligned(LINE, count * size) : NULL;
    return memset(or_exit(memory, count, size), 0, count * size);
}

void *cli_allocate_data(size_t size_bytes)
{
    return or_exit(cli_try_allocate_data(size_bytes), 1, size_bytes);
}

void *cli_try_allocate_data(size_t size_bytes)
{
    bool is_large = size_bytes >= 2 * LARGE_PAGE;
    void *memory = allocate_aligned(is_large ? LARGE_PAGE : LINE, size_bytes);
    if (is_large && memory != NULL) {
        madvise(memory, size_bytes, MADV_HUGEPAGE); /* only a hint */
    }
    return memory;
}

char *cli_format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        cli_progress_hold();
        fprintf(stderr, "weft: out of memory\n");
        exit(1);
    }
    return text;
}

size_t cli_character_length(const char *text)
{
    unsigned char first = (unsigned char)text[0], second = (unsigned char)text[1];
    size_t length = first < 0x80                     ? 1
                    : first >= 0xc2 && first <= 0xdf ? 2
                    : (first & 0xf0) == 0xe0         ? 3
                    : first >= 0xf0 && first <= 0xf4 ? 4
                                                     : 0;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Longer than needed, half of a pair, beyond the last. */
    bool none = (first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) ||
                (first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90);
    return none ? 0 : length;
}

/* The length of what steers a terminal at the start of a text; 0: it does not. */
static size_t control_length(const char *text)
{
    unsigned char first = (unsigned char)text[0];
    unsigned char second = first != '\0' ? (unsigned char)text[1] : 0;
    if (first == 0xc2 && second >= 0x80 && second < 0xa0) {
        return 2; /* U+0080 to U+009F */
    }
    return (first != '\0' && first < ' ') || first == 0x7f ? 1 : 0;
}

char *cli_printable(char *text)
{
    for (char *at = text; *at != '\0'; at++) {
        size_t length = control_length(at);
        memset(at, '?', length);
    }
    return text;
}

void cli_print_text(FILE *file, const char *text)
{
    while (*text != '\0') {
        size_t length = *text != '\n' ? control_length(text) : 0;
        fputc(length > 0 ? '?' : *text, file);
        text += length > 0 ? length : 1;
    }
}

void cli_complain_list(FILE *file, const char *end, const char *format,
                       va_list arguments)
{
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0) {
        text = NULL;
    }
    cli_progress_hold();
    fprintf(file, "weft: %s%s\n", text != NULL ? cli_printable(text) : "out of memory",
            end);
    cli_progress_resume();
    free(text);
}

int cli_complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    cli_complain_list(stderr, "", format, arguments);
    va_end(arguments);
    return 1;
}

int cli_complain_error(const char *what, const weft_error *error)
{
    const char *message =
        error->message[0] != '\0' ? error->message : weft_status_advice(error->status);
    /* Most messages name the file or device themselves. */
    return strstr(message, what) != NULL ? cli_complain("%s", message)
                                         : cli_complain("%s: %s", what, message);
}

int64_t cli_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int32_t cli_core_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return CPU_COUNT(&set);
    }
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (int32_t)count;
}

uint64_t cli_available_bytes(void)
{
    unsigned long long kilobytes = 0;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "r");
    if (file == NULL) {
        return UINT64_MAX;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "MemAvailable: %llu", &kilobytes) == 1) {
            break;
        }
    }
    fclose(file);
    return kilobytes == 0 ? UINT64_MAX : kilobytes * 1024;
}

bool cli_parse_number(const char *text, int64_t least, int64_t most, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < least || number > most) {
        return false;
    }
    *value = number;
    return true;
}

bool cli_parse_counts(const char *text, int32_t most, cli_counts *counts)
{
    cli_counts result = {.count = 0};
    const char *at = text;
    while (true) {
        char *end = NULL;
        errno = 0;
        long number = strtol(at, &end, 10);
        if (errno != 0 || end == at || number < 1 || number > most ||
            result.count == CLI_MAX_COUNTS) {
            return false;
        }
        result.values[result.count++] = (int32_t)number;
        if (*end == '\0') {
            *counts = result;
            return true;
        }
        if (*end != ',') {
            return false;
        }
        at = end + 1;
    }
}

typedef struct parallel {
    int32_t count;
    void (*work)(void *user, int32_t index);
    void *user;
    _Atomic int32_t next;
} parallel;

static void *parallel_main(void *user)
{
    parallel *shared = user;
    for (;;) {
        int32_t index = atomic_fetch_add(&shared->next, 1);
        if (index >= shared->count) {
            return NULL;
        }
        shared->work(shared->user, index);
    }
}

void cli_parallel(int32_t count, void (*work)(void *user, int32_t index), void *user)
{
    parallel shared = {.count = count, .work = work, .user = user};
    pthread_t threads[CLI_MAX_THREADS];
    int32_t started = 0;
    int32_t wanted = cli_core_count() - 1;
    wanted = wanted < count - 1 ? wanted : count - 1;
    wanted = wanted < CLI_MAX_THREADS ? wanted : CLI_MAX_THREADS;
    while (started < wanted &&
           pthread_create(&threads[started], NULL, parallel_main, &shared) == 0) {
        started++;
    }
    parallel_main(&shared);
    for (int32_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
}

static int compare_u32(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

void cli_sort_u32(uint32_t *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare_u32);
}

const char *cli_thousands(double value, char text[32])
{
    char digits[32];
    if (!(value < 1e15)) {
        snprintf(text, 32, "%.3g", value);
        return text;
    }
    int length =
        snprintf(digits, sizeof(digits),
                 value < 100 && value != floor(value) ? "%.1f" : "%.0f", value);
    if (value < 1000) {
        memcpy(text, digits, (size_t)length + 1);
        return text;
    }
    int written = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            text[written++] = ',';
        }
        text[written++] = digits[i];
    }
    text[written] = '\0';
    return text;
}

const char *cli_duration(double ns, char text[32])
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    int unit = 0;
    while (ns >= 999.5 && unit < 3) {
        ns /= 1000;
        unit++;
    }
    bool whole = unit == 0 || ns >= 99.95 || ns == floor(ns);
    int decimals = whole ? 0 : ns >= 9.995 ? 1 : 2;
    snprintf(text, 32, "%.*f %s", decimals, ns, units[unit]);
    return text;
}

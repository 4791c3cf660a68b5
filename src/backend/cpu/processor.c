/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/processor.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"

/* What different processors call it, best first. */
static const char *const names[] = {"model name", "Processor", "cpu model", "cpu",
                                    "Hardware"};

/* The value of a line "name<tabs>: value", or NULL. */
static char *value_of(char *line, const char *name)
{
    size_t length = strlen(name);
    if (strncmp(line, name, length) != 0) {
        return NULL;
    }
    char *at = line + length + strspn(line + length, " \t");
    if (*at != ':') {
        return NULL;
    }
    at++;
    at += strspn(at, " \t");
    at[strcspn(at, "\n")] = '\0';
    return at;
}

void wefti_processor_describe(const char *path, char *text, size_t text_bytes)
{
    size_t best = WEFTI_COUNT_OF(names);
    char line[512];
    snprintf(text, text_bytes, "processor");
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    while (best > 0 && fgets(line, sizeof(line), file) != NULL) {
        for (size_t i = 0; i < best; i++) {
            const char *value = value_of(line, names[i]);
            if (value != NULL && value[0] != '\0') {
                snprintf(text, text_bytes, "%s", value);
                best = i;
            }
        }
    }
    fclose(file);
}

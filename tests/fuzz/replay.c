/* SPDX-License-Identifier: Apache-2.0 */
/* Gives a fuzz target every file of a folder, in any build: `replay_NAME FOLDER`. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* For targets that need no preparation. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return 0;
}

static int replay(const char *folder, const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(MOST_BYTES);
    if (!file || !bytes) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    size_t size = fread(bytes, 1, MOST_BYTES, file);
    (void)fclose(file);
    /* A block of exactly the file's size, so that a read beyond it is noticed. */
    uint8_t *exact = realloc(bytes, size > 0 ? size : 1);
    printf("%s\n", path);
    (void)fflush(stdout);
    int result = LLVMFuzzerTestOneInput(exact ? exact : bytes, size);
    free(exact ? exact : bytes);
    return result;
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder || LLVMFuzzerInitialize(&argc, &argv) != 0) {
        fprintf(stderr, "type: %s FOLDER\n", argv[0]);
        return 1;
    }
    int count = 0, failed = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.') {
            failed += replay(argv[1], entry->d_name) != 0;
            count++;
        }
    }
    (void)closedir(folder);
    printf("%d files, %d failed\n", count, failed);
    return count == 0 || failed > 0;
}

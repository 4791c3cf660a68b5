/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

void wefti_mapping_release(void *mapping)
{
    wefti_mapping *m = mapping;
    if (!m || !wefti_refcount_release(&m->owners)) {
        return;
    }
    if (m->size > 0) {
        munmap((void *)(uintptr_t)m->bytes, m->size);
    }
    wefti_free(m);
}

weft_status wefti_system_error(const char *what, const char *shown, weft_error *error)
{
    int code = errno;
    weft_status status = code == ENOENT || code == ENOTDIR ? WEFT_NOT_FOUND
                         : code == ENOMEM                  ? WEFT_OUT_OF_MEMORY
                                                           : WEFT_IO_ERROR;
    char text[128] = "";
    const char *words = strerror_r(code, text, sizeof text);
    return wefti_error(error, status, "cannot %s '%.200s': %s", what, shown, words);
}

static weft_status map_open_file(int file, const char *shown, wefti_mapping **mapping,
                                 weft_error *error)
{
    struct stat info;
    if (fstat(file, &info) != 0) {
        return wefti_system_error("look at", shown, error);
    }
    if (!S_ISREG(info.st_mode)) {
        return wefti_error(error, WEFT_IO_ERROR, "'%.200s' is not a regular file",
                           shown);
    }
    if (info.st_size < 0 || (uintmax_t)info.st_size > PTRDIFF_MAX) {
        return wefti_error(error, WEFT_IO_ERROR, "'%.200s' is too large", shown);
    }
    wefti_mapping *made = wefti_calloc(1, sizeof *made);
    if (!made) {
        return wefti_error_memory(error, "a file mapping");
    }
    wefti_refcount_init(&made->owners);
    size_t size = (size_t)info.st_size;
    if (size > 0) {
        void *address = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
        if (address == MAP_FAILED) {
            wefti_mapping_release(made);
            return wefti_system_error("map", shown, error);
        }
        made->bytes = address;
        made->size = size;
    }
    *mapping = made;
    return WEFT_OK;
}

weft_status wefti_mapping_open(int folder, const char *path, int flags,
                               const char *shown, wefti_mapping **mapping,
                               weft_error *error)
{
    /* O_NONBLOCK: a pipe must not hold us up before it is seen to be one. */
    int file = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);
    if (file < 0) {
        return wefti_system_error("open", shown, error);
    }
    weft_status status = map_open_file(file, shown, mapping, error);
    close(file);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/npy.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/fork.h"
#include "base/memory.h"
#include "formats/mapping.h"
#include "formats/npy/header.h"

static weft_status check_bools(const uint8_t *bytes, size_t size, weft_error *error)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] > 1) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "the bool at index %zu has the value %d; only 0 and 1 "
                               "are allowed",
                               i, (int)bytes[i]);
        }
    }
    return WEFT_OK;
}

static weft_status parse(const uint8_t *bytes, size_t size, weft_tensor *tensor,
                         weft_error *error)
{
    weft_tensor made = {0};
    size_t offset = 0;
    WEFTI_TRY(wefti_npy_read_header(bytes, size, &made, &offset, error));
    if (weft_tensor_measure(&made, NULL, &made.size_bytes, error) != WEFT_OK) {
        return wefti_error_prefix(error, WEFT_INVALID_MODEL, "the .npy header");
    }
    if (made.size_bytes != size - offset) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "type and shape need %zu bytes of data, the file has %zu",
                           made.size_bytes, size - offset);
    }
    if (made.type == WEFT_TYPE_BOOL) {
        WEFTI_TRY(check_bools(bytes + offset, made.size_bytes, error));
    }
    made.data = wefti_malloc_aligned(made.size_bytes);
    if (!made.data) {
        return wefti_error_memory(error, "an array");
    }
    if (made.size_bytes > 0) {
        memcpy(made.data, bytes + offset, made.size_bytes);
    }
    *tensor = made;
    return WEFT_OK;
}

static weft_status check_arguments(const void *source, weft_tensor *tensor,
                                   weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!tensor) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "tensor is NULL");
    }
    *tensor = (weft_tensor){0};
    if (!source) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the path or bytes are NULL");
    }
    return WEFT_OK;
}

weft_status weft_npy_parse(const void *bytes, size_t size, weft_tensor *tensor,
                           weft_error *error)
{
    WEFTI_TRY(check_arguments(bytes, tensor, error));
    return parse(bytes, size, tensor, error);
}

weft_status weft_npy_load(const char *path, weft_tensor *tensor, weft_error *error)
{
    WEFTI_TRY(check_arguments(path, tensor, error));
    wefti_mapping *mapping = NULL;
    WEFTI_TRY(wefti_mapping_open(AT_FDCWD, path, 0, path, &mapping, error));
    weft_status status = parse(mapping->bytes, mapping->size, tensor, error);
    wefti_mapping_release(mapping);
    return status == WEFT_OK ? WEFT_OK
                             : wefti_error_prefix(error, status, "'%.200s'", path);
}

void weft_npy_free(weft_tensor *tensor)
{
    if (tensor) {
        wefti_free(tensor->data);
        *tensor = (weft_tensor){0};
    }
}

/* True when the strides say dense row-major, in either way. */
static bool is_dense(const weft_tensor *tensor)
{
    bool all_zero = true, dense = true;
    int64_t stride = 1;
    for (int32_t i = tensor->rank; i-- > 0;) {
        all_zero = all_zero && tensor->strides[i] == 0;
        dense = dense && (tensor->strides[i] == stride || tensor->dims[i] <= 1);
        stride *= tensor->dims[i];
    }
    return all_zero || dense;
}

static bool write_all(int file, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, bytes, size);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        if (written > 0) {
            bytes += written;
            size -= (size_t)written;
        }
    }
    return true;
}

/* A name beside `path` that no other save uses. */
static char *temporary_name(const char *path)
{
    static wefti_atomic_u32 number;
    size_t size = strlen(path) + 40;
    char *name = wefti_malloc(size);
    if (name) {
        snprintf(name, size, "%s.%ld-%u.tmp", path, (long)getpid(),
                 (unsigned)wefti_atomic_u32_add_relaxed(&number, 1));
    }
    return name;
}

/* A file that is replaced passes its mode on. */
static int open_temporary(const char *path, const char *temporary)
{
    struct stat old;
    int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0 && stat(path, &old) == 0) {
        (void)fchmod(file, old.st_mode & 07777);
    }
    return file;
}

/* Writes the whole into a new file and gives it its name at the end. */
static weft_status save(const char *path, const char *temporary, const char *header,
                        size_t header_size, const weft_tensor *tensor,
                        weft_error *error)
{
    int file = open_temporary(path, temporary);
    if (file < 0) {
        return wefti_system_error("write", path, error);
    }
    bool written = write_all(file, header, header_size) &&
                   write_all(file, tensor->data, tensor->size_bytes);
    weft_status status = written ? WEFT_OK : wefti_system_error("write", path, error);
    if (close(file) != 0 && status == WEFT_OK) {
        status = wefti_system_error("write", path, error);
    }
    if (status == WEFT_OK && rename(temporary, path) != 0) {
        status = wefti_system_error("replace", path, error);
    }
    if (status != WEFT_OK) {
        unlink(temporary);
    }
    return status;
}

/* Where the file stands that `path` leads to by symbolic links; `real` has PATH_MAX
 * bytes. A file that is not there yet stands at `path`. */
static weft_status find_target(const char *path, char *real, weft_error *error)
{
    struct stat info;
    if (!realpath(path, real)) {
        if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
            return wefti_error(error, WEFT_IO_ERROR,
                               "'%.200s' is a symbolic link that leads to no file",
                               path);
        }
        if (strlen(path) >= PATH_MAX) {
            errno = ENAMETOOLONG;
            return wefti_system_error("write", path, error);
        }
        strcpy(real, path);
        return WEFT_OK;
    }
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        return wefti_error(error, WEFT_IO_ERROR,
                           "'%.200s' is not a regular file; it is not replaced", path);
    }
    return WEFT_OK;
}

weft_status weft_npy_save(const char *path, const weft_tensor *tensor,
                          weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!path || !tensor) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "path or tensor is NULL");
    }
    weft_tensor dense = *tensor;
    char header[WEFTI_NPY_HEADER_MAX];
    size_t header_size = 0;
    WEFTI_TRY(weft_tensor_measure(&dense, NULL, &dense.size_bytes, error));
    if (!is_dense(&dense) || (!dense.data && dense.size_bytes > 0)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the tensor for '%.200s' is not dense or has no data", path);
    }
    WEFTI_TRY(wefti_npy_write_header(&dense, header, &header_size, error));
    char real[PATH_MAX];
    WEFTI_TRY(find_target(path, real, error));
    char *temporary = temporary_name(real);
    if (!temporary) {
        return wefti_error_memory(error, "a file name");
    }
    weft_status status = save(real, temporary, header, header_size, &dense, error);
    wefti_free(temporary);
    return status;
}

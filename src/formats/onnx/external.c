/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/onnx/external.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

/* The system allows about 65,000 mappings. */
enum { MAX_FILES = 16384 };

/* Refuses what can be seen to leave the folder from the text alone. */
static weft_status check_location(const char *location, weft_error *error)
{
    if (!location || !*location) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "its external data has no location");
    }
    bool outside = location[0] == '/';
    for (const char *part = location; part && !outside;) {
        size_t length = strcspn(part, "/");
        outside = length == 2 && memcmp(part, "..", 2) == 0;
        part = part[length] ? part + length + 1 : NULL;
    }
    if (outside) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "its external data '%.120s' lies outside the model's "
                           "folder, which is refused",
                           location);
    }
    return WEFT_OK;
}

/* Opens `path` below the open folder one component at a time without following
 * links, and maps it. The path was resolved before; a link that appeared since then
 * makes this fail rather than leave the folder. */
static weft_status map_below(int folder, char *path, const char *shown,
                             wefti_mapping **mapping, weft_error *error)
{
    int at = folder;
    for (char *slash = strchr(path, '/'); slash; slash = strchr(path, '/')) {
        *slash = 0;
        int next = openat(at, path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (at != folder) {
            close(at);
        }
        if (next < 0) {
            return wefti_system_error("open the folder of", shown, error);
        }
        at = next;
        path = slash + 1;
    }
    weft_status status =
        wefti_mapping_open(at, path, O_NOFOLLOW, shown, mapping, error);
    if (at != folder) {
        close(at);
    }
    return status;
}

static weft_status map_location(const char *directory, const char *location,
                                wefti_mapping **mapping, weft_error *error)
{
    char shown[PATH_MAX], base[PATH_MAX], real[PATH_MAX];
    int length = snprintf(shown, sizeof shown, "%s/%s", directory, location);
    if (length < 0 || (size_t)length >= sizeof shown) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "the path of its external data '%.80s...' is too long",
                           location);
    }
    if (!realpath(directory, base)) {
        return wefti_system_error("find the folder", directory, error);
    }
    if (!realpath(shown, real)) {
        return wefti_system_error("find the external data", shown, error);
    }
    if (strcmp(real, base) == 0) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "its external data '%.120s' is the model's folder, not a "
                           "file in it",
                           location);
    }
    size_t prefix = strcmp(base, "/") == 0 ? 0 : strlen(base);
    if (strncmp(real, base, prefix) != 0 || real[prefix] != '/') {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "its external data '%.120s' leads outside the model's "
                           "folder through a symbolic link, which is refused",
                           location);
    }
    int folder = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return wefti_system_error("open the folder", base, error);
    }
    weft_status status = map_below(folder, real + prefix + 1, shown, mapping, error);
    close(folder);
    return status;
}

/* Finds the file among those mapped so far or maps it. The set owns *mapping. */
static weft_status find_file(wefti_onnx_files *files, const char *location,
                             wefti_mapping **mapping, weft_error *error)
{
    for (size_t i = files->count; i > 0; i--) {
        if (strcmp(files->files[i - 1].location, location) == 0) {
            *mapping = files->files[i - 1].mapping;
            return WEFT_OK;
        }
    }
    if (files->count >= MAX_FILES) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "the model has more than %d files of external data; save "
                           "it with all weights in one file",
                           (int)MAX_FILES);
    }
    wefti_onnx_file *grown =
        wefti_grow(files->files, files->count, &files->capacity, sizeof *grown);
    if (!grown) {
        return wefti_error_memory(error, "the list of external files");
    }
    files->files = grown;
    WEFTI_TRY(map_location(files->directory, location, mapping, error));
    files->files[files->count++] = (wefti_onnx_file){location, *mapping};
    return WEFT_OK;
}

void wefti_onnx_files_fini(wefti_onnx_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        wefti_mapping_release(files->files[i].mapping);
    }
    wefti_free(files->files);
    *files = (wefti_onnx_files){0};
}

/* A decimal number without sign or blanks that fits. */
static bool read_number(const char *text, uint64_t *value)
{
    *value = 0;
    for (const char *at = text; *at; at++) {
        if (*at < '0' || *at > '9' || WEFTI_MUL_OVERFLOWS(*value, 10u, value) ||
            WEFTI_ADD_OVERFLOWS(*value, (uint64_t)(*at - '0'), value)) {
            return false;
        }
    }
    return *text != 0;
}

/* What the entries of a tensor's external data say. */
typedef struct entries {
    const char *location, *offset, *length;
} entries;

static weft_status read_entries(const Onnx__TensorProto *tensor, entries *found,
                                weft_error *error)
{
    *found = (entries){0};
    for (size_t i = 0; i < tensor->n_external_data; i++) {
        const char *key = tensor->external_data[i]->key;
        const char *value = tensor->external_data[i]->value;
        const char **place = !key                           ? NULL
                             : strcmp(key, "location") == 0 ? &found->location
                             : strcmp(key, "offset") == 0   ? &found->offset
                             : strcmp(key, "length") == 0   ? &found->length
                                                            : NULL;
        if (!place) {
            continue; /* a checksum, or what later versions add */
        }
        if (*place || !value) {
            return wefti_error(error, WEFT_INVALID_MODEL,
                               "its external data names '%.20s' twice or without a "
                               "value",
                               key);
        }
        *place = value;
    }
    return WEFT_OK;
}

weft_status wefti_onnx_find_external(wefti_onnx_files *files,
                                     const Onnx__TensorProto *tensor, size_t size_bytes,
                                     wefti_onnx_extent *extent, weft_error *error)
{
    entries found;
    uint64_t offset = 0, length = size_bytes, end = 0;
    WEFTI_TRY(read_entries(tensor, &found, error));
    if ((found.offset && !read_number(found.offset, &offset)) ||
        (found.length && !read_number(found.length, &length))) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "the offset or length of its external data is not a number");
    }
    if (length != size_bytes) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "its external data has %llu bytes, its type and shape need "
                           "%zu",
                           (unsigned long long)length, size_bytes);
    }
    WEFTI_TRY(check_location(found.location, error));
    if (!files->directory) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "its data is in the external file '%.120s'; set "
                           "data_directory to the folder of that file",
                           found.location);
    }
    wefti_mapping *mapping = NULL;
    WEFTI_TRY(find_file(files, found.location, &mapping, error));
    if (WEFTI_ADD_OVERFLOWS(offset, length, &end) || end > mapping->size) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "its external data, %llu bytes from byte %llu on, goes "
                           "beyond the end of '%.120s' (%zu bytes)",
                           (unsigned long long)length, (unsigned long long)offset,
                           found.location, mapping->size);
    }
    wefti_refcount_retain(&mapping->owners);
    *extent = (wefti_onnx_extent){mapping, (size_t)offset, size_bytes};
    return WEFT_OK;
}

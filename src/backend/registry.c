/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The backends of this build, in the order of weft_backend_name. */
static const wefti_backend *const backends[] = {
    &wefti_backend_cpu,
    &wefti_backend_cuda,
    &wefti_backend_null,
};

/* A slot of the tables: its name and where it stands in wefti_backend. */
typedef struct slot {
    const char *name;
    size_t offset;
    bool has_default;
} slot;

#define SLOT(table, function)                                                          \
    {                                                                                  \
        .name = #table "." #function,                                                  \
        .offset = offsetof(wefti_backend, table.function)                              \
    }
#define SLOT_WITH_DEFAULT(table, function)                                             \
    {                                                                                  \
        .name = #table "." #function,                                                  \
        .offset = offsetof(wefti_backend, table.function), .has_default = true         \
    }
static const slot slots[] = {
    SLOT(device, open),
    SLOT_WITH_DEFAULT(device, count),
    SLOT(device, close),
    SLOT(device, get_info),
    SLOT(device, add_statistics),
    SLOT(device, post),
    SLOT(device, health),
    SLOT(memory, allocate),
    SLOT(memory, free),
    SLOT_WITH_DEFAULT(memory, check),
    SLOT(stream, create),
    SLOT(stream, destroy),
    SLOT(stream, execute),
    SLOT(stream, copy),
    SLOT(stream, fill),
    SLOT(stream, call),
    SLOT(stream, record),
    SLOT(stream, wait),
    SLOT(stream, synchronize),
    SLOT_WITH_DEFAULT(stream, settle),
    SLOT_WITH_DEFAULT(stream, abandon),
    SLOT(event, create),
    SLOT(event, retain),
    SLOT(event, release),
    SLOT(event, query),
    SLOT(event, signal),
    SLOT(event, wait),
    SLOT(event, time_ns),
    SLOT(recipe, create),
    SLOT(recipe, destroy),
    SLOT(recipe, workspace_bytes),
    SLOT_WITH_DEFAULT(recipe, row_bytes),
    SLOT_WITH_DEFAULT(recipe, work_ns),
    SLOT(recipe, describe),
};
#undef SLOT
#undef SLOT_WITH_DEFAULT

/* Every slot has its line above: the tables hold nothing but functions. */
_Static_assert(sizeof(wefti_backend) - offsetof(wefti_backend, device) ==
                   WEFTI_COUNT_OF(slots) * sizeof(void (*)(void)),
               "a slot of wefti_backend is not checked");

weft_status wefti_backend_check(const wefti_backend *backend, weft_error *error)
{
    for (size_t i = 0; i < WEFTI_COUNT_OF(slots); i++) {
        void (*function)(void);
        memcpy(&function, (const char *)backend + slots[i].offset, sizeof(function));
        if (function == NULL && !slots[i].has_default) {
            return wefti_error(error, WEFT_INTERNAL,
                               "the backend '%s' does not fill the slot %s",
                               backend->name, slots[i].name);
        }
    }
    return WEFT_OK;
}

static weft_status unknown_device(const char *device_name, weft_error *error)
{
    char names[128] = "";
    size_t length = 0;
    for (size_t i = 0; i < WEFTI_COUNT_OF(backends) && length < sizeof(names); i++) {
        int wrote = snprintf(names + length, sizeof(names) - length, "%s%s",
                             i == 0 ? "" : ", ", backends[i]->name);
        length += wrote > 0 ? (size_t)wrote : 0;
    }
    return wefti_error(
        error, WEFT_NOT_FOUND, "there is no device named '%.64s'; this build has: %s%s",
        device_name, names,
        strstr(device_name, "cuda") != NULL ? "; several cards: cuda:0,1 or cuda:all"
                                            : "");
}

/* Reads a number and what follows it: a comma, of which there is another one, or the
 * end. */
static bool parse_number(const char **text, int32_t *number, bool *more)
{
    if (**text < '0' || **text > '9') {
        return false;
    }
    char *end;
    errno = 0;
    long value = strtol(*text, &end, 10);
    *more = *end == ',';
    if ((*end != '\0' && !*more) || errno != 0 || value > INT32_MAX) {
        return false;
    }
    *number = (int32_t)value;
    *text = *more ? end + 1 : end;
    return true;
}

/* Reads what follows the name: nothing, or a colon and numbers or "all". */
static bool parse_cards(const char *text, wefti_card_list *cards)
{
    *cards = (wefti_card_list){.count = 1, .indices = {-1}};
    if (text[0] == '\0') {
        return true;
    }
    if (text[0] != ':') {
        return false;
    }
    text++;
    if (strcmp(text, "all") == 0) {
        *cards = (wefti_card_list){.all = true};
        return true;
    }
    cards->count = 0;
    bool more = true;
    while (more && cards->count < WEFTI_MOST_CARDS) {
        if (!parse_number(&text, &cards->indices[cards->count], &more)) {
            return false;
        }
        cards->count++;
    }
    return !more;
}

static weft_status check_cards(const char *device_name, const wefti_card_list *cards,
                               weft_error *error)
{
    for (int32_t i = 0; i < cards->count; i++) {
        for (int32_t k = 0; k < i; k++) {
            if (cards->indices[k] == cards->indices[i]) {
                return wefti_error(error, WEFT_INVALID_ARGUMENT,
                                   "'%.64s' names card %d twice; name each once",
                                   device_name, (int)cards->indices[i]);
            }
        }
    }
    return WEFT_OK;
}

weft_status wefti_backend_find_cards(const char *device_name,
                                     const wefti_backend **backend,
                                     wefti_card_list *cards, weft_error *error)
{
    *backend = NULL;
    if (device_name == NULL) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the device's name is NULL; use \"cpu\"");
    }
    for (size_t i = 0; i < WEFTI_COUNT_OF(backends); i++) {
        size_t length = strlen(backends[i]->name);
        if (strncmp(device_name, backends[i]->name, length) != 0 ||
            !parse_cards(device_name + length, cards)) {
            continue;
        }
        WEFTI_TRY(wefti_backend_check(backends[i], error));
        WEFTI_TRY(check_cards(device_name, cards, error));
        *backend = backends[i];
        return WEFT_OK;
    }
    return unknown_device(device_name, error);
}

weft_status wefti_backend_find(const char *device_name, const wefti_backend **backend,
                               int32_t *index, weft_error *error)
{
    wefti_card_list cards;
    WEFTI_TRY(wefti_backend_find_cards(device_name, backend, &cards, error));
    if (cards.count != 1) {
        *backend = NULL;
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "'%.64s' is several cards; name one", device_name);
    }
    *index = cards.indices[0];
    return WEFT_OK;
}

const char *weft_precision_name(weft_precision precision)
{
    static const char *const names[WEFT_PRECISION_COUNT] = {
        [WEFT_PRECISION_F32] = "f32",
        [WEFT_PRECISION_TF32] = "tf32",
        [WEFT_PRECISION_BF16] = "bf16",
        [WEFT_PRECISION_F16] = "f16",
    };
    return (uint32_t)precision < WEFT_PRECISION_COUNT ? names[precision] : NULL;
}

const char *weft_backend_name(size_t index)
{
    return index < WEFTI_COUNT_OF(backends) ? backends[index]->name : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cards.h"

#include <stdio.h>
#include <string.h>

#include "base/thread.h"

enum { LEAST_CONTEXTS_OF_A_CARD = 8 };

/* The threads of one card: they share what the caller asks for. */
static int32_t share_workers(int32_t wanted, int32_t card_count)
{
    const int32_t all = wanted < 0 ? wefti_core_count() : wanted;
    return card_count == 1 ? wanted : (all + card_count - 1) / card_count;
}

/* As many as the cards would have each, as far as there are cores to run them. */
static int32_t share_contexts(const weft_device_info *info)
{
    const int32_t least = info->card_count * LEAST_CONTEXTS_OF_A_CARD;
    const int32_t most = info->card_count * info->max_contexts;
    if (info->max_contexts == 0) {
        return 0; /* the backend has no wish of its own */
    }
    return info->core_count < least
               ? least
               : (info->core_count < most ? info->core_count : most);
}

/* Bits may differ between kinds: then a request's would depend on where it ran. */
static weft_status check_kind(weft_device *device, int32_t card, int32_t index,
                              weft_error *error)
{
    weft_device_info info = {0};
    device->backend->device.get_info(device->cards[card], &info);
    if (card == 0) {
        device->info = info;
        return WEFT_OK;
    }
    device->info.worker_count += info.worker_count;
    if (strcmp(info.kind, device->info.kind) == 0) {
        return WEFT_OK;
    }
    return wefti_error(
        error, WEFT_INVALID_ARGUMENT,
        "the cards of one device must be of one kind; of %s the first is "
        "'%s', but %s:%d is '%s'; open them as two devices",
        device->name, device->info.kind, device->backend->name, (int)index, info.kind);
}

static weft_status open_card(weft_device *device, int32_t index,
                             const weft_device_params *params, weft_error *error)
{
    const int32_t card = device->info.card_count;
    WEFTI_TRY(device->backend->device.open(index, params, &device->log,
                                           &device->cards[card], error));
    WEFTI_TRY(check_kind(device, card, index, error));
    device->info.card_count = card + 1;
    return WEFT_OK;
}

static weft_status list_all(const weft_device *device, wefti_card_list *list,
                            weft_error *error)
{
    int32_t count = 1;
    if (device->backend->device.count) {
        WEFTI_TRY(device->backend->device.count(&count, error));
    }
    list->count = count < WEFTI_MOST_CARDS ? count : WEFTI_MOST_CARDS;
    for (int32_t i = 0; i < list->count; i++) {
        list->indices[i] = i;
    }
    return WEFT_OK;
}

weft_status wefti_cards_open(weft_device *device, const wefti_card_list *list,
                             const weft_device_params *params, weft_error *error)
{
    weft_device_params of_card = *params;
    wefti_card_list cards = *list;
    if (list->all) {
        WEFTI_TRY(list_all(device, &cards, error));
    }
    of_card.worker_count = share_workers(params->worker_count, cards.count);
    for (int32_t i = 0; i < cards.count; i++) {
        WEFTI_TRY(open_card(device, cards.indices[i], &of_card, error));
    }
    weft_device_info *info = &device->info;
    info->name = device->name;
    if (info->card_count > 1) {
        (void)snprintf(device->description, sizeof(device->description), "%d x %s",
                       (int)info->card_count, info->description);
        info->description = device->description;
        info->max_contexts = share_contexts(info);
    }
    return WEFT_OK;
}

void wefti_cards_close(weft_device *device)
{
    for (int32_t i = 0; i < WEFTI_MOST_CARDS; i++) {
        device->backend->device.close(device->cards[i]);
    }
}

void wefti_cards_add_statistics(const weft_device *device,
                                weft_device_statistics *statistics)
{
    for (int32_t i = 0; i < device->info.card_count; i++) {
        device->backend->device.add_statistics(device->cards[i], statistics);
    }
}

weft_status wefti_device_health(const weft_device *device, weft_error *error)
{
    for (int32_t i = 0; i < device->info.card_count; i++) {
        WEFTI_TRY(device->backend->device.health(device->cards[i], error));
    }
    return WEFT_OK;
}

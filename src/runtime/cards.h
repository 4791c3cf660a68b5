/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_RUNTIME_CARDS_H
#define WEFTI_RUNTIME_CARDS_H

#include "runtime/device.h"

/* A device is one card of its backend, or several of one kind ("cuda:0,1"). The backend
 * knows nothing of that: each card is a device of its own to it, with its own streams,
 * memory, weights and recipes; what belongs together has the same number of a card. A
 * context belongs to the card slot % card_count, so whatever leases contexts spreads
 * over them (wefti_lease_pool_spread), and a run never leaves its context's card. */

/* Opens the cards and fills device->cards and device->info, all but max_contexts as the
 * caller wants it and the cap. On failure what was opened stays for wefti_cards_close.
 * Errors: those of the backend; WEFT_INVALID_ARGUMENT names two that differ. */
weft_status wefti_cards_open(weft_device *device, const wefti_card_list *list,
                             const weft_device_params *params, weft_error *error);

/* Ends their workers. Half-open devices too. */
void wefti_cards_close(weft_device *device);

void wefti_cards_add_statistics(const weft_device *device,
                                weft_device_statistics *statistics);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/account.h"

void wefti_account_init(wefti_account *account, size_t cap_bytes)
{
    account->cap_bytes = cap_bytes;
    wefti_atomic_u64_init(&account->held_bytes, 0);
}

weft_status wefti_account_take(wefti_account *account, size_t size_bytes,
                               const char *what, weft_error *error)
{
    if (account == NULL) {
        return WEFT_OK;
    }
    const uint64_t cap = account->cap_bytes;
    uint64_t held = wefti_atomic_u64_load_acquire(&account->held_bytes);
    do {
        if (size_bytes > cap - held) {
            return wefti_error(error, WEFT_OUT_OF_MEMORY,
                               "%zu bytes for %s do not fit under the model's memory "
                               "cap, %llu bytes, of which %llu are taken; run less at "
                               "once or raise memory_cap_bytes",
                               size_bytes, what, (unsigned long long)cap,
                               (unsigned long long)held);
        }
    } while (
        !wefti_atomic_u64_cas_acq_rel(&account->held_bytes, &held, held + size_bytes));
    return WEFT_OK;
}

void wefti_account_give(wefti_account *account, size_t size_bytes)
{
    if (account != NULL) {
        (void)wefti_atomic_u64_sub_acq_rel(&account->held_bytes, size_bytes);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#if defined(WEFT_TESTING)

#include <stdatomic.h>

#include "base/schedule.h"

/* Plain C11 atomics: these are no steps of the library, where a scheduler would have to
 * choose. */

/* atomic: the test -> all threads */
static _Atomic uint64_t fault_target;
static _Atomic uint32_t fault_sites;
static _Atomic uint32_t sabotage;
/* atomic: all threads -> the test */
static _Atomic uint64_t fault_uses;

void (*wefti_schedule_hook)(void);
int64_t (*wefti_clock_hook)(void);
int32_t wefti_pretended_cores;
const wefti_scheduler *wefti_scheduler_in_charge;

bool wefti_fault_here(wefti_fault_site site)
{
    if (!(atomic_load_explicit(&fault_sites, memory_order_acquire) & (1u << site))) {
        return false;
    }
    uint64_t use = atomic_fetch_add(&fault_uses, 1) + 1;
    return use == atomic_load_explicit(&fault_target, memory_order_acquire);
}

uint64_t wefti_fault_arm(uint64_t n, uint32_t site_mask)
{
    atomic_store_explicit(&fault_sites, 0, memory_order_release);
    uint64_t uses = atomic_exchange(&fault_uses, 0);
    atomic_store_explicit(&fault_target, n, memory_order_release);
    if (n != 0) {
        atomic_store_explicit(&fault_sites, site_mask, memory_order_release);
    }
    return uses;
}

bool wefti_sabotaged(wefti_sabotage what)
{
    return atomic_load_explicit(&sabotage, memory_order_acquire) == (uint32_t)what;
}

void wefti_sabotage_set(wefti_sabotage what)
{
    atomic_store_explicit(&sabotage, (uint32_t)what, memory_order_release);
}

#endif

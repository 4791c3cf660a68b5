/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#if defined(WEFT_TESTING)

#include "base/atomic.h"
#include "base/schedule.h"

/* atomic: the test -> all threads */
static wefti_atomic_u64 fault_target;
static wefti_atomic_u32 fault_sites;
static wefti_atomic_u32 sabotage;
/* atomic: all threads -> the test */
static wefti_atomic_u64 fault_uses;

void (*wefti_schedule_hook)(void);
int64_t (*wefti_clock_hook)(void);
const wefti_scheduler *wefti_scheduler_in_charge;

bool wefti_fault_here(wefti_fault_site site)
{
    if (!(wefti_atomic_u32_load_acquire(&fault_sites) & (1u << site))) {
        return false;
    }
    uint64_t use = wefti_atomic_u64_add_acq_rel(&fault_uses, 1) + 1;
    return use == wefti_atomic_u64_load_acquire(&fault_target);
}

uint64_t wefti_fault_arm(uint64_t n, uint32_t site_mask)
{
    wefti_atomic_u32_store_release(&fault_sites, 0);
    uint64_t uses = wefti_atomic_u64_exchange_acq_rel(&fault_uses, 0);
    wefti_atomic_u64_store_release(&fault_target, n);
    if (n != 0) {
        wefti_atomic_u32_store_release(&fault_sites, site_mask);
    }
    return uses;
}

bool wefti_sabotaged(wefti_sabotage what)
{
    return wefti_atomic_u32_load_acquire(&sabotage) == (uint32_t)what;
}

void wefti_sabotage_set(wefti_sabotage what)
{
    wefti_atomic_u32_store_release(&sabotage, (uint32_t)what);
}

#endif

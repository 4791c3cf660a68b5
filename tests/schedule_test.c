/* SPDX-License-Identifier: Apache-2.0 */
/* Explores every scenario of tests/schedule/ by three strategies, with the same seeds
 * each time; `make explore` goes on with others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schedule/scenario.h"
#include "support/crew.h"

enum { RANDOM_COUNT = 10000, ALL_COUNT = 20000, MOST_SCENARIOS = 64 };

static uint64_t total;

static void explore_scenario(void **state)
{
    const scenario *s = *state;
    uint32_t divisor = crew_divisor() * (s->divisor ? s->divisor : 1);
    explore_effort effort = {.first_seed = 1, .count = RANDOM_COUNT / divisor};
    explore_result random = {0}, pct = {0}, all = {0};
    explore_random(&s->what, &effort, &random);
    explore_pct(&s->what, &effort, &pct);
    effort.count = s->preemptions > 0 ? ALL_COUNT / crew_divisor() : 0;
    effort.preemptions = s->preemptions;
    if (effort.count > 0) {
        explore_all(&s->what, &effort, &all);
    }
    uint64_t schedules = random.schedules + pct.schedules + all.schedules;
    print_message("%s: %llu schedules, %llu in order%s\n", s->what.name,
                  (unsigned long long)schedules, (unsigned long long)all.schedules,
                  all.complete ? ", all within the bound" : "");
    const explore_result *results[] = {&random, &pct, &all};
    for (size_t i = 0; i < 3; i++) {
        if (results[i]->bad > 0) {
            fail_msg("%llu schedules went wrong, %llu of them stuck; look at one with\n"
                     "    tests/explore --replay %s %s",
                     (unsigned long long)results[i]->bad,
                     (unsigned long long)results[i]->stuck, s->what.name,
                     results[i]->first_bad);
        }
    }
    total += schedules;
}

static void count_schedules(void **state)
{
    (void)state;
    print_message("%llu schedules\n", (unsigned long long)total);
    assert_true(total >= 100000 / crew_divisor());
}

int main(void)
{
    static struct CMUnitTest tests[MOST_SCENARIOS + 1];
    size_t count = 0;
    for (const scenario *s; (s = scenario_at(count)) && count < MOST_SCENARIOS;) {
        tests[count++] = (struct CMUnitTest){.name = s->what.name,
                                             .test_func = explore_scenario,
                                             .initial_state = (void *)(uintptr_t)s};
    }
    tests[count++] =
        (struct CMUnitTest){.name = "schedules", .test_func = count_schedules};
    return _cmocka_run_group_tests("schedules", tests, count, NULL, NULL);
}

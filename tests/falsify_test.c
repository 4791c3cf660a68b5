/* SPDX-License-Identifier: Apache-2.0 */
/* Every guard of the protocols is switched off in turn; each scenario that claims to
 * notice must find schedules that go wrong. Prints the table of docs/concurrency.md and
 * fails when that one differs. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "schedule/scenario.h"

enum {
    MOST_SCHEDULES = 20000,
    PATIENCE_S = 60,
    ROW_BYTES = 512,
    CAUGHT = 10,
    ONCE_ONLY
};

/* What stands in the first two columns of the table. */
static const struct {
    wefti_sabotage guard;
    const char *what;
} guards[] = {
    {WEFTI_SABOTAGE_LEASE_TWICE, "the lease flag: a context in use is not leased"},
    {WEFTI_SABOTAGE_WAKE_NEXT, "a freed context is given to the next who waits"},
    {WEFTI_SABOTAGE_HOLD_WAKE, "who holds a context wakes those who would share it"},
    {WEFTI_SABOTAGE_TURN_WAKE, "who leaves a shared context wakes the next in turn"},
    {WEFTI_SABOTAGE_WAKE_ON_CLOSE, "close wakes who waits for a context, or for room"},
    {WEFTI_SABOTAGE_FREE_WAIT, "memory waits for all streams that touched it"},
    {WEFTI_SABOTAGE_ROOM_WAKE, "who waits for evicted memory is woken"},
    {WEFTI_SABOTAGE_POINT_WISH, "who leaves a stream records the points wanted"},
    {WEFTI_SABOTAGE_EXACTLY_ONCE, "a request ends by one transition"},
    {WEFTI_SABOTAGE_TIMER_WAKE, "a nearer deadline wakes the timer"},
    {WEFTI_SABOTAGE_DRAIN_WAKE, "the end of work wakes who drains"},
    {WEFTI_SABOTAGE_EVENT_WAKE, "raising an event wakes who waits for it"},
    {WEFTI_SABOTAGE_SETTLE_TWICE, "no stream is given up that another lets go on"},
    {WEFTI_SABOTAGE_SETTLE_DUE, "nor one whose event has come"},
    {WEFTI_SABOTAGE_PLAN_DEDUPE, "who wants a plan that is being built waits for it"},
    {WEFTI_SABOTAGE_PLAN_WAKE, "the builder of a plan wakes those"},
    {WEFTI_SABOTAGE_END_WAKE, "the end of a request wakes those who wait for it"},
    {WEFTI_SABOTAGE_QUEUE_WORK, "submitting to a queue wakes a worker"},
    {WEFTI_SABOTAGE_QUEUE_ROOM, "room in a full queue wakes who waits for it"},
    {WEFTI_SABOTAGE_QUEUE_IDLE, "the last request to leave a queue wakes who drains"},
    {WEFTI_SABOTAGE_QUEUE_ONCE, "who cancels a running request ends it alone"},
    {WEFTI_SABOTAGE_QUEUE_KEEP, "who cancels a request keeps it for who runs it"},
    {WEFTI_SABOTAGE_QUEUE_AGAIN, "who cancels what is given back looks again"},
    {WEFTI_SABOTAGE_QUEUE_DROPPED, "who cancels waits until its tensors are let go"},
    {WEFTI_SABOTAGE_QUEUE_ORDER, "one thread at a time announces a model's ends"},
    {WEFTI_SABOTAGE_QUEUE_LEFT, "who led a batch wakes a worker for what is left"},
    {WEFTI_SABOTAGE_QUEUE_WATCH, "a worker looks whether promises to wait are kept"},
    {WEFTI_SABOTAGE_QUEUE_POST, "who ends the attendance of posts looks once more"},
    {WEFTI_SABOTAGE_QUEUE_SHUT, "closing a queue empties all boxes of posts"},
    {WEFTI_SABOTAGE_QUEUE_FORGET, "who forgets a class takes in its posts before"},
    {WEFTI_SABOTAGE_TEAM_WAIT, "a step ends when all its tiles are done"},
};
enum { GUARD_COUNT = sizeof(guards) / sizeof(guards[0]) };

/* Whether a schedule that went wrong does so again, by what is printed of it. */
static bool is_replayed(const scenario *s, const char *token)
{
    return freopen("/dev/null", "w", stderr) != NULL && /* each step is shown there */
           !explore_replay(&s->what, token);
}

/* Explores until something goes wrong. In a process of its own, for a library without
 * its guards may crash. */
static _Noreturn void explore_without(const scenario *s, wefti_sabotage guard)
{
    explore_effort effort = {.first_seed = 1,
                             .count = MOST_SCHEDULES,
                             .preemptions = s->preemptions,
                             .enough_bad = 1};
    explore_result result = {0};
    alarm(PATIENCE_S);
    (void)signal(SIGSEGV, SIG_DFL); /* the test's own handler would go on here */
    wefti_sabotage_set(guard);
    explore_random(&s->what, &effort, &result);
    explore_pct(&s->what, &effort, &result);
    if (s->preemptions > 0) {
        explore_all(&s->what, &effort, &result);
    }
    if (result.bad > 0) {
        printf("    without %s, after %llu schedules%s: explore --without %s --replay "
               "%s %s\n",
               scenario_guard_name(guard), (unsigned long long)result.schedules,
               result.stuck ? " one is stuck" : "", scenario_guard_name(guard),
               s->what.name, result.first_bad);
        fflush(stdout);
    }
    _exit(result.bad == 0 ? 0 : is_replayed(s, result.first_bad) ? CAUGHT : ONCE_ONLY);
}

static bool is_caught(const scenario *s, wefti_sabotage guard)
{
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        explore_without(s, guard);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        print_message("    without %s %s ends by signal %d\n",
                      scenario_guard_name(guard), s->what.name, WTERMSIG(status));
        return WTERMSIG(status) != SIGALRM;
    }
    if (WEXITSTATUS(status) == ONCE_ONLY) {
        fail_msg("without %s the schedule of %s does not go wrong when it is replayed",
                 scenario_guard_name(guard), s->what.name);
    }
    return WEXITSTATUS(status) != 0; /* a sanitizer may have ended it */
}

static bool claims(const scenario *s, wefti_sabotage guard)
{
    bool found = false;
    for (int i = 0; i < SCENARIO_MOST_GUARDS; i++) {
        found = found || s->guards[i] == guard;
    }
    return found;
}

static void test_each_guard_is_missed(void **state)
{
    (void)state;
    for (int g = 0; g < GUARD_COUNT; g++) {
        uint32_t claimed = 0;
        for (size_t i = 0; scenario_at(i); i++) {
            const scenario *s = scenario_at(i);
            if (!claims(s, guards[g].guard)) {
                continue;
            }
            claimed++;
            if (!is_caught(s, guards[g].guard)) {
                fail_msg("without %s nothing goes wrong in %s",
                         scenario_guard_name(guards[g].guard), s->what.name);
            }
        }
        if (claimed == 0) {
            fail_msg("no scenario misses %s", scenario_guard_name(guards[g].guard));
        }
    }
}

static void write_row(char *row, int g)
{
    size_t used =
        (size_t)snprintf(row, ROW_BYTES, "| `%s` | %s |",
                         scenario_guard_name(guards[g].guard), guards[g].what);
    const char *comma = "";
    for (size_t i = 0; scenario_at(i) && used < ROW_BYTES; i++) {
        if (claims(scenario_at(i), guards[g].guard)) {
            used += (size_t)snprintf(row + used, ROW_BYTES - used, "%s `%s`", comma,
                                     scenario_at(i)->what.name);
            comma = ",";
        }
    }
    if (used < ROW_BYTES) {
        snprintf(row + used, ROW_BYTES - used, " |\n");
    }
}

static void test_the_table_is_kept(void **state)
{
    (void)state;
    static char page[1 << 17];
    FILE *file = fopen(WEFT_SOURCE_DIR "/docs/concurrency.md", "r");
    assert_non_null(file);
    size_t bytes = fread(page, 1, sizeof page - 1, file);
    fclose(file);
    page[bytes] = '\0';
    char row[ROW_BYTES];
    int missing = 0;
    for (int g = 0; g < GUARD_COUNT; g++) {
        write_row(row, g);
        print_message("%s", row);
        missing += strstr(page, row) == NULL;
    }
    if (missing > 0) {
        fail_msg("%d rows above are not in docs/concurrency.md as they stand here",
                 missing);
    }
}

/* A guard without a row here is one that another test looks after. */
static void test_no_guard_is_forgotten(void **state)
{
    (void)state;
    static const wefti_sabotage elsewhere[] = {
        WEFTI_SABOTAGE_NONE, WEFTI_SABOTAGE_REUSE_EARLY, WEFTI_SABOTAGE_SWAP_OUTPUTS,
        WEFTI_SABOTAGE_SUM_ORDER, /* known_bad_test */
        WEFTI_SABOTAGE_PLAN_EVICT /* graph_plan_cache_test */};
    int known = (int)(sizeof elsewhere / sizeof elsewhere[0]) + GUARD_COUNT;
    assert_int_equal(known, WEFTI_SABOTAGE_COUNT);
    for (int g = 0; g < WEFTI_SABOTAGE_COUNT; g++) {
        assert_non_null(scenario_guard_name((wefti_sabotage)g));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_guard_is_missed),
        cmocka_unit_test(test_the_table_is_kept),
        cmocka_unit_test(test_no_guard_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

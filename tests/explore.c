/* SPDX-License-Identifier: Apache-2.0 */
/* Explores the scenarios of tests/schedule/ for as long as one likes, replays single
 * schedules and shows their steps. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "schedule/scenario.h"

static const char usage[] =
    "usage: explore [--count N] [--seed N] [--jobs N] [--only SCENARIO]\n"
    "       explore [--without GUARD] --replay SCENARIO SCHEDULE\n"
    "       explore --list\n";

enum { MOST_SCENARIOS = 64, MOST_JOBS = 256, CHUNK = 10000, LOOK_US = 200000 };

typedef enum strategy { BY_ORDER, BY_WALK, BY_PRIORITY, STRATEGIES } strategy;

/* What the jobs, which are processes, have done so far. */
typedef struct row {
    _Atomic uint64_t schedules[STRATEGIES], bad, stuck, work_ns;
    _Atomic uint32_t complete, told;
    char first_bad[EXPLORE_TOKEN_BYTES];
} row;
typedef struct board {
    _Atomic uint64_t next_piece, schedules;
    row rows[MOST_SCENARIOS];
} board;

typedef struct settings {
    uint64_t count, seed;
    uint32_t jobs;
    const scenario *only;
} settings;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static size_t count_scenarios(void)
{
    size_t count = 0;
    while (scenario_at(count)) {
        count++;
    }
    return count < MOST_SCENARIOS ? count : MOST_SCENARIOS;
}

static void explore_piece(const scenario *s, strategy how, explore_effort *effort,
                          row *r)
{
    explore_result result = {0};
    int64_t begin = now_ns();
    if (how == BY_ORDER) {
        explore_all(&s->what, effort, &result);
    } else if (how == BY_WALK) {
        explore_random(&s->what, effort, &result);
    } else {
        explore_pct(&s->what, effort, &result);
    }
    r->work_ns += (uint64_t)(now_ns() - begin);
    r->schedules[how] += result.schedules;
    r->bad += result.bad;
    r->stuck += result.stuck;
    r->complete |= result.complete;
    if (result.bad > 0 && atomic_exchange(&r->told, 1) == 0) {
        memcpy(r->first_bad, result.first_bad, sizeof r->first_bad);
        fprintf(stderr, "%s went wrong; look at it with: explore --replay %s %s\n",
                s->what.name, s->what.name, result.first_bad);
    }
}

/* Pieces of work: first each scenario's schedules in order, one preemption more than
 * the tests; then chunks of seeds, by turns for all scenarios. */
static void work(const settings *set, board *b)
{
    size_t scenarios = count_scenarios();
    for (;;) {
        uint64_t piece = atomic_fetch_add(&b->next_piece, 1);
        size_t at = piece % scenarios;
        uint64_t round = piece / scenarios;
        const scenario *s = scenario_at(at);
        if (b->schedules >= set->count) {
            return;
        }
        if ((set->only && s != set->only) || (round == 0 && s->preemptions == 0)) {
            continue;
        }
        explore_effort effort = {.count = CHUNK,
                                 .first_seed = set->seed + round * CHUNK};
        strategy how = round % 2 == 1 ? BY_WALK : BY_PRIORITY;
        if (round == 0) {
            how = BY_ORDER;
            effort.count = set->count / scenarios / 4;
            effort.preemptions = s->preemptions + 1;
        }
        uint64_t before = b->rows[at].schedules[how];
        explore_piece(s, how, &effort, &b->rows[at]);
        b->schedules += b->rows[at].schedules[how] - before;
    }
}

static void show_table(const board *b, double seconds)
{
    uint64_t total = 0, bad = 0;
    printf("%-26s %12s %12s %12s %6s %6s %9s\n", "scenario", "all", "random", "pct",
           "bad", "stuck", "work");
    for (size_t i = 0; i < count_scenarios(); i++) {
        const row *r = &b->rows[i];
        printf("%-26s", scenario_at(i)->what.name);
        for (int how = 0; how < STRATEGIES; how++) {
            total += r->schedules[how];
            printf(" %11" PRIu64 "%s", r->schedules[how],
                   how == BY_ORDER && r->complete ? "*" : " ");
        }
        printf(" %6" PRIu64 " %6" PRIu64 " %7.1f s\n", r->bad, r->stuck,
               (double)r->work_ns * 1e-9);
        bad += r->bad;
    }
    printf("* every one within the bound of preemptions\n%" PRIu64
           " schedules, %" PRIu64 " bad, %.1f s\n",
           total, bad, seconds);
}

static int explore(const settings *set)
{
    board *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                    -1, 0);
    if (b == MAP_FAILED) {
        perror("explore");
        return 2;
    }
    printf("%" PRIu64 " schedules, seeds from %" PRIu64 ", %u jobs\n", set->count,
           set->seed, set->jobs);
    fflush(stdout);
    int64_t begin = now_ns();
    int64_t told = begin;
    for (uint32_t i = 0; i < set->jobs; i++) {
        if (fork() == 0) {
            work(set, b);
            _exit(0);
        }
    }
    int ended = 0, status = 0, lost = 0;
    while (ended < (int)set->jobs) {
        pid_t pid = waitpid(-1, &status, WNOHANG);
        ended += pid > 0;
        lost += pid > 0 && status != 0;
        if (now_ns() - told > INT64_C(10000000000)) {
            told = now_ns();
            printf("%6.0f s: %" PRIu64 " schedules\n", (double)(told - begin) * 1e-9,
                   b->schedules);
            fflush(stdout);
        }
        usleep(pid > 0 ? 0 : LOOK_US);
    }
    show_table(b, (double)(now_ns() - begin) * 1e-9);
    uint64_t bad = 0;
    for (size_t i = 0; i < count_scenarios(); i++) {
        bad += b->rows[i].bad;
    }
    if (lost > 0) {
        printf("%d jobs did not end well\n", lost);
    }
    return bad > 0 || lost > 0 ? 1 : 0;
}

static int list(void)
{
    for (size_t i = 0; scenario_at(i); i++) {
        const scenario *s = scenario_at(i);
        printf("%-26s", s->what.name);
        for (int g = 0; g < SCENARIO_MOST_GUARDS && s->guards[g]; g++) {
            printf(" %s", scenario_guard_name(s->guards[g]));
        }
        printf("\n");
    }
    return 0;
}

static wefti_sabotage find_guard(const char *name)
{
    for (int i = 0; scenario_guard_name((wefti_sabotage)i); i++) {
        if (strcmp(scenario_guard_name((wefti_sabotage)i), name) == 0) {
            return (wefti_sabotage)i;
        }
    }
    fprintf(stderr, "there is no guard %s\n", name);
    exit(2);
}

static const scenario *find_scenario(const char *name)
{
    const scenario *found = scenario_find(name);
    if (!found) {
        fprintf(stderr, "there is no scenario %s\n", name);
        exit(2);
    }
    return found;
}

int main(int argc, char **argv)
{
    settings set = {.count = 10000000,
                    .seed = (uint64_t)time(NULL) * 1000000,
                    .jobs = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN)};
    for (int i = 1; i < argc; i += 2) {
        const char *next = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--list") == 0) {
            return list();
        } else if (strcmp(argv[i], "--replay") == 0 && i + 2 < argc) {
            return explore_replay(&find_scenario(next)->what, argv[i + 2]) ? 0 : 1;
        } else if (strcmp(argv[i], "--without") == 0) {
            wefti_sabotage_set(find_guard(next));
        } else if (strcmp(argv[i], "--only") == 0) {
            set.only = find_scenario(next);
        } else if (strcmp(argv[i], "--count") == 0) {
            set.count = strtoull(next, NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0) {
            set.seed = strtoull(next, NULL, 10);
        } else if (strcmp(argv[i], "--jobs") == 0) {
            set.jobs = (uint32_t)strtoul(next, NULL, 10);
        } else {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (set.jobs < 1 || set.jobs > MOST_JOBS) {
        fputs("--jobs is 1 to 256\n", stderr);
        return 2;
    }
    return explore(&set);
}

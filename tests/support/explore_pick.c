/* SPDX-License-Identifier: Apache-2.0 */
#include "support/explore_pick.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/crew.h"

enum {
    MOST_DECISIONS = 1 << 16,
    MOST_CHANGES = 8,
    SIXTEENTHS = 16,
};

typedef enum strategy { BY_WALK, BY_PRIORITY, BY_ORDER } strategy;

/* What was picked at a point, of how many. */
typedef struct decision {
    uint16_t picked, count;
    bool costs; /* picking another than the first is a preemption */
} decision;

struct explore_picker {
    strategy strategy;
    uint64_t seed, random_state;
    uint64_t length; /* choices so far */

    /* by walk: chances in sixteenths */
    uint32_t leaves, lets_time_pass;

    /* by priority: the highest runs */
    uint32_t depth;
    uint64_t expected_length;
    int64_t priorities[EXPLORE_MOST_ACTORS + 1]; /* 0: not drawn yet */
    uint64_t changes[MOST_CHANGES];
    int64_t lowest;

    /* by order */
    decision decisions[MOST_DECISIONS];
    uint32_t decision_count, replay_count;
};

explore_picker *explore_picker_get(void)
{
    static explore_picker picker;
    return &picker;
}

static uint32_t draw(explore_picker *picker)
{
    return crew_random(&picker->random_state);
}

static void begin_seeded(explore_picker *picker, strategy how, uint64_t seed)
{
    picker->strategy = how;
    picker->seed = seed;
    picker->random_state = seed;
    picker->length = 0;
}

void explore_pick_by_walk(explore_picker *picker, uint64_t seed)
{
    static const uint8_t chances[] = {16, 8, 3, 1};
    begin_seeded(picker, BY_WALK, seed);
    picker->leaves = chances[draw(picker) % 4];
    picker->lets_time_pass = chances[draw(picker) % 4];
}

static uint32_t walk(explore_picker *picker, const explore_choice *choice)
{
    if (choice->goes_on && draw(picker) % SIXTEENTHS >= picker->leaves) {
        return 0;
    }
    uint32_t count = choice->count;
    if (choice->who[count - 1] == EXPLORE_TIME && count > 1 &&
        draw(picker) % SIXTEENTHS >= picker->lets_time_pass) {
        count--;
    }
    return draw(picker) % count;
}

void explore_pick_by_priority(explore_picker *picker, uint32_t depth, uint64_t length,
                              uint64_t seed)
{
    begin_seeded(picker, BY_PRIORITY, seed);
    picker->depth = depth;
    picker->expected_length = length;
    picker->lowest = 0;
    memset(picker->priorities, 0, sizeof picker->priorities);
    for (uint32_t i = 0; i + 1 < depth && i < MOST_CHANGES; i++) {
        picker->changes[i] = 1 + draw(picker) % (length ? length : 1);
    }
}

static int64_t draw_priority(explore_picker *picker)
{
    return (int64_t)draw(picker) + 1;
}

static uint32_t highest(explore_picker *picker, const explore_choice *choice)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < choice->count; i++) {
        int64_t *own = &picker->priorities[choice->who[i]];
        if (*own == 0) {
            *own = draw_priority(picker);
        }
        best = *own > picker->priorities[choice->who[best]] ? i : best;
    }
    return best;
}

static uint32_t by_priority(explore_picker *picker, const explore_choice *choice)
{
    if (choice->tired >= 0) {
        picker->priorities[choice->tired] = --picker->lowest;
    }
    uint32_t best = highest(picker, choice);
    for (uint32_t i = 0; i + 1 < picker->depth && i < MOST_CHANGES; i++) {
        if (picker->changes[i] == picker->length) {
            picker->priorities[choice->who[best]] = --picker->lowest;
            best = highest(picker, choice);
        }
    }
    if (choice->who[best] == EXPLORE_TIME) { /* the next deadline is another's */
        picker->priorities[EXPLORE_TIME] = draw_priority(picker);
    }
    return best;
}

bool explore_pick_first_of_all(explore_picker *picker)
{
    picker->strategy = BY_ORDER;
    picker->length = 0;
    picker->decision_count = 0;
    picker->replay_count = 0;
    return true;
}

/* Changes the last decision that can still be changed within the bound and drops what
 * came after it. */
bool explore_pick_next_of_all(explore_picker *picker, uint32_t preemptions)
{
    uint32_t cost = 0;
    uint32_t count = picker->decision_count;
    picker->decision_count = 0;
    picker->length = 0;
    for (uint32_t i = 0; i < count; i++) {
        cost += picker->decisions[i].costs && picker->decisions[i].picked > 0;
    }
    for (uint32_t i = count; i-- > 0;) {
        decision *d = &picker->decisions[i];
        cost -= d->costs && d->picked > 0;
        if (d->picked + 1 < d->count && cost + d->costs <= preemptions) {
            d->picked++;
            picker->replay_count = i + 1;
            return true;
        }
    }
    return false;
}

static int32_t in_order(explore_picker *picker, const explore_choice *choice)
{
    uint32_t at = picker->decision_count++;
    decision *d = &picker->decisions[at];
    bool given = at < picker->replay_count;
    bool repeats = !given || (d->picked < choice->count &&
                              (d->count == 0 || d->count == choice->count));
    if (at == MOST_DECISIONS || !repeats) {
        picker->decision_count--;
        return -1;
    }
    *d = (decision){.picked = given ? d->picked : 0,
                    .count = (uint16_t)choice->count,
                    .costs = choice->goes_on};
    return d->picked;
}

int32_t explore_pick(explore_picker *picker, const explore_choice *choice)
{
    picker->length++;
    if (picker->length >= MOST_DECISIONS) {
        return -1;
    }
    if (picker->strategy == BY_PRIORITY) {
        return (int32_t)by_priority(picker, choice);
    }
    if (choice->count == 1) {
        return 0;
    }
    if (picker->strategy == BY_WALK) {
        return (int32_t)walk(picker, choice);
    }
    return in_order(picker, choice);
}

void explore_token_write(const explore_picker *picker, char *token, size_t bytes)
{
    if (picker->strategy == BY_WALK) {
        snprintf(token, bytes, "random:%" PRIu64, picker->seed);
        return;
    }
    if (picker->strategy == BY_PRIORITY) {
        snprintf(token, bytes, "pct:%" PRIu32 ":%" PRIu64 ":%" PRIu64, picker->depth,
                 picker->expected_length, picker->seed);
        return;
    }
    size_t used = (size_t)snprintf(token, bytes, "all:");
    for (uint32_t i = 0; i < picker->decision_count && used < bytes; i++) {
        if (picker->decisions[i].picked > 0) {
            used += (size_t)snprintf(token + used, bytes - used, "%s%" PRIu32 ".%u",
                                     used > 4 ? "," : "", i,
                                     (unsigned)picker->decisions[i].picked);
        }
    }
}

static bool read_order(explore_picker *picker, const char *text)
{
    (void)explore_pick_first_of_all(picker);
    memset(picker->decisions, 0, sizeof picker->decisions);
    uint32_t at;
    uint16_t picked;
    int used;
    while (sscanf(text, "%" SCNu32 ".%" SCNu16 "%n", &at, &picked, &used) == 2) {
        if (at >= MOST_DECISIONS) {
            return false;
        }
        picker->decisions[at].picked = picked;
        picker->replay_count = at + 1;
        text += used;
        text += *text == ',';
    }
    return *text == '\0';
}

bool explore_token_read(explore_picker *picker, const char *token)
{
    uint64_t seed, length;
    uint32_t depth;
    if (sscanf(token, "random:%" SCNu64, &seed) == 1) {
        explore_pick_by_walk(picker, seed);
        return true;
    }
    if (sscanf(token, "pct:%" SCNu32 ":%" SCNu64 ":%" SCNu64, &depth, &length, &seed) ==
        3) {
        explore_pick_by_priority(picker, depth, length, seed);
        return true;
    }
    return strncmp(token, "all:", 4) == 0 && read_order(picker, token + 4);
}

uint64_t explore_pick_length(const explore_picker *picker)
{
    return picker->length;
}

uint64_t explore_pick_number(const explore_picker *picker)
{
    return picker->strategy == BY_ORDER ? 0 : picker->seed;
}

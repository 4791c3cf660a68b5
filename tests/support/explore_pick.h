/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_EXPLORE_PICK_H
#define WEFT_TEST_EXPLORE_PICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the explorer decides who goes on: three strategies. */

enum {
    EXPLORE_MOST_ACTORS = 16,
    EXPLORE_TIME = EXPLORE_MOST_ACTORS, /* the passing of the first deadline */
};

/* Who could go on. The present one comes first if it can, time comes last. */
typedef struct explore_choice {
    uint32_t count;
    int32_t who[EXPLORE_MOST_ACTORS + 1];
    bool goes_on;  /* the first is the one that ran: another is a preemption */
    int32_t tired; /* ran for long or yielded, and is left out; -1: nobody */
} explore_choice;

typedef struct explore_picker explore_picker;

explore_picker *explore_picker_get(void);

/* Each begins a schedule. */
void explore_pick_by_walk(explore_picker *picker, uint64_t seed);
void explore_pick_by_priority(explore_picker *picker, uint32_t depth, uint64_t length,
                              uint64_t seed);
/* The next of all schedules within the bound; false: there is none. */
bool explore_pick_first_of_all(explore_picker *picker);
bool explore_pick_next_of_all(explore_picker *picker, uint32_t preemptions);

/* Picks an index; -1: the schedule has no end. */
int32_t explore_pick(explore_picker *picker, const explore_choice *choice);

/* The schedule that is under way, as a token, and back. */
void explore_token_write(const explore_picker *picker, char *token, size_t bytes);
bool explore_token_read(explore_picker *picker, const char *token);

/* The seed; 0 by order. */
uint64_t explore_pick_number(const explore_picker *picker);

/* Number of choices made in this schedule. */
uint64_t explore_pick_length(const explore_picker *picker);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The plan cache alone, with plans that are nothing but a key: under the scheduler and
 * with real threads. Destroyed plans are taken up again for other keys at once, so that
 * whoever uses one too long sees another key in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "graph/plan_cache.h"
#include "support/crew.h"
#include "support/explore.h"

enum { KEYS = 64, MOST_THREADS = 16, PLAN_BYTES = 1000 };

typedef struct fake_plan {
    wefti_plan plan;
    wefti_known key;
    wefti_atomic_u32 alive;
    struct fake_plan *next; /* among those destroyed */
} fake_plan;

typedef struct place {
    WEFTI_CACHE_ALIGNED wefti_atomic_ptr plan;
} place;

typedef struct stage {
    wefti_plan_cache cache;
    place places[MOST_THREADS]; /* as contexts have */
    crew_gate *gate;            /* building key 2 waits for it */
    wefti_atomic_u32 building[KEYS], builds, live, violations, evictions_seen;
    wefti_atomic_u64 evict_count;
    wefti_mutex lock; /* the destroyed */
    fake_plan *destroyed;
    uint32_t thread_count, fail_every, key_count;
    int look_count; /* how long a use takes, in schedule points */
} stage;

static void check_here(stage *s, bool right)
{
    if (!right) {
        (void)wefti_atomic_u32_add_relaxed(&s->violations, 1);
    }
}

static fake_plan *take_destroyed(stage *s)
{
    wefti_mutex_lock(&s->lock);
    fake_plan *made = s->destroyed;
    s->destroyed = made == NULL ? NULL : made->next;
    wefti_mutex_unlock(&s->lock);
    if (made == NULL) {
        made = calloc(1, sizeof(*made));
        assert_non_null(made);
    }
    return made;
}

static weft_status build_fake(void *user, const wefti_known *inputs, wefti_plan **plan,
                              weft_error *error)
{
    stage *s = user;
    wefti_atomic_u32 *building = &s->building[inputs[0].dims[0]];
    check_here(s, wefti_atomic_u32_add_seq_cst(building, 1) == 0);
    uint32_t number = wefti_atomic_u32_add_seq_cst(&s->builds, 1) + 1;
    if (s->gate != NULL && inputs[0].dims[0] == 2) {
        crew_gate_pass(s->gate);
    }
    if (s->fail_every > 0 && number % s->fail_every == 0) {
        (void)wefti_atomic_u32_sub_seq_cst(building, 1);
        return wefti_error(error, WEFT_UNSUPPORTED, "key %d fails",
                           (int)inputs[0].dims[0]);
    }
    fake_plan *made = take_destroyed(s);
    made->key = inputs[0];
    made->plan =
        (wefti_plan){.inputs = &made->key, .input_count = 1, .bytes = PLAN_BYTES};
    wefti_atomic_u32_store_seq_cst(&made->alive, 1);
    (void)wefti_atomic_u32_add_seq_cst(&s->live, 1);
    (void)wefti_atomic_u32_sub_seq_cst(building, 1);
    *plan = &made->plan;
    return WEFT_OK;
}

static void destroy_fake(void *user, wefti_plan *plan)
{
    stage *s = user;
    fake_plan *fake = (fake_plan *)(void *)plan;
    check_here(s, wefti_atomic_u32_exchange_acq_rel(&fake->alive, 0) == 1);
    (void)wefti_atomic_u32_sub_seq_cst(&s->live, 1);
    wefti_mutex_lock(&s->lock);
    fake->next = s->destroyed;
    s->destroyed = fake;
    wefti_mutex_unlock(&s->lock);
}

static bool placed(void *user, const wefti_plan *plan)
{
    stage *s = user;
    for (uint32_t i = 0; i < s->thread_count; i++) {
        if (wefti_atomic_ptr_load_seq_cst(&s->places[i].plan) == plan) {
            return true;
        }
    }
    return false;
}

static stage *make_stage(uint32_t threads, size_t max_plans, size_t max_bytes)
{
    stage *s = wefti_malloc_aligned(sizeof(*s));
    assert_non_null(s);
    memset(s, 0, sizeof(*s));
    s->thread_count = threads;
    s->look_count = 2;
    wefti_plan_cache_params params = {
        .max_plans = max_plans,
        .max_bytes = max_bytes,
        .input_count = 1,
        .build = build_fake,
        .destroy = destroy_fake,
        .in_use = placed,
        .evict_count = &s->evict_count,
        .user = s,
    };
    assert_int_equal(wefti_mutex_init(&s->lock, "fakes", WEFTI_RANK_WORKERS, NULL),
                     WEFT_OK);
    assert_int_equal(wefti_plan_cache_init(&s->cache, &params, NULL), WEFT_OK);
    return s;
}

static void free_stage(stage *s)
{
    wefti_plan_cache_fini(&s->cache);
    while (s->destroyed != NULL) {
        fake_plan *next = s->destroyed->next;
        free(s->destroyed);
        s->destroyed = next;
    }
    wefti_mutex_fini(&s->lock);
    wefti_free(s);
}

/* All is quiet: what was evicted is gone, and no more is there than may be. */
static bool check_quiet(stage *s)
{
    wefti_plan_cache_statistics now;
    wefti_plan_cache_get_statistics(&s->cache, &now);
    return wefti_atomic_u32_load_seq_cst(&s->violations) == 0 &&
           now.retired_count == 0 && now.plan_count <= s->cache.params.max_plans &&
           now.plan_bytes == now.plan_count * PLAN_BYTES &&
           now.entry_count <= s->cache.params.max_plans &&
           wefti_atomic_u32_load_seq_cst(&s->live) == now.plan_count &&
           wefti_atomic_u32_load_seq_cst(&s->builds) >=
               now.plan_count + wefti_atomic_u64_load_seq_cst(&s->evict_count);
}

static bool check_and_free(void *state)
{
    stage *s = state;
    bool right = check_quiet(s);
    free_stage(s);
    return right;
}

static weft_tensor tensor_of(int64_t key)
{
    return (weft_tensor){.type = WEFT_TYPE_F32, .rank = 1, .dims = {key}};
}

static void look_at(stage *s, const wefti_plan *plan, int64_t key)
{
    const fake_plan *fake = (const fake_plan *)(const void *)plan;
    for (int i = 0; i < s->look_count; i++) {
        check_here(s, wefti_atomic_u32_load_seq_cst(&fake->alive) == 1 &&
                          fake->key.dims[0] == key);
    }
}

static void use_held(stage *s, int64_t key)
{
    wefti_known known = {.type = WEFT_TYPE_F32, .rank = 1, .dims = {key}};
    wefti_plan *plan;
    weft_error error;
    weft_status status = wefti_plan_cache_hold(&s->cache, &known, &plan, &error);
    if (status == WEFT_OK) {
        look_at(s, plan, key);
        wefti_plan_cache_drop(&s->cache, plan);
    } else {
        check_here(s, s->fail_every > 0 && status == WEFT_UNSUPPORTED &&
                          strstr(error.message, "fails") != NULL);
    }
}

/* As a run in a context does. */
static void use_placed(stage *s, uint32_t thread, int64_t key)
{
    weft_tensor tensor = tensor_of(key);
    wefti_plan_entry *entry = wefti_plan_cache_seek(&s->cache, &tensor, 1);
    const wefti_plan *plan = entry == NULL ? NULL : wefti_plan_entry_peek(entry);
    if (plan == NULL) {
        use_held(s, key);
        return;
    }
    place *mine = &s->places[thread];
    wefti_atomic_ptr_store_seq_cst(&mine->plan, (void *)(uintptr_t)plan);
    bool found = wefti_plan_cache_confirm(&s->cache, entry, plan, &tensor);
    if (found) {
        look_at(s, plan, key);
    }
    wefti_atomic_ptr_store_seq_cst(&mine->plan, NULL);
    wefti_plan_cache_left(&s->cache, entry, plan);
    if (!found) {
        use_held(s, key);
    }
}

static void use_as_guest(stage *s, int64_t key)
{
    weft_tensor tensor = tensor_of(key);
    wefti_plan_visit visit;
    if (wefti_plan_cache_enter(&s->cache, &tensor, &visit)) {
        look_at(s, visit.plan, key);
        wefti_plan_cache_leave(&s->cache, &visit);
    } else {
        use_held(s, key);
    }
}

static void report(const char *name, const explore_result *result)
{
    print_message("%s: %llu schedules%s, %llu bad (%llu stuck) %s\n", name,
                  (unsigned long long)result->schedules,
                  result->complete ? ", all within the bound" : "",
                  (unsigned long long)result->bad, (unsigned long long)result->stuck,
                  result->first_bad);
}

/* Random ones, by priorities, and all with few preemptions; some must be bad when the
 * guard is off, none else. */
static void explore(const explore_case *what, wefti_sabotage guard, uint64_t count)
{
    explore_effort effort = {.first_seed = 1,
                             .count = count / crew_divisor(),
                             .preemptions = 2,
                             .enough_bad = 1};
    explore_result result = {0};
    wefti_sabotage_set(guard);
    explore_random(what, &effort, &result);
    explore_pct(what, &effort, &result);
    explore_all(what, &effort, &result);
    wefti_sabotage_set(WEFTI_SABOTAGE_NONE);
    report(what->name, &result);
    assert_int_equal(result.bad, guard == WEFTI_SABOTAGE_NONE ? 0 : 1);
}

/* One plan at most: every other key throws it out. */
static void *set_room_for_one(void)
{
    stage *s = make_stage(4, 1, SIZE_MAX);
    use_held(s, 1);
    return s;
}

/* Long uses, in which random schedules put whole evictions. */
static void *set_room_for_one_and_look_long(void)
{
    stage *s = set_room_for_one();
    s->look_count = 40;
    return s;
}

/* Uses of a plan that is there against others that throw it out. */
static void use_or_evict(void *state, uint32_t index)
{
    stage *s = state;
    if (index == 0) {
        use_placed(s, index, 1);
    } else if (index == 1) {
        use_held(s, 2);
    } else {
        use_as_guest(s, 1);
        use_held(s, 3);
    }
}

static void test_evicting_against_use(void **state)
{
    (void)state;
    explore_case what = {.name = "use-or-evict",
                         .thread_count = 3,
                         .set_up = set_room_for_one,
                         .run = use_or_evict,
                         .check = check_and_free};
    explore(&what, WEFTI_SABOTAGE_NONE, 10000);
    what.set_up = set_room_for_one_and_look_long;
    explore(&what, WEFTI_SABOTAGE_NONE, 5000);
    explore(&what, WEFTI_SABOTAGE_PLAN_EVICT, 5000);
    what.cores_differ = true;
    explore(&what, WEFTI_SABOTAGE_NONE, 5000);
}

static void build_the_same(void *state, uint32_t index)
{
    stage *s = state;
    use_placed(s, index, 2);
    use_placed(s, index, index == 0 ? 3 : 2);
}

static void test_building_against_building(void **state)
{
    (void)state;
    explore_case what = {.name = "build-the-same",
                         .thread_count = 3,
                         .set_up = set_room_for_one,
                         .run = build_the_same,
                         .check = check_and_free};
    explore(&what, WEFTI_SABOTAGE_NONE, 10000);
    explore(&what, WEFTI_SABOTAGE_PLAN_DEDUPE, 5000);
    explore(&what, WEFTI_SABOTAGE_PLAN_WAKE, 5000);
}

static void *set_failing(void)
{
    stage *s = make_stage(4, 1, SIZE_MAX);
    s->fail_every = 2;
    return s;
}

static void test_a_failure_goes_to_all_who_waited(void **state)
{
    (void)state;
    explore_case what = {.name = "build-fails",
                         .thread_count = 3,
                         .set_up = set_failing,
                         .run = build_the_same,
                         .check = check_and_free};
    explore(&what, WEFTI_SABOTAGE_NONE, 5000);
}

/* The order in which plans go. */
static bool is_there(stage *s, int64_t key)
{
    weft_tensor tensor = tensor_of(key);
    return wefti_plan_cache_seek(&s->cache, &tensor, 1) != NULL;
}

static void test_the_least_recently_used_goes(void **state)
{
    (void)state;
    stage *s = make_stage(1, 4, SIZE_MAX);
    for (int64_t key = 1; key <= 4; key++) {
        use_held(s, key);
    }
    use_placed(s, 0, 1);
    use_held(s, 5);
    assert_true(is_there(s, 1) && !is_there(s, 2));
    use_as_guest(s, 3);
    use_held(s, 6);
    assert_true(is_there(s, 3) && !is_there(s, 4));
    use_held(s, 7);
    assert_true(is_there(s, 3) && !is_there(s, 1) && is_there(s, 5));
    assert_int_equal(wefti_atomic_u64_load_relaxed(&s->evict_count), 3);
    assert_true(check_and_free(s));
}

static void test_bytes_are_bounded(void **state)
{
    (void)state;
    stage *s = make_stage(1, 100, 3 * PLAN_BYTES + 10);
    wefti_plan_cache_statistics now;
    for (int64_t key = 1; key <= 9; key++) {
        use_held(s, key);
        wefti_plan_cache_get_statistics(&s->cache, &now);
        assert_int_equal(now.plan_count, key < 3 ? key : 3);
    }
    assert_true(check_and_free(s));
    s = make_stage(1, 100, 10); /* each is too large, the last one is kept */
    for (int64_t key = 1; key <= 3; key++) {
        use_held(s, key);
        assert_true(is_there(s, key));
        wefti_plan_cache_get_statistics(&s->cache, &now);
        assert_int_equal(now.plan_count, 1);
    }
    assert_true(check_and_free(s));
}

static void test_a_held_plan_outlives_its_eviction(void **state)
{
    (void)state;
    stage *s = make_stage(1, 2, SIZE_MAX);
    wefti_known known = {.type = WEFT_TYPE_F32, .rank = 1, .dims = {1}};
    wefti_plan *plan;
    assert_int_equal(wefti_plan_cache_hold(&s->cache, &known, &plan, NULL), WEFT_OK);
    for (int64_t key = 2; key < 40; key++) {
        use_held(s, key);
    }
    look_at(s, plan, 1);
    assert_false(is_there(s, 1));
    assert_int_equal(wefti_atomic_u32_load_relaxed(&s->live), 3);
    wefti_plan_cache_drop(&s->cache, plan);
    assert_int_equal(wefti_atomic_u32_load_relaxed(&s->live), 2);
    assert_true(check_and_free(s));
}

static void use_steadily(void *user, uint32_t index)
{
    stage *s = user;
    uint64_t random = 77 + index;
    for (uint32_t i = 0; i < 20000 / crew_divisor(); i++) {
        uint32_t r = crew_random(&random);
        int64_t key = 1 + r % (s->key_count - 1);
        if (r & 0x10000) {
            use_placed(s, index, key);
        } else if (r & 0x20000) {
            use_as_guest(s, key);
        } else {
            use_held(s, key);
        }
    }
}

static void test_many_threads_and_few_plans(void **state)
{
    (void)state;
    static const struct {
        uint32_t plans, keys;
    } cases[] = {{1, 3}, {8, 12}, {8, KEYS}, {KEYS, KEYS}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stage *s = make_stage(MOST_THREADS, cases[i].plans, SIZE_MAX);
        s->key_count = cases[i].keys;
        s->fail_every = i == 2 ? 97 : 0;
        crew_run(MOST_THREADS, use_steadily, s);
        assert_true(check_quiet(s));
        if (cases[i].plans >= cases[i].keys) {
            assert_int_equal(wefti_atomic_u32_load_relaxed(&s->builds), KEYS - 1);
        }
        free_stage(s);
    }
}

static void test_steady_use_writes_no_entry(void **state)
{
    (void)state;
    stage *s = make_stage(1, 4, SIZE_MAX);
    use_held(s, 1);
    use_held(s, 2);
    use_placed(s, 0, 1);
    weft_tensor tensor = tensor_of(1);
    wefti_plan_entry *entry = wefti_plan_cache_seek(&s->cache, &tensor, 1);
    wefti_plan_entry before;
    memcpy(&before, entry, sizeof(before));
    uint64_t allocations = wefti_allocation_count();
    wefti_mutex_lock(&s->cache.lock); /* whoever wants it now waits forever */
    for (int i = 0; i < 1000; i++) {
        use_placed(s, 0, 1);
        use_as_guest(s, 1);
    }
    wefti_mutex_unlock(&s->cache.lock);
    assert_int_equal(wefti_allocation_count(), allocations);
    assert_memory_equal(&before, entry, sizeof(before));
    assert_true(check_and_free(s));
}

static void want_the_second(void *user)
{
    use_held(user, 2);
}

/* All of them; of a plan that is being built, the users are its builder and who waits.
 */
static bool four_want_the_second(void *state)
{
    stage *s = state;
    wefti_mutex_lock(&s->cache.lock);
    bool there = s->cache.pending != NULL && s->cache.pending->users == 4;
    wefti_mutex_unlock(&s->cache.lock);
    return there;
}

static void check_three_waits(weft_profiler *profiler)
{
    weft_profile_event event;
    assert_int_equal(weft_profiler_event_count(profiler), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(weft_profiler_get_event(profiler, i, &event));
        assert_int_equal(event.kind, WEFT_PROFILE_WAIT);
        assert_string_equal(event.name, "wait for a plan that another thread builds");
    }
    weft_profiler_release(profiler);
}

static void test_building_keeps_nobody_else_waiting(void **state)
{
    (void)state;
    crew_gate gate = CREW_GATE_INIT;
    stage *s = make_stage(1, 3, SIZE_MAX);
    weft_profiler *profiler = NULL;
    assert_int_equal(weft_profiler_create(NULL, &profiler, NULL), WEFT_OK);
    s->cache.params.profiler = profiler;
    s->gate = &gate;
    use_held(s, 1);
    crew_thread builders[4];
    for (int i = 0; i < 4; i++) {
        builders[i] = (crew_thread){0};
        crew_start(&builders[i], want_the_second, s);
    }
    crew_await(four_want_the_second, s);
    for (int i = 0; i < 100; i++) {
        use_placed(s, 0, 1);
        use_as_guest(s, 1);
        use_held(s, 1);
        use_held(s, 3 + i % 5); /* nor who builds and evicts others */
    }
    crew_gate_open(&gate);
    for (int i = 0; i < 4; i++) {
        crew_join(&builders[i]);
    }
    assert_true(check_and_free(s));
    check_three_waits(profiler);
}

static void test_each_allocation_may_fail(void **state)
{
    (void)state;
    stage *s = make_stage(1, 2, SIZE_MAX);
    for (uint64_t n = 1;; n++) {
        wefti_known known = {.type = WEFT_TYPE_F32, .rank = 1, .dims = {(int64_t)n}};
        wefti_plan *plan;
        weft_error error = {.message = ""};
        wefti_fault_arm(n, 1u << WEFTI_FAULT_ALLOCATION);
        weft_status status = wefti_plan_cache_hold(&s->cache, &known, &plan, &error);
        uint64_t uses = wefti_fault_arm(0, 0);
        if (uses < n) {
            assert_int_equal(status, WEFT_OK);
            wefti_plan_cache_drop(&s->cache, plan);
            break;
        }
        assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        assert_true(error.message[0] != '\0');
        assert_null(plan);
        use_held(s, (int64_t)n); /* and then it works */
    }
    assert_true(check_and_free(s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_recently_used_goes),
        cmocka_unit_test(test_bytes_are_bounded),
        cmocka_unit_test(test_a_held_plan_outlives_its_eviction),
        cmocka_unit_test(test_steady_use_writes_no_entry),
        cmocka_unit_test(test_building_keeps_nobody_else_waiting),
        cmocka_unit_test(test_each_allocation_may_fail),
        cmocka_unit_test(test_evicting_against_use),
        cmocka_unit_test(test_building_against_building),
        cmocka_unit_test(test_a_failure_goes_to_all_who_waited),
        cmocka_unit_test(test_many_threads_and_few_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

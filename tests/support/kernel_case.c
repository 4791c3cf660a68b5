/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_case.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "support/kernel_device.h"

uint64_t kernel_next(uint64_t *state)
{
    uint64_t x = *state += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* The blocks there are, to find one by an address inside. */
enum { MOST_BLOCKS = 256 };
static struct {
    char *start;
    size_t size_bytes;
} blocks[MOST_BLOCKS];

static void keep_block(char *start, size_t size_bytes)
{
    size_t i = 0;
    while (i < MOST_BLOCKS && blocks[i].start != NULL) {
        i++;
    }
    assert_true(i < MOST_BLOCKS);
    blocks[i].start = start;
    blocks[i].size_bytes = size_bytes;
}

bool kernel_block(const void *address, char **start, size_t *size_bytes)
{
    for (size_t i = 0; i < MOST_BLOCKS; i++) {
        if (blocks[i].start != NULL && (const char *)address >= blocks[i].start &&
            (const char *)address <= blocks[i].start + blocks[i].size_bytes) {
            *start = blocks[i].start;
            *size_bytes = blocks[i].size_bytes;
            return true;
        }
    }
    return false;
}

/* The block's size stands before it in a page of its own. */
void *kernel_alloc(size_t size_bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t used = (size_bytes + page - 1) / page * page;
    const size_t total = used + 2 * page;
    char *base =
        mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(base != MAP_FAILED);
    assert_int_equal(mprotect(base + page + used, page, PROT_NONE), 0);
    /* The end touches the forbidden page; floats stay aligned. */
    char *block = base + page + used - (size_bytes + 3) / 4 * 4;
    memcpy(base, &total, sizeof(total));
    keep_block(block, size_bytes);
    return block;
}

void kernel_free(void *block)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (block == NULL) {
        return;
    }
    for (size_t i = 0; i < MOST_BLOCKS; i++) {
        blocks[i].start = blocks[i].start == block ? NULL : blocks[i].start;
    }
    size_t total;
    char *base = (char *)((uintptr_t)block / page * page) - page;
    memcpy(&total, base, sizeof(total));
    assert_int_equal(munmap(base, total), 0);
}

float *kernel_random(size_t count, uint64_t seed)
{
    float *values = kernel_alloc(count * sizeof(float));
    uint64_t state = seed * 2654435761u + 12345;
    for (size_t i = 0; i < count; i++) {
        uint64_t r = kernel_next(&state);
        values[i] = (r & 127u) == 0 ? 0.0f : (float)((int64_t)r >> 39) * 0x1p-24f;
    }
    return values;
}

void kernel_case_init(kernel_case *c, wefti_kernel kernel, const void *params,
                      size_t params_bytes)
{
    *c = (kernel_case){.output = -1};
    c->step = (wefti_step){.kernel = kernel,
                           .params = params,
                           .params_bytes = params_bytes,
                           .label = "test"};
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        c->step.operands[i] = WEFTI_OPERAND_ABSENT;
    }
}

void kernel_case_operand(kernel_case *c, int32_t index, const void *data, bool constant)
{
    c->data[index] = (void *)(uintptr_t)data;
    c->step.operands[index].constant = constant ? data : NULL;
    c->step.operands[index].slot = constant ? WEFTI_SLOT_ABSENT : index + 1;
}

void kernel_case_output(kernel_case *c, int32_t index, void *data, size_t count)
{
    kernel_case_operand(c, index, data, false);
    c->output = index;
    c->output_bytes = count * sizeof(float);
}

void kernel_case_rows(kernel_case *c, int32_t index, int64_t count, size_t row_bytes)
{
    c->row_bytes[index] = row_bytes;
    c->row_count = count;
}

/* An operand whose rows lie apart, with words between them that nobody may write. */
typedef struct scattered {
    char *block;
    size_t block_bytes;
    char *decoy; /* in one piece: nobody may read or write it */
    size_t decoy_bytes;
    void **rows;
} scattered;

enum { BETWEEN = 0xA5, DECOY = 0xFF };

/* Where rows begin in a block that ends with one of them; returns the block's size. */
static size_t place_rows(const kernel_case *c, int32_t index, size_t *begins)
{
    uint64_t seed = (uint64_t)c->row_count * 8 + (uint64_t)index;
    size_t end = 0;
    for (int64_t i = 0; i < c->row_count; i++) {
        int64_t other = (int64_t)(kernel_next(&seed) % (uint64_t)(i + 1));
        begins[i] = begins[other];
        begins[other] = end + sizeof(float) * (1 + kernel_next(&seed) % 4u);
        end = begins[other] + c->row_bytes[index];
    }
    return end;
}

static void scatter(const kernel_case *c, int32_t index, scattered *s)
{
    const size_t bytes = c->row_bytes[index];
    size_t *begins = calloc((size_t)c->row_count, sizeof(*begins));
    s->rows = calloc((size_t)c->row_count, sizeof(*s->rows));
    assert_true(begins != NULL && s->rows != NULL);
    s->block_bytes = place_rows(c, index, begins);
    s->block = kernel_alloc(s->block_bytes);
    s->decoy_bytes = bytes * (size_t)c->row_count;
    s->decoy = kernel_alloc(s->decoy_bytes);
    memset(s->block, BETWEEN, s->block_bytes);
    memset(s->decoy, DECOY, s->decoy_bytes);
    for (int64_t i = 0; i < c->row_count; i++) {
        s->rows[i] = s->block + begins[i];
        memcpy(s->rows[i], (const char *)c->data[index] + (size_t)i * bytes, bytes);
    }
    free(begins);
}

static void assert_all(const char *bytes, size_t count, unsigned char value)
{
    for (size_t i = 0; i < count; i++) {
        if ((unsigned char)bytes[i] != value) {
            fail_msg("byte %zu of %zu between rows was written", i, count);
        }
    }
}

/* Puts the rows into one piece again, unless NULL. */
static void gather(const kernel_case *c, int32_t index, scattered *s, void *target)
{
    const size_t bytes = c->row_bytes[index];
    for (int64_t i = 0; s->rows != NULL && i < c->row_count; i++) {
        if (target != NULL) {
            memcpy((char *)target + (size_t)i * bytes, s->rows[i], bytes);
        }
        memset(s->rows[i], BETWEEN, bytes);
    }
    assert_all(s->block, s->block_bytes, BETWEEN);
    assert_all(s->decoy, s->decoy_bytes, DECOY);
    kernel_free(s->block);
    kernel_free(s->decoy);
    free(s->rows);
}

/* How the tiles are walked. */
typedef enum walk {
    WALK_WHOLE,
    WALK_BACKWARDS,
    WALK_CHUNKS,
    WALK_COUNT,
} walk;

static void run_range(const wefti_cpu_prepared *p, const wefti_cpu_call *call,
                      int64_t begin, int64_t end)
{
    /* What an earlier call left in the scratch must not matter. */
    unsigned char *scratch = NULL;
    if (p->scratch_bytes > 0) {
        size_t bytes = (p->scratch_bytes + 63) / 64 * 64;
        scratch = kernel_alloc(bytes);
        memset(scratch, 0xFF, bytes);
    }
    assert_int_equal(p->function(call, scratch, begin, end, NULL), WEFT_OK);
    kernel_free(scratch);
}

static void run_tiles(const wefti_cpu_prepared *p, const wefti_cpu_call *call, walk how)
{
    const int64_t count = p->tile_count;
    uint64_t seed = (uint64_t)count;
    if (how == WALK_WHOLE) {
        run_range(p, call, 0, count);
    } else if (how == WALK_BACKWARDS) {
        for (int64_t i = count - 1; i >= 0; i--) {
            run_range(p, call, i, i + 1);
        }
    } else { /* as one thread takes them: with a scratch that stays, and its note */
        wefti_cpu_call own = *call;
        int64_t kept = -1;
        size_t bytes = (p->scratch_bytes + 63) / 64 * 64;
        void *scratch = bytes > 0 ? kernel_alloc(bytes) : NULL;
        own.kept = &kept;
        for (int64_t i = 0; i < count;) {
            int64_t next = i + 1 + (int64_t)(kernel_next(&seed) % 7u);
            next = next > count ? count : next;
            assert_int_equal(p->function(&own, scratch, i, next, NULL), WEFT_OK);
            i = next + (int64_t)(kernel_next(&seed) % 2u); /* somebody else took it */
            if (i > next && next < count) {
                run_range(p, call, next, i);
            }
        }
        kernel_free(scratch);
    }
}

static wefti_cpu_prepare reference_prepare(wefti_kernel kernel)
{
    const wefti_cpu_isa *const *isa = wefti_cpu_isas;
    while (isa[1] != NULL) {
        isa++;
    }
    assert_string_equal((*isa)->name, "reference");
    return (*isa)->prepare[kernel];
}

/* Runs with the operands that come in rows scattered. */
static void run_scattered(const kernel_case *c, const wefti_cpu_prepared *p,
                          wefti_cpu_call *call, walk how)
{
    scattered places[WEFTI_MAX_OPERANDS] = {{0}};
    void *const *rows[WEFTI_MAX_OPERANDS];
    void *output = call->operands[c->output];
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        if (c->row_bytes[i] > 0) {
            assert_int_equal(p->row_bytes[i], c->row_bytes[i]);
            scatter(c, i, &places[i]);
            call->operands[i] = places[i].decoy;
        }
        rows[i] = places[i].rows;
    }
    call->rows = rows;
    run_tiles(p, call, how);
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        gather(c, i, &places[i], i == c->output ? output : NULL);
    }
}

/* Returns false when the kernel does not support the step. */
static bool run_case(const kernel_case *c, wefti_cpu_prepare prepare, bool may_pack,
                     walk how, void *output)
{
    wefti_cpu_prepared p = {.packed_operand = -1};
    weft_error error;
    weft_status status = prepare(&c->step, may_pack, &p, &error);
    if (status == WEFT_UNSUPPORTED) {
        return false;
    }
    assert_int_equal(status, WEFT_OK);
    assert_true(p.tile_count >= 0 && p.work_ns >= 0);
    assert_true(strlen(p.description) < sizeof(p.description));
    wefti_cpu_call call = {.params = c->step.params, .derived = p.derived};
    memcpy(call.operands, c->data, sizeof(call.operands));
    memcpy(output, c->data[c->output], c->output_bytes);
    call.operands[c->output] = output;
    void *packed = NULL;
    if (p.packed_operand >= 0) {
        assert_true(may_pack);
        assert_non_null(c->step.operands[p.packed_operand].constant);
        packed = kernel_alloc(p.packed_bytes);
        p.pack(packed, c->data[p.packed_operand], c->step.params);
        call.operands[p.packed_operand] = packed;
    }
    if (c->row_count > 0 && prepare != reference_prepare(c->step.kernel)) {
        run_scattered(c, &p, &call, how);
    } else {
        run_tiles(&p, &call, how);
    }
    kernel_free(packed);
    wefti_free(p.derived);
    return true;
}

static void compare(const kernel_case *c, const char *isa, bool may_pack, walk how,
                    const void *expected, const void *got)
{
    if (memcmp(expected, got, c->output_bytes) == 0) {
        return;
    }
    const float *e = expected, *g = got;
    for (size_t i = 0; i < c->output_bytes / sizeof(float); i++) {
        if (memcmp(&e[i], &g[i], sizeof(float)) != 0) {
            fail_msg("%s%s, walk %d: element %zu of %zu is %a instead of %a", isa,
                     may_pack ? " packed" : "", (int)how, i,
                     c->output_bytes / sizeof(float), (double)g[i], (double)e[i]);
        }
    }
    fail_msg("%s: outputs differ", isa);
}

static void check_on_device(const kernel_case *c)
{
    if (!kernel_device_wants()) {
        return;
    }
    void *expected = kernel_alloc(c->output_bytes);
    wefti_cpu_prepare reference = reference_prepare(c->step.kernel);
    if (run_case(c, reference, false, WALK_WHOLE, expected)) {
        kernel_device_check(c, expected);
    }
    kernel_free(expected);
}

void kernel_case_check(const kernel_case *c)
{
    if (kernel_device_is_set()) {
        check_on_device(c);
        return;
    }
    void *expected = kernel_alloc(c->output_bytes);
    void *got = kernel_alloc(c->output_bytes);
    wefti_cpu_prepare reference = reference_prepare(c->step.kernel);
    bool known = run_case(c, reference, false, WALK_WHOLE, expected);
    for (const wefti_cpu_isa *const *isa = wefti_cpu_isas; *isa != NULL; isa++) {
        for (uint32_t i = 0; i < 2u * WALK_COUNT; i++) {
            const bool may_pack = i % 2 != 0;
            const walk how = (walk)(i / 2);
            wefti_cpu_prepare prepare = (*isa)->prepare[c->step.kernel];
            if (!(*isa)->supported()) {
                continue;
            }
            assert_true(run_case(c, prepare, may_pack, how, got) == known);
            if (known) {
                compare(c, (*isa)->name, may_pack, how, expected, got);
            }
        }
    }
    kernel_free(expected);
    kernel_free(got);
}

void kernel_case_run_best(const kernel_case *c, void *output)
{
    const wefti_cpu_isa *const *isa = wefti_cpu_isas;
    while (!(*isa)->supported()) {
        isa++;
    }
    assert_true(run_case(c, (*isa)->prepare[c->step.kernel], true, WALK_WHOLE, output));
}

uint64_t kernel_case_hash(const kernel_case *c)
{
    unsigned char *output = kernel_alloc(c->output_bytes);
    kernel_case_run_best(c, output);
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < c->output_bytes; i++) {
        hash = (hash ^ output[i]) * 1099511628211u;
    }
    kernel_free(output);
    return hash;
}

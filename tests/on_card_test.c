/* SPDX-License-Identifier: Apache-2.0 */
/* Runs whose tensors lie on the card (WEFT_PLACE_CARD): on the driver made of C
 * (tests/fake_cuda), which sees what is read or written elsewhere, or on a card. */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

#include "backend/cuda/graphs.h"
#include "runtime/device.h"
#include "support/crew.h"
#include "support/fake_driver.h"
#include "support/graph_text.h"

enum { ROWS = 4, WIDTH = 64, COUNT = ROWS * WIDTH, BYTES = COUNT * 4, THREADS = 8 };

/* Elementwise: it computes under ThreadSanitizer too. Two inputs, two outputs, and an
 * input that two kernels read. */
static const char net[] = "x: f32[4,64]; z: f32[4,64]; w = f32[64]; a = Add(x,w); "
                          "m = Mul(a,z); y = Tanh(m); s = Sub(x,y); -> y,s";
static const char rounding[] =
    "x: f16[4,64]; z: f16[4,64]; m = Mul(x,z); y = Exp(m); s = Add(x,z); -> y,s";
static const char looking_up[] =
    "x: f32[4,64]; i: i64[3]; g = Gather(x,i) axis=0; y = Neg(g); -> y";

enum { TENSORS = 4 }; /* of net and rounding: two inputs, two outputs */

/* Where the tensors of a run are: a bit for each on the card. */
enum { ALL_ON_CARD = (1 << TENSORS) - 1 };

typedef struct stage {
    weft_device *device;
    weft_model *model;
    weft_stream *stream;
} stage;

static weft_model *make_model(weft_device *device, const char *text)
{
    return graph_text_model(device, text, 20, NULL);
}

static stage open_profiled(const char *name, const char *text, weft_profiler *profiler)
{
    stage s = {0};
    weft_error error = {0};
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    params.profiler = profiler;
    if (weft_device_open(name, &params, &s.device, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    s.model = make_model(s.device, text);
    assert_int_equal(weft_stream_acquire(s.device, &s.stream, NULL), WEFT_OK);
    return s;
}

static stage open_stage(const char *name, const char *text)
{
    return open_profiled(name, text, NULL);
}

static void close_stage(stage *s)
{
    weft_stream_release(s->stream);
    weft_model_release(s->model);
    weft_device_release(s->device);
    fake_driver_assert_empty();
}

/* A call's tensors, in host memory and on the card. */
typedef struct call {
    float host[TENSORS][COUNT], expected[TENSORS][COUNT];
    weft_memory *memory[TENSORS];
    weft_tensor tensors[TENSORS];
    weft_io io;
} call;

static void copy(const stage *s, void *target, const void *source, size_t size_bytes)
{
    assert_int_equal(weft_stream_copy(s->stream, target, source, size_bytes, NULL),
                     WEFT_OK);
    assert_int_equal(weft_stream_synchronize(s->stream, WEFT_FOREVER, NULL), WEFT_OK);
}

/* The place on the card is `shift` bytes behind the begin of its memory. */
static char *card_data(const call *c, size_t tensor, size_t shift)
{
    return (char *)weft_memory_data(c->memory[tensor]) + shift;
}

static void make_call(const stage *s, call *c, weft_type type, uint64_t seed)
{
    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < TENSORS; i++) {
        const weft_random_key key = {.seed = seed, .stream = (uint32_t)i};
        weft_random_fill_normal(&key, c->host[i], COUNT);
        for (size_t k = 0; type == WEFT_TYPE_F16 && k < COUNT; k++) {
            ((uint16_t *)(void *)c->host[i])[k] = (uint16_t)(0x3000 + (k * 37) % 2048);
        }
        c->tensors[i] = (weft_tensor){.type = type, .rank = 2, .dims = {ROWS, WIDTH}};
        c->tensors[i].data = c->host[i];
        assert_int_equal(
            weft_memory_allocate(s->stream, BYTES + 64, &c->memory[i], NULL), WEFT_OK);
    }
    c->io = (weft_io){c->tensors, 2, c->tensors + 2, 2};
    assert_int_equal(weft_run(s->model, &c->io, NULL, NULL), WEFT_OK);
    memcpy(c->expected, c->host, sizeof(c->host));
}

static void drop_call(call *c)
{
    for (size_t i = 0; i < TENSORS; i++) {
        weft_memory_release(c->memory[i]);
    }
}

static size_t bytes_of(const call *c)
{
    return COUNT * weft_type_size(c->tensors[0].type);
}

/* Lays the tensors out and spoils the outputs. */
static void place(const stage *s, call *c, uint32_t on_card, size_t shift)
{
    for (size_t i = 0; i < TENSORS; i++) {
        const bool there = (on_card >> i & 1) != 0;
        if (i >= 2) {
            memset(c->host[i], 0x55, sizeof(c->host[i]));
        }
        c->tensors[i].data = there ? card_data(c, i, shift) : (void *)c->host[i];
        c->tensors[i].place = there ? WEFT_PLACE_CARD : WEFT_PLACE_HOST;
        if (there) {
            copy(s, c->tensors[i].data, c->host[i], bytes_of(c));
        }
    }
}

/* Fetches what is on the card; whether all is as it should be. */
static bool is_right(const stage *s, call *c)
{
    bool right = true;
    for (size_t i = 0; i < TENSORS; i++) {
        if (c->tensors[i].place == WEFT_PLACE_CARD) {
            copy(s, c->host[i], c->tensors[i].data, bytes_of(c));
        }
        right = right && memcmp(c->host[i], c->expected[i], bytes_of(c)) == 0;
    }
    return right;
}

static void run_right(const stage *s, call *c)
{
    weft_error error = {0};
    if (weft_run(s->model, &c->io, NULL, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    assert_true(is_right(s, c));
}

/* Every mix of places, at addresses that kernels like and others, often enough for a
 * graph. */
static void try_all_places(const char *text, weft_type type)
{
    static const size_t shifts[] = {0, 16, 4, 2};
    enum { RUNS = 80 };
    stage s = open_stage("cuda:0", text);
    call c;
    make_call(&s, &c, type, 1);
    for (size_t k = 0; k < WEFTI_COUNT_OF(shifts); k++) {
        if (shifts[k] % weft_type_size(type) != 0) {
            continue;
        }
        for (uint32_t mix = 0; mix <= ALL_ON_CARD; mix++) {
            place(&s, &c, mix, shifts[k]);
            run_right(&s, &c);
        }
        for (uint32_t i = 0; i < RUNS / crew_divisor(); i++) {
            place(&s, &c, ALL_ON_CARD, shifts[k]);
            run_right(&s, &c);
        }
    }
    drop_call(&c);
    close_stage(&s);
}

static void test_any_place(void **state)
{
    (void)state;
    try_all_places(net, WEFT_TYPE_F32);
}

static void test_any_place_of_halves(void **state)
{
    (void)state;
    try_all_places(rounding, WEFT_TYPE_F16);
}

/* Addresses that change from run to run, and come again. */
static void test_addresses_change(void **state)
{
    (void)state;
    enum { CALLS = 3 * WEFTI_CUDA_MOST_PLACES, ROUNDS = 40 };
    stage s = open_stage("cuda:0", net);
    static call calls[CALLS];
    for (uint32_t i = 0; i < CALLS; i++) {
        make_call(&s, &calls[i], WEFT_TYPE_F32, i);
        place(&s, &calls[i], ALL_ON_CARD, 0);
    }
    for (uint32_t turn = 1; turn <= CALLS; turn *= 2) { /* addresses in use */
        for (uint32_t i = 0; i < ROUNDS * turn / crew_divisor(); i++) {
            run_right(&s, &calls[i % turn]);
        }
    }
    /* Of each stream as many as are kept, and one for host memory. */
    assert_true(fake_driver_count().executables <=
                (WEFTI_CUDA_MOST_PLACES + 1) * WEFTI_CUDA_MOST_GRAPHS);
    for (uint32_t i = 0; i < CALLS; i++) {
        drop_call(&calls[i]);
    }
    close_stage(&s);
}

typedef struct crowd {
    stage s; /* which all only read */
    uint32_t wrong[THREADS];
} crowd;

static void run_own(void *user, uint32_t index)
{
    crowd *all = user;
    stage s = all->s;
    enum { RUNS = 100 };
    call c;
    assert_int_equal(weft_stream_acquire(s.device, &s.stream, NULL), WEFT_OK);
    make_call(&s, &c, WEFT_TYPE_F32, 100 + index);
    for (uint32_t i = 0; i < RUNS / crew_divisor(); i++) {
        place(&s, &c, i % 5 == 4 ? i % ALL_ON_CARD : ALL_ON_CARD, 0);
        weft_status status = WEFT_OK;
        if (i % 3 == 2) {
            weft_request *request = NULL;
            status = weft_submit(s.model, &c.io, NULL, &request, NULL);
            status = status ? status : weft_request_wait(request, WEFT_FOREVER, NULL);
            weft_request_release(request);
        } else {
            status = weft_run(s.model, &c.io, NULL, NULL);
        }
        all->wrong[index] += status != WEFT_OK || !is_right(&s, &c);
    }
    drop_call(&c);
    weft_stream_release(s.stream);
}

static void test_many_threads(void **state)
{
    (void)state;
    crowd all = {.s = open_stage("cuda:0", net)};
    crew_run(THREADS, run_own, &all);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(all.wrong[i], 0);
    }
    close_stage(&all.s);
}

static void refused(weft_status status, const weft_error *error, weft_status wanted,
                    const char *words)
{
    if (status != wanted || strstr(error->message, words) == NULL) {
        fail_msg("status %d, '%s' is not in: %s", (int)status, words, error->message);
    }
}

/* What was found to be the card's is forgotten when memory is freed. */
static void freed_memory_is_refused(const stage *s, call *c)
{
    const wefti_memory_table *memory = &s->device->backend->memory;
    void *const own = c->tensors[1].data;
    weft_error error = {0};
    void *block;
    assert_int_equal(memory->allocate(s->device->cards[0], BYTES, &block, NULL),
                     WEFT_OK);
    c->tensors[1].data = block;
    assert_int_equal(weft_run(s->model, &c->io, NULL, NULL), WEFT_OK);
    memory->free(s->device->cards[0], block, BYTES);
    refused(weft_run(s->model, &c->io, NULL, &error), &error, WEFT_INVALID_ARGUMENT,
            "input 'z': the data should lie on cuda:0 and is host memory");
    c->tensors[1].data = own;
}

/* The first and the last byte are the card's, and what is between is not all. */
static void memory_of_two_blocks_is_refused(const stage *s)
{
    const wefti_memory_table *memory = &s->device->backend->memory;
    wefti_backend_device *card = s->device->cards[0];
    weft_error error = {0};
    void *blocks[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(memory->allocate(card, BYTES, &blocks[i], NULL), WEFT_OK);
    }
    const size_t first = (uintptr_t)blocks[0] > (uintptr_t)blocks[1];
    const size_t apart = (uintptr_t)blocks[!first] - (uintptr_t)blocks[first];
    assert_int_equal(memory->check(card, blocks[first], BYTES, NULL), WEFT_OK);
    assert_int_equal(memory->check(card, (char *)blocks[first] + 4, BYTES - 4, NULL),
                     WEFT_OK);
    refused(memory->check(card, blocks[first], apart + BYTES, &error), &error,
            WEFT_INVALID_ARGUMENT, "its memory on cuda:0 ends after 1024 of them");
    for (size_t i = 0; i < 2; i++) {
        memory->free(card, blocks[i], BYTES);
    }
}

static void test_memory_of_elsewhere_is_refused(void **state)
{
    (void)state;
    stage s = open_stage("cuda:0", net);
    weft_error error = {0};
    call c;
    make_call(&s, &c, WEFT_TYPE_F32, 1);
    place(&s, &c, ALL_ON_CARD, 0);
    void *own = c.tensors[1].data;
    c.tensors[1].data = c.host[1];
    refused(weft_run(s.model, &c.io, NULL, &error), &error, WEFT_INVALID_ARGUMENT,
            "input 'z': the data should lie on cuda:0 and is host memory");
    weft_request *request = NULL;
    refused(weft_submit(s.model, &c.io, NULL, &request, &error), &error,
            WEFT_INVALID_ARGUMENT, "input 'z': the data should lie on cuda:0");
    c.tensors[1].data = own;
    c.tensors[3].place = (weft_place)7;
    refused(weft_run(s.model, &c.io, NULL, &error), &error, WEFT_INVALID_ARGUMENT,
            "output 's' lies at place 7");
    c.tensors[3].place = WEFT_PLACE_CARD;
    if (fake.there) { /* a card's driver rounds up what it gives */
        const wefti_memory_table *memory = &s.device->backend->memory;
        void *block;
        assert_int_equal(memory->allocate(s.device->cards[0], BYTES, &block, NULL),
                         WEFT_OK);
        c.tensors[1].data = (char *)block + BYTES / 2;
        refused(weft_run(s.model, &c.io, NULL, &error), &error, WEFT_INVALID_ARGUMENT,
                "input 'z': the data begins on cuda:0 and ends in host memory");
        c.tensors[1].data = own;
        memory->free(s.device->cards[0], block, BYTES);
        freed_memory_is_refused(&s, &c);
        memory_of_two_blocks_is_refused(&s);
    }
    c.tensors[3].rank = -1;
    c.tensors[3].data = NULL;
    refused(weft_run(s.model, &c.io, NULL, &error), &error, WEFT_INVALID_ARGUMENT,
            "output 's' has room for 0 bytes");
    c.tensors[3].size_bytes = BYTES;
    refused(weft_run(s.model, &c.io, NULL, &error), &error, WEFT_INVALID_ARGUMENT,
            "output 's' has no data");
    c.tensors[3].data = card_data(&c, 3, 0);
    run_right(&s, &c);
    assert_int_equal(c.tensors[3].rank, 2);
    drop_call(&c);
    close_stage(&s);
}

static void test_memory_of_another_card_is_refused(void **state)
{
    (void)state;
    stage far;
    weft_error error = {0};
    weft_device *device = NULL;
    if (weft_device_open("cuda:1", NULL, &device, NULL) != WEFT_OK) {
        skip();
    }
    weft_device_release(device);
    far = open_stage("cuda:1", net);
    stage s = open_stage("cuda:0", net);
    call c;
    make_call(&far, &c, WEFT_TYPE_F32, 1);
    place(&far, &c, ALL_ON_CARD, 0);
    run_right(&far, &c);
    refused(weft_run(s.model, &c.io, NULL, &error), &error, WEFT_INVALID_ARGUMENT,
            "input 'x': the data should lie on cuda:0 and is memory of cuda:1");
    weft_stream_release(s.stream);
    weft_model_release(s.model);
    weft_device_release(s.device);
    /* Of several cards, who runs is not known yet. */
    assert_int_equal(weft_device_open("cuda:0,1", NULL, &device, NULL), WEFT_OK);
    weft_model *both = make_model(device, net);
    refused(weft_run(both, &c.io, NULL, &error), &error, WEFT_UNSUPPORTED,
            "the device 'cuda:0,1' is several");
    weft_model_release(both);
    weft_device_release(device);
    drop_call(&c);
    close_stage(&far);
}

/* What is read by the host, or copied by it, wherever it runs. */
static void test_what_takes_host_memory_says_so(void **state)
{
    (void)state;
    static const char of_value[] = "x: f32[4,64]; k: i64[2]; y = Reshape(x,k); -> y";
    static const char staged[] = "x: f32[4,64]; n = NonZero(x); -> n";
    static const char *const devices[] = {"cuda:0", "cpu", "null"};
    weft_error error = {0};
    int64_t shape[] = {COUNT, 1};
    float data[COUNT] = {0}, answer[COUNT];
    weft_tensor inputs[] = {
        {.data = data, .type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, WIDTH}},
        {.data = shape, .type = WEFT_TYPE_I64, .rank = 1, .dims = {2}}};
    weft_tensor output = {.data = answer, .size_bytes = BYTES, .rank = -1};
    const weft_io io = {inputs, 2, &output, 1}, io_of_one = {inputs, 1, &output, 1};
    inputs[1].place = WEFT_PLACE_CARD;
    for (size_t i = 0; i < WEFTI_COUNT_OF(devices); i++) {
        stage s = open_stage(devices[i], of_value);
        refused(weft_run(s.model, &io, NULL, &error), &error, WEFT_UNSUPPORTED,
                "input 'k' lies on a card; constants, values");
        close_stage(&s);
        s = open_stage(devices[i], staged);
        inputs[0].place = WEFT_PLACE_CARD;
        refused(weft_run(s.model, &io_of_one, NULL, &error), &error, WEFT_UNSUPPORTED,
                "input 'x' lies on a card");
        inputs[0].place = WEFT_PLACE_HOST;
        output.place = WEFT_PLACE_CARD;
        refused(weft_run(s.model, &io_of_one, NULL, &error), &error, WEFT_UNSUPPORTED,
                "output 'n' lies on a card");
        output.place = WEFT_PLACE_HOST;
        close_stage(&s);
    }
}

/* Requests with a callback are run by workers. */
static void not_led(void *user, weft_request *request, weft_status status)
{
    (void)user, (void)request, (void)status;
}

static void test_queues_and_hosts_say_so(void **state)
{
    (void)state;
    static const char *const devices[] = {"cuda:0", "cpu", "null"};
    for (size_t i = 0; i < WEFTI_COUNT_OF(devices); i++) {
        stage s = open_stage(devices[i], net);
        weft_error error = {0};
        weft_queue *queue;
        weft_request *request = NULL;
        call c;
        make_call(&s, &c, WEFT_TYPE_F32, 1);
        assert_int_equal(weft_queue_create(s.device, NULL, &queue, NULL), WEFT_OK);
        assert_int_equal(weft_queue_add_model(queue, s.model, NULL, NULL), WEFT_OK);
        for (uint32_t tensor = 0; tensor < TENSORS; tensor += 3) {
            place(&s, &c, 1u << tensor, 0);
            refused(weft_queue_submit(queue, s.model, &c.io, NULL, &request, &error),
                    &error, WEFT_UNSUPPORTED,
                    tensor == 0 ? "input 'x' lies on a card" : "output 's' lies on");
            if (i > 0) {
                refused(weft_run(s.model, &c.io, NULL, &error), &error,
                        WEFT_UNSUPPORTED, "takes host memory");
            }
        }
        /* What was refused is not what others of its shape are taken for. */
        place(&s, &c, 0, 0);
        weft_queue_submit_params params = WEFT_QUEUE_SUBMIT_PARAMS_INIT;
        params.callback = not_led;
        assert_int_equal(
            weft_queue_submit(queue, s.model, &c.io, &params, &request, NULL), WEFT_OK);
        assert_int_equal(weft_request_wait(request, WEFT_FOREVER, NULL), WEFT_OK);
        weft_request_release(request);
        weft_queue_release(queue);
        drop_call(&c);
        close_stage(&s);
    }
}

/* Also a mask that the library would make, whose data is not read. */
static void a_mask_says_so(weft_device *device, const weft_bucket_params *bucket)
{
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    weft_model *model;
    weft_error error = {0};
    float x[4 * WIDTH] = {0}, y[4 * WIDTH];
    params.buckets = bucket;
    params.bucket_count = 1;
    weft_graph *graph =
        graph_text_make("x: f32[rows,64]; m: f32[rows,1]; y = Mul(x,m); -> y", 20);
    assert_int_equal(weft_model_create(device, graph, &params, &model, NULL), WEFT_OK);
    weft_graph_release(graph);
    weft_tensor inputs[] = {
        {.data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {4, WIDTH}},
        {.type = WEFT_TYPE_F32, .rank = 2, .dims = {4, 1}}};
    weft_tensor output = inputs[0];
    const weft_io io = {inputs, 2, &output, 1};
    output.data = y;
    assert_int_equal(weft_run(model, &io, NULL, NULL), WEFT_OK);
    inputs[1].place = WEFT_PLACE_CARD;
    refused(weft_run(model, &io, NULL, &error), &error, WEFT_UNSUPPORTED,
            "input 'm' lies on a card");
    inputs[1].place = (weft_place)7;
    refused(weft_run(model, &io, NULL, &error), &error, WEFT_INVALID_ARGUMENT,
            "input 'm' lies at place 7");
    weft_model_release(model);
}

static void test_buckets_say_so(void **state)
{
    (void)state;
    static const int64_t sizes[] = {8, 16};
    stage s = open_stage("cuda:0", net);
    weft_bucket_params bucket = WEFT_BUCKET_PARAMS_INIT;
    weft_model_params params = WEFT_MODEL_PARAMS_INIT;
    weft_model *model;
    weft_error error = {0};
    bucket.dimension = "rows";
    bucket.sizes = sizes;
    bucket.size_count = 2;
    params.buckets = &bucket;
    params.bucket_count = 1;
    weft_graph *graph = graph_text_make("x: f32[rows,64]; y = Neg(x); -> y", 20);
    assert_int_equal(weft_model_create(s.device, graph, &params, &model, NULL),
                     WEFT_OK);
    weft_graph_release(graph);
    for (int64_t rows = 7; rows <= 8; rows++) { /* padded, and as it is */
        float x[8 * WIDTH] = {0}, y[8 * WIDTH];
        weft_tensor input = {
            .data = x, .type = WEFT_TYPE_F32, .rank = 2, .dims = {rows, WIDTH}};
        weft_tensor output = input;
        const weft_io io = {&input, 1, &output, 1};
        output.data = y;
        input.place = WEFT_PLACE_CARD;
        refused(weft_run(model, &io, NULL, &error), &error, WEFT_UNSUPPORTED,
                "input 'x' lies on a card");
        input.place = WEFT_PLACE_HOST;
        output.place = WEFT_PLACE_CARD;
        refused(weft_run(model, &io, NULL, &error), &error, WEFT_UNSUPPORTED,
                "output 'y' lies on a card");
    }
    weft_model_release(model);
    bucket.mask_input = "m";
    a_mask_says_so(s.device, &bucket);
    close_stage(&s);
}

/* Bad data is told in the words for host memory, and the output is zeroed. */
static void test_a_failed_run_zeroes_its_outputs(void **state)
{
    (void)state;
    enum { PICKED = 3 };
    stage s = open_stage("cuda:0", looking_up);
    int64_t indices[PICKED] = {0, 9, 1};
    float x[COUNT] = {1.0f}, y[PICKED * WIDTH], zeroes[PICKED * WIDTH] = {0};
    const size_t sizes[] = {sizeof(x), sizeof(indices), sizeof(y)};
    void *const host[] = {x, indices, y};
    weft_memory *memory[3];
    weft_tensor tensors[] = {
        {.type = WEFT_TYPE_F32, .rank = 2, .dims = {ROWS, WIDTH}},
        {.type = WEFT_TYPE_I64, .rank = 1, .dims = {PICKED}},
        {.type = WEFT_TYPE_F32, .rank = 2, .dims = {PICKED, WIDTH}}};
    const weft_io io = {tensors, 2, tensors + 2, 1};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(weft_memory_allocate(s.stream, sizes[i], &memory[i], NULL),
                         WEFT_OK);
    }
    for (int on_card = 0; on_card < 2; on_card++) {
        weft_error error = {0};
        memset(y, 0x55, sizeof(y));
        for (size_t i = 0; i < 3; i++) {
            tensors[i].data = on_card ? weft_memory_data(memory[i]) : host[i];
            tensors[i].place = on_card ? WEFT_PLACE_CARD : WEFT_PLACE_HOST;
            if (on_card) {
                copy(&s, tensors[i].data, host[i], sizes[i]);
            }
        }
        weft_status status = weft_run(s.model, &io, NULL, &error);
        refused(status, &error, WEFT_INVALID_ARGUMENT, "index 9 at position 1");
        if (on_card) {
            copy(&s, y, tensors[2].data, sizeof(y));
        }
        assert_memory_equal(y, zeroes, sizeof(y));
    }
    for (size_t i = 0; i < 3; i++) {
        weft_memory_release(memory[i]);
    }
    close_stage(&s);
}

/* Some runs, by launches and by a graph, of which any call may fail. The last ones have
 * the inputs that are at the begin. */
static weft_status run_some(const stage *s, call *c, weft_error *error)
{
    static const size_t shifts[] = {4, 0};
    enum { RUNS = 3 };
    for (uint32_t i = 0; i < 2 * RUNS; i++) {
        const size_t shift = shifts[i / RUNS];
        for (size_t k = 0; k < TENSORS; k++) {
            c->tensors[k].data = card_data(c, k, shift);
        }
        WEFTI_TRY(weft_run(s->model, &c->io, NULL, error));
    }
    return WEFT_OK;
}

/* Whether the n-th call of the driver in some runs, which fails, was reached. */
static bool fail_a_call(uint64_t n, int result, weft_profiler *profiler)
{
    stage s = open_profiled("cuda:0", net, profiler);
    s.device->cards[0]->launches_before_graph = 1;
    call c;
    weft_error error = {0};
    make_call(&s, &c, WEFT_TYPE_F32, 1);
    place(&s, &c, ALL_ON_CARD, 4);
    place(&s, &c, ALL_ON_CARD, 0);
    (void)fake.fail_at(n, result);
    weft_status status = run_some(&s, &c, &error);
    const bool hit = fake.fail_at(0, 0) != 0;
    assert_true(hit || status == WEFT_OK);
    if (status == WEFT_OK) { /* such as for want of a graph, or of a span */
        assert_true(is_right(&s, &c));
    } else { /* it harmed nobody */
        assert_true(error.message[0] != '\0');
        place(&s, &c, ALL_ON_CARD, 0);
        run_right(&s, &c);
    }
    drop_call(&c);
    close_stage(&s);
    return hit;
}

static void test_every_failed_call_is_an_answer(void **state)
{
    (void)state;
    static const int results[] = {CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_OUT_OF_MEMORY};
    if (!fake.there) {
        skip();
    }
    for (size_t k = 0; k < WEFTI_COUNT_OF(results); k++) {
        for (uint64_t n = 1; fail_a_call(n, results[k], NULL); n += crew_divisor()) {
        }
    }
}

/* A run's events and the wait for them: without them it is not in the profile. */
static void test_every_failed_call_is_an_answer_when_recorded(void **state)
{
    (void)state;
    weft_profiler *profiler;
    if (!fake.there) {
        skip();
    }
    assert_int_equal(weft_profiler_create(NULL, &profiler, NULL), WEFT_OK);
    for (uint64_t n = 1; fail_a_call(n, CUDA_ERROR_OUT_OF_MEMORY, profiler);
         n += crew_divisor()) {
    }
    weft_profiler_release(profiler);
}

static int find_card(void **state)
{
    (void)state;
    (void)fake_driver_find();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_place),
        cmocka_unit_test(test_any_place_of_halves),
        cmocka_unit_test(test_addresses_change),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_memory_of_elsewhere_is_refused),
        cmocka_unit_test(test_memory_of_another_card_is_refused),
        cmocka_unit_test(test_what_takes_host_memory_says_so),
        cmocka_unit_test(test_queues_and_hosts_say_so),
        cmocka_unit_test(test_buckets_say_so),
        cmocka_unit_test(test_a_failed_run_zeroes_its_outputs),
        cmocka_unit_test(test_every_failed_call_is_an_answer),
        cmocka_unit_test(test_every_failed_call_is_an_answer_when_recorded),
    };
    return card_can_be_opened("cuda:0") ? cmocka_run_group_tests(tests, find_card, NULL)
                                        : 0;
}

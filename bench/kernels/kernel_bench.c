/* SPDX-License-Identifier: Apache-2.0 */
/* Rates of the product kernels on one thread, beside oneDNN on the same work.
 * Usage: kernel_bench [isa] [text that the row's name contains] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cpu/cpu_kernel.h"
#include "base/memory.h"
#include "dnnl_peer.h"

enum { SAMPLES = 15, SAMPLE_NS = 400 * 1000 };

static const wefti_cpu_isa *isa;
static const char *wanted;

/* The thread's own time: what others do on the machine counts less. */
static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static float *numbers(int64_t count)
{
    float *x = wefti_malloc_aligned(sizeof(float) * (size_t)(count > 0 ? count : 1));
    for (int64_t i = 0; i < count; i++) {
        x[i] = (float)(i * 7919 % 2047 - 1023) / 1024.0f;
    }
    return x;
}

/* One of ours, ready to run. */
typedef struct ours {
    wefti_cpu_prepared prepared;
    wefti_cpu_call call;
    void *scratch, *packed;
} ours;

static bool ours_init(ours *o, const wefti_step *step, void *const *operands)
{
    memset(o, 0, sizeof(*o));
    o->prepared.packed_operand = -1;
    weft_error error;
    if (isa->prepare[step->kernel](step, true, &o->prepared, &error) != WEFT_OK) {
        printf("%s\n", error.message);
        return false;
    }
    o->call.params = step->params;
    o->call.derived = o->prepared.derived;
    memcpy(o->call.operands, operands, sizeof(o->call.operands));
    o->scratch = wefti_malloc_aligned(o->prepared.scratch_bytes + 64);
    if (o->prepared.packed_operand >= 0) {
        o->packed = wefti_malloc_aligned(o->prepared.packed_bytes);
        o->prepared.pack(o->packed, operands[o->prepared.packed_operand], step->params);
        o->call.operands[o->prepared.packed_operand] = o->packed;
    }
    return true;
}

static void ours_fini(ours *o)
{
    wefti_free(o->scratch);
    wefti_free(o->packed);
    wefti_free(o->prepared.derived);
}

static void run_once(ours *o, dnnl_peer *peer)
{
    if (peer != NULL) {
        dnnl_peer_run(peer);
    } else {
        (void)o->prepared.function(&o->call, o->scratch, 0, o->prepared.tile_count,
                                   NULL);
    }
}

/* Nanoseconds of one run: the mean of many calls, the least of several samples. */
static double sample(ours *o, dnnl_peer *peer, int64_t calls)
{
    int64_t start = now_ns();
    for (int64_t i = 0; i < calls; i++) {
        run_once(o, peer);
    }
    return (double)(now_ns() - start) / (double)calls;
}

static void measure(const char *name, const wefti_step *step, void *const *operands,
                    dnnl_peer *peer, double multiply_adds)
{
    ours o;
    if (!ours_init(&o, step, operands)) {
        return;
    }
    double mine = 1e18, theirs = 1e18;
    (void)sample(&o, NULL, 3);
    const double one = sample(&o, NULL, 3);
    const int64_t calls = (int64_t)(SAMPLE_NS / one) + 1;
    for (int32_t i = 0; i < SAMPLES; i++) {
        double t = sample(&o, NULL, calls);
        mine = t < mine ? t : mine;
        if (peer != NULL) {
            t = sample(&o, peer, calls);
            theirs = t < theirs ? t : theirs;
        }
    }
    printf("%-34s %9.2f us %7.1f GFLOP/s", name, mine / 1e3, 2 * multiply_adds / mine);
    if (peer != NULL) {
        printf("  oneDNN %7.1f  ratio %5.2f", 2 * multiply_adds / theirs,
               theirs / mine);
    } else {
        printf("%29s", "");
    }
    printf("  est %6.1f us  %s\n", o.prepared.work_ns / 1e3, o.prepared.description);
    ours_fini(&o);
}

static void set_operand(wefti_step *step, void **operands, int32_t index, void *data,
                        bool constant)
{
    operands[index] = data;
    step->operands[index].constant = constant ? data : NULL;
    step->operands[index].slot = constant ? WEFTI_SLOT_ABSENT : index + 1;
}

static wefti_step new_step(wefti_kernel kernel, const void *params, size_t bytes)
{
    wefti_step step = {.kernel = kernel, .params = params, .params_bytes = bytes};
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        step.operands[i] = WEFTI_OPERAND_ABSENT;
    }
    return step;
}

static bool skipped(const char *name)
{
    return wanted != NULL && strstr(name, wanted) == NULL;
}

static void bench_matmul(int64_t batch, int64_t m, int64_t k, int64_t n, bool constant)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "matmul%s %ldx%ldx%ldx%ld",
                   constant ? " packed" : "", (long)batch, (long)m, (long)k, (long)n);
    if (skipped(name)) {
        return;
    }
    wefti_matmul_params p = {.m = m,
                             .n = n,
                             .k = k,
                             .a_row_stride = k,
                             .a_column_stride = 1,
                             .b_row_stride = n,
                             .b_column_stride = 1,
                             .c_row_stride = n,
                             .batch_rank = batch > 1 ? 1 : 0,
                             .batch_dims = {batch},
                             .a_batch_strides = {m * k},
                             .b_batch_strides = {k * n},
                             .c_batch_strides = {m * n},
                             .alpha = 1.0f};
    float *a = numbers(batch * m * k), *b = numbers(batch * k * n);
    float *c = numbers(batch * m * n), *d = numbers(batch * m * n);
    void *operands[WEFTI_MAX_OPERANDS] = {0};
    wefti_step step = new_step(WEFTI_KERNEL_MATMUL, &p, sizeof(p));
    set_operand(&step, operands, WEFTI_MATMUL_A, a, false);
    set_operand(&step, operands, WEFTI_MATMUL_B, b, constant);
    set_operand(&step, operands, WEFTI_MATMUL_C, c, false);
    dnnl_peer *peer = dnnl_peer_matmul(&p, a, b, d, constant);
    measure(name, &step, operands, peer, (double)batch * (double)(m * n * k));
    dnnl_peer_destroy(peer);
    wefti_free(a);
    wefti_free(b);
    wefti_free(c);
    wefti_free(d);
}

/* Sizes are those of the input. */
typedef struct conv_shape {
    int64_t batch, in, out, height, width, kernel, stride;
} conv_shape;

static void bench_strided_conv(const conv_shape *s)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "conv %ldx%ld->%ldx%ldx%ld k%ld%s",
                   (long)s->batch, (long)s->in, (long)s->out, (long)s->height,
                   (long)s->width, (long)s->kernel, s->stride == 1 ? "" : " s2");
    if (skipped(name)) {
        return;
    }
    const int64_t kernel_y = s->height > 1 ? s->kernel : 1;
    const int64_t height = (s->height - 1) / s->stride + 1;
    const int64_t width = (s->width - 1) / s->stride + 1;
    wefti_conv_params p = {.batch = s->batch,
                           .in_channels = s->in,
                           .out_channels = s->out,
                           .groups = 1,
                           .in_dims = {1, s->height, s->width},
                           .out_dims = {1, height, width},
                           .kernel_dims = {1, kernel_y, s->kernel},
                           .strides = {1, s->stride, s->stride},
                           .dilations = {1, 1, 1},
                           .pads_begin = {0, kernel_y / 2, s->kernel / 2}};
    float *x = numbers(s->batch * s->in * s->height * s->width);
    float *w = numbers(s->out * s->in * kernel_y * s->kernel), *b = numbers(s->out);
    float *y = numbers(s->batch * s->out * height * width);
    float *z = numbers(s->batch * s->out * height * width);
    void *operands[WEFTI_MAX_OPERANDS] = {0};
    wefti_step step = new_step(WEFTI_KERNEL_CONV, &p, sizeof(p));
    set_operand(&step, operands, WEFTI_CONV_INPUT, x, false);
    set_operand(&step, operands, WEFTI_CONV_WEIGHT, w, true);
    set_operand(&step, operands, WEFTI_CONV_BIAS, b, true);
    set_operand(&step, operands, WEFTI_CONV_OUTPUT, y, false);
    dnnl_peer *peer = dnnl_peer_conv(&p, x, w, b, z);
    measure(name, &step, operands, peer,
            (double)(s->batch * s->in * s->out * height) *
                (double)(width * kernel_y * s->kernel));
    dnnl_peer_destroy(peer);
    wefti_free(x);
    wefti_free(w);
    wefti_free(b);
    wefti_free(y);
    wefti_free(z);
}

static void bench_conv(int64_t batch, int64_t in, int64_t out, int64_t height,
                       int64_t width, int64_t kernel)
{
    bench_strided_conv(&(conv_shape){batch, in, out, height, width, kernel, 1});
}

/* The convolutions of ResNet-50 on one image of 224 x 224. */
static void bench_resnet(void)
{
    static const conv_shape shapes[] = {
        {1, 3, 64, 224, 224, 7, 2},   {1, 64, 64, 56, 56, 1, 1},
        {1, 64, 64, 56, 56, 3, 1},    {1, 64, 256, 56, 56, 1, 1},
        {1, 256, 64, 56, 56, 1, 1},   {1, 256, 128, 56, 56, 1, 1},
        {1, 128, 128, 56, 56, 3, 2},  {1, 256, 512, 56, 56, 1, 2},
        {1, 128, 512, 28, 28, 1, 1},  {1, 512, 128, 28, 28, 1, 1},
        {1, 128, 128, 28, 28, 3, 1},  {1, 512, 256, 28, 28, 1, 1},
        {1, 256, 256, 28, 28, 3, 2},  {1, 512, 1024, 28, 28, 1, 2},
        {1, 256, 1024, 14, 14, 1, 1}, {1, 1024, 256, 14, 14, 1, 1},
        {1, 256, 256, 14, 14, 3, 1},  {1, 1024, 512, 14, 14, 1, 1},
        {1, 512, 512, 14, 14, 3, 2},  {1, 1024, 2048, 14, 14, 1, 2},
        {1, 512, 2048, 7, 7, 1, 1},   {1, 2048, 512, 7, 7, 1, 1},
        {1, 512, 512, 7, 7, 3, 1}};
    for (size_t i = 0; i < WEFTI_COUNT_OF(shapes); i++) {
        bench_strided_conv(&shapes[i]);
    }
}

/* Heads side by side in the rows of one packed projection. */
static void bench_attention(int64_t batch, int64_t length, int64_t heads, int64_t size)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "attention %ldx%ld %ld heads of %ld",
                   (long)batch, (long)length, (long)heads, (long)size);
    if (skipped(name)) {
        return;
    }
    const int64_t width = heads * size;
    const wefti_attention_strides in = {length * 3 * width, size, 3 * width};
    wefti_attention_params p = {.batch = batch,
                                .heads = heads,
                                .kv_heads = heads,
                                .query_length = length,
                                .key_length = length,
                                .head_size = size,
                                .value_size = size,
                                .scale = 0.125f,
                                .q = in,
                                .k = in,
                                .v = in,
                                .output = {length * width, size, width}};
    float *qkv = numbers(batch * length * 3 * width);
    float *output = numbers(batch * length * width);
    void *operands[WEFTI_MAX_OPERANDS] = {0};
    wefti_step step = new_step(WEFTI_KERNEL_ATTENTION, &p, sizeof(p));
    set_operand(&step, operands, WEFTI_ATTENTION_Q, qkv, false);
    set_operand(&step, operands, WEFTI_ATTENTION_K, qkv + width, false);
    set_operand(&step, operands, WEFTI_ATTENTION_V, qkv + 2 * width, false);
    set_operand(&step, operands, WEFTI_ATTENTION_OUTPUT, output, false);
    measure(name, &step, operands, NULL,
            2.0 * (double)(batch * heads * length) * (double)(length * size));
    wefti_free(qkv);
    wefti_free(output);
}

static void bench_all(void)
{
    static const int64_t rows[] = {1, 2, 4, 6, 8, 16, 32, 64, 128, 512};
    static const int64_t sizes[] = {256, 512, 2048};
    for (size_t i = 0; i < WEFTI_COUNT_OF(rows); i++) {
        for (size_t j = 0; j < 9; j++) {
            bench_matmul(1, rows[i], sizes[j / 3], sizes[j % 3], true);
        }
    }
    bench_matmul(1, 4, 256, 128, true);
    bench_matmul(1, 32, 64, 128, true);
    bench_matmul(1, 16, 512, 256, true);
    bench_matmul(1, 256, 256, 256, false);
    bench_matmul(1, 256, 512, 256, false);
    bench_matmul(1, 1024, 1024, 1024, false);
    bench_matmul(8, 64, 64, 64, false);
    for (int64_t m = 1; m <= 512; m *= 2) {
        bench_matmul(1, m, 256, 1024, false);
        bench_matmul(1, m, 512, 1000, false);
        bench_matmul(1, m, 256, 256, false);
    }
    bench_conv(4, 64, 64, 1, 128, 3);
    bench_conv(4, 1, 64, 1, 1024, 3);
    bench_conv(4, 64, 64, 1, 1024, 3);
    bench_conv(4, 64, 1, 1, 1024, 3);
    bench_conv(4, 3, 64, 224, 224, 3);
    bench_conv(1, 80, 256, 1, 200, 5);
    bench_conv(1, 256, 256, 1, 200, 5);
    bench_resnet();
    bench_attention(4, 128, 4, 64);
    bench_attention(4, 32, 4, 64);
    bench_attention(1, 64, 8, 64);
    bench_attention(1, 1024, 4, 64);
}

int main(int argc, char **argv)
{
    const wefti_cpu_isa *const *at = wefti_cpu_isas;
    while (*at != NULL &&
           (!(*at)->supported() ||
            (argc > 1 && argv[1][0] != '\0' && strcmp(argv[1], (*at)->name) != 0))) {
        at++;
    }
    if (*at == NULL) {
        fprintf(stderr, "kernel_bench: this machine or build has no \"%s\"\n", argv[1]);
        return 1;
    }
    isa = *at;
    wanted = argc > 2 ? argv[2] : NULL;
    printf("%s, one thread\n", isa->name);
    bench_all();
    return 0;
}

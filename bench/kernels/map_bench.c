/* SPDX-License-Identifier: Apache-2.0 */
/* Rates of the kernels that map, move and reduce, on one thread.
 * Usage: map_bench [isa] [text that the row's name contains] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/cpu/cpu_kernel.h"
#include "base/memory.h"

enum { SAMPLES = 25, SAMPLE_NS = 300 * 1000 };

static const wefti_cpu_isa *isa;
static const char *wanted = "";

/* The thread's own time: what others do on the machine counts less. */
static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* `bytes` of floats between -4 and 4. */
static void *numbers(int64_t bytes)
{
    float *x = wefti_malloc_aligned((size_t)bytes + 64);
    for (int64_t i = 0; i < bytes / 4; i++) {
        x[i] = (float)(i * 7919 % 4093 - 2046) / 512.0f;
    }
    return x;
}

static double best_ns(const wefti_cpu_prepared *prepared, const wefti_cpu_call *call,
                      void *scratch)
{
    double best = 1e30;
    int64_t calls = 1;
    for (int32_t sample = 0; sample < SAMPLES; sample++) {
        int64_t start = now_ns();
        for (int64_t i = 0; i < calls; i++) {
            weft_error error;
            if (prepared->function(call, scratch, 0, prepared->tile_count, &error) !=
                WEFT_OK) {
                printf("%s\n", error.message);
                exit(1);
            }
        }
        int64_t spent = now_ns() - start;
        double each = (double)spent / (double)calls;
        if (spent < SAMPLE_NS / 2) {
            calls *= 2;
            sample = 0;
            best = 1e30;
        } else {
            best = each < best ? each : best;
        }
    }
    return best;
}

/* One row: `bytes` is what the call must read and write. */
static void measure(const char *name, wefti_kernel kernel, const void *params,
                    void *const operands[WEFTI_MAX_OPERANDS], double bytes)
{
    if (strstr(name, wanted) == NULL) {
        return;
    }
    wefti_step step = {.kernel = kernel, .params = params, .label = name};
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        step.operands[i].slot = operands[i] != NULL ? i + 1 : WEFTI_SLOT_ABSENT;
    }
    wefti_cpu_prepared prepared = {.packed_operand = -1};
    weft_error error;
    if (isa->prepare[kernel](&step, false, &prepared, &error) != WEFT_OK) {
        printf("%-34s %s\n", name, error.message);
        return;
    }
    wefti_cpu_call call = {.params = params, .derived = prepared.derived};
    memcpy(call.operands, operands, sizeof(call.operands));
    void *scratch = wefti_malloc_aligned(prepared.scratch_bytes + 64);
    double ns = best_ns(&prepared, &call, scratch);
    printf("%-34s %12.0f ns %8.1f GB/s %6lld tiles  estimate %+.0f%%\n", name, ns,
           bytes / ns, (long long)prepared.tile_count,
           100.0 * (prepared.work_ns / ns - 1.0));
    wefti_free(scratch);
    wefti_free(prepared.derived);
}

static void map(const char *name, const wefti_elementwise_params *params, double bytes)
{
    int64_t most = 1;
    for (int32_t i = 0; i < params->rank; i++) {
        most *= params->dims[i];
    }
    void *operands[WEFTI_MAX_OPERANDS] = {NULL};
    for (int32_t i = 0; i < params->input_count; i++) {
        operands[i] = numbers(most * 8);
    }
    operands[WEFTI_ELEMENTWISE_OUTPUT] = numbers(most * 8);
    measure(name, WEFTI_KERNEL_ELEMENTWISE, params, operands, bytes);
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        wefti_free(operands[i]);
    }
}

static wefti_elementwise_params program(weft_type type, int64_t rows, int64_t columns)
{
    return (wefti_elementwise_params){.type = type,
                                      .output_type = type,
                                      .input_types = {type, type, type, type},
                                      .rank = 2,
                                      .dims = {rows, columns},
                                      .input_count = 1,
                                      .input_strides = {{columns, 1}},
                                      .instruction_count = 1};
}

static void unary_rows(void)
{
    static const wefti_operation operations[] = {
        WEFTI_OP_RELU, WEFTI_OP_EXP,       WEFTI_OP_LOG,  WEFTI_OP_ERF,
        WEFTI_OP_TANH, WEFTI_OP_SIGMOID,   WEFTI_OP_GELU, WEFTI_OP_GELU_TANH,
        WEFTI_OP_SIN,  WEFTI_OP_SOFTPLUS,  WEFTI_OP_ELU,  WEFTI_OP_SQRT,
        WEFTI_OP_CLIP, WEFTI_OP_RECIPROCAL};
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        wefti_elementwise_params p = program(WEFT_TYPE_F32, 32, 256);
        p.instructions[0].operation = operations[i];
        char name[64];
        snprintf(name, sizeof(name), "%s [32,256]",
                 wefti_operation_name(operations[i]));
        map(name, &p, 2.0 * 4.0 * 8192);
    }
    wefti_elementwise_params p = program(WEFT_TYPE_F32, 1, 8);
    p.instructions[0].operation = WEFTI_OP_RELU;
    map("relu [8]", &p, 64);
    p = program(WEFT_TYPE_F32, 8192, 768);
    p.instructions[0].operation = WEFTI_OP_GELU;
    map("gelu [16,512,768]", &p, 8.0 * 8192 * 768);
    p.instructions[0].operation = WEFTI_OP_RELU;
    map("relu [16,512,768]", &p, 8.0 * 8192 * 768);
}

static void binary_rows(void)
{
    wefti_elementwise_params p = program(WEFT_TYPE_F32, 32, 256);
    p.instructions[0] = (wefti_instruction){.operation = WEFTI_OP_ADD, .a = 0, .b = 1};
    p.input_count = 2;
    p.input_strides[1][0] = 256;
    p.input_strides[1][1] = 1;
    map("add [32,256] + same", &p, 12.0 * 8192);
    p.input_strides[1][0] = 0;
    map("add [32,256] + row", &p, 8.0 * 8192);
    p.input_strides[1][1] = 0;
    map("add [32,256] + scalar", &p, 8.0 * 8192);
    p.input_strides[1][0] = 1;
    map("add [32,256] + column", &p, 8.0 * 8192);
    p.input_strides[1][1] = 32;
    map("add [32,256] + transposed", &p, 12.0 * 8192);
    p.input_strides[1][0] = 256;
    p.input_strides[1][1] = 1;
    p.instructions[0].operation = WEFTI_OP_POW;
    map("pow [32,256]", &p, 12.0 * 8192);
    p.instructions[0].operation = WEFTI_OP_LESS;
    p.output_type = WEFT_TYPE_BOOL;
    map("less [32,256]", &p, 9.0 * 8192);
    p = program(WEFT_TYPE_F32, 32, 256);
    p.input_count = 3;
    p.input_types[0] = WEFT_TYPE_BOOL;
    p.input_strides[1][0] = 256;
    p.input_strides[1][1] = 1;
    p.instructions[0] =
        (wefti_instruction){.operation = WEFTI_OP_WHERE, .a = 0, .b = 1, .c = 2};
    map("where [32,256], scalar", &p, 9.0 * 8192);
    p = program(WEFT_TYPE_I64, 32, 256);
    p.instructions[0] = (wefti_instruction){.operation = WEFTI_OP_ADD, .a = 0, .b = 0};
    map("add i64 [32,256]", &p, 16.0 * 8192);
}

static void program_rows(void)
{
    wefti_elementwise_params p = program(WEFT_TYPE_F32, 512, 256);
    p.input_count = 2;
    p.input_strides[1][1] = 1;
    p.instructions[0] = (wefti_instruction){.operation = WEFTI_OP_ADD, .a = 0, .b = 1};
    p.instructions[1] = (wefti_instruction){.operation = WEFTI_OP_SIGMOID, .a = 4};
    p.instructions[2] = (wefti_instruction){.operation = WEFTI_OP_MUL, .a = 4, .b = 5};
    p.instruction_count = 3;
    map("(x + row) * sigmoid [512,256]", &p, 8.0 * 131072);
    p.instructions[1] = (wefti_instruction){.operation = WEFTI_OP_RELU, .a = 4};
    p.instruction_count = 2;
    map("relu(x + row) [512,256]", &p, 8.0 * 131072);
}

static void softmax(const char *name, int64_t rows, int64_t columns, bool logarithmic)
{
    wefti_softmax_params p = {rows, columns, logarithmic};
    void *operands[WEFTI_MAX_OPERANDS] = {numbers(4 * rows * columns),
                                          numbers(4 * rows * columns)};
    measure(name, WEFTI_KERNEL_SOFTMAX, &p, operands, 8.0 * (double)(rows * columns));
    wefti_free(operands[0]);
    wefti_free(operands[1]);
}

static void layer_norm(const char *name, int64_t rows, int64_t columns, bool residual)
{
    wefti_layer_norm_params p = {rows, columns, 1e-5f, false};
    void *operands[WEFTI_MAX_OPERANDS] = {NULL};
    operands[WEFTI_LAYER_NORM_INPUT] = numbers(4 * rows * columns);
    operands[WEFTI_LAYER_NORM_OUTPUT] = numbers(4 * rows * columns);
    operands[WEFTI_LAYER_NORM_SCALE] = numbers(4 * columns);
    operands[WEFTI_LAYER_NORM_BIAS] = numbers(4 * columns);
    if (residual) {
        operands[WEFTI_LAYER_NORM_RESIDUAL] = numbers(4 * rows * columns);
    }
    measure(name, WEFTI_KERNEL_LAYER_NORM, &p, operands,
            (residual ? 12.0 : 8.0) * (double)(rows * columns));
    for (int32_t i = 0; i < WEFTI_MAX_OPERANDS; i++) {
        wefti_free(operands[i]);
    }
}

static void row_rows(void)
{
    softmax("softmax [32,256]", 32, 256, false);
    softmax("log_softmax [32,256]", 32, 256, true);
    softmax("softmax [4096,10]", 4096, 10, false);
    softmax("softmax [4,128,32000]", 512, 32000, false);
    layer_norm("layer_norm [4,128,256]", 512, 256, false);
    layer_norm("layer_norm + residual [4,128,256]", 512, 256, true);
    layer_norm("layer_norm [16,512,768]", 8192, 768, false);
}

static void copy(const char *name, wefti_copy_params p)
{
    int64_t count = 1;
    for (int32_t i = 0; i < p.rank; i++) {
        count *= p.dims[i];
    }
    void *operands[WEFTI_MAX_OPERANDS] = {numbers(count * 8), numbers(count * 8)};
    double bytes =
        (double)(weft_type_size(p.source_type) + weft_type_size(p.target_type));
    measure(name, WEFTI_KERNEL_COPY, &p, operands, bytes * (double)count);
    wefti_free(operands[0]);
    wefti_free(operands[1]);
}

static void copy_rows(void)
{
    const weft_type f32 = WEFT_TYPE_F32;
    copy("copy [512,256]",
         (wefti_copy_params){f32, f32, 2, {512, 256}, {256, 1}, {256, 1}});
    copy("transpose [512,256]",
         (wefti_copy_params){f32, f32, 2, {256, 512}, {1, 256}, {512, 1}});
    copy("transpose [1024,1024]",
         (wefti_copy_params){f32, f32, 2, {1024, 1024}, {1, 1024}, {1024, 1}});
    copy("heads [4,128,4,64] to [4,4,128,64]",
         (wefti_copy_params){
             f32, f32, 4, {4, 4, 128, 64}, {32768, 64, 256, 1}, {32768, 8192, 64, 1}});
    copy("slice [512,:100] of 256",
         (wefti_copy_params){f32, f32, 2, {512, 100}, {256, 1}, {100, 1}});
    copy("expand row [512,256]",
         (wefti_copy_params){f32, f32, 2, {512, 256}, {0, 1}, {256, 1}});
    copy("cast i64 to f32 [512,256]",
         (wefti_copy_params){WEFT_TYPE_I64, f32, 1, {131072}, {1}, {1}});
    copy("cast f32 to f16 [512,256]",
         (wefti_copy_params){f32, WEFT_TYPE_F16, 1, {131072}, {1}, {1}});
    copy("cast f16 to f32 [512,256]",
         (wefti_copy_params){WEFT_TYPE_F16, f32, 1, {131072}, {1}, {1}});
    copy("cast bool to f32 [512,256]",
         (wefti_copy_params){WEFT_TYPE_BOOL, f32, 1, {131072}, {1}, {1}});
    wefti_fill_params fill = {f32, 1, {131072}, {1}, 0x3f800000};
    void *operands[WEFTI_MAX_OPERANDS] = {numbers(131072 * 4)};
    measure("fill [512,256]", WEFTI_KERNEL_FILL, &fill, operands, 4.0 * 131072);
    wefti_free(operands[0]);
}

static void reduce(const char *name, wefti_reduce_params p, double count)
{
    void *operands[WEFTI_MAX_OPERANDS] = {numbers((int64_t)count * 8),
                                          numbers((int64_t)count * 8)};
    measure(name, WEFTI_KERNEL_REDUCE, &p, operands, 4.0 * count);
    wefti_free(operands[0]);
    wefti_free(operands[1]);
}

static void reduce_rows(void)
{
    const weft_type f32 = WEFT_TYPE_F32;
    reduce("sum rows [512,256]",
           (wefti_reduce_params){WEFTI_REDUCE_SUM, f32, 1, 1, {512}, {256}, {256}, {1}},
           131072);
    reduce("sum columns [512,256]",
           (wefti_reduce_params){WEFTI_REDUCE_SUM, f32, 1, 1, {256}, {1}, {512}, {256}},
           131072);
    reduce("max rows [512,256]",
           (wefti_reduce_params){WEFTI_REDUCE_MAX, f32, 1, 1, {512}, {256}, {256}, {1}},
           131072);
    reduce("argmax rows [4,32000]",
           (wefti_reduce_params){
               WEFTI_REDUCE_ARGMAX, f32, 1, 1, {4}, {32000}, {32000}, {1}},
           128000);
    reduce("mean planes [64,7,7]",
           (wefti_reduce_params){WEFTI_REDUCE_MEAN, f32, 1, 1, {64}, {49}, {49}, {1}},
           3136);
    reduce("mean of 0 and 2 of [8,64,100]",
           (wefti_reduce_params){
               WEFTI_REDUCE_MEAN, f32, 1, 2, {64}, {100}, {8, 100}, {6400, 1}},
           51200);
}

static void pool(const char *name, wefti_pool_params p)
{
    int64_t in = p.plane_count * p.in_dims[1] * p.in_dims[2];
    int64_t out = p.plane_count * p.out_dims[1] * p.out_dims[2];
    void *operands[WEFTI_MAX_OPERANDS] = {numbers(in * 4), numbers(out * 4)};
    measure(name, WEFTI_KERNEL_POOL, &p, operands, 4.0 * (double)(in + out));
    wefti_free(operands[0]);
    wefti_free(operands[1]);
}

static void pool_rows(void)
{
    wefti_pool_params p = {.plane_count = 64,
                           .in_dims = {1, 112, 112},
                           .out_dims = {1, 56, 56},
                           .kernel_dims = {1, 3, 3},
                           .strides = {1, 2, 2},
                           .dilations = {1, 1, 1},
                           .pads_begin = {0, 1, 1},
                           .pads_end = {0, 1, 1}};
    pool("max_pool 3x3 s2 [64,112,112]", p);
    p.average = true;
    pool("average_pool 3x3 s2 [64,112,112]", p);
    p.kernel_dims[1] = p.kernel_dims[2] = 2;
    p.pads_begin[1] = p.pads_begin[2] = p.pads_end[1] = p.pads_end[2] = 0;
    p.average = false;
    pool("max_pool 2x2 s2 [64,112,112]", p);
    p = (wefti_pool_params){.average = true,
                            .plane_count = 512,
                            .in_dims = {1, 7, 7},
                            .out_dims = {1, 1, 1},
                            .kernel_dims = {1, 7, 7},
                            .strides = {1, 1, 1},
                            .dilations = {1, 1, 1}};
    pool("global average [512,7,7]", p);
}

static void gather_rows(void)
{
    wefti_gather_params p = {WEFT_TYPE_I64, 1, 10000, 512, 1024};
    void *operands[WEFTI_MAX_OPERANDS] = {numbers(10000 * 1024), numbers(512 * 8),
                                          numbers(512 * 1024)};
    for (int64_t i = 0; i < 512; i++) {
        ((int64_t *)operands[1])[i] = i * 7919 % 10000;
    }
    measure("gather 512 rows of 1 KiB", WEFTI_KERNEL_GATHER, &p, operands,
            2.0 * 512 * 1024);
    p.inner_bytes = 4;
    measure("gather 512 of 4 bytes", WEFTI_KERNEL_GATHER, &p, operands, 2.0 * 512 * 4);
    for (int32_t i = 0; i < 3; i++) {
        wefti_free(operands[i]);
    }
}

int main(int argc, char **argv)
{
    for (int32_t i = 0; wefti_cpu_isas[i] != NULL && isa == NULL; i++) {
        bool named = argc < 2 || strcmp(argv[1], wefti_cpu_isas[i]->name) == 0;
        isa = named && wefti_cpu_isas[i]->supported() ? wefti_cpu_isas[i] : NULL;
    }
    if (isa == NULL) {
        fprintf(stderr, "map_bench: no instruction set \"%s\" here\n", argv[1]);
        return 2;
    }
    wanted = argc > 2 ? argv[2] : "";
    printf("%s\n", isa->name);
    unary_rows();
    binary_rows();
    program_rows();
    row_rows();
    copy_rows();
    reduce_rows();
    pool_rows();
    gather_rows();
    return 0;
}

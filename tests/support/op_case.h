/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_SUPPORT_OP_CASE_H
#define WEFT_TESTS_SUPPORT_OP_CASE_H

#include "support/kernel_case.h"

#include "ops/operator.h"

/* One operator, inferred, lowered and run on the CPU's kernels without the layers
 * between. op_run does it many times: inputs dense or scattered with other strides,
 * outputs aliased or not, on every instruction set, packed or not; all must give the
 * same bits. */
enum { OP_CASE_MAX = 20 };

typedef struct op_case {
    const wefti_operator *op;
    wefti_node_view node;
    weft_attribute attributes[OP_CASE_MAX];
    wefti_known inputs[OP_CASE_MAX];
    void *input_data[OP_CASE_MAX];
    wefti_known outputs[OP_CASE_MAX];
    void *results[OP_CASE_MAX];
    bool output_unread[OP_CASE_MAX];
    size_t step_count; /* of the run with aliases */
    weft_error error;
} op_case;

/* Rank and dims as two arguments. */
#define DIMS(...)                                                                      \
    (int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])   \
    {                                                                                  \
        __VA_ARGS__                                                                    \
    }
#define SCALAR 0, NULL
#define F32(...)                                                                       \
    (const float[])                                                                    \
    {                                                                                  \
        __VA_ARGS__                                                                    \
    }
#define U8(...)                                                                        \
    (const uint8_t[])                                                                  \
    {                                                                                  \
        __VA_ARGS__                                                                    \
    }
#define I8(...)                                                                        \
    (const int8_t[])                                                                   \
    {                                                                                  \
        __VA_ARGS__                                                                    \
    }
#define I64(...)                                                                       \
    (const int64_t[])                                                                  \
    {                                                                                  \
        __VA_ARGS__                                                                    \
    }
#define BOOL(...)                                                                      \
    (const uint8_t[])                                                                  \
    {                                                                                  \
        __VA_ARGS__                                                                    \
    }

void op_begin(op_case *c, const char *domain, const char *op_type, int32_t opset);
void op_end(op_case *c);
void op_int(op_case *c, const char *name, int64_t value);
void op_float(op_case *c, const char *name, float value);
void op_string(op_case *c, const char *name, const char *value);
void op_ints(op_case *c, const char *name, size_t count, const int64_t *values);
void op_floats(op_case *c, const char *name, size_t count, const float *values);
void op_strings(op_case *c, const char *name, size_t count, const char *const *values);
void op_tensor(op_case *c, const char *name, const weft_tensor *tensor);
/* Copies `data`. */
void op_input(op_case *c, weft_type type, int32_t rank, const int64_t *dims,
              const void *data);
void op_constant(op_case *c, weft_type type, int32_t rank, const int64_t *dims,
                 const void *data);
void op_absent(op_case *c);
void op_f32(op_case *c, int32_t rank, const int64_t *dims, const float *data);
/* A constant i64 vector. */
void op_list(op_case *c, size_t count, const int64_t *values);
/* Random values in [-1, 1); returns them. */
const float *op_random(op_case *c, int32_t rank, const int64_t *dims, uint64_t seed);

/* Infers; the node has `output_count` outputs from now on. */
weft_status op_infer(op_case *c, size_t output_count);
/* Lowers what was inferred and throws it away; the n-th allocation fails (0: none). */
weft_status op_lower(op_case *c, uint64_t failing_allocation);
/* Infers, lowers and runs. */
void op_run(op_case *c, size_t output_count);
/* Fails unless inference fails so, with the text in its message. */
void op_expect_error(op_case *c, size_t output_count, weft_status status,
                     const char *text);
void op_expect_shape(const op_case *c, size_t index, weft_type type, int32_t rank,
                     const int64_t *dims);
/* |a - b| <= tolerance * (1 + |b|); NaN equals NaN. */
void op_expect_f32(const op_case *c, size_t index, int32_t rank, const int64_t *dims,
                   const float *values, float tolerance);
void op_expect_bytes(const op_case *c, size_t index, weft_type type, int32_t rank,
                     const int64_t *dims, const void *values);

#endif

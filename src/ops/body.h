/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_BODY_H
#define WEFTI_OPS_BODY_H

#include "ops/operator.h"

/* Operators that are functions of other operators: their body is written once and
 * walked twice, by inference for the shapes and by lowering for the steps. Whatever
 * fails first stays in the body's status; later calls then do nothing, so a body needs
 * no checks of its own. Confined to one call of infer or lower. */

/* A value of the body. `known.constant` is set where the data is known. */
typedef struct wefti_term {
    wefti_known known; /* of type NONE when absent, and after a failure */
    wefti_view view;   /* when lowering */
} wefti_term;

enum { WEFTI_BODY_MOST_ATTRIBUTES = 8, WEFTI_BODY_MOST_OPERANDS = 5 };

typedef struct wefti_body {
    const wefti_node_view *node;
    const wefti_known *inputs;
    wefti_known *outputs;     /* when inferring */
    wefti_lowering *lowering; /* NULL: inferring */
    weft_error *error;
    weft_status status;
    /* Of the next call; see wefti_body_with_int. */
    weft_attribute attributes[WEFTI_BODY_MOST_ATTRIBUTES];
    size_t attribute_count;
    void **held; /* constants, while inferring */
    size_t held_count, held_capacity;
} wefti_body;

/* The body of an operator. */
typedef void (*wefti_body_function)(wefti_body *body);

weft_status wefti_body_infer(wefti_body_function function, const wefti_node_view *node,
                             const wefti_known *inputs, wefti_known *outputs,
                             weft_error *error);
weft_status wefti_body_lower(wefti_body_function function, wefti_lowering *lowering);

/* Defines the infer and lower functions of families.h from a body. */
#define WEFTI_BODY_FAMILY(name)                                                        \
    WEFTI_INFER(name)                                                                  \
    {                                                                                  \
        return wefti_body_infer(name##_body, node, inputs, outputs, error);            \
    }                                                                                  \
    WEFTI_LOWER(name)                                                                  \
    {                                                                                  \
        return wefti_body_lower(name##_body, lowering);                                \
    }

/* Input `index`; absent when the node has none. */
wefti_term wefti_body_input(wefti_body *body, size_t index);
bool wefti_body_has(const wefti_term *term);
bool wefti_body_failed(const wefti_body *body);
/* Fails with "label: words". */
void wefti_body_refuse(wefti_body *body, weft_status status, const char *words);
/* Checks of inputs, as those of check.h. */
void wefti_body_check_types(wefti_body *body, size_t index, uint32_t types);
void wefti_body_check_rank(wefti_body *body, size_t index, int32_t least, int32_t most);
void wefti_body_check_shape(wefti_body *body, const char *what, const wefti_term *term,
                            int32_t rank, const int64_t *dims);
/* An attribute's axis of a tensor of `rank` dims, counted from 0. */
int32_t wefti_body_axis(wefti_body *body, const char *name, int64_t otherwise,
                        int32_t rank);

/* Constants. Data is copied. */
wefti_term wefti_body_constant(wefti_body *body, weft_type type, int32_t rank,
                               const int64_t *dims, const void *data);
wefti_term wefti_body_scalar(wefti_body *body, weft_type type, double value);
/* An i64 vector. */
wefti_term wefti_body_list(wefti_body *body, size_t count, const int64_t *values);
/* 0, 1, ... of a type of numbers that lies along `axis` of `rank` dims. */
wefti_term wefti_body_row(wefti_body *body, weft_type type, int64_t count, int32_t rank,
                          int32_t axis);
/* A large f32 constant whose data only lowering makes. Errors: WEFT_UNSUPPORTED beyond
 * WEFTI_BODY_MOST_ELEMENTS. */
enum { WEFTI_BODY_MOST_ELEMENTS = 1 << 24 };
typedef void (*wefti_body_fill)(float *data, const void *user);
wefti_term wefti_body_table(wefti_body *body, int32_t rank, const int64_t *dims,
                            wefti_body_fill fill, const void *user);

/* Attributes of the next call; lists are borrowed until then. */
void wefti_body_with_int(wefti_body *body, const char *name, int64_t value);
void wefti_body_with_float(wefti_body *body, const char *name, float value);
void wefti_body_with_string(wefti_body *body, const char *name, const char *value);
void wefti_body_with_ints(wefti_body *body, const char *name, size_t count,
                          const int64_t *values);
/* Hands on an attribute of the node itself, if it has it. */
void wefti_body_with_own(wefti_body *body, const char *name);

/* What ONNX's operator gives for the operands; the first output. */
wefti_term wefti_body_call(wefti_body *body, const char *op_type, size_t count,
                           const wefti_term *operands);
wefti_term wefti_body_1(wefti_body *body, const char *op_type, wefti_term a);
wefti_term wefti_body_2(wefti_body *body, const char *op_type, wefti_term a,
                        wefti_term b);
wefti_term wefti_body_3(wefti_body *body, const char *op_type, wefti_term a,
                        wefti_term b, wefti_term c);
wefti_term wefti_body_cast(wefti_body *body, weft_type type, wefti_term a);
wefti_term wefti_body_reshape(wefti_body *body, wefti_term a, int32_t rank,
                              const int64_t *dims);
/* With a dim of 1 put in at `axis`. */
wefti_term wefti_body_unsqueeze(wefti_body *body, wefti_term a, int32_t axis);
/* Axis i is the old order[i]; as many as `a` has. */
wefti_term wefti_body_transpose(wefti_body *body, wefti_term a, const int64_t *order);
/* Elements begin, begin + step, ... of an axis, `end` excluded. */
wefti_term wefti_body_slice(wefti_body *body, wefti_term a, int32_t axis, int64_t begin,
                            int64_t end, int64_t step);
wefti_term wefti_body_join(wefti_body *body, int32_t axis, wefti_term a, wefti_term b);
/* Sum and the like over one axis, which goes or stays as 1. */
wefti_term wefti_body_reduce(wefti_body *body, const char *op_type, wefti_term a,
                             int32_t axis, bool keep);
/* Repeats to the dims. */
wefti_term wefti_body_expand(wefti_body *body, wefti_term a, int32_t rank,
                             const int64_t *dims);
/* Lays `a` out densely. */
wefti_term wefti_body_dense(wefti_body *body, wefti_term a);
/* A dense copy that may be written to. */
wefti_term wefti_body_copy(wefti_body *body, wefti_term a);

/* An f32 program over inputs that broadcast; see WEFTI_KERNEL_ELEMENTWISE. */
wefti_term wefti_body_program(wefti_body *body, const wefti_term *inputs,
                              int32_t input_count,
                              const wefti_instruction *instructions,
                              int32_t instruction_count);

/* For steps that a body adds itself: a new value, a dense temporary when lowering. */
wefti_term wefti_body_new(wefti_body *body, weft_type type, int32_t rank,
                          const int64_t *dims);
/* Adds a step of the kernel when lowering; operands[i] may be absent. */
void wefti_body_step(wefti_body *body, wefti_kernel kernel, void *params,
                     size_t params_bytes, size_t count, const wefti_term *operands);

/* Makes the term output `index`, if the node has it. */
void wefti_body_output(wefti_body *body, size_t index, wefti_term term);

#endif

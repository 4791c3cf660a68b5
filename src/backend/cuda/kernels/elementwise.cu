/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/reference/operation.h"
#include "backend/cuda/kernels/device.h"

/* ELEMENTWISE: one thread has one element and runs the program on it. */

#define ELEMENTWISE_THREADS 256

/* Bools are 0 and 1. */
WEFTI_DEVICE float elementwise_apply(const wefti_instruction *i, float a, float b,
                                     float c)
{
    switch (i->operation) {
    case WEFTI_OP_COPY:
        return a;
    case WEFTI_OP_NOT:
        return a == 0.0f ? 1.0f : 0.0f;
    case WEFTI_OP_AND:
        return a != 0.0f && b != 0.0f ? 1.0f : 0.0f;
    case WEFTI_OP_OR:
        return a != 0.0f || b != 0.0f ? 1.0f : 0.0f;
    case WEFTI_OP_XOR:
        return (a != 0.0f) != (b != 0.0f) ? 1.0f : 0.0f;
    case WEFTI_OP_IS_NAN:
        return a != a ? 1.0f : 0.0f;
    case WEFTI_OP_EQUAL:
        return a == b ? 1.0f : 0.0f;
    case WEFTI_OP_LESS:
        return a < b ? 1.0f : 0.0f;
    case WEFTI_OP_LESS_EQUAL:
        return a <= b ? 1.0f : 0.0f;
    case WEFTI_OP_GREATER:
        return a > b ? 1.0f : 0.0f;
    case WEFTI_OP_GREATER_EQUAL:
        return a >= b ? 1.0f : 0.0f;
    case WEFTI_OP_WHERE:
        return a != 0.0f ? b : c;
    case WEFTI_OP_FMA:
        return ref_canonical(fmaf(a, b, c));
    default:
        break;
    }
    if (i->operation < WEFTI_OP_ADD) {
        return ref_canonical(ref_unary(i, a));
    }
    return ref_canonical(ref_binary(i, a, b));
}

WEFTI_DEVICE float elementwise_input(const wefti_cuda_elementwise_call *call,
                                     int32_t input, int64_t index)
{
    const wefti_elementwise_params *p = &call->p;
    const int64_t at =
        device_offset(p->rank, p->dims, p->input_strides[input], index);
    if (p->input_types[input] == WEFT_TYPE_BOOL) {
        return ((const uint8_t *)call->operands[input])[at] != 0 ? 1.0f : 0.0f;
    }
    return ((const float *)call->operands[input])[at];
}

WEFTI_DEVICE void elementwise_store(const wefti_cuda_elementwise_call *call,
                                    int64_t index, float result)
{
    void *output = call->operands[WEFTI_ELEMENTWISE_OUTPUT];
    if (call->p.output_type == WEFT_TYPE_BOOL) {
        ((uint8_t *)output)[index] = result != 0.0f;
    } else {
        ((float *)output)[index] = result;
    }
}

/* Programs of one instruction need no registers. */
WEFTI_KERNEL(ELEMENTWISE_THREADS, weft_elementwise_one, wefti_cuda_elementwise_call)
{
    const int64_t index = (int64_t)blockIdx.x * ELEMENTWISE_THREADS + threadIdx.x;
    if (index >= call.count) {
        return;
    }
    const wefti_instruction *i = &call.p.instructions[0];
    const int32_t inputs = call.p.input_count;
    const float a = i->a < inputs ? elementwise_input(&call, i->a, index) : 0.0f;
    const bool two = i->operation >= WEFTI_OP_ADD && i->b < inputs;
    const bool three = i->operation >= WEFTI_OP_WHERE && i->c < inputs;
    const float b = two ? elementwise_input(&call, i->b, index) : 0.0f;
    const float c = three ? elementwise_input(&call, i->c, index) : 0.0f;
    elementwise_store(&call, index, elementwise_apply(i, a, b, c));
}

WEFTI_KERNEL(ELEMENTWISE_THREADS, weft_elementwise, wefti_cuda_elementwise_call)
{
    WEFTI_SHARED float file[WEFTI_ELEMENTWISE_MAX_INPUTS +
                            WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS][ELEMENTWISE_THREADS];
    const int32_t own = (int32_t)threadIdx.x;
    const int64_t index = (int64_t)blockIdx.x * ELEMENTWISE_THREADS + own;
    if (index >= call.count) {
        return;
    }
    for (int32_t i = 0; i < call.p.input_count; i++) {
        file[i][own] = elementwise_input(&call, i, index);
    }
    float result = 0.0f;
    for (int32_t i = 0; i < call.p.instruction_count; i++) {
        const wefti_instruction *now = &call.p.instructions[i];
        result = elementwise_apply(now, file[now->a][own], file[now->b][own],
                                   file[now->c][own]);
        file[WEFTI_ELEMENTWISE_MAX_INPUTS + i][own] = result;
    }
    elementwise_store(&call, index, result);
}

WEFTI_DEVICE bool elementwise_is_comparison(wefti_operation operation)
{
    return operation >= WEFTI_OP_EQUAL && operation <= WEFTI_OP_GREATER_EQUAL;
}

#define ELEMENTWISE_COMPARE(operation, a, b)                                           \
    ((operation) == WEFTI_OP_EQUAL        ? (a) == (b)                                 \
     : (operation) == WEFTI_OP_LESS       ? (a) < (b)                                  \
     : (operation) == WEFTI_OP_LESS_EQUAL ? (a) <= (b)                                 \
     : (operation) == WEFTI_OP_GREATER    ? (a) > (b)                                  \
                                          : (a) >= (b))

WEFTI_DEVICE double elementwise_f64_unary(const wefti_instruction *i, double a)
{
    const double alpha = (double)i->alpha, beta = (double)i->beta;
    const double raised = a > alpha || a != a ? a : alpha;
    switch (i->operation) {
    case WEFTI_OP_NEG:
        return -a;
    case WEFTI_OP_ABS:
        return fabs(a);
    case WEFTI_OP_RECIPROCAL:
        return 1.0 / a;
    case WEFTI_OP_SQRT:
        return sqrt(a);
    case WEFTI_OP_EXP:
        return wefti_exp_f64(a);
    case WEFTI_OP_LOG:
        return wefti_log_f64(a);
    case WEFTI_OP_ERF:
        return wefti_erf_f64(a);
    case WEFTI_OP_TANH:
        return wefti_tanh_f64(a);
    case WEFTI_OP_SIGMOID:
        return wefti_sigmoid_f64(a);
    case WEFTI_OP_SIN:
        return wefti_sin_f64(a);
    case WEFTI_OP_COS:
        return wefti_cos_f64(a);
    case WEFTI_OP_RELU:
        return 0.0 > a ? 0.0 : a;
    case WEFTI_OP_LEAKY_RELU:
        return a < 0.0 ? alpha * a : a;
    case WEFTI_OP_CLIP:
        return raised < beta || raised != raised ? raised : beta;
    case WEFTI_OP_FLOOR:
        return floor(a);
    case WEFTI_OP_CEIL:
        return ceil(a);
    case WEFTI_OP_ROUND:
        return nearbyint(a);
    case WEFTI_OP_SIGN:
        return a > 0.0 ? 1.0 : (a < 0.0 ? -1.0 : (a == 0.0 ? 0.0 : a));
    default:
        return fma(a, alpha, beta); /* SCALE */
    }
}

WEFTI_DEVICE double elementwise_f64(const wefti_instruction *i, double a, double b,
                                    double c)
{
    switch (i->operation) {
    case WEFTI_OP_ADD:
        return a + b;
    case WEFTI_OP_SUB:
        return a - b;
    case WEFTI_OP_MUL:
        return a * b;
    case WEFTI_OP_DIV:
        return a / b;
    case WEFTI_OP_MOD:
        return i->alpha == 1.0f ? fmod(a, b) : wefti_mod_f64(a, b);
    case WEFTI_OP_MIN:
        return a < b || a != a ? a : b;
    case WEFTI_OP_MAX:
        return a > b || a != a ? a : b;
    case WEFTI_OP_PRELU:
        return a < 0.0 ? a * b : a;
    case WEFTI_OP_FMA:
        return fma(a, b, c);
    default:
        return elementwise_f64_unary(i, a);
    }
}

/* All integers are computed as int64 and cut to their type, which is to wrap. */
WEFTI_DEVICE int64_t elementwise_load_integer(weft_type type, const void *source,
                                              int64_t at)
{
    switch (type) {
    case WEFT_TYPE_I64:
        return ((const int64_t *)source)[at];
    case WEFT_TYPE_I32:
        return ((const int32_t *)source)[at];
    case WEFT_TYPE_I8:
        return ((const int8_t *)source)[at];
    default:
        return ((const uint8_t *)source)[at];
    }
}

WEFTI_DEVICE void elementwise_store_integer(weft_type type, void *target, int64_t at,
                                            int64_t number)
{
    switch (type) {
    case WEFT_TYPE_I64:
        ((int64_t *)target)[at] = number;
        break;
    case WEFT_TYPE_I32:
        ((int32_t *)target)[at] = (int32_t)number;
        break;
    case WEFT_TYPE_I8:
        ((int8_t *)target)[at] = (int8_t)number;
        break;
    default:
        ((uint8_t *)target)[at] = (uint8_t)number;
        break;
    }
}

/* One operand of a program of one instruction. */
typedef struct elementwise_place {
    const void *data;
    int64_t at;
} elementwise_place;

WEFTI_DEVICE elementwise_place elementwise_find(const wefti_cuda_elementwise_call *call,
                                                int32_t input, int64_t index)
{
    elementwise_place place = {call->operands[input], 0};
    place.at = device_offset(call->p.rank, call->p.dims, call->p.input_strides[input],
                             index);
    return place;
}

WEFTI_DEVICE void elementwise_number(const wefti_cuda_elementwise_call *call,
                                     const elementwise_place places[3], int64_t index)
{
    const wefti_instruction *i = &call->p.instructions[0];
    uint8_t *flags = (uint8_t *)call->operands[WEFTI_ELEMENTWISE_OUTPUT];
    if (call->p.type == WEFT_TYPE_F64) {
        double *output = (double *)call->operands[WEFTI_ELEMENTWISE_OUTPUT];
        const double a = ((const double *)places[0].data)[places[0].at];
        const double b = ((const double *)places[1].data)[places[1].at];
        const double c = ((const double *)places[2].data)[places[2].at];
        if (i->operation == WEFTI_OP_COPY) {
            output[index] = a;
        } else if (i->operation == WEFTI_OP_IS_NAN) {
            flags[index] = a != a;
        } else if (elementwise_is_comparison(i->operation)) {
            flags[index] = ELEMENTWISE_COMPARE(i->operation, a, b);
        } else {
            output[index] = device_canonical_f64(elementwise_f64(i, a, b, c));
        }
        return;
    }
    const weft_type type = call->p.type;
    const int64_t a = elementwise_load_integer(type, places[0].data, places[0].at);
    const int64_t b = elementwise_load_integer(type, places[1].data, places[1].at);
    if (elementwise_is_comparison(i->operation)) {
        flags[index] = ELEMENTWISE_COMPARE(i->operation, a, b);
    } else {
        const int64_t bits = type == WEFT_TYPE_I64 ? 64 : type == WEFT_TYPE_I32 ? 32 : 8;
        elementwise_store_integer(type, flags, index, ref_integer(i, a, b, bits));
    }
}

/* Types other than f32, whose programs have one instruction. Operands that the
 * operation lacks are its first, read and not used. */
WEFTI_KERNEL(ELEMENTWISE_THREADS, weft_elementwise_typed, wefti_cuda_elementwise_call)
{
    const int64_t index = (int64_t)blockIdx.x * ELEMENTWISE_THREADS + threadIdx.x;
    if (index >= call.count) {
        return;
    }
    const wefti_instruction *i = &call.p.instructions[0];
    const bool two = i->operation >= WEFTI_OP_ADD;
    const bool three = i->operation >= WEFTI_OP_WHERE;
    const elementwise_place places[3] = {
        elementwise_find(&call, i->a, index),
        elementwise_find(&call, two ? i->b : i->a, index),
        elementwise_find(&call, three ? i->c : i->a, index),
    };
    const bool first_is_flag = call.p.input_types[i->a] == WEFT_TYPE_BOOL;
    const bool first = first_is_flag && ((const uint8_t *)places[0].data)[places[0].at];
    void *output = call.operands[WEFTI_ELEMENTWISE_OUTPUT];
    if (i->operation == WEFTI_OP_WHERE && call.p.type != WEFT_TYPE_BOOL) {
        const elementwise_place *from = first ? &places[1] : &places[2];
        if (call.p.type == WEFT_TYPE_F64) {
            ((int64_t *)output)[index] = ((const int64_t *)from->data)[from->at];
        } else {
            elementwise_store_integer(
                call.p.type, output, index,
                elementwise_load_integer(call.p.type, from->data, from->at));
        }
    } else if (first_is_flag) {
        float flags[3];
        for (int32_t k = 0; k < 3; k++) {
            flags[k] =
                ((const uint8_t *)places[k].data)[places[k].at] != 0 ? 1.0f : 0.0f;
        }
        ((uint8_t *)output)[index] =
            elementwise_apply(i, flags[0], flags[1], flags[2]) != 0.0f;
    } else {
        elementwise_number(&call, places, index);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernel_check.h"
#include "backend/cpu/reference/math.h"
#include "backend/cpu/reference/operation.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/tiles.h"

/* One register: `number` for f32, `flag` for bool. */
typedef struct value {
    float number;
    bool flag;
} value;

/* Arithmetic makes the one NaN; COPY and WHERE keep the bits of theirs. */
static value number_value(float number)
{
    return (value){ref_canonical(number), false};
}

static value apply(const wefti_instruction *i, const value *registers)
{
    value a = registers[i->a], b = registers[i->b], c = registers[i->c];
    switch (i->operation) {
    case WEFTI_OP_COPY:
        return a;
    case WEFTI_OP_NOT:
        return (value){0.0f, !a.flag};
    case WEFTI_OP_AND:
        return (value){0.0f, a.flag && b.flag};
    case WEFTI_OP_OR:
        return (value){0.0f, a.flag || b.flag};
    case WEFTI_OP_XOR:
        return (value){0.0f, a.flag != b.flag};
    case WEFTI_OP_IS_NAN:
        return (value){0.0f, a.number != a.number};
    case WEFTI_OP_EQUAL:
        return (value){0.0f, a.number == b.number};
    case WEFTI_OP_LESS:
        return (value){0.0f, a.number < b.number};
    case WEFTI_OP_LESS_EQUAL:
        return (value){0.0f, a.number <= b.number};
    case WEFTI_OP_GREATER:
        return (value){0.0f, a.number > b.number};
    case WEFTI_OP_GREATER_EQUAL:
        return (value){0.0f, a.number >= b.number};
    case WEFTI_OP_WHERE:
        return a.flag ? b : c;
    case WEFTI_OP_FMA:
        return number_value(fmaf(a.number, b.number, c.number));
    default:
        break;
    }
    if (wefti_operation_arity(i->operation) == 1) {
        return number_value(ref_unary(i, a.number));
    }
    return number_value(ref_binary(i, a.number, b.number));
}

static void element_f32(const wefti_elementwise_params *p, const void *const *inputs,
                        void *output, int64_t index)
{
    value registers[4 + WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS] = {{0.0f, false}};
    for (int32_t i = 0; i < p->input_count; i++) {
        if (p->input_types[i] == WEFT_TYPE_BOOL) {
            registers[i].flag = *(const uint8_t *)inputs[i] != 0;
        } else {
            registers[i].number = *(const float *)inputs[i];
        }
    }
    for (int32_t i = 0; i < p->instruction_count; i++) {
        registers[4 + i] = apply(&p->instructions[i], registers);
    }
    value result = registers[4 + p->instruction_count - 1];
    if (p->output_type == WEFT_TYPE_BOOL) {
        ((uint8_t *)output)[index] = result.flag;
    } else {
        ((float *)output)[index] = result.number;
    }
}

#define COMPARE(i, a, b, result)                                                       \
    switch ((i)->operation) {                                                          \
    case WEFTI_OP_EQUAL:                                                               \
        *(result) = (a) == (b);                                                        \
        return;                                                                        \
    case WEFTI_OP_LESS:                                                                \
        *(result) = (a) < (b);                                                         \
        return;                                                                        \
    case WEFTI_OP_LESS_EQUAL:                                                          \
        *(result) = (a) <= (b);                                                        \
        return;                                                                        \
    case WEFTI_OP_GREATER:                                                             \
        *(result) = (a) > (b);                                                         \
        return;                                                                        \
    case WEFTI_OP_GREATER_EQUAL:                                                       \
        *(result) = (a) >= (b);                                                        \
        return;                                                                        \
    default:                                                                           \
        break;                                                                         \
    }

static double canonical_f64(double x)
{
    uint64_t nan = UINT64_C(0x7ff8000000000000);
    if (x != x) {
        memcpy(&x, &nan, sizeof(x));
    }
    return x;
}

static double arithmetic_f64(const wefti_instruction *i, double a, double b, double c)
{
    double alpha = (double)i->alpha, beta = (double)i->beta;
    double raised = a > alpha || a != a ? a : alpha;
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
    case WEFTI_OP_SCALE:
        return fma(a, alpha, beta);
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
    default:
        return fma(a, b, c);
    }
}

static void element_f64(const wefti_instruction *i, const void *const *operands,
                        void *result)
{
    static const double zero = 0.0;
    const double *none = &zero;
    const double *a = operands[0] != NULL ? operands[0] : none;
    const double *b = operands[1] != NULL ? operands[1] : none;
    const double *c = operands[2] != NULL ? operands[2] : none;
    if (i->operation == WEFTI_OP_COPY) {
        memcpy(result, a, sizeof(double));
        return;
    }
    if (i->operation == WEFTI_OP_WHERE) {
        memcpy(result, *(const uint8_t *)operands[0] != 0 ? b : c, sizeof(double));
        return;
    }
    if (i->operation == WEFTI_OP_IS_NAN) {
        *(uint8_t *)result = *a != *a;
        return;
    }
    COMPARE(i, *a, *b, (uint8_t *)result)
    *(double *)result = canonical_f64(arithmetic_f64(i, *a, *b, *c));
}

/* All integers are computed as int64 and cut to their type, which is to wrap. */
static int64_t load_integer(weft_type type, const void *source)
{
    switch (type) {
    case WEFT_TYPE_I64:
        return *(const int64_t *)source;
    case WEFT_TYPE_I32:
        return *(const int32_t *)source;
    case WEFT_TYPE_I8:
        return *(const int8_t *)source;
    default:
        return *(const uint8_t *)source;
    }
}

static void store_integer(weft_type type, void *target, int64_t number)
{
    switch (type) {
    case WEFT_TYPE_I64:
        *(int64_t *)target = number;
        break;
    case WEFT_TYPE_I32:
        *(int32_t *)target = (int32_t)number;
        break;
    case WEFT_TYPE_I8:
        *(int8_t *)target = (int8_t)number;
        break;
    default:
        *(uint8_t *)target = (uint8_t)number;
        break;
    }
}

static void element_integer(weft_type type, const wefti_instruction *i,
                            const void *const *operands, void *result)
{
    if (i->operation == WEFTI_OP_WHERE) {
        bool first = *(const uint8_t *)operands[0] != 0;
        memcpy(result, operands[first ? 1 : 2], weft_type_size(type));
        return;
    }
    int64_t a = load_integer(type, operands[0]);
    int64_t b = operands[1] != NULL ? load_integer(type, operands[1]) : 0;
    COMPARE(i, a, b, (uint8_t *)result)
    store_integer(type, result,
                  ref_integer(i, a, b, 8 * (int64_t)weft_type_size(type)));
}

static void element_bool(const wefti_instruction *i, const void *const *operands,
                         void *result)
{
    value registers[3] = {{0.0f, false}};
    for (int32_t k = 0; k < wefti_operation_arity(i->operation); k++) {
        registers[k].flag = *(const uint8_t *)operands[k] != 0;
        registers[k].number = registers[k].flag ? 1.0f : 0.0f;
    }
    wefti_instruction renumbered = *i;
    renumbered.a = 0;
    renumbered.b = 1;
    renumbered.c = 2;
    *(uint8_t *)result = apply(&renumbered, registers).flag;
}

static void element_typed(const wefti_elementwise_params *p, const void *const *inputs,
                          void *output, int64_t index)
{
    const wefti_instruction *i = &p->instructions[0];
    int32_t arity = wefti_operation_arity(i->operation);
    const void *operands[3] = {inputs[i->a], arity > 1 ? inputs[i->b] : NULL,
                               arity > 2 ? inputs[i->c] : NULL};
    void *result = (char *)output + index * (int64_t)weft_type_size(p->output_type);
    bool logic =
        p->input_types[i->a] == WEFT_TYPE_BOOL && i->operation != WEFTI_OP_WHERE;
    if (logic || p->type == WEFT_TYPE_BOOL) {
        element_bool(i, operands, result);
        return;
    }
    if (p->type == WEFT_TYPE_F64) {
        element_f64(i, operands, result);
    } else {
        element_integer(p->type, i, operands, result);
    }
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)scratch;
    (void)error;
    const wefti_elementwise_params *p = call->params;
    int64_t count = ref_count(p->rank, p->dims);
    int64_t last = ref_tile_start(count, end);
    for (int64_t index = ref_tile_start(count, begin); index < last; index++) {
        const void *inputs[WEFTI_ELEMENTWISE_MAX_INPUTS] = {NULL};
        for (int32_t i = 0; i < p->input_count; i++) {
            int64_t offset = ref_offset(p->rank, p->dims, p->input_strides[i], index);
            inputs[i] = (const char *)call->operands[i] +
                        offset * (int64_t)weft_type_size(p->input_types[i]);
        }
        if (p->type == WEFT_TYPE_F32) {
            element_f32(p, inputs, call->operands[WEFTI_ELEMENTWISE_OUTPUT], index);
        } else {
            element_typed(p, inputs, call->operands[WEFTI_ELEMENTWISE_OUTPUT], index);
        }
    }
    return WEFT_OK;
}

weft_status wefti_prepare_elementwise_reference(const wefti_step *step, bool may_pack,
                                                wefti_cpu_prepared *prepared,
                                                weft_error *error)
{
    (void)may_pack;
    const wefti_elementwise_params *p = step->params;
    int64_t count = 0;
    WEFTI_TRY(wefti_check_elementwise(p, &count, error));
    return ref_prepared(prepared, run, count, 20.0 * p->instruction_count);
}

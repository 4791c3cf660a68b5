/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/kernel_check.h"

#include <inttypes.h>

#include "base/compiler.h"

static weft_status count_elements(const char *kernel, int32_t rank, const int64_t *dims,
                                  int64_t *count, weft_error *error)
{
    if (rank < 0 || rank > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_INTERNAL, "%s: rank %" PRId32 " is not 0 to %d",
                           kernel, rank, WEFT_MAX_RANK);
    }
    int64_t product = 1;
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] < 0 || WEFTI_MUL_OVERFLOWS(product, dims[i], &product)) {
            return wefti_error(error, WEFT_INTERNAL,
                               "%s: dimension %" PRId32 " of %" PRId64 " is too large",
                               kernel, i, dims[i]);
        }
    }
    *count = product;
    return WEFT_OK;
}

static weft_status check_type(const char *kernel, weft_type type, weft_error *error)
{
    if (weft_type_size(type) == 0) {
        return wefti_error(error, WEFT_INTERNAL, "%s: unknown element type %d", kernel,
                           (int)type);
    }
    return WEFT_OK;
}

weft_status wefti_check_copy(const wefti_copy_params *params, int64_t *element_count,
                             weft_error *error)
{
    WEFTI_TRY(check_type("copy", params->source_type, error));
    WEFTI_TRY(check_type("copy", params->target_type, error));
    return count_elements("copy", params->rank, params->dims, element_count, error);
}

weft_status wefti_check_fill(const wefti_fill_params *params, int64_t *element_count,
                             weft_error *error)
{
    WEFTI_TRY(check_type("fill", params->type, error));
    return count_elements("fill", params->rank, params->dims, element_count, error);
}

static bool is_comparison(wefti_operation operation)
{
    return operation == WEFTI_OP_EQUAL || operation == WEFTI_OP_LESS ||
           operation == WEFTI_OP_LESS_EQUAL || operation == WEFTI_OP_GREATER ||
           operation == WEFTI_OP_GREATER_EQUAL || operation == WEFTI_OP_IS_NAN;
}

static bool is_logic(wefti_operation operation)
{
    return operation == WEFTI_OP_NOT || operation == WEFTI_OP_AND ||
           operation == WEFTI_OP_OR || operation == WEFTI_OP_XOR;
}

static bool is_of_bits(wefti_operation operation)
{
    return operation == WEFTI_OP_BIT_NOT ||
           (operation >= WEFTI_OP_BIT_AND && operation <= WEFTI_OP_SHIFT_RIGHT);
}

/* What integers can do; all but the first line with one rounding-free meaning. */
static bool has_integer_form(wefti_operation operation)
{
    switch (operation) {
    case WEFTI_OP_COPY:
    case WEFTI_OP_WHERE:
    case WEFTI_OP_NEG:
    case WEFTI_OP_ABS:
    case WEFTI_OP_RELU:
    case WEFTI_OP_SIGN:
    case WEFTI_OP_ADD:
    case WEFTI_OP_SUB:
    case WEFTI_OP_MUL:
    case WEFTI_OP_DIV:
    case WEFTI_OP_MOD:
    case WEFTI_OP_POW:
    case WEFTI_OP_MIN:
    case WEFTI_OP_MAX:
        return true;
    default:
        return is_of_bits(operation) ||
               (is_comparison(operation) && operation != WEFTI_OP_IS_NAN);
    }
}

static bool has_f64_form(wefti_operation operation)
{
    switch (operation) {
    case WEFTI_OP_RECIPROCAL:
    case WEFTI_OP_SQRT:
    case WEFTI_OP_EXP:
    case WEFTI_OP_LOG:
    case WEFTI_OP_ERF:
    case WEFTI_OP_TANH:
    case WEFTI_OP_SIGMOID:
    case WEFTI_OP_SIN:
    case WEFTI_OP_COS:
    case WEFTI_OP_LEAKY_RELU:
    case WEFTI_OP_CLIP:
    case WEFTI_OP_FLOOR:
    case WEFTI_OP_CEIL:
    case WEFTI_OP_ROUND:
    case WEFTI_OP_IS_NAN:
    case WEFTI_OP_SCALE:
    case WEFTI_OP_PRELU:
    case WEFTI_OP_FMA:
        return true;
    case WEFTI_OP_POW:
        return false;
    default:
        return has_integer_form(operation) && !is_of_bits(operation);
    }
}

static bool has_form(wefti_operation operation, weft_type type)
{
    switch (type) {
    case WEFT_TYPE_F32:
        return !is_of_bits(operation);
    case WEFT_TYPE_F64:
        return has_f64_form(operation);
    case WEFT_TYPE_I64:
    case WEFT_TYPE_I32:
    case WEFT_TYPE_I8:
    case WEFT_TYPE_U8:
        return has_integer_form(operation);
    case WEFT_TYPE_BOOL:
        return is_logic(operation) || operation == WEFTI_OP_COPY ||
               operation == WEFTI_OP_WHERE || operation == WEFTI_OP_EQUAL;
    default:
        return false;
    }
}

/* Checks one instruction against the types of the registers before it; gives the type
 * of its result. */
static weft_status check_instruction(const wefti_elementwise_params *params,
                                     const wefti_instruction *instruction,
                                     const weft_type *registers, weft_type *result,
                                     weft_error *error)
{
    wefti_operation operation = instruction->operation;
    int32_t arity = wefti_operation_arity(operation);
    if (arity == 0 || !(has_form(operation, params->type) || is_logic(operation))) {
        return wefti_error(
            error, WEFT_UNSUPPORTED, "elementwise: there is no operation \"%s\" for %s",
            wefti_operation_name(operation), weft_type_name(params->type));
    }
    const uint8_t operands[3] = {instruction->a, instruction->b, instruction->c};
    weft_type wanted = is_logic(operation) ? WEFT_TYPE_BOOL : params->type;
    for (int32_t i = 0; i < arity; i++) {
        weft_type found = operands[i] < 20 ? registers[operands[i]] : WEFT_TYPE_NONE;
        bool condition = operation == WEFTI_OP_WHERE && i == 0;
        weft_type expected = condition ? WEFT_TYPE_BOOL : wanted;
        if (operation == WEFTI_OP_COPY && found == WEFT_TYPE_BOOL) {
            expected = found;
        }
        if (found != expected) {
            return wefti_error(error, WEFT_INTERNAL,
                               "elementwise: operand %" PRId32 " of \"%s\" is %s, not "
                               "%s",
                               i, wefti_operation_name(operation),
                               weft_type_name(found), weft_type_name(expected));
        }
    }
    *result = is_comparison(operation) ? WEFT_TYPE_BOOL : wanted;
    if (operation == WEFTI_OP_COPY) {
        *result = registers[instruction->a];
    }
    return WEFT_OK;
}

weft_status wefti_check_elementwise(const wefti_elementwise_params *params,
                                    int64_t *element_count, weft_error *error)
{
    WEFTI_TRY(count_elements("elementwise", params->rank, params->dims, element_count,
                             error));
    int32_t count = params->instruction_count;
    int32_t limit =
        params->type == WEFT_TYPE_F32 ? WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS : 1;
    if (count < 1 || count > limit) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "elementwise: a program of %" PRId32 " instructions for %s",
                           count, weft_type_name(params->type));
    }
    if (params->input_count < 0 || params->input_count > WEFTI_ELEMENTWISE_MAX_INPUTS) {
        return wefti_error(error, WEFT_INTERNAL, "elementwise: %" PRId32 " inputs",
                           params->input_count);
    }
    weft_type registers[4 + WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS] = {WEFT_TYPE_NONE};
    for (int32_t i = 0; i < params->input_count; i++) {
        registers[i] = params->input_types[i];
    }
    for (int32_t i = 0; i < count; i++) {
        WEFTI_TRY(check_instruction(params, &params->instructions[i], registers,
                                    &registers[4 + i], error));
    }
    if (registers[4 + count - 1] != params->output_type) {
        return wefti_error(error, WEFT_INTERNAL,
                           "elementwise: the output is %s, not %s",
                           weft_type_name(registers[4 + count - 1]),
                           weft_type_name(params->output_type));
    }
    return WEFT_OK;
}

weft_status wefti_check_reduce(const wefti_reduce_params *params, int64_t *kept_count,
                               int64_t *reduced_count, weft_error *error)
{
    weft_type type = params->type;
    if (type != WEFT_TYPE_F32 && type != WEFT_TYPE_F64 && type != WEFT_TYPE_I64 &&
        type != WEFT_TYPE_I32) {
        return wefti_error(error, WEFT_UNSUPPORTED, "reduce: type %s",
                           weft_type_name(type));
    }
    if ((uint32_t)params->reduction >= WEFTI_REDUCE_COUNT) {
        return wefti_error(error, WEFT_INTERNAL, "reduce: unknown reduction %d",
                           (int)params->reduction);
    }
    if (params->reduction == WEFTI_REDUCE_L2 && type != WEFT_TYPE_F32 &&
        type != WEFT_TYPE_F64) {
        return wefti_error(error, WEFT_UNSUPPORTED, "reduce: an L2 norm of %s",
                           weft_type_name(type));
    }
    WEFTI_TRY(count_elements("reduce", params->kept_rank, params->kept_dims, kept_count,
                             error));
    return count_elements("reduce", params->reduced_rank, params->reduced_dims,
                          reduced_count, error);
}

static weft_status check_rows(const char *kernel, int64_t row_count,
                              int64_t column_count, weft_error *error)
{
    int64_t dims[2] = {row_count, column_count};
    int64_t count;
    return count_elements(kernel, 2, dims, &count, error);
}

weft_status wefti_check_softmax(const wefti_softmax_params *params, weft_error *error)
{
    return check_rows("softmax", params->row_count, params->column_count, error);
}

weft_status wefti_check_layer_norm(const wefti_layer_norm_params *params,
                                   weft_error *error)
{
    return check_rows("layer_norm", params->row_count, params->column_count, error);
}

weft_status wefti_check_pool(const wefti_pool_params *params, weft_error *error)
{
    int64_t count;
    int64_t in[4] = {params->plane_count, params->in_dims[0], params->in_dims[1],
                     params->in_dims[2]};
    int64_t out[4] = {params->plane_count, params->out_dims[0], params->out_dims[1],
                      params->out_dims[2]};
    WEFTI_TRY(count_elements("pool", 4, in, &count, error));
    WEFTI_TRY(count_elements("pool", 4, out, &count, error));
    for (int32_t i = 0; i < 3; i++) {
        if (params->kernel_dims[i] < 1 || params->strides[i] < 1 ||
            params->dilations[i] < 1 || params->pads_begin[i] < 0 ||
            params->pads_end[i] < 0) {
            return wefti_error(error, WEFT_INTERNAL,
                               "pool: window %" PRId64 ", stride %" PRId64
                               ", dilation %" PRId64 " or padding of dimension %d",
                               params->kernel_dims[i], params->strides[i],
                               params->dilations[i], (int)i);
        }
    }
    return WEFT_OK;
}

weft_status wefti_check_gather(const wefti_gather_params *params, weft_error *error)
{
    if (params->index_type != WEFT_TYPE_I32 && params->index_type != WEFT_TYPE_I64) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "gather: indices are %s, not i32 or i64",
                           weft_type_name(params->index_type));
    }
    int64_t count;
    int64_t in[3] = {params->outer_count, params->axis_size, params->inner_bytes};
    int64_t out[3] = {params->outer_count, params->index_count, params->inner_bytes};
    WEFTI_TRY(count_elements("gather", 3, in, &count, error));
    return count_elements("gather", 3, out, &count, error);
}

weft_status wefti_gather_out_of_range(const wefti_gather_params *params,
                                      const void *indices, int64_t position,
                                      weft_error *error)
{
    return wefti_error(error, WEFT_INVALID_ARGUMENT,
                       "gather: index %" PRId64 " at position %" PRId64
                       " is out of range; it must be at least %" PRId64
                       " and below %" PRId64,
                       wefti_gather_raw_index(params, indices, position), position,
                       -params->axis_size, params->axis_size);
}

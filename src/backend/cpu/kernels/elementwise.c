/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/elementwise.h"

#include <stdio.h>

#include "backend/cpu/kernel_check.h"
#include "backend/cpu/kernels/elementwise_f32.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/tiles.h"
#include "base/memory.h"

/* A program runs block by block; what one instruction leaves for another stays in the
 * scratch, in slots of one block, and so in the first-level cache. A program of one
 * instruction that reads its inputs where they are has no blocks. */
enum {
    BLOCK = 512,
    SLOT_BYTES = BLOCK * 8,
    INPUTS = WEFTI_ELEMENTWISE_MAX_INPUTS,
    REGISTERS = INPUTS + WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS,
    /* Rows shorter than this are not worth a call each. */
    SHORT_ROW = 32,
    /* Tiles begin at multiples of this many elements. */
    UNIT = 64,
};

typedef struct instruction_plan {
    elementwise_function function;
    int32_t arity;
    int32_t registers[3];
    uint32_t scalars;
    float alpha, beta;
    int32_t slot; /* of the result; -1: the output */
    int32_t result_bytes;
} instruction_plan;

typedef struct plan {
    /* At least two dims, neighbours joined where all inputs allow it. */
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    int64_t strides[INPUTS][WEFT_MAX_RANK]; /* bytes */
    int64_t count, inner, tiles;
    int64_t block; /* most elements at once */
    bool flat;     /* blocks run on over the ends of rows */
    int32_t input_count;
    int32_t element_bytes[REGISTERS];
    bool gathered[INPUTS]; /* copied into a slot first */
    int32_t slots[REGISTERS];
    int32_t output_bytes;
    int32_t instruction_count;
    instruction_plan instructions[WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS];
} plan;

/* The elements from `position` on, as rows of columns. */
typedef struct block {
    int64_t position, rows, columns;
    const char *inputs[INPUTS];
    int64_t row_bytes[INPUTS];
} block;

static void gather_element(char *to, const char *from, int32_t bytes)
{
    switch (bytes) {
    case 4:
        memcpy(to, from, 4);
        break;
    case 8:
        memcpy(to, from, 8);
        break;
    default:
        *to = *from;
        break;
    }
}

/* Copies `count` elements from `position` on, wherever they are, to dense ones. */
static void gather(const plan *p, int32_t input, const char *base, int64_t position,
                   int64_t count, char *to)
{
    const int32_t bytes = p->element_bytes[input], last = p->rank - 1;
    const int64_t *strides = p->strides[input];
    int64_t index[WEFT_MAX_RANK];
    for (int32_t i = last; i >= 0; i--) {
        index[i] = position % p->dims[i];
        position /= p->dims[i];
        base += index[i] * strides[i];
    }
    while (count > 0) {
        int64_t run = p->dims[last] - index[last];
        run = run < count ? run : count;
        for (int64_t i = 0; i < run; i++) {
            gather_element(to, base + i * strides[last], bytes);
            to += bytes;
        }
        count -= run;
        base += run * strides[last];
        index[last] += run;
        for (int32_t i = last; i > 0 && index[i] == p->dims[i]; i--) {
            base += strides[i - 1] - p->dims[i] * strides[i];
            index[i] = 0;
            index[i - 1]++;
        }
    }
}

static void run_instruction(const plan *p, const instruction_plan *instruction,
                            const block *b, char *scratch, char *output)
{
    elementwise_args args = {.rows = b->rows,
                             .columns = b->columns,
                             .scalars = instruction->scalars,
                             .alpha = instruction->alpha,
                             .beta = instruction->beta};
    bool dense = true;
    for (int32_t i = 0; i < instruction->arity; i++) {
        const int32_t r = instruction->registers[i];
        const int64_t row_bytes = b->columns * p->element_bytes[r];
        if (p->slots[r] >= 0) {
            args.inputs[i] = scratch + (int64_t)p->slots[r] * SLOT_BYTES;
            args.input_row_bytes[i] = row_bytes;
        } else {
            args.inputs[i] = b->inputs[r];
            args.input_row_bytes[i] = b->row_bytes[r];
            bool scalar = (instruction->scalars >> i & 1u) != 0;
            dense = dense && b->row_bytes[r] == (scalar ? 0 : row_bytes);
        }
    }
    args.output_row_bytes = b->columns * instruction->result_bytes;
    args.output = output;
    if (instruction->slot >= 0) {
        args.output = scratch + (int64_t)instruction->slot * SLOT_BYTES;
    }
    if (dense) {
        args.columns *= args.rows;
        args.rows = 1;
    }
    instruction->function(&args);
}

static void run_block(const plan *p, const wefti_cpu_call *call, char *scratch,
                      const block *b)
{
    for (int32_t i = 0; i < p->input_count; i++) {
        if (p->gathered[i]) {
            gather(p, i, call->operands[i], b->position, b->rows * b->columns,
                   scratch + (int64_t)p->slots[i] * SLOT_BYTES);
        }
    }
    char *output = (char *)call->operands[WEFTI_ELEMENTWISE_OUTPUT] +
                   b->position * p->output_bytes;
    for (int32_t i = 0; i < p->instruction_count; i++) {
        run_instruction(p, &p->instructions[i], b, scratch, output);
    }
}

/* The next block of whole rows, or of a part of one. */
static block next_rows(const plan *p, const wefti_cpu_call *call, int64_t position,
                       int64_t end)
{
    const int64_t row_count = p->dims[p->rank - 2];
    int64_t row = position / p->inner, column = position - row * p->inner;
    block b = {.position = position, .rows = 1};
    if (column != 0 || end - position < p->inner || p->inner > p->block) {
        int64_t left = p->inner - column;
        left = left < end - position ? left : end - position;
        b.columns = left < p->block ? left : p->block;
    } else {
        int64_t most = p->block / p->inner, whole = (end - position) / p->inner;
        int64_t left = row_count - row % row_count;
        b.columns = p->inner;
        b.rows = left < whole ? left : whole;
        b.rows = b.rows < most ? b.rows : most;
    }
    for (int32_t i = 0; i < p->input_count; i++) {
        const int64_t *strides = p->strides[i];
        int64_t rest = row, offset = column * strides[p->rank - 1];
        for (int32_t d = p->rank - 2; d > 0; d--) {
            offset += rest % p->dims[d] * strides[d];
            rest /= p->dims[d];
        }
        offset += rest * strides[0];
        b.inputs[i] = (const char *)call->operands[i] + offset;
        b.row_bytes[i] = strides[p->rank - 2];
    }
    return b;
}

static block next_flat(const plan *p, const wefti_cpu_call *call, int64_t position,
                       int64_t end)
{
    block b = {.position = position, .rows = 1};
    b.columns = end - position < p->block ? end - position : p->block;
    for (int32_t i = 0; i < p->input_count; i++) {
        /* Dense, or scalar with strides of 0. */
        b.inputs[i] =
            (const char *)call->operands[i] + position * p->strides[i][p->rank - 1];
    }
    return b;
}

static weft_status run(const wefti_cpu_call *call, void *scratch, int64_t begin,
                       int64_t end, weft_error *error)
{
    (void)error;
    const plan *p = call->derived;
    const int64_t units = (p->count + UNIT - 1) / UNIT;
    int64_t position = tile_start(units, p->tiles, begin) * UNIT;
    int64_t last = tile_start(units, p->tiles, end) * UNIT;
    last = last < p->count ? last : p->count;
    while (position < last) {
        block b = p->flat ? next_flat(p, call, position, last)
                          : next_rows(p, call, position, last);
        run_block(p, call, scratch, &b);
        position += b.rows * b.columns;
    }
    return WEFT_OK;
}

/* Drops dims of 1 and joins neighbours; keeps at least two dims. */
static void set_dims(plan *p, const wefti_elementwise_params *params)
{
    int32_t rank = 0;
    for (int32_t i = 0; i < params->rank; i++) {
        if (params->dims[i] == 1) {
            continue;
        }
        bool joins = rank > 0;
        for (int32_t k = 0; k < p->input_count && joins; k++) {
            int64_t stride = params->input_strides[k][i] * p->element_bytes[k];
            joins = p->strides[k][rank - 1] == stride * params->dims[i];
        }
        rank += joins ? 0 : 1;
        p->dims[rank - 1] = (joins ? p->dims[rank - 1] : 1) * params->dims[i];
        for (int32_t k = 0; k < p->input_count; k++) {
            p->strides[k][rank - 1] = params->input_strides[k][i] * p->element_bytes[k];
        }
    }
    if (rank == 0) {
        p->dims[rank++] = 1;
        for (int32_t k = 0; k < p->input_count; k++) {
            p->strides[k][0] = p->element_bytes[k];
        }
    }
    if (rank == 1) {
        p->dims[rank++] = p->dims[0];
        p->dims[0] = 1;
        for (int32_t k = 0; k < p->input_count; k++) {
            p->strides[k][1] = p->strides[k][0];
            p->strides[k][0] = 0;
        }
    }
    p->rank = rank;
    p->inner = p->dims[rank - 1];
}

static bool is_zero_stride(const plan *p, int32_t input)
{
    for (int32_t i = 0; i < p->rank; i++) {
        if (p->strides[input][i] != 0) {
            return false;
        }
    }
    return true;
}

static bool is_dense(const plan *p, int32_t input)
{
    int64_t stride = p->element_bytes[input];
    for (int32_t i = p->rank - 1; i >= 0; i--) {
        if (p->strides[input][i] != stride && p->dims[i] != 1) {
            return false;
        }
        stride *= p->dims[i];
    }
    return true;
}

static void choose_access(plan *p)
{
    p->flat = p->inner < SHORT_ROW && p->inner < p->count;
    for (int32_t i = 0; i < p->input_count; i++) {
        int64_t stride = p->strides[i][p->rank - 1];
        if (p->flat) {
            p->gathered[i] = !is_zero_stride(p, i) && !is_dense(p, i);
        } else {
            p->gathered[i] = stride != 0 && stride != p->element_bytes[i];
        }
    }
}

/* Which operands are scalar; one that would leave none dense is gathered instead. */
static uint32_t find_scalars(plan *p, const instruction_plan *instruction)
{
    uint32_t scalars = 0;
    for (int32_t i = 0; i < instruction->arity; i++) {
        const int32_t r = instruction->registers[i];
        if (r < INPUTS && !p->gathered[r] && p->strides[r][p->rank - 1] == 0) {
            scalars |= 1u << i;
        }
    }
    if (scalars == (1u << instruction->arity) - 1u) {
        p->gathered[instruction->registers[0]] = true;
        return find_scalars(p, instruction);
    }
    return scalars;
}

static elementwise_function find_function(const instruction_plan *instruction,
                                          wefti_operation operation, weft_type type)
{
    if (type == WEFT_TYPE_F32) {
        return WEFTI_ISA_NAME(wefti_elementwise_f32)(operation, instruction->scalars);
    }
    return wefti_elementwise_typed(operation, type);
}

static bool gives_bool(wefti_operation operation)
{
    return operation == WEFTI_OP_IS_NAN ||
           (operation >= WEFTI_OP_EQUAL && operation <= WEFTI_OP_GREATER_EQUAL);
}

/* Fills in functions and operand patterns; the types were checked before. */
static void set_instructions(plan *p, const wefti_elementwise_params *params)
{
    weft_type types[REGISTERS] = {WEFT_TYPE_NONE};
    memcpy(types, params->input_types, sizeof(params->input_types));
    p->instruction_count = params->instruction_count;
    for (int32_t i = 0; i < p->instruction_count; i++) {
        const wefti_instruction *from = &params->instructions[i];
        instruction_plan *to = &p->instructions[i];
        to->arity = wefti_operation_arity(from->operation);
        to->registers[0] = from->a;
        to->registers[1] = from->b;
        to->registers[2] = from->c;
        to->alpha = from->alpha;
        to->beta = from->beta;
        find_scalars(p, to);
    }
    /* Again: a later instruction may have had an input gathered. */
    for (int32_t i = 0; i < p->instruction_count; i++) {
        const wefti_operation operation = params->instructions[i].operation;
        instruction_plan *to = &p->instructions[i];
        weft_type type = types[to->registers[to->arity - 1]];
        to->scalars = find_scalars(p, to);
        to->function = find_function(to, operation, type);
        types[INPUTS + i] = gives_bool(operation) ? WEFT_TYPE_BOOL : type;
        to->result_bytes = (int32_t)weft_type_size(types[INPUTS + i]);
        p->element_bytes[INPUTS + i] = to->result_bytes;
    }
    p->output_bytes = (int32_t)weft_type_size(params->output_type);
}

/* Gives every gathered input and inner result a slot until its last use; returns how
 * many there are. */
static int32_t set_slots(plan *p)
{
    int32_t last_use[REGISTERS], owner[REGISTERS], slot_count = 0;
    for (int32_t r = 0; r < REGISTERS; r++) {
        last_use[r] = -1;
        p->slots[r] = -1;
        owner[r] = -1;
    }
    for (int32_t i = 0; i < p->instruction_count; i++) {
        for (int32_t k = 0; k < p->instructions[i].arity; k++) {
            last_use[p->instructions[i].registers[k]] = i;
        }
    }
    for (int32_t i = 0; i < p->input_count; i++) {
        if (p->gathered[i]) {
            p->slots[i] = slot_count;
            owner[slot_count++] = i;
        }
    }
    for (int32_t i = 0; i < p->instruction_count - 1; i++) {
        int32_t slot = 0;
        /* Operands of this instruction are still read while it writes. */
        while (slot < slot_count && last_use[owner[slot]] >= i) {
            slot++;
        }
        slot_count += slot == slot_count;
        owner[slot] = INPUTS + i;
        p->slots[INPUTS + i] = slot;
        p->instructions[i].slot = slot;
    }
    p->instructions[p->instruction_count - 1].slot = -1;
    return slot_count;
}

/* Nanoseconds for 16 elements from the first-level cache. */
static double operation_ns(wefti_operation operation, weft_type type)
{
    if (type != WEFT_TYPE_F32) {
        return operation == WEFTI_OP_POW || operation == WEFTI_OP_MOD ? 60.0 : 5.0;
    }
    const double vectors = 16.0 / WEFTI_LANES;
    switch (operation) {
    case WEFTI_OP_POW:
    case WEFTI_OP_MOD:
    case WEFTI_OP_TAN:
    case WEFTI_OP_ASIN:
    case WEFTI_OP_ACOS:
    case WEFTI_OP_ATAN:
    case WEFTI_OP_SINH:
    case WEFTI_OP_COSH:
    case WEFTI_OP_ASINH:
    case WEFTI_OP_ACOSH:
    case WEFTI_OP_ATANH:
        return 155.0;
    case WEFTI_OP_GELU:
    case WEFTI_OP_GELU_TANH:
    case WEFTI_OP_ERF:
    case WEFTI_OP_SOFTPLUS:
        return 6.0 * vectors;
    case WEFTI_OP_LOG:
    case WEFTI_OP_TANH:
    case WEFTI_OP_SIGMOID:
    case WEFTI_OP_SIN:
    case WEFTI_OP_COS:
        return 3.0 * vectors;
    case WEFTI_OP_EXP:
    case WEFTI_OP_ELU:
        return 1.8 * vectors;
    default:
        return 0.25 * vectors;
    }
}

static double work_ns(const plan *p, const wefti_elementwise_params *params)
{
    /* Beyond the caches every stream costs more. */
    const double stream = (double)p->count * p->output_bytes > 4e6 ? 1.3 : 0.25;
    double each = stream;
    for (int32_t i = 0; i < p->instruction_count; i++) {
        each += operation_ns(params->instructions[i].operation, params->type);
    }
    for (int32_t i = 0; i < p->input_count; i++) {
        each += p->gathered[i] ? 8.0 : stream;
    }
    return 20.0 + (double)p->count * each / 16.0;
}

weft_status WEFTI_ISA_NAME(wefti_prepare_elementwise)(const wefti_step *step,
                                                      bool may_pack,
                                                      wefti_cpu_prepared *prepared,
                                                      weft_error *error)
{
    (void)may_pack;
    const wefti_elementwise_params *params = step->params;
    int64_t count = 0;
    WEFTI_TRY(wefti_check_elementwise(params, &count, error));
    plan *p = wefti_calloc(1, sizeof(*p));
    if (p == NULL) {
        return wefti_error_memory(error, "an elementwise plan");
    }
    p->count = count;
    p->input_count = params->input_count;
    for (int32_t i = 0; i < p->input_count; i++) {
        p->element_bytes[i] = (int32_t)weft_type_size(params->input_types[i]);
    }
    set_dims(p, params);
    choose_access(p);
    set_instructions(p, params);
    int32_t slot_count = set_slots(p);
    p->block = slot_count > 0 ? BLOCK : INT64_MAX;
    double ns = work_ns(p, params);
    p->tiles = tiles_for((count + UNIT - 1) / UNIT, ns);
    prepared->function = run;
    prepared->tile_count = p->tiles;
    prepared->scratch_bytes = (size_t)slot_count * SLOT_BYTES;
    prepared->work_ns = ns;
    prepared->derived = p;
    snprintf(prepared->description, sizeof(prepared->description), "%s%s%s",
             wefti_operation_name(params->instructions[0].operation),
             params->instruction_count > 1 ? " and more" : "",
             p->flat ? ", short rows" : "");
    return WEFT_OK;
}

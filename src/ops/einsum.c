/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"

/* Einsum: operands are joined from the left, two at a time. What is summed over and
 * needed no more goes as soon as it can. Dimensions of an ellipsis have letters of
 * their own, '0' for the last one, '1' for that before. */
enum { MOST_OPERANDS = 16, MOST_LETTERS = 64 };

typedef struct factor {
    wefti_term term;
    char letters[WEFT_MAX_RANK + 1]; /* of its axes, each once */
} factor;

typedef struct equation {
    char letters[MOST_OPERANDS][WEFT_MAX_RANK + 1];
    size_t operand_count;
    char output[MOST_LETTERS + 1];
    int64_t dims[128]; /* by letter; 0: not there yet */
    bool present[128];
} equation;

static void refuse(wefti_body *body)
{
    wefti_body_refuse(body, WEFT_INVALID_MODEL,
                      "the equation does not go with the operands");
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads one operand's letters up to ',' or the end; `rank` of its tensor. */
static const char *read_operand(wefti_body *body, const char *at, int32_t rank,
                                char *letters)
{
    char before[WEFT_MAX_RANK + 1] = "", after[WEFT_MAX_RANK + 1] = "";
    size_t count[2] = {0, 0};
    bool dots = false;
    for (; *at != '\0' && *at != ',' && *at != '-'; at++) {
        if (*at == ' ') {
            continue;
        }
        if (strncmp(at, "...", 3) == 0 && !dots) {
            dots = true;
            at += 2;
        } else if (is_letter(*at) && count[0] + count[1] < (size_t)rank) {
            (dots ? after : before)[count[dots]++] = *at;
        } else {
            refuse(body);
            return at;
        }
    }
    size_t rest = (size_t)rank - count[0] - count[1];
    if (!dots && rest > 0) {
        refuse(body);
        return at;
    }
    memcpy(letters, before, count[0]);
    for (size_t i = 0; i < rest; i++) {
        letters[count[0] + i] = (char)('0' + (rest - 1 - i));
    }
    memcpy(letters + count[0] + rest, after, count[1]);
    letters[rank] = '\0';
    return at;
}

/* Sizes of letters; one of 1 repeats. */
static void take_dims(wefti_body *body, equation *e, const char *letters,
                      const wefti_known *known)
{
    for (int32_t i = 0; i < known->rank; i++) {
        size_t c = (size_t)letters[i];
        int64_t dim = known->dims[i];
        if (!e->present[c] || e->dims[c] == 1) {
            e->dims[c] = dim;
        } else if (dim != 1 && dim != e->dims[c]) {
            refuse(body);
        }
        e->present[c] = true;
    }
}

static size_t append_ellipsis(equation *e, size_t used)
{
    for (char c = '9'; c >= '0' && used < WEFT_MAX_RANK; c--) {
        if (e->present[(size_t)c]) {
            e->output[used++] = c;
        }
    }
    return used;
}

/* Without "->" the output is the ellipsis and the letters that stand once, sorted. */
static void imply_output(equation *e)
{
    size_t used = 0;
    int seen[128] = {0};
    for (size_t i = 0; i < e->operand_count; i++) {
        for (const char *c = e->letters[i]; *c; c++) {
            seen[(size_t)*c]++;
        }
    }
    used = append_ellipsis(e, used);
    for (char c = 'A'; c <= 'z'; c++) {
        if (seen[(size_t)c] == 1) {
            e->output[used++] = c;
        }
    }
    e->output[used] = '\0';
}

static void read_output(wefti_body *body, equation *e, const char *at)
{
    size_t used = 0;
    for (; *at && !wefti_body_failed(body); at++) {
        if (*at == ' ') {
            continue;
        }
        if (strncmp(at, "...", 3) == 0) {
            used = append_ellipsis(e, used);
            at += 2;
        } else if (is_letter(*at) && e->present[(size_t)*at] && used < WEFT_MAX_RANK &&
                   memchr(e->output, *at, used) == NULL) {
            e->output[used++] = *at;
        } else {
            refuse(body);
        }
    }
    e->output[used] = '\0';
}

static void read_equation(wefti_body *body, equation *e)
{
    const char *at = wefti_attribute_string(body->node, "equation", "");
    e->operand_count = body->node->input_count;
    for (size_t i = 0; i < e->operand_count && !wefti_body_failed(body); i++) {
        wefti_term operand = wefti_body_input(body, i);
        at = read_operand(body, at, operand.known.rank, e->letters[i]);
        bool last = i + 1 == e->operand_count;
        if (wefti_body_failed(body) || (last ? *at == ',' : *at != ',')) {
            refuse(body);
            return;
        }
        take_dims(body, e, e->letters[i], &operand.known);
        at += last ? 0 : 1;
    }
    if (strncmp(at, "->", 2) == 0) {
        read_output(body, e, at + 2);
    } else if (*at == '\0') {
        imply_output(e);
    } else {
        refuse(body);
    }
    if (strlen(e->output) > WEFT_MAX_RANK) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED, "the output has too many dimensions");
    }
}

/* An operand with a letter that stands twice seen along the diagonal, and dims of 1
 * repeated. */
static factor take_factor(wefti_body *body, const equation *e, size_t index)
{
    factor f = {.term = wefti_body_input(body, index)};
    const wefti_term given = f.term;
    int64_t dims[WEFT_MAX_RANK] = {0};
    int32_t rank = 0;
    for (int32_t i = 0; i < given.known.rank; i++) {
        char c = e->letters[index][i];
        const char *twice = strchr(f.letters, c);
        int32_t at = twice ? (int32_t)(twice - f.letters) : rank;
        if (!twice) {
            f.letters[rank++] = c;
            f.term.view.strides[at] = 0;
            dims[at] = e->dims[(size_t)c];
        }
        f.term.known.dims[at] = dims[at];
        f.term.view.dims[at] = dims[at];
        f.term.view.strides[at] += given.known.dims[i] == 1 ? 0 : given.view.strides[i];
    }
    f.term.known.rank = rank;
    f.term.view.rank = rank;
    f.term.known.constant = NULL;
    return f;
}

/* The axes in the order of `letters`; dims of 1 where the factor has no such letter. */
static wefti_term arrange(wefti_body *body, const factor *f, const char *letters)
{
    int64_t order[WEFT_MAX_RANK], dims[WEFT_MAX_RANK];
    int32_t used = 0, rank = (int32_t)strlen(letters);
    for (int32_t i = 0; i < rank; i++) {
        const char *found = strchr(f->letters, letters[i]);
        dims[i] = found ? f->term.known.dims[found - f->letters] : 1;
        if (found) {
            order[used++] = found - f->letters;
        }
    }
    return wefti_body_reshape(body, wefti_body_transpose(body, f->term, order), rank,
                              dims);
}

/* Sums over what is not in `kept`. */
static void drop(wefti_body *body, factor *f, const char *kept)
{
    for (int32_t i = (int32_t)strlen(f->letters) - 1; i >= 0; i--) {
        if (!strchr(kept, f->letters[i]) && !wefti_body_failed(body)) {
            f->term = wefti_body_reduce(body, "ReduceSum", f->term, i, false);
            memmove(&f->letters[i], &f->letters[i + 1], strlen(&f->letters[i]));
        }
    }
}

static void append(char *letters, char c)
{
    size_t length = strlen(letters);
    letters[length] = c;
    letters[length + 1] = '\0';
}

static int64_t size_of(const equation *e, const char *letters)
{
    int64_t size = 1;
    for (; *letters; letters++) {
        /* An overflow is found when the tensor of this size is made. */
        size = (int64_t)((uint64_t)size * (uint64_t)e->dims[(size_t)*letters]);
    }
    return size;
}

/* One matrix product: letters of both that stay are the batch. */
static factor multiply(wefti_body *body, const equation *e, const factor *a,
                       const factor *b, const char *kept)
{
    char batch[MOST_LETTERS] = "", rows[MOST_LETTERS] = "", columns[MOST_LETTERS] = "";
    char inner[MOST_LETTERS] = "", left[MOST_LETTERS], right[MOST_LETTERS];
    factor result = {.term = a->term};
    for (const char *c = a->letters; *c; c++) {
        bool shared = strchr(b->letters, *c) != NULL, stays = strchr(kept, *c) != NULL;
        append(shared ? (stays ? batch : inner) : rows, *c);
    }
    for (const char *c = b->letters; *c; c++) {
        if (!strchr(a->letters, *c)) {
            append(columns, *c);
        }
    }
    strcat(strcat(strcpy(left, batch), rows), inner);
    strcat(strcat(strcpy(right, batch), inner), columns);
    const int64_t a_dims[] = {size_of(e, batch), size_of(e, rows), size_of(e, inner)};
    const int64_t b_dims[] = {a_dims[0], a_dims[2], size_of(e, columns)};
    wefti_term product = wefti_body_2(
        body, "MatMul", wefti_body_reshape(body, arrange(body, a, left), 3, a_dims),
        wefti_body_reshape(body, arrange(body, b, right), 3, b_dims));
    char letters[MOST_LETTERS];
    strcat(strcat(strcpy(letters, batch), rows), columns);
    if (strlen(letters) > WEFT_MAX_RANK) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED, "a product has too many dimensions");
        return result;
    }
    int64_t dims[WEFT_MAX_RANK];
    strcpy(result.letters, letters);
    for (int32_t i = 0; letters[i]; i++) {
        dims[i] = e->dims[(size_t)letters[i]];
    }
    result.term = wefti_body_reshape(body, product, (int32_t)strlen(letters), dims);
    return result;
}

/* For types that have no matrix product. */
static factor multiply_broadcast(wefti_body *body, const factor *a, const factor *b,
                                 const char *kept)
{
    char letters[MOST_LETTERS];
    factor result = {.term = a->term};
    strcpy(letters, a->letters);
    for (const char *c = b->letters; *c; c++) {
        if (!strchr(letters, *c)) {
            append(letters, *c);
        }
    }
    if (strlen(letters) > WEFT_MAX_RANK) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED, "a product has too many dimensions");
        return result;
    }
    strcpy(result.letters, letters);
    result.term =
        wefti_body_2(body, "Mul", arrange(body, a, letters), arrange(body, b, letters));
    drop(body, &result, kept);
    return result;
}

/* Letters of the output and of the operands from `next` on. */
static void find_kept(const equation *e, size_t next, char kept[128])
{
    size_t used = 0;
    bool seen[128] = {false};
    for (const char *c = e->output; *c; c++) {
        seen[(size_t)*c] = true;
    }
    for (size_t i = next; i < e->operand_count; i++) {
        for (const char *c = e->letters[i]; *c; c++) {
            seen[(size_t)*c] = true;
        }
    }
    for (int c = 1; c < 128; c++) {
        if (seen[c]) {
            kept[used++] = (char)c;
        }
    }
    kept[used] = '\0';
}

static void einsum_body(wefti_body *body)
{
    equation e = {.operand_count = 0};
    char kept[128];
    for (size_t i = 0; i < body->node->input_count; i++) {
        uint32_t types = i == 0 ? (uint32_t)WEFTI_TYPES_NUMBER
                                : WEFTI_TYPE_SET(body->inputs[0].type);
        wefti_body_check_types(body, i, types);
    }
    if (wefti_body_failed(body)) {
        return;
    }
    read_equation(body, &e);
    if (wefti_body_failed(body)) {
        return;
    }
    factor result = take_factor(body, &e, 0);
    find_kept(&e, 1, kept);
    drop(body, &result, kept);
    for (size_t i = 1; i < e.operand_count && !wefti_body_failed(body); i++) {
        factor next = take_factor(body, &e, i);
        /* What only the new one has, and nobody later needs, is summed first. */
        char wanted[256];
        find_kept(&e, i + 1, kept);
        strcat(strcpy(wanted, kept), result.letters);
        drop(body, &next, wanted);
        strcat(strcpy(wanted, kept), next.letters);
        drop(body, &result, wanted);
        result = result.term.known.type == WEFT_TYPE_F32
                     ? multiply(body, &e, &result, &next, kept)
                     : multiply_broadcast(body, &result, &next, kept);
    }
    if (wefti_body_failed(body)) {
        return;
    }
    wefti_body_output(body, 0, arrange(body, &result, e.output));
}

WEFTI_BODY_FAMILY(einsum)

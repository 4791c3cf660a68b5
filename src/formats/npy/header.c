/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/npy/header.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* NumPy's names of our types, after the sign of byte order. */
static const struct {
    const char *name;
    weft_type type;
} types[] = {
    {"f4", WEFT_TYPE_F32},
    {"f8", WEFT_TYPE_F64},
    {"i8", WEFT_TYPE_I64},
    {"i4", WEFT_TYPE_I32},
    {"b1", WEFT_TYPE_BOOL},
    {"u1", WEFT_TYPE_U8},
    {"i1", WEFT_TYPE_I8},
    {"f2", WEFT_TYPE_F16},
    /* What NumPy writes for ml_dtypes.bfloat16, of which it knows the size. */
    {"V2", WEFT_TYPE_BF16},
};

/* The header is a Python dictionary: {'descr': '<f4', 'fortran_order': False,
 * 'shape': (3, 4), }. This reads as much of Python as NumPy writes. */
typedef struct scanner {
    const char *at, *end;
    weft_tensor *tensor;
    bool fortran;
    uint32_t seen; /* bit of each key */
    weft_error *error;
} scanner;

enum { SEEN_TYPE = 1, SEEN_ORDER = 2, SEEN_SHAPE = 4, SEEN_ALL = 7 };

static weft_status malformed(scanner *s, const char *what)
{
    return wefti_error(s->error, WEFT_INVALID_MODEL,
                       "the .npy header is malformed: %s expected", what);
}

static void skip_blanks(scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n')) {
        s->at++;
    }
}

/* Takes one character if it comes next, after blanks. */
static bool take(scanner *s, char wanted)
{
    skip_blanks(s);
    if (s->at == s->end || *s->at != wanted) {
        return false;
    }
    s->at++;
    return true;
}

static bool take_word(scanner *s, const char *word)
{
    size_t length = strlen(word);
    skip_blanks(s);
    if ((size_t)(s->end - s->at) < length || memcmp(s->at, word, length) != 0) {
        return false;
    }
    s->at += length;
    return true;
}

/* Takes a quoted text without escapes. */
static bool take_text(scanner *s, const char **text, size_t *length)
{
    skip_blanks(s);
    if (s->at == s->end || (*s->at != '\'' && *s->at != '"')) {
        return false;
    }
    char quote = *s->at++;
    const char *close = memchr(s->at, quote, (size_t)(s->end - s->at));
    if (!close) {
        return false;
    }
    *text = s->at;
    *length = (size_t)(close - s->at);
    s->at = close + 1;
    return true;
}

static weft_status read_type(scanner *s)
{
    const char *text = NULL;
    size_t length = 0;
    if (!take_text(s, &text, &length)) {
        skip_blanks(s);
        return s->at < s->end && *s->at == '['
                   ? wefti_error(s->error, WEFT_UNSUPPORTED,
                                 "arrays of records are not supported")
                   : malformed(s, "the name of a type");
    }
    char order = length == 3 ? text[0] : ' ';
    for (size_t i = 0; order && strchr("<|=>", order) && i < WEFTI_COUNT_OF(types);
         i++) {
        if (memcmp(text + 1, types[i].name, 2) != 0) {
            continue;
        }
        if (order == '>' && text[2] != '1') {
            return wefti_error(s->error, WEFT_UNSUPPORTED,
                               "the values are big-endian; save them with "
                               "array.astype('<%.2s')",
                               types[i].name);
        }
        s->tensor->type = types[i].type;
        return WEFT_OK;
    }
    return wefti_error(s->error, WEFT_UNSUPPORTED,
                       "the type '%.*s' is not supported; use f4, f8, i8, i4, i1, u1, "
                       "f2, b1 or V2 for bfloat16",
                       length < 40 ? (int)length : 40, text);
}

static weft_status read_order(scanner *s)
{
    s->fortran = take_word(s, "True");
    return s->fortran || take_word(s, "False") ? WEFT_OK
                                               : malformed(s, "True or False");
}

static bool take_number(scanner *s, int64_t *value)
{
    skip_blanks(s);
    const char *start = s->at;
    *value = 0;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
        if (WEFTI_MUL_OVERFLOWS(*value, (int64_t)10, value) ||
            WEFTI_ADD_OVERFLOWS(*value, (int64_t)(*s->at - '0'), value)) {
            return false;
        }
    }
    return s->at > start;
}

static weft_status read_shape(scanner *s)
{
    if (!take(s, '(')) {
        return malformed(s, "the shape's '('");
    }
    s->tensor->rank = 0;
    while (!take(s, ')')) {
        int64_t dim = 0;
        if (!take_number(s, &dim)) {
            return malformed(s, "a dimension below 2^63");
        }
        take(s, 'L'); /* Python 2 */
        if (s->tensor->rank == WEFT_MAX_RANK) {
            return wefti_error(s->error, WEFT_UNSUPPORTED,
                               "the array has more than %d dimensions",
                               (int)WEFT_MAX_RANK);
        }
        s->tensor->dims[s->tensor->rank++] = dim;
        if (!take(s, ',')) {
            return take(s, ')') ? WEFT_OK : malformed(s, "the shape's ')'");
        }
    }
    return WEFT_OK;
}

static weft_status read_entry(scanner *s)
{
    static const struct {
        const char *key;
        weft_status (*read)(scanner *s);
    } readers[] = {
        {"descr", read_type}, {"fortran_order", read_order}, {"shape", read_shape}};
    const char *text = NULL;
    size_t length = 0;
    if (!take_text(s, &text, &length) || !take(s, ':')) {
        return malformed(s, "a quoted key and ':'");
    }
    for (size_t i = 0; i < WEFTI_COUNT_OF(readers); i++) {
        uint32_t bit = (uint32_t)1 << i;
        if (strlen(readers[i].key) == length &&
            memcmp(readers[i].key, text, length) == 0 && !(s->seen & bit)) {
            s->seen |= bit;
            return readers[i].read(s);
        }
    }
    return malformed(s, "descr, fortran_order and shape, once each,");
}

static weft_status read_dictionary(scanner *s)
{
    if (!take(s, '{')) {
        return malformed(s, "'{'");
    }
    while (!take(s, '}')) {
        WEFTI_TRY(read_entry(s));
        if (!take(s, ',')) {
            if (!take(s, '}')) {
                return malformed(s, "',' or '}'");
            }
            break;
        }
    }
    skip_blanks(s);
    if (s->at != s->end) {
        return malformed(s, "nothing after '}'");
    }
    if (s->seen != SEEN_ALL) {
        return malformed(s, "descr, fortran_order and shape");
    }
    if (s->fortran && s->tensor->rank > 1) {
        return wefti_error(s->error, WEFT_UNSUPPORTED,
                           "the array is stored column by column; save "
                           "numpy.ascontiguousarray(array)");
    }
    return WEFT_OK;
}

weft_status wefti_npy_read_header(const uint8_t *bytes, size_t size,
                                  weft_tensor *tensor, size_t *data_offset,
                                  weft_error *error)
{
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) {
        return wefti_error(
            error, WEFT_INVALID_MODEL,
            "this is not a .npy file: it does not start with \\x93NUMPY");
    }
    if (bytes[6] < 1 || bytes[6] > 3) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "the .npy format %d.%d is not supported; 1.0 to 3.0 are",
                           (int)bytes[6], (int)bytes[7]);
    }
    size_t start = bytes[6] == 1 ? 10 : 12;
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (start == 12 && size >= 12) {
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    }
    if (start > size || length > size - start) {
        return wefti_error(error, WEFT_INVALID_MODEL,
                           "the .npy file ends within its header");
    }
    scanner s = {.at = (const char *)bytes + start,
                 .end = (const char *)bytes + start + length,
                 .tensor = tensor,
                 .error = error};
    WEFTI_TRY(read_dictionary(&s));
    *data_offset = start + length;
    return WEFT_OK;
}

static const char *numpy_name(weft_type type)
{
    for (size_t i = 0; i < WEFTI_COUNT_OF(types); i++) {
        if (types[i].type == type) {
            return types[i].name;
        }
    }
    return NULL;
}

weft_status wefti_npy_write_header(const weft_tensor *tensor,
                                   char header[WEFTI_NPY_HEADER_MAX], size_t *size,
                                   weft_error *error)
{
    const char *name = numpy_name(tensor->type);
    if (!name) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "NumPy has no type for %s; convert the tensor first",
                           weft_type_name(tensor->type));
    }
    char shape[8 * 24] = "";
    int used = 0;
    for (int32_t i = 0; i < tensor->rank; i++) {
        used += snprintf(shape + used, sizeof shape - (size_t)used, "%s%" PRId64,
                         i > 0 ? ", " : "", tensor->dims[i]);
    }
    char *text = header + 10;
    int length =
        snprintf(text, WEFTI_NPY_HEADER_MAX - 10,
                 "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s%s), }",
                 name[1] == '1' ? '|' : '<', name, shape, tensor->rank == 1 ? "," : "");
    /* Blanks and a line end up to a multiple of 64, as NumPy has it. */
    size_t total = (10 + (size_t)length + 1 + 63) / 64 * 64;
    memset(text + length, ' ', total - 10 - (size_t)length);
    header[total - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((total - 10) & 0xff);
    header[9] = (char)((total - 10) >> 8);
    *size = total;
    return WEFT_OK;
}

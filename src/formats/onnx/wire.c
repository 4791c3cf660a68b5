/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/onnx/wire.h"

#include <stdbool.h>
#include <string.h>

#include "base/memory.h"

/* A model needs about 6: model, graph, node, attribute, tensor, entry. */
enum { MAX_DEPTH = 32 };

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };

/* A message that is being walked. */
typedef struct level {
    const ProtobufCMessageDescriptor *message;
    size_t end;
    uint64_t seen; /* bit i: its i-th field has occurred */
    bool one_of;   /* a member of its choice has occurred */
} level;

typedef struct walk {
    const uint8_t *bytes;
    size_t at;
    level levels[MAX_DEPTH];
    int depth;
    weft_error *error;
} walk;

static weft_status broken(walk *w, const char *what)
{
    return wefti_error(w->error, WEFT_INVALID_MODEL,
                       "this is not an ONNX model, or it is damaged: %s at byte %zu of "
                       "a %s",
                       what, w->at, w->levels[w->depth].message->short_name);
}

/* Reads a variable-length number of at most `max_bytes` bytes inside the level. */
static bool read_varint(walk *w, int max_bytes, uint64_t *value)
{
    size_t end = w->levels[w->depth].end;
    *value = 0;
    for (int i = 0; i < max_bytes; i++) {
        if (w->at >= end) {
            return false;
        }
        uint8_t byte = w->bytes[w->at++];
        *value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

static bool skip(walk *w, uint64_t size)
{
    if (size > w->levels[w->depth].end - w->at) {
        return false;
    }
    w->at += (size_t)size;
    return true;
}

static weft_status check_once(walk *w, const ProtobufCFieldDescriptor *field)
{
    level *top = &w->levels[w->depth];
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return WEFT_OK;
    }
    size_t index = (size_t)(field - top->message->fields);
    uint64_t bit = index < 64 ? (uint64_t)1 << index : 0;
    bool one_of = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if ((top->seen & bit) || (one_of && top->one_of)) {
        return wefti_error(w->error, WEFT_INVALID_MODEL,
                           "the field '%s' of a %s occurs twice; write the model again",
                           field->name, top->message->short_name);
    }
    top->seen |= bit;
    top->one_of = top->one_of || one_of;
    return WEFT_OK;
}

static weft_status enter(walk *w, const ProtobufCMessageDescriptor *message,
                         size_t size)
{
    if (w->depth + 1 >= MAX_DEPTH) {
        return wefti_error(w->error, WEFT_INVALID_MODEL,
                           "the model nests its parts more than %d levels deep",
                           (int)MAX_DEPTH);
    }
    w->levels[++w->depth] = (level){.message = message, .end = w->at + size};
    return WEFT_OK;
}

static weft_status walk_length_field(walk *w, const ProtobufCFieldDescriptor *field)
{
    uint64_t size = 0;
    if (!read_varint(w, 5, &size) || size > w->levels[w->depth].end - w->at) {
        return broken(w, "a length beyond the end");
    }
    if (field && field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return enter(w, field->descriptor, (size_t)size);
    }
    if (field && field->type == PROTOBUF_C_TYPE_STRING &&
        memchr(w->bytes + w->at, 0, (size_t)size)) {
        return wefti_error(w->error, WEFT_INVALID_MODEL,
                           "the text '%s' of a %s holds a zero byte", field->name,
                           w->levels[w->depth].message->short_name);
    }
    w->at += (size_t)size;
    return WEFT_OK;
}

static weft_status walk_field(walk *w)
{
    uint64_t key = 0;
    if (!read_varint(w, 5, &key)) {
        return broken(w, "a cut field number");
    }
    uint64_t tag = key >> 3;
    if (tag == 0 || tag >= (uint64_t)1 << 29) {
        return broken(w, "an impossible field number");
    }
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
        w->levels[w->depth].message, (unsigned)tag);
    if (field) {
        WEFTI_TRY(check_once(w, field));
    }
    uint64_t ignored = 0;
    switch (key & 7) {
    case WIRE_VARINT:
        return read_varint(w, 10, &ignored) ? WEFT_OK : broken(w, "a cut number");
    case WIRE_FIXED64:
        return skip(w, 8) ? WEFT_OK : broken(w, "a cut number");
    case WIRE_LENGTH:
        return walk_length_field(w, field);
    case WIRE_FIXED32:
        return skip(w, 4) ? WEFT_OK : broken(w, "a cut number");
    default:
        return broken(w, "an unknown kind of field");
    }
}

weft_status wefti_onnx_check_wire(const uint8_t *bytes, size_t size, weft_error *error)
{
    walk w = {.bytes = bytes, .error = error};
    w.levels[0] = (level){.message = &onnx__model_proto__descriptor, .end = size};
    while (w.depth > 0 || w.at < size) {
        if (w.at == w.levels[w.depth].end) {
            w.depth--;
            continue;
        }
        WEFTI_TRY(walk_field(&w));
    }
    return WEFT_OK;
}

/* protobuf-c returns NULL for both causes; this keeps them apart. */
typedef struct allocator_state {
    bool failed;
} allocator_state;

static void *proto_alloc(void *user, size_t size_bytes)
{
    void *block = wefti_malloc(size_bytes);
    if (!block) {
        ((allocator_state *)user)->failed = true;
    }
    return block;
}

static void proto_free(void *user, void *block)
{
    (void)user;
    wefti_free(block);
}

weft_status wefti_onnx_unpack(const uint8_t *bytes, size_t size,
                              Onnx__ModelProto **model, weft_error *error)
{
    WEFTI_TRY(wefti_onnx_check_wire(bytes, size, error));
    allocator_state state = {false};
    ProtobufCAllocator allocator = {proto_alloc, proto_free, &state};
    *model = onnx__model_proto__unpack(&allocator, size, bytes);
    if (*model) {
        return WEFT_OK;
    }
    if (state.failed) {
        return wefti_error_memory(error, "the parts of an ONNX model");
    }
    return wefti_error(error, WEFT_INVALID_MODEL,
                       "this is not an ONNX model, or it is damaged: a field has the "
                       "wrong kind");
}

void wefti_onnx_free(Onnx__ModelProto *model)
{
    allocator_state state = {false};
    ProtobufCAllocator allocator = {proto_alloc, proto_free, &state};
    if (model) {
        onnx__model_proto__free_unpacked(model, &allocator);
    }
}

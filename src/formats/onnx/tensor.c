/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "formats/onnx/reader.h"

/* ONNX's element types by number; ours are a part of them with the same numbers. */
static const char *const type_names[] = {
    "undefined",      "float",    "uint8",        "int8",           "uint16",
    "int16",          "int32",    "int64",        "string",         "bool",
    "float16",        "double",   "uint32",       "uint64",         "complex64",
    "complex128",     "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
    "float8e5m2fnuz", "uint4",    "int4",         "float4e2m1",     "float8e8m0",
};

weft_status wefti_onnx_type(int32_t number, weft_type *type, weft_error *error)
{
    bool known = number > 0 && (size_t)number < WEFTI_COUNT_OF(type_names);
    if (!known) {
        return wefti_error(error, WEFT_INVALID_MODEL, "it has the unknown type %d",
                           (int)number);
    }
    if (weft_type_size((weft_type)number) == 0) {
        return wefti_error(error, WEFT_UNSUPPORTED,
                           "its type %s is not supported; use float, double, int32, "
                           "int64, int8, uint8, bool, float16 or bfloat16",
                           type_names[number]);
    }
    *type = (weft_type)number;
    return WEFT_OK;
}

void wefti_onnx_tensor_release(wefti_onnx_tensor *tensor)
{
    if (tensor->release) {
        tensor->release(tensor->user);
    }
    tensor->release = NULL;
}

/* Gives the tensor a heap block, which it owns from now on. */
static void own_block(wefti_onnx_tensor *tensor, void *block)
{
    tensor->view.data = block;
    tensor->release = wefti_free;
    tensor->user = block;
}

static weft_status read_shape(wefti_onnx_reader *reader,
                              const Onnx__TensorProto *source, weft_tensor *view,
                              int64_t *count)
{
    WEFTI_TRY(wefti_onnx_type(source->data_type, &view->type, reader->error));
    if (source->n_dims > WEFT_MAX_RANK) {
        return wefti_error(reader->error, WEFT_UNSUPPORTED,
                           "it has %zu dimensions; at most %d are supported",
                           source->n_dims, (int)WEFT_MAX_RANK);
    }
    view->rank = (int32_t)source->n_dims;
    for (int32_t i = 0; i < view->rank; i++) {
        view->dims[i] = source->dims[i];
    }
    return wefti_onnx_blame_model(
        reader, weft_tensor_measure(view, count, &view->size_bytes, reader->error));
}

/* The field of typed data that belongs to a type: values, their number and size. */
typedef struct typed_field {
    void **values;
    size_t *count;
    size_t value_bytes;
} typed_field;

static typed_field find_typed_field(Onnx__TensorProto *source, weft_type type)
{
    switch (type) {
    case WEFT_TYPE_F32:
        return (typed_field){(void **)(void *)&source->float_data,
                             &source->n_float_data, sizeof(float)};
    case WEFT_TYPE_F64:
        return (typed_field){(void **)(void *)&source->double_data,
                             &source->n_double_data, sizeof(double)};
    case WEFT_TYPE_I64:
        return (typed_field){(void **)(void *)&source->int64_data,
                             &source->n_int64_data, sizeof(int64_t)};
    default: /* all smaller ones */
        return (typed_field){(void **)(void *)&source->int32_data,
                             &source->n_int32_data, sizeof(int32_t)};
    }
}

static size_t count_typed_values(const Onnx__TensorProto *source)
{
    return source->n_float_data + source->n_double_data + source->n_int64_data +
           source->n_int32_data + source->n_uint64_data + source->n_string_data;
}

static bool narrow_fits(weft_type type, int32_t value)
{
    switch (type) {
    case WEFT_TYPE_I8:
        return value >= INT8_MIN && value <= INT8_MAX;
    case WEFT_TYPE_U8:
        return value >= 0 && value <= UINT8_MAX;
    case WEFT_TYPE_BOOL:
        return value == 0 || value == 1;
    default: /* the bits of f16 and bf16 */
        return value >= 0 && value <= UINT16_MAX;
    }
}

/* Narrows int32 values into a new block. */
static weft_status narrow(wefti_onnx_reader *reader, const int32_t *values,
                          size_t count, wefti_onnx_tensor *tensor)
{
    size_t element_bytes = weft_type_size(tensor->view.type);
    uint8_t *block = wefti_malloc(tensor->view.size_bytes);
    if (!block) {
        return wefti_error_memory(reader->error, "a tensor");
    }
    own_block(tensor, block);
    for (size_t i = 0; i < count; i++) {
        if (!narrow_fits(tensor->view.type, values[i])) {
            return wefti_error(reader->error, WEFT_INVALID_MODEL,
                               "its value %d at index %zu does not fit %s",
                               (int)values[i], i, weft_type_name(tensor->view.type));
        }
        uint16_t bits = (uint16_t)values[i];
        if (element_bytes == 1) {
            block[i] = (uint8_t)bits;
        } else {
            memcpy(block + 2 * i, &bits, 2);
        }
    }
    return WEFT_OK;
}

static weft_status read_typed(wefti_onnx_reader *reader, Onnx__TensorProto *source,
                              size_t count, wefti_onnx_tensor *tensor)
{
    typed_field field = find_typed_field(source, tensor->view.type);
    if (*field.count != count || count_typed_values(source) != count) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL,
                           "its shape needs %zu values of type %s, the file has %zu",
                           count, weft_type_name(tensor->view.type), *field.count);
    }
    if (weft_type_size(tensor->view.type) != field.value_bytes) {
        return narrow(reader, *field.values, count, tensor);
    }
    own_block(tensor, *field.values);
    *field.values = NULL;
    *field.count = 0;
    return WEFT_OK;
}

static weft_status read_raw(wefti_onnx_reader *reader, Onnx__TensorProto *source,
                            wefti_onnx_tensor *tensor)
{
    if (source->raw_data.len != tensor->view.size_bytes ||
        count_typed_values(source) != 0) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL,
                           "its type and shape need %zu bytes of data, the file has "
                           "%zu",
                           tensor->view.size_bytes, source->raw_data.len);
    }
    own_block(tensor, source->raw_data.data);
    source->raw_data = (ProtobufCBinaryData){0};
    return WEFT_OK;
}

/* Maps the data, or copies it where it does not lie on the element's alignment. */
static weft_status read_external(wefti_onnx_reader *reader,
                                 const Onnx__TensorProto *source,
                                 wefti_onnx_tensor *tensor)
{
    wefti_onnx_extent extent;
    if (source->has_raw_data || count_typed_values(source) != 0) {
        return wefti_error(reader->error, WEFT_INVALID_MODEL,
                           "it has data both in the model and outside");
    }
    WEFTI_TRY(wefti_onnx_find_external(&reader->files, source, tensor->view.size_bytes,
                                       &extent, reader->error));
    if (extent.offset % weft_type_size(tensor->view.type) == 0) {
        tensor->view.data = (void *)(uintptr_t)(extent.mapping->bytes + extent.offset);
        tensor->release = wefti_mapping_release;
        tensor->user = extent.mapping;
        return WEFT_OK;
    }
    void *block = wefti_malloc(extent.size);
    if (block) {
        memcpy(block, extent.mapping->bytes + extent.offset, extent.size);
        own_block(tensor, block);
    }
    wefti_mapping_release(extent.mapping);
    return block ? WEFT_OK : wefti_error_memory(reader->error, "a tensor");
}

/* Kernels rely on 0 and 1. */
static weft_status check_bools(wefti_onnx_reader *reader, const weft_tensor *view)
{
    const uint8_t *bytes = view->data;
    for (size_t i = 0; view->type == WEFT_TYPE_BOOL && i < view->size_bytes; i++) {
        if (bytes[i] > 1) {
            return wefti_error(reader->error, WEFT_INVALID_MODEL,
                               "its bool at index %zu has the value %d; only 0 and 1 "
                               "are allowed",
                               i, (int)bytes[i]);
        }
    }
    return WEFT_OK;
}

static weft_status read_data(wefti_onnx_reader *reader, Onnx__TensorProto *source,
                             wefti_onnx_tensor *tensor)
{
    static const uint64_t nothing;
    int64_t count = 0;
    WEFTI_TRY(read_shape(reader, source, &tensor->view, &count));
    if (source->segment) {
        return wefti_error(reader->error, WEFT_UNSUPPORTED,
                           "it is stored in segments; write the model again with a "
                           "present exporter");
    }
    if (source->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL &&
        count > 0) {
        WEFTI_TRY(read_external(reader, source, tensor));
    } else if (source->has_raw_data && source->raw_data.len > 0) {
        WEFTI_TRY(read_raw(reader, source, tensor));
    } else {
        WEFTI_TRY(read_typed(reader, source, (size_t)count, tensor));
    }
    if (!tensor->view.data) { /* no elements */
        tensor->view.data = (void *)(uintptr_t)&nothing;
        tensor->release = NULL;
    }
    return check_bools(reader, &tensor->view);
}

weft_status wefti_onnx_read_tensor(wefti_onnx_reader *reader, Onnx__TensorProto *source,
                                   wefti_onnx_tensor *tensor)
{
    *tensor = (wefti_onnx_tensor){0};
    weft_status status = read_data(reader, source, tensor);
    if (status == WEFT_OK) {
        return WEFT_OK;
    }
    wefti_onnx_tensor_release(tensor);
    *tensor = (wefti_onnx_tensor){0};
    return wefti_error_prefix(reader->error, status, "tensor '" WEFTI_ONNX_NAME "'",
                              wefti_onnx_text(source->name));
}

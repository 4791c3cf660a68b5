/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TESTS_SUPPORT_ONNX_BUILDER_H
#define WEFT_TESTS_SUPPORT_ONNX_BUILDER_H

#include <stddef.h>
#include <stdint.h>

#include <weft/tensor.h>

#include "onnx.pb-c.h"

/* Makes ONNX models for tests, right ones and wrong ones: the parts are protobuf-c's
 * own structs, so that a test can spoil any field before packing. All memory belongs
 * to the builder. Class: confined. */
typedef struct onnx_builder {
    Onnx__ModelProto *model;
    Onnx__GraphProto *graph;
    void **blocks;
    size_t block_count, block_capacity;
} onnx_builder;

/* Starts a model of IR version 8 that follows `opset` (0: names none). */
void onnx_builder_init(onnx_builder *builder, int64_t opset);
void onnx_builder_fini(onnx_builder *builder);

/* Zeroed memory that lives as long as the builder. */
void *onnx_builder_alloc(onnx_builder *builder, size_t size_bytes);
char *onnx_builder_text(onnx_builder *builder, const char *text);

void onnx_builder_opset(onnx_builder *builder, const char *domain, int64_t version);

/* Adds an input or output of a dense tensor type; a negative dimension becomes the
 * name "n". */
Onnx__ValueInfoProto *onnx_builder_input(onnx_builder *builder, const char *name,
                                         int32_t type, size_t rank,
                                         const int64_t *dims);
Onnx__ValueInfoProto *onnx_builder_output(onnx_builder *builder, const char *name);
/* The same with a type and shape, as of onnx_builder_input. */
Onnx__ValueInfoProto *onnx_builder_declared(onnx_builder *builder, const char *name,
                                            int32_t type, size_t rank,
                                            const int64_t *dims);

/* A tensor without data, not part of anything yet. */
Onnx__TensorProto *onnx_builder_tensor(onnx_builder *builder, const char *name,
                                       int32_t type, size_t rank, const int64_t *dims);
void onnx_builder_raw(onnx_builder *builder, Onnx__TensorProto *tensor,
                      const void *data, size_t size_bytes);
/* Adds an entry such as location, offset or length and marks the data external. */
void onnx_builder_external(onnx_builder *builder, Onnx__TensorProto *tensor,
                           const char *key, const char *value);
void onnx_builder_initializer(onnx_builder *builder, Onnx__TensorProto *tensor);

/* Adds a node; `inputs` and `outputs` are names with commas between. */
Onnx__NodeProto *onnx_builder_node(onnx_builder *builder, const char *op_type,
                                   const char *name, const char *inputs,
                                   const char *outputs);
Onnx__AttributeProto *onnx_builder_attribute(onnx_builder *builder,
                                             Onnx__NodeProto *node, const char *name,
                                             Onnx__AttributeProto__AttributeType type);

/* Packs the model; the bytes belong to the builder. */
uint8_t *onnx_builder_pack(onnx_builder *builder, size_t *size);

/* A model that uses every part the reader knows: y = relu(x w + b) with a constant
 * node, typed, raw and unused data, attributes and a dynamic dimension. */
void onnx_builder_make_small(onnx_builder *builder);

#endif

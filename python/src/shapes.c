/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <string.h>

/* The table of input shapes (and values that decide shapes) that a model has met: what
 * its outputs are then, and how long a run takes. Each shape has one place; another
 * that falls there takes it over. */

/* The bytes of an input whose value decides a shape are a part of the key; 0 for any
 * other. */
static size_t value_bytes(const weft_tensor *input, bool is_value)
{
    size_t size = is_value ? weft_type_size(input->type) : 0;
    for (int32_t i = 0; is_value && i < input->rank; i++) {
        size *= (size_t)input->dims[i];
    }
    return size;
}

static size_t key_length(const weft_io *io, const bool *is_value)
{
    size_t length = 0;
    for (size_t i = 0; i < io->input_count; i++) {
        size_t bytes = value_bytes(&io->inputs[i], is_value[i]);
        length += 1 + (size_t)io->inputs[i].rank + (bytes + 7) / 8;
    }
    return length;
}

static void fill_key(const weft_io *io, const bool *is_value, int64_t *key)
{
    for (size_t i = 0; i < io->input_count; i++) {
        const weft_tensor *input = &io->inputs[i];
        size_t bytes = value_bytes(input, is_value[i]);
        *key++ = input->rank;
        for (int32_t k = 0; k < input->rank; k++) {
            *key++ = input->dims[k];
        }
        if (bytes > 0) {
            key[(bytes - 1) / 8] = 0;
            memcpy(key, input->data, bytes);
            key += (bytes + 7) / 8;
        }
    }
}

/* FNV-1a over whole numbers instead of bytes, mixed at the end. */
static uint64_t hash_key(const int64_t *key, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (uint64_t)key[i]) * 0x100000001b3u;
    }
    return hash ^ hash >> 29;
}

void door_shape_drop(door_shape *shape)
{
    if (!shape || --shape->references > 0) {
        return;
    }
    for (size_t i = 0; shape->shapes && i < shape->output_count; i++) {
        Py_XDECREF(shape->shapes[i]);
    }
    PyMem_Free(shape->shapes);
    PyMem_Free(shape->outputs);
    PyMem_Free(shape);
}

void door_shapes_clear(door_shapes *shapes)
{
    for (size_t i = 0; i < DOOR_SHAPE_SLOTS; i++) {
        door_shape_drop(shapes->slots[i]);
        shapes->slots[i] = NULL;
    }
}

PyObject *door_shape_tuple(const weft_tensor *tensor)
{
    if (tensor->rank < 0) {
        return Py_NewRef(Py_None); /* only a run tells */
    }
    PyObject *tuple = PyTuple_New(tensor->rank);
    for (int32_t i = 0; tuple && i < tensor->rank; i++) {
        PyObject *number = PyLong_FromLongLong(tensor->dims[i]);
        if (!number || PyTuple_SetItem(tuple, i, number)) {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static door_shape *make_shape(const weft_io *io, const int64_t *key, size_t length)
{
    door_shape *shape = PyMem_Calloc(1, sizeof(*shape) + length * sizeof(int64_t));
    if (!shape) {
        return (door_shape *)PyErr_NoMemory();
    }
    shape->references = 1;
    shape->run_ns = INT64_MAX;
    shape->output_count = io->output_count;
    shape->outputs = PyMem_Calloc(io->output_count, sizeof(*shape->outputs));
    shape->shapes = PyMem_Calloc(io->output_count, sizeof(*shape->shapes));
    if (!shape->outputs || !shape->shapes) {
        door_shape_drop(shape);
        return (door_shape *)PyErr_NoMemory();
    }
    shape->key_length = length;
    memcpy(shape->key, key, length * sizeof(*key));
    return shape;
}

static int ask_model(door_shape *shape, const door_model *model, const weft_io *io)
{
    weft_io asked = {io->inputs, io->input_count, shape->outputs, shape->output_count};
    weft_error error;
    weft_status status;
    Py_BEGIN_ALLOW_THREADS;
    status = weft_model_infer_outputs(model->model, &asked, &error);
    Py_END_ALLOW_THREADS;
    if (status != WEFT_OK) {
        return status == WEFT_INVALID_ARGUMENT && door_explain_inputs(model, io)
                   ? -1
                   : door_raise(&error);
    }
    for (size_t i = 0; i < shape->output_count; i++) {
        shape->shapes[i] = door_shape_tuple(&shape->outputs[i]);
        if (!shape->shapes[i]) {
            return -1;
        }
    }
    return 0;
}

/* What is in the slot, with a reference more, if it is of the key; else NULL. */
static door_shape *look_up(door_shapes *shapes, door_shape *const *slot,
                           const int64_t *key, size_t length)
{
    door_lock_acquire(&shapes->lock);
    door_shape *shape = *slot;
    bool same = shape && shape->key_length == length &&
                memcmp(shape->key, key, length * sizeof(*key)) == 0;
    if (same) {
        shape->references++;
    }
    door_lock_release(&shapes->lock);
    return same ? shape : NULL;
}

static door_shape *find(door_model *model, const weft_io *io, const int64_t *key,
                        size_t length)
{
    uint64_t hash = hash_key(key, length);
    door_shape **slot = &model->shapes.slots[hash % DOOR_SHAPE_SLOTS];
    door_shape *shape = look_up(&model->shapes, slot, key, length);
    if (shape) {
        return shape;
    }
    shape = make_shape(io, key, length);
    if (!shape || ask_model(shape, model, io)) {
        door_shape_drop(shape);
        return NULL;
    }
    shape->references++;
    door_lock_acquire(&model->shapes.lock);
    door_shape *before = *slot; /* maybe another's of the same shape */
    *slot = shape;
    door_lock_release(&model->shapes.lock);
    door_shape_drop(before);
    return shape;
}

/* Room for the key of most models on the stack. */
enum { DOOR_KEY_ROOM = 64 };

door_shape *door_shapes_find(door_model *model, const weft_io *io)
{
    int64_t few[DOOR_KEY_ROOM];
    size_t length = key_length(io, model->input_is_value);
    int64_t *key = length <= DOOR_KEY_ROOM ? few : PyMem_Calloc(length, sizeof(*key));
    if (!key) {
        return (door_shape *)PyErr_NoMemory();
    }
    fill_key(io, model->input_is_value, key);
    door_shape *shape = find(model, io, key, length);
    if (key != few) {
        PyMem_Free(key);
    }
    return shape;
}

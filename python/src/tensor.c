/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Tensors of a library with DLPack's exchange by C calls: the memory is ours and the
 * library wraps it, for PyTorch a seventh of the time that its own allocation takes. */

struct door_block {
    dl_managed_versioned managed;
    int64_t dims[WEFT_MAX_RANK], strides[WEFT_MAX_RANK];
    atomic_int owner_count;
};

enum { DOOR_ALIGNMENT = 64 };

door_block *door_block_retain(door_block *block)
{
    atomic_fetch_add_explicit(&block->owner_count, 1, memory_order_relaxed);
    return block;
}

void door_block_release(door_block *block)
{
    if (block &&
        atomic_fetch_sub_explicit(&block->owner_count, 1, memory_order_acq_rel) == 1) {
        free(block);
    }
}

void *door_block_data(const door_block *block)
{
    return block->managed.tensor.data;
}

/* Called by the tensor's library when it is gone, maybe without the GIL. */
static void let_go(dl_managed_versioned *managed)
{
    door_block_release(managed->context);
}

static dl_type dlpack_type(weft_type type)
{
    uint8_t code = DL_FLOAT;
    if (type == WEFT_TYPE_BF16) {
        code = DL_BFLOAT;
    } else if (type == WEFT_TYPE_BOOL) {
        code = DL_BOOL;
    } else if (type == WEFT_TYPE_U8) {
        code = DL_UINT;
    } else if (type == WEFT_TYPE_I8 || type == WEFT_TYPE_I32 || type == WEFT_TYPE_I64) {
        code = DL_INT;
    }
    return (dl_type){code, (uint8_t)(8 * weft_type_size(type)), 1};
}

static bool is_same_type(dl_type a, dl_type b)
{
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

bool door_block_is_for(const door_block *block, const weft_tensor *wanted)
{
    const dl_tensor *made = &block->managed.tensor;
    bool same = made->rank == wanted->rank &&
                is_same_type(made->type, dlpack_type(wanted->type));
    for (int32_t i = 0; same && i < wanted->rank; i++) {
        same = block->dims[i] == wanted->dims[i];
    }
    return same;
}

static door_block *make_block(const weft_tensor *tensor)
{
    size_t head =
        (sizeof(door_block) + DOOR_ALIGNMENT - 1) / DOOR_ALIGNMENT * DOOR_ALIGNMENT;
    void *memory = NULL;
    if (tensor->size_bytes > SIZE_MAX - head ||
        posix_memalign(&memory, DOOR_ALIGNMENT, head + tensor->size_bytes)) {
        return (door_block *)PyErr_NoMemory();
    }
    door_block *block = memory;
    block->managed =
        (dl_managed_versioned){.version = {DL_MAJOR_VERSION, DL_MINOR_VERSION},
                               .context = block,
                               .deleter = let_go,
                               .tensor = {.data = (char *)memory + head,
                                          .device_type = DL_CPU,
                                          .rank = tensor->rank,
                                          .type = dlpack_type(tensor->type),
                                          .dims = block->dims,
                                          .strides = block->strides}};
    atomic_init(&block->owner_count, 1);
    int64_t stride = 1;
    for (int32_t i = tensor->rank; i-- > 0;) {
        block->dims[i] = tensor->dims[i];
        block->strides[i] = stride;
        stride *= tensor->dims[i];
    }
    return block;
}

PyObject *door_make_tensor(weft_tensor *tensor, const dl_exchange *exchange,
                           door_spares *spares)
{
    PyObject *made = spares ? door_spares_take(spares, tensor) : NULL;
    if (made) {
        return made;
    }
    door_block *block = make_block(tensor);
    if (!block) {
        return NULL;
    }
    void *object = NULL;
    tensor->data = door_block_data(block);
    if (exchange->to_object(&block->managed, &object)) {
        return NULL;
    }
    if (spares) {
        door_spares_keep(spares, object, block, tensor, exchange);
    }
    return object;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/kernel_random.h"

int64_t random_below(uint64_t *seed, int64_t limit)
{
    return (int64_t)(kernel_next(seed) % (uint64_t)limit);
}

static float random_float(uint64_t *seed)
{
    static const float special[] = {0.0f,      -0.0f,      INFINITY,  -INFINITY,
                                    0x1p-149f, -0x1p-130f, 0x1p-126f, 3.4028235e38f,
                                    1.0f,      -1.0f,      2.0f,      0.5f};
    uint64_t bits = kernel_next(seed);
    switch (bits % 32) {
    case 0:
        return special[(bits >> 8) % WEFTI_COUNT_OF(special)];
    case 1: {
        /* Any bits, NaNs with payloads among them. */
        float any;
        uint32_t low = (uint32_t)(bits >> 32);
        memcpy(&any, &low, sizeof(any));
        return any;
    }
    case 2:
    case 3:
        return (float)((int64_t)(bits >> 32) % 17 - 8);
    default:
        return (float)((int64_t)(bits >> 16 & 0xffffff) - 0x800000) * 0x1p-21f;
    }
}

static int64_t random_integer(uint64_t *seed)
{
    uint64_t bits = kernel_next(seed);
    switch (bits % 8) {
    case 0:
        return (int64_t)kernel_next(seed);
    case 1:
        return bits & 256 ? INT64_MIN : INT64_MAX;
    case 2:
        return bits & 256 ? INT32_MIN : INT32_MAX;
    default:
        return (int64_t)(bits >> 32) % 21 - 10;
    }
}

static double random_double(uint64_t *seed)
{
    float f = random_float(seed);
    if (kernel_next(seed) % 16 == 0) {
        double any;
        uint64_t bits = kernel_next(seed);
        memcpy(&any, &bits, sizeof(any));
        return any;
    }
    return (double)f * (1.0 + 0x1p-40 * (double)random_below(seed, 1000));
}

static void random_element(uint64_t *seed, weft_type type, void *data, size_t i)
{
    switch (type) {
    case WEFT_TYPE_F32:
        ((float *)data)[i] = random_float(seed);
        break;
    case WEFT_TYPE_F64:
        ((double *)data)[i] = random_double(seed);
        break;
    case WEFT_TYPE_I64:
        ((int64_t *)data)[i] = random_integer(seed);
        break;
    case WEFT_TYPE_I32:
        ((int32_t *)data)[i] = (int32_t)random_integer(seed);
        break;
    case WEFT_TYPE_BOOL:
        ((uint8_t *)data)[i] = (uint8_t)(kernel_next(seed) & 1u);
        break;
    case WEFT_TYPE_F16:
    case WEFT_TYPE_BF16:
        ((uint16_t *)data)[i] = (uint16_t)kernel_next(seed);
        break;
    default:
        ((uint8_t *)data)[i] = (uint8_t)random_integer(seed);
        break;
    }
}

void random_fill(uint64_t *seed, weft_type type, void *data, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        random_element(seed, type, data, i);
    }
}

int32_t random_dims(uint64_t *seed, int32_t max_rank, int64_t max_count, int64_t *dims)
{
    static const int64_t sizes[] = {1,  1,  2,  3,  4,  5,  7,  8,
                                    15, 16, 17, 31, 33, 64, 100};
    int32_t rank = (int32_t)random_below(seed, max_rank + 1);
    int64_t count = 1;
    for (int32_t i = 0; i < rank; i++) {
        dims[i] = sizes[random_below(seed, (int64_t)WEFTI_COUNT_OF(sizes))];
        if (random_below(seed, 150) == 0) {
            dims[i] = 0;
        }
        if (count * dims[i] > max_count) {
            dims[i] = 1;
        }
        count = dims[i] > 0 ? count * dims[i] : count;
    }
    return rank;
}

static uint32_t choose_layout(uint64_t *seed, uint32_t layouts)
{
    for (;;) {
        uint32_t layout = 1u << random_below(seed, 5);
        if ((layout & layouts) != 0) {
            return layout;
        }
    }
}

static void set_strides(uint64_t *seed, uint32_t layout, int32_t rank,
                        const int64_t *dims, int64_t *strides)
{
    int32_t order[WEFT_MAX_RANK];
    for (int32_t i = 0; i < rank; i++) {
        order[i] = i;
    }
    for (int32_t i = rank - 1; i > 0 && layout == RANDOM_PERMUTED; i--) {
        int32_t k = (int32_t)random_below(seed, i + 1), swapped = order[i];
        order[i] = order[k];
        order[k] = swapped;
    }
    int64_t stride = layout == RANDOM_GAPS ? 1 + random_below(seed, 3) : 1;
    for (int32_t i = rank - 1; i >= 0; i--) {
        int32_t d = order[i];
        bool repeated = layout == RANDOM_REPEATED && random_below(seed, 2) == 0;
        bool reversed = layout == RANDOM_REVERSED && random_below(seed, 2) == 0;
        strides[d] = repeated ? 0 : (reversed ? -stride : stride);
        stride *= repeated || dims[d] == 0 ? 1 : dims[d];
        stride += layout == RANDOM_GAPS ? random_below(seed, 3) : 0;
    }
}

random_tensor random_tensor_make(uint64_t *seed, weft_type type, int32_t rank,
                                 const int64_t *dims, uint32_t layouts)
{
    random_tensor t = {.block = NULL};
    set_strides(seed, choose_layout(seed, layouts), rank, dims, t.strides);
    int64_t low = 0, high = 0, count = 1;
    for (int32_t i = 0; i < rank; i++) {
        int64_t reach = dims[i] > 0 ? (dims[i] - 1) * t.strides[i] : 0;
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
        count *= dims[i];
    }
    size_t elements = count == 0 ? 0 : (size_t)(high - low + 1);
    size_t size = weft_type_size(type);
    t.block_bytes = elements * size;
    t.block = kernel_alloc(t.block_bytes);
    random_fill(seed, type, t.block, elements);
    t.data = (char *)t.block - low * (int64_t)size;
    return t;
}

void random_tensor_drop(random_tensor *tensor)
{
    kernel_free(tensor->block);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tensor.h"

#include <stdbool.h>

#include "base/error.h"
#include "base/fork.h"

typedef struct type_text {
    const char *name;
    size_t size_bytes;
} type_text;

static const type_text types[] = {
    [WEFT_TYPE_NONE] = {"none", 0}, [WEFT_TYPE_F32] = {"f32", 4},
    [WEFT_TYPE_U8] = {"u8", 1},     [WEFT_TYPE_I8] = {"i8", 1},
    [WEFT_TYPE_I32] = {"i32", 4},   [WEFT_TYPE_I64] = {"i64", 8},
    [WEFT_TYPE_BOOL] = {"bool", 1}, [WEFT_TYPE_F16] = {"f16", 2},
    [WEFT_TYPE_F64] = {"f64", 8},   [WEFT_TYPE_BF16] = {"bf16", 2},
};

size_t weft_type_size(weft_type type)
{
    size_t index = (size_t)type;
    return index < WEFTI_COUNT_OF(types) ? types[index].size_bytes : 0;
}

const char *weft_type_name(weft_type type)
{
    size_t index = (size_t)type;
    bool known = index < WEFTI_COUNT_OF(types) && types[index].name;
    return known ? types[index].name : "unknown";
}

/* Multiplies the dimensions. Those of size 0 count as 1 until the end, so that the
 * answer does not depend on where in the shape the 0 stands. */
static weft_status count_elements(const weft_tensor *tensor, int64_t *count,
                                  weft_error *error)
{
    int64_t product = 1;
    bool empty = false;
    for (int32_t i = 0; i < tensor->rank; i++) {
        int64_t dim = tensor->dims[i];
        if (dim < 0) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "dimension %d of the tensor is %lld; sizes start at 0",
                               (int)i, (long long)dim);
        }
        empty = empty || dim == 0;
        if (dim != 0 && WEFTI_MUL_OVERFLOWS(product, dim, &product)) {
            return wefti_error(error, WEFT_INVALID_ARGUMENT,
                               "the product of the tensor's dimensions overflows at "
                               "dimension %d (%lld)",
                               (int)i, (long long)dim);
        }
    }
    *count = empty ? 0 : product;
    return WEFT_OK;
}

weft_status weft_tensor_measure(const weft_tensor *tensor, int64_t *element_count,
                                size_t *size_bytes, weft_error *error)
{
    WEFTI_TRY(wefti_fork_check(error));
    if (!tensor) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "the tensor is NULL");
    }
    size_t element_bytes = weft_type_size(tensor->type);
    if (element_bytes == 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the tensor's type %d is not an element type",
                           (int)tensor->type);
    }
    if (tensor->rank < 0 || tensor->rank > WEFT_MAX_RANK) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "the tensor's rank is %d; it must be 0 to %d",
                           (int)tensor->rank, (int)WEFT_MAX_RANK);
    }
    int64_t count = 0;
    int64_t bytes = 0;
    WEFTI_TRY(count_elements(tensor, &count, error));
    /* Signed, so that differences of pointers into the tensor fit as well. */
    if (WEFTI_MUL_OVERFLOWS(count, (int64_t)element_bytes, &bytes)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "a tensor of %lld elements of %s is larger than memory can "
                           "be",
                           (long long)count, weft_type_name(tensor->type));
    }
    if (element_count) {
        *element_count = count;
    }
    if (size_bytes) {
        *size_bytes = (size_t)bytes;
    }
    return WEFT_OK;
}

bool wefti_tensor_is_dense(const weft_tensor *tensor)
{
    bool all_zero = true;
    for (int32_t i = 0; i < tensor->rank; i++) {
        all_zero = all_zero && tensor->strides[i] == 0;
    }
    int64_t expected = 1;
    for (int32_t i = tensor->rank; !all_zero && i-- > 0;) {
        if (tensor->dims[i] != 1 && tensor->strides[i] != expected) {
            return false;
        }
        expected *= tensor->dims[i];
    }
    return true;
}

static bool has_elements(const weft_tensor *tensor)
{
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] == 0) {
            return false;
        }
    }
    return true;
}

weft_status wefti_tensor_check_host(const weft_tensor *tensor, const char *kind,
                                    const char *name, weft_error *error)
{
    if (WEFTI_LIKELY(tensor->place == WEFT_PLACE_HOST)) {
        return WEFT_OK;
    }
    if (tensor->place != WEFT_PLACE_CARD) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s '%s' lies at place %d, which there is not (the place of "
                           "a tensor in host memory is 0)",
                           kind, name, (int)tensor->place);
    }
    return wefti_error(error, WEFT_UNSUPPORTED,
                       "%s '%s' lies on a card; constants, values that decide a shape, "
                       "queues, and models with stages or buckets take host memory",
                       kind, name);
}

weft_status wefti_tensor_check_placement(const weft_tensor *tensor, const char *kind,
                                         const char *name, weft_error *error)
{
    WEFTI_TRY(wefti_tensor_check_host(tensor, kind, name, error));
    return wefti_tensor_check_layout(tensor, kind, name, error);
}

weft_status wefti_tensor_check_layout(const weft_tensor *tensor, const char *kind,
                                      const char *name, weft_error *error)
{
    size_t element = weft_type_size(tensor->type);
    if (tensor->data == NULL && has_elements(tensor)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT, "%s '%s' has no data", kind,
                           name);
    }
    if (((uintptr_t)tensor->data & (element - 1)) != 0) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s '%s' is not aligned to its element size of %zu bytes",
                           kind, name, element);
    }
    if (!wefti_tensor_is_dense(tensor)) {
        return wefti_error(error, WEFT_INVALID_ARGUMENT,
                           "%s '%s' is not dense row-major; copy it first (strides of "
                           "all zero stand for dense)",
                           kind, name);
    }
    return WEFT_OK;
}

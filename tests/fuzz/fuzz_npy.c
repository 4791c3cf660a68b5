/* SPDX-License-Identifier: Apache-2.0 */
/* Reads any bytes as a .npy file; see tests/fuzz/README.md. */
#include <weft/npy.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    weft_tensor tensor;
    weft_error error;
    if (weft_npy_parse(bytes, size, &tensor, &error) != WEFT_OK) {
        return 0;
    }
    size_t size_bytes = 0;
    if (weft_tensor_measure(&tensor, NULL, &size_bytes, &error) != WEFT_OK ||
        size_bytes != tensor.size_bytes || size_bytes > size) {
        abort();
    }
    weft_npy_free(&tensor);
    return 0;
}

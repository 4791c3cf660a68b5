/* SPDX-License-Identifier: Apache-2.0 */
/* Copies by pieces, on the driver made of C or on a card, where there is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/pieces.h"
#include "base/memory.h"

static wefti_backend_device *device;

static void fill(char *data, size_t size_bytes, uint64_t seed)
{
    for (size_t i = 0; i < size_bytes; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        data[i] = (char)(seed >> 56);
    }
}

/* There and back through other memory of the card; what lies behind is left alone. */
static void go_and_come(wefti_cuda_pieces *pieces, size_t size_bytes, uint64_t seed)
{
    char *data = wefti_malloc(size_bytes + 1), *back = wefti_malloc(size_bytes + 1);
    void *on_card;
    weft_error error;
    assert_non_null(data);
    assert_non_null(back);
    assert_int_equal(wefti_cuda_allocate(device, size_bytes, &on_card, &error),
                     WEFT_OK);
    const cuda_pointer address = (cuda_pointer)(uintptr_t)on_card;
    fill(data, size_bytes, seed);
    memset(back, 0x5a, size_bytes + 1);
    assert_int_equal(wefti_cuda_pieces_send(pieces, address, data, size_bytes, &error),
                     WEFT_OK);
    data[0] = (char)(data[0] + 1); /* the caller's again */
    assert_int_equal(wefti_cuda_pieces_fetch(pieces, back, address, size_bytes, &error),
                     WEFT_OK);
    data[0] = (char)(data[0] - 1);
    assert_memory_equal(back, data, size_bytes);
    assert_int_equal(back[size_bytes], 0x5a);
    wefti_cuda_free(device, on_card);
    wefti_free(data);
    wefti_free(back);
}

static void all_sizes_go_and_come(void **state)
{
    (void)state;
    const size_t piece = WEFTI_CUDA_PIECE_BYTES;
    const size_t sizes[] = {1,         piece - 1,     piece,         piece + 1,
                            2 * piece, 2 * piece + 5, 3 * piece - 7, 5 * piece + 3};
    wefti_cuda_pieces pieces = {.device = device};
    cuda_stream stream;
    assert_int_equal(wefti_cuda_enter(device, NULL), WEFT_OK);
    assert_int_equal(device->driver.stream_create(&stream, CUDA_STREAM_NON_BLOCKING),
                     CUDA_SUCCESS);
    pieces.stream = stream;
    for (uint64_t i = 0; i < WEFTI_COUNT_OF(sizes); i++) {
        go_and_come(&pieces, sizes[i], 11 + i);
    }
    assert_int_equal(device->driver.stream_synchronize(stream), CUDA_SUCCESS);
    wefti_cuda_pieces_fini(&pieces);
    wefti_cuda_pieces_fini(&pieces);
    assert_int_equal(device->driver.stream_destroy(stream), CUDA_SUCCESS);
    wefti_cuda_leave(device);
}

int main(void)
{
    static const wefti_log log;
    weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
    weft_error error;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sizes_go_and_come),
    };
    weft_status status =
        wefti_backend_cuda.device.open(0, &params, &log, &device, &error);
    if (status == WEFT_UNAVAILABLE) {
        print_message("left out: %s\n", error.message);
        return 0;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    wefti_backend_cuda.device.close(device);
    return failed;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cuda/driver.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

static const char library_name[] = "libcuda.so.1";

typedef void (*any_function)(void);

/* POSIX lets dlsym's pointer be a function's; C does not let one be cast. */
static bool find(void *library, const char *symbol, any_function *function)
{
    void *address = dlsym(library, symbol);
    _Static_assert(sizeof(address) == sizeof(*function), "function pointers differ");
    memcpy(function, &address, sizeof(address));
    return address != NULL;
}

static weft_status resolve(cuda_driver *driver, weft_error *error)
{
    static const struct {
        const char *symbol;
        size_t offset;
    } calls[] = {
#define CALL(name, symbol, parameters) {#symbol, offsetof(cuda_driver, name)},
        CUDA_DRIVER_CALLS(CALL)
#undef CALL
    };
    for (size_t i = 0; i < WEFTI_COUNT_OF(calls); i++) {
        any_function function;
        if (!find(driver->library, calls[i].symbol, &function)) {
            return wefti_error(error, WEFT_UNAVAILABLE,
                               "%s has no %s: the NVIDIA driver is too old; install "
                               "one for CUDA 12 or later",
                               library_name, calls[i].symbol);
        }
        memcpy((char *)driver + calls[i].offset, &function, sizeof(function));
    }
    return WEFT_OK;
}

const char *wefti_cuda_result_text(const cuda_driver *driver, cuda_result result)
{
    const char *text = NULL;
    if (driver->error_text(result, &text) != CUDA_SUCCESS || text == NULL) {
        return "an unknown error";
    }
    return text;
}

weft_status wefti_cuda_driver_open(cuda_driver *driver, weft_error *error)
{
    *driver = (cuda_driver){.library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL)};
    if (driver->library == NULL) {
        return wefti_error(error, WEFT_UNAVAILABLE,
                           "there is no NVIDIA driver on this machine (%s was not "
                           "found); install one, or use the device \"cpu\"",
                           library_name);
    }
    weft_status status = resolve(driver, error);
    if (status != WEFT_OK) {
        wefti_cuda_driver_close(driver);
        return status;
    }
    cuda_result result = driver->init(0);
    if (result != CUDA_SUCCESS) {
        status =
            wefti_error(error, WEFT_UNAVAILABLE,
                        "the NVIDIA driver does not start: %s; look whether nvidia-smi "
                        "shows a card",
                        wefti_cuda_result_text(driver, result));
        wefti_cuda_driver_close(driver);
    }
    return status;
}

void wefti_cuda_driver_close(cuda_driver *driver)
{
    /* The library stays: its threads and exit handlers do not end with a device. */
    *driver = (cuda_driver){0};
}

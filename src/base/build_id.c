/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/device.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

#if defined(__clang__)
#define COMPILER                                                                       \
    "clang " TEXT(__clang_major__) "." TEXT(__clang_minor__) "." TEXT(                 \
        __clang_patchlevel__)
#elif defined(__GNUC__)
#define COMPILER                                                                       \
    "gcc " TEXT(__GNUC__) "." TEXT(__GNUC_MINOR__) "." TEXT(__GNUC_PATCHLEVEL__)
#else
#define COMPILER "C compiler"
#endif

#if !defined(WEFT_BUILD_TYPE)
#define WEFT_BUILD_TYPE "custom"
#endif

const char *weft_build_id(void)
{
    return TEXT(WEFT_VERSION_MAJOR) "." TEXT(WEFT_VERSION_MINOR) "." TEXT(
        WEFT_VERSION_PATCH) " (" COMPILER ", " WEFT_BUILD_TYPE ")";
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_PROCESSOR_H
#define WEFTI_BACKEND_CPU_PROCESSOR_H

#include <stddef.h>

/* Writes the processor's model as the system names it, from a file like /proc/cpuinfo;
 * "processor" when that says nothing. */
void wefti_processor_describe(const char *path, char *text, size_t text_bytes);

#endif

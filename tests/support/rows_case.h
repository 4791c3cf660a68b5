/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_TEST_ROWS_CASE_H
#define WEFT_TEST_ROWS_CASE_H

#include <stdbool.h>

#include <weft/weft.h>

/* Runs rows joined and alone and compares the bits. */
enum { ROWS_CASE_TENSORS = 8 };

/* Devices with the kernels of each instruction set of this machine; the first has the
 * default ones. */
enum { ROWS_CASE_DEVICES = 6 };
size_t rows_case_open_devices(weft_device *devices[ROWS_CASE_DEVICES]);

/* Copies rows [first, first + count) along `axis` into a tensor of its own (or back
 * when `put`). `from` has the shape of all rows, `part` gets that of the part; its data
 * is allocated unless it is there. */
void rows_case_cut(const weft_tensor *all, int32_t axis, int64_t first, int64_t count,
                   weft_tensor *part);

/* Runs the model on all rows at once, then on every row alone, then on groups of two
 * and three rows. True when each part of each output has the bits of the joined run.
 * `inputs` hold data. */
bool rows_case_same_bits(weft_model *model, const weft_tensor *inputs,
                         const int32_t *input_axes, const int32_t *output_axes);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/demand.h"

#include <stdlib.h>
#include <string.h>

#define INPUT(index) (1u << (index))
enum { EVERY = 0xffff };

typedef struct demand {
    const char *name;
    uint32_t inputs; /* bit i: input i; EVERY: also those beyond */
} demand;

/* Of ONNX's own domain, sorted. A node whose operator asks for a constant and is not
 * here is refused when its plan is made, unless the input is one. */
static const demand demands[] = {
    {"AffineGrid", INPUT(1)},
    {"BlackmanWindow", INPUT(0)},
    {"CenterCropPad", INPUT(1)},
    {"Col2Im", INPUT(1) | INPUT(2)},
    {"Compress", EVERY},
    {"ConstantOfShape", INPUT(0)},
    {"CumProd", INPUT(1)},
    {"CumSum", INPUT(1)},
    {"DFT", INPUT(1) | INPUT(2)},
    {"Dropout", INPUT(2)},
    {"Expand", INPUT(1)},
    {"HammingWindow", INPUT(0)},
    {"HannWindow", INPUT(0)},
    {"MaxUnpool", INPUT(2)},
    {"MelWeightMatrix", EVERY},
    {"NonMaxSuppression", EVERY},
    {"NonZero", EVERY},
    {"OneHot", INPUT(1)},
    {"Pad", INPUT(1) | INPUT(3)},
    {"Range", EVERY},
    {"ReduceL1", INPUT(1)},
    {"ReduceL2", INPUT(1)},
    {"ReduceLogSum", INPUT(1)},
    {"ReduceLogSumExp", INPUT(1)},
    {"ReduceMax", INPUT(1)},
    {"ReduceMean", INPUT(1)},
    {"ReduceMin", INPUT(1)},
    {"ReduceProd", INPUT(1)},
    {"ReduceSum", INPUT(1)},
    {"ReduceSumSquare", INPUT(1)},
    {"Reshape", INPUT(1)},
    {"Resize", INPUT(1) | INPUT(2) | INPUT(3)},
    {"STFT", INPUT(1) | INPUT(3)},
    {"Slice", INPUT(1) | INPUT(2) | INPUT(3) | INPUT(4)},
    {"Split", INPUT(1)},
    {"Squeeze", INPUT(1)},
    {"Tile", INPUT(1)},
    {"TopK", INPUT(1)},
    {"Trilu", INPUT(1)},
    {"Unique", EVERY},
    {"Unsqueeze", INPUT(1)},
    {"Upsample", INPUT(1)},
};

static int compare(const void *name, const void *candidate)
{
    return strcmp(name, ((const demand *)candidate)->name);
}

static uint32_t find(const wefti_operator *op)
{
    const demand *found = op->domain[0] != '\0'
                              ? NULL
                              : bsearch(op->name, demands, WEFTI_COUNT_OF(demands),
                                        sizeof(*demands), compare);
    return found == NULL ? 0 : found->inputs;
}

bool wefti_operator_demands(const wefti_operator *op, size_t index)
{
    uint32_t inputs = find(op);
    return inputs == EVERY || (index < 16 && (inputs & INPUT(index)) != 0);
}

static bool is_one_of(const wefti_operator *op, const char *const *names, size_t count)
{
    bool found = false;
    for (size_t i = 0; op->domain[0] == '\0' && !found && i < count; i++) {
        found = strcmp(op->name, names[i]) == 0;
    }
    return found;
}

bool wefti_operator_reads_shapes(const wefti_operator *op)
{
    static const char *const names[] = {"Shape", "Size"};
    return is_one_of(op, names, WEFTI_COUNT_OF(names));
}

bool wefti_operator_sizes_by_data(const wefti_operator *op)
{
    static const char *const names[] = {"Compress", "NonMaxSuppression", "NonZero",
                                        "Unique"};
    return is_one_of(op, names, WEFTI_COUNT_OF(names));
}

bool wefti_operator_is_control(const wefti_operator *op)
{
    static const char *const names[] = {"If", "Loop", "Scan"};
    return is_one_of(op, names, WEFTI_COUNT_OF(names));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Reads any bytes as an ONNX model; see tests/fuzz/README.md. */
#include <weft/graph.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Touches all data that the graph lends, so that a wrong size is noticed. */
static void read_initializers(const weft_graph *graph)
{
    const char *name = NULL;
    weft_tensor tensor;
    for (size_t i = 0; weft_graph_get_initializer(graph, i, &name, &tensor); i++) {
        const volatile uint8_t *data = tensor.data;
        size_t size_bytes = 0;
        if (weft_tensor_measure(&tensor, NULL, &size_bytes, NULL) != WEFT_OK || !name ||
            !*name) {
            abort();
        }
        for (size_t at = 0; at < size_bytes; at += 64) {
            (void)data[at];
        }
        if (size_bytes > 0) {
            (void)data[size_bytes - 1];
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    weft_graph *graph = NULL;
    weft_error error;
    if (weft_graph_parse_onnx(bytes, size, NULL, &graph, &error) != WEFT_OK) {
        return 0;
    }
    read_initializers(graph);
    weft_graph_release(graph);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "support/onnx_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

weft_status onnx_check_bytes(const uint8_t *bytes, size_t size, weft_graph **graph,
                             weft_error *error)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    weft_status status = weft_graph_parse_onnx(copy, size, NULL, graph, error);
    free(copy);
    return status;
}

weft_graph *onnx_check_reads(onnx_builder *builder)
{
    size_t size = 0;
    const uint8_t *bytes = onnx_builder_pack(builder, &size);
    weft_graph *graph = NULL;
    weft_error error = {0};
    if (onnx_check_bytes(bytes, size, &graph, &error) != WEFT_OK) {
        fail_msg("%s", error.message);
    }
    assert_non_null(graph);
    return graph;
}

void onnx_check_refused(onnx_builder *builder, weft_status status, const char *words)
{
    size_t size = 0;
    const uint8_t *bytes = onnx_builder_pack(builder, &size);
    weft_graph *graph = NULL;
    weft_error error = {0};
    weft_status got = onnx_check_bytes(bytes, size, &graph, &error);
    onnx_builder_fini(builder);
    assert_null(graph);
    if (got != status || error.status != status || !strstr(error.message, words)) {
        fail_msg("%s: '%s' wanted with %s, got '%s'", weft_status_name(got), words,
                 weft_status_name(status), error.message);
    }
}

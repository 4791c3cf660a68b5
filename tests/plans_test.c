/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/weft.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka needs the above first */
#include <cmocka.h>

/* What the passes make of the models that exporters write: the same few steps, whoever
 * wrote them, and nothing copied on the way. */
static const struct {
    const char *row;
    int step_count, matmul_count, attention_count;
} rows[] = {
    {"t2_encoder_small", 7, 4, 1},
    {"t2_attention_small", 3, 2, 1},
    {"race_small", 2, 1, 1},
    {"t2_encoder_small_batch", 7, 4, 1},
    {"t4_translation_small", 14, 8, 2},
};
static const char *const exporters[] = {"dynamo", "dynamo23", "script17"};

static int count_words(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
        count++;
    }
    return count;
}

/* Plans the model with every dynamic dimension set to 8 and returns the table. */
static char *dump(weft_device *device, const char *path)
{
    weft_graph *graph;
    weft_model *model;
    weft_error error;
    if (weft_graph_load_onnx(path, NULL, &graph, &error) != WEFT_OK ||
        weft_model_create(device, graph, NULL, &model, &error) != WEFT_OK) {
        fail_msg("%s: %s", path, error.message);
        return NULL;
    }
    weft_value_info info;
    assert_true(weft_model_get_input(model, 0, &info));
    weft_tensor input = {.type = info.type, .rank = info.rank};
    for (int32_t i = 0; i < info.rank; i++) {
        input.dims[i] = info.dims[i] < 0 ? 8 : info.dims[i];
    }
    weft_io io = {.inputs = &input, .input_count = 1};
    char *text;
    if (weft_model_dump_plan(model, &io, &text, &error) != WEFT_OK) {
        fail_msg("%s: %s", path, error.message);
    }
    weft_model_release(model);
    weft_graph_release(graph);
    return text;
}

static void test_exported_attention_is_one_step(void **state)
{
    (void)state;
    weft_device *device;
    assert_int_equal(weft_device_open("cpu", NULL, &device, NULL), WEFT_OK);
    int found = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t j = 0; j < sizeof(exporters) / sizeof(exporters[0]); j++) {
            char path[500];
            snprintf(path, sizeof(path), "%s/tests/golden/%s/%s/model.onnx",
                     WEFT_SOURCE_DIR, rows[i].row, exporters[j]);
            FILE *file = fopen(path, "rb");
            if (file == NULL) {
                continue; /* not every row was written by every exporter */
            }
            fclose(file);
            found++;
            char *text = dump(device, path);
            bool right = count_words(text, "\n") == 5 + rows[i].step_count &&
                         count_words(text, "  matmul ") == rows[i].matmul_count &&
                         count_words(text, "  attention ") == rows[i].attention_count &&
                         count_words(text, "  copy ") == 0;
            if (!right) {
                fail_msg("%s has another plan:\n%s", path, text);
            }
            weft_text_free(text);
        }
    }
    assert_true(found >= 10);
    weft_device_release(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exported_attention_is_one_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

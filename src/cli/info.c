/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/support.h"

typedef struct options {
    const char *device;
    const char *isa;
} options;

static error_t parse(int key, char *value, struct argp_state *state)
{
    options *chosen = state->input;
    switch (key) {
    case 'd':
        chosen->device = value;
        return 0;
    case 'i':
        chosen->isa = value;
        return 0;
    case ARGP_KEY_ARG:
        cli_usage("info", "'%s' is not an option", value);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option list[] = {
    {"device", 'd', "NAME", 0, "Device to tell about: " CLI_DEVICE_HELP, 0},
    {"isa", 'i', "NAME", 0, "CPU kernels: avx512, avx2, sse2, neon, reference", 0},
    {0},
};

static void print_backends(void)
{
    printf("backends     ");
    for (size_t i = 0; weft_backend_name(i) != NULL; i++) {
        printf("%s%s", i == 0 ? "" : ", ", weft_backend_name(i));
    }
    printf("\n");
}

/* One line for each card, or why there is none. */
static void print_cards(void)
{
    for (int32_t i = 0;; i++) {
        char name[32];
        weft_device_params params = WEFT_DEVICE_PARAMS_INIT;
        weft_device *device = NULL;
        weft_error error = {0};
        params.worker_count = 0;
        snprintf(name, sizeof(name), "cuda:%d", (int)i);
        if (weft_device_open(name, &params, &device, &error) != WEFT_OK) {
            if (i == 0) {
                printf("cards        none: %s\n", error.message);
            }
            return;
        }
        weft_device_info info;
        weft_device_get_info(device, &info);
        printf("card         %s: %s, %s\n", name, info.description, info.isa);
        weft_device_release(device);
    }
}

const struct argp cli_parser_info = {
    list, parse, NULL, "Tell device, instruction set, cores, build and limits.",
    NULL, NULL,  NULL};

int cli_command_info(int argument_count, char **arguments)
{
    options chosen = {.device = "cpu"};
    weft_device *device = NULL;
    weft_device_info info;
    cli_parse(&cli_parser_info, "info", argument_count, arguments, &chosen);
    int status = cli_open_device(chosen.device, chosen.isa, &device);
    if (status != 0) {
        return status;
    }
    weft_device_get_info(device, &info);
    printf("weft         %s\n", weft_build_id());
    print_backends();
    print_cards();
    printf("device       %s: %s\n", info.name, info.description);
    printf("kind         %s\n", info.kind);
    printf("kernels      %s\n", info.isa);
    printf("cores        %d\n", info.core_count);
    printf("workers      %d\n", info.worker_count);
    if (info.card_count > 1) {
        printf("cards        %d, which share the work; memory is counted in all\n",
               info.card_count);
    }
    printf("contexts     at most %d leased at once\n", info.max_contexts);
    if (info.memory_cap_bytes == 0) {
        printf("memory cap   none\n");
    } else {
        printf("memory cap   %zu bytes\n", info.memory_cap_bytes);
    }
    printf("tensor rank  at most %d\n", WEFT_MAX_RANK);
    printf("onnx opsets  %d to %d\n", WEFT_OPSET_FIRST, WEFT_OPSET_LAST);
    weft_device_release(device);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_TRIAL_H
#define WEFTI_CLI_TRIAL_H

#include "cli/row.h"

enum { CLI_REASON_SIZE = 640 };

/* How far answers are from the reference. */
typedef struct cli_judgement {
    double largest_error;    /* |a - b| */
    double largest_fraction; /* |a - b| / (atol + rtol |b|); right: at most 1 */
    uint64_t value_count;
    uint64_t wrong_count;
} cli_judgement;

/* One request: what goes in, and what came out when it ran alone. */
typedef struct cli_case {
    weft_model *model;
    weft_tensor *inputs;
    weft_tensor *expected;
    weft_tensor *recorded; /* PyTorch's, of a row from files */
    size_t input_count, output_count;
} cli_case;

/* What one thread owns: weights (in its models) and requests, used in turn. */
typedef struct cli_lane {
    const cli_row *row; /* of a mix: the part */
    weft_model *models[2];
    cli_weights weights; /* until judged */
    weft_precision precision;
    cli_case *cases;
    int32_t case_count;
    cli_judgement judgement;
    char failure[CLI_REASON_SIZE]; /* empty: none */
} cli_lane;

/* A row made ready on a device for a number of threads. */
typedef struct cli_trial {
    const cli_row *row;
    weft_device *device;
    cli_lane *lanes;
    /* Fewer than threads where memory is short, and beyond 8 threads where tensors or
     * work are large: then threads that share a lane start at different requests. */
    int32_t lane_count;
    cli_judgement judgement;
    bool is_warm;                  /* every context's workspace has its size */
    char failure[CLI_REASON_SIZE]; /* empty: ready and right */
} cli_trial;

/* What an answer may be off by in another precision than f32, as a part of the root of
 * the mean square of all, and of itself. */
double cli_tolerance(weft_precision precision);

/* Makes weights, inputs and models of every thread, runs each request alone, and
 * judges those answers against the reference. What went wrong is in `failure`. */
cli_trial *cli_trial_create(weft_device *device, const cli_row *row, int32_t threads);
void cli_trial_destroy(cli_trial *trial);

/* Compares the f32 values of an output with the reference, or with recorded ones, and
 * adds what is found to the lane's judgement. */
void cli_judge_f64(cli_lane *lane, const float *answer, const double *reference,
                   int64_t count);
void cli_judge_f32(cli_lane *lane, const float *answer, const float *recorded,
                   int64_t count);

/* Gives a lane of a row from files its models and cases; what went wrong is in
 * `failure`. Then judges its answers against the recorded ones. See golden.h. */
void cli_lane_load_golden(cli_lane *lane, weft_device *device, int32_t thread);
void cli_lane_judge_golden(cli_lane *lane);

/* Gives a case room for as many tensors as the model has; they have no data yet. */
void cli_case_init(cli_case *request, weft_model *model);

/* Runs a request while nothing else runs: its answer, in `expected`, is what others
 * must equal. */
weft_status cli_case_run_alone(cli_case *request, weft_error *error);
void cli_case_fini(cli_case *request);

/* Allocates a tensor's data for its type and dims and sets size_bytes.
 * Errors: WEFT_OUT_OF_MEMORY, and what is wrong with a shape; the message holds the
 * name, type and shape. */
weft_status cli_tensor_allocate(const char *name, weft_tensor *tensor,
                                weft_error *error);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/buckets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/run.h"

/* What is being read. */
typedef struct reading {
    const char *command, *given;
    weft_bucket_params *params;
} reading;

static _Noreturn void wrong(const reading *self, const char *why)
{
    cli_usage(self->command,
              "'--bucket %s': %s; type: --bucket seq=16,32,64:mask=INPUT", self->given,
              why);
}

/* The next of what may follow the sizes, or NULL. Names may have colons too. */
static char *find_part(char *text)
{
    static const char *const parts[] = {":mask=", ":pad=", ":pad."};
    char *first = NULL;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *at = strstr(text, parts[i]);
        if (at != NULL && (first == NULL || at < first)) {
            first = at;
        }
    }
    return first;
}

static double read_value(const reading *self, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0') {
        wrong(self, "a value of the padding is no number");
    }
    return value;
}

static void read_list(const reading *self, const char *text)
{
    size_t count = 1;
    for (const char *at = text; *at != '\0'; at++) {
        count += *at == ',' ? 1 : 0;
    }
    int64_t *sizes = cli_allocate(count, sizeof(*sizes));
    for (size_t i = 0; i < count; i++) {
        char *end = NULL;
        sizes[i] = strtoll(text, &end, 10);
        if (end == text || *end != (i + 1 < count ? ',' : '\0') || sizes[i] < 1 ||
            sizes[i] == INT64_MAX) {
            wrong(self, "the sizes are whole numbers from 1 on");
        }
        if (i > 0 && sizes[i] <= sizes[i - 1]) {
            wrong(self, "the sizes must ascend, each once");
        }
        text = end + 1;
    }
    self->params->sizes = sizes;
    self->params->size_count = count;
}

/* 16..512*2 or 16..512+16 */
static void read_rule(const reading *self, const char *text)
{
    long long first = 0, last = 0, step = 0;
    char sign = 0;
    int length = 0;
    int found =
        sscanf(text, "%lld..%lld%c%lld%n", &first, &last, &sign, &step, &length);
    bool doubles = sign == '*' && step == 2;
    if (found != 4 || text[length] != '\0' || (!doubles && sign != '+')) {
        wrong(self, "a rule is FIRST..LAST*2 or FIRST..LAST+STEP");
    }
    if (first < 1 || last < first || step < 1) {
        wrong(self, "a rule needs 1 <= FIRST <= LAST and 1 <= STEP");
    }
    self->params->rule = doubles ? WEFT_BUCKET_DOUBLE : WEFT_BUCKET_STEP;
    self->params->first = first;
    self->params->last = last;
    self->params->step = doubles ? 0 : step;
}

/* :mask=INPUT, :pad=VALUE or :pad.INPUT=VALUE, without the colon. */
static void read_part(const reading *self, char *part)
{
    weft_bucket_params *params = self->params;
    char *value = strchr(part, '=');
    if (value == NULL || value[1] == '\0') {
        wrong(self, "a part has no value");
    }
    *value++ = '\0';
    if (strcmp(part, "mask") == 0) {
        params->mask_input = value;
    } else if (strcmp(part, "pad") == 0) {
        params->pad_value = read_value(self, value);
    } else {
        size_t count = params->pad_count;
        weft_bucket_pad *pads = cli_allocate(count + 1, sizeof(*pads));
        for (size_t i = 0; i < count; i++) {
            pads[i] = params->pads[i];
        }
        pads[count] = (weft_bucket_pad){part + strlen("pad."), read_value(self, value)};
        free((void *)(uintptr_t)params->pads);
        params->pads = pads;
        params->pad_count++;
    }
}

void cli_bucket_add(const char *command, cli_buckets *buckets, const char *value)
{
    reading self = {command, value, &buckets->params[buckets->count]};
    if (buckets->count == CLI_MOST_BUCKETS) {
        wrong(&self, "too many dimensions");
    }
    char *text = buckets->texts[buckets->count] = cli_format("%s", value);
    *self.params = (weft_bucket_params)WEFT_BUCKET_PARAMS_INIT;
    buckets->count++;
    char *sizes = strchr(text, '=');
    if (sizes == NULL || sizes == text) {
        wrong(&self, "the dimension has no name or no sizes");
    }
    *sizes++ = '\0';
    self.params->dimension = text;
    char *part = find_part(sizes);
    while (part != NULL) {
        *part++ = '\0';
        char *next = find_part(part);
        if (next != NULL) {
            *next = '\0';
        }
        read_part(&self, part);
        part = next;
    }
    if (strstr(sizes, "..") != NULL) {
        read_rule(&self, sizes);
    } else {
        read_list(&self, sizes);
    }
    for (size_t i = 0; i + 1 < buckets->count; i++) {
        if (strcmp(buckets->params[i].dimension, text) == 0) {
            wrong(&self, "the dimension has buckets already");
        }
    }
    static const int64_t one = 1; /* to which nothing is padded */
    weft_bucket_params *exact = &buckets->exact[buckets->count - 1];
    *exact = *self.params;
    exact->rule = WEFT_BUCKET_SIZES;
    exact->sizes = &one;
    exact->size_count = 1;
}

void cli_buckets_free(cli_buckets *buckets)
{
    for (size_t i = 0; i < buckets->count; i++) {
        free((void *)(uintptr_t)buckets->params[i].sizes);
        free((void *)(uintptr_t)buckets->params[i].pads);
        free(buckets->texts[i]);
    }
    buckets->count = 0;
}

void cli_buckets_set(const cli_buckets *buckets, bool exact, weft_model_params *params)
{
    params->buckets = exact ? buckets->exact : buckets->params;
    params->bucket_count = buckets->count;
}

/* The size of a named dimension in the inputs; -1: none has it. */
static int64_t find_size(const weft_model *model, const weft_tensor *inputs,
                         const char *name)
{
    weft_value_info info;
    int64_t size = -1;
    for (size_t i = 0; weft_model_get_input(model, i, &info); i++) {
        for (int32_t k = 0; k < info.rank && k < inputs[i].rank; k++) {
            bool has = info.dims[k] < 0 && info.dim_names[k] != NULL &&
                       strcmp(info.dim_names[k], name) == 0;
            size = has ? inputs[i].dims[k] : size;
        }
    }
    return size;
}

bool cli_buckets_print(const cli_buckets *buckets, const weft_model *model,
                       const weft_tensor *inputs, FILE *file)
{
    bool any = false;
    for (size_t i = 0; i < buckets->count; i++) {
        const char *name = buckets->params[i].dimension;
        int64_t size = find_size(model, inputs, name);
        int64_t planned = weft_model_planned_size(model, name, size);
        if (planned != size) {
            fprintf(file, "%s%s %lld in %lld", any ? ", " : "padded: ", name,
                    (long long)size, (long long)planned);
            any = true;
        }
    }
    if (any) {
        fputc('\n', file);
    }
    return any;
}

/* How far two answers are apart, as a part of what is allowed, and where. */
typedef struct distance {
    double largest, worst;
    size_t at;
} distance;

static distance measure(const weft_tensor *padded, const weft_tensor *exact,
                        double tolerance)
{
    distance found = {0};
    size_t count = exact->size_bytes / weft_type_size(exact->type);
    for (size_t i = 0; i < count; i++) {
        double a = cli_run_element(padded, i), b = cli_run_element(exact, i);
        bool same = a == b || (isnan(a) && isnan(b));
        double apart = same ? 0 : fabs(a - b);
        double part = same ? 0 : apart / (tolerance * (1 + fabs(b)));
        part = isnan(part) ? INFINITY : part;
        found.largest = apart > found.largest || isnan(apart) ? apart : found.largest;
        if (part > found.worst) {
            found.worst = part;
            found.at = i;
        }
    }
    return found;
}

/* One output; true when the padding leaks into it. */
static bool compare_output(const weft_tensor *padded, const weft_tensor *exact,
                           const char *name, double tolerance)
{
    distance found = measure(padded, exact, tolerance);
    cli_print_text(stdout, name);
    if (found.worst <= 1) {
        printf("  at most %.3g from the exact run\n", found.largest);
        return false;
    }
    printf("  the padding leaks into it: %.6g at [", cli_run_element(padded, found.at));
    size_t rest = found.at, places[WEFT_MAX_RANK] = {0};
    for (int32_t i = exact->rank; i-- > 0;) {
        places[i] = rest % (size_t)exact->dims[i];
        rest /= (size_t)exact->dims[i];
    }
    for (int32_t i = 0; i < exact->rank; i++) {
        printf("%s%zu", i > 0 ? "," : "", places[i]);
    }
    printf("], %.6g in the exact run; at most %.3g apart\n",
           cli_run_element(exact, found.at), found.largest);
    return true;
}

int cli_buckets_compare(const cli_buckets *buckets, const cli_case *padded,
                        weft_model *exact, double tolerance)
{
    weft_error error = {0};
    cli_case alone = {0};
    int leaks = 0;
    if (!cli_buckets_print(buckets, padded->model, padded->inputs, stdout)) {
        puts("nothing was padded: the sizes are those of buckets, or beyond the "
             "largest");
        return 0;
    }
    cli_case_init(&alone, exact);
    memcpy(alone.inputs, padded->inputs,
           alone.input_count * sizeof(*alone.inputs)); /* borrowed */
    weft_status status = cli_case_run_alone(&alone, &error);
    for (size_t i = 0; status == WEFT_OK && i < alone.output_count; i++) {
        weft_value_info info = {.name = ""};
        weft_model_get_output(exact, i, &info);
        leaks += compare_output(&padded->expected[i], &alone.expected[i], info.name,
                                tolerance);
    }
    memset(alone.inputs, 0, alone.input_count * sizeof(*alone.inputs));
    cli_case_fini(&alone);
    if (status != WEFT_OK) {
        return cli_complain_error("the exact run", &error);
    }
    return leaks > 0
               ? cli_complain("%d output%s depend%s on the padding: mask it, or leave "
                              "out the --bucket",
                              leaks, leaks == 1 ? "" : "s", leaks == 1 ? "s" : "")
               : 0;
}

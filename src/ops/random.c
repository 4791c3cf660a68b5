/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <weft/random.h>

#include "ops/body.h"
#include "ops/check.h"
#include "ops/families.h"

/* RandomNormal, RandomUniform, their Like forms, and Bernoulli. The numbers come from
 * counters: they follow from the seed, or without one from the node's name, and from
 * their place, so that every run of a model draws the same ones. */

/* Reads what a key is made of as FNV-1a does. */
static uint64_t hash(const char *text)
{
    uint64_t sum = 14695981039346656037u;
    for (; *text; text++) {
        sum = (sum ^ (uint8_t)*text) * 1099511628211u;
    }
    return sum;
}

static weft_random_key key_of(const wefti_node_view *node)
{
    const weft_attribute *seed = wefti_attribute_find(node, "seed");
    weft_random_key key = {.seed = hash(node->label)};
    if (seed && seed->kind == WEFT_ATTRIBUTE_FLOAT) {
        uint32_t bits = 0;
        memcpy(&bits, &seed->f, sizeof(bits));
        key = (weft_random_key){.seed = bits, .stream = 1};
    }
    return key;
}

typedef struct request {
    weft_random_key key;
    size_t count;
} request;

static void fill_uniform(float *data, const void *user)
{
    const request *what = user;
    weft_random_fill_uniform(&what->key, data, what->count);
}

static void fill_normal(float *data, const void *user)
{
    const request *what = user;
    weft_random_fill_normal(&what->key, data, what->count);
}

static wefti_term draw(wefti_body *body, bool normal, int32_t rank, const int64_t *dims)
{
    const request what = {key_of(body->node), (size_t)wefti_count_dims(rank, dims)};
    return wefti_body_table(body, rank, dims, normal ? fill_normal : fill_uniform,
                            &what);
}

/* The element type that `dtype` names. */
static weft_type wanted_type(wefti_body *body, weft_type otherwise, uint32_t types)
{
    int64_t type = wefti_attribute_int(body->node, "dtype", otherwise);
    if (type < 0 || type >= 32 || (types & WEFTI_TYPE_SET(type)) == 0) {
        wefti_body_refuse(body, WEFT_UNSUPPORTED, "its dtype is not supported");
        return WEFT_TYPE_F32;
    }
    return (weft_type)type;
}

static void random_body(wefti_body *body)
{
    const wefti_node_view *node = body->node;
    const uint32_t floats = WEFTI_TYPES_FLOAT | WEFTI_TYPE_SET(WEFT_TYPE_F16) |
                            WEFTI_TYPE_SET(WEFT_TYPE_BF16);
    bool normal = strncmp(node->op_type, "RandomNormal", 12) == 0;
    wefti_term like = wefti_body_input(body, 0);
    size_t rank = (size_t)like.known.rank;
    const int64_t *dims = like.known.dims;
    weft_type type = like.known.type;
    if (!wefti_body_has(&like)) {
        type = WEFT_TYPE_F32;
        dims = wefti_attribute_ints(node, "shape", &rank);
    }
    bool valid = dims && rank <= WEFT_MAX_RANK;
    for (size_t i = 0; valid && i < rank; i++) {
        valid = dims[i] >= 0;
    }
    if (!valid) {
        wefti_body_refuse(body, WEFT_INVALID_MODEL, "its shape is missing or not one");
        return;
    }
    type = wanted_type(body, type, floats);
    wefti_term drawn = draw(body, normal, (int32_t)rank, dims);
    float low = wefti_attribute_float(node, "low", 0);
    float scale = normal ? wefti_attribute_float(node, "scale", 1)
                         : wefti_attribute_float(node, "high", 1) - low;
    wefti_instruction stretch = {.operation = WEFTI_OP_SCALE,
                                 .alpha = scale,
                                 .beta = normal ? wefti_attribute_float(node, "mean", 0)
                                                : low};
    drawn = wefti_body_program(body, &drawn, 1, &stretch, 1);
    wefti_body_output(body, 0, wefti_body_cast(body, type, drawn));
}

WEFTI_BODY_FAMILY(random)

static void bernoulli_body(wefti_body *body)
{
    wefti_body_check_types(body, 0, WEFTI_TYPES_FLOAT);
    wefti_term p = wefti_body_input(body, 0);
    const uint32_t halves =
        WEFTI_TYPE_SET(WEFT_TYPE_F16) | WEFTI_TYPE_SET(WEFT_TYPE_BF16);
    weft_type type =
        wanted_type(body, p.known.type, WEFTI_TYPES_NUMBER | WEFTI_TYPES_BOOL | halves);
    if (wefti_body_failed(body)) {
        return;
    }
    wefti_term drawn = draw(body, false, p.known.rank, p.known.dims);
    drawn = wefti_body_cast(body, p.known.type, drawn);
    wefti_term less = wefti_body_2(body, "Less", drawn, p);
    if ((WEFTI_TYPE_SET(type) & halves) != 0) {
        less = wefti_body_cast(body, WEFT_TYPE_F32, less);
    }
    wefti_body_output(body, 0, wefti_body_cast(body, type, less));
}

WEFTI_BODY_FAMILY(bernoulli)

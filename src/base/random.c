/* SPDX-License-Identifier: Apache-2.0 */
#include <weft/random.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "base/float_state.h"
#include "base/philox.h"

enum { BLOCK_WORDS = 4, ROUNDS = 10 };

void wefti_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4])
{
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t left = (uint64_t)0xD2511F53u * a;
        uint64_t right = (uint64_t)0xCD9E8D57u * c;
        a = (uint32_t)(right >> 32) ^ b ^ k0;
        b = (uint32_t)right;
        c = (uint32_t)(left >> 32) ^ d ^ k1;
        d = (uint32_t)left;
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* square root of 3, less 1 */
    }
    words[0] = a;
    words[1] = b;
    words[2] = c;
    words[3] = d;
}

/* Word number 4 * block ... of a key. Past 2^32 blocks the seed counts on, so that
 * the numbers never repeat. */
static void fill_block(const weft_random_key *key, uint64_t block, uint32_t words[4])
{
    uint64_t seed = key->seed + (block >> 32);
    const uint32_t counter[4] = {(uint32_t)block, key->stream, key->thread,
                                 key->iteration};
    const uint32_t philox_key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    wefti_philox(counter, philox_key, words);
}

/* The natural logarithm of a normal number above 0: x = m * 2^e with m around 1,
 * log m = 2 artanh((m - 1) / (m + 1)) as a series. */
static double natural_log(double x)
{
    int exponent = 0;
    double m = frexp(x, &exponent);
    if (m < 0.70710678118654752440) {
        m *= 2;
        exponent -= 1;
    }
    double s = (m - 1) / (m + 1);
    double square = s * s; /* at most 0.0295: 12 terms leave less than 1e-18 */
    double sum = 0;
    for (int odd = 23; odd >= 1; odd -= 2) {
        sum = sum * square + 1.0 / odd;
    }
    return 2 * s * sum + exponent * 0.69314718055994530942;
}

static double ratio(const double above[8], const double below[8], double x)
{
    double a = above[7];
    double b = below[7];
    for (int i = 6; i >= 0; i--) {
        a = a * x + above[i];
        b = b * x + below[i];
    }
    return a / b;
}

/* M. J. Wichura, "Algorithm AS 241: The percentage points of the normal
 * distribution", Applied Statistics 37 (1988), PPND16. The paper's third pair, for
 * probabilities under exp(-25), is out of reach: ours are at least 2^-33. */
static const double middle_above[8] = {
    3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
    1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
    3.3430575583588128105e4, 2.5090809287301226727e3};
static const double middle_below[8] = {1.0,
                                       4.2313330701600911252e1,
                                       6.8718700749205790830e2,
                                       5.3941960214247511077e3,
                                       2.1213794301586595867e4,
                                       3.9307895800092710610e4,
                                       2.8729085735721942674e4,
                                       5.2264952788528545610e3};
static const double tail_above[8] = {
    1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
    3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
    2.27238449892691845833e-2, 7.74545014278341407640e-4};
static const double tail_below[8] = {1.0,
                                     2.05319162663775882187e0,
                                     1.67638483018380384940e0,
                                     6.89767334985100004550e-1,
                                     1.48103976427480074590e-1,
                                     1.51986665636164571966e-2,
                                     5.47593808499534494600e-4,
                                     1.05075007164441684324e-9};

double wefti_normal_of_word(uint32_t word)
{
    double p = (word + 0.5) * (1.0 / 4294967296.0); /* exact */
    double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        return q * ratio(middle_above, middle_below, 0.180625 - q * q);
    }
    double tail = q < 0 ? p : 1 - p;
    double x = ratio(tail_above, tail_below, sqrt(-natural_log(tail)) - 1.6);
    return q < 0 ? -x : x;
}

/* Zeros where there is no key; the elements of all kinds have 4 bytes. */
static void clear(void *values, size_t count)
{
    if (values && count <= SIZE_MAX / sizeof(uint32_t)) {
        memset(values, 0, count * sizeof(uint32_t));
    }
}

void weft_random_fill_u32(const weft_random_key *key, uint32_t *values, size_t count)
{
    uint32_t words[BLOCK_WORDS];
    if (!key || !values) {
        clear(values, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (i % BLOCK_WORDS == 0) {
            fill_block(key, i / BLOCK_WORDS, words);
        }
        values[i] = words[i % BLOCK_WORDS];
    }
}

void weft_random_fill_uniform(const weft_random_key *key, float *values, size_t count)
{
    uint32_t words[BLOCK_WORDS];
    if (!key || !values) {
        clear(values, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (i % BLOCK_WORDS == 0) {
            fill_block(key, i / BLOCK_WORDS, words);
        }
        values[i] = (float)(words[i % BLOCK_WORDS] >> 8) * (1.0f / 16777216.0f);
    }
}

static WEFTI_NOINLINE void fill_normal(const weft_random_key *key, float *values,
                                       size_t count)
{
    uint32_t words[BLOCK_WORDS];
    if (!key || !values) {
        clear(values, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (i % BLOCK_WORDS == 0) {
            fill_block(key, i / BLOCK_WORDS, words);
        }
        values[i] = (float)wefti_normal_of_word(words[i % BLOCK_WORDS]);
    }
}

void weft_random_fill_normal(const weft_random_key *key, float *values, size_t count)
{
    wefti_float_state state = wefti_float_enter();
    fill_normal(key, values, count);
    wefti_float_leave(state);
}

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_KERNEL_H
#define WEFTI_BACKEND_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include <weft/tensor.h>

/* The kernels that a backend implements and the operators are lowered to, with their
 * parameters. Everything is in elements unless a name says bytes. All sums have one
 * order, the same in every implementation and for every split of the work:
 *
 *   dot products (MATMUL, CONV, ATTENTION): one chain of fused multiply-adds per
 *     output element, acc = fma(a[k], b[k], acc), k ascending, acc = +0 first;
 *   row sums (REDUCE, SOFTMAX, LAYER_NORM): 16 lanes, element i is added to lane
 *     i mod 16, i ascending, lanes +0 first; then the tree lane[j] += lane[j + 8],
 *     then + 4, + 2, + 1. Maxima and minima go the same way.
 *
 * A NaN that MATMUL, CONV or ATTENTION gives is the quiet NaN 0x7FC00000, whatever the
 * NaNs it came from: which of two a processor passes on depends on the code.
 *
 * Functions such as exp have one polynomial (cpu/kernels/math.h), evaluated with the
 * same fused operations everywhere. */

enum { WEFTI_MAX_OPERANDS = 8 };

typedef enum wefti_kernel {
    WEFTI_KERNEL_COPY,        /* strided copy, with a change of type */
    WEFTI_KERNEL_FILL,        /* strided fill */
    WEFTI_KERNEL_ELEMENTWISE, /* a short program per element, with broadcasting */
    WEFTI_KERNEL_REDUCE,
    WEFTI_KERNEL_SOFTMAX,
    WEFTI_KERNEL_LAYER_NORM,
    WEFTI_KERNEL_MATMUL,
    WEFTI_KERNEL_CONV,
    WEFTI_KERNEL_POOL,
    WEFTI_KERNEL_GATHER,
    WEFTI_KERNEL_ATTENTION,
    WEFTI_KERNEL_GATHER_POINTS,
    WEFTI_KERNEL_SCATTER_POINTS,
    WEFTI_KERNEL_CUMULATE,
    WEFTI_KERNEL_TOP_K,
    WEFTI_KERNEL_FOLD,
    WEFTI_KERNEL_SAMPLE,
    WEFTI_KERNEL_ROI_ALIGN,
    WEFTI_KERNEL_POOL_INDICES,
    WEFTI_KERNEL_LINEAR_ATTENTION,
    WEFTI_KERNEL_DETERMINANT,
    WEFTI_KERNEL_MATMUL_BYTES, /* only where wefti_backend.byte_products */
    WEFTI_KERNEL_COUNT,
} wefti_kernel;

/* Returns "matmul" and so on; never NULL. */
const char *wefti_kernel_name(wefti_kernel kernel);

/* COPY: target[i] = (target_type)source[i] over `dims`. Conversions follow ONNX Cast:
 * float to int truncates (out of range: unspecified but the same everywhere), to bool
 * is != 0. Equal types copy bits. Strides may be 0 or negative on the source. */
enum { WEFTI_COPY_SOURCE = 0, WEFTI_COPY_TARGET = 1 };
typedef struct wefti_copy_params {
    weft_type source_type, target_type;
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    int64_t source_strides[WEFT_MAX_RANK];
    int64_t target_strides[WEFT_MAX_RANK];
} wefti_copy_params;

/* FILL: target[i] = value; the value's bytes are the first of `value_bits`. */
enum { WEFTI_FILL_TARGET = 0 };
typedef struct wefti_fill_params {
    weft_type type;
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    int64_t strides[WEFT_MAX_RANK];
    uint64_t value_bits;
} wefti_fill_params;

/* ELEMENTWISE: a program of up to 16 instructions runs for each element of `dims`.
 * Register r < 4 is input r; register 4 + i is the result of instruction i; the last
 * result is the output. Inputs have strides (0 broadcasts); the output is dense.
 * For f32 every operation but those of bits works, in programs of any length. For other
 * types a program has one instruction. Arithmetic is in `type`; comparisons and logic
 * give bool. Results are IEEE; MIN and MAX give NaN when an operand is NaN. */
typedef enum wefti_operation {
    /* one operand: a */
    WEFTI_OP_COPY,
    WEFTI_OP_NEG,
    WEFTI_OP_ABS,
    WEFTI_OP_RECIPROCAL,
    WEFTI_OP_SQRT,
    WEFTI_OP_EXP,
    WEFTI_OP_LOG,
    WEFTI_OP_ERF,
    WEFTI_OP_TANH,
    WEFTI_OP_SIGMOID,
    WEFTI_OP_RELU,
    WEFTI_OP_LEAKY_RELU, /* a < 0 ? alpha * a : a */
    WEFTI_OP_GELU,       /* 0.5 * a * (1 + erf(a / sqrt 2)) */
    WEFTI_OP_GELU_TANH,  /* 0.5 * a * (1 + tanh(sqrt(2/pi) * (a + 0.044715 a^3))) */
    WEFTI_OP_CLIP,       /* min(max(a, alpha), beta) */
    WEFTI_OP_FLOOR,
    WEFTI_OP_CEIL,
    WEFTI_OP_ROUND, /* half to even */
    WEFTI_OP_SIN,
    WEFTI_OP_COS,
    WEFTI_OP_SOFTPLUS,
    WEFTI_OP_ELU, /* a < 0 ? alpha * (exp(a) - 1) : a */
    WEFTI_OP_SIGN,
    WEFTI_OP_NOT,
    WEFTI_OP_IS_NAN,
    WEFTI_OP_SCALE, /* fma(a, alpha, beta) */
    WEFTI_OP_TAN,
    WEFTI_OP_ASIN,
    WEFTI_OP_ACOS,
    WEFTI_OP_ATAN,
    WEFTI_OP_SINH,
    WEFTI_OP_COSH,
    WEFTI_OP_ASINH,
    WEFTI_OP_ACOSH,
    WEFTI_OP_ATANH,
    WEFTI_OP_BIT_NOT, /* this and the other bits: integers only */
    /* two operands: a, b */
    WEFTI_OP_ADD,
    WEFTI_OP_SUB,
    WEFTI_OP_MUL,
    WEFTI_OP_DIV, /* integers: towards zero; by zero gives 0 */
    WEFTI_OP_MOD, /* sign of the divisor; fmod when alpha is 1 */
    WEFTI_OP_POW,
    WEFTI_OP_MIN,
    WEFTI_OP_MAX,
    WEFTI_OP_EQUAL,
    WEFTI_OP_LESS,
    WEFTI_OP_LESS_EQUAL,
    WEFTI_OP_GREATER,
    WEFTI_OP_GREATER_EQUAL,
    WEFTI_OP_AND,
    WEFTI_OP_OR,
    WEFTI_OP_XOR,
    WEFTI_OP_PRELU, /* a < 0 ? a * b : a */
    WEFTI_OP_BIT_AND,
    WEFTI_OP_BIT_OR,
    WEFTI_OP_BIT_XOR,
    /* By no amount from 0 to the width less 1: every bit is shifted out. */
    WEFTI_OP_SHIFT_LEFT,
    WEFTI_OP_SHIFT_RIGHT, /* signed types: the sign comes in */
    /* three operands: a, b, c */
    WEFTI_OP_WHERE, /* a (bool) ? b : c */
    WEFTI_OP_FMA,   /* fma(a, b, c) */
    WEFTI_OP_COUNT,
} wefti_operation;

/* Returns "add" and so on; never NULL. */
const char *wefti_operation_name(wefti_operation operation);
/* Number of operands, 1 to 3. */
int32_t wefti_operation_arity(wefti_operation operation);

typedef struct wefti_instruction {
    wefti_operation operation;
    uint8_t a, b, c;
    float alpha, beta;
} wefti_instruction;

enum {
    WEFTI_ELEMENTWISE_MAX_INPUTS = 4,
    WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS = 16,
    WEFTI_ELEMENTWISE_OUTPUT = 4, /* operand index; inputs are 0 to 3 */
};
typedef struct wefti_elementwise_params {
    weft_type type;        /* of arithmetic; comparisons: of their operands */
    weft_type output_type; /* `type`, or bool */
    weft_type input_types[WEFTI_ELEMENTWISE_MAX_INPUTS]; /* `type`; WHERE's a: bool */
    int32_t rank;
    int64_t dims[WEFT_MAX_RANK];
    int32_t input_count;
    int64_t input_strides[WEFTI_ELEMENTWISE_MAX_INPUTS][WEFT_MAX_RANK];
    int32_t instruction_count;
    wefti_instruction instructions[WEFTI_ELEMENTWISE_MAX_INSTRUCTIONS];
} wefti_elementwise_params;

/* REDUCE: output[kept] = reduction over `reduced` of input. The output is dense over
 * the kept dims; element i of a reduction counts its indices row-major. */
typedef enum wefti_reduction {
    WEFTI_REDUCE_SUM,
    WEFTI_REDUCE_MEAN, /* sum, then one division by the count */
    WEFTI_REDUCE_MAX,
    WEFTI_REDUCE_MIN,
    WEFTI_REDUCE_PROD,
    WEFTI_REDUCE_SUM_SQUARE,
    WEFTI_REDUCE_L1,
    WEFTI_REDUCE_L2,
    WEFTI_REDUCE_ARGMAX, /* output i64: the first of the largest */
    WEFTI_REDUCE_ARGMIN,
    WEFTI_REDUCE_COUNT,
} wefti_reduction;
enum { WEFTI_REDUCE_INPUT = 0, WEFTI_REDUCE_OUTPUT = 1 };
typedef struct wefti_reduce_params {
    wefti_reduction reduction;
    weft_type type;
    int32_t kept_rank, reduced_rank;
    int64_t kept_dims[WEFT_MAX_RANK], kept_strides[WEFT_MAX_RANK];
    int64_t reduced_dims[WEFT_MAX_RANK], reduced_strides[WEFT_MAX_RANK];
} wefti_reduce_params;

/* SOFTMAX over rows, f32, dense: m = max, e = exp(x - m), y = e * (1 / sum e);
 * logarithmic: y = (x - m) - log(sum e). */
enum { WEFTI_SOFTMAX_INPUT = 0, WEFTI_SOFTMAX_OUTPUT = 1 };
typedef struct wefti_softmax_params {
    int64_t row_count, column_count;
    bool logarithmic;
} wefti_softmax_params;

/* LAYER_NORM over rows, f32, dense: s = x (+ residual); mean = sum s / n;
 * variance = sum (s - mean)^2 / n (two passes); inverse = 1 / sqrt(variance + eps);
 * y = (s - mean) * inverse (* scale) (+ bias), the last two as one fma when both are
 * there. `root_mean_square` (RMSNormalization): mean is taken as 0. */
enum {
    WEFTI_LAYER_NORM_INPUT = 0,
    WEFTI_LAYER_NORM_RESIDUAL = 1, /* may be absent */
    WEFTI_LAYER_NORM_SCALE = 2,    /* may be absent */
    WEFTI_LAYER_NORM_BIAS = 3,     /* may be absent */
    WEFTI_LAYER_NORM_OUTPUT = 4,
    WEFTI_LAYER_NORM_MEAN = 5,    /* output, may be absent */
    WEFTI_LAYER_NORM_INVERSE = 6, /* output, may be absent */
    WEFTI_LAYER_NORM_SUM = 7,     /* output s, may be absent */
};
typedef struct wefti_layer_norm_params {
    int64_t row_count, column_count;
    float epsilon;
    bool root_mean_square;
} wefti_layer_norm_params;

/* What follows a sum before it is stored: v = acc (* alpha when alpha != 1)
 * (+ bias) (+ residual), then the activation. */
typedef enum wefti_activation {
    WEFTI_ACTIVATION_NONE,
    WEFTI_ACTIVATION_RELU,
    WEFTI_ACTIVATION_GELU,
    WEFTI_ACTIVATION_GELU_TANH,
    WEFTI_ACTIVATION_TANH,
    WEFTI_ACTIVATION_SIGMOID,
    WEFTI_ACTIVATION_LEAKY_RELU, /* activation_alpha */
    WEFTI_ACTIVATION_COUNT,
} wefti_activation;
typedef enum wefti_bias {
    WEFTI_BIAS_NONE,
    WEFTI_BIAS_COLUMN, /* bias[n]: one value per output column */
    WEFTI_BIAS_ROW,    /* bias[m]: one value per output row */
} wefti_bias;

/* MATMUL, f32: C[batch][m][n] = epilogue(sum over k of A[batch][m][k] *
 * B[batch][k][n]). Batch dims with stride 0 broadcast. C and the residual are dense
 * in n. When B is a constant operand with batch stride 0 the backend may pack it once
 * per model. */
enum {
    WEFTI_MATMUL_A = 0,
    WEFTI_MATMUL_B = 1,
    WEFTI_MATMUL_BIAS = 2,     /* by `bias` */
    WEFTI_MATMUL_RESIDUAL = 3, /* laid out as C; may be absent */
    WEFTI_MATMUL_C = 4,
    WEFTI_MATMUL_MAX_BATCH_RANK = 4,
};
typedef struct wefti_matmul_params {
    int64_t m, n, k;
    int64_t a_row_stride, a_column_stride;
    int64_t b_row_stride, b_column_stride;
    int64_t c_row_stride;
    int32_t batch_rank;
    int64_t batch_dims[WEFTI_MATMUL_MAX_BATCH_RANK];
    int64_t a_batch_strides[WEFTI_MATMUL_MAX_BATCH_RANK];
    int64_t b_batch_strides[WEFTI_MATMUL_MAX_BATCH_RANK];
    int64_t c_batch_strides[WEFTI_MATMUL_MAX_BATCH_RANK];
    float alpha;
    wefti_bias bias;
    wefti_activation activation;
    float activation_alpha;
} wefti_matmul_params;

/* CONV, f32, layout N C spatial, dense; 1 to 3 spatial dims, given as 3 with leading
 * ones. The sum runs over (channel of the group, kernel position), row-major, padding
 * read as +0. W is [out_channels, in_channels / groups, kernel...]. */
enum {
    WEFTI_CONV_INPUT = 0,
    WEFTI_CONV_WEIGHT = 1,
    WEFTI_CONV_BIAS = 2,     /* [out_channels]; may be absent */
    WEFTI_CONV_RESIDUAL = 3, /* as the output; may be absent */
    WEFTI_CONV_OUTPUT = 4,
};
typedef struct wefti_conv_params {
    int64_t batch, in_channels, out_channels, groups;
    int64_t in_dims[3], out_dims[3], kernel_dims[3];
    int64_t strides[3], dilations[3], pads_begin[3];
    wefti_activation activation;
    float activation_alpha;
} wefti_conv_params;

/* POOL, f32, layout as CONV; planes = batch * channels. The average sums the window
 * row-major in one chain. */
enum { WEFTI_POOL_INPUT = 0, WEFTI_POOL_OUTPUT = 1 };
typedef struct wefti_pool_params {
    bool average;
    bool count_include_pad; /* the divisor counts padding inside `padded_dims` */
    int64_t plane_count;
    int64_t in_dims[3], out_dims[3], kernel_dims[3];
    int64_t strides[3], dilations[3], pads_begin[3], pads_end[3];
} wefti_pool_params;

/* GATHER: output[o][i][...] = data[o][indices[i]][...], any type. Negative indices
 * count from the end; one out of range fails the request and names the value. */
enum { WEFTI_GATHER_DATA = 0, WEFTI_GATHER_INDICES = 1, WEFTI_GATHER_OUTPUT = 2 };
typedef struct wefti_gather_params {
    weft_type index_type; /* i32 or i64 */
    int64_t outer_count, axis_size, index_count;
    int64_t inner_bytes;
} wefti_gather_params;

/* ATTENTION, f32: for each batch and head, S = scale * Q K^T (chain over head_size,
 * then one multiplication) (+ mask), P = softmax of each row (as SOFTMAX), O = P V
 * (chain over keys). Queries of head h read key and value head h / (heads / kv_heads).
 * Strides are in elements; the last dimension of Q, K, V and O is contiguous. A causal
 * query i sees the keys j <= i + key_length - query_length. A mask is f32 (added) or
 * bool (false: -infinity). A hidden key has weight 0 and stays in the chain; a row with
 * no visible key, or whose scores are all -infinity, gives zeros. */
enum {
    WEFTI_ATTENTION_Q = 0,
    WEFTI_ATTENTION_K = 1,
    WEFTI_ATTENTION_V = 2,
    WEFTI_ATTENTION_MASK = 3, /* may be absent */
    WEFTI_ATTENTION_OUTPUT = 4,
};
typedef struct wefti_attention_strides {
    int64_t batch, head, row;
} wefti_attention_strides;
typedef struct wefti_attention_params {
    int64_t batch, heads, kv_heads;
    int64_t query_length, key_length, head_size, value_size;
    float scale;
    bool causal;
    bool blind_is_nan; /* a row with no visible key gives NaN instead of zeros */
    wefti_attention_strides q, k, v, output;
    weft_type mask_type;     /* f32 or bool */
    int64_t mask_strides[4]; /* batch, head, query, key; 0 broadcasts */
} wefti_attention_params;

/* GATHER_POINTS, SCATTER_POINTS: for each point p of `dims`, row-major, an address
 * base(p) + sum over j of index(p, j) * tuple_strides[j] in the data, where base takes
 * base_strides; there `inner_count` elements lie together. Gathering copies them to the
 * dense output, any type. Scattering combines them with the dense updates, in the order
 * of the points, into the data itself. Indices are dense, [dims..., tuple_size];
 * negative ones count from the end, one out of range fails the request and names it. */
enum {
    WEFTI_POINTS_DATA = 0, /* scattering: read and written */
    WEFTI_POINTS_INDICES = 1,
    WEFTI_POINTS_OTHER = 2, /* the output, or the updates */
};
typedef enum wefti_points_reduction {
    WEFTI_POINTS_PUT, /* the last one stays */
    WEFTI_POINTS_ADD,
    WEFTI_POINTS_MUL,
    WEFTI_POINTS_MAX, /* NaN stays NaN, also MIN */
    WEFTI_POINTS_MIN,
} wefti_points_reduction;
typedef struct wefti_points_params {
    weft_type type, index_type; /* indices i32 or i64 */
    int32_t rank, tuple_size;
    int64_t dims[WEFT_MAX_RANK], base_strides[WEFT_MAX_RANK];
    int64_t tuple_dims[WEFT_MAX_RANK], tuple_strides[WEFT_MAX_RANK];
    int64_t inner_count;
    wefti_points_reduction reduction; /* scattering: not PUT needs a type of numbers */
    bool from_start; /* negative indices are out of range; else from the end */
} wefti_points_params;

/* CUMULATE: y[o][i][n] = x[o][0][n] + ... + x[o][i][n], one chain, dense; f32, f64,
 * i32, i64. Exclusive: without x[i], 0 (1) first. Reverse: from the other end. */
enum { WEFTI_CUMULATE_INPUT = 0, WEFTI_CUMULATE_OUTPUT = 1 };
typedef struct wefti_cumulate_params {
    weft_type type;
    int64_t outer_count, count, inner_count;
    bool product, exclusive, reverse;
} wefti_cumulate_params;

/* TOP_K: the k largest (or smallest) of each line, sorted, equal ones by index; a NaN
 * is larger than any number. Dense; f32, f64, i32, i64, u8, i8. Either output may be
 * absent. */
enum { WEFTI_TOP_K_INPUT = 0, WEFTI_TOP_K_VALUES = 1, WEFTI_TOP_K_INDICES = 2 };
typedef struct wefti_top_k_params {
    weft_type type;
    int64_t outer_count, count, inner_count, k;
    bool largest;
} wefti_top_k_params;

/* FOLD, f32, dense: the transpose of a convolution's unfolding. Columns
 * [planes][kernel positions][blocks] are added up where they lie in the output
 * [planes][out_dims], kernel positions row-major, one chain that begins at the plane's
 * bias or +0; block b of kernel position k lies at b * stride - pad + k * dilation. */
enum { WEFTI_FOLD_COLUMNS = 0, WEFTI_FOLD_BIAS = 1, WEFTI_FOLD_OUTPUT = 2 };
typedef struct wefti_fold_params {
    int64_t plane_count,
        channel_count; /* the bias of plane p is that of p mod channels */
    int64_t block_dims[3], out_dims[3], kernel_dims[3];
    int64_t strides[3], dilations[3], pads_begin[3];
} wefti_fold_params;

/* SAMPLE, f32, dense: output[b][c][p] is the image input[b][c] at the point
 * points[b][p], between pixels a weighted sum of its neighbours. Coordinates count
 * pixels, the first dimension first (`pixels`), or go from -1 to 1, the last dimension
 * first. What lies outside is 0, the nearest pixel, or mirrored. */
enum { WEFTI_SAMPLE_INPUT = 0, WEFTI_SAMPLE_POINTS = 1, WEFTI_SAMPLE_OUTPUT = 2 };
typedef enum wefti_sample_mode {
    WEFTI_SAMPLE_NEAREST,
    WEFTI_SAMPLE_LINEAR,
    WEFTI_SAMPLE_CUBIC,
} wefti_sample_mode;
typedef enum wefti_sample_padding {
    WEFTI_SAMPLE_ZEROS,
    WEFTI_SAMPLE_BORDER,
    WEFTI_SAMPLE_REFLECTION,
} wefti_sample_padding;
typedef struct wefti_sample_params {
    wefti_sample_mode mode;
    wefti_sample_padding padding;
    bool align_corners; /* -1 and 1 are the middles of the outer pixels */
    bool pixels;
    int32_t rank; /* of an image: 1 to 3 */
    int64_t batch, channels, point_count;
    int64_t in_dims[3]; /* leading ones */
} wefti_sample_params;

/* ROI_ALIGN, f32, dense: output[r][c] are the cells of the rectangle regions[r], x and
 * y of two corners, in channel c of the image images[r]: the mean (or largest) of
 * samples spread evenly. A region of an image that is not there fails the request. */
enum {
    WEFTI_ROI_ALIGN_INPUT = 0,
    WEFTI_ROI_ALIGN_REGIONS = 1,
    WEFTI_ROI_ALIGN_IMAGES = 2,
    WEFTI_ROI_ALIGN_OUTPUT = 3,
};
typedef struct wefti_roi_align_params {
    int64_t batch, channels, height, width;
    int64_t region_count, out_height, out_width;
    int64_t
        sampling_ratio; /* samples of a cell in each direction; 0: as many as pixels */
    float spatial_scale;
    bool half_pixel, largest;
    weft_type index_type; /* i32 or i64 */
} wefti_roi_align_params;

/* POOL_INDICES: a POOL of the largest that also tells where it is, as the i64 number of
 * the element in the whole input; the first of the largest. VALUES may be absent. */
enum {
    WEFTI_POOL_INDICES_INPUT = 0,
    WEFTI_POOL_INDICES_VALUES = 1,
    WEFTI_POOL_INDICES_INDICES = 2,
};
typedef struct wefti_pool_indices_params {
    wefti_pool_params pool;
    bool column_major; /* numbers go by the first spatial dimension first */
} wefti_pool_indices_params;

/* LINEAR_ATTENTION, f32, dense, features [batch, times, heads * size]: each head of
 * keys has a state [key_size][value_size], which at each time is multiplied by
 * exp(decay), then changed by key * v with v the value, or beta * (value - key state),
 * then read: output = scale * (query state). Heads of queries share those of keys. */
enum {
    WEFTI_LINEAR_ATTENTION_Q = 0,
    WEFTI_LINEAR_ATTENTION_K = 1,
    WEFTI_LINEAR_ATTENTION_V = 2,
    WEFTI_LINEAR_ATTENTION_PAST = 3,  /* the state before; absent: zeros */
    WEFTI_LINEAR_ATTENTION_DECAY = 4, /* may be absent */
    WEFTI_LINEAR_ATTENTION_BETA = 5,  /* may be absent */
    WEFTI_LINEAR_ATTENTION_OUTPUT = 6,
    WEFTI_LINEAR_ATTENTION_STATE = 7, /* output */
};
typedef struct wefti_linear_attention_params {
    int64_t batch, times, q_heads, kv_heads, key_size, value_size;
    int64_t beta_heads; /* 1 or kv_heads */
    bool decay_by_key;  /* else one for each head */
    float scale;
} wefti_linear_attention_params;

/* DETERMINANT, f32, dense: of `count` matrices of n x n. */
enum { WEFTI_DETERMINANT_INPUT = 0, WEFTI_DETERMINANT_OUTPUT = 1 };
typedef struct wefti_determinant_params {
    int64_t count, n;
} wefti_determinant_params;

/* MATMUL_BYTES, dense: C[b][i][j] = sum over k of (A[b][i][k] - a_zero) *
 * (B[b][k][j] - b_zero[j]) in i32, modulo 2^32 in any order. A and B are u8, or i8
 * where `a_signed` or `b_signed`; a zero point has the type of its matrix and is 0 if
 * absent. */
enum {
    WEFTI_MATMUL_BYTES_A = 0,
    WEFTI_MATMUL_BYTES_B = 1,
    WEFTI_MATMUL_BYTES_A_ZERO = 2, /* one; may be absent */
    WEFTI_MATMUL_BYTES_B_ZERO = 3, /* one, or n where `b_zero_by_column`; so too */
    WEFTI_MATMUL_BYTES_C = 4,
};
typedef struct wefti_matmul_bytes_params {
    int64_t batch, m, n, k;
    bool a_signed, b_signed, b_zero_by_column;
} wefti_matmul_bytes_params;

#endif

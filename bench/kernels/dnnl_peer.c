/* SPDX-License-Identifier: Apache-2.0 */
#include "dnnl_peer.h"

#include <stdlib.h>

#if defined(WEFT_HAVE_DNNL)

#include <oneapi/dnnl/dnnl.h>

enum { MAX_ARGS = 4 };

struct dnnl_peer {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[MAX_ARGS];
    int arg_count;
    dnnl_memory_t owned[2 * MAX_ARGS];
    int owned_count;
};

static bool fine(dnnl_status_t status)
{
    return status == dnnl_success;
}

static dnnl_peer *peer_create(void)
{
    dnnl_peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL || !fine(dnnl_engine_create(&peer->engine, dnnl_cpu, 0)) ||
        !fine(dnnl_stream_create(&peer->stream, peer->engine,
                                 dnnl_stream_default_flags))) {
        dnnl_peer_destroy(peer);
        return NULL;
    }
    return peer;
}

static dnnl_memory_t add_memory(dnnl_peer *peer, const dnnl_memory_desc_t *layout,
                                void *data)
{
    dnnl_memory_t memory = NULL;
    if (fine(dnnl_memory_create(&memory, layout, peer->engine, data))) {
        peer->owned[peer->owned_count++] = memory;
    }
    return memory;
}

/* Binds `data`, laid out as `plain`, reordered first when the primitive wants it. */
static bool bind(dnnl_peer *peer, int arg, const dnnl_memory_desc_t *plain,
                 dnnl_query_t query, int index, void *data)
{
    const dnnl_memory_desc_t *wanted =
        dnnl_primitive_desc_query_md(peer->description, query, index);
    dnnl_memory_t memory = add_memory(peer, plain, data);
    if (memory != NULL && dnnl_memory_desc_equal(plain, wanted) == 0) {
        dnnl_memory_t other = add_memory(peer, wanted, DNNL_MEMORY_ALLOCATE);
        dnnl_primitive_desc_t description = NULL;
        dnnl_primitive_t reorder = NULL;
        dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, memory}, {DNNL_ARG_TO, other}};
        bool done =
            fine(dnnl_reorder_primitive_desc_create(&description, plain, peer->engine,
                                                    wanted, peer->engine, NULL)) &&
            fine(dnnl_primitive_create(&reorder, description)) &&
            fine(dnnl_primitive_execute(reorder, peer->stream, 2, args)) &&
            fine(dnnl_stream_wait(peer->stream));
        dnnl_primitive_destroy(reorder);
        dnnl_primitive_desc_destroy(description);
        memory = done ? other : NULL;
    }
    peer->args[peer->arg_count++] = (dnnl_exec_arg_t){arg, memory};
    return memory != NULL;
}

static dnnl_memory_desc_t dense(int rank, const dnnl_dims_t dims)
{
    dnnl_memory_desc_t layout;
    dnnl_dims_t strides;
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = step;
        step *= dims[i];
    }
    (void)dnnl_memory_desc_init_by_strides(&layout, rank, dims, dnnl_f32, strides);
    return layout;
}

static dnnl_memory_desc_t any(int rank, const dnnl_dims_t dims)
{
    dnnl_memory_desc_t layout;
    (void)dnnl_memory_desc_init_by_tag(&layout, rank, dims, dnnl_f32,
                                       dnnl_format_tag_any);
    return layout;
}

dnnl_peer *dnnl_peer_matmul(const wefti_matmul_params *p, float *a, float *b, float *c,
                            bool packed)
{
    dnnl_peer *peer = peer_create();
    const int64_t batch = p->batch_rank > 0 ? p->batch_dims[0] : 1;
    const int rank = batch == 1 ? 2 : 3, i = rank - 2;
    dnnl_dims_t a_dims = {batch}, b_dims = {batch}, c_dims = {batch};
    a_dims[i] = c_dims[i] = p->m;
    a_dims[i + 1] = b_dims[i] = p->k;
    b_dims[i + 1] = c_dims[i + 1] = p->n;
    const dnnl_memory_desc_t la = dense(rank, a_dims), lb = dense(rank, b_dims);
    const dnnl_memory_desc_t lc = dense(rank, c_dims), free_b = any(rank, b_dims);
    dnnl_matmul_desc_t what;
    if (peer == NULL ||
        !fine(dnnl_matmul_desc_init(&what, &la, packed ? &free_b : &lb, NULL, &lc)) ||
        !fine(dnnl_primitive_desc_create(&peer->description, &what, NULL, peer->engine,
                                         NULL)) ||
        !fine(dnnl_primitive_create(&peer->primitive, peer->description)) ||
        !bind(peer, DNNL_ARG_SRC, &la, dnnl_query_src_md, 0, a) ||
        !bind(peer, DNNL_ARG_WEIGHTS, &lb, dnnl_query_weights_md, 0, b) ||
        !bind(peer, DNNL_ARG_DST, &lc, dnnl_query_dst_md, 0, c)) {
        dnnl_peer_destroy(peer);
        return NULL;
    }
    return peer;
}

dnnl_peer *dnnl_peer_conv(const wefti_conv_params *p, float *input, float *weight,
                          float *bias, float *output)
{
    dnnl_peer *peer = peer_create();
    const dnnl_dims_t in = {p->batch, p->in_channels, p->in_dims[1], p->in_dims[2]};
    const dnnl_dims_t out = {p->batch, p->out_channels, p->out_dims[1], p->out_dims[2]};
    const dnnl_dims_t b = {p->out_channels};
    const dnnl_dims_t w = {p->out_channels, p->in_channels, p->kernel_dims[1],
                           p->kernel_dims[2]};
    const dnnl_dims_t strides = {p->strides[1], p->strides[2]};
    const dnnl_dims_t dilates = {p->dilations[1] - 1, p->dilations[2] - 1};
    const dnnl_dims_t begin = {p->pads_begin[1], p->pads_begin[2]};
    const dnnl_memory_desc_t li = dense(4, in), lw = dense(4, w), lo = dense(4, out);
    const dnnl_memory_desc_t free_w = any(4, w), lb = dense(1, b);
    dnnl_convolution_desc_t what;
    if (peer == NULL ||
        !fine(dnnl_dilated_convolution_forward_desc_init(
            &what, dnnl_forward_inference, dnnl_convolution_auto, &li, &free_w, &lb,
            &lo, strides, dilates, begin, begin)) ||
        !fine(dnnl_primitive_desc_create(&peer->description, &what, NULL, peer->engine,
                                         NULL)) ||
        !fine(dnnl_primitive_create(&peer->primitive, peer->description)) ||
        !bind(peer, DNNL_ARG_SRC, &li, dnnl_query_src_md, 0, input) ||
        !bind(peer, DNNL_ARG_WEIGHTS, &lw, dnnl_query_weights_md, 0, weight) ||
        !bind(peer, DNNL_ARG_BIAS, &lb, dnnl_query_weights_md, 1, bias) ||
        !bind(peer, DNNL_ARG_DST, &lo, dnnl_query_dst_md, 0, output)) {
        dnnl_peer_destroy(peer);
        return NULL;
    }
    return peer;
}

void dnnl_peer_run(dnnl_peer *peer)
{
    (void)dnnl_primitive_execute(peer->primitive, peer->stream, peer->arg_count,
                                 peer->args);
}

void dnnl_peer_destroy(dnnl_peer *peer)
{
    if (peer == NULL) {
        return;
    }
    for (int i = 0; i < peer->owned_count; i++) {
        dnnl_memory_destroy(peer->owned[i]);
    }
    dnnl_primitive_destroy(peer->primitive);
    dnnl_primitive_desc_destroy(peer->description);
    dnnl_stream_destroy(peer->stream);
    dnnl_engine_destroy(peer->engine);
    free(peer);
}

#else

dnnl_peer *dnnl_peer_matmul(const wefti_matmul_params *params, float *a, float *b,
                            float *c, bool packed)
{
    (void)params, (void)a, (void)b, (void)c, (void)packed;
    return NULL;
}

dnnl_peer *dnnl_peer_conv(const wefti_conv_params *params, float *input, float *weight,
                          float *bias, float *output)
{
    (void)params, (void)input, (void)weight, (void)bias, (void)output;
    return NULL;
}

void dnnl_peer_run(dnnl_peer *peer)
{
    (void)peer;
}

void dnnl_peer_destroy(dnnl_peer *peer)
{
    (void)peer;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_FAMILIES_H
#define WEFTI_OPS_FAMILIES_H

#include "ops/operator.h"

/* The functions behind the table of operators.c, one pair per family. */
#define WEFTI_INFER(name)                                                              \
    weft_status wefti_infer_##name(const wefti_node_view *node,                        \
                                   const wefti_known *inputs, wefti_known *outputs,    \
                                   weft_error *error)
#define WEFTI_LOWER(name)                                                              \
    weft_status wefti_lower_##name##_node(wefti_lowering *lowering)
#define WEFTI_FOLD(name)                                                               \
    weft_status wefti_fold_##name(                                                     \
        const wefti_node_view *node, const wefti_known *inputs,                        \
        const wefti_known *outputs, void *const *output_data, weft_error *error)
#define WEFTI_FAMILY(name)                                                             \
    WEFTI_INFER(name);                                                                 \
    WEFTI_LOWER(name)

/* random.c */
WEFTI_FAMILY(random);
WEFTI_FAMILY(bernoulli);
/* qlinear.c */
WEFTI_FAMILY(qlinear_add);
WEFTI_FAMILY(qlinear_mul);
WEFTI_FAMILY(qlinear_where);
WEFTI_FAMILY(qlinear_sigmoid);
WEFTI_FAMILY(qlinear_leaky_relu);
WEFTI_FAMILY(qlinear_average_pool);
WEFTI_FAMILY(qlinear_global_average_pool);
WEFTI_FAMILY(qlinear_reduce_mean);
WEFTI_FAMILY(qlinear_softmax);
WEFTI_FAMILY(qlinear_concat);
/* term_counts.c */
WEFTI_FAMILY(term_counts);
/* elementwise.c */
WEFTI_FAMILY(elementwise);
/* activation.c */
WEFTI_FAMILY(activation);
WEFTI_FAMILY(clip);
WEFTI_FAMILY(pow);
WEFTI_FAMILY(variadic);
WEFTI_FAMILY(bias_gelu);
/* matmul.c, gemm.c */
WEFTI_FAMILY(matmul);
WEFTI_FAMILY(gemm);
/* conv.c, pool.c */
WEFTI_FAMILY(conv);
WEFTI_FAMILY(pool);
WEFTI_FAMILY(global_pool);
/* softmax.c, norm.c, batch_norm.c, batch_norm_training.c */
WEFTI_FAMILY(softmax);
WEFTI_FAMILY(layer_norm);
WEFTI_FAMILY(instance_norm);
WEFTI_FAMILY(group_norm);
WEFTI_FAMILY(batch_norm);
WEFTI_FAMILY(batch_norm_training); /* which batch_norm calls */
/* reduce.c */
WEFTI_FAMILY(reduce);
WEFTI_FAMILY(arg_reduce);
/* shape.c, slice.c, layout.c */
WEFTI_FAMILY(reshape);
WEFTI_FAMILY(flatten);
WEFTI_FAMILY(squeeze);
WEFTI_FAMILY(unsqueeze);
WEFTI_FAMILY(identity);
WEFTI_FAMILY(dropout);
WEFTI_FAMILY(transpose);
WEFTI_FAMILY(slice);
WEFTI_FAMILY(split);
WEFTI_FAMILY(concat);
WEFTI_FAMILY(expand);
WEFTI_FAMILY(tile);
WEFTI_FAMILY(gather);
WEFTI_FAMILY(pad);
WEFTI_FAMILY(trilu);
/* cast.c, constant.c */
WEFTI_FAMILY(cast);
WEFTI_FAMILY(cast_like);
WEFTI_FAMILY(constant);
WEFTI_FOLD(constant);
WEFTI_FAMILY(constant_of_shape);
WEFTI_INFER(shape);
WEFTI_FOLD(shape);
WEFTI_INFER(size);
WEFTI_FOLD(size);
WEFTI_INFER(range);
WEFTI_FOLD(range);
/* sizes.c, unique.c, suppression.c: results whose size depends on data */
WEFTI_INFER(control);
WEFTI_INFER(non_zero);
WEFTI_FOLD(non_zero);
WEFTI_INFER(compress);
WEFTI_FOLD(compress);
WEFTI_INFER(unique);
WEFTI_FOLD(unique);
WEFTI_INFER(suppression);
WEFTI_FOLD(suppression);
/* attention.c */
WEFTI_FAMILY(attention);
/* reduce_log.c */
WEFTI_FAMILY(reduce_log);
WEFTI_FAMILY(lp_norm);
WEFTI_FAMILY(mean_variance);
/* one_hot.c, space.c, threshold.c, resize.c */
WEFTI_FAMILY(one_hot);
WEFTI_FAMILY(hardmax);
WEFTI_FAMILY(eye_like);
WEFTI_FAMILY(space);
WEFTI_FAMILY(threshold);
WEFTI_FAMILY(resize);
/* points.c, lines.c, conv_transpose.c, recurrent.c */
WEFTI_FAMILY(gather_elements);
WEFTI_FAMILY(gather_nd);
WEFTI_FAMILY(scatter_elements);
WEFTI_FAMILY(scatter_nd);
WEFTI_FAMILY(cumulate);
WEFTI_FAMILY(top_k);
WEFTI_FAMILY(conv_transpose);
WEFTI_FAMILY(col2im);
WEFTI_FAMILY(recurrent);
/* loss.c, rotary.c, gated.c, sequence.c, bit_cast.c */
WEFTI_FAMILY(likelihood_loss);
WEFTI_FAMILY(cross_entropy);
WEFTI_FAMILY(rotary);
WEFTI_FAMILY(swiglu);
WEFTI_FAMILY(causal_conv);
WEFTI_FAMILY(reverse_sequence);
WEFTI_FAMILY(tensor_scatter);
WEFTI_FAMILY(bit_cast);
/* quantize.c, integer_product.c */
WEFTI_FAMILY(quantize);
WEFTI_FAMILY(dequantize);
WEFTI_FAMILY(dynamic_quantize);
WEFTI_FAMILY(matmul_integer);
WEFTI_FAMILY(conv_integer);
WEFTI_FAMILY(qlinear_matmul);
WEFTI_FAMILY(qgemm);
WEFTI_FAMILY(qlinear_conv);
/* spectrum.c, signal_window.c, einsum.c, image_functions.c */
WEFTI_FAMILY(dft);
WEFTI_FAMILY(stft);
WEFTI_INFER(signal_window);
WEFTI_FOLD(signal_window);
WEFTI_INFER(mel_matrix);
WEFTI_FOLD(mel_matrix);
WEFTI_FAMILY(einsum);
WEFTI_FAMILY(lrn);
WEFTI_FAMILY(lp_pool);
WEFTI_FAMILY(center_crop_pad);
WEFTI_FAMILY(affine_grid);
/* sampling.c, unpool.c, linear_attention.c */
WEFTI_FAMILY(grid_sample);
WEFTI_FAMILY(deform_conv);
WEFTI_FAMILY(roi_align);
WEFTI_FAMILY(max_unpool);
WEFTI_FAMILY(upsample);
WEFTI_FAMILY(det);
WEFTI_FAMILY(linear_attention);
WEFTI_INFER(has_element);
WEFTI_FOLD(has_element);
/* fused.c */
WEFTI_FAMILY(fused_matmul);
WEFTI_FAMILY(fused_conv);
WEFTI_FAMILY(fused_layer_norm);
WEFTI_FAMILY(fused_attention);
WEFTI_FAMILY(fused_elementwise);
/* view_operator.c */
WEFTI_FAMILY(view);

#endif

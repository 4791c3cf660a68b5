#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records a few of the ONNX project's node tests, one or two for each operator, in
tests/golden/nodes and tests/golden/nodes.json, so that the tests have them without
PyPI. Needs what onnx_conformance.py needs.

    tools/export_nodes.py            records all that are named below
"""
import json
import shutil
import sys
from pathlib import Path

import numpy as np

import onnx_conformance as conformance

CASES = """
acos acosh affine_grid_2d affine_grid_3d_align_corners
argmax_keepdims_random_select_last_index argmin_no_keepdims_random_select_last_index
asin asinh atan atanh
bitcast_float32_to_int32 bitshift_left_int8_overflow
bitshift_right_int32_negative_shift bitwise_and_i32_2d bitwise_not_2d
bitwise_or_ui8_bcast_4v3d bitwise_xor_i32_2d blackmanwindow
causal_conv_with_state_with_bias_and_past_state
causal_conv_with_state_silu_with_past_state center_crop_pad_crop_and_pad
center_crop_pad_crop_axes_hwc convinteger_with_padding cosh
deform_conv_with_mask_bias deform_conv_with_multiple_offset_groups
dequantizelinear_axis dequantizelinear_blocked det_nd dft dft_inverse
dynamicquantizelinear_max_adjusted einsum_batch_diagonal einsum_batch_matmul
einsum_inner_prod gridsample_bilinear_align_corners_0_additional_1
gridsample_bicubic gridsample_reflection_padding gridsample_volumetric_bilinear_align_corners_1
gridsample_nearest_align_corners_0_additional_1
hammingwindow_symmetric hannwindow linear_attention_gated_delta_gqa
linear_attention_gated_per_head_decay linear_attention_prefill_with_past lrn
lppool_2d_pads lppool_1d_default matmulinteger
maxpool_with_argmax_2d_precomputed_pads
maxunpool_export_with_output_shape melweightmatrix mod_float32_mixed_sign_fmod_0
nllloss_NCd1d2_no_weight_reduction_mean_ii nllloss_NCd1d2d3_none_no_weight_negative_ii
optional_has_element_empty_no_input_name_tensor_input
qlinearconv qlinearmatmul_3D_int8_float32 quantizelinear_axis
quantizelinear_blocked_asymmetric reduce_log_sum_exp_negative_axes_keepdims_random
reduce_max_bool_inputs reversesequence_batch roialign_aligned_true roialign_mode_max
rotary_embedding_3d_input rotary_embedding_with_interleaved_rotary_dim
sce_NCd1d2d3_sum_weight_high_ii sce_mean_weight_ii_4d_log_prob
sce_none_weights sinh stft_with_window swiglu_alpha tan tensorscatter_circular
upsample_nearest
""".split()


def write_list(folder, kind, names, arrays):
    rows = []
    for i, (name, array) in enumerate(zip(names, arrays)):
        file = f"{kind}_{i}.npy"
        np.save(folder / file, np.asarray(array))
        rows.append({"name": name, "file": f"nodes/{folder.name}/{file}"})
    return rows


def relative_tolerance(arrays):
    """The standard gives the answers of some cases with four decimals only."""
    arrays = [np.asarray(a) for a in arrays]
    rounded = all(np.array_equal(a, a.round(4).astype(a.dtype)) for a in arrays
                  if a.dtype.kind == "f")
    return 1e-3 if rounded else 1e-4


def record(case, verdict, root):
    """Writes one case; returns its row of the index."""
    name = case.name.removeprefix("test_")
    folder = root / name
    folder.mkdir(parents=True)
    model, (inputs, expected) = case.model, case.data_sets[0]
    inputs = [np.asarray(x) for x in inputs]
    if verdict == conformance.CONSTANTS:
        model, inputs = conformance.as_constants(model, inputs)
    model.producer_name, model.doc_string = "onnx node tests", ""
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return {
        "row": f"node_{name}", "describes": "a node test of ONNX", "full_size": False,
        "rtol": relative_tolerance(expected), "atol": 1e-5,
        "models": [{"exporter": "onnx", "opset": model.opset_import[0].version,
                    "file": f"nodes/{name}/model.onnx", "case_count": 1}],
        "refused": [],
        "cases": [{
            "inputs": write_list(folder, "input", [v.name for v in model.graph.input],
                                 inputs),
            "outputs": write_list(folder, "output",
                                  [v.name for v in model.graph.output], expected)}],
    }


def main():
    golden = conformance.ROOT / "tests" / "golden"
    weft = conformance.Weft(conformance.ROOT / "build" / "libweft.so")
    found = {case.name: case for _, case in conformance.collect([])}
    shutil.rmtree(golden / "nodes", ignore_errors=True)
    rows, lacking = [], []
    for name in sorted(CASES):
        case = found.get(f"test_{name}")
        verdict, reason = conformance.judge(weft, case) if case else ("no case", "")
        if verdict in (conformance.PASS, conformance.CONSTANTS):
            rows.append(record(case, verdict, golden / "nodes"))
        else:
            lacking.append(f"{name}: {verdict} {reason}")
    (golden / "nodes.json").write_text(
        json.dumps({"onnx": conformance.onnx.__version__, "rows": rows}, indent=1)
        + "\n")
    print(f"{len(rows)} recorded", *lacking, sep="\n")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())

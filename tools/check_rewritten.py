#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs what others' tools make of the networks of check_architectures.py: quantized by
ONNX Runtime (QDQ, QOperator, dynamic), simplified by onnxslim and onnxsim. Compares each
with ONNX Runtime, which runs the same file without optimisations, and bit for bit the
answers of 8 threads with the same request run alone.

    .venv/bin/pip install onnxslim onnxsim
    .venv/bin/python tools/check_architectures.py --output /tmp/architectures
    .venv/bin/python tools/check_rewritten.py --output /tmp/architectures

A rounding that falls the other way moves an answer by a step of its quantization: right
is at most one element in a hundred that is further off than 1e-3, none by more than a
step of the last of them (--step). Exit status 0: all is right.
"""

import argparse
import pathlib
import re
import sys
import warnings

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from check_architectures import first_words, run_weft

WAYS = ("slim", "sim", "qdq", "qdq_channel", "qoperator", "dynamic")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--weft", default="build/weft")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--variant", default="script17", help="which export is rewritten")
    parser.add_argument("--step", type=float, default=0.05,
                        help="of a quantized answer's range that one element may be off")
    parser.add_argument("networks", nargs="*")
    return parser.parse_args()


def files_of(path, folder):
    """Names of inputs with their files, names of outputs."""
    import onnx
    graph = onnx.load(path, load_external_data=False).graph
    weights = {value.name for value in graph.initializer}
    names = [v.name for v in graph.input if v.name not in weights]
    files = [(n, folder / f"input{re.sub('[^0-9]', '', n) if n[0] == 'x' else i}.npy")
             for i, n in enumerate(names)]
    return files, [v.name for v in graph.output]


def quantize(way, source, target, folder):
    from onnxruntime import quantization as q
    if way == "dynamic":
        q.quantize_dynamic(source, target, weight_type=q.QuantType.QInt8)
        return

    class Once(q.CalibrationDataReader):
        def __init__(self):
            self.left = [{n: np.load(f) for n, f in files_of(source, folder)[0]}]

        def get_next(self):
            return self.left.pop() if self.left else None

    form = q.QuantFormat.QOperator if way == "qoperator" else q.QuantFormat.QDQ
    q.quantize_static(source, target, Once(), quant_format=form,
                      per_channel=way == "qdq_channel",
                      activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8)


def rewrite(way, source, target, folder):
    import onnx
    if way == "slim":
        import onnxslim
        onnx.save(onnxslim.slim(str(source)), target)
    elif way == "sim":
        import onnxsim
        model, good = onnxsim.simplify(onnx.load(source))
        if not good:
            raise RuntimeError("onnxsim cannot show that its result is the same")
        onnx.save(model, target)
    else:
        quantize(way, source, target, folder)


def peer_answers(path, files):
    import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), settings,
                                           providers=["CPUExecutionProvider"])
    return session.run(None, {n: np.load(f) for n, f in files})


def compare(answer, reference, step):
    """The share of elements that are off, the largest difference in ranges, and whether
    that is right."""
    if answer.shape != reference.shape:
        return 1.0, float("inf"), False
    if answer.size == 0:
        return 0.0, 0.0, True
    a, b = answer.astype(np.float64), reference.astype(np.float64)
    off = np.abs(a - b) > 1e-3 + 1e-3 * np.abs(b)
    most = float(np.abs(a - b).max() / max(np.ptp(b), 1e-6))
    return float(off.mean()), most, off.mean() == 0 or (off.mean() <= 0.01 and most <= step)


def check(path, folder, options):
    files, outputs = files_of(path, folder)
    wanted = []
    for i, output in enumerate(outputs):
        wanted += ["--output", f"{output}={folder}/weft{i}.npy"]
    try:
        theirs = peer_answers(path, files)
    except Exception as problem:
        print(f"  ONNX Runtime: {first_words(problem)}", flush=True)
        theirs = None
    run_weft(options, path, files, *wanted)
    said = run_weft(options, path, files, "--threads", "8", "--iterations", "2", "--check")
    same = "16 of 16 answers are bit for bit" in said
    if theirs is None:
        return "not compared", same
    found = [compare(np.load(folder / f"weft{i}.npy"), b, options.step)
             for i, b in enumerate(theirs)]
    return (f"{max(f[0] for f in found):.2%} off, by {max(f[1] for f in found):.2g}",
            same and all(f[2] for f in found))


def main():
    options = arguments()
    warnings.filterwarnings("ignore")
    good = True
    networks = options.networks or sorted(p.name for p in options.output.iterdir())
    for name in networks:
        folder = options.output / name
        source = folder / f"{options.variant}.onnx"
        for way in options.ways.split(",") if source.exists() else ():
            target = folder / f"{options.variant}-{way}.onnx"
            try:
                if not target.exists():
                    rewrite(way, source, target, folder)
            except Exception as problem:
                print(f"| {name} | {way} | tool: {first_words(problem)} |", flush=True)
                continue
            try:
                words, right = check(target, folder, options)
            except RuntimeError as problem:
                words, right = f"WEFT: {problem}", False
            good = good and right
            print(f"| {name} | {way} | {words} | {'' if right else 'WRONG'} |", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

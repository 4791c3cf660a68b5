#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exports the networks of tools/architectures.py, architectures_more.py and
architectures_third.py by both of PyTorch's exporters and several opsets, runs each
through Weft, and compares: with PyTorch, with ONNX Runtime, and bit for bit the answers
of 8 threads with the same request run alone.

    .venv/bin/pip install transformers       # and what check_networks.py asks for
    .venv/bin/python tools/check_architectures.py --output /tmp/architectures

The first run exports; later ones take what is there. What an exporter refuses is listed
as such and does not count: PyTorch 2.13's exporter takes a recurrent module only once in
a process, so give those again, each with --variants of its own, after removing its
.refused file. Exit status 0: all that could be exported is right.
"""

import argparse
import inspect
import os
import pathlib
import re
import subprocess
import sys
import warnings

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

RTOL = ATOL = 1e-3
VARIANTS = ("script11", "script13", "script17", "script20", "dynamo18", "dynamo21", "dynamo23")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--weft", default="build/weft")
    parser.add_argument("--device", default="cpu",
                        help="another one must give the CPU's bits too")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--export-only", action="store_true")
    parser.add_argument("networks", nargs="*")
    return parser.parse_args()


def export_one(model, inputs, dims, variant, folder):
    import torch
    kind, opset = variant[:6], int(variant[6:])
    path = folder / f"{variant}.onnx"
    names = [f"x{i}" for i in range(len(inputs))]
    if kind == "dynamo":
        shapes = [{axis: torch.export.Dim.DYNAMIC for axis in one} for one in dims]
        first = first_of_rest(model)
        if first is not None:
            shapes[first:] = [tuple(shapes[first:])]
        program = torch.onnx.export(model, inputs, dynamo=True, verbose=False,
                                    opset_version=opset, dynamic_shapes=tuple(shapes),
                                    input_names=names)
        program.save(str(path))
    else:
        axes = {name: one for name, one in zip(names, dims)}
        torch.onnx.export(model, inputs, str(path), dynamo=False, opset_version=opset,
                          dynamic_axes=axes, input_names=names)


def first_of_rest(model):
    """The number of the parameter that takes all further inputs."""
    for i, one in enumerate(inspect.signature(model.forward).parameters.values()):
        if one.kind == inspect.Parameter.VAR_POSITIONAL:
            return i
    return None


def write_out_attention(model):
    """Older opsets have no form of PyTorch's fused attention."""
    for part in model.modules():
        if hasattr(part, "set_attn_implementation"):
            part.set_attn_implementation("eager")


def first_words(problem):
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return (lines[0] if lines else type(problem).__name__)[:160]


def stir(model):
    """Random numbers where a fresh module has the same ones everywhere, so that no
    layer gives nothing but zeros."""
    import torch
    with torch.no_grad():
        for value in model.parameters():
            if value.numel() > 1 and value.std() == 0:
                value.add_(torch.randn_like(value) * 0.1)
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5)


def known():
    from architectures import ARCHITECTURES
    from architectures_more import MORE
    from architectures_third import THIRD
    return {**ARCHITECTURES, **MORE, **THIRD}


def make(name):
    """The module, always with the same weights, its inputs, and their open axes."""
    import torch
    torch.manual_seed(7)
    model, inputs, dims = known()[name]()
    stir(model.eval())
    return model, inputs, dims


def export(name, folder, variants):
    import torch
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        model, inputs, _ = make(name)
        expected = model(*inputs)
        expected = (expected,) if torch.is_tensor(expected) else expected
        for kind, values in (("input", inputs), ("expected", expected)):
            for i, value in enumerate(values):
                np.save(folder / f"{kind}{i}.npy", value.numpy())
        for variant in variants:
            refused = folder / f"{variant}.refused"
            if (folder / f"{variant}.onnx").exists() or refused.exists():
                continue
            model, inputs, dims = make(name)  # anew: exporting leaves traces in modules
            if int(variant[6:]) < 14:
                write_out_attention(model)
            try:
                export_one(model, inputs, dims, variant, folder)
            except Exception as problem:  # whatever the exporters raise
                (folder / f"{variant}.onnx").unlink(missing_ok=True)
                refused.write_text(first_words(problem))


def error_of(answer, reference):
    if answer.shape != reference.shape:
        return float("inf")
    if answer.dtype.kind not in "f":
        return 0.0 if np.array_equal(answer, reference) else float("inf")
    if answer.size == 0:
        return 0.0
    scale = ATOL + RTOL * np.abs(reference)
    return float((np.abs(answer - reference) / scale).max())


def run_weft(options, path, inputs, *more):
    command = [options.weft, "run", str(path), "--device", options.device, *more]
    for name, file in inputs:
        command += ["--input", f"{name}={file}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(first_words(done.stderr or done.stdout))
    return done.stdout


def check(folder, variant, options):
    """The errors to PyTorch and to ONNX Runtime, whether 8 threads get the same bits, and
    what is to be said of the CPU's."""
    import onnxruntime
    path = folder / f"{variant}.onnx"
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    peer, problem = None, ""
    try:
        peer = onnxruntime.InferenceSession(str(path), settings,
                                            providers=["CPUExecutionProvider"])
        names = [value.name for value in peer.get_inputs()]
        outputs = [value.name for value in peer.get_outputs()]
    except Exception as refusal:
        import onnx
        graph = onnx.load(path, load_external_data=False).graph
        names, outputs = [v.name for v in graph.input], [v.name for v in graph.output]
        problem = first_words(refusal)
    files = [(n, folder / f"input{re.sub('[^0-9]', '', n) if n[0] == 'x' else i}.npy")
             for i, n in enumerate(names)]
    wanted = []
    for i, output in enumerate(outputs):
        wanted += ["--output", f"{output}={folder}/weft{i}.npy"]
    bits = "" if options.device == "cpu" else "other bits than on the cpu"
    if bits:
        device, options.device = options.device, "cpu"
        run_weft(options, path, files, *wanted)
        options.device = device
        at_home = [(folder / f"weft{i}.npy").read_bytes() for i in range(len(outputs))]
    run_weft(options, path, files, *wanted)
    if bits and at_home == [(folder / f"weft{i}.npy").read_bytes()
                            for i in range(len(outputs))]:
        bits = ""
    answers = [np.load(folder / f"weft{i}.npy") for i in range(len(outputs))]
    torch_error = max(error_of(a, np.load(folder / f"expected{i}.npy"))
                      for i, a in enumerate(answers))
    peer_error = float("nan")
    if peer:
        try:
            theirs = peer.run(None, {n: np.load(f) for n, f in files})
            peer_error = max(error_of(a, b) for a, b in zip(answers, theirs))
        except Exception as refusal:
            problem = first_words(refusal)
    said = run_weft(options, path, files, "--threads", "8", "--iterations", "2", "--check")
    same = "16 of 16 answers are bit for bit" in said
    return torch_error, peer_error, same, bits, problem


def main():
    options = arguments()
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    good = True
    variants = options.variants.split(",")
    for name in options.networks or known():
        folder = options.output / name
        there = [(folder / f"{v}.onnx").exists() or (folder / f"{v}.refused").exists()
                 for v in variants]
        if not all(there):
            try:
                export(name, folder, variants)
            except Exception as problem:
                print(f"| {name} | cannot be made: {first_words(problem)} |", flush=True)
                continue
        for variant in variants if not options.export_only else ():
            refused = folder / f"{variant}.refused"
            if refused.exists():
                print(f"| {name} | {variant} | exporter: {refused.read_text()} |", flush=True)
                continue
            try:
                torch_error, peer_error, same, bits, note = check(folder, variant, options)
            except RuntimeError as problem:
                print(f"| {name} | {variant} | WEFT: {problem} |", flush=True)
                good = False
                continue
            right = (torch_error <= 1 or peer_error <= 1) and same and not bits
            good = good and right
            print(f"| {name} | {variant} | {torch_error:.2g} | {peer_error:.2g} | "
                  f"{'same bits' if same else 'OTHER BITS'} | {'' if right else 'WRONG'} {bits} {note} |",
                  flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

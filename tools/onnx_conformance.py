#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the ONNX project's node tests on Weft: each case passes, fails or is not
supported, with the reason. Needs the packages onnx and numpy, and a built libweft.so.

    tools/onnx_conformance.py                 counts by operator, failing cases
    tools/onnx_conformance.py --list          every case with its reason
    tools/onnx_conformance.py --markdown docs/onnx-support.md
    tools/onnx_conformance.py --only Conv     cases whose operator or name has this
    tools/onnx_conformance.py --device cuda:0 --bits-of cpu
                                              on a card, whose answers must also be bit for
                                              bit those of the CPU (one NaN is as another)

A case whose shapes come in as data is tried again with its inputs made constants of the
model, as exporters write them; it then counts as passed "as constants".

Exit status: 0 when no case failed, 1 when one did, 2 when the tool could not run.
"""
import argparse
import collections
import ctypes
import json
import os
import re
import signal
import sys
import warnings
from pathlib import Path

try:
    import numpy as np
    import onnx
    from onnx import TensorProto, numpy_helper
except ImportError as error:
    sys.exit(f"onnx_conformance: {error}; pip install onnx numpy")

ROOT = Path(__file__).resolve().parent.parent
MAX_RANK = 8
CASE_SECONDS = 60
TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int8): TensorProto.INT8, np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64, np.dtype(np.bool_): TensorProto.BOOL,
    np.dtype(np.float16): TensorProto.FLOAT16, np.dtype(np.float64): TensorProto.DOUBLE,
}
DTYPES = {number: dtype for dtype, number in TYPES.items()}
# What the goal of this project counts: see docs/onnx-support.md.
IN_SCOPE = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32,
            TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL}
PASS, CONSTANTS, FAIL, UNSUPPORTED = "pass", "as constants", "fail", "not supported"
VERDICTS = (PASS, CONSTANTS, FAIL, UNSUPPORTED)


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size_bytes", ctypes.c_size_t),
                ("type", ctypes.c_int), ("rank", ctypes.c_int32),
                ("dims", ctypes.c_int64 * MAX_RANK),
                ("strides", ctypes.c_int64 * MAX_RANK)]


class Io(ctypes.Structure):
    _fields_ = [("inputs", ctypes.POINTER(Tensor)), ("input_count", ctypes.c_size_t),
                ("outputs", ctypes.POINTER(Tensor)), ("output_count", ctypes.c_size_t)]


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 500)]


class Refused(Exception):
    """A call of the library that did not return WEFT_OK."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Weft:
    UNSUPPORTED_STATUS = 3

    def __init__(self, path, device="cpu"):
        self.lib = ctypes.CDLL(str(path))
        for name in ("weft_graph_release", "weft_model_release"):
            getattr(self.lib, name).argtypes = [ctypes.c_void_p]
            getattr(self.lib, name).restype = None
        self.device = ctypes.c_void_p()
        self.call("weft_device_open", device.encode(), None, ctypes.byref(self.device))

    def call(self, name, *arguments):
        error = Error()
        status = getattr(self.lib, name)(*arguments, ctypes.byref(error))
        if status != 0:
            raise Refused(status, error.message.decode(errors="replace"))

    def run(self, model_bytes, inputs, output_count):
        graph, model = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("weft_graph_parse_onnx", model_bytes,
                  ctypes.c_size_t(len(model_bytes)), None, ctypes.byref(graph))
        try:
            self.call("weft_model_create", self.device, graph, None,
                      ctypes.byref(model))
            return self.run_model(model, inputs, output_count)
        finally:
            self.lib.weft_model_release(model)
            self.lib.weft_graph_release(graph)

    def run_model(self, model, inputs, output_count):
        held = [np.ascontiguousarray(x).reshape(x.shape) for x in inputs]
        given = (Tensor * max(1, len(held)))()
        for tensor, array in zip(given, held):
            tensor.data = array.ctypes.data
            tensor.size_bytes = array.nbytes
            tensor.type = TYPES[array.dtype]
            tensor.rank = array.ndim
            tensor.dims[:array.ndim] = array.shape
        wanted = (Tensor * max(1, output_count))()
        io = Io(given, len(held), wanted, output_count)
        self.call("weft_model_infer_outputs", model, ctypes.byref(io))
        results = []
        for i in range(output_count):
            if wanted[i].rank < 0:  # the library allocates it
                results.append(None)
                continue
            dims = tuple(wanted[i].dims[:wanted[i].rank])
            results.append(np.zeros(dims, DTYPES[wanted[i].type]))
            wanted[i].data = results[i].ctypes.data
        self.call("weft_run", model, ctypes.byref(io), None)
        return [self.take(wanted[i]) if result is None else result
                for i, result in enumerate(results)]

    def take(self, tensor):
        """A copy of an output that the library has allocated."""
        dims = tuple(tensor.dims[:tensor.rank])
        array = np.zeros(dims, DTYPES[tensor.type])
        ctypes.memmove(array.ctypes.data, tensor.data, array.nbytes)
        self.lib.weft_output_free(ctypes.byref(tensor))
        return array


def elem_types(model):
    """Element types of all inputs and outputs; None for what is not a tensor."""
    for value in list(model.graph.input) + list(model.graph.output):
        kind = value.type.WhichOneof("value")
        yield value.type.tensor_type.elem_type if kind == "tensor_type" else None


def in_scope(case):
    nodes = case.model.graph.node
    return (all(t in IN_SCOPE for t in elem_types(case.model))
            and all(node.domain in ("", "ai.onnx") for node in nodes)
            and "training" not in case.name)


def as_constants(model, inputs):
    """The model with its inputs, but for the first tensor of a floating type, made
    constants; returns it with the inputs that are left."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    names = [value.name for value in changed.graph.input]
    keep = [i for i, x in enumerate(inputs)
            if np.issubdtype(x.dtype, np.floating) and x.ndim > 0][:1]
    for i, (name, array) in enumerate(zip(names, inputs)):
        if i not in keep:
            changed.graph.initializer.append(numpy_helper.from_array(array, name))
    left = [changed.graph.input[i] for i in keep]
    left = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in left]
    del changed.graph.input[:]
    changed.graph.input.extend(left)
    return changed, [inputs[i] for i in keep]


def compare(case, got, expected):
    """None, or what is wrong with the outputs."""
    for i, (mine, theirs) in enumerate(zip(got, expected)):
        theirs = np.asarray(theirs)
        if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
            return (f"output {i} is {mine.dtype}{list(mine.shape)}, "
                    f"not {theirs.dtype}{list(theirs.shape)}")
        if case.name.startswith("test_bernoulli"):
            # Whose generator drew the recorded numbers is not ONNX's matter.
            right, worst = np.isin(mine, (0, 1)).all(), "more than 0 and 1"
        elif np.issubdtype(theirs.dtype, np.floating):
            with np.errstate(all="ignore"):
                right = np.allclose(mine, theirs, rtol=case.rtol, atol=case.atol,
                                    equal_nan=True)
                gaps = np.nan_to_num(np.abs(mine - theirs), nan=np.inf)
                worst = gaps.max(initial=0)
                # What was recorded is rounded too: where a sum is 0, an expected
                # 1.9e-07 beside numbers of 50 is noise of one bit.
                sizes = np.abs(theirs[np.isfinite(theirs)]).max(initial=0)
                right = right or worst <= np.finfo(theirs.dtype).eps * sizes
        else:
            right, worst = np.array_equal(mine, theirs), "some"
        if not right:
            return f"output {i} is off by {worst}"
    return None


def bits_differ(got, other):
    """None, or which output is not bit for bit the other's."""
    for i, (mine, theirs) in enumerate(zip(got, other)):
        if np.issubdtype(mine.dtype, np.floating):
            nan = np.isnan(mine) & np.isnan(theirs) if mine.shape == theirs.shape else False
            mine, theirs = np.where(nan, 0, mine), np.where(nan, 0, theirs)
        if mine.shape != theirs.shape or mine.tobytes() != theirs.tobytes():
            return f"output {i} has other bits"
    return None


def run_case(weft, model, inputs, outputs, model_of_bits):
    """The outputs, and what is wrong with their bits."""
    data = model.SerializeToString()
    got = weft.run(data, inputs, outputs)
    if model_of_bits is None:
        return got, None
    return got, bits_differ(got, model_of_bits.run(data, inputs, outputs))


def judge(weft, case, model_of_bits=None):
    """The verdict on one case and its reason."""
    outputs = len(case.model.graph.output)
    for inputs, expected in case.data_sets:
        inputs = [np.asarray(x) for x in inputs]
        verdict = PASS
        try:
            if any(x.dtype not in TYPES for x in inputs):
                return UNSUPPORTED, "element type"
            got, wrong = run_case(weft, case.model, inputs, outputs, model_of_bits)
        except Refused as first:
            if "constant" not in str(first) and "folded" not in str(first):
                unsupported = first.status == Weft.UNSUPPORTED_STATUS
                return UNSUPPORTED if unsupported else FAIL, str(first)
            try:
                model, left = as_constants(case.model, inputs)
                got, wrong = run_case(weft, model, left, outputs, model_of_bits)
                verdict = CONSTANTS
            except Refused as second:
                unsupported = second.status == Weft.UNSUPPORTED_STATUS
                return UNSUPPORTED if unsupported else FAIL, str(second)
        wrong = wrong or compare(case, got, expected)
        if wrong:
            return FAIL, wrong
    return verdict, ""


def judge_from(cases, first, options, stream):
    """In a child: judges cases from `first` on, one JSON line each."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    weft = Weft(options.library, options.device)
    model_of_bits = Weft(options.library, options.bits_of) if options.bits_of else None
    for case in cases[first:]:
        signal.alarm(CASE_SECONDS)
        verdict, reason = judge(weft, case, model_of_bits)
        stream.write(json.dumps([verdict, reason]) + "\n")
        stream.flush()


def judge_all(cases, options):
    """Verdicts of all cases; one that ends the process has failed."""
    verdicts = []
    while len(verdicts) < len(cases):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            status = 1
            try:
                with os.fdopen(writing, "w") as stream:
                    judge_from(cases, len(verdicts), options, stream)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading) as stream:
            verdicts += [tuple(json.loads(line)) for line in stream]
        _, status = os.waitpid(child, 0)
        if len(verdicts) < len(cases):
            verdicts.append((FAIL, f"the process ended with status {status}"))
        if sys.stderr.isatty():
            print(f"\r{len(verdicts)} of {len(cases)}", end="", file=sys.stderr)
    return verdicts


def operator_of(case, by_name):
    """The operator that a case is about; of an expanded function, the function."""
    plain = re.sub(r"_expanded.*$", "", case.name)
    if plain != case.name and plain in by_name:
        case = by_name[plain]
    elif plain != case.name:
        return plain.replace("test_", "") + " (expanded)"
    kinds = [n.op_type for n in case.model.graph.node
             if n.op_type not in ("Constant", "Identity")]
    return kinds[0] if kinds else case.model.graph.node[0].op_type


def collect(only):
    from onnx.backend.test.case.node import collect_testcases
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    by_name = {case.name: case for case in cases}
    rows = [(operator_of(case, by_name), case) for case in cases]
    words = [word.lower() for word in only]
    return sorted(((op, case) for op, case in rows
                   if not words or any(w in op.lower() or w in case.name.lower()
                                       for w in words)),
                  key=lambda row: (row[0], row[1].name))


def short(reason):
    """A reason that is the same for cases of the same kind."""
    reason = re.sub(r"^[^:]*'[^']*': ", "", reason)
    reason = re.sub(r"^operator (\S+) is unknown.*", r"no operator \1", reason)
    reason = re.sub(r"\(?(node )?'[^']*'\)?", "", reason)
    return reason.replace("|", "/").strip()[:100]


def markdown(rows, counts, total):
    lines = [
        "# ONNX node tests",
        "",
        "Written by `tools/onnx_conformance.py --markdown docs/onnx-support.md`: the node",
        f"tests of the package onnx {onnx.__version__} on the CPU, by operator. Counted are",
        "cases of the default domain with float, double, int64, int32, int8, uint8 and bool",
        "tensors; training, strings, sequences and optionals are left out. *As constants*:",
        "the case passes when what decides a shape is a constant of the model, as exporters",
        "write it, and not an input. Of Bernoulli only types, shapes and the values 0 and 1",
        "are compared: the numbers recorded are those of another generator. A case that",
        "spells out a function in other operators (`_expanded`) counts under the function's",
        "name; so does FlexAttention, which is itself not of the default domain and unknown.",
        "",
        f"{total[PASS] + total[CONSTANTS]} of {sum(total.values())} cases pass "
        f"({100 * (total[PASS] + total[CONSTANTS]) / max(1, sum(total.values())):.1f} %; "
        f"{total[CONSTANTS]} of them as constants), {total[FAIL]} fail, "
        f"{total[UNSUPPORTED]} are not supported.",
        "",
        "| operator | pass | as constants | fail | not supported | why |",
        "|---|---|---|---|---|---|",
    ]
    for op in sorted(counts):
        reasons = collections.Counter(
            short(reason) for name, _, verdict, reason in rows
            if name == op and verdict in (FAIL, UNSUPPORTED))
        why = reasons.most_common(1)[0][0] if reasons else ""
        numbers = " | ".join(str(counts[op][v] or "") for v in VERDICTS)
        lines.append(f"| {op} | {numbers} | {why} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", default=str(ROOT / "build" / "libweft.so"))
    parser.add_argument("--device", default="cpu", help="cpu unless told")
    parser.add_argument("--bits-of", metavar="DEVICE",
                        help="answers must be bit for bit those of this device")
    parser.add_argument("--only", action="append", default=[], metavar="WORD")
    parser.add_argument("--list", action="store_true", help="every case")
    parser.add_argument("--all", action="store_true", help="out of scope ones too")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if not Path(options.library).exists():
        print(f"onnx_conformance: no {options.library}; build first", file=sys.stderr)
        return 2
    named = [(op, case) for op, case in collect(options.only)
             if options.all or in_scope(case)]
    verdicts = judge_all([case for _, case in named], options)
    rows = [(op, case.name, *verdict) for (op, case), verdict in zip(named, verdicts)]
    counts = collections.defaultdict(collections.Counter)
    total = collections.Counter()
    for op, name, verdict, reason in rows:
        counts[op][verdict] += 1
        total[verdict] += 1
        if options.list or verdict == FAIL:
            print(f"{verdict:13} {op:24} {name}: {reason}")
    if options.markdown:
        Path(options.markdown).write_text(markdown(rows, counts, total))
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))
    print(", ".join(f"{total[v]} {v}" for v in VERDICTS))
    return 1 if total[FAIL] else 0


if __name__ == "__main__":
    sys.exit(main())

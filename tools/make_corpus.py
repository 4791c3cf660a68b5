#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the fuzz targets: tests/corpus/onnx and tests/corpus/npy.

Small models that between them hold every part of the format, right and wrong. Needs
the packages of export_models.py (onnx, numpy).
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "corpus"


def model(nodes, inputs, outputs, initializers=(), opset=17, **more):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **more)
    made.ir_version = 8
    return made


def value(name, shape=(2, 3), kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def typed():
    """One initializer of each type, in the fields of typed data."""
    kinds = [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32,
             TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL, TensorProto.FLOAT16,
             TensorProto.BFLOAT16]
    tensors = [helper.make_tensor(f"t{k}", k, [2], [0, 1]) for k in kinds]
    nodes = [helper.make_node("Cast", [t.name], [f"c{t.name}"], to=TensorProto.FLOAT)
             for t in tensors]
    nodes.append(helper.make_node("Sum", [n.output[0] for n in nodes], ["y"]))
    return model(nodes, [], [value("y", [2])], tensors)


def raw():
    weights = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    bias = numpy_helper.from_array(np.arange(3, dtype=np.float32), "b")
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"], alpha=1.0, transB=1),
             helper.make_node("Relu", ["h"], ["y"])]
    return model(nodes, [value("x", ["n", 3])], [value("y", ["n", 3])], [weights, bias])


def defaults():
    made = raw()
    made.graph.input.append(value("b", [3]))
    return made


def external():
    made = raw()
    for tensor in made.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, "w.bin", 0, 36)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
    return made


def attributes():
    tensor = numpy_helper.from_array(np.arange(6, dtype=np.int64).reshape(2, 3))
    nodes = [helper.make_node("Constant", [], ["a"], value=tensor),
             helper.make_node("Constant", [], ["b"], value_ints=[1, -1]),
             helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0]),
             helper.make_node("Constant", [], ["d"], value_float=0.5),
             helper.make_node("Reshape", ["x", "b"], ["r"], allowzero=0),
             helper.make_node("Gelu", ["r"], ["g"], approximate="tanh"),
             helper.make_node("Transpose", ["g"], ["y"], perm=[1, 0]),
             helper.make_node("Split", ["y"], ["p", "", "q"], axis=0)]
    return model(nodes, [value("x")], [value("y", None)], opset=20)


def control():
    branch = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "b", [],
                               [value("z")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return model([node], [value("x"), value("c", [], TensorProto.BOOL)], [value("y")])


def loop():
    i64, boolean = TensorProto.INT64, TensorProto.BOOL
    then = helper.make_graph([helper.make_node("Add", ["a", "x"], ["t"])], "then", [],
                             [value("t")])
    other = helper.make_graph([helper.make_node("Neg", ["a"], ["e"])], "else", [],
                              [value("e")])
    body = helper.make_graph(
        [helper.make_node("Cast", ["i"], ["odd"], to=boolean),
         helper.make_node("If", ["odd"], ["b"], then_branch=then, else_branch=other),
         helper.make_node("NonZero", ["b"], ["at"]),
         helper.make_node("Size", ["at"], ["n"]),
         helper.make_node("Identity", ["c"], ["go"])], "body",
        [value("i", [], i64), value("c", [], boolean), value("a")],
        [value("go", [], boolean), value("b"), value("n", [], i64)])
    slices = helper.make_graph(
        [helper.make_node("Add", ["s", "r"], ["u"]), helper.make_node("Neg", ["r"], ["v"])],
        "slices", [value("s", []), value("r", [])], [value("u", []), value("v", [])])
    nodes = [helper.make_node("Loop", ["m", "", "x"], ["y", "sizes"], body=body),
             helper.make_node("ReduceMax", ["sizes"], ["k"], keepdims=1),
             helper.make_node("Reshape", ["y", "all"], ["row"]),
             helper.make_node("ReduceSum", ["row"], ["sum"], keepdims=0),
             helper.make_node("Scan", ["sum", "row"], ["last", "z"], body=slices,
                              num_scan_inputs=1)]
    made = model(nodes, [value("m", [], i64), value("x")],
                 [value("y", None), value("k", None, i64), value("z", None)])
    made.graph.initializer.append(
        numpy_helper.from_array(np.array([-1], np.int64), "all"))
    return made


def nested():
    """A Scan in an If in a Loop, which reads what stands around it at each depth."""
    i64, boolean = TensorProto.INT64, TensorProto.BOOL
    step = helper.make_graph(
        [helper.make_node("Mul", ["s", "b"], ["u"]), helper.make_node("Add", ["u", "r"], ["v"]),
         helper.make_node("ReduceSum", ["v"], ["w"], keepdims=0)], "step",
        [value("s", [3]), value("r", [3])], [value("v", [3]), value("w", [])])
    then = helper.make_graph(
        [helper.make_node("Scan", ["b", "a"], ["t", "tw"], body=step, num_scan_inputs=1,
                          scan_input_directions=[1], scan_output_directions=[1]),
         helper.make_node("Identity", ["x"], ["tx"])],
        "then", [], [value("tx"), value("t", [3])])
    other = helper.make_graph(
        [helper.make_node("Loop", ["i", "", "b"], ["e"], body=helper.make_graph(
            [helper.make_node("Less", ["j", "i"], ["jc"]),
             helper.make_node("Neg", ["f"], ["f2"])], "inner",
            [value("j", [], i64), value("jd", [], boolean), value("f", [3])],
            [value("jc", [], boolean), value("f2", [3])])),
         helper.make_node("Neg", ["a"], ["ex"])],
        "else", [], [value("ex"), value("e", [3])])
    body = helper.make_graph(
        [helper.make_node("Greater", ["i", "one"], ["late"]),
         helper.make_node("ReduceMean", ["a"], ["b"], axes=[0], keepdims=0),
         helper.make_node("If", ["late"], ["a2", "b2"], then_branch=then, else_branch=other),
         helper.make_node("Less", ["i", "three"], ["go"])], "body",
        [value("i", [], i64), value("c", [], boolean), value("a")],
        [value("go", [], boolean), value("a2"), value("b2", [3])])
    made = model([helper.make_node("Loop", ["", "", "x"], ["y", "z"], body=body)],
                 [value("x")], [value("y", None), value("z", None)])
    for name, number in (("one", 1), ("three", 3)):
        made.graph.initializer.append(numpy_helper.from_array(np.array(number), name))
    return made


def stages():
    """Sizes that only a run can tell, each found from what the one before has found."""
    i64 = TensorProto.INT64
    nodes = [helper.make_node("NonZero", ["x"], ["at"]),
             helper.make_node("Transpose", ["at"], ["rows"]),
             helper.make_node("GatherND", ["x", "rows"], ["hit"]),
             helper.make_node("Greater", ["hit", "hit_mean"], ["large"]),
             helper.make_node("ReduceMean", ["hit"], ["hit_mean"], keepdims=1),
             helper.make_node("Compress", ["hit", "large"], ["kept"], axis=0),
             helper.make_node("Size", ["kept"], ["n"]),
             helper.make_node("Unsqueeze", ["n", "zero"], ["count"]),
             helper.make_node("TopK", ["kept", "count"], ["best", "where"], axis=0),
             helper.make_node("Unique", ["where"], ["u", "first"], sorted=1),
             helper.make_node("ConstantOfShape", ["count"], ["zeros"]),
             helper.make_node("Range", ["start", "n", "delta"], ["numbers"]),
             helper.make_node("ScatterElements", ["zeros", "numbers", "best"], ["y"], axis=0)]
    nodes[3], nodes[4] = nodes[4], nodes[3]
    tensors = [numpy_helper.from_array(np.array([0]), "zero"),
               numpy_helper.from_array(np.array(0), "start"),
               numpy_helper.from_array(np.array(1), "delta")]
    return model(nodes, [value("x", [3, 4])], [value("y", None), value("u", None, i64)],
                 tensors, 18)


def quantized():
    """Integer products and what stands around them."""
    u8, i8, i32 = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32
    nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
             helper.make_node("MatMulInteger", ["q", "w", "z"], ["m"]),
             helper.make_node("Cast", ["m"], ["mf"], to=TensorProto.FLOAT),
             helper.make_node("Mul", ["mf", "s"], ["y"]),
             helper.make_node("QuantizeLinear", ["y", "scale", "zero"], ["p"], axis=1),
             helper.make_node("DequantizeLinear", ["p", "scale", "zero"], ["d"], axis=1),
             helper.make_node("QLinearMatMul", ["p", "scale0", "zero0", "v", "scale0", "zero0",
                                                "scale0", "zero0"], ["r"]),
             helper.make_node("ConvInteger", ["img", "k", "zero0"], ["c"], pads=[1, 1, 1, 1]),
             helper.make_node("QLinearConv", ["img", "scale0", "zero0", "k", "scale0", "kz",
                                              "scale0", "zero0"], ["g"])]
    arrays = {"w": np.arange(-6, 6, dtype=np.int8).reshape(3, 4), "kz": np.int8(1),
              "scale": np.full(4, 0.1, np.float32), "zero": np.full(4, 3, np.uint8),
              "scale0": np.float32(0.05), "zero0": np.uint8(7),
              "v": np.arange(8, dtype=np.uint8).reshape(4, 2),
              "k": np.arange(18, dtype=np.int8).reshape(1, 2, 3, 3)}
    tensors = [numpy_helper.from_array(np.asarray(array), name)
               for name, array in arrays.items()]
    return model(nodes, [value("x", ["n", 3]), value("img", [1, 2, 4, 4], u8)],
                 [value("d", None), value("r", None, u8), value("c", None, i32),
                  value("g", None, u8), value("m", None, i32)], tensors, 17)


def recurrent():
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["l", "lh", "lc"], hidden_size=2,
                              direction="bidirectional"),
             helper.make_node("Transpose", ["l"], ["t"], perm=[0, 2, 1, 3]),
             helper.make_node("Reshape", ["t", "flat"], ["f"]),
             helper.make_node("GRU", ["f", "gw", "gr", "", "len"], ["g", "gh"], hidden_size=2,
                              linear_before_reset=1),
             helper.make_node("RNN", ["f", "nw", "nr"], ["", "nh"], hidden_size=1,
                              direction="reverse", activations=["HardSigmoid"])]
    random = np.random.default_rng(1)
    sizes = {"w": (2, 8, 3), "r": (2, 8, 2), "gw": (1, 6, 4), "gr": (1, 6, 2),
             "nw": (1, 1, 4), "nr": (1, 1, 1)}
    tensors = [numpy_helper.from_array(random.standard_normal(s).astype(np.float32), n)
               for n, s in sizes.items()]
    tensors.append(numpy_helper.from_array(np.array([0, 0, -1]), "flat"))
    tensors.append(numpy_helper.from_array(np.array([3, 1], np.int32), "len"))
    return model(nodes, [value("x", [4, 2, 3])],
                 [value("gh", None), value("nh", None), value("lc", None)], tensors)


def cache():
    """Attention with what it remembers, rotated positions and a gate."""
    nodes = [helper.make_node("RotaryEmbedding", ["q", "cos", "sin"], ["rq"], num_heads=2),
             helper.make_node("Attention", ["rq", "k", "v", "mask", "pk", "pv"],
                              ["y", "ok", "ov"], q_num_heads=2, kv_num_heads=1, is_causal=1),
             helper.make_node("RMSNormalization", ["y", "g"], ["z"]),
             helper.make_node("Swish", ["z"], ["out"]),
             helper.make_node("TensorScatter", ["pk", "ok2", "at"], ["pk2"], mode="circular"),
             helper.make_node("Slice", ["ok", "one", "two", "axis"], ["ok2"])]
    nodes[4], nodes[5] = nodes[5], nodes[4]
    arrays = {"cos": np.ones((1, 2, 2), np.float32), "sin": np.ones((1, 2, 2), np.float32),
              "g": np.ones(8, np.float32), "one": np.array([1]), "two": np.array([2]),
              "axis": np.array([2]), "at": np.array([1])}
    tensors = [numpy_helper.from_array(a, n) for n, a in arrays.items()]
    return model(nodes, [value("q", [1, 2, 8]), value("k", [1, 2, 4]), value("v", [1, 2, 4]),
                         value("mask", [2, "all"]), value("pk", [1, 1, "past", 4]),
                         value("pv", [1, 1, "past", 4])],
                 [value("out", None), value("ov", None), value("pk2", None)], tensors, 24)


def older():
    """Operators whose settings were attributes."""
    nodes = [helper.make_node("Clip", ["x"], ["c"], min=-1.0, max=1.0),
             helper.make_node("Pad", ["c"], ["p"], pads=[0, 1, 0, 1], value=0.5),
             helper.make_node("Slice", ["p"], ["s"], starts=[0, -3], ends=[9, 9]),
             helper.make_node("Split", ["s"], ["a", "b"], axis=1, split=[1, 2]),
             helper.make_node("TopK", ["b"], ["t", "i"], k=1),
             helper.make_node("Softmax", ["b"], ["y"], axis=0),
             helper.make_node("Hardmax", ["p"], ["h"])]
    return model(nodes, [value("x")], [value("y", None), value("h", None),
                                       value("i", None, TensorProto.INT64)], opset=9)


def functions():
    body = [helper.make_node("Relu", ["a"], ["b"])]
    function = helper.make_function("my", "F", ["a"], ["b"], body,
                                    [helper.make_opsetid("", 17)])
    return model([helper.make_node("F", ["x"], ["y"], domain="my")], [value("x")],
                 [value("y")], functions=[function])


def kinds():
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [2])
    made = model([helper.make_node("SequenceLength", ["s"], ["y"])], [sequence],
                 [value("y", [], TensorProto.INT64)])
    dense = numpy_helper.from_array(np.ones(2, np.float32), "sp")
    where = numpy_helper.from_array(np.arange(2, dtype=np.int64), "i")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(dense, where, [4]))
    return made


def attention():
    """The operators of a block, with what folds and what does not."""
    nodes = [helper.make_node("Shape", ["x"], ["s"], start=0, end=1),
             helper.make_node("Concat", ["s", "k"], ["t"], axis=0),
             helper.make_node("MatMul", ["x", "w"], ["m"]),
             helper.make_node("Reshape", ["m", "t"], ["r"]),
             helper.make_node("Softmax", ["r"], ["p"], axis=-1),
             helper.make_node("LayerNormalization", ["p", "g", "g"], ["y"], axis=-1)]
    tensors = [numpy_helper.from_array(np.array([3, 4], np.int64), "k"),
               numpy_helper.from_array(np.ones((2, 4), np.float32), "w"),
               numpy_helper.from_array(np.ones(4, np.float32), "g")]
    return model(nodes, [value("x", ["n", 3, 2])], [value("y", None)], tensors)


def convolution():
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], group=2),
             helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2],
                              strides=[2, 2], auto_pad="SAME_UPPER")]
    weights = numpy_helper.from_array(np.ones((4, 1, 3, 3), np.float32), "w")
    return model(nodes, [value("x", ["n", 2, 6, 5])], [value("y", None)], [weights])


def many():
    """More inputs and outputs than a command should have to count."""
    names = [f"x{i}" for i in range(20)]
    nodes = [helper.make_node("Relu", [name], [f"y{i}"]) for i, name in enumerate(names)]
    nodes.append(helper.make_node("Sum", names, ["sum"]))
    outputs = [value(f"y{i}") for i in range(20)] + [value("sum")]
    return model(nodes, [value(name) for name in names], outputs)


def names():
    """Names that would steer a terminal."""
    return model([helper.make_node("Relu", ["x\x1b[31m"], ["y\x1b[2J\u009b1m"])],
                 [value("x\x1b[31m", ["n\r", 3])], [value("y\x1b[2J\u009b1m", None)])


def main():
    makers = [typed, raw, defaults, external, attributes, control, loop, nested, stages,
              older, quantized, recurrent, cache, functions, kinds, attention,
              convolution, many, names]
    (ROOT / "onnx").mkdir(parents=True, exist_ok=True)
    (ROOT / "npy").mkdir(parents=True, exist_ok=True)
    for maker in makers:
        (ROOT / "onnx" / f"{maker.__name__}.onnx").write_bytes(maker().SerializeToString())
    arrays = {"vector": np.arange(3, dtype=np.float32), "scalar": np.array(7),
              "bools": np.array([[True, False]]), "empty": np.zeros((2, 0, 3), np.int8),
              "columns": np.asfortranarray(np.ones((2, 3), np.float64)),
              "complex": np.ones(2, np.complex64), "big": np.ones(2, ">f4"),
              "halves": np.ones((1, 2, 1, 2), np.float16),
              "records": np.zeros(2, [("a", "<f4")])}
    for name, array in arrays.items():
        np.save(ROOT / "npy" / f"{name}.npy", array)


if __name__ == "__main__":
    main()

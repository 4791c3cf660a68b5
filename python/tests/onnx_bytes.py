# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models as bytes, without the package onnx: just enough of the protocol
buffers' wire format."""

import struct

TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9,
         "float16": 10, "float64": 11, "bfloat16": 16}


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else bytes(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def value_info(name, dtype, shape):
    dims = b"".join(field(1, field(2 if isinstance(d, str) else 1, d)) for d in shape)
    tensor = field(1, TYPES[dtype]) + field(2, dims)
    return field(1, name) + field(2, field(1, tensor))


def attribute(name, value):
    out = field(1, name)
    if isinstance(value, int):
        return out + field(3, value) + field(20, 2)
    if isinstance(value, float):
        return out + field(2, value) + field(20, 1)
    return out + b"".join(field(8, item) for item in value) + field(20, 7)


def node(kind, inputs, outputs, **attributes):
    return b"".join([*(field(1, name) for name in inputs),
                     *(field(2, name) for name in outputs), field(4, kind),
                     *(field(5, attribute(*item)) for item in attributes.items())])


def initializer(name, array):
    dims = b"".join(field(1, size) for size in array.shape)
    return dims + field(2, TYPES[array.dtype.name]) + field(8, name) + \
        field(9, array.tobytes())


def model(nodes, inputs, outputs, weights=(), opset=18):
    """inputs and outputs: (name, dtype, shape); weights: (name, array)."""
    graph = b"".join([*(field(1, n) for n in nodes), field(2, "test"),
                      *(field(5, initializer(*w)) for w in weights),
                      *(field(11, value_info(*v)) for v in inputs),
                      *(field(12, value_info(*v)) for v in outputs)])
    return field(1, 8) + field(8, field(2, opset)) + field(7, graph)


def unary(kind, dtype="float32", shape=("n", "m"), to=None):
    return model([node(kind, ["x"], ["y"])], [("x", dtype, shape)],
                 [("y", to or dtype, shape)])


def identity(dtype, shape=("n",)):
    return unary("Identity", dtype, shape)


def slow(size=512, steps=40):
    """x [size, size] times itself, again and again: some tens of milliseconds."""
    nodes = [node("MatMul", ["x" if i == 0 else f"t{i}", "x"],
                  ["y" if i == steps - 1 else f"t{i + 1}"]) for i in range(steps)]
    return model(nodes, [("x", "float32", (size, size))],
                 [("y", "float32", (size, size))])

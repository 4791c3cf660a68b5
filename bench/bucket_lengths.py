#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sentences of random lengths: exact plans beside plans by bucket, in one run.

    PYTHONPATH=build/python bench/bucket_lengths.py [--calls 1000] [--longest 512]

An encoder like those that make sentence vectors (random weights) gets ids of random
lengths from several threads. Each way has a model of its own; its first pass meets every
length for the first time, the second one again. Needs numpy and onnx.
"""

import argparse
import threading
import time

import numpy as np
import onnx
import weft
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEADS, HIDDEN, LAYERS, WORDS = 128, 4, 512, 4, 1000


class Builder:
    def __init__(self):
        self.nodes, self.weights, self.random = [], [], np.random.default_rng(1)

    def weight(self, value):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def random_weight(self, *shape):
        scale = 1 / np.sqrt(shape[0])
        return self.weight((self.random.standard_normal(shape) * scale).astype("f"))

    def node(self, kind, *inputs, **attributes):
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name,
                                           **attributes))
        return name

    def linear(self, x, rows, columns):
        product = self.node("MatMul", x, self.random_weight(rows, columns))
        return self.node("Add", product, self.random_weight(columns))

    def heads(self, x, permutation):
        shape = self.weight(np.int64([0, 0, HEADS, WIDTH // HEADS]))
        split = self.node("Reshape", self.linear(x, WIDTH, WIDTH), shape)
        return self.node("Transpose", split, perm=permutation)

    def norm(self, x):
        return self.node("LayerNormalization", x, self.weight(np.ones(WIDTH, "f")),
                         self.weight(np.zeros(WIDTH, "f")), axis=-1)

    def layer(self, x, low):
        q, v = self.heads(x, [0, 2, 1, 3]), self.heads(x, [0, 2, 1, 3])
        scores = self.node("MatMul", q, self.heads(x, [0, 2, 3, 1]))
        scale = self.weight(np.float32(1 / np.sqrt(WIDTH // HEADS)))
        scores = self.node("Add", self.node("Mul", scores, scale), low)
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), v)
        mixed = self.node("Reshape", self.node("Transpose", mixed, perm=[0, 2, 1, 3]),
                          self.weight(np.int64([0, 0, WIDTH])))
        x = self.norm(self.node("Add", x, self.linear(mixed, WIDTH, WIDTH)))
        inner = self.node("Relu", self.linear(x, WIDTH, HIDDEN))
        return self.norm(self.node("Add", x, self.linear(inner, HIDDEN, WIDTH)))


def encoder():
    b = Builder()
    first, places = b.weight(np.int64([1])), b.weight(np.int64([1, 2]))
    mask = b.node("Cast", "mask", to=TensorProto.FLOAT)
    low = b.node("Mul", b.node("Sub", b.weight(np.float32(1)), mask),
                 b.weight(np.float32(-1e4)))
    low = b.node("Unsqueeze", low, places)
    x = b.node("Gather", b.random_weight(WORDS, WIDTH), "ids")
    for _ in range(LAYERS):
        x = b.layer(x, low)
    kept = b.node("Mul", x, b.node("Unsqueeze", mask, b.weight(np.int64([2]))))
    total = b.node("ReduceSum", kept, first, keepdims=0)
    b.nodes.append(helper.make_node(
        "Div", [total, b.node("ReduceSum", mask, first, keepdims=1)], ["vector"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        b.nodes, "encoder",
        [value("ids", TensorProto.INT64, ["batch", "length"]),
         value("mask", TensorProto.INT64, ["batch", "length"])],
        [value("vector", TensorProto.FLOAT, ["batch", WIDTH])], b.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)],
                             ir_version=10).SerializeToString()


def run_pass(model, lengths, ids, threads):
    """Seconds for all lengths, each thread taking its share, and the answers."""
    answers = [None] * len(lengths)
    barrier = threading.Barrier(threads + 1)

    def work(index):
        barrier.wait()
        for i in range(index, len(lengths), threads):
            cut = ids[:, :lengths[i]]
            answers[i] = model(ids=cut, mask=np.ones_like(cut))
        barrier.wait()

    crew = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for thread in crew:
        thread.start()
    barrier.wait()
    begin = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - begin
    for thread in crew:
        thread.join()
    return seconds, answers


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plans", type=int, default=64, help="of the bounded cache")
    chosen = parser.parse_args()
    random = np.random.default_rng(7)
    lengths = random.integers(1, chosen.longest + 1, chosen.calls)
    ids = random.integers(0, WORDS, (1, chosen.longest))
    onnx_bytes = encoder()
    last = chosen.longest
    ways = [
        (f"exact, {chosen.plans} plans", None, chosen.plans),
        ("exact, all kept", None, 0),
        (f"16..{last}*2", weft.Bucket.doubling(16, last, mask="mask"), 0),
        (f"64..{last}+64", weft.Bucket.stepping(64, last, 64, mask="mask"), 0),
        (f"16..{last}+16", weft.Bucket.stepping(16, last, 16, mask="mask"), 0),
    ]
    print(f"{chosen.calls} lengths 1 to {last} ({len(set(lengths))} different), "
          f"{chosen.threads} threads\n")
    print("| plans | first pass, calls/s | again, calls/s | plans built | their memory | "
          "padding | largest difference |\n|---|---|---|---|---|---|---|")
    reference = None
    for name, bucket, plans in ways:
        device = weft.Device("cpu")
        model = weft.load(onnx_bytes, device, max_plans=plans,
                          buckets={"length": bucket} if bucket else None)
        first, answers = run_pass(model, lengths, ids, chosen.threads)
        again, _ = run_pass(model, lengths, ids, chosen.threads)
        reference = reference or answers
        apart = max(float(np.abs(a - b).max()) for a, b in zip(answers, reference))
        sizes = np.array(bucket.sizes) if bucket else None
        planned = sizes[np.searchsorted(sizes, lengths)] if bucket else lengths
        padding = planned.sum() / lengths.sum() - 1
        statistics = device.statistics()
        built, held = statistics["plan_count"], statistics["plan_bytes"] / 2**20
        print(f"| {name} | {chosen.calls / first:,.0f} | {chosen.calls / again:,.0f} | "
              f"{built} | {held:.1f} MiB | {100 * padding:.0f} % | {apart:.1g} |", flush=True)


if __name__ == "__main__":
    main()

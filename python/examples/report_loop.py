#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The loop that Weft began with: 8 Python threads call one PyTorch module 50 times each.

    python/examples/report_loop.py              on PyTorch, then on Weft
    python/examples/report_loop.py --threads 16 --iterations 1000

The loop is the same for both; what changes is the line marked below. Needs the packages
torch and onnxscript.
"""

import argparse
import threading
import time

import torch
from torch import nn

import weft

ROWS = {
    "nn.Linear": (lambda: nn.Linear(256, 128), (4, 256)),
    "MLP (3 layers)": (lambda: nn.Sequential(nn.Linear(256, 512), nn.ReLU(),
                                             nn.Linear(512, 512), nn.ReLU(),
                                             nn.Linear(512, 256)), (4, 256)),
    "LayerNorm": (lambda: nn.LayerNorm(256), (4, 128, 256)),
    "Conv1d": (lambda: nn.Conv1d(64, 64, 3, padding=1), (4, 64, 128)),
}


def loop(model, inputs, iterations):
    """Every thread has an input of its own; returns the answers and calls per second."""
    answers = [None] * len(inputs)
    barrier = threading.Barrier(len(inputs) + 1)

    def caller(thread):
        barrier.wait()
        with torch.inference_mode():
            for _ in range(iterations):
                answers[thread] = model(inputs[thread])

    threads = [threading.Thread(target=caller, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return answers, len(inputs) * iterations / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(42)
    wrong = 0
    print(f"{'row':16} {'PyTorch':>10} {'Weft':>10}  calls/s at {options.threads} threads")
    for name, (make, shape) in ROWS.items():
        module = make().eval()
        inputs = [torch.randn(*shape) for _ in range(options.threads)]
        theirs, rate = loop(module, inputs, options.iterations)

        module = weft.compile(module, inputs[0])  # the line that changes

        alone = [module(x) for x in inputs]
        ours, our_rate = loop(module, inputs, options.iterations)
        for a, b, c in zip(theirs, ours, alone):
            wrong += not torch.allclose(a, b, rtol=1e-4, atol=1e-4)
            wrong += not torch.equal(b, c)  # the bits of the call made alone
        print(f"{name:16} {rate:10,.0f} {our_rate:10,.0f}")
    print(f"{wrong} wrong answers")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())

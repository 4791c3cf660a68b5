#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times the report's loop in Python: threads that call PyTorch modules, and the same
threads calling the same modules compiled by weft.compile.

    bench/python_loop.py                       all rows at 8 threads
    bench/python_loop.py --rows relu,softmax --threads 2,8,16 --seconds 1
    bench/python_loop.py --gil                 what keeping and dropping the GIL costs
    bench/python_loop.py --calls               what a call from Python costs

Every thread has its own module and its own input, as in bench/peers.py, whose rows and
virtual environment these are. The sides take turns; medians are compared. "tensors" gives
and gets PyTorch's tensors, "arrays" numpy's, "out" numpy's into arrays made beforehand.
The extension is that of build/python; WEFT_PYTHONPATH names another folder.
"""

import argparse
import logging
import os
import statistics
import sys
import tempfile
import threading
import time
import warnings

import peers

SMALL = ("F.linear", "softmax", "relu", "nn.Linear")
AT_LEAST = 4.0  # times PyTorch, for the small rows at 8 threads
SIDES = ("pytorch", "tensors", "arrays", "out")


def import_weft():
    folder = os.environ.get("WEFT_PYTHONPATH", peers.ROOT / "build" / "python")
    sys.path.insert(0, str(folder))
    import weft

    return weft


def models_of(weft, modules, tensors):
    """A model for each module: one is exported, the others' weights replace its own
    where they kept their names and places."""
    import torch

    logging.disable(logging.WARNING)  # the exporter tells of packages it can do without
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(modules[0], tensors, path, dynamo=True, verbose=False)
        for module in modules:
            try:
                yield weft.load(path, weights=module.state_dict())
            except weft.Error:
                yield weft.compile(module, tensors)


def calls_of(row, threads):
    """Side -> one callable for each thread."""
    import torch

    weft = import_weft()
    make, shapes = peers.torch_rows()[row]
    calls = {side: [] for side in SIDES}
    modules = []
    for thread in range(threads):
        torch.manual_seed(thread)
        modules.append(make().eval())
    tensors = tuple(torch.randn(*shape) for shape in shapes)
    for module, model in zip(modules, models_of(weft, modules, tensors)):
        tensors = [torch.randn(*shape) for shape in shapes]
        arrays = [tensor.numpy() for tensor in tensors]
        place = model(*arrays)
        with torch.inference_mode():
            assert torch.allclose(module(*tensors), model(*tensors), rtol=1e-3, atol=1e-3)
        calls["pytorch"].append(lambda m=module, x=tensors: m(*x))
        calls["tensors"].append(lambda m=model, x=tensors: m(*x))
        calls["arrays"].append(lambda m=model, x=arrays: m(*x))
        calls["out"].append(lambda m=model, x=arrays, y=place: m(*x, out=y))
    return calls


def rows(options):
    print(f"{'row':24} {'thr':>3} " + " ".join(f"{side:>9}" for side in SIDES)
          + "   tensors  arrays: times PyTorch")
    short = []
    for row in options.rows:
        calls = calls_of(row, max(options.threads))
        for count in options.threads:
            samples = {side: [] for side in SIDES}
            for _ in range(options.repeats):
                for side in SIDES:
                    samples[side].append(peers.rate(calls[side][:count],
                                                    options.seconds))
            rates = {side: statistics.median(taken) for side, taken in samples.items()}
            tensors, arrays = (rates[side] / rates["pytorch"]
                               for side in ("tensors", "arrays"))
            if row in SMALL and count == 8:
                short += [f"{row} ({side})" for side, ratio in
                          (("tensors", tensors), ("arrays", arrays))
                          if ratio < AT_LEAST]
            print(f"{row:24} {count:3} "
                  + " ".join(f"{rates[side]:9,.0f}" for side in SIDES)
                  + f"   {tensors:7.2f} {arrays:7.2f}", flush=True)
    if short:
        print(f"below {AT_LEAST:g} times PyTorch at 8 threads: {', '.join(short)}")
    return 1 if short else 0


# --- the GIL ------------------------------------------------------------------------

def gil_rate(model, x, threads, seconds, spinner):
    """Calls per second, beside a thread of plain Python or not; and that one's turns."""
    stop = threading.Event()
    counts, turns = [0] * threads, [0]

    def call(index):
        y = model(x)
        while not stop.is_set():
            for _ in range(10):
                model(x, out=y)
            counts[index] += 10

    def spin():
        while not stop.is_set():
            for _ in range(1000):
                pass
            turns[0] += 1

    workers = [threading.Thread(target=call, args=(i,)) for i in range(threads)]
    if spinner:
        workers.append(threading.Thread(target=spin))
    for worker in workers:
        worker.start()
    before, spun = sum(counts), turns[0]
    start = time.perf_counter()
    time.sleep(seconds)
    done, took = sum(counts) - before, time.perf_counter() - start
    spun = turns[0] - spun
    stop.set()
    for worker in workers:
        worker.join()
    return done / took, spun / took


def gil(options):
    import numpy

    weft = import_weft()
    path = peers.ROOT / "tests/golden/t2_linear/dynamo/model.onnx"
    kept = weft.load(path, gil_threshold_us=float("inf"))
    dropped = weft.load(path, gil_threshold_us=0)
    print(f"{'us':>6} {'thr':>3} {'kept':>9} {'dropped':>9}   beside a spinning thread:"
          f" {'kept':>9} {'dropped':>9}, its turns {'kept':>9} {'dropped':>9}")
    for batch in (1, 16, 32, 64, 128, 256, 512, 1024, 4096):
        x = numpy.ones((batch, 256), numpy.float32)
        alone = min(timed(kept, x) for _ in range(5))
        for threads in options.threads:
            cells = [gil_rate(model, x, threads, options.seconds, spinner)
                     for spinner in (False, True) for model in (kept, dropped)]
            print(f"{1e6 * alone:6.1f} {threads:3} {cells[0][0]:9,.0f} {cells[1][0]:9,.0f}"
                  f"   {'':24} {cells[2][0]:9,.0f} {cells[3][0]:9,.0f}"
                  f"            {cells[2][1]:9,.0f} {cells[3][1]:9,.0f}", flush=True)
    return 0


def timed(model, x, calls=200):
    y = model(x)
    start = time.perf_counter()
    for _ in range(calls):
        model(x, out=y)
    return (time.perf_counter() - start) / calls


# --- one call ------------------------------------------------------------------------

def one_call(options):
    """What a call from one thread costs, in nanoseconds, least of many."""
    import torch

    weft = import_weft()
    model = weft.load(peers.ROOT / "tests/golden/t2_linear/dynamo/model.onnx")
    null = weft.load(peers.ROOT / "tests/golden/t2_linear/dynamo/model.onnx", "null")
    tensor = torch.randn(4, 256)
    x = tensor.numpy()
    y = model(x)
    for name, call in {
            "an empty function": lambda: None,
            "model(x) on the null device": lambda: null(x),
            "model(x, out=y) on the null device": lambda: null(x, out=y),
            "model(x)": lambda: model(x), "model(x=x)": lambda: model(x=x),
            "model(x, out=y)": lambda: model(x, out=y),
            "model(tensor)": lambda: model(tensor),
            "model.submit(x).result()": lambda: model.submit(x).result()}.items():
        least = float("inf")
        for _ in range(int(30 * options.seconds)):
            start = time.perf_counter()
            for _ in range(1000):
                call()
            least = min(least, time.perf_counter() - start)
        print(f"{name:36} {1e6 * least:7.0f} ns", flush=True)
    return 0


def main():
    peers.enter_venv()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=",".join(
        row for row in peers.TARGETS if row != "matmul"), help="names, with commas")
    parser.add_argument("--threads", default="8")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gil", action="store_true")
    parser.add_argument("--calls", action="store_true")
    options = parser.parse_args()
    options.threads = [int(n) for n in options.threads.split(",")]
    options.rows = options.rows.split(",")
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    here = peers.machine()
    print(f"{here['cpu']}, {here['cores']} cores; Python {sys.version.split()[0]}, "
          f"PyTorch {torch.__version__}; calls per second")
    if options.gil:
        return gil(options)
    return one_call(options) if options.calls else rows(options)


if __name__ == "__main__":
    sys.exit(main())

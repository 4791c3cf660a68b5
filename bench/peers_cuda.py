#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times Weft beside PyTorch on an NVIDIA card, on the rows of tables 1 and 2.

    bench/peers_cuda.py                       all rows, 1, 8, 16, 32 and 64 threads
    bench/peers_cuda.py --rows relu,matmul --threads 8 --seconds 1
    bench/peers_cuda.py --precision bf16      PyTorch in bf16, Weft's products in bf16

Every caller is a thread with its own weights and its own input. Inputs start and outputs
end in host memory for all: PyTorch's in pinned memory, which it copies asynchronously;
Weft's in the caller's. "threads" is PyTorch with a stream for each thread and a
synchronisation for each call, "graphs" one CUDA graph for each thread, copies included.
f32 is f32 for all. In bf16 and f16 PyTorch's modules, inputs and outputs are of that type,
half as large; Weft's inputs and outputs stay f32. Needs a Python with PyTorch for CUDA.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
sys.dont_write_bytecode = True

import peers  # noqa: E402

# What Weft must reach at 8 threads: times PyTorch's threads, at least and aimed at.
TARGETS = {
    "matmul": (1, 1),
    "F.linear": (12, 20),
    "softmax": (12, 20),
    "relu": (12, 20),
    "conv1d": (10, 25),
    "layernorm": (10, 25),
    "nn.Linear": (12, 20),
    "MLP (3 layers)": (10, 25),
    "Conv1d (3 layers)": (10, 25),
    "TransformerEncoderLayer": (6, 12),
    "MultiheadAttention": (6, 12),
}
# The same in bf16 and f16.
SHORT_TARGETS = {"TransformerEncoderLayer": (10, 30), "MultiheadAttention": (10, 30)}
PRECISIONS = {"f32": "float32", "tf32": "float32", "bf16": "bfloat16", "f16": "float16"}


class Lane:
    """What one thread owns: module, pinned input and output, stream, graph."""

    def __init__(self, row, thread, precision):
        import torch

        make, shapes = peers.torch_rows()[row]
        dtype = getattr(torch, PRECISIONS[precision])
        torch.manual_seed(thread)
        self.module = make().eval().to(dtype).cuda()
        self.inputs = [torch.randn(*shape).to(dtype).pin_memory() for shape in shapes]
        self.stream = torch.cuda.Stream()
        with torch.inference_mode(), torch.cuda.stream(self.stream):
            self.device_inputs = [x.cuda() for x in self.inputs]
            for _ in range(3):
                result = self.module(*self.device_inputs)
            self.stream.synchronize()
        self.output = torch.empty(result.shape, dtype=dtype).pin_memory()
        self.graph = None

    def eager(self):
        import torch

        with torch.cuda.stream(self.stream):
            inputs = [x.to("cuda", non_blocking=True) for x in self.inputs]
            self.output.copy_(self.module(*inputs), non_blocking=True)
        self.stream.synchronize()

    def capture(self):
        import torch

        self.graph = torch.cuda.CUDAGraph()
        with torch.inference_mode():
            with torch.cuda.graph(self.graph, stream=self.stream,
                                  capture_error_mode="thread_local"):
                for device, host in zip(self.device_inputs, self.inputs):
                    device.copy_(host, non_blocking=True)
                self.output.copy_(self.module(*self.device_inputs), non_blocking=True)

    def replay(self):
        import torch

        with torch.cuda.stream(self.stream):
            self.graph.replay()
        self.stream.synchronize()


def weft_rates(options, row):
    """Threads -> calls per second of one run of the command, which checks answers."""
    names = f"table1/{row}" if row in peers.TABLE_1 else f"table2/{row}"
    report = pathlib.Path("/tmp/weft-peers-cuda.json")
    command = [str(options.weft), "bench", "--device", options.device, "--rows", names,
               "--precision", options.precision,
               "--no-golden", "--threads", ",".join(map(str, options.threads)),
               "--iterations", "4", "--distinct", "1", "--seconds",
               str(options.seconds), "--json", str(report)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{run.stdout}{run.stderr}")
    results = json.loads(report.read_text())["results"]
    return {r["threads"]: r["calls_per_second"] for r in results}


def measure_row(row, options):
    lanes = [Lane(row, thread, options.precision) for thread in range(max(options.threads))]
    for lane in lanes:
        lane.capture()
    samples = {n: {"threads": [], "graphs": [], "weft": []} for n in options.threads}
    for _ in range(options.repeats):
        for n in options.threads:
            own = lanes[:n]
            samples[n]["threads"].append(
                peers.rate([lane.eager for lane in own], options.seconds))
            samples[n]["graphs"].append(
                peers.rate([lane.replay for lane in own], options.seconds))
        for n, rate in weft_rates(options, row).items():
            samples[n]["weft"].append(rate)
    return {n: {side: statistics.median(rates) for side, rates in sides.items()}
            for n, sides in samples.items()}


def print_row(row, rates, precision):
    targets = TARGETS | (SHORT_TARGETS if precision in ("bf16", "f16") else {})
    for n, r in rates.items():
        ratio = r["weft"] / r["threads"]
        at_least, aim = targets[row]
        met = "" if n != 8 else "aim" if ratio >= aim else "yes" if ratio >= at_least else "NO"
        print(f"{row:24} {n:3} {r['threads']:10,.0f} {r['graphs']:10,.0f} "
              f"{r['weft']:10,.0f} {ratio:7.1f} {r['weft'] / r['graphs']:7.1f} {met:>4}",
              flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Times Weft beside PyTorch on a card.")
    parser.add_argument("--rows", default=",".join(TARGETS), help="names, with commas")
    parser.add_argument("--threads", default="1,8,16,32,64")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="f32", choices=PRECISIONS)
    parser.add_argument("--device", default="cuda:0", help="Weft's name of the card")
    parser.add_argument("--weft", default=str(ROOT / "build" / "weft"))
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    options.threads = [int(n) for n in options.threads.split(",")]
    options.rows = options.rows.split(",")
    unknown = [row for row in options.rows if row not in TARGETS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; choose from: {', '.join(TARGETS)}")
    return options


def main():
    options = parse_arguments()
    import torch

    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = options.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = options.precision == "tf32"
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, "
          f"{options.precision}; calls per second\n")
    print(f"{'row':24} {'thr':>3} {'threads':>10} {'graphs':>10} {'Weft':>10} "
          f"{'/thr':>7} {'/graph':>7} {'met':>4}")
    records = {}
    for row in options.rows:
        records[row] = measure_row(row, options)
        print_row(row, records[row], options.precision)
    if options.json:
        options.json.write_text(json.dumps(records, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

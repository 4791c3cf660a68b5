#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times Weft beside PyTorch on an NVIDIA card, on the rows of tables 1, 2 and 4.

    bench/peers_cuda.py                       all rows, 1, 8, 16, 32 and 64 threads
    bench/peers_cuda.py --rows relu,matmul --threads 8 --seconds 1
    bench/peers_cuda.py --precision bf16      PyTorch in bf16, Weft's products in bf16
    bench/peers_cuda.py --markdown rows.md    the tables of docs/performance.md

Every caller is a thread with its own weights and its own input. Inputs start and outputs
end in host memory for all: PyTorch's in pinned memory, which it copies asynchronously;
Weft's in the caller's. "threads" is PyTorch with a stream for each thread and a
synchronisation for each call, "graphs" one CUDA graph for each thread, copies included.
"resident" is PyTorch whose inputs and outputs stay on the card, "kept" one CUDA graph for
each thread of such, and "on card" Weft with such tensors (`weft bench --on-card`); all wait
for the end of each call. "launch" is what the card does without either: one graph of one
empty kernel from each thread and the wait for it (bench/kernels/card_bench). In the mixed
row every other thread has the other model. f32 is f32 for all. In bf16 and f16 PyTorch's modules,
inputs and outputs are of that type. So are Weft's in these rows: the same modules are
exported and run by `weft run`, all threads on one model. "f32 io" is Weft with inputs and
outputs in f32 and only its products in that type (`weft bench --precision`), which is all
that there is of the mixed row and of "on card". "host, card MiB" are what the process of
`weft bench` had most of, with as many models as there are threads, and what of the card
is counted against the device's cap.
Needs a Python with PyTorch for CUDA.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile

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
    "mixed": (8, 20),
}
# The same in bf16 and f16.
SHORT_TARGETS = {"TransformerEncoderLayer": (10, 30), "MultiheadAttention": (10, 30)}
PRECISIONS = {"f32": "float32", "tf32": "float32", "bf16": "bfloat16", "f16": "float16"}


def speech_like():
    from torch import nn

    class Turn(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2)

    return nn.Sequential(nn.Conv1d(80, 256, 5, padding=2), nn.ReLU(),
                         nn.Conv1d(256, 256, 5, padding=2), nn.ReLU(), Turn(),
                         nn.LayerNorm(256), nn.Linear(256, 512), nn.GELU(),
                         nn.Linear(512, 80))


def translation_like():
    from torch import nn

    return nn.Sequential(*[nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
                           for _ in range(2)])


def torch_case(row, thread):
    """What makes the module, and the shapes of its inputs."""
    if row != "mixed":
        return peers.torch_rows()[row]
    return ((speech_like, [(1, 80, 200)]) if thread % 2 == 0
            else (translation_like, [(1, 64, 512)]))


class Lane:
    """What one thread owns: module, pinned input and output, stream, graph."""

    def __init__(self, row, thread, precision):
        import torch

        make, shapes = torch_case(row, thread)
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
        self.graph = self.kept = None

    def eager(self):
        import torch

        with torch.cuda.stream(self.stream):
            inputs = [x.to("cuda", non_blocking=True) for x in self.inputs]
            self.output.copy_(self.module(*inputs), non_blocking=True)
        self.stream.synchronize()

    def resident(self):
        import torch

        with torch.cuda.stream(self.stream):
            self.module(*self.device_inputs)
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
            self.kept = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.kept, stream=self.stream,
                                  capture_error_mode="thread_local"):
                self.result = self.module(*self.device_inputs)

    def replay(self):
        self.launch(self.graph)

    def replay_kept(self):
        self.launch(self.kept)

    def launch(self, graph):
        import torch

        with torch.cuda.stream(self.stream):
            graph.replay()
        self.stream.synchronize()


def weft_rates(options, row, *more):
    """Threads -> what one run of the command, which checks answers, has measured."""
    table = "table4" if row == "mixed" else f"table1/{row}" if row in peers.TABLE_1 \
        else f"table2/{row}"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as words:
        report = pathlib.Path(folder) / "rows.json"
        command = [str(options.weft), "bench", "--device", options.device, "--rows", table,
                   "--precision", options.precision,
                   "--no-golden", "--threads", ",".join(map(str, options.threads)),
                   "--iterations", "4", "--distinct", "1", "--seconds",
                   str(options.weft_seconds), "--json", str(report), *more]
        run = subprocess.Popen(command, stdout=words, stderr=words)
        _, status, used = os.wait4(run.pid, 0)
        words.seek(0)
        if status != 0:
            sys.exit(f"{' '.join(command)} failed:\n{words.read()}")
        told = json.loads(report.read_text())
    memory = (used.ru_maxrss >> 10, told["statistics"]["memory_peak_bytes"] / 2**20)
    results = told["results"]
    return {r["threads"]: {"rate": r["calls_per_second"], "memory": memory,
                           "p50": r["timed"]["p50_ns"], "p99": r["timed"]["p99_ns"],
                           "p999": r["timed"]["p999_ns"],
                           "cpu": 1e9 * r["timed"]["cpu_seconds"] / r["timed"]["calls"]}
            for r in results}


UNITS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def export(row, options, path):
    """Writes the row's module in 16 bits to a file; its inputs' names. Needs onnxscript."""
    import torch

    make, shapes = torch_case(row, 0)
    dtype = getattr(torch, PRECISIONS[options.precision])
    names = [f"x{i}" for i in range(len(shapes))]
    torch.manual_seed(0)
    module = make().eval().to(dtype)
    inputs = tuple(torch.randn(*shape).to(dtype) for shape in shapes)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch.onnx.export(module, inputs, str(path), dynamo=True, external_data=False,
                      verbose=False, input_names=names)
    torch.backends.mha.set_fastpath_enabled(fast)
    return names


def short_rates(options, row):
    """Threads -> what `weft run` measures of the exported module; one answer in all is
    compared with that of the request alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "row.onnx"
        return rates_of_file(options, path, export(row, options, path))


def rates_of_file(options, path, names):
    inputs = [word for name in names for word in ("--input", f"{name}=random")]
    measured = {}

    def run(threads, *more):
        command = [str(options.weft), "run", str(path), "--device", options.device,
                   "--threads", str(threads), *inputs, *more]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        calls = re.search(r"(\d+) calls in ", done.stdout)
        found = re.search(r": ([\d,.]+) calls/s\s+P50 ([\d.]+) (\w+)\s+P99 ([\d.]+) (\w+)"
                          r"\s+P99.9 ([\d.]+) (\w+)", done.stdout)
        rate, *times = found.groups()
        p50, p99, p999 = (float(times[i]) * UNITS[times[i + 1]] for i in (0, 2, 4))
        cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
        return {"rate": float(rate.replace(",", "")), "p50": p50, "p99": p99,
                "p999": p999, "cpu": cpu, "calls": int(calls[1]) if calls else 0}

    run(8, "--iterations", "20", "--check")
    for n in options.threads:
        first = run(n, "--seconds", "0.001")
        measured[n] = run(n, "--seconds", str(options.weft_seconds))
        # Starting, loading and warming up are in both.
        used = max(0.0, measured[n]["cpu"] - first["cpu"])
        measured[n]["cpu"] = 1e9 * used / (measured[n]["calls"] - first["calls"])
    return measured


def raw_rates(options):
    """Threads -> launches and waits per second of the card alone; and the whole report."""
    if not options.card_bench.exists():
        return {}, {}
    run = subprocess.run([str(options.card_bench.resolve())], capture_output=True, text=True,
                         check=False)
    if run.returncode != 0:
        sys.exit(f"{options.card_bench} failed: {run.stderr}")
    report = json.loads(run.stdout)
    return {r["threads"]: r["calls_per_second"] for r in report["launch"]}, report


PYTORCH = ("threads", "graphs", "resident", "kept")


def measure_row(row, options):
    """Threads -> side -> rate; of Weft, the latencies and the host's time too."""
    lanes = [Lane(row, thread, options.precision) for thread in range(max(options.threads))]
    for lane in lanes:
        lane.capture()
    samples = {n: {side: [] for side in PYTORCH + ("weft", "wide", "on card")}
               for n in options.threads}
    for _ in range(options.repeats):
        for n in options.threads:
            for side, call in zip(PYTORCH, ("eager", "replay", "resident",
                                            "replay_kept")):
                calls = [getattr(lane, call) for lane in lanes[:n]]
                samples[n][side].append(peers.rate(calls, options.seconds))
        short = options.precision in ("bf16", "f16")
        wide = weft_rates(options, row)
        there = weft_rates(options, row, "--on-card")
        for n, measured in (short_rates(options, row) if short and row != "mixed"
                            else wide).items():
            samples[n]["weft"].append(measured)
            samples[n]["wide"].append(wide[n]["rate"])
            samples[n]["on card"].append(there[n]["rate"])
    records = {}
    for n, sides in samples.items():
        weft = sorted(sides["weft"], key=lambda m: m["rate"])[len(sides["weft"]) // 2]
        records[n] = {side: statistics.median(sides[side])
                      for side in PYTORCH + ("wide", "on card")}
        records[n]["weft"] = weft
        records[n]["memory"] = wide[n]["memory"]
    return records


def print_row(row, rates, raw, precision):
    targets = TARGETS | (SHORT_TARGETS if precision in ("bf16", "f16") else {})
    for n, r in rates.items():
        weft = r["weft"]
        ratio = weft["rate"] / r["threads"]
        at_least, aim = targets[row]
        met = "" if n != 8 else "aim" if ratio >= aim else "yes" if ratio >= at_least else "NO"
        of_raw = f"{weft['rate'] / raw[n]:6.2f}" if n in raw else f"{'-':>6}"
        print(f"{row:24} {n:3} {r['threads']:8,.0f} {r['graphs']:8,.0f} "
              f"{r['resident']:8,.0f} {r['kept']:8,.0f} {weft['rate']:8,.0f} {ratio:6.1f} "
              f"{weft['rate'] / r['graphs']:6.1f} {of_raw} "
              f"{weft['p50'] / 1e3:7.1f} {weft['p99'] / 1e3:8.1f} "
              f"{weft['p999'] / 1e3:8.1f} {weft['cpu'] / 1e3:6.1f} {met:>4} "
              f"{r['wide']:8,.0f} {r['on card']:8,.0f} "
              f"{r['on card'] / r['resident']:6.1f} {r['on card'] / r['kept']:6.1f}",
              flush=True)


def markdown(records, raw, precision):
    """The rates by threads, and beside them what a caller at 8 threads sees."""
    wanted = TARGETS | (SHORT_TARGETS if precision in ("bf16", "f16") else {})
    lines = ["| row | PyTorch, 8 | graphs, 8 | resident, 8 | kept, 8 | Weft, "
             + " / ".join(map(str, next(iter(records.values())))) + " threads "
             "| x PyTorch at 8 | wanted, aim | of launch, 8 | P50, P99, P99.9 at 8, us "
             "| host us a call | host, card MiB | on card, 8 | x resident | x kept |",
             "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for row, rates in records.items():
        r = rates.get(8) or next(iter(rates.values()))
        weft, n = r["weft"], 8 if 8 in rates else next(iter(rates))
        of_raw = f"{weft['rate'] / raw[n]:.2f}" if n in raw else "-"
        lines.append(
            f"| {row} | {r['threads']:,.0f} | {r['graphs']:,.0f} | {r['resident']:,.0f} "
            f"| {r['kept']:,.0f} "
            f"| {' / '.join(format(x['weft']['rate'], ',.0f') for x in rates.values())} "
            f"| {weft['rate'] / r['threads']:.1f} | {wanted[row][0]}, {wanted[row][1]} "
            f"| {of_raw} | {weft['p50'] / 1e3:.0f}, {weft['p99'] / 1e3:.0f}, "
            f"{weft['p999'] / 1e3:.0f} | {weft['cpu'] / 1e3:.1f} "
            f"| {r['memory'][0]:,}, {r['memory'][1]:,.1f} "
            f"| {r['on card']:,.0f} | {r['on card'] / r['resident']:.1f} "
            f"| {r['on card'] / r['kept']:.1f} |")
    return "\n".join(lines) + "\n"


def parse_arguments():
    parser = argparse.ArgumentParser(description="Times Weft beside PyTorch on a card.")
    parser.add_argument("--rows", default=",".join(TARGETS), help="names, with commas")
    parser.add_argument("--threads", default="1,8,16,32,64")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one measurement")
    parser.add_argument("--weft-seconds", type=float, default=0.5,
                        help="of Weft's, which has more threads to take turns")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="f32", choices=PRECISIONS)
    parser.add_argument("--device", default="cuda:0", help="Weft's name of the card")
    parser.add_argument("--weft", default=str(ROOT / "build" / "weft"))
    parser.add_argument("--card-bench", type=pathlib.Path,
                        default=ROOT / "build" / "bench" / "kernels" / "card_bench")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--markdown", type=pathlib.Path)
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
    raw, report = raw_rates(options)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, "
          f"{options.precision}; calls per second")
    print("launches and waits alone:",
          ", ".join(f"{rate:,.0f} at {n}" for n, rate in raw.items()) or "not measured")
    for kind in ("copies", "all"):
        print(f"{kind}, {report.get('bytes', 0) >> 10} KiB each way:",
              ", ".join(f"{r['calls_per_second']:,.0f} at {r['threads']}"
                        for r in report.get(kind, [])))
    print(f"\n{'row':24} {'thr':>3} {'threads':>8} {'graphs':>8} {'resident':>8} "
          f"{'kept':>8} "
          f"{'Weft':>8} {'/thr':>6} {'/graph':>6} {'/raw':>6} {'P50 us':>7} {'P99 us':>8} "
          f"{'P999 us':>8} {'host us':>6} {'met':>4} {'f32 io':>8} {'on card':>8} "
          f"{'/res.':>6} {'/kept':>6}")
    records = {}
    for row in options.rows:
        records[row] = measure_row(row, options)
        print_row(row, records[row], raw, options.precision)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"\nWeft's largest process had {peak / 1024:,.0f} MiB of the host's memory")
    if options.json:
        options.json.write_text(json.dumps({"card": report, "rows": records}, indent=1))
    if options.markdown:
        options.markdown.write_text(markdown(records, raw, options.precision))
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times Weft beside PyTorch and ONNX Runtime on the rows of tables 1 and 2.

    bench/peers.py                            all rows, 2, 8 and 16 threads
    bench/peers.py --rows relu,matmul --threads 8 --seconds 2
    bench/peers.py --json out.json --markdown out.md
    bench/peers.py --device cuda:0            on a card: bench/peers_cuda.py

Every caller is a thread with its own weights and its own input, made beforehand, and
one thread inside a call: PyTorch with one intra-op thread, ONNX Runtime with one
session for each thread. The three take turns, several times; medians are compared.
PyTorch lives in a virtual environment, $WEFT_VENV or .venv, which is made when it is
missing.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
PACKAGES = ["onnxruntime", "onnx", "onnxscript", "numpy"]


def enter_venv():
    """Goes on inside the virtual environment, which it makes when there is none."""
    venv = pathlib.Path(os.environ.get("WEFT_VENV", ROOT / ".venv"))
    python = venv / "bin" / "python"
    if pathlib.Path(sys.prefix).resolve() == venv.resolve():
        return
    if not python.exists():
        print(f"making {venv} with PyTorch and ONNX Runtime (about 1 GB) ...")
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        try:
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            subprocess.run([*pip, "--index-url", CPU_WHEELS, "torch==2.13.0"], check=True)
            subprocess.run([*pip, *PACKAGES], check=True)
        except subprocess.CalledProcessError:
            sys.exit("bench/peers.py: could not make the environment; on Debian type: "
                     "apt-get install python3-venv")
    os.execv(str(python), [str(python), *sys.argv])


# What Weft must reach at 8 threads: times the better peer, at least and aimed at.
TARGETS = {
    "matmul": (0.97, 1.0),
    "F.linear": (4.5, 5.5),
    "softmax": (6, 10),
    "relu": (6, 15),
    "conv1d": (1.15, 1.3),
    "layernorm": (1.7, 2.5),
    "nn.Linear": (8, 14),
    "MLP (3 layers)": (1.1, 1.25),
    "Conv1d (3 layers)": (1.2, 1.4),
    "TransformerEncoderLayer": (1.05, 1.18),
    "MultiheadAttention": (1.05, 1.18),
}

TABLE_1 = ("matmul", "F.linear", "softmax", "relu", "conv1d", "layernorm")


def torch_rows():
    """Row -> (makes a module, input shapes)."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Matmul(nn.Module):
        def forward(self, x, y):
            return torch.matmul(x, y)

    class Softmax(nn.Module):
        def forward(self, x):
            return F.softmax(x, dim=-1)

    class SelfAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(256, 4, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    def mlp():
        return nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512),
                             nn.ReLU(), nn.Linear(512, 256))

    def convolutions():
        return nn.Sequential(nn.Conv1d(1, 64, 3, padding=1), nn.ReLU(),
                             nn.Conv1d(64, 64, 3, padding=1), nn.ReLU(),
                             nn.Conv1d(64, 1, 3, padding=1))

    def encoder():
        return nn.TransformerEncoderLayer(256, 4, 2048, batch_first=True)

    return {
        "matmul": (Matmul, [(256, 256), (256, 256)]),
        "F.linear": (lambda: nn.Linear(64, 128), [(32, 64)]),
        "softmax": (Softmax, [(32, 256)]),
        "relu": (nn.ReLU, [(32, 256)]),
        "conv1d": (lambda: nn.Conv1d(64, 64, 3, padding=1), [(4, 64, 128)]),
        "layernorm": (lambda: nn.LayerNorm(256), [(4, 128, 256)]),
        "nn.Linear": (lambda: nn.Linear(256, 128), [(4, 256)]),
        "MLP (3 layers)": (mlp, [(4, 256)]),
        "Conv1d (3 layers)": (convolutions, [(4, 1, 1024)]),
        "TransformerEncoderLayer": (encoder, [(4, 32, 256)]),
        "MultiheadAttention": (SelfAttention, [(4, 128, 256)]),
    }


def torch_calls(row, threads):
    """One callable for each thread."""
    import torch

    make, shapes = torch_rows()[row]
    calls = []
    for thread in range(threads):
        torch.manual_seed(thread)
        module = make().eval()
        inputs = [torch.randn(*shape) for shape in shapes]
        calls.append(lambda module=module, inputs=inputs: module(*inputs))
    return calls


def export(row):
    """The row as an ONNX model; weights are replaced for each thread later."""
    import logging
    import warnings

    import onnx
    import torch

    logging.disable(logging.WARNING)  # the exporter tells of packages it can do without

    make, shapes = torch_rows()[row]
    inputs = tuple(torch.randn(*shape) for shape in shapes)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = os.path.join(folder, "model.onnx")
        torch.onnx.export(make().eval(), inputs, path, dynamo=True, verbose=False)
        return onnx.load(path)


def onnxruntime_calls(model, threads):
    import numpy
    import onnx
    import onnxruntime

    calls = []
    for thread in range(threads):
        numbers = numpy.random.default_rng(thread)
        own = onnx.ModelProto()
        own.CopyFrom(model)
        for weight in own.graph.initializer:
            values = onnx.numpy_helper.to_array(weight)
            if values.dtype == numpy.float32 and values.size >= 16:
                scale = 1 / numpy.sqrt(values.shape[-1])
                fresh = numbers.uniform(-scale, scale, values.shape)
                weight.CopyFrom(onnx.numpy_helper.from_array(
                    fresh.astype(numpy.float32), weight.name))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            own.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feed = {
            value.name: numbers.standard_normal(value.shape).astype(numpy.float32)
            for value in session.get_inputs()
        }
        calls.append(lambda session=session, feed=feed: session.run(None, feed))
    return calls


def rate(calls, seconds):
    """Calls per second of all threads together, started at the same time."""
    import torch

    counts = [0] * len(calls)
    ends = [0.0] * len(calls)
    barrier = threading.Barrier(len(calls) + 1)

    def caller(index):
        call = calls[index]
        with torch.inference_mode():
            call()
            barrier.wait()
            deadline = time.perf_counter() + seconds
            done = 0
            while time.perf_counter() < deadline:
                call()
                done += 1
        counts[index] = done
        ends[index] = time.perf_counter()

    workers = [threading.Thread(target=caller, args=(i,)) for i in range(len(calls))]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return sum(counts) / (max(ends) - start)


def weft_results(weft, row, threads, seconds):
    """Threads -> the result of one run of the command, which also checks answers."""
    names = f"table1/{row}" if row in TABLE_1 else f"table2/{row}"
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [str(weft), "bench", "--rows", names, "--no-golden",
                   "--threads", ",".join(map(str, threads)), "--iterations", "4",
                   "--distinct", "1", "--seconds", str(seconds), "--json", file.name]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"bench/peers.py: {' '.join(command)} failed:\n{run.stdout}"
                     f"{run.stderr}")
        report = json.loads(pathlib.Path(file.name).read_text())
    return {r["threads"]: r for r in report["results"]}


def measure_row(row, options):
    """Takes turns; returns one record for each number of threads."""
    model = export(row)
    most = max(options.threads)
    sides = {
        "pytorch": torch_calls(row, most),
        "onnxruntime": onnxruntime_calls(model, most),
    }
    samples = {side: {n: [] for n in options.threads}
               for side in ("pytorch", "onnxruntime", "weft")}
    gflops_per_call = 0.0
    for _ in range(options.repeats):
        for side, calls in sides.items():
            for count in options.threads:
                samples[side][count].append(rate(calls[:count], options.seconds))
        results = weft_results(options.weft, row, options.threads, options.seconds)
        for count, result in results.items():
            samples["weft"][count].append(result["calls_per_second"])
            gflops_per_call = result["gflops"] / result["calls_per_second"]
    records = []
    for count in options.threads:
        record = {"row": row, "threads": count}
        for side, by_count in samples.items():
            record[side] = statistics.median(by_count[count])
        record["ratio"] = record["weft"] / max(record["pytorch"], record["onnxruntime"])
        record["at_least"], record["aim"] = TARGETS[row]
        record["gflops"] = record["weft"] * gflops_per_call
        records.append(record)
    return records


def verdict(record):
    if record["threads"] != 8:
        return ""
    if record["ratio"] >= record["aim"]:
        return "aim"
    return "yes" if record["ratio"] >= record["at_least"] else "NO"


def print_record(record, limit):
    fraction = f"{record['gflops'] / limit:5.0%}" if record["gflops"] > 0 else "    -"
    print(f"{record['row']:24} {record['threads']:3} {record['pytorch']:10,.0f} "
          f"{record['onnxruntime']:10,.0f} {record['weft']:10,.0f} "
          f"{record['ratio']:7.2f} {record['at_least']:7.2f} {record['aim']:6.2f} "
          f"{verdict(record):>4} {fraction}", flush=True)


def markdown(records, limit, options):
    lines = [
        "| row | threads | PyTorch | ONNX Runtime | Weft | x the better | at least | aim"
        " | reached | of the limit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in records:
        fraction = f"{r['gflops'] / limit:.0%}" if r["gflops"] > 0 else "-"
        lines.append(
            f"| {r['row']} | {r['threads']} | {r['pytorch']:,.0f} | "
            f"{r['onnxruntime']:,.0f} | {r['weft']:,.0f} | {r['ratio']:.2f} | "
            f"{r['at_least']:g} | {r['aim']:g} | {verdict(r)} | {fraction} |")
    lines.append("")
    lines.append(f"Calls per second; medians of {options.repeats} turns of "
                 f"{options.seconds:g} s. Limit: {limit:.0f} GFLOP/s.")
    return "\n".join(lines) + "\n"


def best_core_gflops():
    """The rate of the library's own best case on one core: large square products."""
    import torch

    best = 0.0
    for size in (512, 1024):
        x = torch.randn(size, size)
        for _ in range(10):
            start = time.perf_counter()
            torch.matmul(x, x)
            took = time.perf_counter() - start
            best = max(best, 2e-9 * size**3 / took)
    return best


def machine():
    model = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "cores": len(os.sched_getaffinity(0))}


def versions():
    import onnxruntime
    import torch

    return {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}


def parse_arguments():
    parser = argparse.ArgumentParser(
        description="Times Weft beside PyTorch and ONNX Runtime.")
    parser.add_argument("--rows", default=",".join(TARGETS), help="names, with commas")
    parser.add_argument("--threads", default="2,8,16")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu",
                        help="cuda:0 and the like go to bench/peers_cuda.py")
    parser.add_argument("--weft", default=str(ROOT / "build" / "weft"))
    parser.add_argument("--core-gflops", type=float,
                        help="the limit of one core (default: PyTorch's best product)")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--markdown", type=pathlib.Path)
    options = parser.parse_args()
    options.threads = [int(n) for n in options.threads.split(",")]
    options.rows = options.rows.split(",")
    unknown = [row for row in options.rows if row not in TARGETS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; choose from: {', '.join(TARGETS)}")
    if not pathlib.Path(options.weft).exists():
        parser.error(f"{options.weft} is missing; type: make build")
    return options


def go_to_card():
    """With --device cuda:0 or the like, bench/peers_cuda.py does the rest."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_known_args()[0].device
    if device != "cpu":
        os.execv(sys.executable, [sys.executable, str(ROOT / "bench" / "peers_cuda.py"),
                                  *sys.argv[1:]])


def main():
    go_to_card()
    enter_venv()
    options = parse_arguments()
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    here = machine()
    core_gflops = options.core_gflops or best_core_gflops()
    limit = here["cores"] * core_gflops
    print(f"{here['cpu']}, {here['cores']} cores; PyTorch {versions()['torch']}, "
          f"ONNX Runtime {versions()['onnxruntime']}; calls per second; "
          f"limit {limit:.0f} GFLOP/s\n")
    print(f"{'row':24} {'thr':>3} {'PyTorch':>10} {'ORT':>10} {'Weft':>10} "
          f"{'ratio':>7} {'least':>7} {'aim':>6} {'met':>4} limit")
    records = []
    for row in options.rows:
        for record in measure_row(row, options):
            records.append(record)
            print_record(record, limit)
    if options.json:
        options.json.write_text(json.dumps(
            {"machine": here, "versions": versions(), "limit_gflops": limit,
             "records": records}, indent=1))
    if options.markdown:
        options.markdown.write_text(markdown(records, limit, options))
    short = [r["row"] for r in records if verdict(r) == "NO"]
    if short:
        print(f"\nshort of the target at 8 threads: {', '.join(short)}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())

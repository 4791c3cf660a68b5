#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How many runs are on an NVIDIA card at the same time, by what the card's events say.

    bench/card_overlap.py                        rows of tables 1 and 2; 1, 8, 16 threads
    bench/card_overlap.py --rows relu,matmul --threads 8 --seconds 1
    bench/card_overlap.py --trace trace.json     of a trace that is there already

Runs the recorded models of the rows by `weft run --profile`, all threads on one model,
and adds up the spans that stand for runs on the card: from the event before the kernels
of a run to the one behind. "at once" is the sum of the spans by the time in which there
is one: 1 is one after the other. "busy" is the part of the time in which there is one.
The first third of a trace is left out. Two events for each run cost time: rates are
below those of `weft bench`. Needs no PyTorch.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Row -> its recorded model, and the sizes that the row has.
ROWS = {"matmul": ("t1_matmul", ()), "F.linear": ("t1_linear", ()),
        "softmax": ("t1_softmax", ()), "relu": ("t1_relu", ()),
        "conv1d": ("t1_conv1d", ("batch=4", "length=128")),
        "layernorm": ("t2_layernorm", ()), "nn.Linear": ("t2_linear", ("batch=4",)),
        "MLP (3 layers)": ("t2_mlp", ("batch=4",)),
        "Conv1d (3 layers)": ("t2_conv1d_x3", ()),
        "TransformerEncoderLayer": ("t2_encoder", ()),
        "MultiheadAttention": ("t2_attention", ())}


def overlap(spans):
    """(begin, end) of each -> at once, busy, mean length, spans per second."""
    first, last = min(b for b, _ in spans), max(e for _, e in spans)
    begin = first + (last - first) / 3
    cut = sorted((max(b, begin), e) for b, e in spans if e > begin)
    union, reached = 0.0, begin
    for b, e in cut:
        union += max(0.0, e - max(b, reached))
        reached = max(reached, e)
    whole = last - begin
    lengths = [e - b for b, e in spans if b >= begin]
    return (sum(e - b for b, e in cut) / union, union / whole,
            sum(lengths) / max(1, len(lengths)), 1e6 * len(lengths) / whole)


def spans_of(trace):
    events = json.loads(pathlib.Path(trace).read_text())["traceEvents"]
    spans = [(e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") == "card"]
    if len(spans) < 3:
        sys.exit(f"{trace} has {len(spans)} runs on a card, too few")
    return spans


def run(options, row, threads):
    folder, sizes = ROWS[row]
    model = str(options.golden / folder / "dynamo" / "model.onnx")
    names = ("a", "b") if row == "matmul" else ("x",)
    words = [word for name in names for word in ("--input", f"{name}=random")]
    words += [word for size in sizes for word in ("--dim", size)]
    with tempfile.TemporaryDirectory() as place:
        trace = pathlib.Path(place) / "trace.json"
        command = [options.weft, "run", model, "--device", options.device, "--threads",
                   str(threads), *words, "--seconds",
                   str(options.seconds), "--profile", str(trace), "--profile-events",
                   "4000000"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return overlap(spans_of(trace))


def parse_arguments():
    parser = argparse.ArgumentParser(description="Runs that are on a card at once.")
    parser.add_argument("--rows", default=",".join(ROWS), help="names, with commas")
    parser.add_argument("--threads", default="1,8,16")
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--trace", help="of `weft run --profile`")
    parser.add_argument("--weft", default=str(ROOT / "build" / "weft"))
    parser.add_argument("--golden", type=pathlib.Path, default=ROOT / "tests" / "golden")
    options = parser.parse_args()
    unknown = [row for row in options.rows.split(",") if row not in ROWS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; choose from: {', '.join(ROWS)}")
    return options


def main():
    options = parse_arguments()
    if options.trace:
        print("at once {:.2f}, busy {:.2f}, a run {:.1f} us, {:,.0f} a second".format(
            *overlap(spans_of(options.trace))))
        return 0
    print("| row | threads | at once | busy | a run on the card, us | runs a second |")
    print("|---|---|---|---|---|---|")
    for row in options.rows.split(","):
        for threads in options.threads.split(","):
            at_once, busy, length, rate = run(options, row, int(threads))
            print(f"| {row} | {threads} | {at_once:.2f} | {busy:.2f} | {length:.1f} "
                  f"| {rate:,.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

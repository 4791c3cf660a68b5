#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exports the acceptance rows and a few neighbours from PyTorch to ONNX files.

A user of Weft never needs this. It made tests/golden/ and makes it again:

    python3 -m venv .venv
    .venv/bin/pip install --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
    .venv/bin/pip install onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
    .venv/bin/python tools/export_models.py            # what is committed
    .venv/bin/python tools/export_models.py --all --output /tmp/golden
                                                       # every row at full size

Each row becomes ROW/EXPORTER/model.onnx (and model.onnx.data), with the inputs and
PyTorch's outputs in ROW/case_N/. EXPORTER is dynamo (the present exporter at its
default opset), dynamo23 (opset 23) or script17 (the older exporter at opset 17).
index.json says what belongs together and how near the answers must be; "refused" are
exports with an operator that Weft lacks.
"""

import argparse
import contextlib
import json
import logging
import pathlib
import shutil
import sys
import warnings

import numpy as np
import onnx
import torch
from torch import nn

import export_neighbours  # noqa: F401 (adds its rows)
from export_rows import Row, all_rows

EXPORTERS = {
    "dynamo": {},
    "dynamo23": {"opset_version": 23},
    "script17": {"dynamo": False, "opset_version": 17},
}


class Only(nn.Module):
    """Hides the optional arguments of a module: the older exporter would turn their
    defaults into inputs."""

    def __init__(self, module, count):
        super().__init__()
        self.module = module
        self.count = count

    def forward(self, *inputs):
        return self.module(*inputs[: self.count])


def clean_text(text: str) -> str:
    """Removes where this machine keeps its files from a recorded stack trace."""
    here = str(pathlib.Path(__file__).resolve().parent.parent)
    packages = str(pathlib.Path(torch.__file__).resolve().parent.parent)
    library = str(pathlib.Path(json.__file__).resolve().parent.parent)
    for path, name in ((here, "."), (packages, "site-packages"), (library, "python")):
        text = text.replace(path, name)
    return text


def clean_model(path: pathlib.Path, keep_traces: bool) -> onnx.ModelProto:
    """Takes machine paths (and, unless kept, all traces) out of the file."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    things = [model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output,
              *graph.initializer]
    for thing in things:
        if thing.doc_string:
            thing.doc_string = clean_text(thing.doc_string) if keep_traces else ""
        if not keep_traces:
            del thing.metadata_props[:]
        for entry in thing.metadata_props:
            entry.value = clean_text(entry.value)
    path.write_bytes(model.SerializeToString())
    return model


def export(row: Row, exporter: str, folder: pathlib.Path) -> onnx.ModelProto:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    options = dict(EXPORTERS[exporter])
    module = row.module
    if exporter.startswith("dynamo"):
        if row.dynamic:
            options["dynamic_shapes"] = tuple(row.dynamic.get(name) for name in row.inputs)
    else:
        module = Only(module, len(row.inputs)).eval()
        if row.dynamic:
            options["dynamic_axes"] = dict(row.dynamic)
    args = tuple(torch.from_numpy(row.cases[0][name]) for name in row.inputs)
    with torch.no_grad():
        torch.onnx.export(module, args, str(path), input_names=list(row.inputs),
                          output_names=list(row.outputs), **options)
    return clean_model(path, row.keep_traces)


def run_case(row: Row, case: dict) -> list[np.ndarray]:
    with torch.no_grad():
        result = row.module(*(torch.from_numpy(case[name]) for name in row.inputs))
    if isinstance(result, torch.Tensor):
        result = (result,)
    assert len(result) == len(row.outputs), row.name
    return [np.ascontiguousarray(value.numpy()) for value in result]


def save_cases(row: Row, folder: pathlib.Path) -> list[dict]:
    cases = []
    for number, case in enumerate(row.cases if row.record else []):
        place = folder / f"case_{number}"
        place.mkdir(parents=True)
        entry = {"inputs": [], "outputs": []}
        for index, name in enumerate(row.inputs):
            file = place / f"input_{index}.npy"
            np.save(file, case[name])
            entry["inputs"].append({"name": name, "file": f"{row.name}/{place.name}/{file.name}"})
        for index, value in enumerate(run_case(row, case)):
            file = place / f"output_{index}.npy"
            np.save(file, value)
            entry["outputs"].append({"name": row.outputs[index],
                                     "file": f"{row.name}/{place.name}/{file.name}"})
        cases.append(entry)
    return cases


def export_row(row: Row, output: pathlib.Path) -> dict:
    folder = output / row.name
    shutil.rmtree(folder, ignore_errors=True)
    models, refused = [], []
    for exporter in row.exporters:
        model = export(row, exporter, folder / exporter)
        opset = next(o.version for o in model.opset_import if o.domain == "")
        fixed = row.script_fixed and exporter == "script17"
        entry = {"exporter": exporter, "opset": opset,
                 "file": f"{row.name}/{exporter}/model.onnx"}
        if exporter in row.unsupported:
            refused.append(entry | {"operator": row.unsupported[exporter]})
        else:
            models.append(entry | {
                "case_count": 1 if fixed else len(row.cases) * row.record})
    return {
        "row": row.name,
        "describes": row.describes,
        "full_size": row.full_size,
        "rtol": 1e-4 * row.scale,
        "atol": 1e-4 * row.scale,
        "models": models,
        "refused": refused,
        "cases": save_cases(row, folder),
    }


@contextlib.contextmanager
def quiet():
    warnings.filterwarnings("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)
    torch.set_num_threads(1)
    yield


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=root / "tests" / "golden")
    parser.add_argument("--all", action="store_true", help="also rows too large to commit")
    parser.add_argument("--rows", nargs="*", default=[], help="only these rows")
    arguments = parser.parse_args()
    index_file = arguments.output / "index.json"
    index = {}
    if index_file.exists():
        index = {entry["row"]: entry for entry in json.loads(index_file.read_text())["rows"]}
    with quiet():
        for make in all_rows():
            row = make(arguments.all)
            if row is None or (arguments.rows and row.name not in arguments.rows):
                continue
            print(row.name, file=sys.stderr)
            index[row.name] = export_row(row, arguments.output)
    rows = [index[name] for name in sorted(index)]
    index_file.write_text(json.dumps({"pytorch": torch.__version__, "rows": rows}, indent=1) + "\n")
    total = sum(f.stat().st_size for f in arguments.output.rglob("*") if f.is_file())
    print(f"{len(rows)} rows, {total / 1e6:.1f} MB in {arguments.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

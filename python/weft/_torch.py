# SPDX-License-Identifier: Apache-2.0
"""From a PyTorch module to a model. PyTorch is imported by the first call."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from typing import Any, Mapping, Sequence

from . import _model


def compile(module: Any, example_inputs: Any, *, dynamic: Mapping[str, Any] | None = None,
            device: Any = "cpu", export: Mapping[str, Any] | None = None,
            **load: Any) -> _model.Model:
    """Exports a PyTorch module by torch.onnx and loads the result.

    module          a torch.nn.Module; it is exported in eval mode, and left as it was
    example_inputs  a tensor, or a tuple of tensors, as forward() takes them
    dynamic         dimensions that may vary, by input name: {"x": {0: "batch"}}; the
                    names are those of forward()'s parameters
    export          further arguments of torch.onnx.export, such as opset_version
    load            the arguments of weft.load

    The model is called as the module was, with tensors, and returns tensors. The weights
    are copied: training the module later does not change the model. Needs the packages
    torch and onnxscript."""
    import torch

    examples = (example_inputs,) if isinstance(example_inputs, torch.Tensor) \
        else tuple(example_inputs)
    arguments = {"dynamo": True, "verbose": False, **(export or {})}
    if dynamic:
        arguments["dynamic_shapes"] = _torch_dimensions(torch, dynamic)
    was_training = module.training
    with tempfile.TemporaryDirectory(prefix="weft-") as folder:
        path = os.path.join(folder, "model.onnx")
        try:
            with _quiet():
                torch.onnx.export(module.eval(), examples, path, **arguments)
        finally:
            module.train(was_training)
        # External weights are mapped: on Linux they outlive the folder's entry.
        return _model.load(path, device, **load)


def _torch_dimensions(torch: Any, dynamic: Mapping[str, Any]) -> dict[str, Any]:
    """Equal names become one dimension of torch.export."""
    made: dict[str, Any] = {}

    def dimension(name):
        if isinstance(name, str) and name not in made:
            made[name] = torch.export.Dim(name)
        return made[name] if isinstance(name, str) else name

    def of_input(shape):
        if isinstance(shape, Mapping):
            return {axis: dimension(name) for axis, name in shape.items()}
        if isinstance(shape, Sequence) and not isinstance(shape, str):
            return [dimension(name) for name in shape]
        return shape

    return {name: of_input(shape) for name, shape in dynamic.items()}


@contextlib.contextmanager
def _quiet():
    """The exporter tells of packages that it can do without."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)

# SPDX-License-Identifier: Apache-2.0
"""From a PyTorch module to a model. PyTorch is imported by the first call."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import re
import tempfile
import warnings
from typing import Any, Callable, Iterator, Mapping, Sequence

from . import _errors, _model


def compile(module: Any, example_inputs: Any, *, dynamic: Mapping[str, Any] | None = None,
            example_kwargs: Mapping[str, Any] | None = None, device: Any = "cpu",
            export: Mapping[str, Any] | None = None, **load: Any) -> _model.Model:
    """Exports a PyTorch module by torch.onnx and loads the result.

    module          a torch.nn.Module; it is exported in eval mode, and left as it was
    example_inputs  a tensor, or a tuple of tensors, as forward() takes them; numbers and
                    None in it become a part of the model
    dynamic         dimensions that may vary, by input name: {"x": {0: "batch"}}; the
                    names are those of forward()'s parameters
    example_kwargs  what forward() takes by name only
    export          further arguments of torch.onnx.export, such as opset_version
    load            the arguments of weft.load

    The model is called as the module was, with tensors, and returns what the module did:
    a tensor, weft.Outputs for a tuple of tensors, and for anything else (a dict, a tuple
    in a tuple, a None among tensors) the same. A dict or list of tensors among the inputs
    is given as its tensors, by place or by the names that model.inputs tells.

    What cannot be exported raises weft.Error with the exporter's reason and its own
    exception as the cause. The weights are copied: training the module later does not
    change the model. Needs the packages torch and onnxscript."""
    import torch

    examples = example_inputs if isinstance(example_inputs, (tuple, list)) \
        else (example_inputs,)
    _check(torch, module, examples, dynamic)
    arguments = {"dynamo": True, "verbose": False, **(export or {})}
    if example_kwargs:
        arguments["kwargs"] = dict(example_kwargs)
    if dynamic:
        arguments["dynamic_shapes"] = _torch_dimensions(torch, dynamic)
    with tempfile.TemporaryDirectory(prefix="weft-") as folder:
        path = os.path.join(folder, "model.onnx")
        program = _export(torch, module, tuple(examples), path, arguments)
        # External weights are mapped: on Linux they outlive the folder's entry.
        model = _model.load(path, device, _make_result=_result_maker(torch, program),
                            **load)
    _warn_of_fixed(model, dynamic or {})
    return model


def _check(torch: Any, module: Any, examples: Sequence[Any],
           dynamic: Mapping[str, Any] | None) -> None:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"weft.compile wants a torch.nn.Module, not a "
                        f"{type(module).__name__}; give a function a class whose "
                        f"forward() it is")
    for i, example in enumerate(examples):
        if type(example).__module__ == "numpy":
            raise TypeError(f"example input {i} is a numpy.{type(example).__name__}; "
                            f"give a tensor, for example by torch.from_numpy()")
    parameters = inspect.signature(module.forward).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in dynamic or ():
        if name not in parameters and not takes_any:
            raise _errors.make(_errors.Status.INVALID_ARGUMENT,
                               f"dynamic names an input '{name}', and forward() takes "
                               f"{', '.join(parameters) or 'none'}")


def _torch_dimensions(torch: Any, dynamic: Mapping[str, Any]) -> dict[str, Any]:
    """Equal names become one dimension of torch.export."""
    made: dict[str, Any] = {}

    def dimension(name: Any) -> Any:
        if isinstance(name, str) and name not in made:
            made[name] = torch.export.Dim(name)
        return made[name] if isinstance(name, str) else name

    def of_input(shape: Any) -> Any:
        if isinstance(shape, Mapping):
            return {axis: dimension(name) for axis, name in shape.items()}
        if isinstance(shape, Sequence) and not isinstance(shape, str):
            return [dimension(name) for name in shape]
        return shape

    return {name: of_input(shape) for name, shape in dynamic.items()}


# --- exporting -----------------------------------------------------------------------

def _export(torch: Any, module: Any, examples: tuple[Any, ...], path: str,
            arguments: Mapping[str, Any]) -> Any:
    if examples and isinstance(examples[-1], dict):
        examples += ({},)  # the exporter takes a dict at the end for named arguments
    was_training = module.training
    try:
        with _quiet():
            return torch.onnx.export(module.eval(), examples, path, **arguments)
    except Exception as error:
        if isinstance(error, ImportError) or not type(error).__module__.startswith("torch"):
            raise
        raise _errors.make(_errors.Status.INVALID_MODEL,
                           f"PyTorch cannot export this {type(module).__name__}: "
                           f"{_reason(error)}") from error
    finally:
        module.train(was_training)


def _reason(error: BaseException) -> str:
    """What the exception began with, in a line: the exporter's own says which of its
    steps failed, and how to report it."""
    seen = {id(error)}
    while True:
        earlier = error.__cause__ or (None if error.__suppress_context__
                                      else error.__context__)
        if earlier is None or id(earlier) in seen:
            break
        seen.add(id(earlier))
        error = earlier
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return f"{line or type(error).__name__} ({type(error).__name__})"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of packages that it can do without, and of failed tries."""
    loggers = [(logger, logger.level) for logger in map(logging.getLogger, (
        "torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "onnxscript",
        "onnx_ir"))]
    for logger, _ in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), \
                contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in loggers:
            logger.setLevel(level)


# --- what comes back -------------------------------------------------------------------

def _result_maker(torch: Any, program: Any) -> Callable[[tuple[Any, ...]], Any] | None:
    """What makes the module's own result of the outputs; None where that is a tensor or a
    tuple of tensors."""
    exported = getattr(program, "exported_program", None)
    if exported is None:  # another exporter
        return None
    import torch.utils._pytree as pytree

    shape = exported.call_spec.out_spec
    leaves = [output.arg for output in exported.graph_signature.output_specs
              if output.kind.name == "USER_OUTPUT"]
    constants = {i: leaf.value for i, leaf in enumerate(leaves) if hasattr(leaf, "value")}
    if shape is None or shape.num_leaves != len(leaves):
        return None
    several = len(leaves) > 1 and shape == pytree.tree_structure((0,) * len(leaves))
    if not constants and (several or shape == pytree.tree_structure(0)):
        return None

    def make(outputs: tuple[Any, ...]) -> Any:
        rest = iter(outputs)
        return pytree.tree_unflatten([constants[i] if i in constants else next(rest)
                                      for i in range(len(leaves))], shape)

    return make


def _warn_of_fixed(model: _model.Model, dynamic: Mapping[str, Any]) -> None:
    shapes = {value.name: value.shape or () for value in model.inputs}
    for name, sizes in dynamic.items():
        axes = sizes if isinstance(sizes, Mapping) else dict(enumerate(
            sizes if isinstance(sizes, Sequence) else ()))
        for axis, size in axes.items():
            if isinstance(size, str) and isinstance(axis, int) and \
                    -len(shapes.get(name, ())) <= axis < len(shapes.get(name, ())) and \
                    isinstance(shapes[name][axis], int):
                warnings.warn(f"dimension '{size}' of input '{name}' may not vary: the "
                              f"module fixes it at {shapes[name][axis]}", stacklevel=3)

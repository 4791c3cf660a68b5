# SPDX-License-Identifier: Apache-2.0
"""Models: an ONNX graph made ready on a device."""

from __future__ import annotations

import os
from typing import Any, Callable, Mapping, NamedTuple

from . import _buckets, _device, _weft

#: Runs measured to be shorter than this keep the GIL; see docs/python.md.
DEFAULT_GIL_THRESHOLD_US = 10.0

_NUMPY_NAMES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16",
                "i64": "int64", "i32": "int32", "i8": "int8", "u8": "uint8",
                "bool": "bool"}


class Value(NamedTuple):
    """An input or output of a model.

    shape has an int for a fixed dimension, a str for a named one (equal names mean equal
    sizes) and None for one that may be anything; it is None when the rank is not known
    before a run."""

    name: str
    dtype: str  # as numpy says it: "float32"
    shape: tuple[int | str | None, ...] | None


class Outputs(tuple[Any, ...]):
    """Several outputs: a tuple in the model's order, and by name, outputs["logits"] or
    outputs.logits."""

    __slots__ = ()
    names: tuple[str, ...] = ()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            try:
                return tuple.__getitem__(self, self.names.index(key))
            except ValueError:
                raise KeyError(key) from None
        return tuple.__getitem__(self, key)

    def __getattr__(self, name: str) -> Any:
        try:
            return tuple.__getitem__(self, type(self).names.index(name))
        except ValueError:
            raise AttributeError(name) from None

    def asdict(self) -> dict[str, Any]:
        """The outputs by name, in the model's order."""
        return dict(zip(self.names, self))

    def __repr__(self) -> str:
        return f"Outputs({', '.join(f'{n}={v!r}' for n, v in zip(self.names, self))})"


def make_outputs(names: tuple[str, ...]) -> type[Outputs]:
    """The class of one model's outputs; the compiled part calls it."""
    return type("Outputs", (Outputs,), {"__slots__": (), "names": names,
                                        "__module__": "weft"})


def _values(described: Any) -> tuple[Value, ...]:
    return tuple(Value(name, _NUMPY_NAMES[kind], shape)
                 for name, kind, shape in described)


class Model(_weft.Model):
    """A model made ready on a device; weft.load makes one. Call it from any number of
    threads at once:

        y = model(x)                 inputs in the model's order,
        y = model(x=x, mask=mask)    by name,
        y = model({"x": x})          or by names that are no identifiers
        model(x, out=y)              writes into y, and returns it

    Inputs are numpy arrays, other buffers, or DLPack tensors such as PyTorch's, of the
    type that the model says; another type is an error that names the input. They may be
    read-only. What is not dense is copied, everything else is read in place: as long as
    a call or request lasts, no thread may write to its inputs, use its out, or give
    either other memory (resize_ or set_ of a tensor, resize(refcheck=False) of an
    array).

    One output comes back as an array, several as Outputs, a tuple with names. They are
    numpy arrays, or tensors of PyTorch when the first input is one.

    out is an array for one output; a sequence, or a dict by name, for several, where None
    or a missing name asks for a new array. It must be writable, dense and of the right
    type and shape."""

    # Those of the class below cannot have slots: weak references and attributes are worth
    # more than a few bytes of a model.

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The inputs in order."""
        return _values(self._describe()[0])

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The outputs in order."""
        return _values(self._describe()[1])

    def __repr__(self) -> str:
        def text(values: tuple[Value, ...]) -> str:
            return ", ".join(f"{v.name}: {v.dtype}"
                             f"{list(v.shape) if v.shape is not None else '[...]'}"
                             for v in values)
        return f"<weft.Model ({text(self.inputs)}) -> ({text(self.outputs)})>"


def load(source: str | os.PathLike[str] | bytes | bytearray | memoryview,
         device: str | _device.Device = "cpu", *,
         data_directory: str | os.PathLike[str] | None = None,
         weights: Mapping[str, Any] | None = None, fusion: bool = True,
         max_plans: int = 0, max_plan_bytes: int = 0,
         gil_threshold_us: float = DEFAULT_GIL_THRESHOLD_US,
         buckets: Mapping[str, _buckets.Bucket] | None = None,
         precision: str = "f32",
         _make_result: Callable[[tuple[Any, ...]], Any] | None = None) -> Model:
    """Loads an ONNX model and makes it ready on a device.

    source            a path, or the bytes of a model
    device            a name ("cpu", "cuda:0"), which all who give it share, or a Device
    data_directory    folder that external weights must stay inside; None: the file's own
    weights           arrays that replace weights of the same name, type and shape
    fusion            False: one kernel per operator
    max_plans         most sets of input shapes kept ready; 0: 1024
    max_plan_bytes    most memory for them, weights not counted; 0: 256 MiB
    gil_threshold_us  runs measured to be shorter than this keep the GIL, longer ones let
                      other Python threads go on; 0: let go always, inf: never
    buckets           dimensions whose sizes are rounded up, by name, so that one plan
                      serves many: {"sequence": weft.Bucket([16, 32, 64], mask="mask")}
    precision         of matrix products: "f32", or on a CUDA card "tf32", "bf16", "f16"
    """
    return Model(_device.find(device), source, data_directory=data_directory,
                 weights=dict(weights) if weights is not None else None, fusion=fusion,
                 max_plans=max_plans, max_plan_bytes=max_plan_bytes,
                 gil_threshold_us=gil_threshold_us,
                 buckets=_buckets.flatten(buckets), precision=precision,
                 make_result=_make_result)

# SPDX-License-Identifier: Apache-2.0
"""Weft runs neural networks from many threads of one process on one device at the same
time, and gives every caller exactly the bits it would have got alone.

    import weft

    model = weft.load("model.onnx")
    y = model(x=array)                      # from any thread, as many at once as you like
    future = model.submit(x=array)          # runs on the device's workers
    y = future.result(timeout=1.0)          # or: y = await future

    with weft.Queue(model, max_batch_size=32) as queue:
        y = queue.run(model, x=array)       # joins the calls of many threads into batches

numpy arrays and DLPack tensors (PyTorch's among them) go in and out without a copy where
their layout allows it. See docs/python.md for the rules on threads, the GIL and copies.
"""

from ._buckets import Bucket
from ._device import Device
from ._errors import ArgumentError, CancelledError, Error, Status, TimeoutError
from ._future import Future
from ._info import info
from ._model import DEFAULT_GIL_THRESHOLD_US, Model, Outputs, Value, load
from ._queue import Queue
from ._torch import compile

__version__: str = info()["version"]

__all__ = [
    "ArgumentError",
    "Bucket",
    "CancelledError",
    "DEFAULT_GIL_THRESHOLD_US",
    "Device",
    "Error",
    "Future",
    "Model",
    "Outputs",
    "Queue",
    "Status",
    "TimeoutError",
    "Value",
    "__version__",
    "compile",
    "info",
    "load",
]

for _name in __all__:
    _object = globals()[_name]
    if getattr(_object, "__module__", "").startswith("weft."):
        _object.__module__ = "weft"
del _name, _object

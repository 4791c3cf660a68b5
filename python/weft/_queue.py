# SPDX-License-Identifier: Apache-2.0
"""The batch queue."""

from __future__ import annotations

from typing import Any, Iterable

from . import _device, _model, _weft


class Queue(_weft.Queue):
    """Takes single requests from any number of threads, joins those of one model into
    batches, and gives every caller the bits it would have got alone.

        with weft.Queue(model, max_batch_size=32) as queue:
            future = queue.submit(model, x=array)
            y = future.result()

    The first argument is a model, several, or a device (or its name), to which models are
    added later. The parameters are those of weft_queue_params in C:

    workers                threads that run batches; 0: one per core, at most 4 per card
    max_batch_size         most rows in a batch; 0: 64. 1 joins nothing
    preferred_batch_sizes  rows at which a batch is as good as full, ascending
    max_queue_delay_us     how long a request may be held back for others to join it
                           although a worker is free; 0: not at all
    max_queue_size         most requests that wait; 0: 4096
    full_policy            "block" waits for room, "fail" raises status BUSY
    default_priority       of requests that give none: 1 (the highest) to 8; 0: 4
    default_timeout_us     of requests that give none: how long they may wait; 0: for ever
    preserve_order         the ends of one model's requests are announced in order

    As a context manager it ends with close() and drain(). All methods may be called from
    any thread."""

    def __new__(cls, models: _model.Model | Iterable[_model.Model] | _device.Device | str
                = "cpu", **parameters: Any) -> Queue:
        device, _ = _take_apart(models)
        return super().__new__(cls, device, **parameters)

    def __init__(self, models: _model.Model | Iterable[_model.Model] | _device.Device
                 | str = "cpu", **parameters: Any) -> None:
        for model in _take_apart(models)[1]:
            self.add(model)

    def run(self, model: _model.Model, /, *inputs: Any, **named: Any) -> Any:
        """submit(...).result(): blocks until the answer is there."""
        return self.submit(model, *inputs, **named).result()

    def drain(self, timeout: float | None = None) -> None:
        """Waits until all accepted requests have ended, at most timeout seconds. After
        weft.TimeoutError, requests that have not started are cancelled and the call may
        be repeated."""
        self._drain(timeout)

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        self.drain()


def _take_apart(models: Any) -> tuple[_device.Device, list[_model.Model]]:
    if isinstance(models, (str, _device.Device)):
        return _device.find(models), []
    if isinstance(models, _model.Model):
        return models.device, [models]
    if not isinstance(models, (list, tuple)) or not models or \
            not all(isinstance(model, _model.Model) for model in models):
        raise TypeError("weft.Queue wants a model, a list of models, or a device")
    return models[0].device, list(models)

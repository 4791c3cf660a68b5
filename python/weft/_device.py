# SPDX-License-Identifier: Apache-2.0
"""Devices, by name or opened with settings of their own."""

from __future__ import annotations

import os
import threading

from . import _weft


class Device(_weft.Device):
    """A CPU or a GPU: Device("cpu"), Device("cuda:0"), Device("cuda:0,1"),
    which is both cards as one, or Device("null").

    max_contexts      most runs at the same time; 0: 64, fewer on a card
    worker_count      threads for submit and for helping a lone caller; -1: one per core,
                      0: none, then Model.submit fails
    memory_cap_bytes  hard cap on device memory; 0: none
    isa               CPU kernels: "avx512", "avx2", "sse2", "neon"; None: the best here.
                      The bits of every result are the same with each.

    Models and queues keep their device open; it ends with the last of them. Every method
    may be called from any thread."""

    __slots__ = ()

    def close(self) -> None:
        """Refuses new work from now on; accepted work goes on. Who gives the device's name
        after that gets a new one."""
        super().close()
        with _lock:
            for name in [name for name, shared in _shared.items() if shared is self]:
                del _shared[name]

    def drain(self, timeout: float | None = None) -> None:
        """Waits until all accepted work has ended, at most timeout seconds. After
        weft.TimeoutError, requests that have not started are cancelled and the call may
        be repeated."""
        self._drain(timeout)

    def __repr__(self) -> str:
        return f"<weft.Device {self.info()['name']!r}>"


_lock = threading.RLock()  # close() may be called by a signal's handler
_shared: dict[str, Device] = {}


def find(device: str | Device) -> Device:
    """The device itself, or the one that everybody who gives this name shares."""
    if isinstance(device, Device):
        return device
    with _lock:
        if device not in _shared:
            _shared[device] = Device(device)
        return _shared[device]


def _forked() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that the child has not may hold the other


os.register_at_fork(after_in_child=_forked)

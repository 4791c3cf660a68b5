# SPDX-License-Identifier: Apache-2.0
"""What this build is."""

from __future__ import annotations

from typing import Any

from . import _device, _weft


def info(device: str | _device.Device | None = None) -> dict[str, Any]:
    """The version, how the library was built and its backends; with a device, or its
    name, also what that device is."""
    build = _weft.build_id()
    result: dict[str, Any] = {"version": build.split()[0], "build": build,
                              "backends": _weft.backends()}
    if device is not None:
        result["device"] = _device.find(device).info()
    return result

# SPDX-License-Identifier: Apache-2.0
"""What can go wrong."""

import builtins
import concurrent.futures
import enum

from . import _weft


class Status(enum.IntEnum):
    """How a call ended: the values of weft_status in C."""

    OK = 0
    INVALID_ARGUMENT = 1
    INVALID_MODEL = 2
    UNSUPPORTED = 3
    NOT_FOUND = 4
    OUT_OF_MEMORY = 5
    BUSY = 6
    TIMEOUT = 7
    CANCELLED = 8
    CLOSED = 9
    UNAVAILABLE = 10
    DEVICE_LOST = 11
    FORKED = 12
    IO_ERROR = 13
    INTERNAL = 14

    @property
    def advice(self) -> str:
        """What to do about it, in a sentence."""
        return _weft.status_advice(self)


class Error(Exception):
    """What Weft could not do; its text is the library's own: what happened, to which
    tensor, operator or file, and what to do.

    status is a Status, which says what kind of failure it is."""

    status: Status

    def __init__(self, message: str, status: int = Status.INTERNAL):
        super().__init__(message)
        self.status = Status(status)

    def __reduce__(self) -> "tuple[type[Error], tuple[str, int]]":
        return type(self), (str(self), int(self.status))


class ArgumentError(Error, ValueError):
    """INVALID_ARGUMENT: the message names the tensor or the parameter."""


class TimeoutError(Error, builtins.TimeoutError):
    """TIMEOUT: a deadline passed first."""


class CancelledError(Error, concurrent.futures.CancelledError):
    """CANCELLED: the request was cancelled. Not asyncio's, which cancels tasks."""


_CLASSES: dict[int, type[Error]] = {
    Status.INVALID_ARGUMENT: ArgumentError,
    Status.TIMEOUT: TimeoutError,
    Status.CANCELLED: CancelledError,
}


def make(status: int, message: str) -> Exception:
    """The exception for a status; the compiled part calls it."""
    return _CLASSES.get(status, Error)(message, status)

# SPDX-License-Identifier: Apache-2.0
"""Futures, and how Python hears of their end.

Weft's threads ring a bell (an eventfd) and never wait for Python. Each event loop has a
bell that it watches as it watches sockets; callbacks have one with a thread of its own,
which starts with the first callback."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import select
import threading
import weakref
from typing import Any, Callable, Generator

from . import _errors, _model, _weft

#: How long the interpreter's end waits for runs that cannot be cancelled.
EXIT_SECONDS = 60.0


class Future(_weft.Request):
    """A submitted call. Wait for it from any thread with result(), or await it in
    asyncio; it keeps its arrays alive until it has ended."""

    __slots__ = ("__weakref__",)

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Waits as result() does, and returns what it would raise, or None."""
        try:
            self.result(timeout)
            return None
        except _errors.Error:
            if not self.done():
                raise
        # The wait may have been over before the request, which has ended since: so its
        # end is asked for, not the wait's.
        try:
            self.result(0)
        except _errors.Error as error:
            return error
        return None

    def running(self) -> bool:
        """Tells whether the request waits or runs."""
        return not self.done()

    def add_done_callback(self, function: Callable[[Future], Any]) -> None:
        """Calls function(future) once the request has ended, on a thread of weft's own
        (or at once, when it has). What it raises goes to the logger "weft"."""
        if self.done():
            _call(function, self)
        else:
            self._watch(_listener().bell, (function, self))

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.done():
            waiter = asyncio.get_running_loop().create_future()
            self._watch(_loop_bell(waiter.get_loop()), waiter)
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "running"
        return f"<weft.Future {state}>"


def _call(function: Callable[[Future], object], future: Future) -> None:
    try:
        function(future)
    except Exception:
        _log_failure()


def _log_failure() -> None:
    logging.getLogger("weft").exception("a callback of a weft.Future failed")


# --- asyncio -----------------------------------------------------------------------

_loop_bells: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _weft.Bell] = \
    weakref.WeakKeyDictionary()
_loop_bells_lock = threading.Lock()


def _wake_waiters(bell: _weft.Bell) -> None:
    for waiter in bell.take():
        if not waiter.done():
            waiter.set_result(None)


def _loop_bell(loop: asyncio.AbstractEventLoop) -> _weft.Bell:
    bell = _loop_bells.get(loop)
    if bell is None:
        _drop_bells_of_closed_loops()
        bell = _weft.Bell()
        loop.add_reader(bell.fileno(), _wake_waiters, bell)
        with _loop_bells_lock:
            _loop_bells[loop] = bell
    return bell


def _drop_bells_of_closed_loops() -> None:
    """A loop that ended before its requests never takes their waiters, which keep it
    alive: so it would never leave the dictionary by itself."""
    with _loop_bells_lock:
        closed = [loop for loop in _loop_bells if loop.is_closed()]
        bells = [_loop_bells.pop(loop) for loop in closed]
    del bells  # after the lock: what they let go of may run any code


# --- callbacks ---------------------------------------------------------------------

class _Listener:
    """The thread that calls callbacks."""

    def __init__(self) -> None:
        self.bell = _weft.Bell()
        self.stopped = False
        self.thread = threading.Thread(target=self.listen, name="weft-callbacks",
                                       daemon=True)
        self.thread.start()

    def listen(self) -> None:
        poll = select.poll()
        poll.register(self.bell.fileno(), select.POLLIN)
        while not self.stopped:
            poll.poll()
            self.call_all()
        self.call_all()  # what ended last

    def call_all(self) -> None:
        for function, future in self.bell.take():
            try:
                _call(function, future)
            except BaseException:  # sys.exit() too: the others need this thread
                _log_failure()
            del function, future  # held until the next otherwise

    def stop(self) -> None:
        self.stopped = True
        self.bell.ring()
        if threading.current_thread() is not self.thread:
            self.thread.join(EXIT_SECONDS)


_the_listener: _Listener | None = None
_listener_lock = threading.Lock()


def _listener() -> _Listener:
    global _the_listener
    with _listener_lock:
        if _the_listener is None:
            _the_listener = _Listener()
        return _the_listener


# --- the end, and the child of a fork -----------------------------------------------

def _end() -> None:
    """Before the interpreter ends: what waits is cancelled, what runs is awaited, and the
    callbacks of both are called."""
    _weft.shut_down(EXIT_SECONDS)
    if _the_listener is not None:
        _the_listener.stop()


def _forked() -> None:
    global _the_listener, _listener_lock, _loop_bells_lock
    _weft.forked()  # first: what is let go below may need its locks
    _the_listener = None  # its thread is in the parent
    _listener_lock = threading.Lock()
    _loop_bells_lock = threading.Lock()
    _loop_bells.clear()


_weft.set_hooks(_errors.make, _model.make_outputs, Future)
atexit.register(_end)
os.register_at_fork(after_in_child=_forked)

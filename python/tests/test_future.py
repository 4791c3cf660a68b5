# SPDX-License-Identifier: Apache-2.0
"""Futures: waiting, asyncio, callbacks, cancelling, time-outs, lifetimes."""

import asyncio
import concurrent.futures
import gc
import os
import random
import sys
import threading
import unittest
import weakref

import numpy as np
import onnx_bytes
import weft

X = np.ones((4, 4), np.float32)


class Array(np.ndarray):
    """An array that one can have a weak reference to, and attributes."""


class Futures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.device = weft.Device("cpu", worker_count=1)
        cls.relu = weft.load(onnx_bytes.unary("Relu"), cls.device)
        cls.slow = weft.load(onnx_bytes.slow(steps=120), cls.device)
        cls.big = np.zeros((512, 512), np.float32)
        cls.relu(X), cls.slow(cls.big)

    def busy(self):
        """The only worker has something to do for a tenth of a second."""
        return self.slow.submit(self.big)

    def while_busy(self, body):
        """What `body` asserts is true while the only worker is at its argument. Where
        this thread was held up for longer than that takes, it tries again."""
        for left in reversed(range(100)):
            first = self.busy()
            try:
                body(first)
                break
            except (AssertionError, SystemExit):
                if not first.done() or left == 0:
                    raise
        self.assertIsNone(first.exception(60))
        return first

    def test_result(self):
        future = self.relu.submit(x=-X)
        self.assertIsInstance(future, weft.Future)
        np.testing.assert_array_equal(future.result(), 0 * X)
        self.assertIs(future.result(), future.result(timeout=1.0))
        self.assertTrue(future.done())
        self.assertFalse(future.running() or future.cancelled() or future.cancel())
        self.assertIsNone(future.exception())
        place = np.empty_like(X)
        self.assertIs(self.relu.submit(X, out=place).result(None), place)

    def test_a_future_is_what_submit_returns(self):
        with self.assertRaises(TypeError):
            weft.Future()

    def test_a_wait_that_is_too_short(self):
        def wait(future):
            with self.assertRaises(weft.TimeoutError) as raised:
                future.result(timeout=0)
            self.assertIsInstance(raised.exception, TimeoutError)
            with self.assertRaises(weft.TimeoutError):
                future.exception(timeout=0.0)
            self.assertFalse(future.done())

        future = self.while_busy(wait)
        self.assertEqual(future.result(60).shape, (512, 512))
        for wrong in ("x", float("nan")):
            with self.assertRaises((TypeError, ValueError)):
                future.result(wrong)
        for call in (lambda: future.result(1, 2), lambda: future.result(time=1),
                     lambda: future.result(1, timeout=1)):
            with self.assertRaises(TypeError):
                call()

    @unittest.skipUnless(getattr(sys, "_is_gil_enabled", lambda: True)(), "has no GIL")
    def test_an_end_before_the_interpreter_is_back(self):
        # The wait is over while another thread keeps the interpreter to itself until the
        # request has ended too.
        future, go, holds = self.busy(), threading.Event(), []

        def hold():
            go.wait()
            holds.append(True)
            while not future.done():
                pass

        thread, interval = threading.Thread(target=hold), sys.getswitchinterval()
        thread.start()
        try:
            sys.setswitchinterval(60)
            go.set()
            try:
                self.assertEqual(future.result(timeout=0.03).shape, (512, 512))
            except weft.TimeoutError:
                self.assertFalse(holds)  # the other thread came too late to test it
        finally:
            sys.setswitchinterval(interval)
            thread.join()

    def test_an_end_between_a_wait_and_the_question_for_it(self):
        class Late:
            def __init__(self, *ends):
                self.ends = list(ends)

            def result(self, timeout=None):
                raise_this = self.ends.pop(0)
                if raise_this:
                    raise raise_this

            def done(self):
                return len(self.ends) < 2

        wait, end = weft.TimeoutError("the wait"), weft.CancelledError("the end")
        self.assertIsNone(weft.Future.exception(Late(wait, None), 0))
        self.assertIs(weft.Future.exception(Late(wait, end), 0), end)
        with self.assertRaises(weft.TimeoutError):
            weft.Future.exception(Late(wait, None, None), 0)

    def test_a_request_that_starts_too_late(self):
        def submit_late(first):
            late = self.relu.submit(X, timeout_us=1)
            with self.assertRaises(weft.TimeoutError):
                late.result(60)
            self.assertTrue(late.done())
            self.assertIsInstance(late.exception(), weft.TimeoutError)

        self.while_busy(submit_late)
        for wrong in (-1, 2**63):
            with self.assertRaises((TypeError, ValueError)):
                self.relu.submit(X, timeout_us=wrong)

    def test_cancel(self):
        def cancel_second(first):
            second = self.relu.submit(X)
            self.assertTrue(second.cancel())
            self.assertTrue(second.cancelled() and second.done())
            with self.assertRaises(weft.CancelledError) as raised:
                second.result()
            self.assertIsInstance(raised.exception, concurrent.futures.CancelledError)
            self.assertEqual(second.exception().status, weft.Status.CANCELLED)

        first = self.while_busy(cancel_second)
        self.assertFalse(first.cancel())

    def test_no_workers(self):
        model = weft.load(onnx_bytes.unary("Relu"), weft.Device("cpu", worker_count=0))
        with self.assertRaises(weft.Error) as raised:
            model.submit(X)
        self.assertEqual(raised.exception.status, weft.Status.UNAVAILABLE)

    def test_callbacks(self):
        heard = []

        def add_callbacks(first):
            heard.clear()
            both, order, waiting = threading.Semaphore(0), [], self.relu.submit(X)

            def hear(future):
                heard.append((future.result().tolist(), threading.current_thread().name))
                both.release()

            for i in range(5):
                waiting.add_done_callback(lambda future, i=i: order.append(i))
            waiting.add_done_callback(hear)
            waiting.add_done_callback(hear)
            for _ in range(2):
                self.assertTrue(both.acquire(timeout=60))
            self.assertEqual(heard, [(X.tolist(), "weft-callbacks")] * 2)
            self.assertEqual(order, list(range(5)))

        first = self.while_busy(add_callbacks)
        first.add_done_callback(lambda future: heard.append(future))
        self.assertIs(heard[-1], first)  # at once, for it had ended

    def test_what_a_callback_raises_is_logged(self):
        first, after = self.busy(), threading.Event()
        with self.assertLogs("weft", "ERROR") as logs:
            first.add_done_callback(lambda future: 1 / 0)
            first.add_done_callback(lambda future: after.set())
            self.assertTrue(after.wait(60))
        self.assertIn("ZeroDivisionError", logs.output[0])

    def test_a_callback_that_exits_keeps_the_thread(self):
        after = threading.Event()

        def exit_in_callback(first):
            after.clear()
            with self.assertLogs("weft", "ERROR") as logs:
                first.add_done_callback(lambda future: sys.exit(3))
                first.add_done_callback(lambda future: after.set())
                self.assertTrue(after.wait(60))
            self.assertIn("SystemExit", logs.output[0])

        self.while_busy(exit_in_callback)
        heard = []
        self.busy().add_done_callback(lambda future: heard.append("later"))
        after.clear()
        self.busy().add_done_callback(lambda future: after.set())
        self.assertTrue(after.wait(60))
        self.assertEqual(heard, ["later"])

    def test_callbacks_may_submit_and_drop_futures(self):
        ended = threading.Event()
        left = [20]

        def again(future):
            left[0] -= 1
            if left[0] == 0:
                ended.set()
            else:
                self.relu.submit(X).add_done_callback(again)

        self.relu.submit(X).add_done_callback(again)
        self.assertTrue(ended.wait(60))

    def test_arrays_live_as_long_as_their_request(self):
        seen = []

        def drop_arrays(first):
            x = np.ones((300, 300), np.float32).view(Array)
            place = np.zeros((300, 300), np.float32).view(Array)
            seen[:] = weakref.ref(x), weakref.ref(place)
            self.relu.submit(x, out=place)  # the future is dropped, the request is not
            del x, place
            gc.collect()
            alive = [ref() is not None for ref in seen]
            self.assertFalse(first.done())
            self.assertEqual(alive, [True, True])

        self.while_busy(drop_arrays)
        self.device.drain(60)
        self.relu.submit(X).result()  # frees what ended requests left
        self.device.drain(60)
        gc.collect()
        self.assertEqual([ref() for ref in seen], [None, None])

    def test_inputs_are_let_go_by_result(self):
        x = np.ones((4, 4), np.float32).view(Array)
        seen = weakref.ref(x)
        future = self.relu.submit(x)
        future.result()
        del x
        gc.collect()
        self.assertIsNone(seen())

    def test_a_buffer_in_use_cannot_be_resized(self):
        model = weft.load(onnx_bytes.identity("uint8"), self.device)
        kept = []

        def resize(first):
            memory = bytearray(b"abc")
            kept[:] = memory, model.submit(memory)
            with self.assertRaises(BufferError):
                memory.append(0)

        self.while_busy(resize)
        memory, future = kept
        future.result()
        memory.append(0)

    def test_an_array_in_use_cannot_be_resized(self):
        kept = []

        def resize(first):
            x = np.array(X)
            kept[:] = [self.relu.submit(x)]
            with self.assertRaisesRegex(ValueError, "cannot resize"):
                x.resize(2)

        self.while_busy(resize)
        future = kept.pop()
        self.assertEqual(future.result().tobytes(), self.relu(X).tobytes())


class Asyncio(unittest.TestCase):
    setUpClass = Futures.__dict__["setUpClass"]
    busy, while_busy = Futures.busy, Futures.while_busy

    def test_a_thousand_awaits(self):
        inputs = [np.full((4, 4), i, np.float32) for i in range(1000)]

        async def one(i):
            return await self.relu.submit(inputs[i])

        async def main():
            return await asyncio.gather(*(one(i) for i in range(1000)))

        for _ in range(2):  # each has a loop of its own
            for x, y in zip(inputs, asyncio.run(main())):
                self.assertEqual(x.tobytes(), y.tobytes())

    def test_several_loops_and_awaits_of_one_future(self):
        futures = [self.busy(), self.relu.submit(X)]
        answers = []

        async def main():
            answers.append(await asyncio.gather(*futures, *futures))

        threads = [threading.Thread(target=lambda: asyncio.run(main()))
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(answers), 4)
        for answer in answers:
            self.assertIs(answer[1], answers[0][3])

    def test_errors_and_others_cancels(self):
        async def main(first):
            cancelled, late = self.relu.submit(X), self.relu.submit(X, timeout_us=1)
            asyncio.get_running_loop().call_later(0.001, cancelled.cancel)
            with self.assertRaises(weft.CancelledError):
                await cancelled
            with self.assertRaises(weft.TimeoutError):
                await late
            await first

        self.while_busy(lambda first: asyncio.run(main(first)))

    def test_a_cancelled_task_cancels_its_request(self):
        async def main(first):
            future = self.relu.submit(X)
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await future
            self.assertTrue(future.cancelled())
            await first

        self.while_busy(lambda first: asyncio.run(main(first)))

    def test_load_with_cancels_and_timeouts(self):
        slow = weft.load(onnx_bytes.slow(128, 3), self.device)
        queue = weft.Queue([self.relu, slow], max_queue_size=8, full_policy="fail")
        small, ended = np.zeros((128, 128), np.float32), []

        async def wait(future):
            return await future

        async def client(seed):
            choose = random.Random(seed)
            for _ in range(25):
                task = asyncio.ensure_future(wait(choose.choice((
                    lambda: self.relu.submit(X), lambda: slow.submit(small),
                    lambda: self.relu.submit(X, timeout_us=choose.choice((1, 10**6))),
                    lambda: queue.submit(self.relu, X),
                    lambda: queue.submit(slow, small)))()))
                way = choose.randrange(4)
                if way == 0:
                    await asyncio.sleep(choose.choice((0, 0.0005)))
                    task.cancel()
                await (asyncio.wait_for(task, 0.001) if way == 1 else
                       asyncio.shield(task) if way == 2 else task)

        async def clients():
            for i in range(10):
                ended.append(None)
                for _ in range(25):  # as often as it fails before its end
                    try:
                        await client(i)
                        break
                    except (weft.Error, asyncio.CancelledError, TimeoutError):
                        pass

        async def main():
            await asyncio.gather(*(clients() for _ in range(3)))

        threads = [threading.Thread(target=lambda: asyncio.run(main()))
                   for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.device.drain(60)
        queue.close()
        queue.drain(60)
        self.assertEqual(len(ended), 60)
        for counts in self.device.statistics(), queue.statistics():
            self.assertEqual(counts["accepted"], counts["done"] + counts["failed"]
                             + counts["cancelled"] + counts["timed_out"])

    def test_a_loop_that_ends_before_its_request(self):
        async def main():
            asyncio.ensure_future(wait())
            await asyncio.sleep(0)

        async def wait():
            await self.future

        self.future = self.busy()
        asyncio.run(main())
        self.assertTrue(self.future.exception(60) is None or self.future.cancelled())
        gc.collect()

    def test_loops_that_end_before_their_requests_leave_nothing(self):
        slow, loops = weft.load(onnx_bytes.slow(steps=3), self.device), []
        futures, counts = [], []

        async def main():
            loops.append(weakref.ref(asyncio.get_running_loop()))
            futures.append(slow.submit(self.big))
            asyncio.ensure_future(wait(futures[-1]))
            await asyncio.sleep(0)

        async def wait(future):
            await future

        for _ in range(50):
            asyncio.run(main())
            futures.pop().exception(60)
            gc.collect()
            counts.append(len(os.listdir("/proc/self/fd")))
        self.assertLessEqual(max(counts[5:]), max(counts[:5]) + 2)
        self.assertLess(sum(loop() is not None for loop in loops), 5)


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""The batch queue."""

import asyncio
import os
import pathlib
import unittest

import numpy as np
import onnx_bytes
import weft
from test_threads import at_once

GOLDEN = pathlib.Path(os.environ["WEFT_GOLDEN"])


class Queues(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.device = weft.Device("cpu", worker_count=1)
        cls.linear = weft.load(GOLDEN / "q_linear/dynamo/model.onnx", cls.device)
        cls.slow = weft.load(onnx_bytes.slow(steps=120), cls.device)
        cls.big = np.zeros((512, 512), np.float32)
        shape = [d if isinstance(d, int) else 1 for d in cls.linear.inputs[0].shape]
        numbers = np.random.default_rng(7)
        cls.inputs = [numbers.standard_normal(shape, np.float32) for _ in range(64)]
        cls.alone = [cls.linear(x).tobytes() for x in cls.inputs]

    def test_joined_answers_have_the_bits_of_those_alone(self):
        with weft.Queue(self.linear, max_batch_size=16, workers=1) as queue:
            self.assertIsNone(queue.batching(self.linear))

            def work(thread):
                for _ in range(10):
                    futures = [queue.submit(self.linear, x) for x in self.inputs]
                    for future, want in zip(futures, self.alone):
                        if future.result().tobytes() != want:
                            raise AssertionError(f"thread {thread}: other bits")

            at_once(work)
            counts = queue.statistics()
        self.assertEqual(counts["accepted"], 8 * 10 * 64)
        self.assertEqual(counts["done"], counts["accepted"])
        self.assertLess(counts["batch_count"], counts["row_count"])
        self.assertEqual(sum(counts["batch_rows"]), counts["batch_count"])

    def test_awaits(self):
        async def main(queue):
            return await asyncio.gather(
                *(queue.submit(self.linear, x, priority=1 + i % 8)
                  for i, x in enumerate(self.inputs)))

        with weft.Queue(self.linear, preserve_order=True) as queue:
            answers = asyncio.run(main(queue))
        self.assertEqual([a.tobytes() for a in answers], self.alone)

    def test_a_full_queue(self):
        with weft.Queue([self.slow], workers=1, max_queue_size=1, max_batch_size=1,
                        full_policy="fail") as queue:
            futures = []
            with self.assertRaises(weft.Error) as raised:
                for _ in range(10):
                    futures.append(queue.submit(self.slow, self.big))
            self.assertEqual(raised.exception.status, weft.Status.BUSY)
            for future in futures:
                future.result(60)
        with weft.Queue(self.slow, workers=1, max_queue_size=1, max_batch_size=1) as queue:
            for future in [queue.submit(self.slow, self.big) for _ in range(4)]:
                future.result(60)

    def test_cancel_time_out_and_deadline(self):
        with weft.Queue([self.slow, self.linear], workers=1) as queue:
            queue.run(self.slow, self.big), queue.run(self.linear, self.inputs[0])
            for _ in range(100):  # this thread may be held up while the first one runs
                first = queue.submit(self.slow, self.big)
                cancelled = queue.submit(self.linear, self.inputs[0])
                late = queue.submit(self.linear, self.inputs[0], timeout_us=1)
                if cancelled.cancel() and late.exception(60) is not None:
                    break
            with self.assertRaises(weft.CancelledError):
                cancelled.result()
            with self.assertRaises(weft.TimeoutError):
                late.result(60)
            with self.assertRaises(weft.TimeoutError):
                queue.submit(self.slow, self.big, deadline_us=1).result(60)
            first.result(60)
            place = np.empty_like(self.linear(self.inputs[0]))
            self.assertIs(queue.run(self.linear, self.inputs[0], out=place), place)

    def test_models_come_and_go(self):
        queue = weft.Queue(self.device, max_batch_size=8)
        with self.assertRaises(weft.Error) as raised:
            queue.submit(self.linear, self.inputs[0])
        self.assertEqual(raised.exception.status, weft.Status.NOT_FOUND)
        queue.add(self.linear, weight=2.0)
        with self.assertRaises(ValueError):
            queue.add(self.linear)
        with self.assertRaises(ValueError):
            queue.add(weft.load(onnx_bytes.unary("Relu"), "cpu"))  # another device
        self.assertEqual(queue.run(self.linear, self.inputs[3]).tobytes(), self.alone[3])
        queue.remove(self.linear)
        with self.assertRaises(weft.Error):
            queue.submit(self.linear, self.inputs[0])
        queue.add(self.linear, batch_dimension="batch")
        queue.close()
        with self.assertRaises(weft.Error) as raised:
            queue.submit(self.linear, self.inputs[0])
        self.assertEqual(raised.exception.status, weft.Status.CLOSED)
        queue.drain(1)

    def test_a_model_that_runs_alone(self):
        queue = weft.Queue(self.slow)
        self.assertIsInstance(queue.batching(self.slow), str)

    def test_arguments_that_do_not_fit(self):
        for parameters in ({"full_policy": "wait"}, {"workers": -1},
                           {"max_queue_delay_us": -1}, {"default_priority": 9},
                           {"preferred_batch_sizes": range(1, 99)}):
            with self.subTest(parameters), self.assertRaises(ValueError):
                weft.Queue(self.linear, **parameters)
        for models in ([], [1], 3, None):
            with self.subTest(models), self.assertRaises(TypeError):
                weft.Queue(models)
        with self.assertRaises(TypeError):
            weft.Queue(self.linear, colour="red")
        with weft.Queue(self.linear) as queue:
            with self.assertRaises(TypeError):
                queue.submit()
            with self.assertRaises(TypeError):
                queue.submit(self.inputs[0])
            with self.assertRaises(ValueError):
                queue.submit(self.linear, self.inputs[0], priority=9)
            with self.assertRaises(ValueError):
                queue.submit(self.linear, self.inputs[0].astype(np.float64))


if __name__ == "__main__":
    unittest.main()

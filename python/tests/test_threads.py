# SPDX-License-Identifier: Apache-2.0
"""Many threads on one model, the GIL held and let go, and nothing that grows."""

import gc
import os
import pathlib
import subprocess
import sys
import threading
import time
import unittest

import numpy as np
import onnx_bytes
import weft

GOLDEN = pathlib.Path(os.environ["WEFT_GOLDEN"])
THREADS = 8


def at_once(work):
    """Calls work(index) on 8 threads that start together; raises what they raised."""
    barrier = threading.Barrier(THREADS)
    raised = []

    def run(index):
        try:
            barrier.wait()
            work(index)
        except BaseException as error:  # to the main thread, whatever it is
            raised.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Threads(unittest.TestCase):
    def check_model(self, model, make_input, iterations):
        """Every thread has inputs of its own; every answer has the bits of the run alone."""
        inputs = [[make_input(np.random.default_rng(thread * 100 + i), thread)
                   for i in range(4)] for thread in range(THREADS)]
        alone = [[model(x).tobytes() for x in own] for own in inputs]

        def work(thread):
            place = np.empty_like(model(inputs[thread][0]))
            for i in range(iterations):
                x, want = inputs[thread][i % 4], alone[thread][i % 4]
                got = [lambda: model(x), lambda: model(x, out=place),
                       lambda: model.submit(x).result()][i % 3]()
                if got.tobytes() != want:
                    raise AssertionError(f"thread {thread}, iteration {i}: other bits")

        at_once(work)

    def test_small_runs_with_and_without_the_gil(self):
        path = GOLDEN / "t2_linear/dynamo/model.onnx"
        for threshold in (0, weft.DEFAULT_GIL_THRESHOLD_US, float("inf")):
            with self.subTest(threshold):
                model = weft.load(path, gil_threshold_us=threshold)
                self.check_model(model, lambda r, thread: r.standard_normal(
                    (4, 256), np.float32), 150)

    def test_an_encoder_with_shapes_of_each_thread(self):
        model = weft.load(GOLDEN / "t2_encoder_small_batch/dynamo/model.onnx")
        shape = [d if isinstance(d, int) else 3 for d in model.inputs[0].shape]
        self.check_model(model, lambda r, thread: r.standard_normal(
            [1 + thread % 5, *shape[1:]], np.float32), 40)

    def test_who_keeps_the_gil(self):
        source = onnx_bytes.unary("Relu")
        x = np.ones((2, 2), np.float32)
        always = weft.load(source, gil_threshold_us=float("inf"))
        never = weft.load(source, gil_threshold_us=0)
        for _ in range(100):
            always(x), never(x)
        # The first run of a shape may build its plan, so it always lets go.
        self.assertEqual(always.statistics(), {"runs_with_gil": 99, "runs_without_gil": 1,
                                               "reused_tensors": 0})
        self.assertEqual(never.statistics(), {"runs_with_gil": 0, "runs_without_gil": 100,
                                              "reused_tensors": 0})

    def test_the_measured_time_decides_for_each_shape(self):
        model = weft.load(onnx_bytes.unary("Tanh"))
        small, large = np.ones((2, 2), np.float32), np.ones((500, 2000), np.float32)
        for _ in range(20):
            model(small), model(large)
        counts = model.statistics()
        self.assertGreaterEqual(counts["runs_without_gil"], 20)  # all large ones
        self.assertGreaterEqual(counts["runs_with_gil"], 10)  # most small ones

    def test_others_go_on_during_a_long_run(self):
        x = np.zeros((512, 512), np.float32)
        begun, ended = threading.Event(), threading.Event()
        turns = [0]

        def count():
            begun.set()
            while not ended.is_set():
                turns[0] += 1
                time.sleep(0.001)

        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        begun.wait()
        for steps in 200, 800, 3200, 12800:  # others may have the cores for a while
            model = weft.load(onnx_bytes.slow(steps=steps))
            before = turns[0]
            model(x)
            counted = turns[0] - before
            if counted > 5:
                break
        ended.set()
        thread.join()
        self.assertGreater(counted, 5)


class Shared(unittest.TestCase):
    """One object in the hands of all threads at once. With a GIL they take turns; without
    one they do not."""

    def test_a_model_and_its_shapes(self):
        relu = weft.load(onnx_bytes.unary("Relu"))

        def work(thread):
            choose = np.random.default_rng(thread)
            for _ in range(400):  # more shapes than the table has places
                x = np.full(choose.integers(1, 30, 2), 1.5, np.float32)
                y = relu(x)
                if y.shape != x.shape or (y != x).any():
                    raise AssertionError(f"{x.shape}: {y}")

        at_once(work)
        counts = relu.statistics()
        self.assertEqual(counts["runs_with_gil"] + counts["runs_without_gil"], 8 * 400)

    def test_the_first_outputs_of_a_process(self):
        code = """
import threading, weft, onnx_bytes
relu = weft.load(onnx_bytes.unary("Relu"))
x = memoryview(bytearray(16)).cast("f", (2, 2))
barrier, good = threading.Barrier(8), []

def work():
    barrier.wait()
    good.append(relu(x).tolist() == [[0, 0], [0, 0]])

threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
assert good == [True] * 8, good
"""
        for _ in range(3):
            subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    def test_a_future(self):
        relu = weft.load(onnx_bytes.unary("Relu"))
        barrier, x = threading.Barrier(THREADS), np.ones((8, 8), np.float32)
        futures, heard = [None], []

        def work(thread):
            for i in range(150):
                if barrier.wait() == 0:
                    futures[0] = relu.submit(x + i)
                barrier.wait()
                future = futures[0]
                if thread == 0 and i % 3 == 0:
                    future.cancel()
                if thread == 1:
                    future.add_done_callback(heard.append)
                try:
                    if future.result().sum() != 64 * (i + 1):
                        raise AssertionError(i)
                except weft.CancelledError:
                    if i % 3:
                        raise
                del future

        at_once(work)
        relu.submit(x).result()
        end = time.monotonic() + 60
        while len(heard) < 150 and time.monotonic() < end:
            time.sleep(0.001)
        self.assertEqual(len(heard), 150)

    def test_a_queue_that_closes(self):
        relu = weft.load(onnx_bytes.unary("Relu"))
        x = np.ones((1, 8), np.float32)
        for _ in range(10):
            queue, ended = weft.Queue(relu, max_batch_size=4), []

            def work(thread):
                try:
                    for i in range(200):
                        if thread == 0 and i == 50:
                            queue.close()
                            queue.drain(60)
                        ended.append(queue.run(relu, x).sum())
                except weft.Error as error:
                    if error.status != weft.Status.CLOSED:
                        raise

            at_once(work)
            self.assertEqual(set(ended), {8.0})
            counts = queue.statistics()
            self.assertEqual(counts["accepted"], counts["done"])
            self.assertEqual(counts["done"], len(ended))

    def test_arrays_and_dicts_that_others_change(self):
        relu = weft.load(onnx_bytes.unary("Relu"))
        x, place = np.ones((4, 4), np.float32), np.empty((4, 4), np.float32)
        inputs, outputs = {"x": x}, {"y": place}

        def work(thread):
            for i in range(300):
                if thread % 2:
                    inputs["x"], outputs["y"] = x.copy(), np.empty_like(x)
                    inputs.pop(f"z{thread}", None)
                    inputs[f"z{thread}"] = x
                try:
                    relu(x, out=place)
                    relu(inputs, out=outputs)
                except TypeError as error:
                    if "has no input 'z" not in str(error):
                        raise

        at_once(work)
        self.assertEqual(place.sum(), 16)

    def test_models_and_devices_come_and_go(self):
        def work(thread):
            for i in range(30):
                device = "cpu" if i % 3 else weft.Device("cpu", worker_count=1)
                relu = weft.load(onnx_bytes.unary("Relu"), device)
                future = relu.submit(np.ones((4, 4), np.float32))
                if (thread + i) % 2:
                    del relu, device
                if future.result().sum() != 16:
                    raise AssertionError("other bits")

        at_once(work)


class Leaks(unittest.TestCase):
    def flat(self, work, most=2_000_000):
        """Neither memory nor objects grow over repeated work. A leak grows every time;
        what else moves them does not."""
        work()
        for _ in range(5):
            gc.collect()
            resident, blocks = resident_bytes(), sys.getallocatedblocks()
            work()
            gc.collect()
            grown = (sys.getallocatedblocks() - blocks, resident_bytes() - resident)
            if grown[0] < 200 and grown[1] < most:
                return
        self.fail(f"grew by {grown[0]} blocks and {grown[1]} bytes")

    def test_calls(self):
        model = weft.load(onnx_bytes.unary("Relu"))
        x = np.ones((4, 256), np.float32)
        place, across = np.empty_like(x), np.ones((256, 4), np.float32).T
        counts = [sys.getrefcount(o) for o in (x, place, across, model)]

        def work():
            for _ in range(25_000):
                model(x)
                model(x=x, out=place)
                model(across)
                model({"x": x})

        self.flat(work)  # 10**5 calls each time
        self.assertEqual(counts,
                         [sys.getrefcount(o) for o in (x, place, across, model)])

    def test_errors(self):
        model = weft.load(onnx_bytes.unary("Relu"))
        x, wrong = np.ones((4, 4), np.float32), np.ones((4, 4))
        counts = [sys.getrefcount(o) for o in (x, wrong, model)]

        def work():
            for call in (lambda: model(wrong), lambda: model(x, x), lambda: model(z=x),
                         lambda: model(x, out=wrong), lambda: model.submit(wrong),
                         lambda: model.submit(x, timeout_us="x"),
                         lambda: weft.load(b"no model"), lambda: model([1])):
                for _ in range(500):
                    try:
                        call()
                    except (weft.Error, TypeError):
                        continue
                    self.fail("no error")

        self.flat(work)
        self.assertEqual(counts, [sys.getrefcount(o) for o in (x, wrong, model)])

    def test_submitted(self):
        model = weft.load(onnx_bytes.unary("Relu"))
        x = np.ones((4, 256), np.float32)
        queue = weft.Queue(model)
        counts = [sys.getrefcount(o) for o in (x, model)]

        def work():
            for _ in range(2_000):
                model.submit(x).result()
                queue.run(model, x)
                model.submit(x).add_done_callback(lambda future: None)
                model.submit(x)  # nobody waits for it
                queue.submit(model, x).cancel()
            queue.drain(30)
            model.device.drain(30)

        self.flat(work)
        end = time.monotonic() + 60
        while True:
            model.submit(x).result()
            model.device.drain(30)
            gc.collect()
            now = [sys.getrefcount(o) for o in (x, model)]
            if now == counts or time.monotonic() > end:
                break
            time.sleep(0.01)  # callbacks may still be at it
        self.assertEqual(counts, now)

    def test_models_and_queues_come_and_go(self):
        source = onnx_bytes.unary("Relu")
        x = np.ones((4, 256), np.float32)

        def work():
            for _ in range(50):
                model = weft.load(source)
                model(x)
                with weft.Queue(model) as queue:
                    queue.run(model, x)

        self.flat(work)


if __name__ == "__main__":
    unittest.main()

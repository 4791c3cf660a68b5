# SPDX-License-Identifier: Apache-2.0
"""The ends of interpreters, forks, subinterpreters: each in a process of its own."""

import inspect
import pydoc
import subprocess
import sys
import textwrap
import unittest

import weft

HEAD = """
import os, sys, threading, time
import numpy as np, onnx_bytes, weft
x = np.ones((4, 4), np.float32)
big = np.zeros((512, 512), np.float32)
"""


class Processes(unittest.TestCase):
    def run_code(self, code, head=HEAD):
        done = subprocess.run([sys.executable, "-X", "faulthandler", "-W",
                               "ignore::DeprecationWarning", "-c",
                               head + textwrap.dedent(code)],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def test_an_end_with_requests_in_flight(self):
        out = self.run_code("""
            device = weft.Device("cpu", worker_count=1)
            slow = weft.load(onnx_bytes.slow(), device)
            relu = weft.load(onnx_bytes.unary("Relu"), device)
            kept = [slow.submit(big) for _ in range(20)] + [relu.submit(x)]
            kept[-1].add_done_callback(lambda f: print("cancelled", f.cancelled()))
            relu.submit(x), slow.submit(big)
            queue = weft.Queue([slow, relu])
            for _ in range(10):
                queue.submit(slow, big), queue.submit(relu, x)
            print("end")
        """)
        self.assertEqual(out, "end\ncancelled True\n")

    def test_an_end_while_threads_run(self):
        self.run_code("""
            slow = weft.load(onnx_bytes.slow(), gil_threshold_us=0)
            relu = weft.load(onnx_bytes.unary("Relu"))
            queue = weft.Queue([slow, relu], max_queue_size=2)

            def forever(call):
                try:
                    while True:
                        call()
                except weft.Error as error:
                    assert error.status in (weft.Status.CLOSED, weft.Status.CANCELLED)

            for call in (lambda: slow(big), lambda: relu(x),
                         lambda: relu.submit(x).result(),
                         lambda: queue.submit(slow, big),
                         lambda: queue.run(relu, x)):
                threading.Thread(target=forever, args=(call,), daemon=True).start()
            time.sleep(0.2)
        """)

    def test_nothing_is_left_after_the_end(self):
        out = self.run_code("""
            import atexit
            relu = weft.load(onnx_bytes.unary("Relu"))

            def late():
                try:
                    relu.submit(x)
                except weft.Error as error:
                    print(error.status.name, relu(x).sum())

            import weft._future
            atexit.unregister(weft._future._end)
            atexit.register(late)
            atexit.register(weft._future._end)  # the last registered is called first
        """)
        self.assertEqual(out, "CLOSED 16.0\n")

    def test_ctrl_c_ends_a_wait(self):
        out = self.run_code("""
            import signal
            device = weft.Device("cpu", worker_count=1)
            slow = weft.load(onnx_bytes.slow(steps=6000), device)
            future = slow.submit(big)
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                future.result()
            except KeyboardInterrupt:
                print("interrupted", future.done(), flush=True)
            os._exit(0)  # nobody waits for it
        """)
        self.assertEqual(out, "interrupted False\n")

    def test_ctrl_c_ends_a_drain(self):
        out = self.run_code("""
            import signal
            device = weft.Device("cpu", worker_count=1)
            slow = weft.load(onnx_bytes.slow(steps=300), device)
            queue = weft.Queue(slow, workers=1, max_batch_size=1)
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            for submit, drain in ((slow.submit, device.drain),
                                  (lambda x: queue.submit(slow, x), queue.drain)):
                futures = [submit(big) for _ in range(40)]
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.02)
                    drain()
                except KeyboardInterrupt:
                    print("interrupted", futures[-1].done(), futures[-1].cancel())
                for future in futures[1:]:
                    future.cancel()
                drain(60)
                print(futures[0].exception(0), futures[-1].cancelled())
        """)
        self.assertEqual(out, "interrupted False True\nNone True\n" * 2)

    def test_a_drain_in_the_child_of_a_fork(self):
        out = self.run_code("""
            device = weft.Device("cpu", worker_count=1)
            slow = weft.load(onnx_bytes.slow(steps=300), device)
            queue = weft.Queue(slow)
            kept = [slow.submit(big), queue.submit(slow, big)]
            child = os.fork()
            if child == 0:
                for drain in device.drain, queue.drain:
                    try:
                        drain()
                    except weft.Error as error:
                        if error.status != weft.Status.FORKED:
                            os._exit(1)
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """)
        self.assertEqual(out, "7\n")

    def test_the_child_of_a_fork_is_told(self):
        out = self.run_code("""
            relu = weft.load(onnx_bytes.unary("Relu"))
            future = relu.submit(x)
            future.add_done_callback(lambda f: None)
            future.result()
            child = os.fork()
            if child == 0:
                for call in (lambda: relu(x), lambda: relu.submit(x),
                             lambda: weft.load(onnx_bytes.unary("Relu"))):
                    try:
                        call()
                        os._exit(1)
                    except weft.Error as error:
                        if error.status != weft.Status.FORKED:
                            os._exit(2)
                del relu, future
                sys.exit(7)  # the ordinary way out, atexit and all
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), relu(x).sum())
        """)
        self.assertEqual(out, "7 16.0\n")

    def test_the_child_of_a_fork_leaves_the_parents_bells_alone(self):
        out = self.run_code("""
            import asyncio, select, weft._weft
            device = weft.Device("cpu", worker_count=1)
            slow = weft.load(onnx_bytes.slow(), device)
            bell, heard = weft._weft.Bell(), threading.Event()

            async def main():
                waiting = asyncio.ensure_future(awaited(slow.submit(big)))
                await asyncio.sleep(0)
                slow.submit(big).add_done_callback(lambda f: heard.set())
                future = slow.submit(big)
                future._watch(bell, "rung")
                future.result()  # the bell may ring a moment later
                select.select([bell.fileno()], [], [], 60)
                child = os.fork()
                if child == 0:
                    bell.ring()
                    done = bell.take() == []
                    future._watch(bell, "child's")
                    os._exit(0 if done and bell.take() == [] else 1)
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                await waiting
                print(code, bell.take(), heard.wait(60))

            async def awaited(future):
                await future

            asyncio.run(main())
        """)
        self.assertEqual(out, "0 ['rung'] True\n")

    def test_a_fork_while_a_device_is_opened(self):
        out = self.run_code("""
            holds, go = threading.Event(), threading.Event()

            def hold():
                with weft._device._lock:
                    holds.set()
                    go.wait()

            thread = threading.Thread(target=hold)
            thread.start()
            holds.wait()
            child = os.fork()
            if child == 0:
                import signal
                signal.alarm(30)
                os._exit(int(weft.load(onnx_bytes.unary("Relu"))(x).sum() != 16))
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            go.set()
        """)
        self.assertEqual(out, "0\n")

    def test_a_fork_before_the_first_device(self):
        out = self.run_code("""
            child = os.fork()
            relu = weft.load(onnx_bytes.unary("Relu"))
            ended = threading.Event()
            relu.submit(x).add_done_callback(lambda f: ended.set())
            good = ended.wait(60) and relu(x).sum() == 16
            if child == 0:
                os._exit(0 if good else 1)
            print(good, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """)
        self.assertEqual(out, "True 0\n")

    def test_a_subinterpreter_is_refused(self):
        out = self.run_code("""
            import weft
            try:
                import _interpreters as interpreters  # 3.13 and later
                answer = interpreters.exec(interpreters.create(), "import weft")
            except ImportError:
                import _xxsubinterpreters as interpreters
                try:
                    answer = interpreters.run_string(interpreters.create(),
                                                     "import weft")
                except Exception as error:
                    answer = error
            print("subinterpreter" in str(answer))
        """, head="")
        self.assertEqual(out, "True\n")

    def test_importing_starts_nothing(self):
        out = self.run_code("""
            import os, sys, weft
            print(len(os.listdir("/proc/self/task")), "torch" in sys.modules,
                  "numpy" in sys.modules)
        """, head="")
        self.assertEqual(out, "1 False False\n")


class Documentation(unittest.TestCase):
    def test_everything_public_has_words(self):
        text = pydoc.render_doc(weft, renderer=pydoc.plaintext)
        self.assertRegex(text, r"load\(\s*source")
        for name in weft.__all__:
            thing = getattr(weft, name)
            if not callable(thing):
                continue
            self.assertTrue(inspect.getdoc(thing), name)
            for member, value in vars(thing).items() if isinstance(thing, type) else ():
                if not member.startswith("_") and callable(value):
                    self.assertTrue(inspect.getdoc(value), f"{name}.{member}")

    def test_methods_of_the_compiled_part_have_signatures(self):
        for kind in (weft.Model, weft.Queue, weft.Device, weft.Future):
            for name in dir(kind):
                method = getattr(kind, name)
                if not name.startswith("_") and callable(method):
                    self.assertTrue(inspect.getdoc(method), f"{kind}.{name}")
                    inspect.signature(method)

    def test_the_version_is_the_library_s(self):
        self.assertEqual(weft.info()["version"], weft.info()["build"].split()[0])
        self.assertEqual(weft.__version__, weft.info()["version"])
        self.assertIn("cpu", weft.info()["backends"])
        self.assertEqual(weft.info("null")["device"]["name"], "null")


if __name__ == "__main__":
    unittest.main()

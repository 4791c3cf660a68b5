# SPDX-License-Identifier: Apache-2.0
"""Small PyTorch tensors are given out again, and nobody can tell; skipped where torch is
not."""

import gc
import importlib.util
import os
import pathlib
import random
import subprocess
import sys
import unittest
import weakref

import numpy as np
import onnx_bytes
import weft

GOLDEN = pathlib.Path(os.environ["WEFT_GOLDEN"])
missing = importlib.util.find_spec("torch") is None
if not missing:
    import torch
    from test_threads import at_once

# Free-threaded interpreters have no GIL that a tensor's end could drop.
USED = not missing and getattr(sys, "_is_gil_enabled", lambda: True)()


@unittest.skipIf(missing, "not installed: torch")
class Reuse(unittest.TestCase):
    def setUp(self):
        self.model = weft.load(onnx_bytes.identity("float32", ("n", "m")),
                               gil_threshold_us=float("inf"))
        self.model(torch.zeros(2, 3))  # the first run of a shape drops the GIL

    def of(self, value, shape=(2, 3)):
        return self.model(torch.full(shape, float(value)))

    def used(self, calls, *arguments):
        before = self.model.statistics()["reused_tensors"]
        calls(*arguments)
        return self.model.statistics()["reused_tensors"] - before

    def overwrite(self):
        """Enough answers to use every tensor again that can be."""
        for _ in range(40):
            self.assertEqual(self.of(-1).tolist(), [[-1.0] * 3] * 2)

    @unittest.skipUnless(USED, "tensors are not used again here")
    def test_loops_use_tensors_again(self):
        def dropped():
            for i in range(100):
                self.of(i)

        def assigned():
            y = None
            for i in range(100):
                y = self.of(i)
                self.assertEqual(y.tolist(), [[float(i)] * 3] * 2)

        dropped()
        self.assertEqual(self.used(dropped), 100)
        self.assertGreaterEqual(self.used(assigned), 98)
        with torch.inference_mode():
            dropped()
            self.assertEqual(self.used(dropped), 100)

    def test_what_is_held_stays_as_it_is(self):
        holders = {
            "itself": lambda y: y, "view": lambda y: y.view(-1), "row": lambda y: y[1],
            "numpy": lambda y: y.numpy(), "bytes": lambda y: memoryview(y.numpy()),
            "detached": lambda y: y.detach(), "storage": lambda y: y.untyped_storage(),
            "unbound": lambda y: y.unbind(),
            "from_dlpack": np.from_dlpack, "capsule": torch.utils.dlpack.to_dlpack,
            "expanded": lambda y: y.expand(5, 2, 3), "list": lambda y: [[y]],
            "iterator": iter, "data": lambda y: y.data, "bits": lambda y: y.view(torch.int32)}
        def held(name, thing):
            if name == "storage":
                return np.frombuffer(bytes(thing), np.float32).tolist()
            if name in ("unbound", "iterator"):
                return torch.stack(list(thing)).flatten().tolist()
            if name == "capsule":
                return torch.utils.dlpack.from_dlpack(thing).flatten().tolist()
            if name == "list":
                return thing[0][0].flatten().tolist()
            if name == "bits":
                return thing.view(torch.float32).flatten().tolist()
            return np.asarray(thing).flatten().tolist()

        for name, hold in holders.items():
            with self.subTest(name):
                for mode in (False, True):
                    self.overwrite()
                    with torch.inference_mode(mode):
                        thing = hold(self.of(7))
                    self.overwrite()
                    self.assertEqual(set(held(name, thing)), {7.0})
                    del thing

    def test_changes_are_not_handed_on(self):
        class Storage(torch.UntypedStorage):
            pass

        def swap(y):
            torch.utils.swap_tensors(y, torch.ones(2, 3))

        changes = {
            "attribute": lambda y: setattr(y, "mark", 1),
            "requires_grad": lambda y: y.requires_grad_(),
            "grad": lambda y: setattr(y, "grad", torch.ones(2, 3)),
            "t_": lambda y: y.t_(), "resize_": lambda y: y.resize_(1, 2),
            "squeeze_": lambda y: y.unsqueeze_(0), "strides": lambda y: y.as_strided_(
                (2, 3), (1, 1)),
            "set_": lambda y: y.set_(torch.ones(2, 3)),
            "data": lambda y: setattr(y, "data", torch.ones(2, 3)),
            "own data": lambda y: setattr(y, "data", y.view(3, 2)),
            "shared": lambda y: y.share_memory_(), "swapped": swap,
            "in place": lambda y: y.add_(1), "class": lambda y: setattr(
                y, "__class__", torch.nn.Buffer),
            "to ones": lambda y: y.copy_(torch.ones(2, 3, requires_grad=True)),
            "hooks": lambda y: setattr(y, "_backward_hooks", {}),
            "hook": lambda y: y.requires_grad_().register_hook(lambda grad: grad),
            "wanted no more": lambda y: y.requires_grad_().requires_grad_(False),
            "graph": lambda y: y.mul_(torch.ones(2, 3, requires_grad=True)).detach_(),
            "accumulated": lambda y: y.requires_grad_()
            .register_post_accumulate_grad_hook(lambda grad: None),
            "retained": lambda y: y.requires_grad_().retain_grad(),
            "other dict": lambda y: setattr(y, "__dict__", {"mark": 1}),
            "names": lambda y: y.rename_("a", "b"),
            "negated": lambda y: torch._C._set_neg(y, True),
            "storage": lambda y: y.untyped_storage().resize_(100),
            "filled": lambda y: y.untyped_storage().fill_(1),
            "storage's attribute": lambda y: setattr(y.untyped_storage(), "mark", 1),
            "storage's class": lambda y: setattr(
                y.untyped_storage(), "__class__", Storage)}
        left_out = set()
        for name, change in changes.items():
            with self.subTest(name):
                self.overwrite()
                y = self.of(5)
                try:
                    change(y)
                except (RuntimeError, TypeError, AttributeError):
                    left_out.add(name)  # this PyTorch has no such change
                    continue
                del y
                answers = [self.of(6) for _ in range(40)]
                for y in answers:
                    self.assertIs(type(y), torch.Tensor)
                    self.assertEqual(y.tolist(), [[6.0] * 3] * 2)
                    self.assertEqual((y.stride(), y.dtype), ((3, 1), torch.float32))
                    self.assertFalse(y.requires_grad or hasattr(y, "mark"))
                    self.assertIsNone(y._backward_hooks)
                    self.assertIsNone(y._post_accumulate_grad_hooks)
                    self.assertEqual(y._version, 0)
                    self.assertIsNone(y.grad)
                    self.assertIsNone(y.grad_fn)
                    self.assertTrue(y.is_leaf)
                    self.assertFalse(y.is_shared())
                    storage = y.untyped_storage()
                    self.assertIs(type(storage), torch.UntypedStorage)
                    self.assertFalse(hasattr(storage, "mark"))
        self.assertLessEqual(left_out, {"names", "storage"})

    def test_a_counter_of_changes_is_not_shared(self):
        y = self.of(5)
        p = torch.nn.Parameter(y)
        p.data = p.data.clone()  # now it shares nothing else
        del y
        ys = [self.of(6) for _ in range(40)]
        with torch.no_grad():
            p.add_(1)
        self.assertEqual({y._version for y in ys}, {0})

    def test_attributes_that_are_held_are_not_shared(self):
        for owner in (lambda y: y, torch.Tensor.untyped_storage):
            y = self.of(5)
            attributes = owner(y).__dict__
            del y
            ys = [self.of(6) for _ in range(40)]
            attributes["mark"] = 1
            self.assertFalse([y for y in ys if hasattr(owner(y), "mark")])

    def test_cycles_through_the_model_end(self):
        class Owner:
            pass

        def tie(y, owner):
            y.owner = owner

        def tie_hook(y, owner):
            y.requires_grad_().register_hook(lambda grad: owner)

        for tied in (tie, tie_hook):
            with self.subTest(tied.__name__):
                self.setUp()
                owner = Owner()
                owner.model = self.model
                self.of(1)
                y = self.of(1)
                tied(y, owner)
                dead = weakref.ref(owner)
                del y, owner, self.model
                gc.collect()
                self.assertIsNone(dead())

    def test_what_only_looks_hinders_nothing(self):
        looks = (torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.sum, repr, hash,
                 torch.Tensor.argmax, torch.Tensor.clone, torch.Tensor.double, np.from_dlpack,
                 lambda y: y + 1, lambda y: y.view(-1)[2:].mean(), lambda y: y.T @ y,
                 lambda y: (y.shape, y.requires_grad, y.grad, y.grad_fn, y.is_leaf),
                 lambda y: (y.untyped_storage().nbytes(), y.data_ptr()),
                 lambda y: torch.equal(y, y), lambda y: (y.__dict__, y.is_contiguous()),
                 lambda y: y._version)
        for mode in (False, True):
            with torch.inference_mode(mode):
                for look in looks[:-1 if mode else None]:
                    look(self.of(1))
                    self.assertEqual(self.used(lambda look=look: look(self.of(1))), 1)

    def test_tensors_of_many_dimensions_are_new(self):
        model = weft.load(onnx_bytes.identity("float32", tuple("abcdef")),
                          gil_threshold_us=float("inf"))
        with torch.inference_mode():  # where changes are not counted
            for _ in range(5):
                y = model(torch.ones(2, 1, 1, 1, 1, 3))
                self.assertEqual((y.shape, y.stride()),
                                 ((2, 1, 1, 1, 1, 3), (3, 3, 3, 3, 3, 1)))
                y.transpose_(0, 1)  # which changes no flag

    def test_weak_references_in_c_are_seen(self):
        for mode in (False, True):
            with torch.inference_mode(mode):
                weak = torch.multiprocessing.reductions.StorageWeakRef(
                    self.of(1).untyped_storage())
                self.overwrite()
                self.assertTrue(weak.expired())

    def test_autograd_keeps_what_it_saved(self):
        weight = torch.full((2, 3), 2.0, requires_grad=True)
        total = (self.of(3) * weight).sum()
        self.overwrite()
        total.backward()
        self.assertEqual(set(weight.grad.flatten().tolist()), {3.0})

    def test_inference_mode_makes_its_own(self):
        for mode in (True, False) * 5:
            with torch.inference_mode(mode):
                for _ in range(3):
                    self.assertEqual(self.of(1).is_inference(), mode)

    def test_weak_references_die(self):
        dead = []
        y = self.of(1)
        reference = weakref.ref(y, dead.append)
        del y
        self.overwrite()
        self.assertIsNone(reference())
        self.assertEqual(len(dead), 1)
        y = self.of(1)
        reference = weakref.ref(y.untyped_storage(), dead.append)
        del y
        self.overwrite()
        self.assertIsNone(reference())
        self.assertEqual(len(dead), 2)
        y = self.of(1, (256, 256))  # large: not kept at all
        reference = weakref.ref(y)
        del y
        self.assertIsNone(reference())

    def test_little_is_kept(self):
        tensors = len([o for o in gc.get_objects() if type(o) is torch.Tensor])
        for rows in range(1, 200):
            self.of(1, (rows, 3))
        now = len([o for o in gc.get_objects() if type(o) is torch.Tensor])
        self.assertLessEqual(now - tensors, 16)
        del self.model
        now = len([o for o in gc.get_objects() if type(o) is torch.Tensor])
        self.assertLessEqual(now - tensors, 1)

    def test_modes_see_nothing(self):
        class Seen(torch.overrides.TorchFunctionMode):
            calls = []

            def __torch_function__(self, function, types, arguments=(), named=None):
                self.calls.append(function)
                return function(*arguments, **(named or {}))

        x = torch.ones(2, 3)
        for _ in range(2):
            with Seen():
                for _ in range(5):
                    y = self.model(x)
                    del y
            self.assertEqual(Seen.calls, [])
            self.overwrite()

    def in_process(self, text):
        """What the first tensor of a process tells."""
        start = """
import onnx_bytes, torch, weft
model = weft.load(onnx_bytes.identity("float32", ("n", "m")),
                  gil_threshold_us=float("inf"))
x = torch.zeros(2, 3)
model(x)
def used(calls):
    before = model.statistics()["reused_tensors"]
    for _ in range(calls):
        model(x)
    return model.statistics()["reused_tensors"] - before
"""
        subprocess.run([sys.executable, "-c", start + text], check=True)

    def test_modes_that_see_every_operator_see_nothing(self):
        self.in_process(f"""
from torch.utils._python_dispatch import TorchDispatchMode
class Seen(TorchDispatchMode):
    calls = []
    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.calls.append(function)
        return function(*arguments, **(named or {{}}))
with Seen():
    used(5)
assert not Seen.calls, Seen.calls
used(2)
assert used(10) == {10 if USED else 0}
with Seen():
    assert used(10) == {10 if USED else 0}
assert not Seen.calls, Seen.calls
""")

    def test_a_process_that_only_infers(self):
        self.in_process(f"""
with torch.inference_mode():
    used(2)
    assert used(10) == {10 if USED else 0}
    assert torch.is_inference_mode_enabled() and model(x).is_inference()
used(2)
assert used(10) == {10 if USED else 0}
assert model(x)._version == 0
""")

    def test_a_call_made_by_a_finalizer(self):
        case = self

        class Garbage:
            def __del__(self):
                case.assertEqual(set(case.of(9).flatten().tolist()), {9.0})

        threshold = gc.get_threshold()
        gc.set_threshold(3)
        try:
            for i in range(300):
                cycle = Garbage()
                cycle.cycle = cycle
                del cycle
                y = self.of(i)
                self.assertEqual(set(y.flatten().tolist()), {float(i)})
        finally:
            gc.set_threshold(*threshold)

    def test_threads_that_hold_what_they_like(self):
        def work(thread):
            choose = random.Random(thread)
            held = []
            for i in range(500):
                value = float(1000 * thread + i)
                y = self.of(value)
                held.append((value, choose.choice((y, y[1], y.numpy(), y.view(-1)))))
                if choose.random() < 0.3:
                    del y
                while len(held) > choose.randrange(1, 12):
                    value, thing = held.pop(choose.randrange(len(held)))
                    self.assertEqual(set(np.asarray(thing).flatten().tolist()), {value})

        at_once(work)


if __name__ == "__main__":
    unittest.main()

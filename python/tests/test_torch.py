# SPDX-License-Identifier: Apache-2.0
"""PyTorch's tensors in and out, and weft.compile; skipped where torch is not."""

import asyncio
import importlib.util
import os
import pathlib
import unittest

import numpy as np
import onnx_bytes
import weft

GOLDEN = pathlib.Path(os.environ["WEFT_GOLDEN"])
missing = [name for name in ("torch", "onnxscript")
           if importlib.util.find_spec(name) is None]
if not missing:
    import torch
    from test_threads import at_once


@unittest.skipIf(missing, f"not installed: {', '.join(missing)}")
class Tensors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.linear = weft.load(GOLDEN / "t2_linear/dynamo/model.onnx")
        cls.x = torch.randn(4, 256)
        cls.y = cls.linear(cls.x.numpy())

    def same(self, tensor):
        self.assertIsInstance(tensor, torch.Tensor)
        self.assertEqual(tensor.detach().numpy().tobytes(), self.y.tobytes())

    def test_tensors_in_give_tensors_out(self):
        self.same(self.linear(self.x))
        self.same(self.linear(torch.nn.Parameter(self.x)))
        self.same(self.linear.submit(x=self.x).result())
        self.assertIsInstance(self.linear(self.x.numpy()), np.ndarray)

    def test_no_copy(self):
        identity = weft.load(onnx_bytes.identity("float32", ("n", "m")))
        place = torch.empty(4, 256)
        self.assertIs(identity(self.x, out=place), place)
        self.assertTrue(torch.equal(place, self.x))
        array = np.empty((4, 256), np.float32)
        self.assertIs(identity(self.x, out=array), array)
        with self.assertRaises(ValueError):
            identity(self.x, out=place.t().contiguous().t())

    def test_views_and_types(self):
        identity = weft.load(onnx_bytes.identity("float32", ("n", "m")))
        for view in (self.x.t(), self.x[::2, ::3], self.x[1:, 3:], self.x[:0],
                     self.x[:1].expand(5, -1)):
            self.assertTrue(torch.equal(identity(view), view))
        for dtype in ("float32", "float64", "float16", "bfloat16", "int64", "int32",
                      "int8", "uint8", "bool"):
            x = torch.tensor([0, 1, 3]).to(getattr(torch, dtype))
            y = weft.load(onnx_bytes.identity(dtype))(x)
            self.assertEqual(y.dtype, x.dtype)
            self.assertTrue(torch.equal(y, x))
        with self.assertRaisesRegex(weft.ArgumentError, "'x' is f32 and was given f64"):
            identity(self.x.double())
        with self.assertRaisesRegex(weft.ArgumentError, "'x' is f32 and was given bf16; "
                                    "convert it first"):
            identity(self.x.bfloat16())

    def test_tensors_without_memory_that_can_be_read(self):
        identity = weft.load(onnx_bytes.identity("float32", ("n", "m")))
        emptied = torch.empty(2, 3)
        emptied.untyped_storage().resize_(0)
        for x, words in ((torch.empty(2, 2, device="meta"), "cannot be read: .*meta"),
                         (self.x.to_sparse(), "cannot be read"),
                         (emptied, "a shape and no memory"),
                         (torch.empty(2, 3, dtype=torch.complex64), "given another type")):
            with self.assertRaisesRegex(weft.ArgumentError, f"input 'x' .*{words}"):
                identity(x)
        with self.assertRaisesRegex(weft.ArgumentError, "output 'y' has a shape and no"):
            identity(torch.ones(2, 3), out=emptied)

    def test_views_that_negate(self):
        identity = weft.load(onnx_bytes.identity("float32", ("n", "m")))
        for shape in (2, 3), (1, 1), (1, 4):
            numbers = torch.randn(*shape, dtype=torch.complex64)
            view = numbers.conj().imag
            self.assertTrue(view.is_neg())
            self.assertTrue(torch.equal(identity(view), -numbers.imag))
        with self.assertRaisesRegex(weft.ArgumentError, "negates its elements"):
            identity(torch.ones(1, 1), out=torch.zeros(1, 1, dtype=torch.cfloat).conj().imag)

    def test_the_memory_of_answers_is_their_own(self):
        answers = [self.linear(self.x) for _ in range(50)]
        for answer in answers:
            self.same(answer)
            answer.add_(1)  # writable, and nobody else's
        self.same(self.linear(self.x))

    def test_threads(self):
        def work(_):
            with torch.inference_mode():
                for _ in range(200):
                    self.same(self.linear(self.x))

        at_once(work)


@unittest.skipIf(missing, f"not installed: {', '.join(missing)}")
class Compiled(unittest.TestCase):
    def test_a_module_by_one_line(self):
        module = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Dropout(0.9),
                                     torch.nn.ReLU())
        module.train()
        x = torch.randn(3, 16)
        model = weft.compile(module, x, dynamic={"input": {0: "batch"}})
        self.assertTrue(module.training)
        self.assertEqual(model.inputs[0].shape, ("batch", 16))
        module.eval()
        for rows in (3, 1, 7):
            x = torch.randn(rows, 16)
            torch.testing.assert_close(model(x), module(x), rtol=1e-4, atol=1e-4)

        async def main():
            return await model.submit(x)

        self.assertTrue(torch.equal(asyncio.run(main()), model(x)))

    def test_several_inputs_and_outputs(self):
        class Two(torch.nn.Module):
            def forward(self, a, b):
                return a @ b, a.sum()

        a, b = torch.randn(2, 3), torch.randn(3, 4)
        product, total = weft.compile(Two(), (a, b), gil_threshold_us=0)(a, b)
        torch.testing.assert_close(product, a @ b)
        torch.testing.assert_close(total, a.sum())

    def check(self, module, *inputs, **arguments):
        """The model returns what the module does; the model."""
        module = module.eval()
        named = arguments.get("example_kwargs", {})
        model = weft.compile(module, inputs, **arguments)
        torch.testing.assert_close(model(*inputs, **named), module(*inputs, **named),
                                   rtol=1e-4, atol=1e-4)
        return model

    def test_results_of_any_structure(self):
        class Structure(torch.nn.Module):
            def __init__(self, make):
                super().__init__()
                self.make = make

            def forward(self, x):
                return self.make(x + 1, x * 2)

        x = torch.randn(2, 3)
        for make in (lambda a, b: {"a": a, "b": {"c": b}}, lambda a, b: (a, (b, [a - b])),
                     lambda a, b: (None, a, None, b), lambda a, b: [a, b],
                     lambda a, b: {"only": a}, lambda a, b: (a,)):
            module = Structure(make)
            model, want = weft.compile(module, x), module(x)
            for got in (model(x), model.submit(x).result()):
                self.assertIs(type(got), type(want))
                torch.testing.assert_close(got, want)
        self.assertIsInstance(weft.compile(Structure(lambda a, b: (a, b)), x)(x),
                              weft.Outputs)

    def test_named_optional_and_constant_inputs(self):
        class Named(torch.nn.Module):
            def forward(self, x, times=1, bias=None, *, scale, mask=None):
                y = x * scale * times + (0 if bias is None else bias)
                return y if mask is None else y * mask

        x, scale = torch.randn(2, 3), torch.tensor(2.0)
        self.check(Named(), x, example_kwargs={"scale": scale, "mask": x > 0})
        self.check(Named(), x, example_kwargs={"scale": scale, "bias": x})
        model = weft.compile(Named(), (x, 3, None), example_kwargs={"scale": scale})
        torch.testing.assert_close(model(x, scale=scale), x * 6)

        class Dict(torch.nn.Module):
            def forward(self, both):
                return both["a"] - both["b"]

        model = weft.compile(Dict(), {"a": x, "b": scale})
        torch.testing.assert_close(model(x, scale), x - 2)

    def test_dimensions_that_vary(self):
        class Product(torch.nn.Module):
            def forward(self, a, b):
                return a @ b

        model = self.check(Product(), torch.randn(2, 3), torch.randn(3, 4),
                           dynamic={"a": {0: "n", 1: "k"}, "b": {0: "k", 1: "m"}})
        self.assertEqual(model(torch.ones(5, 7), torch.ones(7, 6)).shape, (5, 6))
        with self.assertRaises(weft.ArgumentError):
            model(torch.ones(5, 7), torch.ones(8, 6))
        layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        model = self.check(layer, torch.randn(2, 5, 16),
                           dynamic={"src": {0: "batch", 1: "length"}})
        x = torch.randn(1, 11, 16)
        torch.testing.assert_close(model(x), layer(x), rtol=1e-4, atol=1e-4)
        with self.assertWarnsRegex(UserWarning, "'k' of input 'input' may not vary: the "
                                   "module fixes it at 3"):
            weft.compile(torch.nn.Linear(3, 4), torch.randn(2, 3),
                         dynamic={"input": {0: "batch", 1: "k"}})

    def test_what_cannot_be_exported(self):
        class Branch(torch.nn.Module):
            def forward(self, x):
                return x if x.sum() > 0 else x * 2

        class Singular(torch.nn.Module):
            def forward(self, x):
                return torch.linalg.svd(x)[1]

        x = torch.randn(2, 3)
        for module, words in ((Branch(), "this Branch: .*data-dependent"),
                              (Singular(), "this Singular: .*svd")):
            with self.assertRaisesRegex(weft.Error, "PyTorch cannot export " + words) as c:
                weft.compile(module.train(), x)
            self.assertEqual(c.exception.status, weft.Status.INVALID_MODEL)
            self.assertIsNotNone(c.exception.__cause__)
            self.assertTrue(module.training)
        with self.assertRaisesRegex(TypeError, "wants a torch.nn.Module, not a function"):
            weft.compile(lambda x: x, x)
        with self.assertRaisesRegex(TypeError, "input 0 is a numpy.ndarray"):
            weft.compile(torch.nn.ReLU(), x.numpy())
        with self.assertRaisesRegex(weft.ArgumentError, "an input 'y', and forward.. takes "
                                    "input"):
            weft.compile(torch.nn.ReLU(), x, dynamic={"y": {0: "n"}})
        with self.assertRaisesRegex(weft.Error, "missing a required argument: 'x'"):
            weft.compile(Branch(), ())


if __name__ == "__main__":
    unittest.main()

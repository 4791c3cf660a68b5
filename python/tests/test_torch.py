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
        with self.assertRaisesRegex(weft.ArgumentError, "'x' cannot be read: .*meta"):
            identity(torch.empty(2, 2, device="meta"))

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


if __name__ == "__main__":
    unittest.main()

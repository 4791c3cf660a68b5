# SPDX-License-Identifier: Apache-2.0
"""Calls: arguments, types, copies, outputs, errors."""

import ctypes
import os
import pathlib
import pickle
import sys
import tempfile
import unittest

import numpy as np
import onnx_bytes
import weft

GOLDEN = pathlib.Path(os.environ["WEFT_GOLDEN"])


class OldTensor:
    """DLPack of before 1.0: no versions, no other protocol."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self):
        return self.array.__dlpack__()


class OnCard(OldTensor):
    """Says that it lies in a card's memory."""

    def __dlpack__(self):
        capsule = self.array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        ctypes.c_int32.from_address(pointer(capsule, b"dltensor") + 8).value = 2
        return capsule


class OtherOnCard:
    """So does this one, in Numba's way."""

    __cuda_array_interface__ = {"shape": (1, 4), "typestr": "<f4", "data": (256, False),
                                "version": 3}


class Calls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.linear = weft.load(GOLDEN / "t2_linear/dynamo/model.onnx")
        case = GOLDEN / "t2_linear/case_0"
        cls.x, cls.y = np.load(case / "input_0.npy"), np.load(case / "output_0.npy")
        cls.relu = weft.load(onnx_bytes.unary("Relu"))
        cls.two = weft.load(onnx_bytes.model(
            [onnx_bytes.node("Add", ["a", "b"], ["sum"]),
             onnx_bytes.node("Sub", ["a", "b"], ["less.1"])],
            [("a", "float32", ("n",)), ("b", "float32", ("n",))],
            [("sum", "float32", ("n",)), ("less.1", "float32", ("n",))]))

    def test_answers_are_those_of_the_golden_file(self):
        got = self.linear(self.x)
        np.testing.assert_allclose(got, self.y, rtol=1e-4, atol=1e-4)
        self.assertEqual(got.tobytes(), self.linear(x=self.x).tobytes())
        self.assertEqual(got.tobytes(), self.linear({"x": self.x}).tobytes())
        self.assertEqual(got.tobytes(), self.linear(**{"".join("x"): self.x}).tobytes())

    def test_what_a_model_says_of_itself(self):
        self.assertEqual(self.linear.inputs,
                         (weft.Value("x", "float32", ("batch", 256)),))
        self.assertEqual(self.linear.outputs[0].shape, ("batch", 128))
        self.assertIn("x: float32['batch', 256]", repr(self.linear))
        self.assertEqual(self.linear.device.info()["name"], "cpu")
        self.assertIn("workspace", self.linear.plan(self.x))

    def test_several_outputs_have_order_and_names(self):
        a, b = np.float32([1, 2]), np.float32([10, 20])
        got = self.two(a, b=b)
        self.assertIsInstance(got, tuple)
        total, less = got
        np.testing.assert_array_equal(total, [11, 22])
        self.assertIs(got["less.1"], less)
        self.assertIs(got.sum, total)
        self.assertEqual(list(got.asdict()), ["sum", "less.1"])
        with self.assertRaises(KeyError):
            got["other"]
        with self.assertRaises(AttributeError):
            got.other

    def test_every_type_goes_through(self):
        for dtype in ("float32", "float64", "float16", "int64", "int32", "int8", "uint8",
                      "bool"):
            with self.subTest(dtype):
                model = weft.load(onnx_bytes.identity(dtype))
                x = np.array([0, 1, 1, 0, 100], dtype)
                y = model(x)
                self.assertEqual(y.dtype, x.dtype)
                np.testing.assert_array_equal(y, x)

    def test_the_bits_of_bfloat16(self):
        model = weft.load(onnx_bytes.identity("bfloat16"))
        bits = np.uint16([0x3F80, 0xC000, 0x7FC0])  # 1, -2, NaN
        y = model(bits)
        self.assertEqual(y.view(np.uint16).tobytes(), bits.tobytes())
        try:
            import ml_dtypes
        except ImportError:
            self.assertEqual(y.dtype, np.uint16)
            return
        self.assertEqual(y.dtype, ml_dtypes.bfloat16)
        self.assertEqual(model(y).view(np.uint16).tobytes(), bits.tobytes())

    def test_other_layouts_are_copied(self):
        full = np.arange(48, dtype=np.float32).reshape(6, 8) - 20
        unaligned = np.frombuffer(b"-" + full.tobytes(), np.uint8)[1:].view(np.float32)
        for name, x in {"transposed": full.T, "every other": full[::2, ::2],
                        "backwards": full[::-1, ::-1], "columns": full[:, 3:5],
                        "fortran": np.asfortranarray(full), "row": full[2:3],
                        "broadcast": np.broadcast_to(full[0], (3, 8)),
                        "unaligned": unaligned.reshape(6, 8)}.items():
            with self.subTest(name):
                np.testing.assert_array_equal(self.relu(x), np.maximum(x, 0))

    def test_strided_copies_of_every_rank_and_size(self):
        numbers = np.random.default_rng(1)
        for dtype in ("uint8", "float16", "int32", "float64"):
            for rank in range(1, 6):
                shape = tuple(numbers.integers(1, 5, rank))
                model = weft.load(onnx_bytes.identity(dtype, tuple(
                    f"d{i}" for i in range(rank))))
                x = numbers.integers(0, 100, tuple(2 * s for s in shape)).astype(dtype)
                x = x[tuple(slice(None, None, 2) for _ in shape)]
                x = x.transpose(numbers.permutation(rank))
                np.testing.assert_array_equal(model(x), x)

    def test_other_objects_than_arrays(self):
        x = np.float32([[1, -2], [-3, 4]])
        want = np.maximum(x, 0)
        np.testing.assert_array_equal(self.relu(memoryview(x)), want)
        np.testing.assert_array_equal(self.relu(OldTensor(x)), want)
        np.testing.assert_array_equal(self.relu(OldTensor(x.T)), want.T)
        flat = weft.load(onnx_bytes.identity("uint8"))
        np.testing.assert_array_equal(flat(b"abc"), [97, 98, 99])
        np.testing.assert_array_equal(flat(bytearray(b"abc")), [97, 98, 99])

    def test_tensors_of_a_card_are_refused(self):
        x = np.float32([[-1, 0, 1, 2]])
        for given in OnCard(x), OtherOnCard():
            words = r"'x' is not in the CPU's memory .*move it there first"
            with self.assertRaisesRegex(weft.ArgumentError, words):
                self.relu(given)
            with self.assertRaisesRegex(weft.ArgumentError, words):
                self.relu.submit(given)
            with self.assertRaisesRegex(weft.ArgumentError, "'y' is not in the CPU's"):
                self.relu(x, out=given)
        np.testing.assert_array_equal(self.relu(x), [[0, 0, 1, 2]])

    def test_arrays_that_are_not_plain(self):
        """Plain ones are opened by their fields, these by the protocol of buffers."""
        x = np.float32([[1, -2], [-3, 4]])
        named = x.view(np.dtype("float32", metadata={"unit": "V"}))
        with tempfile.TemporaryFile() as file:
            mapped = np.memmap(file, np.float32, "w+", shape=(2, 2))
            mapped[:] = x
            for other in (x.view(np.recarray), np.ma.array(x), named, mapped):
                got = self.relu(other)
                self.assertIs(type(got), np.ndarray)
                np.testing.assert_array_equal(got, np.maximum(x, 0))
            self.assertIs(self.relu(x, out=mapped), mapped)
            np.testing.assert_array_equal(mapped, np.maximum(x, 0))
        zero = weft.load(onnx_bytes.identity("float32", ()))
        np.testing.assert_array_equal(zero(np.array(3, np.float32)), 3)
        self.assertEqual(zero(np.array(3, np.float32)).shape, ())

    def test_arrays_with_a_dtype_of_their_own(self):
        for dtype in ("float32", "float64", "float16", "int64", "int32", "int8", "uint8",
                      "bool"):
            identity = weft.load(onnx_bytes.identity(dtype))
            plain = np.array([0, 1, 1], dtype)
            own = pickle.loads(pickle.dumps(plain))
            self.assertEqual(identity(own).tolist(), plain.tolist())
            place = pickle.loads(pickle.dumps(np.zeros(3, dtype)))
            self.assertIs(identity(own, out=place), place)
            self.assertEqual(place.tolist(), plain.tolist())
            for other in ("uint32", "float32", "uint16", "datetime64[s]"):
                if other != dtype:
                    with self.assertRaises(weft.ArgumentError):
                        identity(pickle.loads(pickle.dumps(plain.astype(other))))

    def test_answers_are_arrays_of_their_own(self):
        x = np.float32([[1, -2, 3], [-3, 4, 5]])
        for _ in range(20):
            y = self.relu(x)
            self.assertIsNone(y.base)
            self.assertTrue(y.flags.owndata and y.flags.writeable and y.flags.c_contiguous)
            self.assertEqual((y.dtype, y.strides), (np.dtype("float32"), (12, 4)))
            y.resize((4, 3), refcheck=False)
            np.testing.assert_array_equal(y[:2], np.maximum(x, 0))

    def test_an_array_in_use_is_not_resized(self):
        x, y = np.ones((2, 3), np.float32), np.empty((2, 3), np.float32)
        x_references, y_references = sys.getrefcount(x), sys.getrefcount(y)
        future = self.relu.submit(x, out=y)
        held = sys.getrefcount(x) - x_references, sys.getrefcount(y) - y_references
        future.result()
        self.assertTrue(min(held) >= 2 or future.done())
        del future
        self.assertEqual(sys.getrefcount(x), x_references)

    def test_arrays_of_ctypes(self):
        x, y = (ctypes.c_float * 4)(1, -2, 3, -4), (ctypes.c_float * 4)()
        relu = weft.load(onnx_bytes.unary("Relu", shape=("n",)))
        np.testing.assert_array_equal(relu(x), [1, 0, 3, 0])
        self.assertIs(relu(x, out=y), y)
        self.assertEqual(list(y), [1, 0, 3, 0])
        rows = (ctypes.c_float * 3 * 2)((1, -2, 3), (-4, 5, -6))
        np.testing.assert_array_equal(self.relu(rows), [[1, 0, 3], [0, 5, 0]])

    def test_read_only_inputs_and_one_array_for_two_inputs(self):
        a = np.float32([1, 2])
        a.setflags(write=False)
        np.testing.assert_array_equal(self.two(a, a).sum, [2, 4])

    def test_sizes_from_nothing_to_large(self):
        for shape in ((0, 3), (3, 0), (1, 1), (1, 100000), (3000, 3000)):
            x = np.full(shape, -1, np.float32)
            self.assertEqual(self.relu(x).tobytes(), np.zeros(shape, np.float32).tobytes())
        scalar = weft.load(onnx_bytes.identity("float32", ()))
        self.assertEqual(scalar(np.float32(3)).shape, ())
        self.assertEqual(scalar(np.array(3, np.float32))[()], 3)

    def test_what_is_no_number_stays_none(self):
        x = np.float32([[np.nan, np.inf, -np.inf, -0.0, 1e-45]])
        same = weft.load(onnx_bytes.unary("Identity"))(x)
        self.assertEqual(same.tobytes(), x.tobytes())
        negated = weft.load(onnx_bytes.unary("Neg"))(x)
        np.testing.assert_array_equal(negated, -x)
        self.assertFalse(np.signbit(negated[0, 3]))

    def test_out(self):
        place = np.empty_like(self.y)
        self.assertIs(self.linear(self.x, out=place), place)
        self.assertEqual(place.tobytes(), self.linear(self.x).tobytes())
        a, b, c = np.float32([1, 2]), np.float32([10, 20]), np.empty(2, np.float32)
        got = self.two(a, b, out=[None, c])
        self.assertIs(got["less.1"], c)
        np.testing.assert_array_equal(c, [-9, -18])
        got = self.two(a, b, out={"sum": c})
        self.assertIs(got.sum, c)
        np.testing.assert_array_equal(c, [11, 22])
        self.assertIs(self.two(a, b, out=None).__class__, got.__class__)

    def test_out_that_is_not_right(self):
        x = np.zeros((2, 2), np.float32)
        frozen = np.zeros((2, 2), np.float32)
        frozen.setflags(write=False)
        for words, out in {"another shape": np.zeros((2, 3), np.float32),
                           "f64": np.zeros((2, 2)),
                           "not dense": np.zeros((2, 4), np.float32)[:, ::2],
                           "read-only": frozen, "overlap": x, "is a list":
                           [[[1.0]]]}.items():
            with self.subTest(words), self.assertRaises(ValueError) as raised:
                self.relu(x, out=out)
            self.assertIn(words, str(raised.exception))
        for out in ([x, x], {"z": x}):
            with self.assertRaises(TypeError):
                self.relu(x, out=out)
        with self.assertRaises(TypeError):
            self.two(x[0], x[1], out=x[0])

    def test_arguments_that_do_not_fit(self):
        x = self.x
        for call in (lambda: self.linear(), lambda: self.linear(x, x),
                     lambda: self.linear(x, x=x), lambda: self.linear(z=x),
                     lambda: self.linear({"z": x}), lambda: self.linear({3: x}),
                     lambda: self.linear(*[x] * 20), lambda: self.linear(x, priority=1)):
            with self.assertRaises(TypeError):
                call()

    def test_errors_name_the_tensor_and_keep_the_status(self):
        for words, x in {"given f64": self.x.astype(np.float64),
                         "format '>f'": self.x.astype(">f4"),
                         "format 'Zf'": self.x.astype(np.complex64),
                         "[4,3]": self.x[:, :3], "is a list": [1.0], "is a str": "x",
                         "is a NoneType": None}.items():
            with self.subTest(words), self.assertRaises(weft.ArgumentError) as raised:
                self.linear(x)
            error = raised.exception
            self.assertIn("'x'", str(error))
            self.assertIn(words, str(error))
            self.assertEqual(error.status, weft.Status.INVALID_ARGUMENT)
            self.assertIsInstance(error, ValueError)

    def test_shapes_that_do_not_fit_are_told_by_axis(self):
        x, a, b = self.x, np.zeros(2, np.float32), np.zeros(3, np.float32)
        for call, words in (
                (lambda: self.linear(x[:, :3]),
                 ("input 'x': axis 1 is 3; the model wants 256", "[4,3]", "['batch',256]")),
                (lambda: self.linear(x[None]),
                 ("input 'x' has 3 dimensions, [1,4,256]", "wants 2: ['batch',256]")),
                (lambda: self.two(a, b), ("input 'b': axis 0 ('n') is 3",
                                          "axis 0 of input 'a' has 2")),
                (lambda: self.two.submit(a, b), ("input 'b': axis 0 ('n') is 3",)),
                (lambda: self.linear(x, out=np.zeros((3, 128), np.float32)),
                 ("output", "axis 0 ('batch') is 3, and 4", "[3,128]", "[4,128]")),
                (lambda: self.linear(x, out=np.zeros(128, np.float32)),
                 ("another shape, [128]", "[4,128]"))):
            with self.subTest(words[0]), self.assertRaises(weft.ArgumentError) as raised:
                call()
            for word in words:
                self.assertIn(word, str(raised.exception))

    def test_errors_about_names_that_are_cut_or_not_utf8(self):
        for name in (b"\xc3\xa9" * 100, b"x" + b"\xc3\xa9" * 100, b"\xff\xfe",
                     b"\xe2\x82"):
            stand_in = "~" * len(name)
            data = onnx_bytes.unary("Relu", shape=(stand_in, 2))
            model = weft.load(data.replace(stand_in.encode(), name))
            start = name.decode(errors="replace")[:2]
            self.assertEqual(model.inputs[0].shape[0], name.decode(errors="replace"))
            for x in (np.zeros(2, np.float32), np.zeros((1, 3), np.float32)):
                with self.subTest(name), self.assertRaises(weft.ArgumentError) as raised:
                    model(x)
                self.assertIn("the model wants 2", str(raised.exception))
                self.assertIn("['" + start, str(raised.exception))

    def test_what_an_argument_raises_itself_becomes_the_cause(self):
        class Broken:
            def __dlpack__(self, **named):
                raise RuntimeError("on the moon\nand more")

        memory = memoryview(bytearray(4))
        memory.release()
        for broken, words in ((Broken(), "on the moon"), (memory, "released"),
                              (np.array([object()]), "'O'")):
            with self.assertRaises(weft.ArgumentError) as raised:
                self.relu(broken)
            self.assertIn("input 'x'", str(raised.exception))
            self.assertIn(words, str(raised.exception))
            self.assertNotIn("more", str(raised.exception))
        self.assertIsNone(raised.exception.__cause__)

        class Interrupted:
            def __dlpack__(self, **named):
                raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            self.relu(Interrupted())

    def test_a_mapping_that_changes_during_the_call(self):
        inputs = {}

        class Sly:
            def __dlpack__(self, **named):
                inputs.clear()
                return np.float32([1, 2]).__dlpack__()

        for _ in range(100):
            inputs.update(a=Sly(), b=np.float32([10, 20]))
            np.testing.assert_array_equal(self.two(inputs).sum, [11, 22])

    def test_errors_of_loading(self):
        for status, source in {weft.Status.NOT_FOUND: "/nowhere/m.onnx",
                               weft.Status.INVALID_MODEL: b"not a model",
                               weft.Status.UNSUPPORTED: onnx_bytes.unary("NoSuchOperator"),
                               }.items():
            with self.subTest(status), self.assertRaises(weft.Error) as raised:
                weft.load(source)
            self.assertEqual(raised.exception.status, status)
            again = pickle.loads(pickle.dumps(raised.exception))
            self.assertEqual((str(again), again.status),
                             (str(raised.exception), status))
            self.assertTrue(status.advice)
        with self.assertRaises(TypeError):
            weft.load(None)
        with self.assertRaises(weft.Error) as raised:
            weft.load(onnx_bytes.unary("Relu"), device="abacus")
        self.assertEqual(raised.exception.status, weft.Status.NOT_FOUND)

    def test_weights_can_be_replaced(self):
        w = np.float32([1, 2, 3])
        source = onnx_bytes.model(
            [onnx_bytes.node("Add", ["x", "w"], ["y"])], [("x", "float32", (3,))],
            [("y", "float32", (3,))], [("w", w)])
        x = np.zeros(3, np.float32)
        np.testing.assert_array_equal(weft.load(source)(x), w)
        np.testing.assert_array_equal(weft.load(source, weights={"w": -w[::-1]})(x),
                                      -w[::-1])
        for weights in ({"v": w}, {"w": w[:2]}, {"w": w.astype(np.float64)}):
            with self.assertRaises(weft.Error):
                weft.load(source, weights=weights)
        with self.assertRaises(TypeError):
            weft.load(source, weights={1: w})

    def test_a_value_that_decides_a_shape(self):
        model = weft.load(onnx_bytes.model(
            [onnx_bytes.node("Reshape", ["x", "to"], ["y"])],
            [("x", "float32", ("n",)), ("to", "int64", (2,))],
            [("y", "float32", ("a", "b"))]))
        x = np.arange(12, dtype=np.float32)
        for to in ([3, 4], [4, 3], [2, 6], [3, 4]):
            np.testing.assert_array_equal(model(x, np.int64(to)), x.reshape(to))

    def test_more_tensors_than_a_few(self):
        names = [f"i{n}" for n in range(20)]
        model = weft.load(onnx_bytes.model(
            [onnx_bytes.node("Neg", [name], ["o" + name]) for name in names],
            [(name, "float32", (2,)) for name in names],
            [("o" + name, "float32", (2,)) for name in names]))
        xs = {name: np.float32([n, -n]) for n, name in enumerate(names)}
        for got in (model(**xs), model(*xs.values()), model.submit(xs).result()):
            for name, x in xs.items():
                np.testing.assert_array_equal(got["o" + name], -x)
        with self.assertRaises(TypeError):
            model(*xs.values(), xs["i0"])

    def test_settings_and_their_limits(self):
        source = onnx_bytes.unary("Relu")
        self.assertEqual(weft.load(source, gil_threshold_us=3).gil_threshold_us, 3)
        self.assertEqual(weft.load(source, gil_threshold_us=float("inf"))
                         .gil_threshold_us, float("inf"))
        for wrong in (-1.0, float("nan")):
            with self.assertRaises(ValueError):
                weft.load(source, gil_threshold_us=wrong)
        weft.load(source, precision="f32")
        with self.assertRaisesRegex(ValueError, "'f32', 'tf32', 'bf16' or 'f16'"):
            weft.load(source, precision="f8")
        with self.assertRaisesRegex(weft.Error, "no products in bf16"):
            weft.load(source, precision="bf16")
        device = weft.Device("cpu", worker_count=1, max_contexts=2)
        self.assertEqual(device.info()["max_contexts"], 2)
        x = np.float32([[-1, 1]])
        np.testing.assert_array_equal(weft.load(source, device)(x), [[0, 1]])
        device.trim()
        device.close()
        with self.assertRaises(weft.Error) as raised:
            weft.load(source, device)(x)
        self.assertEqual(raised.exception.status, weft.Status.CLOSED)
        device.drain(1.0)
        self.assertGreaterEqual(device.statistics()["done"], 1)

    def test_a_shared_device_that_is_closed(self):
        source, x = onnx_bytes.unary("Relu"), np.float32([[-1, 1]])
        first = weft.load(source, "null").device
        self.assertIs(weft.load(source, "null").device, first)
        weft.Device("null").close()  # one of its own
        self.assertIs(weft.load(source, "null").device, first)
        first.close()
        self.assertIsNot(weft.load(source, "null").device, first)
        weft.load(source, "null")(x)

    def test_outputs_whose_shape_only_a_run_tells(self):
        model = weft.load(onnx_bytes.model(
            [onnx_bytes.node("NonZero", ["x"], ["at"])],
            [("x", "float32", ("n",))], [("at", "int64", (1, "found"))]))
        x = np.array([1, 0, 2, 0, 3], np.float32)
        for length in (5, 2, 1):
            np.testing.assert_array_equal(model(x[:length]), [x[:length].nonzero()[0]])
        self.assertEqual(np.asarray(model(np.zeros(3, np.float32))).shape, (1, 0))
        room = np.zeros((1, 3), np.int64)
        self.assertIs(model(x, out=room), room)
        np.testing.assert_array_equal(room, [[0, 2, 4]])
        with self.assertRaisesRegex(weft.Error, "the run gave"):
            model(x, out=np.zeros((1, 2), np.int64))
        np.testing.assert_array_equal(model.submit(x).result(), room)


if __name__ == "__main__":
    unittest.main()

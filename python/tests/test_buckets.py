# SPDX-License-Identifier: Apache-2.0
"""Dimensions whose sizes are rounded up."""

import asyncio
import os
import pathlib
import unittest

import numpy as np
import weft

GOLDEN = pathlib.Path(os.environ["WEFT_GOLDEN"])
BERT = GOLDEN / "n_bert/dynamo/model.onnx"
ENCODER = GOLDEN / "t2_encoder_small_batch_length/dynamo/model.onnx"


def tokens(length, batch=1):
    return np.random.default_rng(length).integers(0, 20, (batch, length))


class Buckets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.exact = weft.load(BERT)
        cls.rounded = weft.load(BERT, buckets={
            "length": weft.Bucket([8, 16, 24], mask="mask")})

    def test_padded_answers_are_the_exact_ones(self):
        for length in range(1, 32):
            ids = tokens(length, 2)
            ones = np.ones_like(ids)
            wanted = self.exact(tokens=ids, mask=ones)
            for got in (self.rounded(tokens=ids), self.rounded(ids, ones)):
                self.assertEqual(got["hidden"].shape, (2, length, 32))
                np.testing.assert_allclose(got["hidden"], wanted["hidden"], atol=2e-5)
                np.testing.assert_allclose(got["pooled"], wanted["pooled"], atol=2e-5)

    def test_every_way_of_a_call_may_leave_the_mask_out(self):
        ids = tokens(11)
        wanted = self.rounded(tokens=ids)["hidden"].tobytes()
        self.assertEqual(self.rounded.submit(tokens=ids).result()["hidden"].tobytes(),
                         wanted)

        async def ask():
            return await self.rounded.submit(tokens=ids)
        self.assertEqual(asyncio.run(ask())["hidden"].tobytes(), wanted)
        with weft.Queue(self.rounded, max_batch_size=8) as queue:
            futures = [queue.submit(self.rounded, tokens=ids) for _ in range(6)]
            for future in futures:
                self.assertEqual(future.result()["hidden"].tobytes(), wanted)
        self.assertIn("workspace", self.rounded.plan(tokens=ids))
        with self.assertRaisesRegex(TypeError, "'tokens' is missing"):
            self.rounded(mask=ids)
        with self.assertRaisesRegex(TypeError, "'mask' is missing"):
            self.exact(tokens=ids)

    def test_rules_and_pads(self):
        self.assertEqual(weft.Bucket.doubling(16, 100).sizes, (16, 32, 64, 100))
        self.assertEqual(weft.Bucket.stepping(8, 20, 8).sizes, (8, 16, 20))
        for wrong in (lambda: weft.Bucket.doubling(0, 4),
                      lambda: weft.Bucket.stepping(1, 4, 0)):
            self.assertRaises(ValueError, wrong)
        self.assertRaises(TypeError, weft.Bucket, [1.5])
        padded = weft.load(ENCODER, buckets={
            "length": weft.Bucket([16], pad={"x": 0.25})})
        x = np.ones((1, 9, 32), np.float32)
        by_hand = np.concatenate([x, np.full((1, 7, 32), 0.25, np.float32)], axis=1)
        self.assertEqual(padded(x).tobytes(), padded(by_hand)[:, :9].tobytes())

    def test_what_is_wrong_is_said(self):
        for buckets, words in (
                ({"size": weft.Bucket([4])}, "'batch', 'length'"),
                ({"length": weft.Bucket([4, 4])}, "4 follows 4"),
                ({"length": weft.Bucket([])}, "0 sizes"),
                ({"length": weft.Bucket([4], mask="m")}, "'m' is no input"),
                ({"length": weft.Bucket([4], pad={"mask": 1}, mask="mask")}, "a mask")):
            with self.assertRaisesRegex(weft.Error, words):
                weft.load(BERT, buckets=buckets)
        with self.assertRaisesRegex(TypeError, "must be a weft.Bucket"):
            weft.load(BERT, buckets={"length": [4]})
        with self.assertRaises(OverflowError):
            weft.load(BERT, buckets={"length": weft.Bucket([1 << 70])})
        self.assertIn("mask='m'", repr(weft.Bucket([4], mask="m")))


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""Models whose outputs have shapes that only a run tells."""

import asyncio
import threading
import unittest

import numpy as np
import onnx_bytes
import weft


class Stages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = weft.load(onnx_bytes.model(
            [onnx_bytes.node("NonZero", ["x"], ["places"])],
            [("x", "float32", ("n",))], [("places", "int64", (1, "count"))]))
        cls.x = np.float32([0, 1, 0, 2, 3, 0])
        cls.places = np.array([[1, 3, 4]])

    def test_every_way_of_a_call(self):
        np.testing.assert_array_equal(self.model(self.x), self.places)
        np.testing.assert_array_equal(self.model.submit(self.x).result(), self.places)

        async def ask():
            return await self.model.submit(x=self.x)
        np.testing.assert_array_equal(asyncio.run(ask()), self.places)
        with weft.Queue(self.model) as queue:
            futures = [queue.submit(self.model, self.x[:n]) for n in range(1, 7)]
            for n, future in enumerate(futures, 1):
                wanted = self.places[:, self.places[0] < n]
                np.testing.assert_array_equal(future.result(), wanted)

    def test_a_result_is_one_object_for_all_who_ask(self):
        future = self.model.submit(self.x)
        found = [None] * 8

        def ask(index):
            found[index] = future.result()
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(all(result is found[0] for result in found))
        del future
        np.testing.assert_array_equal(found[0], self.places)


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""Dimensions whose sizes are rounded up, so that one plan serves many."""

from __future__ import annotations

import operator
from typing import Any, Iterable, Mapping


class Bucket:
    """The sizes that a dimension is rounded up to; see weft.load.

        weft.Bucket([16, 32, 64], mask="attention_mask")
        weft.Bucket.doubling(16, 512)           # 16, 32, 64 ... 512
        weft.Bucket.stepping(16, 512, 16)       # 16, 32, 48 ... 512

    sizes  ascending; sizes beyond the largest are planned exactly
    mask   the input that holds ones for what is real and zeros for padding; calls may
           leave it out. None: you vouch that the model ignores what is added
    pad    what the other inputs are padded with: a number, or a dict by input
    """

    __slots__ = ("sizes", "mask", "pad")

    def __init__(self, sizes: Iterable[int], *, mask: str | None = None,
                 pad: float | Mapping[str, float] = 0.0) -> None:
        self.sizes = tuple(operator.index(size) for size in sizes)
        self.mask = mask
        self.pad = dict(pad) if isinstance(pad, Mapping) else float(pad)

    @classmethod
    def doubling(cls, first: int, last: int, *, mask: str | None = None,
                 pad: float | Mapping[str, float] = 0.0) -> Bucket:
        """first, twice that ... up to last, which is a size too."""
        if not 1 <= first <= last:
            raise ValueError("doubling needs 1 <= first <= last")
        sizes = []
        while first < last:
            sizes.append(first)
            first *= 2
        return cls([*sizes, last], mask=mask, pad=pad)

    @classmethod
    def stepping(cls, first: int, last: int, step: int, *, mask: str | None = None,
                 pad: float | Mapping[str, float] = 0.0) -> Bucket:
        """first, step more ... up to last, which is a size too."""
        if not (1 <= first <= last and step >= 1):
            raise ValueError("stepping needs 1 <= first <= last and 1 <= step")
        return cls([*range(first, last, step), last], mask=mask, pad=pad)

    def __repr__(self) -> str:
        return f"weft.Bucket({list(self.sizes)}, mask={self.mask!r}, pad={self.pad!r})"


def flatten(buckets: Mapping[str, Bucket] | None) -> list[tuple[Any, ...]]:
    """What the compiled part takes: (dimension, sizes, mask, pad, pads by input)."""
    flat = []
    for dimension, bucket in (buckets or {}).items():
        if not isinstance(bucket, Bucket):
            raise TypeError(f"buckets[{dimension!r}] must be a weft.Bucket, "
                            f"not {type(bucket).__name__}")
        pad = bucket.pad
        flat.append((dimension, bucket.sizes, bucket.mask,
                     0.0 if isinstance(pad, dict) else pad,
                     tuple((name, float(value)) for name, value in pad.items())
                     if isinstance(pad, dict) else ()))
    return flat

# SPDX-License-Identifier: MIT
"""Motion-compensated blocks of a B-frame, with vectors of their own, where the network's motion is not enough.

The network's flow is dense and smooth, and correcting it takes many bits. A block's vector is exact to a quarter of a
pixel and costs a few bits. Blocks of 16x16 pixels say which references they are compensated from, or that they are
split into four of 8x8. All others keep the network's prediction.
Source: motion compensation as in HEVC (ITU-T H.265, 8.5.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from entropy import FixedTables, Prior, Table, Tape, around_zero, choices

from .subpel import STEPS

SIZE = 16  # pixels of a block
NETWORK, PAST, FUTURE, BOTH, SPLIT = range(5)  # what a block is predicted from

SHARES = (1, 2, 4, 8, 16, 32, 64, 112)  # of 128: blocks compensated, and of these split, or from both references
SIZES = (1.5, 2.0, 3.0, 4.5, 7.0, 12.0, 24.0, 64.0)  # of differences from the network's motion, in steps
LEVELS = choices([[1 / 8] * 8])
VECTORS = around_zero(SIZES)


@dataclass(frozen=True)
class Blocks:
    """kinds (B,1,h,w) of 16x16, vectors (B,4,h,w) in quarter pixels: x, y to the past, x, y to the future.

    parts (B,1,2h,2w) and part_vectors (B,4,2h,2w) are those of 8x8, of any value where their block is not split.
    """

    kinds: Tensor
    vectors: Tensor
    parts: Tensor
    part_vectors: Tensor

    @property
    def fine(self) -> tuple[Tensor, Tensor]:
        """Kinds, none of them SPLIT, and vectors of all 8x8."""
        split = enlarged(self.kinds == SPLIT, 2)
        kinds = torch.where(split, self.parts, enlarged(self.kinds, 2))
        return kinds, torch.where(split, self.part_vectors, enlarged(self.vectors, 2))

    @property
    def used(self) -> Tensor:
        """(B,1,1,1) bool: which samples have any compensated blocks."""
        return (self.kinds != NETWORK).flatten(1).any(1).view(-1, 1, 1, 1)

    def only(self, samples: Tensor) -> "Blocks":
        """These blocks in samples (B,1,1,1) bool, and none in the others."""
        return replace(self, kinds=torch.where(samples, self.kinds, NETWORK))

    def each(self) -> "list[Blocks | None]":
        """The blocks of every sample by itself, None where it has none."""
        planes = self.kinds, self.vectors, self.parts, self.part_vectors
        parts = zip(*(torch.split(plane, 1) for plane in planes), strict=True)
        return [Blocks(*part) if used else None for part, used in zip(parts, self.used.flatten().tolist(), strict=True)]

    @staticmethod
    def together(samples: "Sequence[Blocks]") -> "Blocks":
        """The blocks of a batch."""
        parts = zip(*((each.kinds, each.vectors, each.parts, each.part_vectors) for each in samples), strict=True)
        return Blocks(*map(torch.cat, parts))

    def left_to_network(self, picture: Tensor) -> Tensor:
        """(B,1,H,W) of a picture's size: 1 where no block is motion-compensated, 0 elsewhere."""
        kinds, _ = self.fine
        return enlarged(kinds == NETWORK, picture.shape[2] // kinds.shape[2]).to(picture.dtype)


def enlarged(x: Tensor, times: int) -> Tensor:
    """Every element of (B,C,h,w) as a square."""
    return x.repeat_interleave(times, -2).repeat_interleave(times, -1)


def quarter_steps(flow: Tensor, size: int) -> Tensor:
    """(B,4,h,w): means over blocks of a flow (B,4,H,W) in pixels, as whole quarters."""
    return torch.floor(STEPS * F.avg_pool2d(flow.float(), size) + 0.5).long()


def code_blocks(tape: Tape, flow: Tensor, blocks: Blocks | None, used: Tensor | None = None) -> Blocks:
    """The blocks on a tape, given the network's flow (B,4,H,W); None where they are read.

    `used` (B,1,1,1) bool says which samples have any, by default all: of the others nothing is on the tape.
    """
    count, _, height, width = flow.shape
    wanted = None if blocks is None else _levels(blocks, flow)
    given = (None,) * 4 if blocks is None else (blocks.kinds, blocks.vectors, blocks.parts, blocks.part_vectors)
    levels = _coded(tape, "levels", wanted, flow.new_zeros(count, 4, 1, 1), LEVELS, mask=used).clamp(0, 7)
    table = _kind_table(levels[:, :3, 0, 0].tolist())
    own = 2 * torch.arange(count, device=flow.device).view(-1, 1, 1, 1)  # the rows of each sample
    sizes = SIZE, SIZE // 2
    planes = [flow.new_zeros(count, 1, height // size, width // size) for size in sizes]
    kinds = _coded(tape, "kinds", given[0], planes[0], table, row=own, mask=used).clamp(NETWORK, SPLIT)
    split = enlarged(kinds == SPLIT, 2)
    parts = _coded(tape, "parts", given[2], planes[1], table, row=own + 1, mask=split).clamp(NETWORK, BOTH)
    moved = components_used(kinds), components_used(parts) & split
    vectors, part_vectors = (
        _code_vectors(tape, f"vectors{size}", vectors, near=quarter_steps(flow, size), used=where, row=levels[:, 3:])
        for vectors, size, where in zip((given[1], given[3]), sizes, moved, strict=True)
    )
    return Blocks(kinds, vectors, parts, part_vectors)


def components_used(kinds: Tensor) -> Tensor:
    """(B,4,h,w) bool: which components of vectors the kinds (B,1,h,w) use."""
    past, future = (kinds == PAST) | (kinds == BOTH), (kinds == FUTURE) | (kinds == BOTH)
    return torch.cat([past, past, future, future], 1)


def _coded(
    tape: Tape,
    name: str,
    values: Tensor | None,
    zeros: Tensor,
    table: Table,
    *,
    row: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Whole numbers, as many as zeros, on a tape, those of each sample of one row (B,1,1,1) of a table."""
    y = None if values is None else values.to(zeros.dtype)
    mask = None if mask is None else mask.expand_as(zeros)
    position = zeros if row is None else row.to(zeros.dtype).expand_as(zeros)
    return tape.code(f"blocks.{name}", y, Prior(zeros, position, table, mask)).symbols.long()


def _code_vectors(tape: Tape, name: str, vectors: Tensor | None, *, near: Tensor, used: Tensor, row: Tensor) -> Tensor:
    """Vectors, coded as differences from the network's motion; where no block is compensated, that motion itself."""
    off = None if vectors is None else vectors - near
    return near + _coded(tape, name, off, torch.zeros_like(near, dtype=torch.float32), VECTORS, row=row, mask=used)


def _kind_table(levels: Sequence[Sequence[int]]) -> FixedTables:
    """The table of kinds and parts: for each sample a row of either, by its levels.

    Levels are indexes into SHARES: how many blocks are compensated, are split, and use both references.
    """
    rows: list[list[float]] = []
    for sample in levels:
        used, split, both = (SHARES[level] / 128 for level in sample)
        one = (1 - both) / 2
        whole = used * (1 - split)
        rows.append([1 - used, whole * one, whole * one, whole * both, used * split])
        rows.append([0.25, 0.75 * one, 0.75 * one, 0.75 * both, 0.0])
    return choices(rows)


def _levels(blocks: Blocks, flow: Tensor) -> Tensor:
    """(B,4,1,1): what suits the blocks of each sample best of SHARES, three times, and of SIZES."""
    kinds, vectors = blocks.fine
    used, split = blocks.kinds != NETWORK, blocks.kinds == SPLIT
    shares = [_share(used, torch.ones_like(used)), _share(split, used), _share(kinds == BOTH, kinds != NETWORK)]
    moved = components_used(kinds)
    off = (vectors - quarter_steps(flow, SIZE // 2)).abs() * moved
    mean = off.flatten(1).sum(1) / moved.flatten(1).sum(1).clamp(min=1)
    ladders = [*[[share / 128 for share in SHARES]] * 3, [size - 0.75 for size in SIZES]]
    nearest = [
        [min(range(8), key=lambda n: abs(ladder[n] - value)) for ladder, value in zip(ladders, sample, strict=True)]
        for sample in torch.stack([*shares, mean], 1).tolist()
    ]
    return torch.tensor(nearest, device=flow.device)[:, :, None, None]


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """(B,): how many elements of (B,...) are in a part of those in the whole; 0 if there are none."""
    return part.flatten(1).sum(1) / whole.flatten(1).sum(1).clamp(min=1)

"""Matching against a literal double loop over equation (3), in float64."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from ncm.benchmark import main, measure
from ncm.matching import match_along, match_neighbours


def bilinear(feature, y, x):
    _, rows, cols = feature.shape
    y, x = min(max(y, 0), rows - 1), min(max(x, 0), cols - 1)
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, cols - 1)
    top = feature[:, y0, x0] * (1 - (x - x0)) + feature[:, y0, x1] * (x - x0)
    bottom = feature[:, y1, x0] * (1 - (x - x0)) + feature[:, y1, x1] * (x - x0)
    return top * (1 - (y - y0)) + bottom * (y - y0)


def literal(past, future, scales, window):
    channels, height, width = past.shape
    offsets = list(itertools.product(range(-(window // 2), window // 2 + 1), repeat=2))
    out = []
    for k in range(scales):
        small = [F.avg_pool2d(f[None], 2**k, ceil_mode=True, count_include_pad=False)[0] for f in (past, future)]
        for dy0, dx0 in offsets:
            for dy1, dx1 in offsets:
                plane = torch.empty(height, width, dtype=past.dtype)
                for i, j in itertools.product(range(height), range(width)):
                    a = bilinear(small[0], i / 2**k + dy0, j / 2**k + dx0)
                    b = bilinear(small[1], i / 2**k + dy1, j / 2**k + dx1)
                    plane[i, j] = a @ b / math.sqrt(channels)
                out.append(plane)
    return torch.stack(out)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3)])
def test_equals_equation_3(height, width):
    torch.manual_seed(0)
    past, future = torch.randn(2, 3, height, width, dtype=torch.float64)
    actual = match_neighbours(past[None], future[None], scales=3, window=3)[0]
    assert actual.shape == (3 * 81, height, width)
    assert torch.allclose(actual, literal(past, future, 3, 3), atol=1e-12)


def test_a_shift_is_found():
    """The best of the 81 pairs tells by how much the picture moved."""
    torch.manual_seed(0)
    future = torch.randn(1, 64, 12, 12)
    past = future.roll((1, 0), dims=(2, 3))  # past(i+1) = future(i): the content moves up
    best = match_neighbours(past, future, scales=1)[0].argmax(0)[3:-3, 3:-3]
    displacement = best % 81 % 9 // 3 - best // 9 // 3  # row offset in future minus row offset in past
    assert (displacement == -1).float().mean() > 0.9


def test_along_no_flow_is_around_the_pixel():
    past, future = torch.randn(2, 1, 8, 9, 14, generator=torch.Generator().manual_seed(0))
    still = torch.zeros(1, 4, 9, 14)
    assert torch.allclose(match_along(past, future, still), match_neighbours(past, future), atol=1e-3)


def test_along_a_flow_is_around_where_it_points():
    """Flows of whole pixels: matching around the pixel in pictures moved by as much, edges apart."""
    past, future = torch.randn(2, 1, 8, 24, 24, generator=torch.Generator().manual_seed(0))
    flow = torch.tensor([1.0, 2.0, -2.0, 0.0]).view(1, 4, 1, 1).expand(1, 4, 24, 24)
    moved_past, moved_future = past.roll((-2, -1), (2, 3)), future.roll(2, 3)
    expected = match_neighbours(moved_past, moved_future, scales=1)
    actual = match_along(past, future, flow, scales=1)
    assert torch.allclose(actual[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], atol=1e-3)


def test_other_ways_to_match_agree(capsys):
    assert set(measure(5, 7, 1)) == {"shared", "loop", "unfold", "matmul"}
    assert main(["--repeats", "1"]) == 0
    assert "448x256" in capsys.readouterr().out

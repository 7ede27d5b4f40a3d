# SPDX-License-Identifier: MIT
"""Filters of a B-frame's planes: what they do, how they are chosen, and that a reader gets the same."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from codec.bframe.wiener_choice import AS_USUAL, NONE, OWN, USUAL, Filters, code_filters, worthwhile
from codec.bframe.wiener_filter import PAIRS, STEPS, Fit, filtered, fits_of
from entropy import Read, ReadMany, Write, WriteMany


def planes(seed=0, height=20, width=30):
    torch.manual_seed(seed)
    sizes = (height, width), (height // 2, width // 2), (height // 2, width // 2)
    y, u, v = (255 * torch.rand(1, 1, *size) for size in sizes)
    return y, u, v


def whole_weights(seed=1):
    return torch.from_numpy(np.random.default_rng(seed).integers(-9, 10, (3, len(PAIRS)))).float()


def test_a_filter_is_a_symmetric_kernel_whose_weights_sum_to_one():
    weights, shown = whole_weights(), planes()
    for plane, row, got in zip(shown, weights, filtered(shown, weights[None]), strict=True):
        kernel = np.zeros((5, 5))
        kernel[2, 2] = 1 - 2 * float(row.sum()) / STEPS
        for (down, right), weight in zip(PAIRS, (row / STEPS).tolist(), strict=True):
            kernel[2 + down, 2 + right] = kernel[2 - down, 2 - right] = weight
        assert kernel.sum() == pytest.approx(1)
        assert np.allclose(got[0, 0].numpy(), correlate(plane[0, 0].numpy(), kernel, mode="nearest"), atol=1e-3)


def test_a_plane_without_weights_stays_as_it_is():
    shown = planes()
    weights = whole_weights()
    weights[1] = 0
    y, u, v = filtered(shown, weights[None])
    assert u is shown[1] and not torch.equal(y, shown[0]) and not torch.equal(v, shown[2])


def test_what_a_fit_says_of_errors_is_so():
    shown, target, weights = planes(0), planes(2), whole_weights()
    for plane, wanted, row, got in zip(shown, target, weights, filtered(shown, weights[None]), strict=True):
        change = float((got - wanted).double().square().sum() - (plane - wanted).double().square().sum())
        assert fits_of(plane, wanted)[0].change(row.double().numpy()) == pytest.approx(change, rel=1e-4)


def test_the_best_filter_is_found_and_sent_if_errors_are_worth_it():
    shown, weights = planes(), torch.tensor(USUAL, dtype=torch.float32)
    weights[0], weights[2] = whole_weights()[0], 0
    fits = [fits_of(plane, wanted)[0] for plane, wanted in zip(shown, filtered(shown, weights[None]), strict=True)]
    filters = worthwhile(fits, [1.0, 1.0, 1.0])
    assert filters is not None
    kinds, found = filters
    assert kinds.tolist() == [OWN, AS_USUAL, NONE] and np.array_equal(found, weights.numpy())
    assert worthwhile(fits, [0.0, 0.0, 0.0]) is None
    few = worthwhile(fits, [1e-5, 0.0, 0.0])  # in between a cheaper filter does
    assert few is None or few[0].tolist() == [OWN, NONE, NONE]


def test_flat_planes_ask_for_no_filter():
    flat = torch.full((1, 1, 16, 16), 128.0)
    fits = [fits_of(flat, flat + noise)[0] for noise in (0, 1, torch.randn(1, 1, 16, 16))]
    assert all(np.isfinite(fit.best()).all() for fit in fits)
    assert worthwhile(fits, [1.0, 1.0, 1.0]) is None


@pytest.mark.parametrize("kinds", [(OWN, OWN, OWN), (NONE, AS_USUAL, OWN), (OWN, NONE, AS_USUAL), (NONE, NONE, NONE)])
def test_a_reader_gets_the_weights_that_were_applied(kinds):
    weights = torch.where(
        torch.tensor(kinds)[:, None] == OWN,
        whole_weights(),
        torch.tensor(USUAL) * (torch.tensor(kinds)[:, None] == AS_USUAL),
    )
    like = torch.zeros(1)
    tape = Write()
    filters = Filters(torch.tensor([kinds]), weights[None])
    written = code_filters(tape, filters, torch.tensor([True]), like=like)
    assert torch.equal(written, weights[None])
    reader = Read(tape.finish())
    assert torch.equal(code_filters(reader, None, torch.tensor([True]), like=like), weights[None])
    reader.finish()


def test_pictures_without_filters_have_nothing_on_their_tapes():
    kinds, weights = torch.tensor([[OWN] * 3, [NONE] * 3, [OWN] * 3]), torch.stack([whole_weights(n) for n in range(3)])
    weights[1] = 0
    tapes, like, filters = [Write() for _ in range(3)], torch.zeros(1), Filters(kinds, weights)
    assert filters.used.tolist() == [True, False, True]
    assert torch.equal(code_filters(WriteMany(tapes), filters, filters.used, like=like), weights)
    strings = [tape.finish() for tape in tapes]
    assert strings[0] and not strings[1] and strings[2]
    readers = [Read(string) for string in strings]
    assert torch.equal(code_filters(ReadMany(readers), None, filters.used, like=like), weights)
    for reader in readers:
        reader.finish()


def test_whole_weights_keep_what_rounding_all_at_once_would_lose():
    """Pairs that say nearly the same: only the sum of their weights counts."""
    gram = np.ones((6, 6)) + 1e-3 * np.eye(6)
    fit = Fit(gram, gram @ np.full(6, 1.4))
    assert fit.change(np.round(fit.best())) > 0.95 * fit.change(fit.best())  # 6 in all, where 8.4 would be right
    assert fit.change(fit.whole(127)) < 0.99 * fit.change(fit.best()) < 0
    assert fit.whole(127).sum() == 8
    assert (np.abs(Fit(gram, gram @ np.full(6, 300.0)).whole(127)) == 127).all()

import math

import pytest
import torch

from entropy import Bottleneck, Estimate, Prior, ScaleTables, Write
from entropy.tables import FAMILIES, FAR, Lists, check, gaussian_log_mass, quantised_cdf


def samples(family, scale, count=60_000):
    torch.manual_seed(1)
    if family == "gaussian":
        return torch.randn(1, 1, 1, count) * scale
    return torch.distributions.Laplace(0.0, scale / math.sqrt(2)).sample((1, 1, 1, count))


def bits(values, tables, scale):
    """(estimated, written) bits of values under one scale."""
    mean, position = torch.zeros_like(values), torch.full_like(values, tables.position(scale))
    estimate, write = Estimate("round"), Write()
    for tape in (estimate, write):
        tape.code("y", values, Prior(mean, position, tables))
    return estimate.total().item(), 8 * len(write.finish())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [0.15, 0.4, 1.0, 5.0, 40.0])
def test_estimated_and_written_bits_agree_on_the_models_own_samples(family, scale):
    estimated, written = bits(samples(family, scale), ScaleTables(family), scale)
    assert written == pytest.approx(estimated, rel=0.01, abs=64)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("said", "gap"), [(0.25, 0.15), (0.5, 0.05), (2.0, 0.01), (4.0, 0.01)])
def test_with_scales_unlike_the_data_they_part_by_a_known_measure(family, said, gap):
    """Too small a scale sends symbols through the bypass, whose price the estimate only resembles."""
    estimated, written = bits(samples(family, 1.0), ScaleTables(family), said)
    assert written == pytest.approx(estimated, rel=gap)


@pytest.mark.parametrize("family", FAMILIES)
def test_masses_sum_to_one(family):
    scale = torch.logspace(-1.2, 1.8, 20).view(-1, 1)
    mass = FAMILIES[family][1](torch.arange(-900.0, 901), scale).exp()
    assert torch.allclose(mass.sum(1), torch.ones(20), atol=1e-5)


def test_the_two_forms_of_the_gaussian_mass_meet():
    """To 0.05 nat at 5 standard deviations, where the rarest symbols cost 20."""
    size = 0.5 + FAR * torch.tensor([0.2, 3.0, 40.0])
    scale = torch.tensor([0.2, 3.0, 40.0])
    below, above = (gaussian_log_mass(size + shift * scale, scale) for shift in (-1e-4, 1e-4))
    assert ((below - above) - 2e-4 * FAR).abs().max() < 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_bits_have_gradients_everywhere(family):
    tables = ScaleTables(family)
    position = torch.linspace(1, 63, 20).view(-1, 1).requires_grad_()
    value = torch.tensor([-9000.0, -40, -0.5, 0, 0.5, 3, 1e5]).requires_grad_()
    cost = tables.bits(value, position)
    cost.sum().backward()
    assert cost.isfinite().all() and (cost >= 0).all()
    assert position.grad.isfinite().all() and value.grad.isfinite().all() and (value.grad[[0, 6]] != 0).all()


def test_rows_round_half_up_and_stay_on_the_ladder():
    position = torch.tensor([-3.0, 0.49, 0.5, 1.5, 62.5, 99.0], dtype=torch.float64)
    assert ScaleTables().rows(position).tolist() == [0, 0, 1, 2, 63, 63]


def test_an_unknown_family_is_named():
    with pytest.raises(ValueError, match="laplace, gaussian"):
        ScaleTables("cauchy")


def test_tables_come_from_the_checkpoint():
    """What is loaded counts, whatever this machine would have computed, and whatever its size."""
    stored, fresh = ScaleTables("gaussian", levels=8), ScaleTables("laplace", levels=64)
    fresh.lists()
    fresh.load_state_dict(stored.state_dict())
    assert fresh.lists() == stored.lists()
    assert fresh.cdf.dtype == torch.int32


def test_a_bottlenecks_tables_are_built_once_and_loaded():
    torch.manual_seed(0)
    trained, fresh = Bottleneck(3), Bottleneck(3)
    with pytest.raises(RuntimeError, match="freeze"):
        fresh.lists()
    trained.freeze()
    fresh.load_state_dict(trained.state_dict())
    assert fresh.lists() == trained.lists()


def test_a_bottleneck_estimates_what_it_writes():
    torch.manual_seed(0)
    table = Bottleneck(4)
    z = torch.randn(1, 4, 40, 40) * 8
    table.freeze()
    estimate, write = Estimate("round"), Write()
    for tape in (estimate, write):
        tape.code("z", z, Prior(torch.zeros_like(z), table.positions(z.shape), table))
    assert 8 * len(write.finish()) == pytest.approx(estimate.total().item(), rel=0.01)


@pytest.mark.parametrize("row", [[0, 5, 5, 65536], [0, 65536], [1, 3, 65536], [0, 9, 65535], [0, 70000, 65536]])
def test_a_row_that_is_no_cdf_never_reaches_the_coder(row):
    with pytest.raises(ValueError, match="row 0"):
        check(Lists([row], [len(row)], [0]))
    with pytest.raises(ValueError, match="row 0"):
        check(Lists([[0, 1, 65536]], [4], [0]))


def test_even_impossible_symbols_have_width():
    cdf = quantised_cdf([0.0, 1.0, 0.0, 0.0])
    assert cdf == [0, 1, 65534, 65535, 65536]

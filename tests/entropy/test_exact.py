import copy
import itertools

import pytest
import torch
from torch import nn

from entropy import ExactConv2d, ScaleTables, freeze, to_units
from entropy.exact import LARGEST, check_sums, digit_products, digits_for


def network(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        ExactConv2d(6, 24),
        ExactConv2d(24, 24, stride=2),
        ExactConv2d(24, 16, upsample=2),
        ExactConv2d(16, 8, 1, position=True),
    )
    nn.init.normal_(net[-1].weight, std=0.5)
    return net.eval()


def inputs(seed=1, size=(17, 22)):
    generator = torch.Generator().manual_seed(seed)
    symbols = torch.randint(-40, 41, (1, 3, *size), generator=generator)
    picture = torch.randint(0, 256, (1, 3, *size), generator=generator)
    return torch.cat([to_units(symbols), picture], 1).float()


@pytest.fixture
def restore():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_freezing_changes_nothing_that_evaluation_computes():
    net, x = network(), inputs()
    before = net(x)
    freeze(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert torch.equal(net(x), before)
    rows = ScaleTables().rows(before)
    assert len(rows.unique()) > 8


def test_training_computes_nearly_the_same():
    net, x = network(), inputs()
    exact = net(x)
    assert (net.train()(x) - exact).abs().mean() < 0.01


def test_answers_are_whole_numbers_of_integers():
    """The same sums in int64: no float has been rounded on the way."""
    net, x = network(), inputs()
    freeze(net)
    layer = net[0]
    windows = torch.nn.functional.unfold(x.double(), 3, padding=1)[0].long()
    total = layer.weight_int.long().flatten(1) @ windows + layer.bias_int[:, None]
    expected = ((total + 2**11) >> 12).clamp(0, LARGEST)
    assert torch.equal(layer(x).long().flatten(), expected.flatten())


@pytest.mark.filterwarnings("ignore:TF32")  # torch sets all flags of this backend, whatever it has
def test_threads_layouts_and_backends_do_not_matter(restore):
    net, x = network(), inputs()
    freeze(net)
    expected = net(x)
    for threads, mkldnn, memory in itertools.product(
        (1, 2), (True, False), (torch.contiguous_format, torch.channels_last)
    ):
        torch.set_num_threads(threads)
        with torch.backends.mkldnn.flags(enabled=mkldnn):
            assert torch.equal(net(x.contiguous(memory_format=memory)), expected)
            assert torch.equal(net.to(memory_format=memory)(x.double()), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(x), expected)
    assert torch.equal(net(x.requires_grad_()), expected)  # which is a convolution throughout


def test_digits_in_float32_give_the_same_numbers(monkeypatch):
    """As GPUs that are slow in float64 sum; no partial sum passes 2^24, up to which float32 holds whole numbers."""
    net = network()
    freeze(net)
    wild = torch.randint(-LARGEST, LARGEST + 1, (2, 6, 9, 12), generator=torch.Generator().manual_seed(3)).float()
    for x in (torch.cat([inputs(), inputs(2)]), wild, torch.full((1, 6, 4, 4), float(-LARGEST))):
        monkeypatch.setattr("entropy.exact.slow_in_double", lambda device: False)
        expected = net(x)
        monkeypatch.setattr("entropy.exact.slow_in_double", lambda device: True)
        assert torch.equal(net(x), expected)


@pytest.mark.parametrize("largest", [1, 100, 2**15 - 1])
def test_no_sum_of_digits_passes_what_float32_holds(largest):
    weight = torch.randint(-largest, largest + 1, (8, 5, 3, 3), generator=torch.Generator().manual_seed(4)).double()
    digits, bits = digits_for(weight)
    assert digits * bits >= 16 and weight.abs().sum((1, 2, 3)).max() * 2**bits <= 2**24
    x = torch.randint(-LARGEST, LARGEST + 1, (2, 5, 7, 6), generator=torch.Generator().manual_seed(5)).double()
    x[0, :, :2] = LARGEST * weight[0, :, :2, :1].sign().view(5, 2, 1)
    expected = torch.nn.functional.conv2d(x, weight, padding=1)
    assert torch.equal(digit_products(x, weight, (digits, bits)), expected)


def test_weights_beyond_any_digits_stay_in_float64(monkeypatch):
    monkeypatch.setattr("entropy.exact.slow_in_double", lambda device: True)
    assert digits_for(torch.full((1, 600, 3, 3), 2.0**13)) is None
    net, x = network(), inputs()
    freeze(net)
    expected = net(x)
    monkeypatch.setattr("entropy.exact.digits_for", lambda weight: None)
    fresh = network(5)
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh(x), expected)


def test_other_integers_count_at_once():
    """What was checked and converted before is not used for them."""
    net, other, x = network(0), network(5), inputs()
    freeze(net)
    freeze(other)
    first = net(x)
    net.load_state_dict(other.state_dict())
    assert torch.equal(net(x), other(x)) and not torch.equal(net(x), first)
    copied = copy.deepcopy(net)
    copied.load_state_dict(network(0).state_dict())
    assert not copied[0].frozen and torch.equal(copied(x), network(0)(x))


def test_samples_of_a_batch_do_not_matter_to_each_other():
    net = network()
    freeze(net)
    several = torch.cat([inputs(seed) for seed in range(3)])
    assert torch.equal(net(several), torch.cat([net(x) for x in several.split(1)]))


def test_the_order_of_summation_does_not_matter():
    net, x = network(), inputs(size=(9, 9))
    freeze(net)
    layer, generator = net[1], torch.Generator().manual_seed(7)
    x = net[0](x)
    expected = layer(x)
    weight = layer.weight_int.clone()
    for _ in range(5):
        order = torch.randperm(24, generator=generator)
        layer.weight_int.copy_(weight[:, order])
        assert torch.equal(layer(x[:, order]), expected)
        total = sum(
            torch.nn.functional.conv2d(x[:, [c]], weight[:, [c]].double(), stride=2, padding=1) for c in order.tolist()
        )
        total = total + layer.bias_int.view(1, -1, 1, 1)
        assert torch.equal(torch.floor(total / 4096 + 0.5).clamp(0, LARGEST), expected)


def test_wild_inputs_are_clipped_before_they_can_leave_the_exact_range():
    net = network()
    freeze(net)
    x = torch.full((1, 6, 4, 4), 1e12)
    assert torch.equal(net(x), net(torch.full((1, 6, 4, 4), float(LARGEST))))


def test_sums_that_may_not_be_exact_are_refused():
    net = network()
    freeze(net)
    net[0].bias_int.fill_(2**52)
    with pytest.raises(OverflowError, match="exact"):
        net(inputs())
    widest = torch.full((1, 4096, 3, 3), 2.0**20)
    check_sums(widest[:, :1000], torch.zeros(1))
    with pytest.raises(OverflowError, match="exact"):
        check_sums(widest.repeat(1, 2, 1, 1), torch.zeros(1))


def test_gradients_reach_weights_and_inputs_in_training_and_inputs_in_evaluation():
    net = network().train()
    x = inputs().requires_grad_()
    net(x).square().mean().backward()
    assert all(p.grad.isfinite().all() and (p.grad != 0).any() for p in net.parameters())
    assert (x.grad != 0).any()
    freeze(net.eval())
    x.grad = None
    net(x).square().mean().backward()
    assert (x.grad != 0).any()


def test_training_again_thaws():
    net, x = network(), inputs()
    freeze(net)
    frozen = net(x)
    with torch.no_grad():
        net[0].weight.mul_(1.5)
    assert torch.equal(net(x), frozen)
    net.train()(x)
    assert not torch.equal(net.eval()(x), frozen)


def test_the_integers_are_in_the_checkpoint():
    net, fresh, x = network(0), network(5), inputs()
    freeze(net)
    fresh.load_state_dict(net.state_dict())
    with torch.no_grad():
        fresh[0].weight.zero_()
    assert torch.equal(fresh(x), net(x))
    assert net[0].weight_int.dtype == torch.int32 and net[0].bias_int.dtype == torch.int64


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 2)])
def test_any_size(size):
    net = network()
    height, width = (2 * ((n + 1) // 2) for n in size)
    assert net(inputs(size=size)).shape == (1, 8, height, width)

import struct

import pytest
import torch

from entropy import DryRun, EntropyError, Estimate, Prior, Read, ScaleTables, Write
from entropy.strings import trimmed, whole
from entropy.tape import LIMIT

TABLES = ScaleTables()


def plane(values):
    return torch.tensor([float(v) for v in values]).view(1, 1, 1, -1)


def code(tape, values, position=30.0, like=None, mask=None):
    y = None if values is None else plane(values)
    mean = torch.zeros_like(y if like is None else plane(like))
    return tape.code("y", y, Prior(mean, torch.full_like(mean, position), TABLES, mask))


def write(values, position=30.0):
    tape = Write()
    code(tape, values, position)
    return tape.finish()


def read(data, count, position=30.0):
    tape = Read(data)
    symbols = code(tape, None, position, like=[0] * count).symbols.flatten().tolist()
    tape.finish()
    return symbols


@pytest.mark.parametrize("position", [1.0, 30.0, 63.0])
@pytest.mark.parametrize("count", range(7))
def test_few_symbols_round_trip(count, position):
    """CompressAI's encoder corrupts memory on 0 and 1 symbols, and on 2 that are improbable."""
    values = [(-1) ** i * (2 + i) for i in range(count)]
    data = write(values, position)
    assert (data == b"") == (count == 0)
    assert read(data, count, position) == values


def test_far_values_take_the_bypass():
    values = [0, 100, -5000, LIMIT, -LIMIT, 1]
    assert read(write(values, 1.0), 6, 1.0) == values


def test_what_no_symbol_can_hold_is_clipped_on_both_sides():
    assert read(write([1e9, -1e9, 0.4, -0.4]), 4) == [LIMIT, -LIMIT, 0, 0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_latent_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match=r"y: .*not finite"):
        write([0.0, bad])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_means_that_are_not_finite_are_refused(bad):
    """CompressAI's coder would not end."""
    y = plane([1.0, 2.0])
    with pytest.raises(ValueError, match=r"y: .*not finite"):
        Write().code("y", y, Prior(plane([0.0, bad]), torch.zeros_like(y), TABLES))


def test_a_tape_takes_one_sample():
    y = torch.zeros(2, 1, 1, 4)
    with pytest.raises(ValueError, match="2 samples for 1 tapes"):
        Write().code("y", y, Prior(y, torch.zeros_like(y), TABLES))


def test_many_calls_with_many_tables_make_one_string():
    torch.manual_seed(2)
    other = ScaleTables("gaussian", levels=16)
    calls = [(torch.randn(1, 3, n, 7) * 3, torch.rand(1, 3, n, 7) * 63, (TABLES, other)[n % 2]) for n in range(1, 9)]
    writer = Write()
    written = [writer.code("y", y, Prior(y * 0.3, p.clamp(max=t.levels), t)) for y, p, t in calls]
    reader = Read(writer.finish())
    for (y, p, table), sent in zip(calls, written, strict=True):
        got = reader.code("y", None, Prior(y * 0.3, p.clamp(max=table.levels), table))
        assert torch.equal(got.symbols, sent.symbols) and torch.equal(got.value, sent.value)
    reader.finish()


def test_certain_zeros_and_masked_elements_are_not_coded():
    y, mean = plane([5, 6, 7, 8]), plane([0.25, 0.5, 0.75, 1])
    position, mask = plane([0, 30, 30, 30]), torch.tensor([True, True, False, True]).view(1, 1, 1, 4)
    for tape in (DryRun(), Estimate("round"), writer := Write()):
        coded = tape.code("y", y, Prior(mean, position, TABLES, mask))
        assert coded.symbols.flatten().tolist() == [0, 6, 0, 7]
        assert coded.value.flatten().tolist() == [0.25, 6.5, 0.75, 8]
    again = Read(writer.finish()).code("y", None, Prior(mean, position, TABLES, mask))
    assert torch.equal(again.value, coded.value)
    assert write([0] * 50, position=0.0) == b""


def test_channels_last_latents_make_the_same_string():
    torch.manual_seed(3)
    y, position = torch.randn(1, 8, 5, 6) * 4, torch.rand(1, 8, 5, 6) * 63
    strings = set()
    for memory in (torch.contiguous_format, torch.channels_last):
        tape = Write()
        to = {"memory_format": memory}
        tape.code("y", y.contiguous(**to), Prior(torch.zeros_like(y), position.contiguous(**to), TABLES))
        strings.add(tape.finish())
    assert len(strings) == 1


def test_only_the_right_string_passes():
    """Every truncation, extension, changed word and wrong count ends in EntropyError, never in a crash."""
    torch.manual_seed(4)
    values = [round(v) for v in (torch.randn(400) * 3).tolist()]
    data = write(values)
    wrong = [data[:n] for n in range(len(data))] + [data + bytes(4), data[4:], data + data, b"\xff" * len(data)]
    for number in range(len(data) // 4):
        word = struct.unpack_from("<I", data, 4 * number)[0] ^ 0x00010000
        wrong.append(data[: 4 * number] + struct.pack("<I", word) + data[4 * number + 4 :])
    for string in wrong:
        with pytest.raises(EntropyError):
            read(string, 400)
    for count in (0, 399, 401):
        with pytest.raises(EntropyError):
            read(data, count)
    assert read(data, 400) == values


def test_a_string_leaves_out_high_zeros_of_its_first_eight_bytes():
    for zeros in range(9):
        full = bytes([7] * (8 - zeros) + [0] * zeros) + b"rest"
        short = trimmed(full)
        assert whole(short) == full and len(full) - len(short) == min(zeros, 3)
    assert whole(b"") == b""
    for length in range(1, 5):
        with pytest.raises(EntropyError, match=f"{length} bytes"):
            whole(bytes(length))


@pytest.mark.parametrize("fill", [0x00, 0xFF, 0x5A, 0xF0])
@pytest.mark.parametrize("position", [1.0, 63.0])
def test_hostile_strings_stay_within_memory(fill, position):
    """Rows of 15 nibbles announce the longest bypass runs; a short string with many symbols lives off the slack."""
    for words in (2, 40):
        with pytest.raises(EntropyError):
            read(bytes([fill]) * 4 * words, 20_000, position)


def test_modes_of_the_estimate():
    torch.manual_seed(5)
    y, mean = torch.randn(2, 3, 4, 4) * 3, torch.randn(2, 3, 4, 4)
    position = torch.full_like(y, 30.3)
    coded, bits = {}, {}
    for mode in ("noise", "mixed", "round"):
        tape = Estimate(mode)
        coded[mode] = tape.code("motion.y", y, Prior(mean, position, TABLES))
        bits[mode] = tape.total("motion")
        assert bits[mode].shape == (2,) and torch.equal(coded[mode].symbols, torch.round(y - mean))
    assert torch.equal(coded["mixed"].value, coded["round"].value)
    assert 0 < (coded["noise"].value - y).abs().max() <= 0.5 < (coded["noise"].value - coded["round"].value).abs().max()
    assert not torch.equal(bits["mixed"], bits["round"])


@pytest.mark.parametrize("each", [False, True])
def test_a_writer_spends_no_more_bits_than_precision_is_worth(each):
    """Every symbol costs the least of the nearest and its neighbour towards zero; the reader needs to know nothing."""
    torch.manual_seed(6)
    y, position = torch.randn(1, 4, 9, 9) * 2, torch.rand(1, 4, 9, 9) * 50
    mean, rows = torch.randn_like(y) * 0.3, TABLES.rows(position)
    worth = torch.rand_like(y) * 20 if each else 9.0
    tapes = {"dry": DryRun(), "round": Estimate("round"), "mixed": Estimate("mixed"), "write": Write()}
    coded = {name: tape.code("y", y, Prior(mean, position, TABLES), rdoq_lambda=worth) for name, tape in tapes.items()}
    for name in ("dry", "round"):
        assert torch.equal(coded[name].symbols, coded["write"].symbols)
    data = tapes["write"].finish()
    read_back = Read(data).code("y", None, Prior(mean, position, TABLES))
    assert torch.equal(read_back.symbols, coded["write"].symbols)
    nearest, symbols = torch.round(y - mean), coded["mixed"].symbols

    def cost(symbols):
        return TABLES.bits(symbols, rows) + worth * (y - mean - symbols).square()

    assert torch.equal(cost(symbols), torch.minimum(cost(nearest), cost(nearest - nearest.sign())))
    assert (symbols != nearest).sum() > 10
    assert torch.allclose(tapes["mixed"].total(), TABLES.bits(symbols, position).sum(), rtol=1e-5)


def test_the_estimate_leads_scales_to_the_symbols_and_latents_to_smaller_ones():
    torch.manual_seed(7)
    y, position = (torch.randn(1, 1, 40, 40) * 2).requires_grad_(), torch.full((1, 1, 40, 40), 25.0).requires_grad_()
    tape = Estimate("mixed")
    coded = tape.code("y", y, Prior(torch.zeros_like(y), position, TABLES), rdoq_lambda=9.0)
    tape.total().sum().backward()
    wanted = torch.full_like(position, 25.0, requires_grad=True)
    TABLES.bits(coded.symbols.detach(), wanted).sum().backward()
    assert torch.allclose(position.grad, wanted.grad)
    assert (y.grad * y.detach()).mean() > 0


def test_bits_are_kept_apart_by_name():
    tape = Estimate()
    for name in ("motion.z", "motion.y", "picture.y"):
        tape.code(name, plane([1, 2]), Prior(plane([0, 0]), plane([30, 30]), TABLES))
    assert tape.total().item() > tape.total("motion").item() > tape.bits["motion.y"].item() > 0
    with pytest.raises(KeyError, match="sound"):
        tape.total("sound")


def test_estimates_and_writers_need_a_latent_and_a_known_mode():
    for tape in (Estimate(), Write()):
        with pytest.raises(ValueError, match="without the latent"):
            code(tape, None, like=[0, 0])
    with pytest.raises(ValueError, match="noise, mixed, round"):
        Estimate("soft")

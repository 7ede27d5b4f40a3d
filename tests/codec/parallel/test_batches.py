"""B-frames that go through the networks together: the same symbols, pictures that differ by rounding at most."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from helpers import moving, write
from torch.profiler import ProfilerActivity, profile

import codec
from codec.bframe.coder import BFrameCoder
from codec.bframe.records import BLOCKS, FILTERS
from codec.bitstream.reader import StreamReader
from codec.models.open import load as load_model
from codec.models.open import predictor
from codec.parallel.executor import InProcess
from entropy import Read


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


SETTINGS = {"model": "small-bframe", "qp": 8, "anchor_preset": "ultrafast", "workers": 1}


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "seq.y4m", moving(19, 66, 50, step=3))


@pytest.fixture
def stream(tmp_path, source):
    """A stream with payloads of several kinds, in three segments with three levels."""
    order = {"gop": "fixed:8", "intra_period": 8, "metrics": False}
    codec.encode(source, tmp_path / "s.ncm", mode="bitneed", **order, **SETTINGS)
    return tmp_path / "s.ncm"


@pytest.fixture
def symbols(monkeypatch):
    """The symbols that are read of each payload, by its bytes."""
    found = {}

    class Recording(Read):
        def __init__(self, data):
            super().__init__(data)
            self.values = found[data] = []

        def decode(self, rows, lists):
            values = super().decode(rows, lists)
            self.values += values
            return values

    monkeypatch.setattr(BFrameCoder, "reader", Recording)
    return found


def coder_of(path):
    with path.open("rb") as file:
        return predictor(load_model("small-bframe"), StreamReader(file).header.info)


def decoded(path, batch):
    with codec.open(path, executor=InProcess(coder_of(path), batch)) as video:
        pictures = [frame.picture for frame in video]
    return pictures, video.problems


def test_a_batch_reads_the_same_symbols(stream, symbols):
    modes = Counter(frame.mode for frame in codec.info(stream).frames if frame.kind == "B")
    assert len(modes) > 1
    alone, _ = decoded(stream, 1)
    expected = dict(symbols)
    symbols.clear()
    together, problems = decoded(stream, 16)
    assert symbols == expected and not problems
    for a, b in zip(alone, together, strict=True):
        assert all(np.abs(p.astype(int) - q).max() <= 1 for p, q in zip(a.planes, b.planes, strict=True))


def test_one_bad_payload_in_a_batch_spoils_no_other(stream, monkeypatch):
    alone, _ = decoded(stream, 1)
    bad = next(frame.poc for frame in codec.info(stream).frames if frame.kind == "B" and frame.bits)
    read_all = BFrameCoder.read_all

    def spoilt(self, intervals, packets):
        if any(packet.poc == bad for packet in packets):
            raise codec.StreamError("spoilt")
        return read_all(self, intervals, packets)

    monkeypatch.setattr(BFrameCoder, "read_all", spoilt)
    together, problems = decoded(stream, 16)
    assert problems == [f"frame {bad}: spoilt"]
    pairs = enumerate(zip(alone, together, strict=True))
    differing = {number for number, (a, b) in pairs if np.abs(a.y.astype(int) - b.y).max() > 1}
    assert bad in differing and differing <= set(range(bad - 3, bad + 4))


def to_write(count):
    """A coder and B-frames of one picture: each moves further than the last, every fourth has nothing to gain."""
    pictures, info = moving(18, 64, 64, step=3), codec.VideoInfo(64, 64, Fraction(25), Fraction(1, 25))
    coder = predictor(load_model("small-bframe"), info)
    wanted = []
    for n in range(count):
        ends = (pictures[n % 16], pictures[n % 16 + 2])
        interval = codec.Interval(*ends, 0.5, 0.01, ends, 4 if n % 3 else 2)
        source = coder.between([interval])[0] if n % 4 == 3 else pictures[n % 16 + 1]
        wanted.append(codec.ToWrite(interval=interval, source=source, poc=n, slope=(20000.0, 500.0)[n % 2]))
    return coder, wanted


def test_a_batch_is_written_as_its_frames_are_alone():
    coder, wanted = to_write(8)
    wanted[2] = replace(wanted[2], give_up=lambda cost: cost > 0)
    alone, together = [coder.write(one) for one in wanted], coder.write_all(wanted)
    modes = [choice.packet and choice.packet.mode for choice in alone]
    assert None in modes and len(set(modes)) > 2 and modes[2] is None
    for a, b in zip(alone, together, strict=True):
        assert (a.packet and a.packet.mode) == (b.packet and b.packet.mode)
        assert b.cost == pytest.approx(a.cost, rel=0.01) and (a.blocks is None) == (b.blocks is None)
    sent = [(one, choice) for one, choice in zip(wanted, together, strict=True) if choice.packet]
    for one, choice in sent:  # whoever reads them by themselves has the same symbols
        shown = coder.read(one.interval, choice.packet)
        assert all(
            np.abs(p.astype(int) - q).max() <= 1 for p, q in zip(shown.planes, choice.picture.planes, strict=True)
        )


@pytest.mark.parametrize("mode", ["bitneed", "auto"])
def test_an_encoder_with_batches_makes_as_good_a_stream(tmp_path, source, monkeypatch, mode):
    alone = codec.encode(source, tmp_path / "1.ncm", mode=mode, **SETTINGS)
    monkeypatch.setattr("codec.parallel.open.InProcess", partial(InProcess, batch=16))
    together = codec.encode(source, tmp_path / "16.ncm", mode=mode, **SETTINGS)
    assert together.bits_per_pixel() == pytest.approx(alone.bits_per_pixel(), rel=0.01)
    assert together.mean("psnr_rgb") == pytest.approx(alone.mean("psnr_rgb"), abs=0.05)
    _, problems = decoded(tmp_path / "16.ncm", 1)
    assert not problems


def operators(work):
    """How many operators of torch a piece of work starts."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        work()
    return sum(event.count for event in record.key_averages() if event.key.startswith("aten::"))


def test_a_batch_starts_a_tenth_of_the_operators():
    coder, wanted = to_write(1)
    packet = coder.write(wanted[0]).packet
    assert packet.mode == BLOCKS + FILTERS
    intervals, packets = [wanted[0].interval] * 16, [packet] * 16
    for work, same in (
        (coder.between, [intervals]),
        (coder.read_all, [intervals, packets]),
        (coder.write_all, [wanted * 16]),
    ):
        batched = operators(lambda work=work, same=same: work(*same))
        single = operators(lambda work=work, same=same: work(*(each[:1] for each in same)))
        assert batched / 16 < single / 10

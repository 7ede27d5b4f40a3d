"""B-frames that go through the networks together: the same symbols, pictures that differ by rounding at most."""

from collections import Counter
from fractions import Fraction

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


@pytest.fixture
def stream(tmp_path):
    """A stream with payloads of several kinds, in three segments with three levels."""
    src = write(tmp_path / "seq.y4m", moving(19, 66, 50, step=3))
    settings = {
        "model": "small-bframe",
        "gop": "fixed:8",
        "intra_period": 8,
        "anchor_preset": "ultrafast",
        "workers": 1,
    }
    codec.encode(src, tmp_path / "s.ncm", mode="bitneed", qp=8, metrics=False, **settings)
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


def operators(work):
    """How many operators of torch a piece of work starts."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        work()
    return sum(event.count for event in record.key_averages() if event.key.startswith("aten::"))


def test_a_batch_starts_a_tenth_of_the_operators():
    pictures, info = moving(18, 64, 64, step=3), codec.VideoInfo(64, 64, Fraction(25), Fraction(1, 25))
    coder = predictor(load_model("small-bframe"), info)
    ends = [(pictures[n], pictures[n + 2]) for n in range(16)]
    intervals = [codec.Interval(*pair, 0.5, 0.01, pair, 2) for pair in ends]
    wanted = codec.ToWrite(interval=intervals[0], source=pictures[1], poc=1, slope=20000.0)
    packet = coder.write(wanted).packet
    assert packet.mode == BLOCKS + FILTERS
    packets = [packet] * 16
    for work, same in (
        (coder.between, [intervals]),
        (coder.read_all, [intervals[:1] * 16, packets]),
    ):
        batched = operators(lambda work=work, same=same: work(*same))
        single = operators(lambda work=work, same=same: work(*(each[:1] for each in same)))
        assert batched / 16 < single / 10

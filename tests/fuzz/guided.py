# SPDX-License-Identifier: MIT
"""Coverage-guided fuzzing by atheris, if it is installed: of the parser, and of what reads payloads."""

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def run(what: str, seconds: int, folder: Path) -> int:
    """Fuzz for so many seconds; a find is kept as crash-* and ends the run. The corpus stays for the next run."""
    import atheris

    with atheris.instrument_imports(include=["codec.bitstream", "codec.bframe", "entropy"]):
        test = TARGETS[what]()
    corpus = folder / f"corpus-{what}"
    corpus.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={seconds}", "-max_len=4096", "-len_control=0", "-timeout=60", "-rss_limit_mb=2000")
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(corpus)], test)
    atheris.Fuzz()
    return 0


def _parser() -> Callable[[bytes], None]:
    """The bytes say which good stream is changed and where; checksums are put right, or not."""
    from codec.bitstream.framing import frame_packet
    from codec.bitstream.syntax import Kind

    from .mutator import packets_of, start_of
    from .outcomes import parsed
    from .seeds import golden

    streams = [(seed.data[: start_of(seed.data)], packets_of(seed.data)) for seed in golden()]
    path = Path(tempfile.mkdtemp()) / "stream.ncm"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        parsed(path)

    def test(data: bytes) -> None:
        if len(data) < 3:
            return
        head, packets = streams[data[0] % len(streams)]
        if data[1] & 128:
            read(head + data[2:])
            return
        at = data[2] % len(packets)
        bodies = [(packet.kind, packet.body) for packet in packets]
        bodies[at : at + 1] = [(Kind(1 + data[1] % 5), data[3:])]
        read(head + b"".join(frame_packet(kind, body) for kind, body in bodies))

    return test


def _payload() -> Callable[[bytes], None]:
    """Bytes as the payload of a B-frame, read by the small network of the tests."""
    from fractions import Fraction

    import numpy as np

    from codec.bframe.records import Interval
    from codec.bitstream.units import BFramePacket
    from codec.errors import StreamError
    from codec.models.open import load, predictor
    from codec.video.picture import VideoInfo, Yuv420

    info = VideoInfo(64, 64, Fraction(25), Fraction(1, 25))
    coder = predictor(load("small-bframe"), info)
    noise = np.random.default_rng(0)
    planes = [noise.integers(0, 256, (size, size), np.uint8) for size in (64, 32, 32)]
    picture = Yuv420(*planes)
    interval = Interval(picture, picture, 0.5, 0.02, (picture, picture), 2)

    def test(data: bytes) -> None:
        if len(data) < 2:
            return
        with suppress(StreamError):
            coder.read(interval, BFramePacket(1, 2 * (data[0] % 4), data[1] % 225, data[2:]))

    return test


TARGETS = {"guided-parser": _parser, "guided-payload": _payload}

# SPDX-License-Identifier: MIT
"""Jitter removal at equal bit rate, as the paper's E.3: what a receiver shows of a video sent over a narrow channel.

    python eval/jitter.py run --root DIR --crf 28 -o jitter.csv --strips FOLDER
    python eval/jitter.py table jitter.csv

Scheme 1 sends all frames, at the crf that gives the bits of scheme 2. Scheme 2 sends every fourth frame at --crf, and
repeats it. Both of ours send what scheme 2 sends, and make the rest. The encoder is x265, I-P-P, one I.

Temporal consistency is the PSNR of differences between consecutive frames against the source's differences. It falls
where playback sticks (no difference where there should be one), where it jumps, and where noise flickers. It needs no
optical flow, whose own errors other measures add. Frames are compared by what they show; the delay is told apart.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd

import codec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval.clips import add_run, add_table, measure_clips
from eval.command import make_folder, parse_count, run_command
from eval.strips import busiest, save, strip
from eval.tables import markdown, table_of

FACTOR = 4  # the paper's: the 1st, the 5th and the 9th frame are sent
TRIES = 8  # halvings of the range of crf
HIGHEST_CRF = 51.0
STRIP_FRAMES, STRIP_SIZE = 5, (160, 112)
SCHEMES = ("scheme 1: all frames", "scheme 2: every fourth", "ours, interpolation", "ours, extrapolation")
UNSMOOTHED = "ours, extrapolation, 5th as received"


@dataclass(frozen=True)
class Row:
    """One clip by one scheme; figures are means over the frames from the second received one to the last."""

    clip: str
    scheme: str
    crf: float
    kbps: float
    psnr: float
    ms_ssim: float
    temporal: float
    delay: float
    options: str = ""


class Sent(NamedTuple):
    """What a receiver decodes, and the bits that it took."""

    pictures: list[codec.Yuv420]
    bits: int
    crf: float


def send(pictures: Sequence[codec.Yuv420], info: codec.VideoInfo, crf: float, distance: int) -> Sent:
    """Pictures through x265 as one closed group without B-frames, `distance` source frames apart."""
    encoder = codec.anchor_codec("x265", crf=crf, anchor_distance=distance)
    frames = (codec.AnchorFrame(picture, index == 0) for index, picture in enumerate(pictures))
    packets = list(encoder.encode(frames, info))
    decoded = encoder.decode(packets, info)
    return Sent([decoded[n] for n in range(len(pictures))], sum(8 * len(packet.data) for packet in packets), crf)


def send_within(pictures: Sequence[codec.Yuv420], info: codec.VideoInfo, bits: int, lowest: float) -> Sent:
    """Pictures at the lowest crf above `lowest` whose bits are not more."""
    best, high = send(pictures, info, HIGHEST_CRF, 1), HIGHEST_CRF
    for _ in range(TRIES):
        middle = (lowest + high) / 2
        tried = send(pictures, info, middle, 1)
        if tried.bits > bits:
            lowest = middle
        else:
            best, high = tried, middle
    return best


def smoothed(sent: Sent, info: codec.VideoInfo, **options: object) -> tuple[list[codec.Yuv420], float]:
    """What `codec dejitter` makes of received pictures, and its delay in seconds."""
    slow = replace(info, frame_rate=info.frame_rate / FACTOR, time_base=FACTOR / info.frame_rate)
    with TemporaryDirectory() as folder:
        received, shown = Path(folder) / "received.y4m", Path(folder) / "shown.y4m"
        with codec.open_sink(received, slow) as sink:
            for number, picture in enumerate(sent.pictures):
                sink.write(codec.Frame(number, picture))
        done = codec.dejitter(received, shown, factor=FACTOR, **options)  # type: ignore[arg-type]
        with codec.open_source(shown) as source:
            return [frame.picture for frame in source], float(done.delay)


def shown(
    pictures: Sequence[codec.Yuv420], info: codec.VideoInfo, crf: float, models: dict[str, str | None]
) -> Iterator[tuple[str, Sent, list[codec.Yuv420], float]]:
    """For each scheme its name, what was sent, what is shown, and the delay in seconds."""
    few = send(pictures[::FACTOR], info, crf, FACTOR)
    many = send_within(pictures, info, few.bits, crf)
    yield SCHEMES[0], many, many.pictures, 0.0
    yield SCHEMES[1], few, [picture for picture in few.pictures for _ in range(FACTOR)], 0.0
    yield SCHEMES[2], few, *smoothed(few, info, model=models["model"])
    yield SCHEMES[3], few, *smoothed(few, info, scheme="extrapolation", **models)
    yield UNSMOOTHED, few, *smoothed(few, info, scheme="extrapolation", smooth=False, **models)


def temporal(source: Sequence[codec.Yuv420], seen: Sequence[codec.Yuv420], info: codec.VideoInfo) -> float:
    """PSNR in dB of the differences between consecutive frames, as RGB, against the source's."""
    a, b = ([codec.rgb_of(picture, info.colour) for picture in pictures] for pictures in (source, seen))
    errors = [float(((a[n] - a[n - 1]) - (b[n] - b[n - 1])).square().mean()) for n in range(1, len(a))]
    return codec.psnr(float(np.mean(errors)))


def measure(path: Path, frames: int, crf: float, models: dict[str, str | None], strips: Path | None) -> list[Row]:
    """A row for each scheme. InputError if a video is too short."""
    with codec.open_source(path) as source:
        info = source.info
        pictures = [frame.picture for frame, _ in zip(source, range(frames), strict=False)]
    pictures = pictures[: (len(pictures) - 1) // FACTOR * FACTOR + 1]
    if len(pictures) < 2 * FACTOR + 1:
        raise codec.InputError(f"{path}: {len(pictures)} frames; it takes {2 * FACTOR + 1}")
    rows, seen = [], {"source": pictures}
    for name, sent, made, delay in shown(pictures, info, crf, models):
        own, wanted = made[FACTOR : len(pictures)], pictures[FACTOR:]
        found = [codec.compare(a, b, info.colour) for a, b in zip(wanted, own, strict=True)]
        psnr, ms_ssim = (float(np.mean([getattr(q, what) for q in found])) for what in ("psnr_rgb", "ms_ssim"))
        kbps = float(sent.bits / len(pictures) * info.frame_rate / 1000)
        rows.append(Row(path.name, name, sent.crf, kbps, psnr, ms_ssim, temporal(wanted, own, info), delay))
        seen[name] = made
    if strips is not None:
        _save_strip(seen, info, strips / f"{path.stem}.png")
    return rows


def _save_strip(seen: dict[str, list[codec.Yuv420]], info: codec.VideoInfo, path: Path) -> None:
    """Five frames from a received one on, where most moves, a row a scheme (paper, Fig. 18)."""
    start = len(seen["source"]) // 2 // FACTOR * FACTOR
    rgb = {
        name: [codec.rgb_of(picture, info.colour) for picture in pictures[start : start + STRIP_FRAMES]]
        for name, pictures in seen.items()
        if name != UNSMOOTHED
    }
    window = busiest(rgb["source"], *STRIP_SIZE)
    save(strip({name: [window.cut(frame) for frame in frames] for name, frames in rgb.items()}), path)


def report(rows: Sequence[Row]) -> str:
    """Markdown: a line a scheme, the mean over the clips; then a line a clip and scheme."""
    table = table_of(rows, Row)
    figures = ["kbps", "psnr", "ms_ssim", "temporal", "delay"]
    means = table.groupby("scheme", sort=False)[figures].mean().reset_index()
    every = table[["clip", "scheme", *figures]]
    return "\n\n".join(markdown(_text(part)) for part in (means, every))


def _text(table: pd.DataFrame) -> pd.DataFrame:
    """Figures as text, with their units in the head."""
    forms = {
        "kbps": ("kbit/s", "{:.0f}"),
        "psnr": ("PSNR, dB", "{:.2f}"),
        "ms_ssim": ("MS-SSIM", "{:.4f}"),
        "temporal": ("temporal, dB", "{:.2f}"),
        "delay": ("delay, s", "{:.3f}"),
    }
    text = table.copy()
    for name, (title, form) in forms.items():
        text[name] = table[name].map(form.format)
        text = text.rename(columns={name: title})
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands and return its exit status."""
    parser = codec.Parser(prog="jitter.py", description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(required=True)
    run = add_run(commands, _run, "measure every clip")
    run.add_argument("--frames", type=parse_count, default=33, help="of each video (33)")
    run.add_argument("--crf", type=float, default=28.0, help="of scheme 2 (28)")
    run.add_argument("--model", help="network that interpolates (base)")
    run.add_argument("--foresee", help="network that extrapolates (extrapolate)")
    run.add_argument("--strips", type=Path, metavar="DIR", help="a picture of each clip goes there")
    add_table(commands, Row, report)
    return run_command(parser, argv)


def _run(arguments: argparse.Namespace) -> None:
    models = {"model": arguments.model, "foresee": arguments.foresee}
    how = arguments.frames, arguments.crf, models, arguments.strips
    if arguments.strips is not None:
        make_folder(arguments.strips)

    def alike(rows: Sequence[Row]) -> bool:
        return (SCHEMES[1], arguments.crf) in {(row.scheme, row.crf) for row in rows}

    options = f"{arguments.frames} frames, {arguments.model or 'usual'} and {arguments.foresee or 'usual'} network"
    measure_clips(arguments.root, arguments.output, Row, lambda path: measure(path, *how), alike, options)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Frame interpolation on the benchmarks of the literature and on any videos.

    python eval/interpolation.py run --dataset vimeo --root DIR --models base rife5 rife -o results.csv
    python eval/interpolation.py run --dataset folder --root DIR --anchor x265 --crf 23 28 33 -o results.csv
    python eval/interpolation.py table results.csv
    python eval/interpolation.py runtime --models base rife5 rife

All models of a run see every triplet one after the other. A benchmark's prediction is rounded to 8-bit RGB before it
is measured. A video's goes through the codec's own path and becomes planes again: what is measured is their RGB, which
is what the codec shows. A row of the results is a clip; a data set's figure is the mean of its rows.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

import codec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval import complexity, published, tables, triplets
from eval.command import check_output, parse_count, run_command
from eval.metrics import Score, round_to_bytes, score
from eval.published import Row
from eval.sequences import distinct, videos
from eval.triplets import Anchor, Clip, Triplet, VideoTriplet

COARSE_SHORT_SIDE = {"x4k": 384}  # where a of the paper is not the models' own (section 4.2)
SAVE_SECONDS = 10.0  # a results file of thousands of rows is not written after each of them


class Part(NamedTuple):
    """Clips whose rows make one figure."""

    dataset: str
    setting: str
    clips: list[Clip]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the three commands and return its exit status."""
    return run_command(_parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser = codec.Parser(prog="interpolation.py", description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="measure every clip by every model; rows already in the CSV are kept")
    run.add_argument("--dataset", required=True, choices=DATASETS)
    run.add_argument("--root", type=Path, required=True, help="the data set's folder, or a video")
    run.add_argument("-o", "--output", type=Path, required=True, metavar="CSV")
    run.add_argument("--extrapolate", action="store_true", help="the third frame from the first two (paper, table 2)")
    run.add_argument("--without-dirty", action="store_true", help="ucf101: leave out the paper's 98 triplets")
    run.add_argument("--step", type=parse_count, default=1, help="folder: frames from a target to its references")
    run.add_argument("--frames", type=parse_count, help="folder: frames of each video (default: all)")
    run.add_argument("--anchor", help="folder: code the references with this encoder first")
    run.add_argument("--crf", type=float, nargs="+", default=[], help="folder: its qualities")
    run.set_defaults(action=_run)
    table = commands.add_parser("table", help="the paper's tables with our rows under them, as Markdown")
    table.add_argument("results", type=Path)
    table.set_defaults(action=_table)
    runtime = commands.add_parser("runtime", help="seconds by component, parameters and MACs, as Markdown")
    runtime.add_argument("--sizes", nargs="+", default=list(complexity.SIZES), choices=complexity.SIZES)
    runtime.add_argument("--repeats", type=parse_count, default=5)
    runtime.set_defaults(action=_runtime)
    for command in (run, runtime):
        command.add_argument("--models", nargs="+", default=["base"], metavar="NAME")
        command.add_argument("--tta", action="store_true", help="average with the pictures upside down (paper, A.1)")
        command.add_argument("--device", default="auto")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    check_output(arguments.output)
    parts = _parts(arguments)
    models = _models(arguments)
    for model in models:
        _check_task(model, extrapolate=arguments.extrapolate)
        _set_coarse_side(model, COARSE_SHORT_SIDE.get(arguments.dataset))
    rows = tables.read_rows(arguments.output, Row) if arguments.output.exists() else []
    saved = time.monotonic()
    try:
        for part, clip, missing in track(
            list(_todo(parts, models, rows)), console=Console(stderr=True), disable=not sys.stderr.isatty()
        ):
            rows += measure(part, clip, missing)
            if time.monotonic() - saved > SAVE_SECONDS:
                tables.write_rows(arguments.output, rows)
                saved = time.monotonic()
    finally:
        if rows:
            tables.write_rows(arguments.output, rows)


def _models(arguments: argparse.Namespace) -> list[codec.Model]:
    device = codec.choose_device(arguments.device)
    models = [codec.load_model(name, device) for name in arguments.models]
    return [large(model) for model in models] if arguments.tta else models


def large(model: codec.Model) -> codec.Model:
    """A model under a name of its own that averages its answers for the pictures and for them upside down (A.1)."""
    return replace(codec.averaged(model), name=f"{model.name} --tta")


def _check_task(model: codec.Model, *, extrapolate: bool) -> None:
    task = model.network.config.task
    if task != published.SETTINGS[extrapolate]:
        raise codec.ModelError(f"model {model.name!r} is made for {task}; it cannot be measured at the other task")


def _set_coarse_side(model: codec.Model, side: int | None) -> None:
    """Give a network with a coarse picture another size of it; RIFE 4.0's blocks have none."""
    config = getattr(model.network.flow, "config", None)
    if config is not None and side is not None:
        model.network.flow.config = replace(config, coarse_short_side=side)


def _todo(
    parts: Sequence[Part], models: Sequence[codec.Model], rows: Sequence[Row]
) -> Iterator[tuple[Part, Clip, list[codec.Model]]]:
    """What the results lack: a clip and the models that have not measured it."""
    done = {(row.dataset, row.setting, row.clip, row.model, row.fingerprint) for row in rows}
    for part in parts:
        for clip in part.clips:
            key = part.dataset, part.setting, clip.name
            missing = [model for model in models if (*key, model.name, model.fingerprint.hex()) not in done]
            if missing:
                yield part, clip, missing


def measure(part: Part, clip: Clip, models: Sequence[codec.Model]) -> list[Row]:
    """A row a model, the mean over the clip's triplets."""
    scores: list[list[Score]] = [[] for _ in models]
    for triplet in clip.triplets():
        for model, own in zip(models, scores, strict=True):
            own.append(score(*predict(model, triplet)))
    return [
        Row(
            part.dataset,
            part.setting,
            clip.name,
            model.name,
            model.fingerprint.hex(),
            len(own),
            *pd.DataFrame(own).mean(),
        )
        for model, own in zip(models, scores, strict=True)
    ]


def predict(model: codec.Model, triplet: Triplet | VideoTriplet) -> tuple[Tensor, Tensor]:
    """RGB (1,3,H,W) in [0,1] of what would be shown, and of the target."""
    if isinstance(triplet, VideoTriplet):
        predictor = codec.Predictor(model, triplet.info)
        before, after = map(predictor.reference, triplet.inputs)
        shown = predictor.predict(before, after, triplet.time, triplet.noise)
        return codec.rgb_of(shown, triplet.info.colour), codec.rgb_of(triplet.target, triplet.info.colour)
    device = next(model.network.parameters()).device
    past, future, target = (_tensor(image, device) for image in (*triplet.inputs, triplet.target))
    height, width = target.shape[-2:]
    multiple = model.network.multiple
    edges = (0, -width % multiple, 0, -height % multiple)
    with torch.inference_mode():
        past, future = (F.pad(x, edges, mode="replicate") for x in (past, future))
        frame = model.network(past, future, triplet.time).frame[..., :height, :width]
    return round_to_bytes(frame), target


def _tensor(image: triplets.Image, device: torch.device) -> Tensor:
    return torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255


def _snu_film(arguments: argparse.Namespace, setting: str) -> list[Part]:
    load = triplets.snu_film
    return [
        Part(f"snu-film-{mode}", setting, load(arguments.root, mode, extrapolate=arguments.extrapolate))
        for mode in triplets.SNU_FILM_MODES
    ]


def _ucf101(arguments: argparse.Namespace, setting: str) -> list[Part]:
    clean = arguments.without_dirty
    clips = triplets.ucf101(arguments.root, extrapolate=arguments.extrapolate, without_dirty=clean)
    return [Part("ucf101-without-dirty" if clean else "ucf101", setting, clips)]


def _folder(arguments: argparse.Namespace, setting: str) -> list[Part]:
    if arguments.extrapolate or bool(arguments.anchor) != bool(arguments.crf):
        raise codec.InputError("a folder takes --anchor and --crf together, and no --extrapolate")
    paths = distinct(videos(arguments.root))
    length = f"step {arguments.step}, {arguments.frames or 'all'} frames"
    anchors: list[Anchor | None] = [Anchor(arguments.anchor, crf) for crf in arguments.crf] or [None]
    return [
        Part(
            arguments.root.resolve().name,
            f"{f'{anchor.encoder} crf {anchor.crf:g}' if anchor else 'clean'}, {length}",
            triplets.videos(paths, step=arguments.step, frames=arguments.frames, anchor=anchor),
        )
        for anchor in anchors
    ]


def _plain(arguments: argparse.Namespace, setting: str) -> list[Part]:
    load = {"vimeo": triplets.vimeo, "x4k": triplets.x4k}[arguments.dataset]
    return [Part(arguments.dataset, setting, load(arguments.root, extrapolate=arguments.extrapolate))]


DATASETS: dict[str, Callable[[argparse.Namespace, str], list[Part]]] = {
    "vimeo": _plain,
    "ucf101": _ucf101,
    "snu-film": _snu_film,
    "x4k": _plain,
    "folder": _folder,
}


def _parts(arguments: argparse.Namespace) -> list[Part]:
    """What is to be measured. InputError, with where to get the data set, if it is missing or not whole."""
    try:
        return DATASETS[arguments.dataset](arguments, published.SETTINGS[arguments.extrapolate])
    except codec.InputError as error:
        source = triplets.SOURCES.get(arguments.dataset)
        raise codec.InputError(f"{error}; {source}" if source else str(error)) from error


def _table(arguments: argparse.Namespace) -> None:
    print(published.report(tables.read_rows(arguments.results, Row)))


def _runtime(arguments: argparse.Namespace) -> None:
    print(complexity.report(_models(arguments), arguments.sizes, repeats=arguments.repeats))


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Recipes: everything that decides a training run, read from one TOML file.

That of a network has the tables [model] and [train]; that of a codec has [codec], [train] and one of its own.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Self

from ncm import NcmConfig

from ..errors import InputError
from .losses import TERMS

RANGES = {
    **dict.fromkeys(("batch", "accumulate", "validate_every", "log_every"), (1, math.inf)),
    **dict.fromkeys(("steps", "seed", "warmup", "validation_clips", "samples_every"), (0, math.inf)),
    **dict.fromkeys(("unequal", "decoded", "final", "ema"), (0, 1)),
    **dict.fromkeys(("teacher", "distillation", "weight_decay", "checkpoint_minutes"), (0, math.inf)),
    **dict.fromkeys(("lr", "clip"), (1e-12, 1e12)),
    "crop": (32, math.inf),
}  # of the keys of [train], the lowest and the highest value


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. Names in rates, freeze and may_be_missing are shell patterns, such as `flow.block?.*`."""

    model: NcmConfig = field(default_factory=NcmConfig)

    # Where to start and how long to go.
    init: str = ""  # a model's name, or a .safetensors file relative to the config's folder; "" = fresh weights
    may_be_missing: tuple[str, ...] = ()  # names that `init` need not have; all others are loaded strictly
    rename: dict[str, str] = field(default_factory=dict)  # prefix of names in `init` -> ours; "" = leave those out
    channels: dict[str, list[int]] = field(default_factory=dict)  # ours -> those of `init`'s to take: load_weights
    steps: int = 100_000  # optimiser steps
    seed: int = 0  # sample n is a function of (seed, n), and so is every draw of step n: resuming repeats nothing

    # Samples.
    batch: int = 8  # samples, shared between the ranks if there are several
    accumulate: int = 1  # batches a step
    crop: int = 256  # side of the square crops, a multiple of 32
    downscale: tuple[int, ...] = ()  # original pictures are shrunk by one of these, say [1, 2, 3], where the crop fits
    transpose: bool = True  # whether crops are turned by 90 degrees too, and not only flipped
    distances: tuple[float, ...] = (0.6, 0.25, 0.15)  # weights of references 1, 2, 3, ... frames away
    unequal: float = 0.1  # part of the samples whose target is not half-way between its references
    decoded: float = 0.0  # part of the samples whose references are decoded anchors, not originals
    coarse_ratios: tuple[float, ...] = ()  # one is drawn a step for model.coarse_ratio (paper 3.4, stage II)

    # What is optimised.
    supervise: str = "frame"  # "frame": the synthesised frame; "coarse": the blend of the last coarse block (stage I)
    loss: dict[str, float] = field(default_factory=lambda: {"laplacian": 1.0})  # weights of losses.TERMS
    teacher: float = 1.0  # weight of the teacher's reconstruction; 0 = no teacher, no distillation
    distillation: float = 0.01  # the paper's lambda_d
    freeze: tuple[str, ...] = ()  # parameters that stay as they are

    # Optimiser: AdamW, warm-up, then a cosine from lr down to final * lr.
    lr: float = 1e-4
    rates: dict[str, float] = field(default_factory=dict)  # pattern -> factor on lr, the first match counts; others 1
    final: float = 0.1
    warmup: int = 500
    weight_decay: float = 1e-3
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.999  # decay of the averaged weights, which are the ones validated and exported
    bf16: bool = True  # autocast to bfloat16, where the device computes in it

    # Watching.
    validation_clips: int = 24
    validate_every: int = 1000  # steps
    checkpoint_minutes: float = 5.0
    log_every: int = 50  # steps
    samples_every: int = 0  # steps between pictures of past, future, target and prediction; 0 = none
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                most = f"{low} or more" if high == math.inf else f"{low} to {high}"
                raise InputError(f"train.{name} is {getattr(self, name)}; it must be {most}")
        if not self.distances or min(self.distances) < 0 or not 0 < sum(self.distances) < math.inf:
            raise InputError(f"train.distances is {self.distances}; it holds weights from 0, not all of them 0")
        if self.crop % 32:
            raise InputError(f"train.crop is {self.crop}; it must be a multiple of 32")
        if any(type(factor) is not int or factor < 1 for factor in self.downscale):
            raise InputError(f"train.downscale is {self.downscale}; it holds whole numbers from 1")
        if unknown := set(self.loss) - set(TERMS):
            raise InputError(f"train.loss has no term {min(unknown)!r}; there are {', '.join(TERMS)}")
        coarse_to_fine = self.model.estimator == "ncm"
        if self.teacher and not (coarse_to_fine and self.model.teacher_width):
            remedy = "set train.teacher = 0.0, or take another recipe"
            raise InputError(f"train.teacher is on, but the model has no teacher block (model.teacher_width); {remedy}")
        if (self.coarse_ratios or self.supervise == "coarse") and not (coarse_to_fine and self.model.coarse_blocks):
            raise InputError("train.coarse_ratios and train.supervise = 'coarse' need a model with coarse blocks")
        if self.supervise not in ("frame", "coarse"):
            raise InputError(f"train.supervise is {self.supervise!r}; it is 'frame' or 'coarse'")

    @classmethod
    def load(cls, path: Path) -> Self:
        """The recipe in a TOML file; its files become relative to where we are. InputError names what is wrong."""
        config = cls.of(read_tables(path), str(path))
        sources = {"base", "init"} & {field.name for field in fields(cls)}
        found: dict[str, Any] = {name: _beside(path, getattr(config, name)) for name in sources}
        return replace(config, **found)

    @classmethod
    def of(cls, tables: Mapping[str, Any], where: str) -> Self:
        """A recipe out of the tables `model` and `train`. InputError begins with `where`."""
        check_tables(tables, ("model", "train"), where)
        try:
            model = NcmConfig(**_checked(NcmConfig, tables.get("model", {}), f"{where}: [model]"))
        except ValueError as error:
            raise InputError(f"{where}: [model]: {error}") from error
        return cls(model=model, **_checked(TrainConfig, tables.get("train", {}), f"{where}: [train]"))

    def tables(self) -> dict[str, Any]:
        """The recipe as tables `model` and `train`, every default spelt out, plain enough for JSON."""
        values = asdict(self)
        return {"model": values.pop("model"), "train": values}

    def given(self, **changes: Any) -> Self:  # noqa: ANN401
        """This recipe with those of the changes that are neither None nor empty."""
        return replace(self, **{name: value for name, value in changes.items() if value})


@dataclass(frozen=True, kw_only=True)
class CodecTraining(TrainConfig):
    """One run of a codec: what training a network has, and what this and the kinds of codecs below it add."""

    codec: Any  # its sizes, of class `sizes`
    teacher: float = 0.0  # no codec has one

    table: ClassVar[str]  # of the recipe, which holds what is not in [codec] or [train]
    sizes: ClassVar[type]

    @classmethod
    def own(cls) -> tuple[str, ...]:
        """The keys of the recipe's own table."""
        general = {field.name for field in fields(CodecTraining)}
        return tuple(field.name for field in fields(cls) if field.name not in general)

    @classmethod
    def of(cls, tables: Mapping[str, Any], where: str) -> Self:
        """A recipe out of the tables `codec`, its own and `train`. InputError begins with `where`."""
        check_tables(tables, ("codec", cls.table, "train"), where)
        table = tables.get(cls.table, {})
        if unknown := set(table) - set(cls.own()):
            known = ", ".join(cls.own())
            raise InputError(f"{where}: [{cls.table}]: unknown key {min(unknown)!r}; known are {known}")
        own = _checked(cls, table, f"{where}: [{cls.table}]")
        train = _checked(TrainConfig, tables.get("train", {}), f"{where}: [train]")
        try:
            codec = cls.sizes(**_checked(cls.sizes, tables.get("codec", {}), f"{where}: [codec]"))
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: [codec]: {error}") from error
        return cls(codec=codec, **train, **own)

    def tables(self) -> dict[str, Any]:
        """The recipe as tables `codec`, its own and `train`, every default spelt out, plain enough for JSON."""
        train = super().tables()["train"]
        codec, own = train.pop("codec"), {key: train.pop(key) for key in self.own()}
        return {"codec": codec, self.table: own, "train": train}

    def given(self, *, slope: float | None = None, **changes: Any) -> Self:  # noqa: ANN401
        """This recipe with what is given; a slope makes it a model of that one lambda. InputError if it cannot be."""
        if slope is not None:
            try:
                changes["codec"] = replace(self.codec, lambdas=(slope,))
            except ValueError as error:
                raise InputError(f"lambda {slope:g}: {error}") from error
        return super().given(**changes)


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe, by its path, or by its name if it ships, such as 'base'. InputError lists the names."""
    if Path(name).is_file():
        return Path(name)
    folder = Path(str(files("codec") / "configs"))
    shipped = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.toml"))}
    short = Path(name).as_posix().removeprefix("configs/").removesuffix(".toml")
    if short not in shipped:
        raise InputError(f"{name}: no such recipe; give a .toml file, or one of {', '.join(shipped)}")
    return shipped[short]


def read_tables(path: Path) -> dict[str, Any]:
    """What a TOML file holds. InputError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {error}") from error


def check_tables(tables: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """InputError if a recipe has a table that is not known."""
    if unknown := set(tables) - set(known):
        listed = ", ".join(f"[{name}]" for name in known)
        raise InputError(f"{where}: unknown table [{min(unknown)}]; there are {listed}")


def _beside(path: Path, name: str) -> str:
    """A .safetensors file named in the recipe at `path`, as seen from where we are; names of models stay."""
    return str(path.parent / name) if name.endswith(".safetensors") else name


def _checked(kind: type[Any], table: dict[str, Any], where: str) -> dict[str, Any]:
    """The table with lists as tuples, if every key is a field of the dataclass `kind` and has its type."""
    known = {f.name: f for f in fields(kind) if f.name != "model"}
    checked = {}
    for key, value in table.items():
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; known are {', '.join(known)}")
        checked[key] = tuple(value) if isinstance(value, list) else value
        spec = known[key]
        expected = type(spec.default if spec.default_factory is MISSING else spec.default_factory())
        if expected is float and type(value) is int:
            checked[key] = float(value)
        elif type(checked[key]) is not expected:
            raise InputError(f"{where}: {key} is {value!r}; it must be of type {expected.__name__}")
    return checked

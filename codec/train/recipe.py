# SPDX-License-Identifier: MIT
"""Recipes of codecs: TOML files with the tables [codec], [train], and one of what that kind of codec alone has."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch

from ..errors import InputError
from .config import TrainConfig, beside, config_from, read_tables
from .state import CHECKPOINT, TrainState, read_checkpoint, restore

StateT = TypeVar("StateT", bound=TrainState)
TrainingT = TypeVar("TrainingT", bound="CodecTraining")


@dataclass(frozen=True, kw_only=True)
class CodecTraining(TrainConfig):
    """One run of a codec: what training a network has, and what this and the kinds of codecs below it add."""

    codec: Any  # its sizes, of class `sizes`

    table: ClassVar[str]  # that holds what is not in [codec] or [train]
    sizes: ClassVar[type]

    @classmethod
    def own(cls) -> tuple[str, ...]:
        """The keys of the recipe's own table."""
        general = {field.name for field in fields(TrainConfig)} | {"codec"}
        return tuple(field.name for field in fields(cls) if field.name not in general)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The recipe in a TOML file; its files are relative to its folder. InputError names what is wrong."""
        config = cls.of(read_tables(path), str(path))
        found: dict[str, Any] = {name: beside(path, getattr(config, name)) for name in config.sources()}
        return replace(config, **found)

    @classmethod
    def of(cls, tables: Mapping[str, Any], where: str) -> Self:
        """A recipe out of tables; `where` is named in errors."""
        if unknown := set(tables) - {"codec", cls.table, "train"}:
            raise InputError(f"{where}: unknown table [{min(unknown)}]; there are [codec], [{cls.table}], [train]")
        own = _tuples(tables.get(cls.table, {}))
        if unknown := set(own) - set(cls.own()):
            known = ", ".join(cls.own())
            raise InputError(f"{where}: [{cls.table}]: unknown key {min(unknown)!r}; known are {known}")
        plain = config_from({"train": {"teacher": 0.0} | tables.get("train", {})}, where)
        try:
            codec = cls.sizes(**_tuples(tables.get("codec", {})))
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: [codec]: {error}") from error
        return cls(**vars(plain), codec=codec, **own)

    @classmethod
    def restored(cls, content: Mapping[str, Any], where: str) -> Self:
        """The recipe in a checkpoint; its initial weights are those of the checkpoint."""
        values = json.loads(content["config"])["train"]
        codec, own = values.pop("codec"), {key: values.pop(key) for key in cls.own() if key in values}
        return cls.of({"codec": codec, cls.table: own, "train": values}, where)

    @classmethod
    def sources(cls) -> tuple[str, ...]:
        """The keys that name weights to begin with."""
        return tuple(name for name in ("base", "init") if name in {field.name for field in fields(cls)})

    def given(self, *, steps: int | None, slope: float | None, **names: str) -> Self:
        """This recipe, with what is given instead of what it says; a slope makes it a model of one lambda."""
        codec = self.codec if slope is None else replace(self.codec, lambdas=(slope,))
        chosen: dict[str, Any] = {name: value for name, value in names.items() if value}
        return replace(self, codec=codec, steps=steps or self.steps, **chosen)


def resumed(
    run: Path,
    device: torch.device,
    kind: type[TrainingT],
    start: Callable[[TrainingT, str, torch.device], StateT],
    *,
    steps: int | None = None,
) -> StateT:
    """A codec's run as it was when its checkpoint was written; InputError if it has none that can be read."""
    content = read_checkpoint(run, device)
    config = kind.restored(content, str(run / CHECKPOINT))
    state = start(replace(config, init=""), content["data"], device)
    state.config = replace(config, steps=steps or config.steps)
    restore(state, content)
    return state


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}

# SPDX-License-Identifier: MIT
"""What can be trained. This table loads no torch; a task itself is loaded when it is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import InputError

if TYPE_CHECKING:
    from ..task import Task


class Listed(NamedTuple):
    """A task as the command line knows it; its module in this folder is called as it is, and holds it as `TASK`."""

    help: str
    tables: tuple[str, ...]  # of its recipe
    base: str = ""  # what --base is; "" = there is no such option
    rates: bool = False  # whether --lambda makes it a model of one rate
    aliases: tuple[str, ...] = ()
    recipe: str = ""  # the usual one among those that ship; "" = it is called as the task


TASKS = {
    "network": Listed("a frame-synthesis network", ("model", "train"), aliases=("ncm",), recipe="base"),
    "bframe": Listed(
        "the B-frame codec on top of a network",
        ("codec", "bframe", "train"),
        base="the network that predicts",
        rates=True,
    ),
    "postfilter": Listed(
        "the post-filter of a B-frame codec", ("codec", "postfilter", "train"), base="the codec that carries it"
    ),
    "loopfilter": Listed(
        "the in-loop filter of B-frames", ("codec", "loopfilter", "train"), base="the codec that carries it"
    ),
    "neighbour": Listed("a post-filter that sees neighbouring pictures", ("codec", "neighbour", "train")),
    "tcm": Listed("a TCM codec of anchors", ("codec", "tcm", "train"), rates=True),
}


def load_task(name: str) -> "Task[Any, Any]":
    """The task of this name. InputError if there is none."""
    if name not in TASKS:
        raise InputError(f"there is no training task {name!r}; there are {', '.join(TASKS)}")
    task: Task[Any, Any] = import_module(f".{name}", __package__).TASK
    return task

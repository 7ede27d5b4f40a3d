# SPDX-License-Identifier: MIT
"""Fuzzing of streams: python -m tests.fuzz parse 100000, decode 5000, remux 5000, kill 200, or guided-... SECONDS.

anchors 40000 and strings 40000 are about compiled code alone, and may run under a memory checker.
Counts by kind of mutation and by outcome are printed; a stream that breaks a promise is kept as found-*, and the exit
status is 1. The same seed makes the same streams, and a long run may be cut into parts by --first.
"""

import argparse
import os
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from .seeds import DATA, Seed, coded, golden

WHAT = ("parse", "decode", "remux", "anchors", "strings", "kill", "guided-parser", "guided-payload")
Outcome = Callable[[Path], str]
Counts = Counter[tuple[str, str]]


def fuzz(
    seeds: Sequence[Seed], count: int, seed: int, outcome: Outcome, folder: Path, *, first: int = 0
) -> tuple[Counts, int]:
    """How many streams of each kind of mutation ended how, and how many broke a promise; those stay in the folder."""
    from .mutator import MUTATIONS, OF_FILMS

    plain = [seed.data for seed in seeds if not seed.film]
    counts: Counts = Counter()
    broken = 0
    for number in range(first, first + count):
        rng = random.Random(f"{seed}-{number}")
        chosen = rng.choice(seeds)
        mutations = OF_FILMS if chosen.film else MUTATIONS
        name = list(mutations)[number % len(mutations)]
        path = folder / f"found-{seed}-{number}{Path(chosen.name).suffix if chosen.film else '.ncm'}"
        path.write_bytes(mutations[name](chosen.data, rng, plain))
        try:
            counts[name, outcome(path)] += 1
        except Exception:
            broken += 1
            counts[name, "BROKEN"] += 1
            print(path)
            traceback.print_exc()
        else:
            path.unlink()
    return counts, broken


def table(counts: Counts) -> str:
    """Markdown of the counts."""
    names = dict.fromkeys(name for name, _ in counts)
    ends = ("whole", "damaged", "refused", "BROKEN")
    rows = [f"| {name} | " + " | ".join(str(counts[name, end]) for end in ends) + " |" for name in names]
    return "\n".join(["| mutation | " + " | ".join(ends) + " |", "|---|" + "---:|" * len(ends), *rows])


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("count", type=int, help="streams, kills, or seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first stream or kill")
    parser.add_argument("--keep", type=Path, default=Path(), help="folder for streams that broke a promise")
    arguments = parser.parse_args()
    os.environ.setdefault("NCM_WEIGHTS", str(DATA / "weights"))
    if arguments.what == "kill":
        from .kill import killed

        print(killed(arguments.count, arguments.seed, first=arguments.first))
        return 0
    if arguments.what.startswith("guided"):
        from .guided import run

        return run(arguments.what, arguments.count, arguments.keep)
    from . import outcomes
    from .compiled import anchors, strings

    if arguments.what == "strings":
        print(dict(strings(arguments.count, arguments.seed)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        seeds = golden() + coded(Path(folder))
        if arguments.what == "anchors":
            print(dict(anchors(seeds, arguments.count, arguments.seed)))
            return 0
        outcome = {"parse": outcomes.parsed, "decode": outcomes.decoded, "remux": outcomes.remuxed}[arguments.what]
        how = {"first": arguments.first}
        counts, broken = fuzz(seeds, arguments.count, arguments.seed, outcome, arguments.keep, **how)
    print(table(counts))
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())

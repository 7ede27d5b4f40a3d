# SPDX-License-Identifier: MIT
"""A little of `python -m tests.fuzz` in each run of the tests; docs/reliability.md has the counts of the long runs."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # what is run as tests.fuzz is imported as such

from tests.fuzz.__main__ import fuzz
from tests.fuzz.compiled import LIBAV, anchors, strings
from tests.fuzz.guided import TARGETS
from tests.fuzz.kill import killed
from tests.fuzz.mutator import MUTATIONS, OF_FILMS
from tests.fuzz.outcomes import decoded, parsed, remuxed
from tests.fuzz.seeds import coded, golden


@pytest.fixture(scope="module")
def seeds(tmp_path_factory, tiny_weights):
    """The golden streams, small ones, and those in films."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCM_WEIGHTS", str(tiny_weights))
        return golden() + coded(tmp_path_factory.mktemp("seeds"))


def test_good_streams_are_whole(tmp_path, seeds, weights):
    for seed in seeds:
        path = tmp_path / Path(seed.name).with_suffix(Path(seed.name).suffix if seed.film else ".ncm")
        path.write_bytes(seed.data)
        assert parsed(path) == decoded(path) == "whole", seed.name
        assert "tcm" in seed.name or remuxed(path) == "whole", seed.name


def test_tampered_streams_are_parsed(tmp_path, seeds):
    counts, broken = fuzz(seeds, 1956, 1, parsed, tmp_path)
    assert not broken and {name for name, _ in counts} == {*MUTATIONS, *OF_FILMS}
    assert counts["bits", "whole"] == counts["cuts", "whole"] == 0 and counts["summed", "whole"] > 0


def test_tampered_streams_are_decoded(tmp_path, seeds, weights, one_thread):
    counts, broken = fuzz(seeds, 14, 2, decoded, tmp_path)
    assert not broken and counts.total() == 14


def test_tampered_streams_are_remuxed(tmp_path, seeds):
    counts, broken = fuzz(seeds, 30, 3, remuxed, tmp_path)
    assert not broken and counts.total() == 30


def test_compiled_code_reads_whatever_it_gets(seeds):
    assert {name for name, _ in anchors(seeds, 2000, 4)} == {*LIBAV}
    counts = strings(400, 5)
    assert counts["good", "whole"] == 100 and counts["changed", "refused"] > 60 and counts["noise", "refused"] > 60


@pytest.mark.parametrize("name", TARGETS)
def test_what_guided_runs_call_reads_whatever_it_gets(name, weights):
    target = TARGETS[name]()
    for size in (0, 3, 60, 200):
        target(bytes(range(size)))


@pytest.mark.timeout(600)
def test_a_kill_leaves_the_old_output_or_the_new_one(weights):
    assert sum(killed(2, 1).values()) == 2

"""What tests of training may ask for."""

import pytest
from corpus import tiny_cache

from codec.train.data import Corpus, Library


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder with the decoded clips of a tiny corpus."""
    return tiny_cache(tmp_path_factory.mktemp("corpora") / "tiny")


@pytest.fixture
def library(cache):
    """The clips of that corpus, in memory."""
    return Library(Corpus(cache))

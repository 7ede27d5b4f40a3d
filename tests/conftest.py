"""Makes tests/helpers.py importable, and a tiny network known."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def tiny_weights():
    """A folder with the weights of a tiny untrained network, `tiny`, for $NCM_WEIGHTS."""
    return HERE / "data" / "weights"

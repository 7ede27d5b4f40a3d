"""What every test may ask for."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_weights():
    """A folder with the weights of a tiny untrained network, `tiny`, for $NCM_WEIGHTS."""
    return Path(__file__).parent / "data" / "weights"

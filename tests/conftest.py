"""What every test may ask for."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_weights():
    """A folder with the weights of a tiny untrained network, `tiny`, for $NCM_WEIGHTS."""
    return Path(__file__).parent / "data" / "weights"

"""Makes tests/helpers.py importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A folder with the weights of a tiny network, `tiny`, for $NCM_WEIGHTS."""
    import torch

    from codec import models
    from ncm import NcmConfig, build

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    config = NcmConfig(
        widths=(8, 8, 8, 8, 8),
        pyramid=(4, 4, 4, 8),
        motion_features=8,
        quality_input=True,
        context_width=2,
        teacher_width=0,
    )
    models.save(build(config), folder / "tiny.safetensors")
    return folder

"""What every test may ask for."""

import locale
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_weights():
    """A folder with the weights of a tiny untrained network, `tiny`, for $NCM_WEIGHTS."""
    return Path(__file__).parent / "data" / "weights"


@pytest.fixture
def weights(monkeypatch, tiny_weights):
    """The tiny weights are found by their names."""
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


@pytest.fixture
def one_thread():
    """torch with one thread, for the sake of speed: the networks of the tests are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def decimal_comma(tmp_path, monkeypatch):
    """A locale in which C reads 1.5 as 1."""
    if shutil.which("localedef") is None:
        pytest.skip("there is no localedef")
    made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"], capture_output=True)
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    except locale.Error:
        pytest.skip(f"there is no German locale: {made.stderr.decode()}")
    yield
    locale.setlocale(locale.LC_ALL, before)

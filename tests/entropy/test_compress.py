"""CompressAI's coder and density without its datasets and models, which are there for who wants them."""

import subprocess
import sys

import pytest

SLOW = "torch_geometric", "torch._dynamo", "compressai.datasets"


def _run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_decoder_starts_without_the_rest_of_compressai():
    code = f"""
import sys
import codec.models
codec.load_model("bframe")
print([name for name in {SLOW} if name in sys.modules])"""
    assert _run(code) == "[]"


@pytest.mark.parametrize(
    "use",
    [
        "compressai.__version__ and compressai.zoo.image_models",
        "compressai.get_entropy_coder() == 'ans' and compressai.models",
        "__import__('compressai.zoo.image').zoo.image.model_urls",
        "not hasattr(compressai, 'nothing') and compressai.losses",
    ],
)
def test_all_of_compressai_is_there_after_ours(use):
    code = f"""
import warnings
import entropy
import compressai
warnings.simplefilter("ignore")
assert {use}
import compressai.entropy_models as whole
from entropy.compress import EntropyBottleneck
print(whole.EntropyBottleneck is EntropyBottleneck, EntropyBottleneck(3).entropy_coder.name)"""
    assert _run(code) == "True ans"


def test_compressai_that_is_there_already_is_used():
    code = """
import warnings
warnings.simplefilter("ignore")
import compressai
from entropy.compress import EntropyBottleneck, RansDecoder
print(EntropyBottleneck is compressai.entropy_models.EntropyBottleneck, RansDecoder is compressai.ans.RansDecoder)"""
    assert _run(code) == "True True"

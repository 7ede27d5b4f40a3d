# SPDX-License-Identifier: MIT
"""What we use of CompressAI, imported without the rest of it and without the warnings of what it imports itself.

Its own __init__ imports every dataset and model, and with them torch_geometric and torch's compiler: two
fifths of the time that a decoder would take to start.
"""

import importlib.util
import sys
import warnings
from typing import Any


def _defer(name: str, known: dict[str, Any]) -> None:
    """Let modules of a package be imported, its __init__ only once the package is asked for something not known."""
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def whole(attribute: str) -> object:
        if attribute.startswith("__") and attribute not in ("__all__", "__version__"):  # Python asks, not a user
            raise AttributeError(attribute)
        del package.__dict__["__getattr__"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loader.exec_module(package)
        return getattr(package, attribute)

    package.__dict__.update(known, __getattr__=whole)
    sys.modules[name] = package


# Its entropy models ask for these when they are made.
_defer("compressai", {"get_entropy_coder": lambda: "ans", "available_entropy_coders": lambda: ["ans"]})
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from compressai.ans import BufferedRansEncoder, RansDecoder
    from compressai.entropy_models import EntropyBottleneck
    from compressai.ops.bound_ops import LowerBoundFunction

__all__ = ["BufferedRansEncoder", "EntropyBottleneck", "LowerBoundFunction", "RansDecoder"]

"""An accelerator that is none: tensors of the CPU, some of which behave as if they were on a device of their own.

Within `Accelerator()` whatever is made for, or moved to, "cuda" is marked, and so is all that is computed from it.
Where torch would refuse, on a real GPU, to mix tensors of two devices or to read one as an array, this does.
"""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("cuda", 0)
MARK = "_on_accelerator"  # an attribute of storages, so that views have it too, and what is written in place
READS = ("numpy", "__array__", "__dlpack__")
MAY_MIX = ("copy_", "__getitem__", "__setitem__", "__set__", "index_put_", "_has_compatible_shallow_copy_type")
MOVES = ("to", "cpu", "cuda")


class Accelerator(TorchFunctionMode):
    """The mode; `calls` counts the functions that ran on the device, which may have no float64."""

    def __init__(self, *, double=True):
        super().__init__()
        self.calls, self.double = 0, double

    def __enter__(self):
        # What has a gradient of its own is applied out of sight of a mode.
        self._apply = torch.autograd.Function.__dict__["apply"]

        def apply(kind, *args, **kwargs):
            here = _is_here(kind.__name__, args, kwargs)
            return _marked(super(torch.autograd.Function, kind).apply(*args, **kwargs), here)

        torch.autograd.Function.apply = classmethod(apply)
        return super().__enter__()

    def __exit__(self, *error):
        torch.autograd.Function.apply = self._apply
        return super().__exit__(*error)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name == "__get__":
            return _attribute(func, args[0])
        if name in READS and holds(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if name in MOVES:
            return self._usable(_moved(name, *args, **kwargs))
        here = _is_here(name, args, kwargs)
        if kwargs.get("device") is not None:
            here, kwargs["device"] = _is_ours(kwargs["device"]), "cpu"
        self.calls += here
        return self._usable(_marked(func(*args, **kwargs), here))

    def _usable(self, result):
        if not self.double and any(holds(x) and x.dtype == torch.float64 for x in tree_leaves(result)):
            raise TypeError("Cannot convert a tensor to float64 dtype as the device doesn't support it")
        return result


def holds(x):
    """Whether it is a tensor on the accelerator."""
    return isinstance(x, Tensor) and hasattr(x.untyped_storage(), MARK)


def _is_ours(device):
    return torch.device(device).type == DEVICE.type


def _marked(result, here):
    for x in tree_leaves(result) if here else ():
        if isinstance(x, Tensor):
            setattr(x.untyped_storage(), MARK, True)
    return result


def _is_here(name, args, kwargs):
    """Whether a function of these runs on the accelerator. Single numbers may come from anywhere."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    if name in MAY_MIX:
        return holds(tensors[0])
    strange = [tuple(x.shape) for x in tensors if x.dim() and not holds(x)]
    if strange and any(holds(x) for x in tensors):
        raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but {strange} are on the CPU")
    return any(holds(x) for x in tensors)


def _attribute(func, x):
    """An attribute of a tensor, such as its gradient, which was made out of sight."""
    value = func(x)
    if holds(x) and isinstance(value, torch.device):
        return DEVICE
    return _marked(value, holds(x))


def _moved(name, x, *where, **kwargs):
    """A tensor at another place, or of another type at the same."""
    targets = {"to": [*where, kwargs.get("device")], "cpu": ["cpu"], "cuda": [DEVICE]}[name]
    here = holds(x)
    for target in targets:
        if isinstance(target, (str, torch.device)):
            here = _is_ours(target)
        elif isinstance(target, Tensor):
            here = holds(target)
    where = ["cpu" if isinstance(item, (str, torch.device)) else item for item in where]
    kwargs = {key: "cpu" if key == "device" and item is not None else item for key, item in kwargs.items()}
    result = x if name != "to" else Tensor.to(x, *where, **kwargs)
    if here == holds(x):
        return _marked(result, here)
    return _marked(result.clone() if result.untyped_storage() is x.untyped_storage() else result, here)

"""Everything that takes a device keeps to it: what a GPU would refuse, found without one."""

from dataclasses import replace

import pytest
import torch
from accelerator import DEVICE, Accelerator, holds
from corpus import tiny_cache
from helpers import moving, write
from recipes import RECIPE, SMALL, TINY

import codec
from codec.anchors.tcm.config import TcmConfig
from codec.bframe.config import BFrameConfig
from codec.models.network_file import save_network
from codec.train.config import TrainConfig
from codec.train.data import Corpus, Library
from codec.train.loop import train_run
from codec.train.ranks import Ranks
from codec.train.tasks import load_task
from codec.train.tasks.bframe import BFrameTraining
from codec.train.tasks.tcm import TcmTraining
from ncm import build


@pytest.fixture(autouse=True)
def machine(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """Enough for the largest batches."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1 << 34, 1 << 34))


def test_the_accelerator_refuses_what_a_gpu_refuses():
    with Accelerator() as accelerator:
        here, there = torch.rand(3, 4, device="cuda"), torch.rand(3, 4)
        assert here.device == (here[0] * 2).device == torch.empty(0, device="cuda").device == DEVICE
        assert there.device.type == here.cpu().device.type == "cpu" and there.to(here).device == DEVICE
        assert (here * torch.tensor(2.0) + 1).device == DEVICE and here[torch.tensor([0, 2])].device == DEVICE
        with pytest.raises(RuntimeError, match="same device"):
            here + there
        with pytest.raises(RuntimeError, match="same device"):
            torch.cat([there, here])
        with pytest.raises(TypeError, match="numpy"):
            here.numpy()
        weight = torch.nn.Parameter(here.clone())
        (weight.to("cuda") * here).sum().backward()
        assert weight.grad.device == DEVICE and holds(weight.grad)
        there.copy_(here)
        assert there.device.type == "cpu"
    assert accelerator.calls


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "bitfree", "model": "tiny", "crf": 30},
        {"mode": "bitneed", "model": "small-bframe", "qp": 8, "effort": 1},
        {"mode": "auto", "model": "small-bframe", "qp": 12},
        {"mode": "bitneed", "model": "small-bframe", "anchor": "tcm", "anchor_params": "device=cuda", "qp": 2},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_a_stream_of_the_accelerator_is_that_of_the_cpu(tmp_path, settings):
    src = write(tmp_path / "seq.y4m", moving(3, 66, 50))
    codec.encode(src, tmp_path / "cpu.ncm", device="cpu", **settings | {"anchor_params": ""})
    codec.decode(tmp_path / "cpu.ncm", tmp_path / "cpu.yuv", device="cpu")
    with Accelerator() as accelerator:
        codec.encode(src, tmp_path / "gpu.ncm", device="cuda", **settings)
        codec.decode(tmp_path / "gpu.ncm", tmp_path / "gpu.yuv", device="cuda")
    assert accelerator.calls > 1000
    assert (tmp_path / "gpu.yuv").read_bytes() == (tmp_path / "cpu.yuv").read_bytes()
    if settings.get("anchor") != "tcm":  # which notes the kind of device
        assert (tmp_path / "gpu.ncm").read_bytes() == (tmp_path / "cpu.ncm").read_bytes()


@pytest.mark.parametrize("anchor", ["x265", "tcm"])
def test_networks_run_in_whole_float32_and_in_one_order(tmp_path, monkeypatch, anchor):
    seen, cudnn = set(), torch.backends.cudnn
    convolve = torch.nn.Conv2d.forward

    def watched(layer, x):
        seen.add((cudnn.allow_tf32, cudnn.deterministic))
        return convolve(layer, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", watched)
    src, before = write(tmp_path / "seq.y4m", moving(3, 66, 50)), (cudnn.allow_tf32, cudnn.deterministic)
    for settings in ({"mode": "bitfree", "model": "tiny"}, {"mode": "bitneed", "model": "small-bframe"}):
        codec.encode(src, anchor=anchor, qp=2 if anchor == "tcm" else 8, **settings)
        codec.decode(tmp_path / "seq.ncm")
    assert seen == {(False, True)} and (cudnn.allow_tf32, cudnn.deterministic) == before


def test_without_float64_only_what_needs_it_is_refused(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(3, 66, 50))
    with Accelerator(double=False):
        codec.encode(src, device="cuda", mode="bitfree", model="tiny")
        codec.decode(tmp_path / "seq.ncm", device="cuda")
        for settings in ({"mode": "bitneed"}, {"anchor": "tcm", "anchor_params": "device=cuda"}):
            with pytest.raises(codec.InputError, match=r"float64.*try cpu"):
                codec.encode(src, tmp_path / "exact.ncm", device="cuda", **settings)
    assert not (tmp_path / "exact.ncm").exists()


@pytest.mark.parametrize("what", ["network", "bframe", "filtered", "tcm"])
def test_training_keeps_to_the_accelerator(tmp_path, what):
    library = Library(Corpus(tiny_cache(tmp_path / "tiny")))
    save_network(build(replace(TINY, pyramid=(), motion_features=0)), tmp_path / "base.safetensors")
    with Accelerator() as accelerator:
        ranks, run = Ranks(torch.device("cuda")), tmp_path / "run"
        if what == "network":
            config = TrainConfig(model=TINY, bf16=False, **RECIPE)
        elif what in ("bframe", "filtered"):
            more = {"filtered": 0.5, "octaves": 2.0} if what == "filtered" else {}
            config = BFrameTraining(
                codec=BFrameConfig(**SMALL, lambdas=(64.0, 512.0, 4096.0), postfilter_width=4 * bool(more)),
                base=str(tmp_path / "base.safetensors"),
                teacher=0.0,
                validation_qualities=(0, 2),
                rdoq_from=0,
                bf16=False,
                **RECIPE,
                **more,
            )
        else:
            widths = {**SMALL, "intra_latents": 24, "hyper": 4}
            config = TcmTraining(codec=TcmConfig(**widths, lambdas=(128.0, 2048.0)), teacher=0.0, bf16=False, **RECIPE)
        state = train_run(load_task("bframe" if what == "filtered" else what), config, library, run, ranks=ranks)
        assert state.step == 1 and all(holds(p) for p in state.model.parameters() if p.requires_grad)
    assert accelerator.calls > 1000


@pytest.mark.parametrize("name", ["meta", "cpu:x", "x", ""])
def test_devices_that_hold_no_numbers_are_refused(name):
    with pytest.raises(codec.CodecError, match="--device"):
        codec.choose_device(name)

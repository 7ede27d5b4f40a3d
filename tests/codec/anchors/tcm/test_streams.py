"""TCM through the codec's commands: five frames each way, read by a process of its own."""

import os
import subprocess
import sys
from fractions import Fraction
from random import Random
from zlib import crc32

import pytest
import torch
from helpers import DATA, bunny_pictures, moving, read, write
from tcm_states import random_state

from codec.anchors.protocol import AnchorFrame
from codec.anchors.registry import anchor_codec
from codec.anchors.tcm import images
from codec.encoder.encode import encode
from codec.errors import ModelError, StreamError
from codec.video.picture import VideoInfo, crop

ORDERS = {"ibpb": "IBPBP", "fixed:1": "IPPPP"}


def small_bunny(count):
    """A part of the clip that ships, of a size that needs padding."""
    return [crop(picture, 150, 100) for picture in bunny_pictures(count)]


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """Four streams of five frames by name, each with its summary, the encoder's pictures and those of a process of
    its own: random checkpoints of the official names and shapes in both orders, and lite as it ships, the second time
    with 10 bits and payloads for its B-frames."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tcm")
    for part in ("intra", "inter"):
        torch.save(random_state(part), folder / f"{part}_psnr_TMM_q1.pth.tar")
    small = write(folder / "small.y4m", moving(5, 64, 64, step=2))
    bunny = write(folder / "bunny.y4m", small_bunny(5))
    deep = write(folder / "deep.y4m", moving(5, 96, 64, 10, step=3))
    todo = {order: (small, {"preset": "psnr", "qp": 0, "gop": order}) for order in ORDERS} | {
        "lite": (bunny, {}),
        "bitneed": (deep, {"mode": "bitneed", "model": "small-bframe", "qp": 3, "b_offset": 3.0}),
    }
    environment = {"NCM_WEIGHTS": str(DATA / "weights"), "NCM_TCM_WEIGHTS": str(folder)}
    summaries, words = {}, []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for n, (name, (source, settings)) in enumerate(todo.items()):
            stream, recon, shown = (folder / f"{n}.{end}" for end in ("ncm", "recon.y4m", "shown.y4m"))
            settings = {"anchor": "tcm", "mode": "bitfree", "model": "tiny", "recon": recon, "hashes": True} | settings
            summary = encode(source, stream, **settings)
            summaries[name] = (summary, recon, shown)
            words += [str(stream), str(shown)]
    script = "import sys; from codec import decode; [decode(*sys.argv[n : n + 2]) for n in range(1, len(sys.argv), 2)]"
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, env=os.environ | environment)
    assert (done.returncode, done.stderr) == (0, b"")
    return {
        name: (summary, *([frame.picture for frame in read(path)] for path in paths))
        for name, (summary, *paths) in summaries.items()
    }


@pytest.mark.parametrize("order", ORDERS)
def test_official_checkpoints(order, coded):
    summary, recon, shown = coded[order]
    assert "".join(row.kind for row in summary.rows) == ORDERS[order]
    assert shown == recon and len({picture.tobytes() for picture in shown}) == 5


def test_lite_as_it_ships(coded):
    summary, recon, shown = coded["lite"]
    assert "".join(row.kind for row in summary.rows) == "IBPBP"
    assert shown == recon
    assert min(row.psnr_y for row in summary.rows if row.kind != "B") > 30


def test_payloads_and_ten_bits_on_learned_anchors(coded):
    summary, recon, shown = coded["bitneed"]
    assert shown == recon and {picture.bit_depth for picture in shown} == {10}
    assert all(row.bits > 200 for row in summary.rows if row.kind == "B")


def test_lite_has_rates_and_levels_between_them():
    pictures = small_bunny(2)
    size = VideoInfo(pictures[0].width, pictures[0].height, 25, Fraction(1, 25))
    frames = [AnchorFrame(picture, n == 0) for n, picture in enumerate(pictures)]
    sizes, slopes = [], []
    for settings in ({"qp": 0}, {"crf": 24.9}, {"qp": 1}, {"qp": 3}):
        codec = anchor_codec("tcm", **settings)
        packets = list(codec.encode(frames, size))
        assert len(packets[1].data) < len(packets[0].data)
        sizes.append(sum(len(packet.data) for packet in packets))
        slopes.append(codec.slope)
    assert sizes == sorted(sizes) and slopes == sorted(slopes) and sizes[0] < sizes[1] < sizes[2]


def test_key_frames_by_an_image_model_of_compressai(tmp_path, monkeypatch):
    """With weights in torch's cache, as a download leaves them; without, nothing is fetched."""
    from compressai.models import MeanScaleHyperprior
    from compressai.zoo.image import model_urls

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    pictures = moving(3, 64, 64)
    size = VideoInfo(64, 64, 25, Fraction(1, 25))
    frames = [AnchorFrame(picture, n == 0) for n, picture in enumerate(pictures)]
    codec = anchor_codec("tcm", qp=1, params="intra=mbt2018-mean")
    with pytest.raises(ModelError, match=r"not downloaded; to do that, python .*mbt2018_mean\(4, pretrained=True\)"):
        list(codec.encode(frames, size))
    torch.manual_seed(0)
    url = model_urls["mbt2018-mean"]["mse"][4]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(MeanScaleHyperprior(128, 192).state_dict(), tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    packets = list(codec.encode(frames, size))
    shown = codec.decode(packets, size)
    assert sorted(shown) == [0, 1, 2] and anchor_codec("tcm").decode(packets, size) == shown
    cut = [packets[0]._replace(data=packets[0].data[:40]), *packets[1:]]
    assert codec.decode(cut, size) == {}


@pytest.mark.parametrize("name", ["bmshj2018-factorized", "mbt2018-mean", "mbt2018"])
def test_strings_made_by_hand_for_an_image_model_read_no_foreign_memory(name, monkeypatch):
    """Checksums right; what is read behind the end of a short string must not be what happens to lie there."""
    from compressai.zoo import image_models

    torch.manual_seed(0)
    model = image_models[name](3, metric="mse", pretrained=False).eval()
    model.update()
    monkeypatch.setattr(images, "_load", lambda *_: model)
    intra, random = images.ImageIntra(name, 3), Random(0)
    for size in (1, 9, 40):
        strings = [random.randbytes(size) for _ in range(1 if name == "bmshj2018-factorized" else 2)]
        data = b"".join(images.LENGTH.pack(size) + string for string in strings)
        data = images.LENGTH.pack(crc32(data)) + data
        assert read_again(intra, data) == read_again(intra, data)


def read_again(intra, data):
    try:
        return intra.read(data, (64, 64)).frame.tolist()
    except StreamError as error:
        return str(error)

"""The command from data set to table, with a tiny network."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import moving, write

import codec
from codec.models.network_file import save_network
from eval import complexity, interpolation, published, tables
from eval.interpolation import COARSE_SHORT_SIDE, _set_coarse_side, main, predict
from eval.metrics import score
from eval.published import Row
from eval.triplets import Triplet, VideoTriplet, videos


@pytest.fixture
def tiny(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    return codec.load_model("tiny")


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, size in (("a.y4m", (64, 64)), ("b.y4m", (70, 50))):
        write(folder / name, moving(5, *size))
    return folder


def run(*words):
    return main([str(word) for word in words])


def test_a_run_is_resumed(tmp_path, clips, tiny, capsys):
    out = tmp_path / "results.csv"
    words = ["run", "--dataset", "folder", "--root", clips, "--frames", 3, "-o", out]
    assert run(*words, "--models", "tiny") == 0
    rows = tables.read_rows(out, Row)
    assert [(r.clip, r.model, r.triplets) for r in rows] == [("a.y4m", "tiny", 1), ("b.y4m", "tiny", 1)]
    assert {(r.dataset, r.setting) for r in rows} == {("clips", "clean, step 1, 3 frames")}
    text = out.read_text()
    assert run(*words, "--models", "tiny") == 0 and out.read_text() == text
    tables.write_rows(out, rows[1:])
    assert run(*words, "--models", "tiny") == 0 and tables.read_rows(out, Row) == [rows[1], rows[0]]
    assert run(*words, "--models", "tiny", "--anchor", "x264", "--crf", 20, 40) == 0
    rows = tables.read_rows(out, Row)
    assert [r.setting.split(",")[0] for r in rows] == ["clean"] * 2 + ["x264 crf 20"] * 2 + ["x264 crf 40"] * 2
    assert run("table", out) == 0
    text = capsys.readouterr().out
    assert "### clips: x264 crf 40, step 1, 3 frames" in text and "| **mean of 2** |" in text


def test_two_states_of_one_model_in_one_run(tmp_path, clips, tiny):
    torch.manual_seed(0)
    for parameter in tiny.network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    other = tmp_path / "tiny.safetensors"
    save_network(tiny.network, other)
    out = tmp_path / "results.csv"
    assert run("run", "--dataset", "folder", "--root", clips / "a.y4m", "-o", out, "--models", "tiny", other) == 0
    rows = tables.read_rows(out, Row)
    assert [r.clip for r in rows] == ["a.y4m"] * 2 and len({r.fingerprint for r in rows}) == 2
    assert f"| clip | tiny@{rows[0].fingerprint[:8]} | tiny@{rows[1].fingerprint[:8]} |" in published.report(rows)


def test_a_video_is_measured_as_the_codec_shows_it(tiny, clips):
    triplet = next(videos([clips / "b.y4m"], step=1, frames=3)[0].triplets())
    shown, target = predict(tiny, triplet)
    predictor = codec.Predictor(tiny, triplet.info)
    planes = predictor.predict(*map(predictor.reference, triplet.inputs), 0.5, 0.0)
    expected = codec.compare(triplet.target, planes, triplet.info.colour)
    assert isinstance(triplet, VideoTriplet) and shown.shape == target.shape == (1, 3, 50, 70)
    assert score(shown, target).psnr == pytest.approx(expected.psnr_rgb, abs=1e-3)


def test_a_benchmark_picture_is_padded_and_rounded(tiny):
    picture = codec.rgb_of(moving(1, 70, 50)[0], codec.Colour())[0].permute(1, 2, 0)
    image = (picture * 255).round().byte().numpy()
    shown, target = predict(tiny, Triplet("x", (image, image), image, 0.5))
    assert shown.shape == target.shape == (1, 3, 50, 70)
    assert torch.allclose(shown * 255, (shown * 255).round(), atol=1e-4)


def row(dataset, clip, psnr, ssim, *, setting="interpolation", model="base", fingerprint="00"):
    return Row(dataset, setting, clip, model, fingerprint, 1, psnr, ssim)


def test_tables_of_the_paper():
    rows = [row(b.dataset, str(n), 30 + n, 0.9) for b in published.BENCHMARKS for n in (0, 1)]
    rows += [row("vimeo", "0", 20, 0.8, setting="extrapolation")]
    rows += [row("ucf101-without-dirty", str(n), 35, 0.97) for n in range(published.CLEAN_UCF101.clips)]
    text = published.report(rows)
    assert "| NCM-Base | 31.63/0.9185 | 39.98/0.9903 |" in text and "| DVF | 19.18/0.6879 |" in text
    ours = next(line for line in text.splitlines() if line.startswith("| **base** | 30.50"))
    assert ours.count("30.50/0.9000 (2 clips)") == 7 and "| 30.50/0.9000 | - | - | - |" in ours
    assert "| **base** | - | - | - | - | - | - | 20.00/0.8000 (1 clips) | - | - | - | - |" in text
    assert "| **base** | 35.00/0.9700 | - |" in text


def test_every_published_line_is_whole():
    for text in (published.INTERPOLATION, published.EXTRAPOLATION):
        for line in text.strip().splitlines():
            name, *cells = line.split()
            assert len(cells) == len(published.BENCHMARKS) + len(published.REST), name
            if "-" not in cells[:8]:  # the paper's own average tells a slip of the pen
                psnr = [float(cell.split("/")[0]) for cell in cells[:8]]
                assert sum(psnr[:7]) / 7 == pytest.approx(psnr[7], abs=0.011), name


def test_long_data_sets_show_the_mean_alone():
    rows = [row("clips", f"{n}.mkv", 30, 0.9, setting="clean") for n in range(published.LONGEST_LIST + 1)]
    text = published.report(rows)
    assert "| **mean of 41** | 30.00/0.9000 |" in text and "3.mkv" not in text


def test_cost(tiny, monkeypatch, capsys):
    monkeypatch.setitem(complexity.SIZES, "480p", (64, 96))
    assert run("runtime", "--models", "tiny", "--sizes", "480p", "--repeats", 2) == 0
    assert "| tiny | 480p |" in capsys.readouterr().out
    cost, half = (complexity.measure([tiny], size, repeats=1)[0] for size in ((128, 128), (128, 64)))
    assert all(cost.seconds[name] > 0 for name in complexity.COMPONENTS)
    assert sum(cost.seconds[name] for name in complexity.COMPONENTS) == pytest.approx(cost.seconds["frame"])
    assert cost.macs > half.macs > 0
    assert 0 < complexity.parameters(tiny) <= sum(p.numel() for p in tiny.network.parameters())


def test_macs_of_a_known_network(tiny):
    with torch.no_grad():
        model = codec.Model("conv", b"", _Convolution())
        x = torch.zeros(1, 3, 8, 8)
        assert complexity._macs_by_module(model, x, x) == {"all": 64 * 9 * 3 * 4}


class _Convolution(torch.nn.Conv2d):
    def __init__(self):
        super().__init__(3, 4, 3, padding=1)

    def forward(self, past, future, time):
        return super().forward(past)


def test_models_take_turns(tiny, clips, monkeypatch):
    """Triplet by triplet: a run that is stopped, or a file that changes, leaves comparable figures."""
    order = []

    def watched(model, triplet):
        order.append((triplet.name, model.name))
        return predict(model, triplet)

    monkeypatch.setattr(interpolation, "predict", watched)
    clip = videos([clips / "a.y4m"], step=1, frames=None)[0]
    twin = codec.Model("twin", b"2", tiny.network)
    interpolation.measure(interpolation.Part("x", "y", [clip]), clip, [tiny, twin])
    assert order == [(f"frame {n}", name) for n in (1, 3) for name in ("tiny", "twin")]


def test_a_is_the_papers_for_4k(tiny):
    _set_coarse_side(tiny, COARSE_SHORT_SIDE["x4k"])
    assert tiny.network.flow.coarse_size(2160, 4096) == (384, 736)
    rife = codec.load_model("rife")
    _set_coarse_side(rife, 384)  # it has no coarse picture


def test_refusals(tmp_path, capsys):
    out = tmp_path / "r.csv"
    assert run("run", "--dataset", "folder", "--root", tmp_path, "-o", out, "--anchor", "x265") == 2
    assert run("run", "--dataset", "vimeo", "--root", tmp_path, "-o", out) == 2
    assert run("run", "--dataset", "folder", "--root", tmp_path, "-o", out) == 2
    (tmp_path / "tri_testlist.txt").write_text("a\n")
    assert run("run", "--dataset", "vimeo", "--root", tmp_path, "-o", out, "--extrapolate", "--models", "rife") == 2
    errors = capsys.readouterr().err
    assert (
        "--anchor and --crf" in errors
        and "tri_testlist.txt" in errors
        and "no videos" in errors
        and "made for interpolation" in errors
    )


def test_it_runs_as_a_script():
    script = Path(__file__).parents[2] / "eval" / "interpolation.py"
    result = subprocess.run([sys.executable, script, "--help"], capture_output=True, cwd="/")
    assert result.returncode == 0 and b"interpolation.py" in result.stdout


def test_large_is_a_model_of_its_own_in_the_table(tmp_path, clips, tiny, capsys):
    """The paper's A.1, without training: the same weights, twice the time."""
    out = tmp_path / "results.csv"
    words = ["run", "--dataset", "folder", "--root", clips, "--frames", 3, "-o", out, "--models", "tiny"]
    assert run(*words) == 0 and run(*words, "--tta") == 0
    rows = tables.read_rows(out, Row)
    assert [r.model for r in rows] == ["tiny"] * 2 + ["tiny --tta"] * 2
    assert rows[0].psnr != rows[2].psnr and run("table", out) == 0
    assert "| clip | tiny | tiny --tta |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("dataset", "where"), [("vimeo", "toflow"), ("ucf101", "voxel-flow"), ("snu-film", "CAIN"), ("x4k", "XVFI")]
)
def test_a_missing_data_set_says_where_it_is(tmp_path, tiny, capsys, dataset, where):
    assert (
        run("run", "--dataset", dataset, "--root", tmp_path / "no", "--models", "tiny", "-o", tmp_path / "r.csv") == 2
    )
    err = capsys.readouterr().err
    assert where in err and err.count("\n") == 1

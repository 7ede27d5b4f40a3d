"""The adaptive order and `--mode auto` on whole videos."""

import csv
from fractions import Fraction

import numpy as np
import pytest
from helpers import command, moving, read, write

import codec
from codec.anchors.protocol import AnchorFrame
from codec.anchors.registry import anchor_codec
from codec.video.picture import VideoInfo

FAST = {"preset": "ultrafast", "metrics": False, "intra_period": 8}
AUTO = FAST | {"mode": "auto", "model": "small-bframe"}


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def shaking(count, width=96, height=64):
    """Pictures that no interpolation foresees: every other one is of another texture."""
    textures = [moving(count, width, height, seed=seed) for seed in (1, 2)]
    mixed = []
    for number in range(count):
        a, b = textures[0][number], textures[number % 2][number]
        planes = [((3 * p.astype(int) + q) // 4).astype(p.dtype) for p, q in zip(a.planes, b.planes, strict=True)]
        mixed.append(type(a)(*planes))
    return mixed


@pytest.mark.parametrize("mode", ["auto", "bitfree"])
@pytest.mark.parametrize(("anchor", "preset"), [("x265", "ultrafast"), ("x264", "medium"), ("svtav1", "12")])
def test_the_decoder_shows_the_encoders_reconstruction(tmp_path, mode, anchor, preset):
    src = write(tmp_path / "seq.y4m", moving(19, 66, 50))
    settings = AUTO | {"mode": mode, "gop": "adaptive", "anchor": anchor, "preset": preset}
    recon = tmp_path / "recon.y4m"
    summary = codec.encode(src, recon=recon, hashes=True, **settings)
    decoded = command("decode", tmp_path / "seq.ncm", "-o", tmp_path / "dec.y4m")
    assert (decoded.returncode, decoded.stderr) == (0, b"")
    assert (tmp_path / "dec.y4m").read_bytes() == recon.read_bytes()
    assert command("verify", tmp_path / "seq.ncm").returncode == 0
    info = codec.info(tmp_path / "seq.ncm")
    assert (info.header.mode, info.header.gop) == (mode, "adaptive") and info.plan == summary.plan


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 10])
@pytest.mark.parametrize("gop", ["adaptive", "ibpb", "fixed:4"])
def test_short_videos(tmp_path, count, gop):
    src = write(tmp_path / "seq.y4m", moving(count, bit_depth=10))
    assert codec.encode(src, gop=gop, **AUTO).frames == count
    assert codec.decode(tmp_path / "seq.ncm", tmp_path / "dec.y4m") == count


def test_what_cannot_be_foreseen_is_left_to_the_encoder_to_the_bit(tmp_path):
    # Where one row of CTUs is the whole picture, x265 with frame threads codes it differently every time.
    src = write(tmp_path / "seq.y4m", shaking(16, 128, 128))
    settings = {"preset": "medium", "crf": 12, "intra_period": 8}
    alone = codec.encode(src, tmp_path / "alone.ncm", gop="fixed:1", mode="bitfree", model="tiny", **settings)
    best = codec.encode(src, tmp_path / "best.ncm", mode="auto", model="small-bframe", **settings)
    assert set(best.plan) <= set("IP\n")
    assert [row.bits for row in best.rows] == [row.bits for row in alone.rows]
    assert best.mean("psnr_rgb") == alone.mean("psnr_rgb")


@pytest.mark.parametrize(("name", "crf"), [("x265", 20), ("x264", 20), ("svtav1", 30)])
def test_spare_anchors_can_go_without_a_trace(name, crf):
    """Pictures that nothing refers to are known as such; with any of them gone, the others decode alike."""
    pictures = moving(24, 96, 64, step=3)
    info = VideoInfo(96, 64, Fraction(25), Fraction(1, 25))
    anchors = anchor_codec(name, crf=crf, longest_group=24)
    packets = list(anchors.encode((AnchorFrame(p, n == 0) for n, p in enumerate(pictures)), info))
    disposable = anchors.disposable(packets)
    assert len(disposable) >= 6 and 0 not in disposable
    full = anchors.decode(packets, info)
    for gone in (disposable, set(sorted(disposable)[::2]), set(sorted(disposable)[-1:])):
        thin = anchors.without(packets, gone)
        assert sum(len(packet.data) for packet in thin) < sum(len(packet.data) for packet in packets)
        assert anchors.decode(thin, info) == {index: p for index, p in full.items() if index not in gone}


def test_what_av1_saves_is_the_frame_and_not_what_hides_before_it(tmp_path):
    """Hidden frames in a spare one's packet stay, so its bits are not what is saved: never worse in both ways."""
    src = write(tmp_path / "seq.y4m", shaking(16))
    settings = {"anchor": "svtav1", "preset": "8", "crf": 20, "intra_period": 16}
    alone = codec.encode(src, tmp_path / "alone.ncm", gop="fixed:1", mode="bitfree", model="tiny", **settings)
    best = codec.encode(src, tmp_path / "best.ncm", mode="auto", model="small-bframe", **settings)
    overhead = 16 * 4
    assert best.bytes <= alone.bytes + overhead or best.mean("psnr_rgb") > alone.mean("psnr_rgb")


def test_every_frame_says_what_was_considered(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(9, 96, 64, step=2))
    codec.encode(src, csv=tmp_path / "frames.csv", **AUTO)
    with (tmp_path / "frames.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 9
    for row in rows:
        chosen, period, frame = row["considered"].split("; ")
        assert f"{chosen.split()[0]}=+0" in period.split() and frame.startswith("frame own=")


def test_a_scene_cut_is_not_bridged(tmp_path):
    flicker = np.random.default_rng(0).integers(16, 235, (64, 96)).astype(np.uint8)
    picture = moving(1, 96, 64)[0]
    src = write(tmp_path / "seq.y4m", moving(5, 96, 64) + [type(picture)(flicker, picture.u, picture.v)] * 6)
    assert [len(line) for line in codec.encode(src, **AUTO).plan.split("\n")] == [5, 6]


def still(pictures):
    return [pictures[0]] * len(pictures)


def telecined(pictures):
    """Every fourth picture twice, as film is on television."""
    return [pictures[number - number // 5] for number in range(len(pictures))]


def faded(pictures):
    """To black, down to a tenth."""
    last = 1.1 * (len(pictures) - 1)
    return [type(p)(((p.y - 16) * (1 - n / last) + 16).astype("uint8"), p.u, p.v) for n, p in enumerate(pictures)]


def flashing(pictures):
    """One in the middle at full brightness."""
    middle = len(pictures) // 2
    return [type(p)(np.full_like(p.y, 230), p.u, p.v) if n == middle else p for n, p in enumerate(pictures)]


@pytest.mark.parametrize("change", [still, telecined, faded, flashing])
@pytest.mark.parametrize("mode", ["auto", "bitfree"])
def test_special_sequences_are_no_worse_than_by_the_encoder_alone(tmp_path, change, mode):
    """At the price that quality has, and with no picture far below its neighbours; still pictures take no bits."""
    # Two rows of CTUs, as above: a fade too is coded differently every time in one.
    src = write(tmp_path / "seq.y4m", change(moving(17, 128, 128, step=2)))
    settings = {"preset": "medium", "crf": 24, "intra_period": 32}
    alone = codec.encode(src, tmp_path / "alone.ncm", gop="fixed:1", mode="bitfree", model="tiny", **settings)
    model = "small-bframe" if mode == "auto" else "tiny"
    best = codec.encode(src, tmp_path / "best.ncm", mode=mode, gop="adaptive", model=model, **settings)
    (price,) = {row.bits for row in best.rows if row.kind == "I"}
    assert price == max(row.bits for row in best.rows)  # one I: a flash and a fade are no cuts
    finer = codec.encode(
        src, tmp_path / "finer.ncm", gop="fixed:1", mode="bitfree", model="tiny", **{**settings, "crf": 22}
    )
    saved, lost = alone.bytes - best.bytes, alone.mean("psnr_rgb") - best.mean("psnr_rgb")
    gain = finer.mean("psnr_rgb") - alone.mean("psnr_rgb")
    rate = (finer.bytes - alone.bytes) / gain if gain > 0.05 else 0.0
    assert saved >= rate * lost - max(60, alone.bytes / 20)
    worst = min(row.psnr_rgb for row in best.rows)
    assert worst > min(row.psnr_rgb for row in alone.rows) - 3
    if change is still:
        assert sum(row.bits for row in best.rows[1:]) <= sum(row.bits for row in alone.rows[1:])


def test_a_dry_run_writes_nothing_and_prints_the_plan(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(9))
    words = ["--mode", "auto", "--model", "small-bframe", "--anchor-preset", "ultrafast", "--intra-period", 8]
    done = command("encode", src, "--dry-run", *words)
    assert done.returncode == 0 and not (tmp_path / "seq.ncm").exists()
    plan = done.stdout.decode().rstrip("\n").split("\n")[-2:]
    assert command("encode", src, *words).returncode == 0
    assert command("info", "--plan", tmp_path / "seq.ncm").stdout.decode().rstrip("\n").split("\n") == plan
    assert sum(map(len, plan)) == 9 and all(line.strip("b").startswith("I") for line in plan)


def test_a_bit_rate_is_met_and_a_pipe_refused(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(40, 96, 64, step=3))
    summary = codec.encode(src, bitrate=60_000, mode="bitfree", model="tiny", preset="ultrafast", metrics=False)
    assert summary.kbits_per_second == pytest.approx(60, rel=0.05)
    assert (tmp_path / "seq.ncm").stat().st_size == summary.bytes
    refused = command("encode", "-", "-o", tmp_path / "x.ncm", "--bitrate", "60k", stdin=src.read_bytes())
    assert refused.returncode == 2 and b"give a file" in refused.stderr and not (tmp_path / "x.ncm").exists()


def test_a_psnr_is_met(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(16, 96, 64, step=3))
    summary = codec.encode(src, target_psnr=36, mode="bitfree", model="tiny", preset="ultrafast")
    assert summary.mean("psnr_rgb") == pytest.approx(36, abs=0.3)


def test_an_xpsnr_is_met_and_is_in_the_table(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(16, 96, 64, step=3))
    settings = {"mode": "bitfree", "model": "tiny", "preset": "ultrafast", "csv": tmp_path / "rows.csv"}
    summary = codec.encode(src, target_xpsnr=36, **settings)
    assert summary.mean("xpsnr") == pytest.approx(36, abs=0.3)
    assert "XPSNR 3" in summary.text() and ",xpsnr,vmaf," in (tmp_path / "rows.csv").read_text().split("\n")[0]


class StandInVmaf:
    """Scores that rise with quality, known at the end only, as VMAF's."""

    def __init__(self):
        self.errors = []

    def add(self, source, decoded):
        self.errors.append(float(np.abs(source.y.astype(float) - decoded.y).mean()))

    def finish(self):
        return [100 - 10 * error for error in self.errors]


def test_a_vmaf_is_met(tmp_path, monkeypatch):
    monkeypatch.setattr("codec.encoder.measurement.vmaf_available", lambda: True)
    monkeypatch.setattr("codec.encoder.measurement.Vmaf", StandInVmaf)
    src = write(tmp_path / "seq.y4m", moving(16, 96, 64, step=3))
    summary = codec.encode(src, target_vmaf=80, mode="bitfree", gop="fixed:1", model="tiny", preset="ultrafast")
    assert summary.mean("vmaf") == pytest.approx(80, abs=2) and "VMAF " in summary.text()


def test_vmaf_without_its_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("codec.encoder.measurement.vmaf_available", lambda: False)
    src = write(tmp_path / "seq.y4m", moving(2, 96, 64))
    with pytest.raises(codec.InputError, match="pip install 'ncm-codec"):
        codec.encode(src, target_vmaf=80, mode="bitfree", model="tiny", preset="ultrafast")


@pytest.mark.parametrize("measure", ["xpsnr", "vmaf"])
def test_a_measure_that_small_pictures_do_not_have(weights, tmp_path, measure):
    pytest.importorskip("vmaf_torch", reason="needs vmaf-torch")
    src = write(tmp_path / "a.y4m", moving(3, 16, 64))
    with pytest.raises(codec.InputError, match=f"--target-{measure}: so small pictures"):
        codec.encode(src, mode="bitfree", model="tiny", preset="ultrafast", **{f"target_{measure}": 40})


def test_no_segment_passes_the_largest_rate(tmp_path):
    src = write(tmp_path / "seq.y4m", shaking(24))
    free = codec.encode(src, crf=18, **AUTO)
    limit = int(free.kbits_per_second * 500)
    held = codec.encode(src, crf=18, maxrate=limit, **AUTO)
    for start in (0, 8, 16):
        assert sum(row.bits for row in held.rows[start : start + 8]) <= limit * 8 / 25


@pytest.mark.parametrize("crf", [18, 45])
def test_a_rate_that_cannot_be_held_gives_the_coarsest_and_is_said(tmp_path, caplog, crf):
    src = write(tmp_path / "seq.y4m", shaking(3))
    settings = AUTO | {"mode": "bitfree", "model": "tiny", "gop": "fixed:1", "intra_period": 1}
    coarsest = codec.encode(src, crf=51, **settings)
    held = codec.encode(src, crf=crf, maxrate=1000, **settings)
    assert held.bytes <= 1.1 * coarsest.bytes
    (line,) = [message for message in caplog.messages if message.startswith("--maxrate")]
    assert line.startswith("--maxrate: not met in 3 segments, the first at frame 0")


def test_quality_is_worth_what_the_video_says_with_either_tune(tmp_path):
    """MS-SSIM needs sides above 160; smaller videos are refused in one line."""
    src = write(tmp_path / "seq.y4m", moving(5, 176, 176, step=2))
    assert codec.encode(src, tune="ms-ssim", **AUTO).frames == 5
    small = write(tmp_path / "small.y4m", moving(5))
    with pytest.raises(codec.InputError, match="161"):
        codec.encode(small, tune="ms-ssim", **AUTO)
    with pytest.raises(codec.InputError, match="psnr, ms-ssim"):
        codec.encode(small, tune="vmaf", **AUTO)


def test_payloads_in_a_given_order_follow_the_tune(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(5, 176, 176, step=2))
    settings = AUTO | {"mode": "bitneed", "gop": "ibpb", "crf": 24, "anchor_params": "tune=ssim"}  # the same anchors
    plain, tuned = (codec.encode(src, tmp_path / f"{tune}.ncm", tune=tune, **settings) for tune in ("psnr", "ms-ssim"))
    assert [row.considered for row in plain.rows] == [""] * 5 and all(row.considered for row in tuned.rows)
    payloads = [[row.bits for row in summary.rows if row.kind == "B"] for summary in (plain, tuned)]
    assert payloads[0] != payloads[1]


def test_frames_shown_are_those_of_the_source(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(13, 66, 50), pts=None)
    codec.encode(src, **AUTO)
    codec.decode(tmp_path / "seq.ncm", tmp_path / "dec.y4m")
    assert [frame.pts for frame in read(tmp_path / "dec.y4m")] == [frame.pts for frame in read(src)]

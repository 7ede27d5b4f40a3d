"""The report as a reader sees it: in a browser, from a file, without a network."""

import json
import math
import re
import shutil

import numpy as np
import pytest
from helpers import moving, write

import codec
from eval import rows as records
from eval.pictures import decoded
from eval.rd_curves import main
from eval.report import _middle
from eval.rows import FrameRow, Row
from eval.runs import stream_name
from eval.tables import table_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CODECS = {"ncm-bitneed@x265": "bitneed", "x265:ibpb": "bitfree"}
FRAMES = 5


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_weights):
    """A folder with a clip, the streams of two codecs at two rates, and what was measured of them."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCM_WEIGHTS", str(tiny_weights))
        clip = write(folder / "clip.y4m", moving(FRAMES, 96, 64, step=3))
        (folder / "streams").mkdir()
        rows, frames = [], []
        for name, mode in CODECS.items():
            for crf in (20, 35):
                stream = folder / "streams" / stream_name(clip.name, name, crf)
                model = "small-bframe" if mode == "bitneed" else "tiny"
                gop = "ibpb" if mode == "bitneed" else "fixed:1"
                summary = codec.encode(clip, stream, mode=mode, model=model, gop=gop, preset="ultrafast", crf=crf)
                key = (clip.name, name, float(crf))
                values = [summary.mean(m) for m in ("psnr_y", "psnr_y", "psnr_rgb")]
                row = Row(*key, FRAMES, summary.bytes, summary.bits_per_pixel(), *values, math.nan, 1, 1, 1, "x")
                rows.append(row)
                frames += [
                    FrameRow(*key, f.poc, f.kind, f.bits, f.psnr_y, f.psnr_u, f.psnr_v, f.psnr_y, f.psnr_rgb, math.nan)
                    for f in summary.rows
                ]
        records.write(folder / "r.csv", rows, frames)
        yield folder


@pytest.fixture
def report(results, monkeypatch, tiny_weights):
    """The page, with pictures."""
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    page = results / "report.html"
    if not page.exists():
        words = ["report", results / "r.csv", "--streams", results / "streams", "--sequences", results / "clip.y4m"]
        assert main([str(word) for word in (*words, "-o", page)]) == 0
    return page


def test_the_page_needs_nothing_else(report):
    text = report.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)[^"']|https?://(?!www\.w3\.org/2000/svg)|@[A-Z]+@""", text)
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    assert {one["codec"] for one in data["pictures"]} == {"source", *CODECS}
    assert {one["poc"] for one in data["pictures"]} == {1, 2}
    assert len(data["frames"]) == 4 and all(len(frames) == FRAMES for frames in data["frames"].values())
    for one in data["pictures"]:
        extra = set(one["layers"]) - {"decoded"}
        assert extra >= {"flow", "mask", "prediction"} if one["kind"] == "B" else not extra


def test_layers_belong_to_their_frame(results, monkeypatch, tiny_weights):
    """Decoded pictures are those of the decoder; without a payload the prediction is what is shown."""
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    clip, stream = results / "clip.y4m", results / "f.ncm"
    codec.encode(clip, stream, mode="bitfree", model="tiny", gop="fixed:4", preset="ultrafast", crf=30, metrics=False)
    found = decoded(stream, range(FRAMES), "bt709")
    with codec.open(stream) as video:
        for poc, frame in enumerate(video):
            expected = codec.rgb_of(frame.picture, codec.Colour("bt709"))[0].permute(1, 2, 0).numpy() * 255
            assert np.abs(found[poc].pictures["decoded"] - expected).max() <= 0.5 + 1e-3
            if poc in (0, 4):
                assert set(found[poc].pictures) == {"decoded"}
            else:  # chroma was rounded and halved since
                difference = found[poc].pictures["prediction"].astype(float) - expected
                assert np.abs(difference).mean() < 4 and "residual" not in found[poc].pictures


def test_the_frames_shown_are_of_the_first_period():
    """Between the first two I, for all codecs; of a file without frames the first."""
    rows = [FrameRow("a", "x", 20, n, "I" if n % 32 == 0 else "PB"[n % 2], 1, *[30.0] * 6) for n in range(97)]
    assert _middle(table_of(rows, FrameRow)) == [15, 16] and _middle(table_of(rows[:9], FrameRow)) == [3, 4]
    assert _middle(table_of([], FrameRow)) == [0, 0]


def test_a_page_without_pictures(results, capsys):
    page = results / "plain.html"
    assert main(["report", str(results / "r.csv"), "-o", str(page)]) == 0
    assert '"pictures": []' in page.read_text() and "Rate points" in page.read_text()
    assert main(["report", str(results / "r.csv"), "--streams", str(results / "none"), "-o", str(page)]) == 2
    assert "--keep" in capsys.readouterr().err


@pytest.fixture
def browser():
    """A headless Chromium."""
    reason = "needs playwright (pip install -e '.[dev]') and a Chromium on PATH"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(reason)
    with playwright.sync_playwright() as runner:
        chromium = runner.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def test_in_a_browser(report, browser):
    """No errors and no requests; the slider moves the line; choices change what is shown."""
    problems, requests = [], []
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    assert page.locator("#curve-chart circle").count() == 4
    page.locator("#curve-chart .legend button").first.click()
    assert page.locator("#curve-chart circle").count() == 2
    page.locator("#curve-chart .legend button").first.click()
    assert page.locator("#bits-chart circle").count() == page.locator("#quality-chart circle").count() == 2 * FRAMES

    before = page.locator("#left-picture").evaluate("image => image.style.clipPath")
    page.locator("#slider").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    after = page.locator("#left-picture").evaluate("image => image.style.clipPath")
    assert before == "inset(0px 50% 0px 0px)" and after == "inset(0px 49.5% 0px 0px)"
    box = page.locator("#stage").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert page.locator("#line").evaluate("line => parseFloat(line.style.left)") == pytest.approx(25, abs=0.5)

    page.select_option("#left-codec", "ncm-bitneed@x265")
    sources = set()
    for layer in ("decoded", "flow", "mask", "prediction"):
        page.select_option("#left-layer", layer)
        image = page.locator("#left-picture")
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
        sources.add(image.get_attribute("src"))
    assert len(sources) == 4
    page.select_option("#right-codec", "x265:ibpb")
    captions = []
    for rate in ("0", "1"):
        page.select_option("#left-rate", rate)
        captions.append(page.locator("#right-caption").text_content())
    assert "crf 20" in captions[0] and "crf 35" in captions[1]
    assert not problems and all(url.startswith(("file:", "data:")) for url in requests)
    context.close()

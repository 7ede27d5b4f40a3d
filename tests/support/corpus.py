"""A corpus of a few small clips, as training decodes them into its cache."""

import json

import numpy as np


def picture_planes(rng, frames, size=64):
    """A blurred texture that moves two pixels a frame: (frames, size * size * 3 / 2) bytes."""
    texture = rng.integers(40, 216, (size // 8 + 8,) * 2).repeat(8, 0).repeat(8, 1).astype(float)
    for axis in (0, 1):
        texture = sum(np.roll(texture, shift, axis) for shift in range(5)) / 5
    grey = np.full(size * size // 2, 128, np.uint8)
    shots = [texture[n : n + size, 2 * n : 2 * n + size].round().astype(np.uint8) for n in range(frames)]
    return np.stack([np.concatenate([shot.ravel(), grey]) for shot in shots])


def tiny_cache(folder):
    """Four clips, of which the first validates, and one decoded pass with some noise in it."""
    folder.mkdir()
    rng, frames = np.random.default_rng(0), 5
    clean = np.concatenate([picture_planes(rng, frames) for _ in range(4)])
    noisy = clean.copy()
    noisy[:, : 64 * 64] = (noisy[:, : 64 * 64] + rng.normal(0, 3, (len(clean), 64 * 64))).clip(0, 255)
    clean.tofile(folder / "clean.yuv")
    noisy.tofile(folder / "pass0.yuv")
    shape = {"width": 64, "height": 64, "frames": frames, "runs": [[0, frames - 1]], "source": "made up"}
    names = [f"clip{n}" for n in range(4)]
    clips = [
        {**shape, "name": name, "scene": name, "offset": n * frames * 6144, "held_out": n == 0}
        for n, name in enumerate(names)
    ]
    (folder / "pass0.json").write_text(json.dumps({name: {"noise": 0.012} for name in names}))
    (folder / "index.json").write_text(json.dumps({"clips": clips}))
    return folder


def logged(run, name):
    """The values that a run wrote under a name, in order."""
    rows = [line.split(",") for line in (run / "log.csv").read_text().splitlines()]
    return [float(value) for _, _, key, value in rows if key == name]

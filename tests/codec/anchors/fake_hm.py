"""Speaks the command lines of HM's encoder and decoder; run as `encoder` or `decoder`.

What it writes is x265's, without loss. `--Fault=X` makes the encoder fail in some way.
"""

import os
import sys
from pathlib import Path

import av
import numpy as np

KNOWN = {
    *("Fault", "InputFile", "BitstreamFile", "ReconFile", "QP", "SourceWidth", "SourceHeight", "ConformanceWindowMode"),
    *("FrameRate", "FramesToBeEncoded", "InputBitDepth", "InternalBitDepth", "Profile", "WarnUnknowParameter"),
    *("OutputBitDepth", "SearchRange"),
}
SAMPLES = {8: np.uint8, 10: np.dtype("<u2")}


def main(what, *words):
    if "--help" in words:
        return print(f"HM software: {what.capitalize()} Version [16.99] (including RExt)[Linux]")
    options, configs = {}, []
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "-c":
            configs.append(Path(words.pop(0)).read_text())
            continue
        key, _, value = word.removeprefix("--").partition("=")
        options[key] = value
        if key not in KNOWN:
            print(f"Unknown option `{key}' (value:`{value}')", file=sys.stderr)
    return {"encoder": encode, "decoder": decode}[what](options, configs)


def encode(options, configs):
    assert len(configs) == 2 and all(text.startswith("#") for text in configs)
    fault = options.get("Fault")
    if fault == "crash":
        print("Some chatter\nError: the moon is too bright\nGoodbye")
        return 3
    if fault == "killed":
        os.kill(os.getpid(), 9)
    if fault == "silent":
        return 0
    width, height, depth = (int(options[key]) for key in ("SourceWidth", "SourceHeight", "InternalBitDepth"))
    data = Path(options["InputFile"]).read_bytes()
    rows = np.frombuffer(data, SAMPLES[depth]).reshape(int(options["FramesToBeEncoded"]), height * 3 // 2, width)
    bframes = 0 if "ow delay" in configs[1] else 2
    stream = coded(rows[: -1 if fault == "fewer" else None], depth, bframes)
    Path(options["BitstreamFile"]).write_bytes(b"\0\0\1" + os.urandom(100) if fault == "noise" else stream)
    Path(options["ReconFile"]).write_bytes(data if fault != "other" else bytes([data[0] ^ 1]) + data[1:])
    return 0


def coded(pictures, depth, bframes):
    """The stream of pictures (count, rows of the three planes one after another, columns)."""
    context = av.CodecContext.create("libx265", "w")
    context.width, context.height = pictures.shape[2], pictures.shape[1] * 2 // 3
    context.pix_fmt, context.framerate = "yuv420p" if depth == 8 else "yuv420p10le", 25
    params = f"lossless=1:ref=1:keyint=-1:bframes={bframes}:b-adapt=0:scenecut=0:ctu=16:pools=none:log-level=none"
    context.options = {"preset": "ultrafast", "x265-params": params}
    frames = [av.VideoFrame.from_ndarray(picture, format=context.pix_fmt) for picture in pictures]
    return b"".join(bytes(packet) for frame in (*frames, None) for packet in context.encode(frame))


def decode(options, _):
    context = av.CodecContext.create("hevc", "r")
    data = Path(options["BitstreamFile"]).read_bytes()
    with av.logging.Capture(local=False) as logs:
        packets = [*context.parse(data), *context.parse()]
        frames = [frame for packet in (*packets, None) for frame in context.decode(packet)]
    for _, _, message in logs:
        if "Could not find ref" in message:
            print(f"inserting lost poc : {message}")
    Path(options["ReconFile"]).write_bytes(b"".join(frame.to_ndarray().tobytes() for frame in frames))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

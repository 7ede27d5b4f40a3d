"""Speaks the command lines of HM's encoder and decoder; run as `encoder` or `decoder`.

What it writes are NAL units of HEVC with true headers, and raw pictures in hexadecimal after them. `--Fault=X` makes
the encoder fail in some way. Imports as little as it can, to start quickly.
"""

# ruff: noqa: PTH123

import os
import sys

KNOWN = {
    "Fault",
    "InputFile",
    "BitstreamFile",
    "ReconFile",
    "QP",
    "SourceWidth",
    "SourceHeight",
    "ConformanceWindowMode",
}
KNOWN |= {"FrameRate", "FramesToBeEncoded", "InputBitDepth", "InternalBitDepth", "Profile", "WarnUnknowParameter"}
KNOWN |= {"OutputBitDepth", "SearchRange"}
SPS, PPS, IDR, TRAIL = 33, 34, 20, 1


def main(what, *words):
    if "--help" in words:
        return print(f"HM software: {what.capitalize()} Version [16.99] (including RExt)[Linux]")
    options, configs = {}, []
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "-c":
            with open(words.pop(0)) as file:
                configs.append(file.read())
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
    size = width * height * 3 // 2 * (1 if depth == 8 else 2)
    data = read(options["InputFile"])
    count = int(options["FramesToBeEncoded"])
    assert len(data) == size * count
    pictures = [data[n * size : (n + 1) * size] for n in range(count)]
    stream = nal(
        SPS, "0000" + "000" + "1" + "1" * 96 + ue(0) + ue(1) + ue(width) + ue(height) + "0" + ue(0) * 2 + ue(4)
    )
    stream += nal(PPS, ue(0) * 2 + "0" * 5)
    coded = [(n, [n - 1]) for n in range(count)] if "ow delay" in configs[1] else list(order(count))
    for poc, refs in coded[: -1 if fault == "fewer" else None]:
        stream += picture(poc, refs, pictures[poc])
    write(options["BitstreamFile"], b"\0\0\1" + os.urandom(100) if fault == "noise" else stream)
    write(options["ReconFile"], data if fault != "other" else bytes([data[0] ^ 1]) + data[1:])
    return 0


def order(count):
    """Pairs of a picture and its references: I-B-P-B."""
    for poc in range(0, count, 2):
        yield poc, [poc - 2]
        if poc:
            yield poc - 1, [poc - 2, poc]
    if count % 2 == 0:
        yield count - 1, [count - 2]


def picture(poc, refs, samples):
    start = "1" + ("0" if poc == 0 else "") + ue(0) + ("" if poc == 0 else ue(1) + f"{poc % 256:08b}")
    body = f"{poc} {' '.join(map(str, refs if poc else ()))}|{samples.hex()}"
    return nal(TRAIL if poc else IDR, start, body.encode())


def nal(kind, bits, body=b""):
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return bytes([0, 0, 0, 1, kind << 1, 1]) + int(bits, 2).to_bytes(len(bits) // 8, "big") + b"|" + body


def ue(value):
    return "0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}"


def decode(options, _):
    shown = {}
    for unit in read(options["BitstreamFile"]).split(b"\0\0\0\1")[1:]:
        if unit[0] >> 1 in (SPS, PPS):
            continue
        _, names, samples = unit.split(b"|")
        poc, *refs = map(int, names.split())
        for lost in set(refs) - set(shown):
            print(f"inserting lost poc : {lost}")
        shown[poc] = bytes.fromhex(samples.decode())
    write(options["ReconFile"], b"".join(shown[poc] for poc in sorted(shown)))
    return 0


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Anchors and our units in samples: what is put in comes out, whatever its bytes."""

from hypothesis import given
from hypothesis import strategies as st

from codec.container.nal_units import AVC, HEVC
from codec.container.obus import AV1

CONFIGURATIONS = {HEVC: b"\1" + b"\xff" * 21, AVC: b"\1" + b"\xff" * 4}
BYTES = st.one_of(st.binary(max_size=30), st.lists(st.sampled_from([0, 1, 2, 3, 128]), max_size=40).map(bytes))
NALS = st.lists(
    st.binary(min_size=1, max_size=9).map(lambda b: b"\2" + b.replace(b"\0", b"\1")), min_size=1, max_size=4
)


@given(st.sampled_from([HEVC, AVC]), NALS, st.integers(0, 15), BYTES)
def test_nal_units(form, nals, long, content):
    codes = [b"\0\0\0\1" if long >> place & 1 else b"\0\0\1" for place in range(len(nals) - 1)]
    anchor = nals[0] + b"".join(code + nal for code, nal in zip(codes, nals[1:], strict=True))
    data = form.sample(anchor, content)
    sample = form.read(data, CONFIGURATIONS[form])
    assert form.holds(anchor) and sample.content == content
    assert form.anchor(sample.parts, form.starts(anchor)) == anchor
    assert form.read(form.raw(anchor), b"").parts == sample.parts
    ours = data[sum(4 + len(nal) for nal in nals) + 4 :]
    assert not any(pattern in ours for pattern in (b"\0\0\0", b"\0\0\1", b"\0\0\2")) and not ours.endswith(b"\0")


@given(st.lists(st.tuples(st.sampled_from([1, 3, 5, 6]), st.binary(max_size=200)), min_size=1, max_size=4), BYTES)
def test_obus(units, content):
    anchor = b"".join(bytes([kind << 3 | 2]) + leb128(len(body)) + body for kind, body in units)
    if any(kind == 5 and body[:1] == b"\x1f" for kind, body in units):
        assert not AV1.holds(anchor)
        return
    sample = AV1.read(AV1.sample(anchor, content), b"")
    assert AV1.holds(anchor) and sample.content == content and AV1.anchor(sample.parts, []) == anchor
    assert AV1.read(AV1.raw(anchor), b"").parts == [anchor]


def test_what_muxers_would_change_is_not_held():
    assert not AV1.holds(b"\x12\0\x32\1\7") and not AV1.holds(b"\x32\x81\0\7") and not AV1.holds(b"\x32\5\7")
    assert not HEVC.holds(HEVC.head + b"\1")


def leb128(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])

"""The filter of anchors beside their neighbours, in streams: who uses it, and that decoders show the same."""

import io
import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import moving, write

import codec
from codec.anchors.registry import anchor_codec
from codec.bframe.anchor_filter import AnchorFilter
from codec.bframe.neighbour_filter import NeighbourConfig, NeighbourFilter
from codec.bitstream.reader import StreamReader
from codec.bitstream.syntax import Sight
from codec.bitstream.writer import StreamWriter
from codec.decoder.reconstruct import Reconstructor
from codec.models.neighbour_file import named_filter, save_neighbour
from codec.models.open import load as load_model
from codec.models.open import predictor
from codec.models.registry import find
from codec.video.picture import VideoInfo

pytestmark = pytest.mark.usefixtures("weights", "one_thread")
INFO = VideoInfo(66, 50, Fraction(25), Fraction(1, 25))
SETTINGS = {"mode": "bitfree", "gop": "fixed:1", "model": "small-filtered", "neighbours": "small-neighbour", "qp": 28}
ENCODE = SETTINGS | {"preset": "ultrafast", "postfilter": True, "intra_period": 5, "metrics": False}


def reader_of(path):
    return StreamReader(io.BytesIO(path.read_bytes()))


def decoder():
    neighbours = named_filter(find("small-neighbour")).network
    return Reconstructor(INFO, anchor_codec("x265"), predictor(load_model("small-filtered"), INFO, neighbours))


@pytest.fixture(scope="module")
def pictures():
    """Eleven pictures of one scene."""
    return moving(11, 66, 50, step=3)


@pytest.fixture
def stream(tmp_path, pictures):
    """Segments of five, five and one pictures."""
    codec.encode(write(tmp_path / "seq.y4m", pictures), hashes=True, **ENCODE)
    assert [len(unit.segment.pocs) for unit in reader_of(tmp_path / "seq.ncm").units()] == [5, 5, 1]
    return tmp_path / "seq.ncm"


def test_the_stream_names_the_filter_and_decodes_to_what_was_encoded(stream):
    reader = reader_of(stream)
    filters = reader.header.options["neighbour_filter"]
    assert filters == {"name": "small-neighbour", "fingerprint": named_filter(find("small-neighbour")).fingerprint}
    assert all(unit.sight is Sight.NEIGHBOURS and unit.strengths for unit in reader.units())
    assert codec.verify(stream) == 11
    assert "\nneighbour_filter small-neighbour, " in codec.info(stream).text()


def test_without_neighbours_a_stream_is_what_it_was(tmp_path, pictures):
    codec.encode(write(tmp_path / "seq.y4m", pictures), **ENCODE | {"neighbours": "none"})
    data = (tmp_path / "seq.ncm").read_bytes()
    assert data[4] == 1 and not reader_of(tmp_path / "seq.ncm").header.options
    units = list(reader_of(tmp_path / "seq.ncm").units())
    assert any(unit.strengths for unit in units) and not any(unit.sight for unit in units)


def test_a_segment_needs_no_other(stream):
    """From the second segment on, as after a seek, all is shown as in one go."""
    whole = decoder()
    expected = [whole.anchors(unit) for unit in reader_of(stream).units()]
    for number, unit in enumerate(reader_of(stream).units()):
        assert decoder().anchors(unit) == expected[number]


def test_a_lost_anchor_spoils_only_those_around_it(stream):
    unit = next(iter(reader_of(stream).units()))
    good = decoder().anchors(unit)
    bad = decoder().anchors(replace(unit, anchor_packets=unit.anchor_packets[:-1]))
    (lost,) = good.keys() - bad.keys()
    assert all((good[poc] == bad[poc]) == (abs(lost - poc) > 2) for poc in bad)
    assert all(good[poc].decoded == bad[poc].decoded for poc in bad)


def test_two_threads_show_nearly_the_same(stream):
    unit = next(iter(reader_of(stream).units()))
    one = decoder().anchors(unit)
    torch.set_num_threads(2)
    for poc, anchor in decoder().anchors(unit).items():
        off = np.abs(anchor.shown.y.astype(int) - one[poc].shown.y)
        assert off.max() <= 1 and (off > 0).mean() < 0.01


def test_neighbours_are_the_nearest_anchors_and_none_is_filtered_alone():
    model, near = load_model("small-filtered"), named_filter(find("small-neighbour")).network
    beside, alone = (AnchorFilter(model.codec.postfilter, network, INFO) for network in (near, None))
    decoded = dict(zip((3, 5, 9), moving(3, 66, 50, step=3), strict=True))

    def change(filters, pocs, poc, *, neighbours=True):
        sight = Sight.NEIGHBOURS if neighbours else Sight.ALONE
        return filters.changes({p: decoded[p] for p in pocs}, poc, 0.02, [sight])[0].planes[0]

    assert torch.equal(change(beside, [5], 5), change(alone, [5], 5))
    assert torch.equal(change(beside, [3, 5, 9], 5, neighbours=False), change(alone, [5], 5))
    assert not torch.equal(change(beside, [3, 5], 5), change(alone, [5], 5))
    assert not torch.equal(change(beside, [3, 5, 9], 3), change(beside, [3, 5], 3))


def against(change):
    """A change that makes worse what the other one makes better."""
    return change._replace(planes=tuple(-plane for plane in change.planes))


def test_where_predictions_are_bad_they_are_not_seen(tmp_path, monkeypatch, foreseeing):
    src = write(tmp_path / "seq.y4m", moving(5, 66, 50, step=3))
    changes = AnchorFilter.changes

    def worse(self, decoded, poc, noise, sights):
        (alone,) = changes(self, decoded, poc, noise, [Sight.ALONE])
        return [against(alone) if sight is Sight.PREDICTION else alone for sight in sights]

    monkeypatch.setattr(AnchorFilter, "changes", worse)
    codec.encode(src, **ENCODE | {"neighbours": foreseeing})
    (unit,) = reader_of(tmp_path / "seq.ncm").units()
    assert unit.strengths and unit.sight is Sight.NEIGHBOURS


def test_far_apart_the_better_filter_is_taken(tmp_path, monkeypatch):
    """Where every fourth picture shows something else, neighbours are of no use, and of none in the stream."""
    src = write(tmp_path / "seq.y4m", moving(9, 66, 50, step=3))
    asked = []
    changes = AnchorFilter.changes

    def watched(self, decoded, poc, noise, sights):
        asked.extend(sights)
        made = zip(changes(self, decoded, poc, noise, sights), sights, strict=True)
        return [against(change) if sight else change for change, sight in made]

    monkeypatch.setattr(AnchorFilter, "changes", watched)
    codec.encode(src, **ENCODE | {"gop": "fixed:4", "intra_period": 9})
    assert set(asked) == {Sight.ALONE, Sight.NEIGHBOURS}
    (unit,) = reader_of(tmp_path / "seq.ncm").units()
    assert unit.strengths and not unit.sight


def test_a_stream_whose_filter_is_not_installed(stream, monkeypatch, tmp_path, tiny_weights):
    here = tmp_path / "weights"
    here.mkdir()
    for name in ("small", "small-filtered"):
        (here / f"{name}.safetensors").symlink_to(tiny_weights / f"{name}.safetensors")
    monkeypatch.setenv("NCM_WEIGHTS", str(here))
    with pytest.raises(codec.ModelError, match=r"model 'small-neighbour', fingerprint .* is needed and not installed"):
        codec.verify(stream)


def test_a_segment_cannot_ask_for_a_filter_that_the_header_does_not_name(stream, tmp_path):
    reader = reader_of(stream)
    with (tmp_path / "bad.ncm").open("wb") as file:
        writer = StreamWriter(file, replace(reader.header, options={}))
        for unit in reader.units():
            writer.write(unit)
        writer.finish()
    with pytest.raises(codec.StreamError, match="without a filter for them"):
        next(reader_of(tmp_path / "bad.ncm").units())


def test_what_a_network_makes_of_neighbours_needs_them(stream, tmp_path):
    reader = reader_of(stream)
    with (tmp_path / "bad.ncm").open("wb") as file:
        writer = StreamWriter(file, reader.header)
        writer.write(replace(next(iter(reader.units())), sight=Sight.PREDICTION - Sight.NEIGHBOURS))
        writer.finish()
    with pytest.raises(codec.StreamError, match="without these"):
        next(reader_of(tmp_path / "bad.ncm").units())


def test_a_filter_without_a_network_sees_neighbours_alone(stream, tmp_path):
    """However a stream has it."""
    unit = next(iter(reader_of(stream).units()))
    more = replace(unit, sight=Sight.PREDICTION)
    assert decoder().anchors(more) == decoder().anchors(unit)


def test_a_model_is_no_filter(tmp_path):
    with pytest.raises(codec.ModelError, match="not the weights of a filter that sees neighbouring pictures"):
        codec.encode(write(tmp_path / "seq.y4m", moving(2)), **ENCODE | {"neighbours": "small"})


@pytest.fixture
def foreseeing(tmp_path, monkeypatch):
    """The name of a filter that also sees what `small` predicts, and trusts it."""
    model = NeighbourFilter(NeighbourConfig(network="small", width=4, blocks=1), load_model("small").network)
    with torch.no_grad():
        model.shares.bias[-2:] = 0.5
    save_neighbour(model, tmp_path / "more" / "foreseeing.safetensors")
    monkeypatch.setenv("NCM_WEIGHTS", os.pathsep.join([str(tmp_path / "more"), os.environ["NCM_WEIGHTS"]]))
    return "foreseeing"


@pytest.mark.parametrize("size", [(66, 50), (65, 49)])
def test_a_filter_may_see_what_a_network_predicts(tmp_path, foreseeing, size):
    how = ENCODE | {"neighbours": foreseeing}
    codec.encode(write(tmp_path / "seq.y4m", moving(11, *size, step=3)), hashes=True, **how)
    units = list(reader_of(tmp_path / "seq.ncm").units())
    assert any(unit.sight is Sight.PREDICTION and unit.strengths for unit in units)
    assert codec.verify(tmp_path / "seq.ncm") == 11


def test_a_prediction_needs_anchors_on_both_sides(foreseeing):
    model, near = load_model("small-filtered"), named_filter(find(foreseeing)).network
    filters = AnchorFilter(model.codec.postfilter, near, INFO)
    decoded = dict(zip((3, 5, 9), moving(3, 66, 50, step=3), strict=True))

    def change(pictures, poc):
        return filters.changes(pictures, poc, 0.02, [Sight.PREDICTION])[0].planes[0]

    assert not change(decoded, 3).any()  # it does nothing else
    first = change(decoded, 5)
    assert first.any()
    nearer = {poc + (poc == 9): picture for poc, picture in decoded.items()}  # the same pictures, another time
    assert not torch.equal(change(nearer, 5), first)


def test_each_sight_is_filtered_as_if_it_were_the_only_one(foreseeing):
    model, near = load_model("small-filtered"), named_filter(find(foreseeing)).network
    filters = AnchorFilter(model.codec.postfilter, near, INFO)
    decoded = dict(zip((3, 5, 9), moving(3, 66, 50, step=3), strict=True))
    assert len(filters.sights) == 3
    together = filters.changes(decoded, 5, 0.02, filters.sights)
    for change, sight in zip(together, filters.sights, strict=True):
        (only,) = filters.changes(decoded, 5, 0.02, [sight])
        assert all(torch.equal(a, b) for a, b in zip(change.planes, only.planes, strict=True))
    assert not torch.equal(together[0].planes[0], together[1].planes[0])

# SPDX-License-Identifier: MIT
"""Whether a unit is whole: before it is written, and after it was read."""

from .limits import segment_problem, times_problem
from .syntax import PAIRS
from .units import HASH_BYTES, Damage, Header, Unit


def check_unit(unit: Unit, header: Header) -> None:
    """ValueError if the parts of a unit do not fit each other, or if a reader would refuse it."""
    segment, count = unit.segment, len(unit.segment.pocs)
    bframes = {picture.poc for picture in segment.bframes()}
    indices = sorted(anchor.index for anchor in unit.anchor_packets)
    problems = {
        "a segment has no picture": not count,
        "pts is not one time a picture": len(unit.pts) != count,
        "anchors are not one for each anchor of the segment": indices != [*range(unit.first_anchor, unit.stop_anchor)],
        "an anchor is key without being the I": any(
            a.key != (a.index == unit.first_anchor) for a in unit.anchor_packets
        ),
        "coded is not the set of B-frames with a payload": not unit.bframes.keys() == unit.coded <= bframes,
        "a B-frame is filed under another poc": any(poc != b.poc for poc, b in unit.bframes.items()),
        "hashes are neither none nor one a picture": len(unit.hashes) not in (0, count),
        "strengths are neither none nor one a plane": len(unit.strengths) not in (0, 3),
        "neighbours are of no use without strengths": bool(unit.sight) and not unit.strengths,
        "Wiener filters come after strengths, with their weights for each plane": bool(unit.wiener)
        and (not unit.strengths or len(unit.wiener) != 3 * len(PAIRS)),
        "corrections are of a filter that sees neighbours": bool(unit.corrections) and not unit.sight,
        f"a hash is not {HASH_BYTES} bytes": any(len(item) != HASH_BYTES for item in unit.hashes),
    }
    told = segment_problem(segment, header.intra_period) or times_problem(unit.pts, header.time_base)
    for problem, found in (problems | {told: bool(told)}).items():
        if found:
            raise ValueError(f"pictures {segment.first}..{segment.stop - 1}: {problem}")


def missing(unit: Unit, *, hashed: bool) -> list[Damage]:
    """What a unit lacks of what its SEGMENT packet promised."""
    have = {anchor.index for anchor in unit.anchor_packets}
    anchors = [poc for index, poc in unit.pocs_by_anchor.items() if index not in have]
    payloads = unit.coded - unit.bframes.keys()
    damage = []
    if anchors:
        damage.append(Damage(anchors[0], f"{len(anchors)} of {len(unit.segment.anchor_pocs)} anchors are missing"))
    if payloads:
        damage.append(Damage(min(payloads), f"{len(payloads)} of {len(unit.coded)} B-frame payloads are missing"))
    if hashed and not unit.hashes:
        damage.append(Damage(unit.segment.first, "the hashes are missing"))
    return damage

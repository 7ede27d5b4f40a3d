# SPDX-License-Identifier: MIT
"""What every anchor codec offers: an ordinary sequence of pictures in, packets out, and back."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from ..bitstream.units import AnchorPacket
from ..errors import AnchorError
from ..video.picture import VideoInfo, Yuv420


class AnchorFrame(NamedTuple):
    """A picture for the encoder; `key` starts a closed group: nothing after it may refer to what came before it."""

    picture: Yuv420
    key: bool


class AnchorCodec(Protocol):
    """A codec for the anchors of a video. Pictures are those of the video: any size, 8 or 10 bit."""

    name: str

    @property
    def exact(self) -> bool:
        """Whether every machine decodes the same pictures, to the bit."""
        ...

    @property
    def regular(self) -> bool:
        """Whether its own order needs anchors evenly spaced, and pays dearly for others."""
        ...

    @property
    def remembers(self) -> bool:
        """Whether its rate control goes by what it coded before, so that a group depends on what came before it."""
        ...

    @property
    def restores(self) -> bool:
        """Whether its loop has Wiener filters of luma, as AV1's and VVC's has, or may have them."""
        ...

    def variant(self, *, distance: int, longest_group: int, finer: float = 0.0) -> "AnchorCodec":
        """This codec for anchors `distance` apart, at 2^finer times its lambda, or as near to that as its scale allows.

        longest_group is the most anchors that a closed group will hold.
        """
        ...

    @property
    def slope(self) -> float:
        """Lambda at this quality: -dR/dD in bits a pixel for a unit of mean squared error of RGB in [0,1]."""
        ...

    def encode(self, frames: Iterable[AnchorFrame], info: VideoInfo) -> Iterator[AnchorPacket]:
        """Packets in coding order, one an anchor; pulls frames only as its own lookahead needs them.

        The packets of one closed group all come before those of the next. AnchorError if the encoder refuses.
        """
        ...

    def decode(self, packets: Sequence[AnchorPacket], info: VideoInfo) -> dict[int, Yuv420]:
        """The pictures of one closed group by index; what cannot be decoded is absent."""
        ...

    def disposable(self, packets: Sequence[AnchorPacket]) -> set[int]:
        """Indices of the packets of a closed group whose pictures no other refers to; none if that is not known."""
        ...

    def without(self, packets: Sequence[AnchorPacket], indices: set[int]) -> list[AnchorPacket]:
        """A closed group without the disposable packets of these indices; the others decode bit-exactly as before."""
        ...

    def describe(self) -> str:
        """The settings that made the stream, in one line, for the stream header."""
        ...


def check_depth(name: str, depths: Collection[int], info: VideoInfo) -> None:
    """AnchorError if the codec of this name, which has these bit depths, has not the video's."""
    if info.bit_depth not in depths:
        known = " or ".join(map(str, depths))
        raise AnchorError(f"{name} codes {known} bit; this video has {info.bit_depth}")

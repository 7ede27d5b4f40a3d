# SPDX-License-Identifier: MIT
"""Picture files as RGB of 8 bit, by Pillow."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InputError, OutputError
from ..files import PathLike, check_outputs, replacing

Rgb: TypeAlias = NDArray[np.uint8]  # (H,W,3)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY = 95  # of JPEG and WebP


def read_picture(path: PathLike) -> Rgb:
    """A picture as RGB, turned as its file says. InputError if it is missing or none."""
    try:
        # Pillow would open others too, some by starting programs: EPS by Ghostscript.
        with Image.open(path, formats=[*FORMATS.values()]) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: no picture that can be read; give .png, .jpg or .webp") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({error}); check the file") from error


def read_pair(first: PathLike, second: PathLike) -> tuple[Rgb, Rgb]:
    """Two pictures of one size. InputError if they are not."""
    a, b = read_picture(first), read_picture(second)
    if a.shape != b.shape:
        sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in (a, b)]
        raise InputError(f"{second}: is {sizes[1]}, but {first} is {sizes[0]}; give pictures of one size")
    return a, b


def picture_target(dst: PathLike, *sources: PathLike) -> Path:
    """Where a picture goes. OutputError if its suffix is of none, InputError if it is one of the sources."""
    path = Path(dst)
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"{dst}: unknown suffix {path.suffix!r} of a picture; choose from {', '.join(FORMATS)}")
    check_outputs({str(source): source for source in sources}, {"the output": dst})
    return path


def write_picture(path: Path, picture: Rgb) -> None:
    """Write a picture whole or not at all. OutputError if it cannot be written."""
    with replacing(path) as file:
        try:
            Image.fromarray(picture).save(file, FORMATS[path.suffix.lower()], quality=QUALITY)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk's fault
                raise
            why = f"{picture.shape[1]}x{picture.shape[0]} is too large for {path.suffix}; write .png"
            raise OutputError(f"{path}: {why}") from error

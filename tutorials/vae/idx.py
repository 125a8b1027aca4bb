"""IDX files, in which MNIST comes: a magic number, the sizes of the axes, and bytes."""

import gzip
import zlib
from pathlib import Path

import numpy as np

# Two zero bytes, 8 for unsigned bytes, then the number of axes.
MAGIC = {"images": 0x00000803, "labels": 0x00000801}
AXES = {"images": 3, "labels": 1}


def pair(folder, part):
    """Images (n, rows, columns) and labels (n,), uint8, of "train" or "t10k".

    Raises:
        FileNotFoundError: for a file that is not there, plain or as .gz.
        ValueError: for a file that is not what its name says.
    """
    found = {kind: read(_path(folder, part, kind), kind) for kind in MAGIC}
    if len(found["images"]) != len(found["labels"]):
        raise ValueError(
            f"{folder}: expected as many labels as images of {part!r}, got "
            f"{len(found['labels'])} and {len(found['images'])}"
        )
    return found["images"], found["labels"]


def read(path, kind):
    """The array of one IDX file of unsigned bytes.

    Args:
        path: the file; one that ends in .gz is unpacked.
        kind: "images" or "labels": which magic number it must have.
    """
    content = _content(Path(path))
    head = 4 + 4 * AXES[kind]
    if len(content) < head:
        raise ValueError(f"{path}: expected an IDX file, got only {len(content)} bytes")
    magic, *shape = (int(number) for number in np.frombuffer(content[:head], ">u4"))
    if magic != MAGIC[kind]:
        raise ValueError(
            f"{path}: expected an IDX file of {kind}, which starts with the magic number "
            f"{MAGIC[kind]:#010x}, got {magic:#010x}{_hint(magic, content)}"
        )
    size = int(np.prod(shape))
    if size == 0 or len(content) - head != size:
        raise ValueError(
            f"{path}: expected {size} bytes of {kind} of shape {tuple(shape)}, got "
            f"{len(content) - head}; is the file cut short?"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _path(folder, part, kind):
    stem = f"{part}-{kind}-idx{AXES[kind]}-ubyte"
    dotted = stem.replace("-idx", ".idx")  # what some unpackers make of the name
    names = [name + end for name in (stem, dotted) for end in ("", ".gz")]
    for name in names:
        path = Path(folder) / name
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder}: expected MNIST's four IDX files there, but {stem} is missing, with and without "
        ".gz; nothing is downloaded"
    )


def _content(path):
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a file packed by gzip, got one that is not: {error}"
        ) from None


def _hint(magic, content):
    if content[:2] == b"\x1f\x8b":
        return ": it is packed by gzip, so its name should end in .gz"
    names = {number: kind for kind, number in MAGIC.items()}
    return f": it has {names[magic]}" if magic in names else ""

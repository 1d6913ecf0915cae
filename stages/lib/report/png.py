"""Grey images as PNG files (W3C, Portable Network Graphics): 16 levels, not compressed, so that bytes repeat anywhere.

A library's compressed bytes differ between versions of zlib.
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BITS, GREY = 4, 0
GAP = 2  # pixels between images


def encode_png(levels: np.ndarray) -> str:
    """The base64 of a PNG; levels: [row, column], 0 (black) to 1 (white)."""
    height, width = levels.shape
    nibbles = np.clip(np.rint(levels * 15), 0, 15).astype(np.uint8)
    nibbles = np.pad(nibbles, ((0, 0), (0, width % 2)))
    packed = nibbles[:, ::2] << BITS | nibbles[:, 1::2]
    lines = b"".join(b"\0" + row.tobytes() for row in packed)  # each line says: no filter
    header = struct.pack(">IIBBBBB", width, height, BITS, GREY, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, level=0)), (b"IEND", b""))
    return base64.b64encode(SIGNATURE + b"".join(chunk(*entry) for entry in chunks)).decode()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def line_up(images: np.ndarray) -> np.ndarray:
    """[image, row, column] side by side, with a mid-grey gap."""
    padded = np.pad(images, ((0, 0), (0, 0), (0, GAP)), constant_values=0.5)
    return np.concatenate([*padded], axis=1)[:, :-GAP]

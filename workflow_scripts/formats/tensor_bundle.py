"""Reads the float arrays of a TensorFlow checkpoint (a "tensor bundle") without TensorFlow.

A bundle is an index and a data file. The index is a table in LevelDB's format: blocks of prefix-compressed
key-value entries, found through an index block that the 48-byte footer points to. Its values are protocol
buffers (`BundleEntryProto`) that say where in the data file each array lies. Nothing in either file is executed.
"""

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workflow_scripts.errors import UserError

MAGIC = 0xDB4775248B80FB57  # ends every LevelDB table
FOOTER_BYTES = 48
DT_FLOAT = 1
# Field numbers of BundleEntryProto and of TensorShapeProto.
DTYPE, SHAPE, SHARD, OFFSET, SIZE = 1, 2, 3, 4, 5
DIMENSION, DIMENSION_SIZE = 2, 1


class MalformedError(ValueError):
    """The bytes are not what a tensor bundle holds at this place."""


class Reader:
    """Takes numbers and strings off the front of `data`, never reading past its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def __bool__(self) -> bool:
        return self.position < len(self.data)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self.data) - self.position:
            raise MalformedError("it ends too early")
        self.position += count
        return self.data[self.position - count : self.position]

    def varint(self) -> int:
        """A number in base 128, least significant digit first; the top bit says that another digit follows."""
        value = 0
        for shift in range(0, 64, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise MalformedError("a number is too long")


def block_entries(table: bytes, handle: Reader) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of the block of `table` whose offset and size stand next in `handle`."""
    offset, size = handle.varint(), handle.varint()
    if offset + size >= len(table) or size < 4:
        raise MalformedError("a block lies outside the file")
    if table[offset + size] != 0:  # the byte behind a block names its compression
        raise MalformedError("a block is compressed, which is not supported")
    block = table[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    if 4 * restarts + 4 > size:
        raise MalformedError("a block's restart table is longer than the block")
    entries, key = Reader(block[: size - 4 - 4 * restarts]), b""
    while entries:
        shared, own, length = entries.varint(), entries.varint(), entries.varint()
        key = key[:shared] + entries.take(own)
        yield key, entries.take(length)


def protobuf_fields(message: bytes) -> dict[int, list[int | bytes]]:
    """The values of a protocol buffer by field number, in the order in which they stand."""
    fields: dict[int, list[int | bytes]] = {}
    reader = Reader(message)
    while reader:
        tag = reader.varint()
        wire_type = tag & 7
        if wire_type not in (0, 1, 2, 5):
            raise MalformedError(f"wire type {wire_type} is unknown")
        if wire_type == 0:
            value: int | bytes = reader.varint()
        else:
            value = reader.take({1: 8, 5: 4}.get(wire_type) or reader.varint())
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def number(fields: dict[int, list[int | bytes]], field: int) -> int:
    """The value of a number field; an absent one is 0, as protocol buffers have it."""
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        raise MalformedError(f"field {field} is not a number")
    return value


def messages(fields: dict[int, list[int | bytes]], field: int) -> list[bytes]:
    """The values of a field that holds messages."""
    return [value for value in fields.get(field, []) if isinstance(value, bytes)]


def index_entries(table: bytes) -> Iterator[tuple[str, dict[int, list[int | bytes]]]]:
    """Name and `BundleEntryProto` fields of every array that the index lists."""
    if len(table) < FOOTER_BYTES or struct.unpack("<Q", table[-8:])[0] != MAGIC:
        raise MalformedError("it does not end as a checkpoint index ends")
    footer = Reader(table[-FOOTER_BYTES:-8])
    for _ in range(2):
        footer.varint()  # where the (unused) block of meta data lies
    for _, handle in block_entries(table, footer):
        for key, value in block_entries(table, Reader(handle)):
            if key:  # the empty key holds the bundle's header
                yield key.decode(), protobuf_fields(value)


def float_array(entry: dict[int, list[int | bytes]], data: bytes) -> NDArray[np.float32]:
    """The array that `entry` finds in `data`."""
    shape_messages = messages(entry, SHAPE)
    shape_fields = protobuf_fields(shape_messages[0]) if shape_messages else {}
    shape = [number(protobuf_fields(message), DIMENSION_SIZE) for message in messages(shape_fields, DIMENSION)]
    offset, size = number(entry, OFFSET), number(entry, SIZE)
    if number(entry, SHARD) != 0:
        raise MalformedError("it points to a second data file, which is not supported")
    if offset + size > len(data) or size != 4 * prod(shape):
        raise MalformedError(f"an array of shape {shape} does not fit {size} bytes at {offset} of {len(data)}")
    return np.frombuffer(data, "<f4", prod(shape), offset).reshape(shape).astype(np.float32)


def read_float_arrays(index: Path, data: Path) -> dict[str, NDArray[np.float32]]:
    """Every float32 array of a checkpoint by name; arrays of other types (counters, object graphs) are left out.

    `index` is the file `<prefix>.index`, `data` the file `<prefix>.data-00000-of-00001`.
    Raises `UserError` when a file cannot be read, is damaged, compressed, or does not belong to the other.
    """
    try:
        table, values = index.read_bytes(), data.read_bytes()
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); fetch the asset again") from None
    arrays = {}
    name = ""
    try:
        for name, entry in index_entries(table):
            if number(entry, DTYPE) == DT_FLOAT:
                arrays[name] = float_array(entry, values)
    except (MalformedError, UnicodeDecodeError) as error:
        near = f", near '{name}'" if name else ""
        raise UserError(
            f"{index}: not a readable checkpoint index of {data.name}{near} ({error}); fetch both assets again"
        ) from None
    return arrays

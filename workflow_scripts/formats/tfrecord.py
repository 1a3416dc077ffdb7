"""TFRecord files: a sequence of byte strings, each between its length and its checksum.

A record is a little-endian uint64 length, the masked CRC-32C of these 8 bytes, the data, and the masked CRC-32C of the
data. The mask (a rotation and an added constant) keeps the CRC of data that hold CRCs themselves from being trivial.
"""

import os
import struct
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from crc32c import crc32c

from workflow_scripts.errors import UserError
from workflow_scripts.shards import atomic

HEADER, FOOTER = struct.Struct("<QI"), struct.Struct("<I")
MASK = 0xA282EAD8
BUFFER = 1 << 20  # bytes
GRAIN = 1 << 16  # bytes by which reused memory grows


class Memory:
    """Memory for many large records, used again when nobody holds an array in it; threads may share it.

    To have it from the system anew, zeroed page by page, takes longer than to read the record.
    """

    def __init__(self) -> None:
        self._free: defaultdict[int, list[np.ndarray]] = defaultdict(list)  # by grains

    def take(self, size: int) -> np.ndarray:
        """Bytes (size,) of any content."""
        grains = -(-size // GRAIN)
        try:
            whole = self._free[grains].pop()
        except IndexError:
            whole = np.empty(grains * GRAIN, np.uint8)
        lent = np.frombuffer(whole.data, np.uint8, size)  # not a mere view, so that views of it keep this one
        weakref.finalize(lent, self._free[grains].append, whole).atexit = False
        return lent


def masked_crc(data: bytes | memoryview) -> int:
    """The checksum as it stands in the file."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + MASK) & 0xFFFFFFFF


def write(path: Path, records: Iterable[bytes]) -> None:
    """Writes the records to a file that appears when it is complete."""
    with atomic(path) as temporary, temporary.open("wb", buffering=BUFFER) as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            file.write(length + FOOTER.pack(masked_crc(length)))
            file.write(record)
            file.write(FOOTER.pack(masked_crc(record)))


def read(path: Path) -> Iterator[bytes]:
    """The records of a file, one in memory at a time, each after its checksums were found right.

    Raises `UserError`, with the number of the record (from 0) and where in the file it begins, when the file cannot be
    opened, ends within a record, or has other bytes than were written.
    """
    return (record for _, record in located(path))


def count(path: Path) -> int:
    """How many records a file has, by their lengths alone: the data are not read. It raises what `read` does."""
    with opened(path, HEADER.size) as file:
        return sum(1 for _ in records(file, path, data=False))


def located(path: Path) -> Iterator[tuple[int, bytes]]:
    """As `read`, each record with the byte at which its data begin."""
    with opened(path, BUFFER) as file:
        yield from records(file, path)


def read_at(path: Path, places: Iterable[tuple[int, int]], memory: Memory) -> Iterator[np.ndarray]:
    """The records, uint8, whose data begin at a byte and have a length, each after its checksum was found right.

    Raises `UserError` when the file cannot be opened, or has other bytes than when the places were noted.
    """
    with opened(path, 0) as file:
        for start, length in places:
            found = memory.take(length + FOOTER.size)
            record, (read, footer) = found[:length], (found.data, found[length:].data)
            if (
                os.preadv(file.fileno(), [read], start) < len(read)
                or masked_crc(record.data) != FOOTER.unpack(footer)[0]
            ):
                raise UserError(
                    f"{path}: its record at byte {start} is not the one that was found there; the file has changed or "
                    "is damaged: fetch it again (-R fetch_records), and make the features anew"
                )
            yield record


def opened(path: Path, buffer: int) -> BinaryIO:
    try:
        return path.open("rb", buffering=buffer)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); fetch it again (-R fetch_records)") from None


def records(file: BinaryIO, path: Path, data: bool = True) -> Iterator[tuple[int, bytes]]:
    """The records from where they begin; without `data` they are empty, and only their lengths are checked."""
    size = os.fstat(file.fileno()).st_size
    number = start = 0

    def fault(what: str) -> UserError:
        return UserError(
            f"{path}: record {number}, at byte {start}: {what}; the file is damaged, fetch it again (-R fetch_records)"
        )

    while header := file.read(HEADER.size):
        if len(header) < HEADER.size:
            raise fault("the file ends in the record's header")
        length, length_crc = HEADER.unpack(header)
        if masked_crc(header[:8]) != length_crc:
            raise fault(f"the checksum of its length ({length}) is wrong")
        if start + HEADER.size + length > size:  # before anything is read: a length may be any number
            raise fault(f"it should have {length} bytes and the file ends before")
        if start + HEADER.size + length + FOOTER.size > size:
            raise fault("the file ends before the record's checksum")
        if not data:
            file.seek(length + FOOTER.size, os.SEEK_CUR)
            record = b""
        elif masked_crc(record := file.read(length)) != int.from_bytes(file.read(FOOTER.size), "little"):
            raise fault("the checksum of its data is wrong")
        yield start + HEADER.size, record
        number, start = number + 1, start + HEADER.size + length + FOOTER.size

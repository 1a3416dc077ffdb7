"""TFRecord files: a sequence of byte strings, each between its length and its checksum.

A record is a little-endian uint64 length, the masked CRC-32C of these 8 bytes, the data, and the masked CRC-32C of the
data. The mask (a rotation and an added constant) keeps the CRC of data that hold CRCs themselves from being trivial.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from crc32c import crc32c

from workflow_scripts.errors import UserError
from workflow_scripts.shards import atomic

HEADER, FOOTER = struct.Struct("<QI"), struct.Struct("<I")
MASK = 0xA282EAD8
BUFFER = 1 << 20  # bytes


def masked_crc(data: bytes) -> int:
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


def located(path: Path) -> Iterator[tuple[int, bytes]]:
    """As `read`, each record with the byte at which its data begin."""
    with opened(path, BUFFER) as file:
        yield from records(file, path)


def read_at(path: Path, places: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The records whose data begin at a byte and have a length, each after its checksum was found right.

    Raises `UserError` when the file cannot be opened, or has other bytes than when the places were noted.
    """
    with opened(path, 0) as file:
        for start, length in places:
            record, footer = (
                os.pread(file.fileno(), *part) for part in ((length, start), (FOOTER.size, start + length))
            )
            if len(footer) < FOOTER.size or masked_crc(record) != FOOTER.unpack(footer)[0]:
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


def records(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
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
        record = file.read(length)
        footer = file.read(FOOTER.size)
        if len(record) < length or len(footer) < FOOTER.size:
            raise fault("the file ends before the record's checksum")
        if masked_crc(record) != FOOTER.unpack(footer)[0]:
            raise fault("the checksum of its data is wrong")
        yield start + HEADER.size, record
        number, start = number + 1, start + HEADER.size + length + FOOTER.size

"""Malformed inputs for all readers of the package; `benchmarks.fuzz_readers` and the tests give them."""

from benchmarks.fuzz import data, files, models, plain
from benchmarks.fuzz.damage import Reader

__all__ = ["READERS", "Reader"]

READERS: dict[str, Reader] = {
    reader.name: reader for reader in (*data.READERS, *plain.READERS, *models.READERS, *files.READERS)
}
"""All readers by their names."""

"""What loaders notice about files: collected by kind, and told once a kind, with how many there are and examples."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from analognets.errors import DataWarning

__all__ = ["KINDS", "Notes", "readable"]

_EXAMPLES = 3


class Kind(NamedTuple):
    """One thing to notice: its sentence, with {count}, {what} and {examples}; and whether it calls for a warning."""

    sentence: str
    warns: bool = True


KINDS: Mapping[str, Kind] = {
    # In the order in which they are told.
    "skipped": Kind("{count} {what} can't be read and were skipped: {examples}.", warns=False),
    "endings": Kind("{count} files were left out, for they are no {endings}: {examples}. Convert them, or move them."),
    "loose": Kind("{count} {what} stand in no class folder and were left out: {examples}."),
    "links": Kind(
        "{count} links to folders were not entered: {examples}. Copy what they lead to, or name that folder itself."
    ),
    "rate": Kind("{count} {what} were resampled to 16000 Hz, such as {examples}.", warns=False),
    "unit": Kind(
        "{count} {what} hold int16 values in wider numbers; they were read in units of int16, such as {examples}."
    ),
    "over": Kind("{count} {what} hold numbers over full scale, which were saturated, such as {examples}."),
    "header": Kind("{count} {what} have a header that does not fit the file: listen to them, such as {examples}."),
    "short": Kind("{count} {what} are shorter than 0.1 s, such as {examples}."),
    "long": Kind("{count} {what} are longer than 1 s; the {cut} second was kept, such as {examples}.", warns=False),
    "lost": Kind(
        "Of {count} {what}, over a tenth of the sound lies outside of the {cut} second that was kept, such as "
        "{examples}. Cut them into clips of 1 s, or pass on_long='error' to stop at such files."
    ),
    "silent": Kind("{count} {what} hold next to no sound (nothing above 1/256 of full scale), such as {examples}."),
    "saturated": Kind("{count} {what} are saturated (over 1 % of the samples at the limit), such as {examples}."),
    "dim": Kind(
        "{count} {what} of 16 bit use less than a sixteenth of their range, such as {examples}: they are read as dark "
        "as that. If they hold 8 to 12 bit, multiply them to the whole range first."
    ),
    "blank": Kind("{count} {what} are of one colour all over, such as {examples}."),
    "splits": Kind(
        "{count} {what} stand in more than one split under different names, so that scores come out too high: "
        "{examples}. Remove all copies but one."
    ),
    "classes": Kind("{count} {what} stand in more than one class: {examples}. Remove the wrong ones."),
}


class Notes:
    """Collects what is noticed of files.

    Args:
        what: the files are, as a plural: "clips".
        **words: further words for the sentences, such as cut="loudest".
    """

    def __init__(self, what: str, **words: str) -> None:
        self._words = {"what": what, **words}
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, example: str) -> None:
        """Note one more of a kind of `KINDS`."""
        self._found.setdefault(kind, []).append(example)

    def extend(self, kind: str, examples: Iterable[str]) -> None:
        """Note several of a kind."""
        for example in examples:
            self.add(kind, example)

    def __getitem__(self, kind: str) -> list[str]:
        return self._found.get(kind, [])

    def sentences(self, *, warning: bool | None = None) -> tuple[str, ...]:
        """Return one sentence a kind, in the order of `KINDS`; with `warning`, those that call for one or don't."""
        return tuple(
            self._sentence(name, kind)
            for name, kind in KINDS.items()
            if name in self._found and warning in (None, kind.warns)
        )

    def warn(self, depth: int = 1) -> None:
        """Issue a `DataWarning` for each kind that calls for one, in the name of who called the loader.

        Args:
            depth: how many functions of the loader are at work.
        """
        for sentence in self.sentences(warning=True):
            warnings.warn(sentence, DataWarning, stacklevel=depth + 2)

    def _sentence(self, name: str, kind: Kind) -> str:
        found = self._found[name]
        shown = 5 if name == "skipped" else _EXAMPLES
        if "such as" in kind.sentence:
            examples = ", ".join(found[:shown])
        else:
            examples = ", ".join(found[:shown]) + (", ..." if len(found) > shown else "")
        return kind.sentence.format(count=len(found), examples=examples, **self._words)


def readable(name: str) -> str:
    """Return a file's name as text that can be written anywhere: control characters and stray bytes are escaped."""
    return "".join(_shown(one) for one in name)


def _shown(one: str) -> str:
    if one.isprintable():
        return one
    if "\udc80" <= one <= "\udcff":  # a byte that is no UTF-8, as Python's file system calls give it
        return f"\\x{ord(one) - 0xDC00:02x}"
    return one.encode("unicode_escape").decode()

"""The figures of a suite, one row each: its value, what it was measured on, or why there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analognets.deploy.studies.suites.suite import Member, Published, Suite

__all__ = ["FIGURES", "Figure", "figures_of"]

Measured = Mapping[tuple[str, str, Any], Mapping[str, Any]]
"""What the sweep stored, by member, kind and bits."""

PLAIN: dict[str, tuple[tuple[str, str, float], ...]] = {
    "published": (("parameters", "", 1), ("weights", "", 1), ("macs", "", 1), ("analog_weights", "", 1)),
    "int8": (("file_bytes", "B", 1),),
    "arena": (("arena_bytes", "B", 1),),
    "chip": (
        ("energy_uj", "uJ", 1), ("inferences_per_second", "1/s", 1), ("latency_us", "us", 1),
        ("tops_per_watt", "TOPS/W", 1), ("utilisation", "%", 100), ("arrays", "", 1),
    ),
}  # fmt: skip
"""Figures without a 95 % interval by kind of measurement: key, unit and factor."""
RANGES = {
    "energy_uj": ("energy_low_uj", "energy_high_uj"),
    "tops_per_watt": ("tops_per_watt_low", "tops_per_watt_high"),
}
"""Ends of what the accelerator's published figures allow; suites measured before have none."""
FIGURES = {
    "published_float": "accuracy published of the float network",
    "published_int8": "accuracy published of the int8 network",
    "float": "accuracy of the published float network on the data at hand",
    "int8": "accuracy of the published int8 file on the data at hand",
    "direct": "accuracy on chips, published weights mapped as they are",
    "direct_adabs": "the same, batch-norm statistics set anew on each chip at that time",
    "finetuned": "accuracy on chips after fine-tuning",
    "finetuned_adabs": "the same, batch-norm statistics set anew on each chip at that time",
}
"""What the figures of accuracy are."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        member: key of the network.
        figure: what it is, a key of `FIGURES` or a name such as "energy_uj".
        bits: of the converters; None where there are none.
        at: time since programming; None where nothing ages.
        value: in `unit`; None where it is not known.
        low: lower end of its 95 % interval, if there is one; of an energy: the least that the accelerator's published
            figures allow.
        high: upper end, likewise.
        std: standard deviation over chips.
        loss: to the float network on the same samples, in points.
        chips: how many.
        unit: such as "%" or "uJ".
        measured_on: which data, or who published it.
        note: why there is no value, or what to know of it.
        loss_low: lower end of the 95 % interval of the loss, paired by sample.
        loss_high: upper end.
    """

    member: str
    figure: str
    bits: int | None = None
    at: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    std: float | None = None
    loss: float | None = None
    chips: int | None = None
    unit: str = ""
    measured_on: str = ""
    note: str = ""
    loss_low: float | None = None
    loss_high: float | None = None


def figures_of(
    suite: Suite, measured: Measured, missing: Mapping[str, str], settings: Mapping[str, Any], bits: Sequence[int]
) -> list[Figure]:
    """Return all figures of a suite.

    Args:
        suite: which.
        measured: what was.
        missing: why files can't be had, by name.
        settings: of the measurements.
        bits: precisions to show.
    """
    return [figure for member in suite.members for figure in _Rows(member, measured, missing, settings).all(bits)]


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The figures of one member."""

    member: Member
    measured: Measured
    missing: Mapping[str, str]
    settings: Mapping[str, Any]

    def all(self, bits: Sequence[int]) -> Iterator[Figure]:
        yield from self.said("published_float", self.member.float_figure)
        yield from self.said("published_int8", self.member.int8_figure)
        yield from self.accuracy("float", "published")
        yield from self.accuracy("int8", "int8")
        for kind in ("published", "int8", "arena"):
            yield from self.plain(kind, None)
        for count in bits:
            yield from self.plain("chip", count)
            for kind in ("direct", "finetuned"):
                for at in self.settings["times"]:
                    yield from self.aged(kind, count, str(at))

    def figure(self, name: str, **values: Any) -> Figure:
        return Figure(self.member.key, name, **values)

    def said(self, name: str, found: Published | None) -> Iterator[Figure]:
        if found is None:
            yield self.figure(name, note="none published with the network")
        else:
            yield self.figure(name, value=found.value, unit=found.unit, measured_on=found.measured_on)

    def accuracy(self, name: str, kind: str) -> Iterator[Figure]:
        row, why = self.row(kind, None)
        if row is None or row.get("accuracy") is None:
            yield self.figure(name, unit="%", note=why or self.no_data())
        else:
            ends = {key: share(row.get(f"accuracy_{key}")) for key in ("low", "high")}
            yield self.figure(name, value=100 * row["accuracy"], unit="%", **ends, **self.about(row))

    def plain(self, kind: str, bits: int | None) -> Iterator[Figure]:
        row, why = self.row(kind, bits)
        for name, unit, factor in PLAIN[kind]:
            value = None if row is None else factor * row[name]
            low, high = (None if row is None else row.get(end) for end in RANGES.get(name, ("", "")))
            yield self.figure(name, bits=bits, value=value, low=low, high=high, unit=unit, note=why)

    def aged(self, kind: str, bits: int, at: str) -> Iterator[Figure]:
        row, why = self.row(kind, bits)
        for name, prefix in ((kind, ""), (f"{kind}_adabs", "adabs_")):
            value = None if row is None else row.get(f"{prefix}mean_{at}")
            if row is None or value is None:
                why = why or ("not measured at this time" if not prefix else "the network has no batch norm")
                yield self.figure(name, bits=bits, at=at, unit="%", note=why)
                continue
            ends = {key: share(row.get(f"{prefix}{key}_{at}")) for key in ("low", "high", "std")}
            loss = row.get(f"{prefix}loss_{at}")
            ends |= {key: row.get(f"{prefix}{key}_{at}") for key in ("loss_low", "loss_high")}
            told = {**self.about(row), "chips": int(row["chips"])}
            yield self.figure(name, bits=bits, at=at, value=100 * value, loss=loss, unit="%", **ends, **told)

    def row(self, kind: str, bits: int | None) -> tuple[Mapping[str, Any] | None, str]:
        """Return what was measured, or why it was not."""
        row = self.measured.get((self.member.key, kind, bits))
        if row is not None and row["status"] == "ok":
            return row, ""
        if row is not None:
            return None, str(row["error"]).partition(": ")[2] or str(row["error"])
        name = self.member.int8 if kind in ("int8", "arena") else self.member.model
        if name is None:
            return None, "no int8 file is published with it"
        if name in self.missing:
            return None, self.missing[name]
        if kind in ("direct", "finetuned"):
            known = self.member.no_data if not self.member.recipe else ""
            return None, known or ("not trained yet" if self.has_data() and kind == "finetuned" else self.no_data())
        return None, "not measured yet"

    def has_data(self) -> bool:
        return any(key[0] == self.member.key and row.get("data") for key, row in self.measured.items())

    def no_data(self) -> str:
        return self.member.no_data or f"no data at hand: name their folder with --data {self.member.key}=DIR"

    def about(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Return what a row was measured on, and what to know of it."""
        quick = "a quick try, which says nothing" if self.settings["quick"] else ""
        made = "made data, which say nothing of real ones" if row.get("synthetic") else ""
        note = "; ".join(text for text in (quick, made, self.member.stand_in) if text)
        return {"measured_on": str(row["measured_on"]), "note": note}


def share(value: Any) -> float | None:
    """Return a share in percent, None if it is not known."""
    return None if value is None else 100 * value

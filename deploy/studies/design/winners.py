"""The winners of a search: what is confirmed on more chips, which candidate is chosen, and what is reported of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from analognets.deploy.studies.design.bench import rights
from analognets.deploy.studies.design.budgets import COLUMNS, excess, text_of
from analognets.deploy.studies.explore import pareto_front
from analognets.errors import AnalogNetsError
from analognets.metrics import mean_interval

__all__ = ["Measure", "Winners", "difference", "marked", "ranked", "reference_of"]

ROUNDS = 3
"""How often further candidates are confirmed where none so far keeps the budget of the loss."""
Measure = Callable[[Sequence[tuple[str, int]]], list[dict[str, Any]]]


def marked(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the table of a search with `pareto`: what no other candidate beats in loss, energy and area."""
    left_out = ("excess", "right")
    table = pd.DataFrame([{name: value for name, value in row.items() if name not in left_out} for row in rows])
    for name in ("loss", "energy_uj", "area_mm2", "feasible"):
        table[name] = table[name] if name in table else None
    table["feasible"] = table["feasible"].eq(True)
    table["pareto"] = pareto_front(table, {"loss": -1, "energy_uj": -1, "area_mm2": -1})
    return table


def ranked(table: pd.DataFrame, objectives: Sequence[str]) -> list[int]:
    """Return the rows that keep all budgets: those that no other beats in the objectives first, best first.

    Args:
        table: of `marked`.
        objectives: what is made small, the foremost first.
    """
    good = table[table["feasible"]]
    columns = [COLUMNS[name] for name in objectives]
    front = pareto_front(good, dict.fromkeys(columns, -1)) if len(good) else []
    order = good.assign(behind=[not one for one in front])
    rest = [name for name in COLUMNS.values() if name not in columns]
    return list(order.sort_values(["behind", *columns, *rest], kind="stable").index)


def reference_of(table: pd.DataFrame, objectives: Sequence[str], budgets: Mapping[str, float]) -> int | None:
    """Return the row of the best uniform hardware: of those that keep the budgets, or the one that exceeds them least.

    Args:
        table: of `marked`.
        objectives: as of `ranked`.
        budgets: by name.
    """
    uniform = table[table["kind"].str.startswith("uniform") & table["loss"].notna()]
    if uniform.empty:
        return None
    if found := ranked(uniform, objectives):
        return found[0]
    over = [max(excess(row, budgets).values()) for row in uniform.to_dict("records")]  # type: ignore[arg-type]
    return int(uniform.index[over.index(min(over))])


def difference(row: Mapping[str, Any], other: Mapping[str, Any], groups: Sequence[str], decisions: int) -> Any:
    """Return how many points more a candidate loses than another one on the same chips and samples, as an interval.

    Args:
        row: of the candidate, confirmed.
        other: of the other one.
        groups: of the decisions.
        decisions: how many each chip took.
    """
    own, others = (rights(one, decisions).astype(float) for one in (row, other))
    return mean_interval(100.0 * (others - own), groups)


class Winners:
    """The best candidates of a search, confirmed.

    Args:
        table: of `marked`.
        objectives: what is made small.
        budgets: by name.
        count: how many are confirmed at a time.
        epochs: of the fine-tuning each of them gets beside; 0: none.
    """

    def __init__(
        self, table: pd.DataFrame, objectives: Sequence[str], budgets: Mapping[str, float], *, count: int, epochs: int
    ) -> None:
        self.table, self.objectives, self.budgets = table, objectives, budgets
        self.count, self.epochs = count, epochs
        self.order = ranked(table, objectives)
        self.reference = reference_of(table, objectives, budgets)
        self.rows: list[dict[str, Any]] = []

    def confirm(self, measure: Measure) -> None:
        """Confirm the reference and the best candidates, and further ones until one of them keeps the budget of loss.

        Args:
            measure: returns rows for points, each with the epochs of its fine-tuning.

        Raises:
            AnalogNetsError: no candidate keeps the budgets.
        """
        if not self.order:
            raise AnalogNetsError(self._nothing(self.table))
        taken: list[int] = [] if self.reference is None else [self.reference]
        for turn in range(ROUNDS):
            more = [one for one in self.order[turn * self.count : (turn + 1) * self.count] if one not in taken]
            taken += more
            self._measure(taken if turn == 0 else more, measure)
            if self._enough(self.order[(turn + 1) * self.count :]):
                break
        if self.chosen() is None:
            raise AnalogNetsError(self._nothing(pd.DataFrame(self.rows)))

    def _enough(self, left: Sequence[int]) -> bool:
        """Whether nothing that is left to confirm was better in the search than what keeps the budgets so far."""
        chosen = self.chosen()
        if chosen is None:
            return not left
        before = self.order[: self.order.index(chosen["row"])] if chosen["row"] in self.order else self.order
        return chosen["row"] != self.reference or not {*left} & {*before}

    def _measure(self, rows: Sequence[int], measure: Measure) -> None:
        if not rows:
            return
        epochs = (0, self.epochs) if self.epochs else (0,)
        asked = [(one, count) for one in rows for count in epochs]
        found = measure([(str(self.table.loc[one, "layers"]), count) for one, count in asked])
        for (one, count), row in zip(asked, found, strict=True):
            searched: Any = self.table.loc[one].to_dict()
            whole: dict[str, Any] = {**searched, "searched_loss": searched["loss"], "epochs": count, **row, "row": one}
            self.rows.append(self._judged(whole))

    def _judged(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a measured row with `feasible`: whether it keeps the budgets."""
        good = row["status"] == "ok" and all(value <= 0 for value in excess(row, self.budgets).values())
        return {**row, "feasible": good}

    def chosen(self) -> dict[str, Any] | None:
        """Return the confirmed row that keeps the budgets and is best in the objectives, or None.

        It rests on the samples of the confirmation alone, which are those of the search: what is reported comes later.
        """
        if not self.rows:
            return None
        table = pd.DataFrame(self.rows)
        order = ranked(table, self.objectives)
        return self.rows[order[0]] if order else None

    def reference_row(self, epochs: int) -> dict[str, Any] | None:
        """Return the confirmed row of the reference with so much fine-tuning, or None."""
        found = [row for row in self.rows if row["row"] == self.reference and row["epochs"] == epochs]
        return next((row for row in found if row["status"] == "ok"), None)

    def reported(self, measure: Measure) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Return the chosen row and that of the reference, measured where nothing was decided; neither is chosen anew.

        Both keep the loss of their confirmation as `confirmed_loss`; `feasible` is whether the budgets hold here too.

        Args:
            measure: as of `confirm`, on samples and chips that took no part in the choice.

        Raises:
            AnalogNetsError: the chosen one can't be measured there.
        """
        chosen: dict[str, Any] = self.chosen()  # type: ignore[assignment]
        reference = self.reference_row(chosen["epochs"])
        rows = [chosen] if reference is None or reference["row"] == chosen["row"] else [chosen, reference]
        found = measure([(str(row["layers"]), row["epochs"]) for row in rows])
        if found[0]["status"] != "ok":
            raise AnalogNetsError(f"The chosen {chosen['label']} could not be measured. {found[0]['error']}")
        made = [
            self._judged({**row, "confirmed_loss": row["loss"], **new}) for row, new in zip(rows, found, strict=True)
        ]
        if reference is None or made[-1]["status"] != "ok":
            return made[0], None
        return made[0], made[-1]

    def _nothing(self, table: pd.DataFrame) -> str:
        """Return that nothing keeps the budgets, and what is nearest to it."""
        good = table[table["status"] == "ok"]
        records: list[dict[str, Any]] = good.to_dict("records")  # type: ignore[assignment]
        wanted = " and ".join(text_of(name, limit) for name, limit in self.budgets.items())
        if not records:
            return f"Nothing could be measured that would keep {wanted}: {table['error'].iloc[0]}"
        nearest = min(records, key=lambda row: max(excess(row, self.budgets).values()))
        has = ", ".join(text_of(name, nearest[column]) for name, column in COLUMNS.items())
        return (
            f"Nothing of {len(records)} candidates keeps {wanted}: the nearest is {nearest['label']} with {has}. Allow "
            "more, give other values, or more --trials."
        )

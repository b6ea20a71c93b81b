"""The picture of a design: loss against energy of what was tried, confirmed and reported, with the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from analognets.core.figures import COLOURS, new_figure, saved
from analognets.deploy.studies.explore import pareto_front
from analognets.errors import InvalidArgumentError

if TYPE_CHECKING:
    import pandas as pd

    from analognets.deploy.studies.design.design import Design

__all__ = ["design_figure"]


def design_figure(found: Design, path: Any = None, *, title: str = "") -> Any:
    """Draw the loss of all candidates against their energy, with the Pareto front and budgets.

    Args:
        found: from `design`.
        path: where to save it (PNG or SVG by its ending); None only returns the figure.
        title: above the axes.

    Returns:
        The matplotlib figure.

    Raises:
        InvalidArgumentError: no candidate was measured.
    """
    good = found.table.dropna(subset=["loss", "energy_uj"])
    if good.empty:
        raise InvalidArgumentError("There is nothing to draw: no candidate was measured.")
    from matplotlib.ticker import LogFormatter

    figure = new_figure(8.4, 5.0)
    axes = figure.add_subplot()
    uniform = good["kind"].str.startswith("uniform")
    others = good[~uniform]
    axes.scatter(others["energy_uj"], others["loss"], s=22, color=COLOURS[5], alpha=0.8, label="other candidates")
    axes.plot(good[uniform]["energy_uj"], good[uniform]["loss"], "s", color="#666666", ms=6, label="uniform bits")
    for _, row in good[uniform].iterrows():
        place = (row["energy_uj"], row["loss"])
        axes.annotate(str(row["label"]).partition(",")[0], place, xytext=(5, 5), textcoords="offset points", size=8)
    front = good[pareto_front(good, {"loss": -1, "energy_uj": -1})].sort_values("energy_uj")
    axes.plot(front["energy_uj"], front["loss"], "-", color="#888888", lw=1, zorder=1, label="Pareto front")
    _confirmed(axes, found)
    _budgets(axes, found.budgets)
    axes.set(
        xlabel="energy of an inference in uJ, point estimate (its range: table)",
        ylabel=f"accuracy lost after {found.at} in points",
        xscale="log",
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(LogFormatter())
    axes.grid(alpha=0.3)
    axes.set_title(title or "Loss against energy", fontsize="small", loc="left")
    figure.legend(loc="outside right upper", fontsize="x-small")
    return saved(figure, path)


def _confirmed(axes: Any, found: Design) -> None:
    """Draw what was confirmed, and what was reported on other samples, with whiskers; ring the chosen one."""
    import pandas as pd

    good = found.confirmed[found.confirmed["status"] == "ok"]
    for number, (tuned, part) in enumerate(good.groupby(good["epochs"] > 0)):
        style = {"color": COLOURS[1 + number], "fmt": "o"}
        _with_whiskers(axes, part, label="confirmed, fine-tuned" if tuned else "confirmed", **style)
    told = [row for row in (found.chosen, found.reference) if row is not None]
    _with_whiskers(axes, pd.DataFrame(told), label="reported, other samples", color="black", fmt="D")
    place = (found.chosen["energy_uj"], found.chosen["loss"])
    axes.plot(*place, "o", ms=13, mfc="none", mec="black", mew=1.6, label="chosen")


def _with_whiskers(axes: Any, rows: pd.DataFrame, **style: Any) -> None:
    """Draw losses of rows with their intervals, where these are known."""
    ends = rows[["loss_low", "loss_high"]].astype(float)
    below, above = rows["loss"] - ends["loss_low"], ends["loss_high"] - rows["loss"]
    spread = [below.fillna(0.0), above.fillna(0.0)]
    axes.errorbar(rows["energy_uj"], rows["loss"], yerr=spread, ms=6, lw=0.8, capsize=2, **style)


def _budgets(axes: Any, budgets: Mapping[str, float]) -> None:
    """Draw budgets of loss and energy as lines."""
    if "loss" in budgets:
        axes.axhline(budgets["loss"], ls="--", lw=0.8, color="black", label="budget")
    if "energy" in budgets:
        axes.axvline(budgets["energy"], ls="--", lw=0.8, color="black", label=None if "loss" in budgets else "budget")

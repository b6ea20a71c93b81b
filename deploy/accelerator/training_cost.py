"""What it costs to learn from one example: on devices with a digital accumulator, and fully digital in 32 bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

import keras

from analognets.core.checked import Section, check
from analognets.core.config import read_yaml
from analognets.deploy.accelerator.constants import Picojoule
from analognets.deploy.accelerator.costs import cost
from analognets.deploy.accelerator.design import Bits, load_accelerator
from analognets.deploy.accelerator.workload import LayerWork, Workload, workload
from analognets.errors import InvalidArgumentError, RecipeError, check_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Activity", "TrainingCost", "TrainingSystem", "load_training_system", "training_cost"]

PHASES = ("forward", "backward", "update")


class MixedEnergy(Section):
    """Energies of the update on devices.

    Args:
        accumulate: product of an input and an error, and its sum into an entry of chi.
        set_pulse: of one device.
        reset_pulse: of one device.
    """

    accumulate: Picojoule
    set_pulse: Picojoule
    reset_pulse: Picojoule


class DigitalEnergy(Section):
    """Energies of the fully digital design.

    Args:
        multiply_add: one, in 32-bit float.
        weight: reading or writing one 32-bit weight.
        activation: reading or writing one 32-bit input, output or error.
    """

    multiply_add: Picojoule
    weight: Picojoule
    activation: Picojoule


class TrainingSystem(Section):
    """The two designs that are compared.

    Args:
        name: of the pair.
        description: one sentence.
        source: of the idea.
        accelerator: name of the one that computes both products of the mixed-precision design.
        bits: of its converters.
        mixed: energies of the update.
        digital: energies of the other design.
    """

    name: str
    description: str
    source: str
    accelerator: str
    bits: Bits
    mixed: MixedEnergy
    digital: DigitalEnergy


def load_training_system(name: str = "mixed_precision") -> TrainingSystem:
    """Return the constants that come with the package.

    Raises:
        RecipeError: the file is not valid.
    """
    path = resources.files("analognets.deploy") / "accelerator" / "training" / f"{name}.yaml"
    source = f"The training system '{name}'"
    data = read_yaml(path, source=source, error=RecipeError)
    return check(TrainingSystem, data, "training system", source=source, error=RecipeError)


@dataclasses.dataclass(frozen=True)
class Activity:
    """What an example does to the devices, in the mean; all of it can be measured.

    Args:
        touched: share of a layer's chi that gets a product other than 0, 0 to 1: one number, or one by layer name.
        set_pulses: of all devices, for one example, >= 0; `DeviceLog` counts them.
        resets: likewise.

    Raises:
        InvalidArgumentError: a number is out of range.

    Examples:
        >>> activity = Activity(touched={"hidden": 0.5, "logits": 1.0}, set_pulses=20.0)
        >>> activity.share("hidden")
        0.5
    """

    touched: float | Mapping[str, float] = 1.0
    set_pulses: float = 0.0
    resets: float = 0.0

    def __post_init__(self) -> None:
        shares = self.touched if isinstance(self.touched, Mapping) else {"all": self.touched}
        for name, share in shares.items():
            check_number("Activity", f"touched[{name}]", share, 0, 1)
        for name in ("set_pulses", "resets"):
            check_number("Activity", name, getattr(self, name), 0, 1e12)

    def share(self, layer: str) -> float:
        """Return the touched share of a layer."""
        if not isinstance(self.touched, Mapping):
            return float(self.touched)
        if layer not in self.touched:
            raise InvalidArgumentError(
                f"`touched` of Activity must have every layer. Received: {', '.join(self.touched)}, without '{layer}'."
            )
        return float(self.touched[layer])


@dataclasses.dataclass(frozen=True)
class TrainingCost:
    """Energies of one example; made by `training_cost`.

    Args:
        system: the constants.
        counts: events of each design and phase, by name.
        mixed_nj: energy of each phase of the mixed-precision design in nJ.
        digital_nj: energy of each phase of the digital design in nJ.
    """

    system: TrainingSystem
    counts: Mapping[str, Mapping[str, float]]
    mixed_nj: Mapping[str, float]
    digital_nj: Mapping[str, float]

    @property
    def total_mixed_nj(self) -> float:
        """Energy of one example learned on devices, in nJ."""
        return sum(self.mixed_nj.values())

    @property
    def total_digital_nj(self) -> float:
        """Energy of one example learned digitally, in nJ."""
        return sum(self.digital_nj.values())

    @property
    def ratio(self) -> float:
        """How many times more the digital design needs."""
        return self.total_digital_nj / self.total_mixed_nj

    def calibrated(self) -> list[str]:
        """Return the names of the constants that were fitted to published totals."""
        parts = {"mixed": self.system.mixed, "digital": self.system.digital}
        return [
            f"{part}.{name}"
            for part, section in parts.items()
            for name in type(section).model_fields
            if getattr(section, name).status == "calibrated"
        ]

    def table(self) -> pd.DataFrame:
        """Return energies in nJ: one row per phase and one for all."""
        import pandas as pd

        frame = pd.DataFrame({"mixed_nj": dict(self.mixed_nj), "digital_nj": dict(self.digital_nj)}, index=list(PHASES))
        frame.loc["all"] = frame.sum()
        return frame.assign(ratio=frame["digital_nj"] / frame["mixed_nj"]).rename_axis("phase")

    def __str__(self) -> str:
        fitted = ", ".join(self.calibrated())
        return (
            f"{self.total_mixed_nj:.1f} nJ on devices, {self.total_digital_nj / 1e3:.2f} uJ digital, ratio "
            f"{self.ratio:.1f}" + (f" (calibrated: {fitted})" if fitted else "")
        )


def transposed(work: Workload) -> Workload:
    """Return the backward products: errors through the transposed kernels of all layers but the first."""
    turned = [
        LayerWork(
            name=layer.name,
            kind=layer.kind,
            kernel=(layer.cols, layer.rows),
            weights=layer.weights,
            positions=layer.positions,
            fresh=layer.cols,
            inputs=layer.outputs,
            outputs=layer.inputs,
            why_digital=layer.why_digital,
        )
        for layer in work.layers[1:]
    ]
    return Workload(work.model, tuple(turned))


def training_cost(model: keras.Model | Workload, activity: Activity, *, system: Any = None) -> TrainingCost:
    """Return what learning from one example costs.

    Both designs do, for each layer and position, a forward product, the backward product to its inputs (not for the
    first product in order; others that see the model's inputs alone are counted, as those of a second input), and the
    update by the outer product of inputs and errors:

        digital   multiply-adds x multiply_add + weight accesses x weight + numbers x activation; an update reads and
                  writes each weight
        mixed     forward and backward: the accelerator's own energy, backward with rows and columns exchanged; update:
                  touched entries of chi x accumulate + SET pulses x set_pulse + RESETs x reset_pulse

    Batches of one example; refreshes' readings, batch-norm and activations are left out on both sides.

    Args:
        model: a built Keras model, or its `Workload`.
        activity: what an example does to the devices.
        system: a `TrainingSystem`; None: the packaged one.

    Examples:
        >>> found = training_cost(model, Activity(touched=0.5, set_pulses=20.0))
        >>> type(found).__name__
        'TrainingCost'

    Source: our reconstruction; the packaged constants say which are calibrated on the published 83.2 nJ and 14.35 uJ.
    """
    constants = system or load_training_system()
    work = model if isinstance(model, Workload) else workload(model)
    design = load_accelerator(constants.accelerator)
    back = transposed(work)
    products = {"forward": cost(work, design, bits=constants.bits).energy_uj}
    products["backward"] = cost(back, design, bits=constants.bits).energy_uj if back.layers else 0.0
    touched = sum(activity.share(layer.name) * layer.weights * layer.positions for layer in work.layers)
    update = {"touched": touched, "set_pulses": activity.set_pulses, "resets": activity.resets}
    prices = constants.mixed
    mixed = {phase: 1e3 * energy for phase, energy in products.items()}
    mixed["update"] = 1e-3 * (
        touched * prices.accumulate.value
        + activity.set_pulses * prices.set_pulse.value
        + activity.resets * prices.reset_pulse.value
    )
    counts = {f"digital {phase}": _digital(work if phase != "backward" else back, phase) for phase in PHASES}
    digital = {
        phase: 1e-3
        * sum(number * getattr(constants.digital, name).value for name, number in counts[f"digital {phase}"].items())
        for phase in PHASES
    }
    return TrainingCost(constants, {**counts, "mixed update": update}, mixed, digital)


def _digital(work: Workload, phase: str) -> dict[str, float]:
    """Return the events of one phase in the digital design."""
    accesses = 2 if phase == "update" else 1
    return {
        "multiply_add": float(sum(layer.positions * layer.weights for layer in work.layers)),
        "weight": float(accesses * sum(layer.weights for layer in work.layers)),
        "activation": float(sum(layer.positions * (layer.rows + layer.cols) for layer in work.layers)),
    }

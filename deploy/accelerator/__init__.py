"""The layer-serial accelerator: where each weight lies, what each inference costs."""

from analognets.deploy.accelerator.adabs import AdaBSCost, adabs_cost
from analognets.deploy.accelerator.constants import Constant
from analognets.deploy.accelerator.costs import Cost, LayerCost, cost
from analognets.deploy.accelerator.design import Accelerator, list_accelerators, load_accelerator
from analognets.deploy.accelerator.energy import EnergyLaw, register_energy_law
from analognets.deploy.accelerator.placement import Block, Placement, place
from analognets.deploy.accelerator.schedule import LayerTime, schedule
from analognets.deploy.accelerator.workload import LayerWork, Workload, workload

__all__ = [
    "Accelerator",
    "AdaBSCost",
    "Block",
    "Constant",
    "Cost",
    "EnergyLaw",
    "LayerCost",
    "LayerTime",
    "LayerWork",
    "Placement",
    "Workload",
    "adabs_cost",
    "cost",
    "list_accelerators",
    "load_accelerator",
    "place",
    "register_energy_law",
    "schedule",
    "workload",
]

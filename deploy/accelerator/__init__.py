"""The layer-serial accelerator: where each weight lies, what each inference costs."""

from analognets.deploy.accelerator.chip import Accelerator, Constant, list_accelerators, load_accelerator
from analognets.deploy.accelerator.placement import Block, Placement, place
from analognets.deploy.accelerator.workload import LayerWork, Workload, workload

__all__ = [
    "Accelerator",
    "Block",
    "Constant",
    "LayerWork",
    "Placement",
    "Workload",
    "list_accelerators",
    "load_accelerator",
    "place",
    "workload",
]

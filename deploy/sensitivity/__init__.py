"""How sensitive a network is to what a crossbar does wrong: sweeps, two methods of comparison, and a layer study."""

from analognets.deploy.sensitivity.figures import curve_figure, heat_map, layer_figure
from analognets.deploy.sensitivity.hardware_points import default_scan, list_effects, possible_effects, with_effect
from analognets.deploy.sensitivity.layer_study import LayerStudy, layer_study
from analognets.deploy.sensitivity.method_one import equal_error_study, find_strength
from analognets.deploy.sensitivity.method_two import relative_sensitivity, threshold_study
from analognets.deploy.sensitivity.one_effect import summarize_sweep, sweep_nonideality

__all__ = [
    "LayerStudy",
    "curve_figure",
    "default_scan",
    "equal_error_study",
    "find_strength",
    "heat_map",
    "layer_figure",
    "layer_study",
    "list_effects",
    "possible_effects",
    "relative_sensitivity",
    "summarize_sweep",
    "sweep_nonideality",
    "threshold_study",
    "with_effect",
]

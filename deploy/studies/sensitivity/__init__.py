"""How sensitive a network is to what its crossbar does wrong: sweeps, equal error, thresholds, and layers."""

from analognets.deploy.studies.sensitivity.equal_error import equal_error_study, find_strength
from analognets.deploy.studies.sensitivity.figures import curve_figure, heat_map, layer_figure
from analognets.deploy.studies.sensitivity.layer_study import LayerStudy, layer_study
from analognets.deploy.studies.sensitivity.one_effect import summarize_sweep, sweep_nonideality
from analognets.deploy.studies.sensitivity.threshold import relative_sensitivity, threshold_study

__all__ = [
    "LayerStudy",
    "curve_figure",
    "equal_error_study",
    "find_strength",
    "heat_map",
    "layer_figure",
    "layer_study",
    "relative_sensitivity",
    "summarize_sweep",
    "sweep_nonideality",
    "threshold_study",
]

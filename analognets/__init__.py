"""The Keras way from a trained network to an analog in-memory chip.

Everything below loads on first use, so that `import analognets` stays free of TensorFlow:

    import analognets as an

    analog = an.to_analog(model, hardware="aon_cim_8bit")
    chips = an.deploy.program(analog, chips=25, seed=0)
"""

from __future__ import annotations

from analognets._version import __version__

__all__ = ["__version__"]

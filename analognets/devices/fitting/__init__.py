"""From tables of measured cells to a device: reading, laws, maximum likelihood, bootstrap, pictures, verdict."""

from analognets.devices.fitting.fit import DeviceFit, fit_device

__all__ = ["DeviceFit", "fit_device"]

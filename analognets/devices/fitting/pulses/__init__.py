"""From tables of pulse numbers and conductances to a pulsed device: reading, likelihood, laws, pictures, verdict."""

from analognets.devices.fitting.pulses.headers import is_pulsed

__all__ = ["is_pulsed"]

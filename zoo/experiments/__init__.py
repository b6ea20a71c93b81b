"""Experiments that are no two-stage training: learning with spikes."""

"""Simulated chips: programmed, stored, read at any time, run and evaluated."""

"""Accuracy over time without simulated chips."""

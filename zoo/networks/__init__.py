"""Builders of the networks of the zoo; each returns a plain Keras model."""

"""The version of analognets."""

__all__ = ["__version__"]

__version__ = "0.1.0"

"""What every room uses and none owns: files, configuration, provenance, figures, seeds."""

__all__: list[str] = []

"""From tables of measured cells to a device: reading, laws, maximum likelihood, bootstrap, pictures, verdict."""

__all__: list[str] = []

"""Exchange with a laboratory: target conductances out, measured conductances in."""

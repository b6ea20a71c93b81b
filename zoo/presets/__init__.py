"""Presets: trained networks in folders that are checked before they are read."""

"""Studies over many chips: sweeps, sensitivity, exploration, comparison."""

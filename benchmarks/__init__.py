"""Speed measured as ratios to plain Keras within one run: python -m benchmarks.hwa_step."""

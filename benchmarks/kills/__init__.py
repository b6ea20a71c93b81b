"""Commands killed at their file operations and at random moments; `benchmarks.kill_commands` and a test run them."""

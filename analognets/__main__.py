"""`python -m analognets` is the `analognets` command."""

from __future__ import annotations

from analognets.cli.app import main

if __name__ == "__main__":
    main()

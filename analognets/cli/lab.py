"""`analognets lab`: the lab page in a browser."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from analognets.cli import _console
from analognets.cli.options import Quiet

__all__ = ["lab"]

Start = Annotated[str | None, typer.Argument(metavar="[PRESET]", help="The network to begin with.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Only print the address.")]
Write = Annotated[
    Path | None, typer.Option(help="Write the page into this folder, for a web site or a machine without Python.")
]


def lab(
    preset: Start = None, port: Port = 8421, no_browser: NoBrowser = False, out: Write = None, quiet: Quiet = False
) -> None:
    """Open a page that hears words or sees persons with an ageing chip; all of it is computed in the browser."""
    from analognets.deploy.page.files import write_page
    from analognets.deploy.page.server import LabServer

    reporter = _console.Reporter(quiet=quiet)
    if out is not None:
        reporter.say(f"Written: {write_page(out, start=preset or '')}")
        return
    with LabServer(port, start=preset or "") as server:
        reporter.say(server.url)
        reporter.note("The lab page is at this address, for browsers of this machine. Ctrl-C ends it.")
        if not no_browser:
            import webbrowser

            webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()

"""Takes the pictures of the lab page that the documentation shows: python web/screenshots.py.

Needs the package playwright, and Chromium on PATH.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

from analognets.deploy.page.server import LabServer

TARGET = Path(__file__).resolve().parents[1] / "docs/_static"
VIEWS = {
    "lab_desktop": {"viewport": {"width": 1100, "height": 900}},
    "lab_phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}


def main() -> None:
    """Write both pictures."""
    with LabServer(0) as server, sync_playwright() as driver:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, settings in VIEWS.items():
            context = browser.new_context(**settings)
            page = context.new_page()
            page.goto(server.url)
            page.evaluate("analognetsLab.idle()")
            page.select_option("#compensation", "global")
            page.click("text='1 y'")
            page.evaluate("analognetsLab.idle()")
            page.evaluate("document.getElementById('speed').hidden = true")  # that of this machine
            page.screenshot(path=TARGET / f"{name}.png", full_page=True)
            context.close()
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()

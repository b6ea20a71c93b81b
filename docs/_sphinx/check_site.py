"""Checks a built site offline: every link leads somewhere, no file is from elsewhere, every public name is described.

python docs/_sphinx/check_site.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from public_names import PublicNames

__all__ = ["Page", "broken_links", "main", "missing_names"]

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The targets, links and loaded files of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in LOADED and found.get("rel") not in ("canonical", "next", "prev", "index", "search"):
            self.loaded.append(found.get(LOADED[tag], ""))


def broken_links(site: Path) -> Iterator[str]:
    """Yield one line for each link of a site that leads nowhere, and for each file from another server.

    Args:
        site: folder of the built pages.
    """
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        here = path.relative_to(site.resolve())
        for address in page.loaded:
            if urlsplit(address).netloc:
                yield f"{here}: loads {address}"
        for address in [*page.links, *page.loaded]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not address:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{here}: {address} does not exist"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{here}: {address} has no such place"


def missing_names(site: Path, names: PublicNames) -> Iterator[str]:
    """Yield each public name that the reference of a site does not describe.

    Args:
        site: folder of the built pages.
        names: of the package.
    """
    for module in names.files:
        path = site / "api" / f"{module}.html"
        if not path.is_file():
            yield module
    described = set().union(*(Page(path.read_text("utf-8")).ids for path in (site / "api").glob("*.html")))
    for module in names.files:
        for entry in names.entries(module):
            if entry.kind != "module" and f"{names.places[entry.key]}.{entry.name}" not in described:
                yield f"{module}.{entry.name}"


def main(arguments: list[str]) -> int:
    """Check the site in the folder that is named; return 1 if something is wrong.

    Args:
        arguments: the folder.
    """
    site = Path(arguments[0])
    faults = list(broken_links(site))
    faults += [f"not in the reference: {name}" for name in missing_names(site, PublicNames(_root()))]
    print("\n".join(faults) or f"{len(list(site.rglob('*.html')))} pages: all links lead somewhere")
    return int(bool(faults))


def _root() -> Path:
    return Path(__file__).resolve().parents[2]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Whether a page can be read: its width, the contrast of its texts, and names of all controls for those who hear it."""

from __future__ import annotations

from hosts.page_browser import PageBrowser
from hosts.page_contrast import CONTRAST

_CONTROLS = ("button", "link", "textbox", "searchbox", "combobox", "table", "region", "log", "DisclosureTriangle")


def unreadable(page: PageBrowser, width: int) -> list[str]:
    """Return what cannot be read at this width of the window, which the caller has set."""
    found = [f"{each} has too little contrast" for each in page.run(CONTRAST)]
    if (wide := page.run("document.documentElement.scrollWidth")) > width:
        found.append(f"the page is {wide} wide")
    for node in nodes_of(page):
        if node.get("role", {}).get("value") in _CONTROLS and not node.get("name", {}).get("value"):
            found.append(f"{node} has no name")
    return found


def nodes_of(page: PageBrowser) -> list[dict[str, dict[str, str]]]:
    """Return what a screen reader has."""
    return [node for node in page.ask("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]

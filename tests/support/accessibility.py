"""What axe-core finds on a page that keeps people out who do not see, hear or point as others do."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")


def grave_findings(page: Page) -> list[str]:
    """Rules that a page breaks seriously or critically as it stands, each with the elements that do."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{one['impact']} {one['id']}: {node['target']} {node['html'][:120]} {node.get('failureSummary', '')}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"][:3]
    ]

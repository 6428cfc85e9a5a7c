"""axe-core, which knows the rules for pages that everybody can use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from playwright.sync_api import Page

from book.vendor import CACHE, Package, unpack

AXE = Package(
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)


@dataclass(frozen=True)
class Finding:
    """A rule that an element breaks.

    Attributes:
        rule: axe's name for it.
        target: The element, as a CSS selector.
        html: How the element begins.
        reason: What is wrong, in axe's words.
    """

    rule: str
    target: str
    html: str
    reason: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.target}: {self.reason}\n    {self.html}"


def findings(page: Page, *rules: str) -> list[Finding]:
    """Return what axe finds on a page, as it is shown now.

    Args:
        page: The page.
        rules: Names of rules, where others need not be tried.
    """
    if not page.evaluate("typeof axe === 'object'"):
        page.add_script_tag(content=_script())
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    found = page.evaluate("async (options) => (await axe.run(options)).violations", options)
    return [
        Finding(
            rule["id"],
            " ".join(str(part) for part in node["target"]),
            node["html"][:200],
            " ".join(node["failureSummary"].split()),
        )
        for rule in found
        for node in rule["nodes"]
    ]


@cache
def _script() -> str:
    """Return axe's code: npm loads it once, and its checksum is looked at."""
    unpack(AXE, ["axe.min.js"], CACHE)
    return (CACHE / "axe.min.js").read_text(encoding="utf-8")

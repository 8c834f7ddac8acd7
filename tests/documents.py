"""Reads what the pages of the documentation say can be typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is (if any), and its text."""

    language: str
    title: str
    text: str

    @property
    def is_typed(self) -> bool:
        """Whether a reader does something with it: runs it, or writes it to a file."""
        return self.language in {"sh", "python"} or bool(self.title)


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page; ``console`` is for machines that are not here."""
    found = _BLOCK.finditer(page.read_text())
    return [Block(m["language"], m["title"] or "", m["text"]) for m in found]

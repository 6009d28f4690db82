"""The documents as the tests read them: files, sections by heading, tables, fenced examples."""

from __future__ import annotations

import re
from pathlib import Path

import capacity

ROOT = Path(capacity.__file__).parent.parent
PACKAGE = ROOT / "capacity"
README = ROOT / "README.md"
PROTOCOL = ROOT / "docs" / "protocol.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def section(path: Path, title: str) -> str:
    """Return the text under a heading, up to the next of the same rank or above. Fails if there is not exactly one."""
    lines = path.read_text("utf-8").splitlines()
    found = [number for number, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(title)}", line)]
    assert len(found) == 1, f"{path.name}: expected one heading {title!r}, got {len(found)}"
    (start,) = found
    rank = len(lines[start]) - len(lines[start].lstrip("#"))
    text: list[str] = []
    for line in lines[start + 1 :]:
        marks = len(line) - len(line.lstrip("#"))
        if 0 < marks <= rank and line[marks : marks + 1] == " ":
            break
        text.append(line)
    return "\n".join(text)


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row, heads included."""
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line)
    ]


def words(text: str) -> set[str]:
    """Return everything that stands alone between backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def examples(text: str) -> list[str]:
    """Return the fenced JSON examples."""
    return re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str, title: str | None = None) -> list[str]:
    """Return the fenced blocks of a language, of the whole document or of the section under a heading, in order."""
    text = path.read_text("utf-8") if title is None else section(path, title)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def addresses(path: Path) -> list[str]:
    """Return where the links of a document lead."""
    return re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

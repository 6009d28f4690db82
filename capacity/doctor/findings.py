"""What the doctor finds: one line that says what is, and one that says how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from rich.text import Text

Verdict = Literal["ok", "warning", "problem"]
"""`problem`: seats, events or money are at risk as it is, or it does not work. `warning`: it may become so, or could not be seen."""
SEVERITY: tuple[Verdict, ...] = ("ok", "warning", "problem")
_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
_NAME_CHARACTERS = 15


class Finding(msgspec.Struct, frozen=True):
    """One check. `where` are the servers of a cluster that it is about, empty where there is one thing to look at."""

    check: str
    verdict: Verdict
    found: str
    mend: str = ""
    where: tuple[str, ...] = ()


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, mend: str) -> Finding:
    """Something to think about."""
    return Finding(check, "warning", found, mend)


def problem(check: str, found: str, mend: str) -> Finding:
    """Something to mend."""
    return Finding(check, "problem", found, mend)


def together(of_servers: Iterable[tuple[str, Iterable[Finding]]]) -> list[Finding]:
    """Return what was found on several servers: one finding for those of which the same holds. A lone server has no name."""
    grouped: dict[Finding, list[str]] = {}
    for server, findings in of_servers:
        for finding in findings:
            grouped.setdefault(finding, []).append(server)
    found = [
        msgspec.structs.replace(finding, where=tuple(sorted(filter(None, servers))))
        for finding, servers in grouped.items()
    ]
    checks = list(dict.fromkeys(finding.check for finding in found))
    return sorted(found, key=lambda finding: checks.index(finding.check))


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the worst verdict."""
    return max((finding.verdict for finding in findings), key=SEVERITY.index, default="ok")


def document(findings: list[Finding]) -> dict[str, Any]:
    """Return the findings for scripts."""
    return {"verdict": worst(findings), "findings": findings}


def lines(findings: list[Finding]) -> Text:
    """Return the findings for people."""
    text = Text()
    servers = {server for finding in findings for server in finding.where}
    for finding in findings:
        everywhere = len(servers) > 1 and servers == set(finding.where)
        where = f"all {len(servers)}: " if everywhere else ", ".join(finding.where) + ": " * bool(finding.where)
        text.append(f"{finding.verdict:<8}", _STYLES[finding.verdict])
        text.append(f" {finding.check:<{_NAME_CHARACTERS}} {where}{finding.found}\n")
        if finding.mend:
            text.append(f"{'':<8} {'':<{_NAME_CHARACTERS}} → {finding.mend}\n", "dim")
    counts = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in reversed(SEVERITY)}
    text.append(", ".join(_counted(count, verdict) for verdict, count in counts.items()))
    return text


def _counted(count: int, verdict: Verdict) -> str:
    return f"{count} {verdict}" + ("s" if verdict != "ok" and count != 1 else "")

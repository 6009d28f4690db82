"""`/asyncapi.json` as a test reads it, and how what really passes is held to it."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from tests.support.described import closed


class AsyncApi:
    """The document, and what was seen of it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.seen: set[tuple[str, str]] = set()
        """(operation, message) of everything that passed."""
        self._components = closed(document["components"])

    def described(self) -> set[tuple[str, str]]:
        """Return every (operation, message), and of operations with a reply (operation, "→ message")."""
        found = set()
        for name, operation in self.document["operations"].items():
            found |= {(name, _last(message)) for message in operation["messages"]}
            found |= {(name, f"→ {_last(message)}") for message in operation.get("reply", {}).get("messages", [])}
        return found

    def passed(self, operation: str, message: dict[str, Any], *, reply: bool = False) -> None:
        """Hold one message to those of an operation: exactly one of them must describe it, with no field too few or too many."""
        described = self.document["operations"][operation]
        refs = described["reply"]["messages"] if reply else described["messages"]
        fitting = [_last(ref) for ref in refs if self._validator(_last(ref)).is_valid(message)]
        assert len(fitting) == 1, f"{operation} describes {message} as {fitting or 'nothing'}"
        self.seen.add((operation, f"→ {fitting[0]}" if reply else fitting[0]))

    def _validator(self, name: str) -> Draft202012Validator:
        payload = self.document["components"]["messages"][name]["payload"]
        return Draft202012Validator(
            {**payload, "components": self._components}, format_checker=Draft202012Validator.FORMAT_CHECKER
        )


def _last(ref: dict[str, str]) -> str:
    return ref["$ref"].rpartition("/")[2]

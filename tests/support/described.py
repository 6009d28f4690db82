"""`/openapi.json` as a test reads it, and how a live answer is held to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
from jsonschema import Draft202012Validator

METHODS = ("get", "put", "post", "delete")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of every operation."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def codes(response: dict[str, Any]) -> list[str | None]:
    """Return the codes that a described response may carry; [None] for one that is no refusal."""
    media = response["content"].get("application/problem+json")
    return media["schema"]["allOf"][1]["properties"]["code"]["enum"] if media else [None]


def described_answers(document: dict[str, Any]) -> set[tuple[str, str, int, str | None]]:
    """Return everything that may be answered: method, path, status, code (None: no refusal)."""
    return {
        (method, path, int(status), code)
        for method, path, operation in operations(document)
        for status, response in operation["responses"].items()
        for code in codes(response)
    }


def check(document: dict[str, Any], described: dict[str, Any], response: httpx.Response) -> None:
    """Hold a live answer to what is described: media type, headers, and no field too few or too many."""
    media_type = response.headers["content-type"]
    assert media_type in described["content"]
    for header in described.get("headers", {}):
        assert response.headers[header]
    schema = described["content"][media_type]["schema"]
    if media_type.startswith("text/"):
        assert response.text
        return
    Draft202012Validator(
        {**schema, "components": closed(document["components"])}, format_checker=Draft202012Validator.FORMAT_CHECKER
    ).validate(response.json())


def closed(components: dict[str, Any]) -> dict[str, Any]:
    """Return the same schemas, but a field that none of them names is an error."""
    return {
        "schemas": {
            name: schema | {"additionalProperties": False} if "properties" in schema else schema
            for name, schema in components["schemas"].items()
        }
    }


def body_validator(document: dict[str, Any], method: str, path: str, media_type: str) -> Draft202012Validator:
    """Return what tells whether something is a body of the operation."""
    content = document["paths"][path][method]["requestBody"]["content"]
    return Draft202012Validator({**content[media_type]["schema"], "components": document["components"]})

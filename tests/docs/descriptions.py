"""The descriptions for machines, as files: `python -m tests.docs.descriptions` writes them anew (make descriptions)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import msgspec

from capacity.app import build
from capacity.settings import Settings
from tests.docs.documents import ROOT

FILES = {path: ROOT / "docs" / path.removeprefix("/") for path in ("/openapi.json", "/asyncapi.json")}


async def described(path: str) -> str:
    """Return what a server answers at a path, laid out for people. No store is asked for it."""
    settings = Settings(data_dir=Path("none"), redis_url="redis://127.0.0.1:1", token_key="x" * 32)
    application = build(settings)
    transport = httpx.ASGITransport(app=application.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get(path)
    await application.hub.clients.aclose()
    return msgspec.json.format(answer.content, indent=2).decode() + "\n"


if __name__ == "__main__":
    for path, file in FILES.items():
        file.write_text(asyncio.run(described(path)), "utf-8")

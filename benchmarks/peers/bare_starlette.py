"""Starlette on uvicorn with uvloop and httptools: the same framework as an ordinary application, without a store."""

from __future__ import annotations

import os

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

SEATS = int(os.environ["CAPACITY_SEATS"])

clients: set[WebSocket] = set()
seated: set[str] = set()
waiting: dict[str, None] = {}


def decide(participant: str) -> dict[str, object]:
    """Seat a participant, or line it up."""
    if len(seated) < SEATS:
        seated.add(participant)
        return {"type": "seated", "participant": participant, "seat_limit": SEATS, "occupied": len(seated)}
    waiting[participant] = None
    return {"type": "waiting", "participant": participant, "position": len(waiting)}


async def broadcast(text: str, sender: WebSocket) -> None:
    """Send a text to everybody else, one after the other: cheaper than a task for each."""
    for client in list(clients):
        if client is not sender:
            try:
                await client.send_text(text)
            except WebSocketDisconnect:
                clients.discard(client)


async def join(websocket: WebSocket) -> None:
    """Serve one connection."""
    participant = websocket.query_params["id"]
    await websocket.accept()
    try:
        await websocket.send_json(decide(participant))
        clients.add(websocket)
        async for text in websocket.iter_text():
            if participant == "control":
                await broadcast(text, websocket)
    except WebSocketDisconnect:
        pass
    finally:
        clients.discard(websocket)
        seated.discard(participant)
        waiting.pop(participant, None)


if __name__ == "__main__":
    uvicorn.run(
        Starlette(routes=[WebSocketRoute("/", join)]),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
    )

"""A WebSocket that sends back what it received, for tests of frames that are no messages of ours."""

from __future__ import annotations

from capacity.web import frames
from capacity.web.websocket import WebSocket


class Echo(WebSocket):
    """The production WebSocket, but for the meaning of messages: all of them are let in, and sent back."""

    _opcode = frames.TEXT

    def _data(self, opcode: int, final: bool, payload: bytes) -> None:
        if self._fragments is None and opcode != frames.CONTINUATION:
            self._opcode = opcode
            opcode = frames.TEXT  # production knows no other
        super()._data(opcode, final, payload)

    def _message(self, payload: bytes) -> None:
        if self._opcode == frames.TEXT:
            super()._message(payload)
        else:
            self._text_received(payload)

    def _text_received(self, text: bytes) -> None:
        length = len(text)
        if length < 126:
            size = bytes((length,))
        elif length < 65536:
            size = b"\x7e" + length.to_bytes(2, "big")
        else:
            size = b"\x7f" + length.to_bytes(8, "big")
        self.send(bytes((frames.FIN | self._opcode,)) + size + text)

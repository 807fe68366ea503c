"""uvicorn's WebSocket protocol, without an error in the log for each client that is refused."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Takes an HTTP response as the end of a handshake.

    uvicorn does so only for `websocket.close`. After a response with a status, such as 401, it logs that the
    application has not completed the handshake.
    """

    async def send(self, message: Any) -> None:
        """Send an ASGI message."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

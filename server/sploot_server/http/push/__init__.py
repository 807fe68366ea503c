"""Push channel: embedding updates over WebSocket and server-sent events."""

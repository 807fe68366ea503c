"""Pure rules without asyncio, clock, randomness, files or sockets. Time and randomness are arguments."""

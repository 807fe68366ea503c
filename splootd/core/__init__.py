"""Pure rules: no asyncio, clock, chance, file or socket. Time and chance are arguments."""

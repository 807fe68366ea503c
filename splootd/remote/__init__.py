"""Client side of the Sploot API: connections, requests, and parsing of responses."""

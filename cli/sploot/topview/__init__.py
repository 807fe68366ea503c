"""The full-screen view, one subject a file. Only `sploot top` imports it: Textual takes time to import."""

"""Post-upload actions on local files (keep, trash, move) and their undo."""

"""Starts the daemon at login: systemd, launchd or the desktop's autostart."""

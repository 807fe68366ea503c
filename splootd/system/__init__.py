"""The environment of the daemon: local server, clock, network, desktop notifications, service manager, maintenance."""

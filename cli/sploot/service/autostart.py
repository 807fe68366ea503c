"""An entry in the autostart folder of the desktop, for systems without a service manager."""

import os
from pathlib import Path

from sploot.service.unit_files import ServiceIdentity, render_desktop_entry


class Autostart:
    """Writes a desktop entry, which starts the daemon at the next login. Until then, the first command starts it."""

    kind = "autostart"
    log_command = "sploot logs"

    def __init__(self, identity: ServiceIdentity) -> None:
        self.identity = identity

    def files(self) -> dict[Path, str]:
        """Return the desktop entry and its contents."""
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return {config / "autostart" / f"{self.identity.name}.desktop": render_desktop_entry(self.identity)}

    def load(self) -> None: ...

    def reload(self) -> None: ...

    def unload(self) -> None: ...

    def start_listening(self) -> bool:
        """Return False: only the daemon itself listens on the socket."""
        return False

    def start(self) -> None: ...

    def is_enabled(self) -> bool:
        return all(file.exists() for file in self.files())

    def is_lingering(self) -> bool | None:
        return None

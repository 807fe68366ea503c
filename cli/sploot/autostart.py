"""The daemon as an entry of the desktop's autostart, where there is no service manager: started at login, once."""

import os
from pathlib import Path

from sploot.unit import Place, desktop_entry


class Autostart:
    """A file is all there is to it: the desktop reads it at the next login; until then, commands start the daemon."""

    kind = "autostart"
    log_command = "sploot logs"

    def __init__(self, place: Place) -> None:
        self.place = place

    def files(self) -> dict[Path, str]:
        """What is to be written where."""
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return {config / "autostart" / f"{self.place.name}.desktop": desktop_entry(self.place)}

    def load(self) -> None: ...

    def reload(self) -> None: ...

    def unload(self) -> None: ...

    def listen(self) -> bool:
        """Nobody holds the socket but the daemon itself."""
        return False

    def start(self) -> None: ...

    def is_enabled(self) -> bool:
        return all(file.exists() for file in self.files())

    def is_lingering(self) -> bool | None:
        return None

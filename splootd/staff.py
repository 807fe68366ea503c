"""Who works in the daemon beside those who always do."""

import os
import sys
from collections.abc import Iterator
from typing import Protocol

from splootd.config import Config
from splootd.control.answers import Answers
from splootd.control.scrape import Scrape
from splootd.gate import Gate
from splootd.work.courtesy import Courtesy
from splootd.work.embedded import EmbeddedLibrary
from splootd.work.metered import ASKING, Metered
from splootd.work.notifier import Notifier, command_of, is_wanted


class Worker(Protocol):
    """What the composition root knows of each worker."""

    async def run(self) -> None: ...


def hosts(gate: Gate, library: EmbeddedLibrary) -> list[Worker]:
    """What it takes to have the library in the house."""
    gate.server_down("the embedded library is starting")
    return [library]


def guests(config: Config, gate: Gate, courtesy: Courtesy, metered: Metered) -> list[Worker]:
    """The manners towards a server that others use too, over a network that may cost."""
    if config.metered == "send":
        return [courtesy]
    gate.hold(ASKING)
    return [courtesy, metered]


def listeners(config: Config, answers: Answers, scrape: Scrape) -> Iterator[Worker]:
    """Whoever is told by itself, where the user wants that."""
    if is_wanted(config.notify, os.environ):
        yield Notifier(answers.needs, command_of(sys.platform))
    if config.metrics_port:
        yield scrape

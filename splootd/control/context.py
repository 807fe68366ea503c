"""Dependencies of the request handlers."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from splootd.clock import Clock
from splootd.config import Config, Paths
from splootd.core.adaptive_concurrency import AdaptiveConcurrency
from splootd.credentials import Credentials
from splootd.embeddings.push_subscriptions import PushSubscriptions
from splootd.event_bus import EventBus, WakeSignals
from splootd.metrics import MetricsCollector
from splootd.metrics.rss import RssSamples
from splootd.post_upload.post_upload import PostUploadProcessor
from splootd.protocol import ActionRequired
from splootd.remote.client import SplootClient
from splootd.remote.image_proxy import ImageProxy
from splootd.remote.library_client import LibraryClient
from splootd.store.database import Database
from splootd.store.folders import FolderStore
from splootd.store.idempotency import IdempotencyStore
from splootd.store.imports import ImportStore
from splootd.store.ledger import Ledger
from splootd.store.move_journal import MoveJournal
from splootd.store.queue import Queue
from splootd.store.read_queries import ReadQueries
from splootd.store.settings import SettingsStore
from splootd.upload.admission import AdmissionController
from splootd.watch.importer import Importer
from splootd.watch.watcher import Watcher

LOCAL_SERVER_TIMEOUT_S = 30.0


class WebUi(Protocol):
    """The part of the web UI that request handlers use."""

    @property
    def origin(self) -> str | None:
        """`http://HOST:PORT`, or None while the web UI has never been opened."""

    async def create_login_url(self, *, reset: bool, asset_id: str | None) -> str:
        """Return a URL that is valid once and for a short time. Raises RequestError when the port cannot be opened."""


@dataclass(frozen=True, slots=True)
class Context:
    """Stores and workers of the daemon.

    `shutdown` starts the shutdown, `restart` a restart with the changed configuration; `extra_actions_required` returns
    the problems reported by optional workers, `server_activity` what the local server does in the background.
    """

    instance_id: str
    config: Config
    clock: Clock
    wake_signals: WakeSignals
    event_bus: EventBus
    read_queries: ReadQueries
    queue: Queue
    import_store: ImportStore
    folder_store: FolderStore
    idempotency_store: IdempotencyStore
    settings_store: SettingsStore
    importer: Importer
    watcher: Watcher
    client: SplootClient
    library_client: LibraryClient
    image_proxy: ImageProxy
    push_subscriptions: PushSubscriptions
    database: Database
    ledger: Ledger
    move_journal: MoveJournal
    post_upload: PostUploadProcessor
    admission: AdmissionController
    metrics: MetricsCollector
    rss: RssSamples
    adaptive_concurrency: AdaptiveConcurrency
    credentials: Credentials
    web_ui: WebUi
    paths: Paths
    shutdown: Callable[[], None]
    restart: Callable[[], None]
    extra_actions_required: Callable[[], Sequence[ActionRequired]] = tuple
    server_activity: Callable[[], str | None] = lambda: None

    async def wait_for_local_server(self) -> None:
        """Wait for the local server, which may be starting. A remote server is not waited for."""
        if self.config.is_local:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOCAL_SERVER_TIMEOUT_S):
                    await self.admission.wait_until_reachable()

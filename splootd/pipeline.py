"""Builds the stores and the upload pipeline, for the daemon and for the simulation tests."""

from dataclasses import dataclass

from splootd.clock import Clock
from splootd.config import Config, Paths
from splootd.core import timetable
from splootd.credentials import Credentials, TokenOrigins, token_subject
from splootd.embeddings.embedding_tracker import EmbeddingTracker
from splootd.embeddings.push_client import PushClient
from splootd.embeddings.push_subscriptions import PushSubscriptions
from splootd.event_bus import WakeSignals
from splootd.file_reader import MemoryBudget
from splootd.metrics import MetricsCollector
from splootd.remote.bandwidth_limiter import BandwidthLimiter
from splootd.remote.client import SplootClient
from splootd.server_url import get_origin
from splootd.store.accounts import open_account
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
from splootd.upload.uploader import Uploader
from splootd.watch.importer import Importer


def find_configured_account(config: Config, paths: Paths) -> str | None:
    """Return the user id of SPLOOT_TOKEN, if it names one and does not belong to another server."""
    origins, origin = TokenOrigins(paths.token_file), get_origin(config.server)
    is_sent = not config.is_local and not origins.is_foreign(config.token, origin)
    return token_subject(config.token) if is_sent else None


@dataclass(frozen=True, slots=True)
class Stores:
    """Stores of one account of a server. `account` is its user id, if a token has named it."""

    account: str | None
    queue: Queue
    ledger: Ledger
    import_store: ImportStore
    folder_store: FolderStore
    read_queries: ReadQueries
    move_journal: MoveJournal
    idempotency_store: IdempotencyStore
    settings_store: SettingsStore

    @classmethod
    async def open(
        cls,
        database: Database,
        server: str,
        account: str | None = None,
        *,
        instance_id: str,
        wake_signals: WakeSignals,
    ) -> "Stores":
        """Open the stores of `account`, or of the account that signed in last."""
        server_row_id, account = await open_account(database, server, account)
        return cls(
            account=account,
            queue=Queue(database, server_id=server_row_id, instance_id=instance_id, wake_signals=wake_signals),
            ledger=Ledger(database, server_id=server_row_id),
            import_store=ImportStore(database, server_id=server_row_id, wake_signals=wake_signals),
            folder_store=FolderStore(database, server_id=server_row_id),
            read_queries=ReadQueries(database, server_id=server_row_id),
            move_journal=MoveJournal(database, server_id=server_row_id, wake_signals=wake_signals),
            idempotency_store=IdempotencyStore(database),
            settings_store=SettingsStore(database),
        )


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Workers from a local file to a searchable asset. The caller must close `client`."""

    credentials: Credentials
    client: SplootClient
    admission: AdmissionController
    metrics: MetricsCollector
    push_subscriptions: PushSubscriptions
    importer: Importer
    uploader: Uploader
    push_client: PushClient
    tracker: EmbeddingTracker

    @classmethod
    def build(
        cls, stores: Stores, config: Config, paths: Paths, *, clock: Clock, wake_signals: WakeSignals
    ) -> "Pipeline":
        socket = paths.local_server_socket if config.is_local else None
        credentials = Credentials(
            paths.token_file,
            clock,
            origin=get_origin(config.server),
            token=config.token,
            token_command=config.token_command,
            account=stores.account,
        )
        client = SplootClient(
            config.server,
            credentials=credentials,
            connections=config.connections,
            socket=socket,
            bandwidth_limiter=BandwidthLimiter(
                timetable.parse("" if config.is_local else config.bandwidth_limit), clock
            ),
            may_send_names=config.send_file_names == "yes",
        )
        admission, metrics, push_subscriptions = (
            AdmissionController(clock, credentials),
            MetricsCollector(clock),
            PushSubscriptions(wake_signals.embedding),
        )
        uploader = Uploader(
            stores.queue,
            stores.ledger,
            client,
            admission,
            budget=MemoryBudget(config.read_buffer_bytes),
            clock=clock,
            wake_signals=wake_signals,
            metrics=metrics,
            settle_s=config.settle_s,
        )
        push_client = PushClient(
            config.server,
            push_subscriptions,
            credentials=credentials,
            clock=clock,
            wait_until_reachable=admission.wait_until_reachable,
            socket=socket,
        )
        embedding_timeout_s = config.embedding_timeout_s
        return cls(
            credentials=credentials,
            client=client,
            admission=admission,
            metrics=metrics,
            push_subscriptions=push_subscriptions,
            importer=Importer(stores.import_store, stores.folder_store, clock, settle_s=config.settle_s),
            uploader=uploader,
            push_client=push_client,
            tracker=EmbeddingTracker(
                stores.queue,
                client,
                admission,
                clock,
                wake_signals,
                subscriptions=push_subscriptions,
                embedding_timeout_s=embedding_timeout_s,
            ),
        )

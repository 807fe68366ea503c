"""Ask the server whether it responds, at the start and whenever requests wait for long."""

import asyncio
from itertools import chain, repeat

from splootd.errors import ConnectionLost, ResourceExhausted, ServerError, Unreachable
from splootd.logs import get_logger
from splootd.remote.client import SplootClient
from splootd.remote.silence import NOTICE_S
from splootd.upload.admission import AdmissionController

FAILED_DELAYS_S = (NOTICE_S, 15.0, 60.0)  # after one, two, and more failed requests in a row


class SilenceMonitor:
    """Asks for the server's health aside while requests wait: its silence speaks for all connections at once.

    Without it, an unresponsive server would be noticed only after several timeouts in a row.
    """

    def __init__(self, client: SplootClient, admission: AdmissionController) -> None:
        self._client = client
        self._admission = admission
        self._silence = client.silence
        self._log = get_logger("silence")

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._check_sign_in())
            group.create_task(self._watch())

    async def _check_sign_in(self) -> None:
        """Ask for the limits until the server answers, so that its state is known before the first upload."""
        for delay_s in chain(FAILED_DELAYS_S, repeat(FAILED_DELAYS_S[-1])):
            await self._admission.wait_until_reachable()
            try:
                await self._client.limits()
            except (ServerError, ResourceExhausted) as error:
                self._admission.control_failed(error)
                await asyncio.sleep(delay_s)
            else:
                self._admission.control_ok()
                return

    async def _watch(self) -> None:
        while True:
            await self._silence.is_waiting.wait()
            if (left_s := NOTICE_S - self._silence.seconds) > 0:
                await asyncio.sleep(left_s)
            else:
                await self._ask_until_it_responds()

    async def _ask_until_it_responds(self) -> None:
        for delay_s in chain(FAILED_DELAYS_S, repeat(FAILED_DELAYS_S[-1])):
            if await self._responds():
                return
            await asyncio.sleep(NOTICE_S if self._silence.seconds else delay_s)

    async def _responds(self) -> bool:
        """Ask once for the server's health, and report a failure of the connection to the admission controller."""
        try:
            await self._client.health(aside=True)
        except (Unreachable, ConnectionLost) as error:
            silence_s = self._silence.seconds
            self._log.info("no response to a health request", reason=error.title, silence_s=round(silence_s, 1))
            if not silence_s:
                self._admission.control_failed(error)
            return False
        except (ServerError, ResourceExhausted):
            return True  # an error is a response, too
        self._admission.control_ok()
        return True

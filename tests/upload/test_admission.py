"""Admission control: which uploads get a permit and when, without polling."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pipeline_fixtures import JumpClock

from splootd.core.circuit_breaker import FAILURE_THRESHOLD, RESET_TIMEOUT_S
from splootd.credentials import Credentials
from splootd.errors import (
    ConnectionLost,
    InternalServerError,
    LibraryFull,
    RateLimited,
    ResourceExhausted,
    TokenCommandFailed,
    Unauthenticated,
    Unreachable,
    UploadForbidden,
)
from splootd.upload.admission import LIBRARY_FULL_RETRY_S, SIGNED_OUT_RETRY_S, AdmissionController


class Workers:
    """An admission controller, and workers that acquire permits."""

    def __init__(self, folder: Path) -> None:
        self.clock = JumpClock()
        self.credentials = Credentials(folder / "token", self.clock)
        self.admission = AdmissionController(self.clock, self.credentials)
        self.admitted = 0
        self._release = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, count: int = 17) -> None:
        """Start workers; each keeps its permit until `release`."""
        self._tasks += [asyncio.create_task(self._acquire()) for _ in range(count)]
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def later(self, seconds: float) -> None:
        self.clock.ahead_s += seconds
        self.admission.changed.notify()
        await self.settle()

    async def release(self) -> None:
        release, self._release = self._release, asyncio.Event()
        release.set()
        await self.settle()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def fail(self, count: int = 5) -> set[int]:
        refunded: set[int] = set()
        for number in range(count):
            refunded |= set(self.admission.record_error(Unreachable("broke"), item_id=number, content=b"%08d" % number))
        return refunded

    async def _acquire(self) -> None:
        async with self.admission.acquire():
            self.admitted += 1
            await self._release.wait()
            self.admitted -= 1


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    await workers.close()


async def test_with_a_closed_breaker_all_workers_are_admitted(workers: Workers) -> None:
    await workers.start()
    assert workers.admitted == 17
    assert (workers.admission.state, workers.admission.retry_at, workers.admission.detail) == ("ok", None, None)


async def test_five_failed_requests_open_the_breaker_and_are_refunded(workers: Workers) -> None:
    assert workers.fail(4) == set()
    assert workers.fail(5) == {0, 1, 2, 3, 4}
    await workers.start()
    assert workers.admitted == 0
    assert (workers.admission.state, workers.admission.detail) == ("unreachable", "broke")
    assert workers.admission.retry_at == pytest.approx(workers.clock.now() + RESET_TIMEOUT_S, abs=1)


async def test_copies_of_one_content_are_refunded_together(workers: Workers) -> None:
    lost, refunded = ConnectionLost("broke"), set[int]()
    for item_id, content in ((100, 0), (101, 0), (1, 1), (2, 2), (3, 3), (4, 4)):
        refunded |= set(workers.admission.record_error(lost, item_id=item_id, content=b"%08d" % content))
    assert refunded == {1, 2, 3, 4, 100, 101}


async def test_a_success_between_failures_resets_the_count(workers: Workers) -> None:
    workers.fail(4)
    workers.admission.record_success()
    assert workers.fail(4) == set()


async def test_a_late_failure_of_an_open_breaker_is_refunded_too(workers: Workers) -> None:
    workers.fail()
    assert set(workers.admission.record_error(Unreachable("broke"), item_id=9, content=b"99999999")) == {9}


async def test_an_unreachable_server_needs_no_different_contents(workers: Workers) -> None:
    """Nothing was sent, so the one waiting file cannot be at fault."""
    for _ in range(5):
        workers.admission.record_error(Unreachable("refused"), item_id=1, content=b"same....")
    assert workers.admission.breaker.state == "open"


async def test_half_open_admits_one_probe_and_its_success_admits_the_rest(workers: Workers) -> None:
    workers.fail()
    await workers.start()
    await workers.later(RESET_TIMEOUT_S)
    assert workers.admitted == 1
    await workers.later(RESET_TIMEOUT_S)
    assert workers.admitted == 1
    workers.admission.record_success()
    await workers.settle()
    assert workers.admitted == 17


async def test_a_probe_without_a_result_is_released_for_the_next_worker(workers: Workers) -> None:
    workers.fail()
    await workers.start()
    await workers.later(RESET_TIMEOUT_S)
    for _ in range(17):
        assert workers.admitted == 1
        await workers.release()
    assert workers.admitted == 0


async def test_a_cancelled_probe_is_released_for_the_next_worker(workers: Workers) -> None:
    workers.fail()
    await workers.start()
    await workers.later(RESET_TIMEOUT_S)
    for _ in range(3):
        probe = next(task for task in workers._tasks if not task.done())
        probe.cancel()
        await workers.settle()
        assert workers.admitted >= 1
        assert workers.admission.breaker.state == "half_open"


async def test_an_open_breaker_revokes_permits_but_not_the_probe(workers: Workers) -> None:
    async with workers.admission.acquire() as early:
        workers.fail()
        assert not workers.admission.is_valid(early)
        workers.clock.ahead_s += RESET_TIMEOUT_S
        async with workers.admission.acquire() as probe:
            assert workers.admission.is_valid(probe)
            assert not workers.admission.is_valid(early)
            workers.admission.pause()
            assert not workers.admission.is_valid(probe)


async def test_a_rate_limit_holds_all_workers_until_it_ends(workers: Workers) -> None:
    workers.admission.record_error(RateLimited("wait", retry_after_s=120), item_id=1, content=b"")
    workers.admission.record_error(RateLimited("wait", retry_after_s=10), item_id=2, content=b"")
    await workers.start()
    assert workers.admission.state == "rate_limited"
    assert workers.admission.retry_at == pytest.approx(workers.clock.now() + 120, abs=1)
    await workers.later(119)
    assert workers.admitted == 0
    await workers.later(2)
    assert workers.admitted == 17
    assert workers.admission.state == "ok"


async def test_a_full_library_holds_uploads_alone_and_no_item_is_blamed(workers: Workers) -> None:
    for number in range(FAILURE_THRESHOLD + 1):
        full = LibraryFull("no room", "ask its operator")
        assert not workers.admission.record_error(full, item_id=number, content=b"%d" % number)
    await workers.start()
    async with asyncio.timeout(1):
        await workers.admission.wait_until_reachable()  # embeddings are still polled
    assert (workers.admission.state, workers.admission.detail) == ("full", "no room: ask its operator")
    assert workers.admission.breaker.state == "closed"
    await workers.later(LIBRARY_FULL_RETRY_S - 1)
    assert workers.admitted == 0
    await workers.later(2)
    assert (workers.admitted, workers.admission.state) == (17, "ok")


async def test_resume_tries_a_full_library_at_once(workers: Workers) -> None:
    workers.admission.record_error(LibraryFull("no room"), item_id=1, content=b"")
    workers.admission.resume()
    await workers.start()
    assert workers.admitted == 17


async def test_signed_out_waits_for_the_user_and_resumes_with_a_new_token(workers: Workers) -> None:
    workers.admission.record_error(Unauthenticated("signed out"), item_id=1, content=b"")
    await workers.start()
    assert (workers.admitted, workers.admission.state, workers.admission.retry_at) == (0, "signed_out", None)
    await workers.later(10_000)
    assert workers.admitted == 0
    await workers.credentials.save(token="new")
    await workers.settle()
    assert (workers.admitted, workers.admission.state) == (17, "ok")


async def test_a_failed_token_command_holds_uploads_back_only_until_it_runs_again(workers: Workers) -> None:
    error = TokenCommandFailed("the token command failed, exit 22", retry_after_s=0.05)
    workers.admission.record_error(error, item_id=1, content=b"")
    await workers.start()
    assert (workers.admitted, workers.admission.detail) == (0, "the token command failed, exit 22")
    async with asyncio.timeout(30), workers.admission.acquire():
        assert not workers.admission.is_signed_out


async def test_signed_out_is_retried_after_a_while_without_the_user(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault may have been the server's."""
    assert SIGNED_OUT_RETRY_S >= 600
    monkeypatch.setattr("splootd.upload.admission.SIGNED_OUT_RETRY_S", 0.0)
    workers.admission.record_error(Unauthenticated("signed out"), item_id=1, content=b"")
    async with asyncio.timeout(30), workers.admission.acquire():
        assert not workers.admission.is_signed_out


async def test_only_resume_ends_a_pause(workers: Workers) -> None:
    workers.admission.pause()
    await workers.start()
    workers.admission.record_success()
    workers.admission.server_up()
    await workers.credentials.save(token="new")
    await workers.later(10_000)
    assert (workers.admitted, workers.admission.state) == (0, "ok")
    workers.admission.resume()
    await workers.settle()
    assert workers.admitted == 17


async def test_control_requests_ignore_a_pause_and_an_open_breaker(workers: Workers) -> None:
    workers.admission.pause()
    workers.fail()
    await workers.admission.wait_until_reachable()
    workers.admission.record_error(RateLimited("wait", retry_after_s=120), item_id=1, content=b"")
    asking = asyncio.create_task(workers.admission.wait_until_reachable())
    await workers.settle()
    assert not asking.done()
    await workers.later(121)
    await asking


async def test_after_server_up_the_next_probe_does_not_wait(workers: Workers) -> None:
    workers.fail()
    await workers.start()
    workers.admission.server_up()
    await workers.settle()
    assert workers.admitted == 1


async def test_the_probe_stays_due_until_one_has_a_result(workers: Workers) -> None:
    """The first worker to get the permit may have nothing to upload."""
    workers.fail()
    await workers.start()
    workers.admission.server_up()
    await workers.settle()
    for _ in range(5):
        assert workers.admitted == 1
        await workers.release()
    assert workers.admitted == 1
    workers.fail(1)
    await workers.release()
    assert workers.admitted == 0


async def test_server_up_before_the_failures_makes_no_probe_due(workers: Workers) -> None:
    workers.admission.server_up()
    workers.fail()
    await workers.start()
    assert workers.admitted == 0


async def test_exhausted_resources_trip_the_breaker(workers: Workers) -> None:
    assert set(workers.admission.record_error(ResourceExhausted("no files left"), item_id=7, content=b"")) == {7}
    await workers.start()
    assert workers.admitted == 0


async def test_content_failures_of_many_contents_trip_the_breaker_and_are_refunded(workers: Workers) -> None:
    error = InternalServerError("500")
    for number in range(FAILURE_THRESHOLD - 1):
        assert not workers.admission.record_error(error, item_id=number, content=b"%08d" % number)
    assert set(workers.admission.record_error(error, item_id=99, content=b"99999999")) == {
        *range(FAILURE_THRESHOLD - 1),
        99,
    }
    assert (workers.admission.breaker.state, workers.admission.state) == ("open", "degraded")
    assert workers.admission.detail == "uploads fail: 500"
    async with workers.admission.acquire() as permit:
        assert workers.admission.is_self_test(permit)
        late = workers.admission.record_error(error, item_id=100, content=b"a100....")
        assert set(late) == {100}
        assert workers.admission.is_valid(permit)
        workers.admission.record_self_test_error(error)
    assert workers.admission.retry_at == pytest.approx(workers.clock.now() + RESET_TIMEOUT_S, abs=1)


async def test_a_content_that_failed_while_others_succeeded_does_not_trip_the_breaker(workers: Workers) -> None:
    error = InternalServerError("500")
    for number in range(FAILURE_THRESHOLD - 1):
        workers.admission.record_error(error, item_id=number, content=b"%08d" % number)
    workers.admission.record_success()
    for number in range(FAILURE_THRESHOLD - 1):
        assert not workers.admission.record_error(error, item_id=number, content=b"%08d" % number)
    assert not workers.admission.record_error(error, item_id=99, content=b"99999999")
    assert workers.admission.breaker.state == "closed"


async def test_after_a_passed_self_test_failures_count_against_the_contents(workers: Workers) -> None:
    """Otherwise a folder that contains only removed images would wait for ever."""
    error = InternalServerError("500")
    for number in range(FAILURE_THRESHOLD):
        workers.admission.record_error(error, item_id=number, content=b"%08d" % number)
    async with workers.admission.acquire() as permit:
        assert workers.admission.is_self_test(permit)
        workers.admission.record_success()
    for number in range(FAILURE_THRESHOLD):
        async with workers.admission.acquire() as permit:
            assert not workers.admission.is_self_test(permit)
            assert not workers.admission.record_error(error, item_id=number, content=b"%08d" % number)
    assert workers.admission.state == "ok"


async def test_a_self_test_that_the_token_does_not_allow_means_signed_out(workers: Workers) -> None:
    error = UploadForbidden("something refuses self-test.png (403: Forbidden)", status=403)
    for number in range(FAILURE_THRESHOLD):
        workers.admission.record_error(error, item_id=number, content=b"%08d" % number)
    async with workers.admission.acquire():
        workers.admission.record_self_test_error(error)
    assert workers.admission.state == "signed_out"


async def test_a_content_failure_of_an_unreachable_server_closes_the_breaker(workers: Workers) -> None:
    workers.fail()
    workers.clock.ahead_s += RESET_TIMEOUT_S
    async with workers.admission.acquire():
        assert not workers.admission.record_error(InternalServerError("500"), item_id=1, content=b"1.......")
    assert workers.admission.breaker.state == "closed"


async def test_a_failed_control_request_is_reported_and_holds_back_no_upload(workers: Workers) -> None:
    workers.admission.control_failed(Unreachable("refused"))
    assert (workers.admission.state, workers.admission.detail) == ("unreachable", "refused")
    await workers.start()
    assert workers.admitted == 17
    workers.admission.control_ok()
    assert (workers.admission.state, workers.admission.detail) == ("ok", None)


async def test_repr_shows_the_state(workers: Workers) -> None:
    workers.admission.pause()
    workers.fail(2)
    assert repr(workers.admission) == f"AdmissionController(ok, {workers.admission.breaker}, paused)"

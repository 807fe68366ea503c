"""The gate: who may pass when, and that nothing polls."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from walkkit import JumpClock

from splootd.core.breaker import FAULTS_MAX, OPEN_S
from splootd.credentials import Credentials
from splootd.errors import BrokenOff, Exhausted, RateLimited, ServerFault, SignedOut, Unreachable
from splootd.gate import PROBES_MAX, SIGNED_OUT_ASK_S, Gate


class Post:
    """A gate, and people who want to pass it."""

    def __init__(self, folder: Path) -> None:
        self.clock = JumpClock()
        self.credentials = Credentials(folder / "token", self.clock)
        self.gate = Gate(self.clock, self.credentials)
        self.inside = 0
        self._leave = asyncio.Event()
        self._people: list[asyncio.Task[None]] = []

    async def come(self, count: int = 17) -> None:
        """Let people come, and see how many get in; they stay until they are sent away."""
        self._people += [asyncio.create_task(self._pass()) for _ in range(count)]
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def later(self, seconds: float) -> None:
        self.clock.ahead_s += seconds
        self.gate.bell.ring()
        await self.settle()

    async def leave(self) -> None:
        leave, self._leave = self._leave, asyncio.Event()
        leave.set()
        await self.settle()

    async def close(self) -> None:
        for person in self._people:
            person.cancel()
        for person in self._people:
            with contextlib.suppress(asyncio.CancelledError):
                await person

    def fail(self, count: int = 5) -> set[int]:
        pardoned: set[int] = set()
        for number in range(count):
            pardoned |= set(self.gate.failed(BrokenOff("broke"), item_id=number, content=b"%08d" % number))
        return pardoned

    async def _pass(self) -> None:
        async with self.gate.passage():
            self.inside += 1
            await self._leave.wait()
            self.inside -= 1


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    post = Post(tmp_path)
    yield post
    await post.close()


async def test_an_open_gate_lets_everybody_through(post: Post) -> None:
    await post.come()
    assert post.inside == 17
    assert (post.gate.state, post.gate.retry_at, post.gate.detail) == ("ok", None, None)


async def test_five_different_contents_close_it_and_are_pardoned(post: Post) -> None:
    assert post.fail(4) == set()
    assert post.fail(5) == {0, 1, 2, 3, 4}
    await post.come()
    assert post.inside == 0
    assert (post.gate.state, post.gate.detail) == ("unreachable", "broke")
    assert post.gate.retry_at == pytest.approx(post.clock.now() + OPEN_S, abs=1)


async def test_copies_of_one_content_are_pardoned_together(post: Post) -> None:
    for item_id in (100, 101):
        post.gate.failed(BrokenOff("broke"), item_id=item_id, content=b"00000000")
    assert post.fail() == {0, 1, 2, 3, 4, 100, 101}


async def test_a_success_between_the_faults_starts_the_count_again(post: Post) -> None:
    post.fail(4)
    post.gate.succeeded()
    assert post.fail(4) == set()


async def test_a_late_fault_of_an_open_breaker_is_pardoned_too(post: Post) -> None:
    post.fail()
    assert set(post.gate.failed(BrokenOff("broke"), item_id=9, content=b"99999999")) == {9}


async def test_an_unreachable_server_needs_no_different_contents(post: Post) -> None:
    """Nothing was sent, so nothing speaks against the one file that waits."""
    for _ in range(5):
        post.gate.failed(Unreachable("refused"), item_id=1, content=b"same....")
    assert post.gate.breaker.mood == "open"


async def test_half_open_one_passes_and_its_success_lets_in_the_rest(post: Post) -> None:
    post.fail()
    await post.come()
    await post.later(OPEN_S)
    assert post.inside == 1
    await post.later(OPEN_S)
    assert post.inside == 1
    post.gate.succeeded()
    await post.settle()
    assert post.inside == 17


async def test_a_probe_that_leaves_without_an_answer_makes_room_for_the_next(post: Post) -> None:
    post.fail()
    await post.come()
    await post.later(OPEN_S)
    for _ in range(17):
        assert post.inside == 1
        await post.leave()
    assert post.inside == 0


async def test_a_probe_that_is_cancelled_makes_room_for_the_next(post: Post) -> None:
    post.fail()
    await post.come()
    await post.later(OPEN_S)
    for _ in range(3):
        probe = next(person for person in post._people if not person.done())
        probe.cancel()
        await post.settle()
        assert post.inside >= 1
        assert post.gate.breaker.mood == "half_open"


async def test_a_closed_gate_stops_those_inside_but_not_the_probe(post: Post) -> None:
    async with post.gate.passage() as early:
        post.fail()
        assert not post.gate.admits(early)
        post.clock.ahead_s += OPEN_S
        async with post.gate.passage() as probe:
            assert post.gate.admits(probe)
            assert not post.gate.admits(early)
            post.gate.pause()
            assert not post.gate.admits(probe)


async def test_a_rate_limit_holds_everybody_until_its_time(post: Post) -> None:
    post.gate.failed(RateLimited("patience", retry_after_s=120), item_id=1, content=b"")
    post.gate.failed(RateLimited("patience", retry_after_s=10), item_id=2, content=b"")
    await post.come()
    assert post.gate.state == "rate_limited"
    assert post.gate.retry_at == pytest.approx(post.clock.now() + 120, abs=1)
    await post.later(119)
    assert post.inside == 0
    await post.later(2)
    assert post.inside == 17
    assert post.gate.state == "ok"


async def test_signed_out_waits_for_the_user_and_frees_itself(post: Post) -> None:
    post.gate.failed(SignedOut("who are you"), item_id=1, content=b"")
    await post.come()
    assert (post.inside, post.gate.state, post.gate.retry_at) == (0, "signed_out", None)
    await post.later(10_000)
    assert post.inside == 0
    await post.credentials.keep(token="new")
    await post.settle()
    assert (post.inside, post.gate.state) == (17, "ok")


async def test_signed_out_is_tried_again_after_a_while_without_the_user(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that prints tokens may have failed because there was no network."""
    assert SIGNED_OUT_ASK_S >= 600
    monkeypatch.setattr("splootd.gate.SIGNED_OUT_ASK_S", 0.0)
    post.gate.failed(SignedOut("who are you"), item_id=1, content=b"")
    async with asyncio.timeout(30), post.gate.passage():
        assert not post.gate.signed_out


async def test_pause_outlives_everything_but_resume(post: Post) -> None:
    post.gate.pause()
    await post.come()
    post.gate.succeeded()
    post.gate.server_up()
    await post.credentials.keep(token="new")
    await post.later(10_000)
    assert (post.inside, post.gate.state) == (0, "ok")
    post.gate.resume()
    await post.settle()
    assert post.inside == 17


async def test_small_questions_pass_a_pause_and_an_open_breaker(post: Post) -> None:
    post.gate.pause()
    post.fail()
    await post.gate.questions_allowed()
    post.gate.failed(RateLimited("patience", retry_after_s=120), item_id=1, content=b"")
    asking = asyncio.create_task(post.gate.questions_allowed())
    await post.settle()
    assert not asking.done()
    await post.later(121)
    await asking


async def test_the_servers_return_makes_the_next_probe_due_at_once(post: Post) -> None:
    post.fail()
    await post.come()
    post.gate.server_up()
    await post.settle()
    assert post.inside == 1


async def test_the_probe_stays_due_until_one_has_had_an_answer(post: Post) -> None:
    """The lane that gets in first may have nothing to send."""
    post.fail()
    await post.come()
    post.gate.server_up()
    await post.settle()
    for _ in range(5):
        assert post.inside == 1
        await post.leave()
    assert post.inside == 1
    post.fail(1)
    await post.leave()
    assert post.inside == 0


async def test_a_server_that_is_up_all_the_time_makes_no_later_probe_due(post: Post) -> None:
    post.gate.server_up()
    post.fail()
    await post.come()
    assert post.inside == 0


async def test_exhaustion_closes_it_at_once(post: Post) -> None:
    assert set(post.gate.failed(Exhausted("no files left"), item_id=7, content=b"")) == {7}
    await post.come()
    assert post.inside == 0


async def test_doubts_about_many_contents_close_it_and_are_pardoned(post: Post) -> None:
    sick = ServerFault("500")
    for number in range(FAULTS_MAX - 1):
        assert not post.gate.doubted(sick, item_id=number, content=b"%08d" % number)
    assert set(post.gate.doubted(sick, item_id=99, content=b"99999999")) == {*range(FAULTS_MAX - 1), 99}
    assert post.gate.breaker.mood == "open"
    post.clock.ahead_s += OPEN_S
    async with post.gate.passage():
        assert set(post.gate.doubted(sick, item_id=100, content=b"a100....")) == {100}
        assert post.gate.breaker.mood == "open"


async def test_a_content_that_failed_while_others_went_through_closes_nothing(post: Post) -> None:
    sick = ServerFault("500")
    for number in range(FAULTS_MAX - 1):
        post.gate.doubted(sick, item_id=number, content=b"%08d" % number)
    post.gate.succeeded()
    for number in range(FAULTS_MAX - 1):
        assert not post.gate.doubted(sick, item_id=number, content=b"%08d" % number)
    assert not post.gate.doubted(sick, item_id=99, content=b"99999999")
    assert post.gate.breaker.mood == "closed"


async def test_a_library_that_only_fails_on_uploads_blames_the_files_in_the_end(post: Post) -> None:
    """Else a folder of nothing but removed pictures would wait for ever."""
    sick = ServerFault("500")
    for number in range(FAULTS_MAX):
        post.gate.doubted(sick, item_id=number, content=b"%08d" % number)
    for probe in range(PROBES_MAX):
        post.clock.ahead_s += OPEN_S
        async with post.gate.passage():
            assert post.gate.doubted(sick, item_id=probe, content=b"%08d" % probe) == {probe}
    post.clock.ahead_s += OPEN_S
    for probe in range(3):
        async with post.gate.passage():
            assert not post.gate.doubted(sick, item_id=probe, content=b"%08d" % probe)


async def test_a_doubt_after_silence_says_that_the_server_is_back(post: Post) -> None:
    post.fail()
    post.clock.ahead_s += OPEN_S
    async with post.gate.passage():
        assert not post.gate.doubted(ServerFault("500"), item_id=1, content=b"1.......")
    assert post.gate.breaker.mood == "closed"


async def test_an_unanswered_question_is_shown_and_holds_back_nobody(post: Post) -> None:
    post.gate.unanswered(Unreachable("refused"))
    assert (post.gate.state, post.gate.detail) == ("unreachable", "refused")
    await post.come()
    assert post.inside == 17
    post.gate.answered()
    assert (post.gate.state, post.gate.detail) == ("ok", None)


async def test_the_gate_says_how_it_stands(post: Post) -> None:
    post.gate.pause()
    post.fail(2)
    assert repr(post.gate) == "Gate(ok, Breaker(closed, 2 of 5 faults), paused)"

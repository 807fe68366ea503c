"""Desktop notifications name what the user must do, once per kind of action."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from splootd.protocol import ActionRequired
from splootd.system.desktop_notifications import DesktopNotifier, is_enabled, notification_command


class Notifications:
    """Required actions set by the test, and the notifications sent about them."""

    def __init__(self, folder: Path) -> None:
        self.actions: list[ActionRequired] = []
        self.body = folder / "body"
        self.notifier = DesktopNotifier(self.get_actions, self.command)

    async def get_actions(self) -> Sequence[ActionRequired]:
        return self.actions

    def command(self, title: str, body: str) -> Sequence[str]:
        return ("sh", "-c", 'printf "%s|%s\\n" "$1" "$2" >> "$0"', os.fspath(self.body), title, body)

    async def check(self, *actions: ActionRequired) -> list[str]:
        self.actions = list(actions)
        self.body.write_text("")
        await self.notifier.run_once()
        return self.body.read_text().splitlines()


async def test_a_notification_is_sent_once_not_for_each_file(tmp_path: Path):
    notifications = Notifications(tmp_path)
    failed = [ActionRequired(f"{count} files could not be uploaded", count, "sploot failed") for count in (2, 30)]
    expected = "Sploot: action required|2 files could not be uploaded. Run: sploot failed"
    assert await notifications.check(failed[0]) == [expected]
    assert await notifications.check(failed[0]) == []
    assert await notifications.check(failed[1]) == []
    assert await notifications.check() == []
    expected = "Sploot: action required|30 files could not be uploaded. Run: sploot failed"
    assert await notifications.check(failed[1]) == [expected]


async def test_only_the_new_action_is_notified_beside_an_old_one(tmp_path: Path):
    notifications = Notifications(tmp_path)
    await notifications.check(ActionRequired("2 files could not be uploaded", 2, "sploot failed"))
    both = (
        ActionRequired("you are signed out", 1, "sploot login"),
        ActionRequired("3 files", 3, "sploot failed"),
    )
    assert await notifications.check(*both) == ["Sploot: action required|You are signed out. Run: sploot login"]


async def test_a_failed_notification_stops_nothing():
    async def get_actions() -> Sequence[ActionRequired]:
        return [ActionRequired("it", 1, "sploot failed")]

    assert await DesktopNotifier(get_actions, lambda *_: ("no-such-program-here",)).run_once()


def test_texts_are_never_parsed_as_options_markup_or_script():
    freedesktop = notification_command("linux")("title", "<b>&\n-x")
    assert freedesktop == ("notify-send", "--app-name=Sploot", "--", "title", "&lt;b&gt;&amp;\n-x")
    assert notification_command("darwin")("title", 'a" & b')[-2:] == ("title", 'a" & b')


@pytest.mark.parametrize(
    ("setting", "environ", "expected"),
    [
        ("auto", {}, False),
        ("auto", {"DISPLAY": ":0"}, True),
        ("auto", {"WAYLAND_DISPLAY": "w"}, True),
        ("no", {"DISPLAY": ":0"}, False),
        ("yes", {}, True),
    ],
)
def test_without_a_desktop_no_notification_is_sent(
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    environ: dict[str, str],
    expected: bool,
):
    monkeypatch.setattr("sys.platform", "linux")
    assert is_enabled(setting, environ) is expected

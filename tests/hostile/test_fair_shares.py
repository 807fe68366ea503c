"""One member does the worst; another one waits for the work that runs, and not for what the first one has sent before.

The order of the responses shows it on a busy machine, too. `benchmarks/members.py` measures the times.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import httpx
import pytest
from PIL import Image
from sploot_server.config import Config
from team_server import TeamServer, team_server

pytestmark = pytest.mark.models

AHEAD_MAX = Config.requests_per_owner_max // 3  # responses to the first member while the other one waits
SIZES = (64, 128, 512, 1024)  # not that of the wall, which exists after the upload

Ask = Callable[[httpx.Client, int], httpx.Response]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    with team_server(tmp_path_factory.mktemp("team") / "library", "--worker-idle", "600") as server:
        yield server


def upload(server: TeamServer, member: str, image: Image.Image) -> str:
    saved = BytesIO()
    image.save(saved, "PNG", compress_level=1)
    with server.member(member) as client:
        answer = client.post("/api/upload", files={"file": ("a.png", saved.getvalue())})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["asset"]["id"])


@pytest.fixture(scope="module")
def pictures(server: TeamServer) -> dict[str, list[str]]:
    """Return the pictures of each member: large ones of ben, and a small one of anna."""
    large = [Image.new("RGB", (4000, 4000), (number, 0, 0)) for number in range(5)]
    return {
        "ben": [upload(server, "ben", each) for each in large],
        "anna": [upload(server, "anna", Image.new("RGB", (300, 300), "white"))],
    }


def responses_ahead(server: TeamServer, worst: Ask, ordinary: Ask) -> int:
    """Let ben send as much as he may at once; return how many responses he gets while anna waits for one."""
    count = Config.requests_per_owner_max
    with server.member("anna") as anna, server.member("ben") as ben, ThreadPoolExecutor(count) as threads:
        ordinary(anna, 0).raise_for_status()  # starts the process that does such work
        worst(ben, 0).raise_for_status()
        ended: list[float] = []

        def send(number: int) -> None:
            worst(ben, number).raise_for_status()
            ended.append(time.monotonic())

        sent = [threads.submit(send, number) for number in range(1, count + 1)]
        while not ended:  # all have been sent, and wait
            time.sleep(0.001)
        began = time.monotonic()
        ordinary(anna, 1).raise_for_status()
        ended_anna = time.monotonic()
        for each in sent:
            each.result()
    return sum(began < each < ended_anna for each in ended)


def test_a_search_is_ahead_of_the_searches_that_another_member_has_sent_before(server: TeamServer) -> None:
    def worst(client: httpx.Client, number: int) -> httpx.Response:
        return client.post("/api/search", json={"query": " ".join(f"wrod{number}{word}" for word in range(40))})

    def ordinary(client: httpx.Client, number: int) -> httpx.Response:
        return client.post("/api/search", json={"query": f"cat on monday {number}"})

    assert responses_ahead(server, worst, ordinary) <= AHEAD_MAX


def test_a_thumbnail_is_ahead_of_the_thumbnails_that_another_member_has_asked_for_before(
    server: TeamServer, pictures: dict[str, list[str]]
) -> None:
    wanted = [(asset, size) for size in SIZES for asset in pictures["ben"]]

    def worst(client: httpx.Client, number: int) -> httpx.Response:
        asset, size = wanted[number]
        return client.get(f"/api/assets/{asset}/thumbnail", params={"size": size})

    def ordinary(client: httpx.Client, number: int) -> httpx.Response:
        return client.get(f"/api/assets/{pictures['anna'][0]}/thumbnail", params={"size": (64, 512)[number]})

    assert responses_ahead(server, worst, ordinary) <= AHEAD_MAX

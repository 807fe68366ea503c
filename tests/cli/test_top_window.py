"""The window on a long list, compared with the whole list."""

from hypothesis import given
from hypothesis import strategies as st
from screens import FakeDaemon, row
from sploot.tui.list_window import ListWindow, PageRequest

from splootd.protocol import Items, ListItems

HEIGHT = 20
PAGES_MAX = 6  # until the screen is filled after any jump


def fetch(daemon: FakeDaemon, page: PageRequest) -> tuple[Items, bool]:
    items = daemon._page(ListItems(state="pending", before=page.before, limit=page.limit, after=page.after))
    return items, (items.before if page.after is None else items.after) is None


class Reader:
    """Scrolls a list through a window, like the screen."""

    def __init__(self, daemon: FakeDaemon, total: int | None) -> None:
        self.daemon, self.window, self.top = daemon, ListWindow(), 0
        self.window.clear(total)
        self.scroll(0)

    def scroll(self, top: int) -> None:
        self.top = min(max(top, 0), max(0, self.window.length - HEIGHT))
        for _ in range(PAGES_MAX):
            page = self.window.missing_page(self.top, HEIGHT)
            if page is None:
                return
            self.load(page)
        raise AssertionError(f"still missing {page}")

    def load(self, page: PageRequest) -> None:
        items, is_complete = fetch(self.daemon, page)
        self.top += self.window.apply_page(page, items.items, is_complete=is_complete)
        self.top = min(max(self.top, 0), max(0, self.window.length - HEIGHT))

    def visible_ids(self) -> list[int]:
        rows = (self.window.row(self.top + at) for at in range(min(HEIGHT, self.window.length)))
        return [each.id for each in rows if each is not None]


@st.composite
def lists(draw: st.DrawFn) -> FakeDaemon:
    """Generate lists with gaps between the ids, so that row numbers can only be estimated."""
    count = draw(st.sampled_from([0, 1, HEIGHT, 199, 200, 201, 1_000]))
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 50, 3_000]), min_size=4, max_size=4))
    numbers, number = [], 0
    for at in range(count):
        number += gaps[at * len(gaps) // count]
        numbers.append(number)
    return FakeDaemon([row(each) for each in numbers])


@given(
    daemon=lists(),
    is_counted=st.booleans(),
    jumps=st.lists(st.one_of(st.integers(0, 1_100), st.sampled_from([0, 10**6]), st.integers(-40, 40)), max_size=12),
)
def test_at_every_position_the_rows_are_those_of_the_list(
    daemon: FakeDaemon, is_counted: bool, jumps: list[int]
) -> None:
    whole = [each.id for each in reversed(daemon.rows)]
    reader = Reader(daemon, len(whole) if is_counted else None)
    for jump in jumps:
        reader.scroll(reader.top + jump if abs(jump) <= 40 else jump)
        seen = reader.visible_ids()
        assert len(seen) == min(HEIGHT, len(whole))
        at = whole.index(seen[0]) if seen else 0
        assert seen == whole[at : at + len(seen)]
        if reader.top == 0:
            assert at == 0
        if jump == 10**6 and is_counted:
            assert at == max(0, len(whole) - HEIGHT)
    assert len(reader.window.rows) <= 200


@given(start=st.integers(0, 780), gap=st.sampled_from([1, 7]))
def test_scrolling_by_pages_skips_and_repeats_no_row(start: int, gap: int) -> None:
    daemon = FakeDaemon([row(1 + gap * at) for at in range(800)])
    whole = [each.id for each in reversed(daemon.rows)]
    reader = Reader(daemon, 800)
    reader.scroll(start)
    first = whole.index(reader.visible_ids()[0])
    for step in range(1, 30):
        reader.scroll(reader.top + HEIGHT)
        expected = min(first + step * HEIGHT, 800 - HEIGHT)
        assert reader.visible_ids() == whole[expected : expected + HEIGHT]


def test_a_dense_list_is_numbered_exactly_everywhere() -> None:
    reader = Reader(FakeDaemon([row(1 + at) for at in range(3_000)]), 3_000)
    reader.scroll(1_700)
    assert (reader.top, reader.visible_ids()[0]) == (1_700, 3_000 - 1_700)


def test_upwards_the_numbers_are_exact_too() -> None:
    reader = Reader(FakeDaemon([row(1 + at) for at in range(3_000)]), 3_000)
    reader.scroll(10**6)
    while reader.top > 0:
        assert reader.visible_ids()[0] == 3_000 - reader.top
        reader.scroll(reader.top - HEIGHT)
    assert reader.visible_ids()[0] == 3_000


def test_visible_rows_stay_visible_when_many_newer_ones_arrive() -> None:
    daemon = FakeDaemon([row(1 + at) for at in range(1_000)])
    reader = Reader(daemon, 1_000)
    reader.scroll(3)
    before = reader.visible_ids()
    daemon.rows += [row(1_001 + at) for at in range(500)]
    reader.load(reader.window.reload_request(is_following=False, height=HEIGHT))
    reader.scroll(reader.top)
    assert reader.visible_ids() == before
    for _ in range(60):
        reader.scroll(reader.top - HEIGHT)
    assert reader.visible_ids()[0] == 1_500


def test_a_reload_keeps_the_window_and_following_shows_the_newest() -> None:
    daemon = FakeDaemon([row(1 + at) for at in range(1_000)])
    reader = Reader(daemon, 1_000)
    reader.scroll(500)
    before = reader.visible_ids()
    daemon.rows += [row(1_001 + at) for at in range(300)]
    reader.load(reader.window.reload_request(is_following=False, height=HEIGHT))
    assert reader.visible_ids() == before
    reader.load(reader.window.reload_request(is_following=True, height=HEIGHT))
    reader.scroll(0)
    assert reader.visible_ids()[0] == 1_300


def test_when_the_list_grows_while_its_end_is_visible_the_numbers_follow() -> None:
    daemon = FakeDaemon([row(1 + at) for at in range(1_000)])
    reader = Reader(daemon, 1_000)
    reader.scroll(10**6)
    assert reader.top == 980
    daemon.rows += [row(1_001 + at) for at in range(50)]
    assert reader.window.set_total(1_050) == 50
    assert reader.window.row(1_049) == daemon.rows[0]

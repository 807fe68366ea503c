"""The URL of a server is checked before it is kept, and a redirect moves it only to the same server."""

import pytest

from splootd.server_url import check_server_url, find_moved_base, get_origin


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://a.example", "https://a.example/memes/", "http://[::1]:65535", "HTTP://A"]
)
def test_a_base_url_is_accepted(url: str):
    check_server_url(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://a:99999", "port"),
        ("http://a:0", "port"),
        ("http://a:", "port"),
        ("http://a:x", "port"),
        ("http://a:-1", "port"),
        ("http://a b", "space"),
        ("http://a/\tb", "space"),
        ("http://a\u200b", "invisible"),
        ("http://", "host"),
        ("http://:80", "host"),
        ("http://[::1", "IPv6"),
        ("http://user:word@a", "user name"),
        ("http://a?y=z", "query"),
        ("http://a#f", "fragment"),
        ("http://a/?", "query"),
        ("ftp://a", "http"),
        ("a:80", "http"),
        ("", "http"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_what_is_wrong(url: str, message: str):
    with pytest.raises(ValueError, match=message):
        check_server_url(url)


def test_an_origin_is_scheme_host_and_port():
    assert get_origin("https://A.example/memes/") == get_origin("https://a.example:443") == "https://a.example:443"
    assert get_origin("http://[::1]:8000/x") == "http://[::1]:8000"
    origins = ("http://a", "https://a", "https://b", "https://a:8443", "local")
    assert len({get_origin(url) for url in origins}) == len(origins)


@pytest.mark.parametrize(
    ("requested", "location", "base"),
    [
        ("http://a/api/upload", "https://a/api/upload", "https://a"),
        ("http://a:8080/api/upload", "https://a/api/upload", "https://a"),
        ("https://a/api/upload", "https://www.a/api/upload", "https://www.a"),
        ("https://www.a/api/upload", "https://a/api/upload", "https://a"),
        ("https://a/api/assets?limit=9", "/memes/api/assets?limit=9", "https://a/memes"),
        ("https://a/old/api/upload", "/new/api/upload", "https://a/new"),
        ("https://a/api/v/api/upload", "https://a/x/api/v/api/upload", "https://a/x"),
    ],
)
def test_the_same_server_at_a_new_address_is_recognised(requested: str, location: str, base: str):
    assert find_moved_base(requested, location) == base


@pytest.mark.parametrize(
    "location",
    [
        "https://portal.hotel/login",
        "https://portal.hotel/api/upload",  # the right path on another host
        "https://a/sign-in?back=/api/upload",
        "http://a/api/upload",  # a downgrade would expose the token
        "https://a:8443/api/upload",
        "https://user:word@a/api/upload",
        "https://a:99999/api/upload",
        "//[",
        "",
        "nowhere",
    ],
)
def test_any_other_target_of_a_redirect_is_not_the_server(location: str):
    assert find_moved_base("https://a/api/upload", location) is None

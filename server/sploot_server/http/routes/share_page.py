"""The page of a share link: shows the picture, and describes it to chats that preview links (Open Graph).

It has no script, no cookie and nothing of another host, and tells neither the file name nor the owner.
"""

from html import escape
from http import HTTPStatus
from string import Template

import sploot_web
from starlette.responses import HTMLResponse

from sploot_server.domain.entities import Asset
from sploot_server.library.thumbnails import SHARED_PX

TEMPLATE = "server/share.html"
TITLE = "A picture shared with Sploot"
ALT_CHARS_MAX = 300
SHARE_PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    "cache-control": "public, max-age=60",  # as the picture: caches forget a revoked link soon
}


def share_page(asset: Asset, picture_url: str) -> HTMLResponse:
    """Return the page of a link. The text of the picture is its alternative for screen readers."""
    alt = " ".join((asset.text or "").split())[:ALT_CHARS_MAX]
    properties = {
        "og:type": "website",
        "og:title": TITLE,
        "og:image": picture_url,
        "og:image:type": "image/webp",
        "og:image:alt": alt,
        **_size_properties(asset),
    }
    preview = [f'<meta property="{name}" content="{escape(text)}">' for name, text in properties.items() if text]
    preview.append('<meta name="twitter:card" content="summary_large_image">')
    image = f'<img src="{escape(picture_url)}" alt="{escape(alt)}">'
    return _render(preview, image, HTTPStatus.OK)


def ended_page() -> HTMLResponse:
    """Return the page of a link that does not exist, or not any more."""
    return _render([], "<p>This link has ended, or it never existed.</p>", HTTPStatus.NOT_FOUND)


def _size_properties(asset: Asset) -> dict[str, str]:
    """Return the size of the picture as it is rendered; chats show a preview sooner if they know it."""
    if not asset.width or not asset.height:
        return {}
    scale = min(1.0, SHARED_PX / max(asset.width, asset.height))
    return {
        "og:image:width": str(max(1, round(asset.width * scale))),
        "og:image:height": str(max(1, round(asset.height * scale))),
    }


def _render(preview: list[str], content: str, status: HTTPStatus) -> HTMLResponse:
    template = Template(sploot_web.read_file(TEMPLATE).content.decode())
    lines = "".join(f"  {line}\n" for line in preview)
    page = template.substitute(title=TITLE, preview=lines, content=f"    {content}\n")
    return HTMLResponse(page, status, SHARE_PAGE_HEADERS)

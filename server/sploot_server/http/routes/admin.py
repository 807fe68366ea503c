"""Routes for the admins among the members: what each member uses, invitations and share links, but no pictures.

For all others these routes do not exist.
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.auth.accounts import AccountStore
from sploot_server.auth.sessions import DAY_MS, SessionStore
from sploot_server.domain.entities import NotFound
from sploot_server.http.request_body import read_object
from sploot_server.http.routes.params import parse_name
from sploot_server.http.routes.sessions import required_session
from sploot_server.http.serializers import format_optional_time, format_time
from sploot_server.library.service import now_ms
from sploot_server.storage.shares import ShareStore

INVITATION_MS = 7 * DAY_MS


class AdminRoutes:
    """Routes of the admin's part of the account."""

    def __init__(self, accounts: AccountStore, sessions: SessionStore, shares: ShareStore) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._shares = shares

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/v1/admin", self.overview, methods=["GET"]),
            Route("/v1/admin/invitations", self.invite, methods=["POST"]),
            Route("/v1/admin/invitations/{id}", self.revoke_invitation, methods=["DELETE"]),
            Route("/v1/admin/links/{slug}", self.revoke_link, methods=["DELETE"]),
        ]

    async def overview(self, request: Request) -> Response:
        _require_admin(request)
        members = [
            {
                "name": each.user.name,
                "files": each.asset_count,
                "bytes": each.size_bytes,
                "quota_bytes": each.user.quota_bytes,
            }
            for each in await self._accounts.list_usage()
        ]
        invitations = [
            {"id": each.id, "member": each.user_name, "expires_at": format_time(each.expires_at_ms)}
            for each in await self._sessions.list_invitations(now_ms=now_ms())
        ]
        links = [
            {
                "slug": link.slug,
                "member": member,
                "created_at": format_time(link.created_at_ms),
                "expires_at": format_optional_time(link.expires_at_ms),
            }
            for member, link in await self._shares.list_all()
        ]
        return JSONResponse({"members": members, "invitations": invitations, "links": links})

    async def invite(self, request: Request) -> Response:
        """Return an invitation for a member."""
        _require_admin(request)
        member = await self._accounts.get_user(parse_name(await read_object(request)).strip())
        if member is None:
            raise NotFound
        now = now_ms()
        secret = await self._sessions.invite(member.id, now_ms=now, ttl_ms=INVITATION_MS)
        return JSONResponse({"secret": secret, "expires_at": format_time(now + INVITATION_MS)})

    async def revoke_invitation(self, request: Request) -> Response:
        _require_admin(request)
        if not await self._sessions.revoke_invitation(request.path_params["id"]):
            raise NotFound
        return JSONResponse({"message": "The invitation is revoked."})

    async def revoke_link(self, request: Request) -> Response:
        _require_admin(request)
        if not await self._shares.revoke_slug(request.path_params["slug"]):
            raise NotFound
        return JSONResponse({"message": "The link is revoked."})


def _require_admin(request: Request) -> None:
    """Raise NotFound unless the session is an admin's."""
    if not required_session(request).is_admin:
        raise NotFound

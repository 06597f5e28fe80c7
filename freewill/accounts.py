"""Wires the account services from settings and keys."""

from collections.abc import Callable

from freewill.keyring import Keyring
from freewill.settings import Settings
from social.accounts import Accounts, AccountTools
from social.guard import SessionGuard
from social.keys import KeyMaker, MasterKey
from social.passwords import Passwords
from social.throttle import Failures, LoginThrottle
from social.tokens import AccessTokens
from tables.relational.engine import Database


def build_accounts(
    settings: Settings,
    keyring: Keyring,
    database: Database,
    clock: Callable[[], float],
    failures: Failures | None = None,
) -> Accounts:
    """Return the account service; closing it ends its threads. ``failures`` counts failed sign-ins."""
    tools = AccountTools(
        passwords=Passwords(),
        keys=KeyMaker(MasterKey(keyring.master)),
        tokens=AccessTokens(
            keyring.tokens,
            issuer=settings.public_url,
            access_seconds=settings.access_token_seconds,
            clock=clock,
        ),
        guard=SessionGuard(database, clock, access_seconds=settings.access_token_seconds),
        throttle=LoginThrottle(clock, failures, enabled=settings.rate_limits == "on"),
        clock=clock,
    )
    return Accounts(
        database, tools, instance=settings.public_url, refresh_seconds=settings.refresh_token_seconds
    )

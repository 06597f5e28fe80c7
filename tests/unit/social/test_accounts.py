"""Accounts against a real database (N1, N3-N6, N11, N20, N28, K1, K6)."""

import asyncio

import pytest

from social.accounts import Accounts, AccountTools
from social.guard import SessionGuard
from social.keys import KeyMaker, MasterKey
from social.passwords import Passwords
from social.throttle import LoginThrottle
from social.tokens import AccessTokens
from tables.errors import (
    DatabaseFailure,
    EmailTaken,
    InvalidCredentials,
    InvalidToken,
    RateLimitExceeded,
    TokenExpired,
    UsernameTaken,
    UserNotFound,
    ValidationFailed,
)
from tables.relational.models import ActorKeyRow, DidDocumentRow, RefreshTokenRow, SessionRow, UserRow

PASSWORD = "correct horse"


def build(database, clock, **changes):
    tools = {
        "passwords": Passwords(),
        "keys": KeyMaker(MasterKey(b"m" * 32), spare=1),
        "tokens": AccessTokens(b"t" * 32, issuer="http://h", clock=clock),
        "guard": SessionGuard(database, clock, access_seconds=900),
        "throttle": LoginThrottle(clock, per_account=3),
        "clock": clock,
    }
    return Accounts(database, AccountTools(**(tools | changes)), instance="http://h", refresh_seconds=86_400)


@pytest.fixture
async def accounts(database, clock):
    service = build(database, clock)
    yield service
    service.close()


async def test_account_is_signed_in_with_keys_when_registered(accounts, world):
    """N1, K1, K6: keys and DID are stored, private halves only sealed."""
    session = await accounts.register("Ada", "Ada@Example.org", PASSWORD)
    assert session.user.role == "user"
    assert session.user.did.startswith("did:key:z6Mk")
    assert session.expires_in == 900
    principal = await accounts.authenticate(session.access_token)
    assert (principal.user_id, principal.username, principal.role) == (session.user.id, "Ada", "user")
    (user,) = await world.rows(UserRow)
    (actor,) = await world.rows(ActorKeyRow)
    (document,) = await world.rows(DidDocumentRow)
    assert user.password_hash.startswith("$argon2id$")
    assert actor.public_pem.startswith("-----BEGIN PUBLIC KEY-----")
    assert b"PRIVATE" not in actor.private_wrapped
    assert (document.did, document.current_instance) == (user.did, "http://h")
    assert [row.topic for row in await world.outbox()] == ["events.user"]
    (token,) = await world.rows(RefreshTokenRow)
    assert session.refresh_token != token.token_hash


async def test_name_and_address_are_taken_when_case_differs(accounts):
    await accounts.register("ada", "ada@example.org", PASSWORD)
    with pytest.raises(UsernameTaken):
        await accounts.register("ADA", "other@example.org", PASSWORD)
    with pytest.raises(EmailTaken):
        await accounts.register("other", "ADA@example.org", PASSWORD)


async def test_one_wins_when_two_register_the_same_name_at_once(accounts, world):
    """The index decides, and the loser gets the same code as ever."""
    outcomes = await asyncio.gather(
        *(accounts.register("ada", f"a{number}@example.org", PASSWORD) for number in range(3)),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "Session",
        "UsernameTaken",
        "UsernameTaken",
    ]
    assert len(await world.rows(UserRow)) == 1


@pytest.mark.parametrize("name", ["ada", "ADA", "ada@example.org", "ADA@EXAMPLE.org"])
async def test_login_opens_another_session_when_credentials_fit(accounts, world, name):
    first = await accounts.register("ada", "ada@example.org", PASSWORD)
    second = await accounts.login(name, PASSWORD)
    assert second.user.id == first.user.id
    assert second.refresh_token != first.refresh_token
    assert len(await world.rows(SessionRow)) == 2


async def test_login_says_the_same_when_name_or_password_is_wrong(accounts):
    """N4: which one is not said."""
    await accounts.register("ada", "ada@example.org", PASSWORD)
    answers = []
    for name, password in (("ada", "wrong"), ("bob", PASSWORD), ("' OR 1=1", PASSWORD), ("ada", "\ud800")):
        with pytest.raises(InvalidCredentials) as caught:
            await accounts.login(name, password)
        answers.append((caught.value.code, caught.value.message, str(caught.value.details)))
    assert len(set(answers)) == 1


async def test_login_is_slowed_when_it_keeps_failing(accounts, clock):
    """N28."""
    await accounts.register("ada", "ada@example.org", PASSWORD)
    for _ in range(3):
        with pytest.raises(InvalidCredentials):
            await accounts.login("ada", "wrong", address="10.0.0.1")
    with pytest.raises(RateLimitExceeded):
        await accounts.login("ada", PASSWORD, address="10.0.0.1")
    await accounts.login("ada", PASSWORD, address="10.0.0.2")


async def test_refresh_rotates_when_the_token_is_fresh(accounts):
    """N5."""
    first = await accounts.register("ada", "ada@example.org", PASSWORD)
    second = await accounts.refresh(first.refresh_token)
    assert second.refresh_token != first.refresh_token
    assert (await accounts.authenticate(second.access_token)).user_id == first.user.id
    assert (await accounts.refresh(second.refresh_token)).user.id == first.user.id


async def test_session_ends_when_a_spent_token_comes_back(accounts):
    """N5, INTERFACE: the old token is dead, and its reuse ends the session with all its tokens."""
    first = await accounts.register("ada", "ada@example.org", PASSWORD)
    second = await accounts.refresh(first.refresh_token)
    other = await accounts.login("ada", PASSWORD)
    with pytest.raises(InvalidToken):
        await accounts.refresh(first.refresh_token)
    with pytest.raises(InvalidToken):
        await accounts.refresh(second.refresh_token)
    with pytest.raises(InvalidToken):
        await accounts.authenticate(second.access_token)
    await accounts.authenticate(other.access_token)


async def test_token_is_used_once_when_two_refresh_at_once(accounts):
    """N5: a use and a reuse, never two uses."""
    first = await accounts.register("ada", "ada@example.org", PASSWORD)
    outcomes = await asyncio.gather(
        *(accounts.refresh(first.refresh_token) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["InvalidToken", "Session"]


async def test_refresh_is_refused_when_unknown_or_too_old(accounts, clock):
    session = await accounts.register("ada", "ada@example.org", PASSWORD)
    for token in ("", "x", "\ud800", session.access_token):
        with pytest.raises(InvalidToken):
            await accounts.refresh(token)
    clock.now += 86_400
    with pytest.raises(TokenExpired):
        await accounts.refresh(session.refresh_token)


async def test_dead_sessions_and_spent_tokens_go_when_time_passes(accounts, world, clock):
    """Tables do not grow for ever."""
    session = await accounts.register("ada", "ada@example.org", PASSWORD)
    for _ in range(3):
        clock.now += 50_000
        session = await accounts.refresh(session.refresh_token)
    assert len(await world.rows(RefreshTokenRow)) == 3
    clock.now += 90_000
    await accounts.login("ada", PASSWORD)
    assert len(await world.rows(SessionRow)) == 1
    assert len(await world.rows(RefreshTokenRow)) == 1


async def test_session_is_refused_when_logged_out(accounts):
    """N1, N4."""
    session = await accounts.register("ada", "ada@example.org", PASSWORD)
    await accounts.logout(await accounts.authenticate(session.access_token))
    with pytest.raises(InvalidToken):
        await accounts.authenticate(session.access_token)
    with pytest.raises(InvalidToken):
        await accounts.refresh(session.refresh_token)


async def test_other_process_refuses_when_a_session_ended_elsewhere(accounts, database, clock):
    """A log out and a role change of another process are known after the poll, also after a restart."""
    session = await accounts.register("ada", "ada@example.org", PASSWORD)
    kept = await accounts.login("ada", PASSWORD)
    other = build(database, clock)
    principal = await other.authenticate(session.access_token)
    await accounts.logout(principal)
    await accounts.set_role("ADA", "operator")
    clock.now += 2
    with pytest.raises(InvalidToken):
        await other.authenticate(session.access_token)
    assert (await other.authenticate(kept.access_token)).role == "operator"
    restarted = build(database, clock)
    with pytest.raises(InvalidToken):
        await restarted.authenticate(session.access_token)
    other.close()
    restarted.close()


async def test_role_holds_at_once_when_set(accounts):
    """N11, INTERFACE: `freewill user role`."""
    session = await accounts.register("ada", "ada@example.org", PASSWORD)
    assert (await accounts.set_role("ada", "analyst")).role == "analyst"
    assert (await accounts.authenticate(session.access_token)).role == "analyst"
    assert (await accounts.refresh(session.refresh_token)).user.role == "analyst"
    with pytest.raises(ValidationFailed):
        await accounts.set_role("ada", "king")
    with pytest.raises(UserNotFound):
        await accounts.set_role("nobody", "user")


async def test_authentication_goes_on_when_the_database_is_away(accounts, database, clock, monkeypatch):
    """DESIGN invariant 7: the last known state counts; the hot path asks nothing."""
    session = await accounts.register("ada", "ada@example.org", PASSWORD)
    await accounts.authenticate(session.access_token)

    async def away(work):
        raise DatabaseFailure

    monkeypatch.setattr(database, "read", away)
    await accounts.authenticate(session.access_token)
    clock.now += 10
    await accounts.authenticate(session.access_token)


async def test_session_stays_ended_when_it_ends_while_the_guard_reads(clock):
    """An answer that was on its way when the session ended does not bring it back."""

    class Slow:
        reads = 0

        async def read(self, work):
            self.reads += 1
            if self.reads == 1:
                guard.end("s1")
                guard.set_role("u1", "user")
            return set(), {"u1": "operator"}

    guard = SessionGuard(Slow(), clock, access_seconds=900)
    await guard.fresh()
    assert guard.has_ended("s1")
    assert guard.role_of("u1", "operator") == "user"
    await guard.fresh()
    assert guard.role_of("u1", "user") == "operator"


async def test_user_is_found_when_asked_by_id_or_name(accounts):
    session = await accounts.register("Ada", "ada@example.org", PASSWORD, role="creator")
    assert (await accounts.get_user(session.user.id.upper())).username == "Ada"
    assert (await accounts.find_by_username("aDA")).role == "creator"
    assert await accounts.find_by_username("nobody") is None
    assert await accounts.find_by_username("ada@example.org") is None
    for unknown in ("x", "00000000-0000-0000-0000-000000000000", "a\0"):
        with pytest.raises(UserNotFound):
            await accounts.get_user(unknown)

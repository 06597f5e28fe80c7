"""Accounts and sessions: register, sign in, stay signed in, sign out (N1, N5, N6, N11, N28)."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from social.credentials import check_email, check_password, check_username, fold, login_key
from social.guard import SessionGuard
from social.ids import canonical, new_id
from social.keys import AccountKeys, KeyMaker
from social.passwords import Passwords
from social.throttle import LoginThrottle
from social.tokens import AccessTokens, fingerprint, new_refresh_token
from social.views import Principal, Session, User
from tables.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidToken,
    TokenExpired,
    UsernameTaken,
    UserNotFound,
    ValidationFailed,
)
from tables.records import UserFact
from tables.relational.engine import Database, constraint_of
from tables.relational.models import (
    ROLES,
    ActorKeyRow,
    DidDocumentRow,
    RefreshTokenRow,
    SessionRow,
    UserRow,
    moment,
    seconds,
)
from tables.relational.outbox import enqueue

REFRESH_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class AccountTools:
    """What accounts are made with; the composition root fills it."""

    passwords: Passwords
    keys: KeyMaker
    tokens: AccessTokens
    guard: SessionGuard
    throttle: LoginThrottle
    clock: Callable[[], float]


class Accounts:
    """The service of people and their sessions."""

    def __init__(
        self,
        database: Database,
        tools: AccountTools,
        *,
        instance: str = "",
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """Keep the parts; ``instance`` is the public origin, noted in the DID row (K5)."""
        self._database = database
        self._tools = tools
        self._instance = instance
        self._refresh_seconds = refresh_seconds

    async def register(self, username: str, email: str, password: str, *, role: str = "user") -> Session:
        """Open an account, with its keys, and sign it in (N1, K1).

        Raises:
            InvalidUsername: INVALID_USERNAME.
            InvalidEmail: INVALID_EMAIL.
            ValidationFailed: VALIDATION_ERROR for the password or role.
            UsernameTaken: USERNAME_TAKEN.
            EmailTaken: EMAIL_TAKEN.
        """
        check_username(username)
        address = check_email(email)
        check_password(password)
        _check_role(role)
        # Asked first, so that a taken name costs no hashing; the unique indexes decide a race.
        await self._database.read(lambda session: _refuse_taken(session, username, address))
        user_id = new_id()
        hashed = await self._tools.passwords.hash(password)
        keys = await self._tools.keys.make(user_id, password)
        row = self._user_row(user_id, username, address, hashed, role, keys.did)

        async def write(session: AsyncSession) -> tuple[str, str]:
            await _insert_user(session, _copy(row))
            session.add_all(self._key_rows(user_id, keys))
            fact = UserFact(kind="user.registered", user_id=user_id, at=seconds(row.created_at))
            enqueue(session, "events.user", user_id, fact, at=fact.at)
            return await self._open_session(session, user_id)

        return self._signed_in(row, *await self._database.run(write))

    async def login(self, username_or_email: str, password: str, *, address: str = "") -> Session:
        """Sign in by user name or e-mail; ``address`` is the caller's, for the throttle (N28).

        An unknown name takes as long as a wrong password and gets the same answer.

        Raises:
            InvalidCredentials: INVALID_CREDENTIALS.
            RateLimitExceeded: RATE_LIMIT_EXCEEDED.
        """
        key = login_key(username_or_email)
        account = key[0] if key else username_or_email
        await self._tools.throttle.check(account, address)
        row = await self._database.read(lambda session: _find(session, key)) if key else None
        try:
            password.encode()
        except UnicodeEncodeError:
            raise InvalidCredentials from None
        if not await self._tools.passwords.verify(row.password_hash if row else None, password) or not row:
            await self._tools.throttle.failed(account, address)
            raise InvalidCredentials
        await self._tools.throttle.succeeded(account, address)
        user_id = row.id

        async def write(session: AsyncSession) -> tuple[str, str]:
            now = self._tools.clock()
            await _drop_dead_sessions(session, user_id, now)
            session_id, token = await self._open_session(session, user_id)
            fact = UserFact(kind="user.logged_in", user_id=user_id, at=now, detail=session_id)
            enqueue(session, "events.user", user_id, fact, at=now)
            return session_id, token

        return self._signed_in(row, *await self._database.run(write))

    async def refresh(self, refresh_token: str) -> Session:
        """Trade a refresh token for new tokens; a spent one that comes back ends its session (N5).

        Raises:
            InvalidToken: INVALID_TOKEN when it is unknown, spent, or its session has ended.
            TokenExpired: TOKEN_EXPIRED when the session was left alone for too long.
        """
        outcome = await self._database.run(lambda session: self._rotate(session, refresh_token))
        if isinstance(outcome, _Refusal):
            if outcome.ended_session:
                self._tools.guard.end(outcome.ended_session)
            raise TokenExpired if outcome.expired else InvalidToken
        return self._signed_in(*outcome)

    async def logout(self, principal: Principal) -> None:
        """End the caller's session: its access and refresh tokens are refused from now on."""
        now = self._tools.clock()

        async def write(session: AsyncSession) -> None:
            row = await session.get(SessionRow, principal.session_id)
            if row is not None:
                _revoke(row, now, "logout")

        await self._database.run(write)
        self._tools.guard.end(principal.session_id)

    async def authenticate(self, access_token: str) -> Principal:
        """Return whom an access token names, with the role that holds now; no query on the hot path.

        Raises:
            InvalidToken: INVALID_TOKEN, also when the session has ended.
            TokenExpired: TOKEN_EXPIRED.
        """
        principal = self._tools.tokens.verify(access_token)
        guard = self._tools.guard
        await guard.fresh()
        if guard.has_ended(principal.session_id):
            raise InvalidToken("The session has ended.")
        role = guard.role_of(principal.user_id, principal.role)
        if role == principal.role:
            return principal
        return Principal(principal.user_id, principal.username, role, principal.session_id)

    async def set_role(self, username: str, role: str) -> User:
        """Give a user another role; sessions that are open have it at once (N11).

        Raises:
            UserNotFound: USER_NOT_FOUND.
            ValidationFailed: VALIDATION_ERROR for an unknown role.
        """
        _check_role(role)
        now = moment(self._tools.clock())

        async def write(session: AsyncSession) -> User:
            row = await _find(session, (fold(username), False))
            if row is None:
                raise UserNotFound
            row.role, row.role_changed_at, row.updated_at = role, now, now
            return user_view(row)

        user = await self._database.run(write)
        self._tools.guard.set_role(user.id, role)
        return user

    async def get_user(self, user_id: str) -> User:
        """Return an account by id.

        Raises:
            UserNotFound: USER_NOT_FOUND.
        """
        known = canonical(user_id)
        row = await self._database.read(lambda session: session.get(UserRow, known)) if known else None
        if row is None:
            raise UserNotFound
        return user_view(row)

    async def find_by_username(self, username: str) -> User | None:
        """Return an account by name, whatever the case; None when there is none."""
        key = login_key(username)
        if key is None or key[1]:
            return None
        row = await self._database.read(lambda session: _find(session, key))
        return None if row is None else user_view(row)

    def close(self) -> None:
        """Let go of the threads."""
        self._tools.passwords.close()
        self._tools.keys.close()

    def _user_row(self, user_id: str, username: str, email: str, hashed: str, role: str, did: str) -> UserRow:
        now = moment(self._tools.clock())
        return UserRow(
            id=user_id,
            username=username,
            username_key=fold(username),
            email=email,
            email_key=fold(email),
            password_hash=hashed,
            role=role,
            display_name=username,
            bio="",
            did=did,
            created_at=now,
            updated_at=now,
        )

    def _key_rows(self, user_id: str, keys: AccountKeys) -> list[ActorKeyRow | DidDocumentRow]:
        now = moment(self._tools.clock())
        return [
            ActorKeyRow(
                user_id=user_id,
                algorithm="rsa-2048",
                public_pem=keys.signing_public_pem,
                private_wrapped=keys.signing_wrapped,
                endorsement=keys.endorsement,
                created_at=now,
            ),
            DidDocumentRow(
                user_id=user_id,
                did=keys.did,
                public_key=keys.identity_public,
                private_encrypted=keys.identity_encrypted,
                current_instance=self._instance,
                created_at=now,
                updated_at=now,
            ),
        ]

    async def _open_session(self, session: AsyncSession, user_id: str) -> tuple[str, str]:
        now = self._tools.clock()
        session_id, token = new_id(), new_refresh_token()
        session.add(
            SessionRow(
                id=session_id,
                user_id=user_id,
                created_at=moment(now),
                expires_at=moment(now + self._refresh_seconds),
            )
        )
        await session.flush()
        session.add(
            RefreshTokenRow(token_hash=fingerprint(token), session_id=session_id, created_at=moment(now))
        )
        return session_id, token

    async def _rotate(
        self, session: AsyncSession, refresh_token: str
    ) -> "tuple[UserRow, str, str] | _Refusal":
        now = self._tools.clock()
        # The lock makes two refreshes with one token a use and a reuse, never two uses.
        spent = await session.get(RefreshTokenRow, fingerprint(refresh_token), with_for_update=True)
        if spent is None:
            return _Refusal()
        opened = await session.get_one(SessionRow, spent.session_id, with_for_update=True)
        if spent.spent_at is not None:
            _revoke(opened, now, "refresh token reused")
            return _Refusal(ended_session=opened.id)
        if opened.revoked_at is not None:
            return _Refusal()
        if seconds(opened.expires_at) <= now:
            return _Refusal(expired=True)
        spent.spent_at = moment(now)
        opened.expires_at = moment(now + self._refresh_seconds)
        # A session that is used for ever must not keep its spent tokens for ever.
        old = RefreshTokenRow.spent_at <= moment(now - self._refresh_seconds)
        await session.execute(delete(RefreshTokenRow).where(RefreshTokenRow.session_id == opened.id, old))
        token = new_refresh_token()
        session.add(
            RefreshTokenRow(token_hash=fingerprint(token), session_id=opened.id, created_at=moment(now))
        )
        return await session.get_one(UserRow, opened.user_id), opened.id, token

    def _signed_in(self, row: UserRow, session_id: str, refresh_token: str) -> Session:
        tokens = self._tools.tokens
        access = tokens.issue(Principal(row.id, row.username, row.role, session_id))
        return Session(user_view(row), access, refresh_token, tokens.access_seconds)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a refresh token is not taken; the transaction that finds it still commits."""

    expired: bool = False
    ended_session: str | None = None


def user_view(row: UserRow) -> User:
    """Turn a row into what services answer."""
    return User(
        id=row.id,
        username=row.username,
        email=row.email,
        role=row.role,
        display_name=row.display_name,
        bio=row.bio,
        avatar_key=row.avatar_key,
        did=row.did,
        created_at=seconds(row.created_at),
    )


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ValidationFailed("There is no such role.", details={"field": "role", "allowed": list(ROLES)})


async def _find(session: AsyncSession, key: tuple[str, bool]) -> UserRow | None:
    column = UserRow.email_key if key[1] else UserRow.username_key
    return (await session.scalars(select(UserRow).where(column == key[0]))).one_or_none()


async def _refuse_taken(session: AsyncSession, username: str, email: str) -> None:
    if await _find(session, (fold(username), False)) is not None:
        raise UsernameTaken(details={"field": "username"})
    if await _find(session, (fold(email), True)) is not None:
        raise EmailTaken(details={"field": "email"})


async def _insert_user(session: AsyncSession, row: UserRow) -> None:
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        if "email" in constraint_of(error):
            raise EmailTaken(details={"field": "email"}) from None
        raise UsernameTaken(details={"field": "username"}) from None


def _copy(row: UserRow) -> UserRow:
    """Copy a new row: a transaction that runs twice must not add the same object twice."""
    return UserRow(**{column.key: getattr(row, column.key) for column in UserRow.__table__.columns})


def _revoke(row: SessionRow, now: float, reason: str) -> None:
    if row.revoked_at is None:
        row.revoked_at, row.revoked_reason = moment(now), reason


async def _drop_dead_sessions(session: AsyncSession, user_id: str, now: float) -> None:
    """Remove the user's sessions that expired, so that the table does not grow for ever."""
    await session.execute(
        delete(SessionRow).where(SessionRow.user_id == user_id, SessionRow.expires_at <= moment(now))
    )

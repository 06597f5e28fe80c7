"""Names, addresses, passwords, hashing, throttle (N6, N16, N20, N28)."""

import asyncio

import pytest

from social.credentials import check_email, check_password, check_username, login_key
from social.passwords import Passwords
from social.throttle import LoginThrottle, MemoryFailures
from tables.errors import InvalidEmail, InvalidUsername, RateLimitExceeded, ValidationFailed


@pytest.mark.parametrize("name", ["a", "Ada_99", "x" * 30])
def test_username_passes_when_well_formed(name):
    assert check_username(name) == name


@pytest.mark.parametrize("name", ["", "x" * 31, "a b", "a-b", "ä", "a\n", "a@b", "../x", "a\0"])
def test_username_is_refused_when_malformed(name):
    """N20."""
    with pytest.raises(InvalidUsername):
        check_username(name)


@pytest.mark.parametrize("email", ["a@b.org", " a+b@sub.b.org ", "ü@b.org", "root@localhost"])
def test_email_passes_when_well_formed(email):
    assert check_email(email) == email.strip()


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "a@",
        "@b.org",
        "a@b",
        "a b@c.org",
        "a@b@c.org",
        "a@b..org",
        "a\0@b.org",
        "\ud800@b.org",
        "a@" + "b" * 250 + ".org",
        "a" * 65 + "@b.org",
        "a@b.org\nBcc: x@y.org",
    ],
)
def test_email_is_refused_when_malformed(email):
    """N20, N25."""
    with pytest.raises(InvalidEmail):
        check_email(email)


@pytest.mark.parametrize("password", ["short 7", "x" * 129, "", "\ud800" * 9])
def test_password_is_refused_when_out_of_bounds(password):
    """N16: the answer names the field and never holds the value."""
    with pytest.raises(ValidationFailed) as caught:
        check_password(password)
    assert caught.value.details["field"] == "password"
    assert not password or password not in str(caught.value.details)


def test_login_key_finds_names_and_addresses_when_typed_in_any_case():
    assert login_key(" ADA ") == ("ada", False)
    assert login_key("A@B.ORG") == ("a@b.org", True)
    assert login_key("' OR 1=1 --") is None


async def test_password_verifies_only_when_it_is_the_one():
    """N6: argon2id, salted; an unknown user costs a verification too and never fits."""
    passwords = Passwords()
    first, second = await asyncio.gather(passwords.hash("correct horse"), passwords.hash("correct horse"))
    assert first.startswith("$argon2id$")
    assert first != second
    assert await passwords.verify(first, "correct horse")
    assert not await passwords.verify(first, "correct horsE")
    assert not await passwords.verify(None, "correct horse")
    assert not await passwords.verify("not a hash", "correct horse")
    assert not passwords.is_outdated(first)
    passwords.close()


async def test_throttle_closes_for_one_address_when_an_account_is_guessed(clock):
    """N28: others can still sign in, and time opens it again."""
    throttle = LoginThrottle(clock, per_account=3, per_address=100, window_seconds=60)
    for _ in range(3):
        await throttle.check("ada", "10.0.0.1")
        await throttle.failed("ada", "10.0.0.1")
    with pytest.raises(RateLimitExceeded) as caught:
        await throttle.check("ada", "10.0.0.1")
    assert caught.value.retry_after_seconds == 60
    await throttle.check("ada", "10.0.0.2")
    clock.now += 60
    await throttle.check("ada", "10.0.0.1")


async def test_throttle_closes_an_address_when_it_tries_many_accounts(clock):
    """N28."""
    throttle = LoginThrottle(clock, per_account=3, per_address=5)
    for number in range(5):
        await throttle.failed(f"user{number}", "10.0.0.1")
    with pytest.raises(RateLimitExceeded):
        await throttle.check("somebody else", "10.0.0.1")


async def test_throttle_closes_an_account_when_guessed_from_everywhere(clock):
    """N28."""
    throttle = LoginThrottle(clock, per_account=2, per_address=100)
    for number in range(20):
        await throttle.failed("ada", f"10.0.0.{number}")
    with pytest.raises(RateLimitExceeded):
        await throttle.check("ada", "10.9.9.9")


async def test_throttle_forgets_when_the_owner_gets_in(clock):
    throttle = LoginThrottle(clock, per_account=2)
    await throttle.failed("ada", "10.0.0.1")
    await throttle.succeeded("ada", "10.0.0.1")
    await throttle.failed("ada", "10.0.0.1")
    await throttle.check("ada", "10.0.0.1")


async def test_throttle_stays_small_when_many_names_are_tried(clock):
    failures = MemoryFailures(max_keys=50)
    throttle = LoginThrottle(clock, failures)
    for number in range(200):
        await throttle.failed(f"user{number}", f"10.0.0.{number}")
    assert len(failures._tallies) <= 50


async def test_throttle_lets_everything_pass_when_switched_off(clock):
    """INTERFACE: FREEWILL_RATE_LIMITS=off."""
    throttle = LoginThrottle(clock, enabled=False, per_account=1)
    for _ in range(9):
        await throttle.failed("ada", "")
    await throttle.check("ada", "")

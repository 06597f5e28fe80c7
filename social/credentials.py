"""The form of user names, e-mail addresses and passwords (N20)."""

import re

from tables.errors import InvalidEmail, InvalidUsername, ValidationFailed

CHANNEL_SUFFIX = "_channel"
"""Peers know a person's channel by the person's name with this (Y1)."""
_USERNAME = re.compile(r"[A-Za-z0-9_]{1,30}")
# Deliberately loose (RFC 5321 allows much): one @, a dotted domain or localhost, nothing invisible.
_EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")
MAX_EMAIL_CHARS = 254  # RFC 5321 section 4.5.3.1.3
MIN_PASSWORD_CHARS, MAX_PASSWORD_CHARS = 8, 128


def check_username(username: str) -> str:
    """Return the name.

    Raises:
        InvalidUsername: INVALID_USERNAME unless it has 1 to 30 letters, digits or underscores.
    """
    if not _USERNAME.fullmatch(username):
        raise InvalidUsername(details={"field": "username", "pattern": _USERNAME.pattern})
    if username.lower().endswith(CHANNEL_SUFFIX):
        reason = f"Names that end in {CHANNEL_SUFFIX} belong to channels."
        raise InvalidUsername(reason, details={"field": "username"})
    return username


def check_email(email: str) -> str:
    """Return the address without surrounding blanks.

    Raises:
        InvalidEmail: INVALID_EMAIL.
    """
    address = email.strip()
    if len(address) > MAX_EMAIL_CHARS or not _EMAIL.fullmatch(address) or not _is_text(address):
        raise InvalidEmail(details={"field": "email"})
    domain = address.rpartition("@")[2]
    if "." not in domain and domain.lower() != "localhost":
        raise InvalidEmail(details={"field": "email"})
    return address


def check_password(password: str) -> str:
    """Return the password.

    Raises:
        ValidationFailed: VALIDATION_ERROR, ``details.field`` is ``password``; the value is never in it (N16).
    """
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS or not _is_text(password):
        raise ValidationFailed(
            f"A password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters.",
            details={
                "field": "password",
                "min_length": MIN_PASSWORD_CHARS,
                "max_length": MAX_PASSWORD_CHARS,
            },
        )
    return password


def login_key(name: str) -> tuple[str, bool] | None:
    """Return what to look a user up by and whether it is an e-mail address; None when nobody can have it.

    >>> login_key("Ada"), login_key("Ada@Example.org"), login_key("no such name")
    (('ada', False), ('ada@example.org', True), None)
    """
    text = name.strip()
    if _USERNAME.fullmatch(text):
        return fold(text), False
    if len(text) <= MAX_EMAIL_CHARS and _EMAIL.fullmatch(text) and _is_text(text):
        return fold(text), True
    return None


def fold(text: str) -> str:
    """Return the form in which names and addresses are unique: case does not count."""
    return text.lower()


def _is_text(value: str) -> bool:
    """Tell whether the string can be stored: JSON can smuggle in lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

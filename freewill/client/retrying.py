"""How long to wait before the next try (A32). Pure."""

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0


def wait_seconds(attempt: int, dice: float, retry_after: float | None = None) -> float:
    """Return the seconds before a try: doubling to half a minute, half of it thrown, never before asked.

    Args:
        attempt: tries that failed in a row, from 1.
        dice: a number in [0, 1).
        retry_after: what the server asked for, in seconds.

    >>> wait_seconds(1, 0.0), wait_seconds(3, 1.0), wait_seconds(99, 1.0), wait_seconds(1, 1.0, 7.0)
    (0.5, 4.0, 30.0, 7.0)
    """
    whole = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempt - 1, 10))
    return max(retry_after or 0.0, whole / 2 + whole / 2 * dice)

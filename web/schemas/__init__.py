"""Models of what clients send and get: snake_case JSON, UUID strings, RFC 3339 times with ``Z``."""

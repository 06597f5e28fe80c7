"""Request headers of tus 1.0.0 and of the IETF's resumable uploads (A49, Y5)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_BYTES = 2**53
MAX_DIGITS = 16


def _number(value: Any) -> Any:
    """Take digits only: neither sign, nor space, nor anything else that ``int`` reads."""
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise ValueError("not a number of bytes")
    return int(text)


def _flag(value: Any) -> bool | None:
    """Read a structured field's boolean; other values count as none (draft section 4.1.2)."""
    return {"?1": True, "?0": False}.get(str(value).strip())


Bytes = Annotated[int, BeforeValidator(_number), Field(ge=0, lt=MAX_BYTES)]
Flag = Annotated[bool | None, BeforeValidator(_flag), Field(description="Structured boolean, `?1` or `?0`.")]


def _named(name: str) -> str:
    """Return the header of a field: ``upload_offset`` is ``Upload-Offset``."""
    return "-".join(word.capitalize() for word in name.split("_"))


class Headers(BaseModel):
    """Request headers: text on the wire, others passed over."""

    model_config = ConfigDict(extra="ignore", alias_generator=_named)


class TusHeaders(Headers):
    """What every request of tus carries."""

    tus_resumable: str | None = Field(None, description="`1.0.0`; without it the draft is meant.")


class CreateHeaders(TusHeaders):
    """Opens an upload: in tus with `Upload-Length` or `-Defer-Length`, in the draft `Upload-Complete`."""

    upload_length: Bytes | None = Field(None, description="Bytes of the whole file.")
    upload_defer_length: Literal["1"] | None = Field(None, description="The length is told later.")
    upload_metadata: str = Field(
        "",
        description="Pairs of key and base64: filename, filetype, title, description, tags (with commas), "
        "visibility, policy.",
    )
    upload_concat: str | None = Field(None, description="`partial`, or `final;` and the URLs of pieces.")
    upload_checksum: str | None = Field(None, description="Algorithm and base64 of the body's digest.")
    upload_complete: Flag = None
    upload_draft_interop_version: str | None = Field(None, description="`8` asks for interim responses.")


class AppendHeaders(TusHeaders):
    """Adds bytes to an upload."""

    upload_offset: Bytes
    upload_length: Bytes | None = Field(None, description="Once, when it was not known at first.")
    upload_checksum: str | None = Field(None, description="Algorithm and base64 of the body's digest.")
    upload_complete: Flag = None


class OverrideHeaders(TusHeaders):
    """Stands for another method where only POST gets through."""

    x_http_method_override: Literal["PATCH", "HEAD", "DELETE"] = Field(alias="X-HTTP-Method-Override")

"""The words that the API's documents are made of: typed once, bounded, and strict about what they take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from provisioner.errors import Invalid
from provisioner.model import Mac

T = TypeVar("T")

CLEAN: Final = r"^[^\x00-\x1f\x7f]*$"
"""No control characters: none of them means anything here, and PostgreSQL's text holds no NUL."""
LARGEST: Final = 2**53 - 1
"""What every JSON reader holds exactly, and every database."""


class Given(BaseModel):
    """What a caller sends: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class Asked(BaseModel):
    """What a caller writes behind the question mark: text, so it is converted; nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Told(BaseModel):
    """What the server answers."""

    beside: ClassVar[frozenset[str]] = frozenset()
    """Fields that tell of the call alone: no part of what an ETag is of."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True, hide_input_in_errors=True)


class Nothing(Asked):
    """No question."""


class Fields(Asked):
    """Sparse fields."""

    fields: Annotated[
        str,
        Field(
            default="",
            max_length=400,
            pattern=r"^([a-z_]+(,[a-z_]+)*)?$",
            description="Only these fields, by commas; empty for all",
        ),
    ]


class Turning(Fields):
    """A list, a page at a time."""

    limit: Annotated[int, Field(default=100, ge=1, le=500, description="Rows of a page at most")]
    cursor: Annotated[
        str,
        Field(
            default="",
            max_length=400,
            pattern=r"^[A-Za-z0-9_-]*$",
            description="`next` of the page before; means something to this server alone",
        ),
    ]


class Paged(Told, Generic[T]):
    """A page of a list."""

    items: list[T]
    next: Annotated[str | None, Field(description="`cursor` of the next page; null after the last one")]


def _maybe(value: object) -> object:
    return None if value == "" else value


def _moment(value: object) -> object:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, (int, float)) else value


def _told(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _mac(value: str) -> str:
    try:
        return Mac.parse(value)
    except Invalid as error:
        raise ValueError(error.why) from None


Moment = Annotated[datetime, BeforeValidator(_moment), PlainSerializer(_told, return_type=str, when_used="json")]
"""Unix time inside, RFC 3339 in UTC outside."""
MaybeMoment = Annotated[
    datetime | None,
    BeforeValidator(_moment),
    PlainSerializer(lambda value: value and _told(value), return_type=str | None, when_used="json"),
]
Maybe = Annotated[str | None, BeforeValidator(_maybe)]
"""Empty inside, null outside."""
AMac = Annotated[
    str,
    Field(max_length=40),
    AfterValidator(_mac),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^([0-9a-fA-F]{2}[:-]?){5}[0-9a-fA-F]{2}$",
            "examples": ["0004f2aabbcc", "00:04:F2:AA:BB:CC"],
            "description": "A MAC address, in any usual spelling",
        },
        mode="validation",
    ),
]
Ref = Annotated[str, Field(min_length=1, max_length=254, pattern=CLEAN)]
"""An id, or the name people use."""
MaybeRef = Annotated[str, Field(max_length=254, pattern=CLEAN)]
Text = Annotated[str, Field(min_length=1, max_length=254, pattern=CLEAN)]
MaybeText = Annotated[str, Field(max_length=254, pattern=CLEAN)]
Password = Annotated[str, Field(max_length=64, pattern=CLEAN, json_schema_extra={"format": "password"})]
Id = Annotated[str, Field(description="An id")]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
Json = Any
"""A value of a setting: what it may be, the setting says."""


def moment(at: float) -> datetime:
    """Unix time as documents tell it."""
    return datetime.fromtimestamp(at, UTC)

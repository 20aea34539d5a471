"""What comes with a request: bounded, and checked field by field."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from protocol.errors import InvalidMessage, MessageTooLarge
from protocol.messages import Record
from protocol.strict_json import first_problem, parse_object

BODY_BYTES = 4 * 1024 * 1024

Model = TypeVar("Model", bound=Record)


async def body_of(request: Request, model: type[Model]) -> Model:
    """The body as a model; an empty body is an empty object.

    :raises MessageTooLarge: above BODY_BYTES, without reading on.
    :raises InvalidMessage: naming the field that is wrong.
    """
    return parsed(await bytes_of(request) or b"{}", model)


async def bytes_of(request: Request) -> bytes:
    """:raises MessageTooLarge: above BODY_BYTES, without reading on."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES:
            raise MessageTooLarge("body", len(data), BODY_BYTES)
    return bytes(data)


def parsed(data: bytes, model: type[Model]) -> Model:
    """:raises InvalidMessage: naming the field that is wrong."""
    return modelled(parse_object(data), model)


def modelled(fields: Mapping[str, Any], model: type[Model]) -> Model:
    """:raises InvalidMessage: naming the field that is wrong, or unknown."""
    unknown = sorted(fields.keys() - model.model_fields.keys())
    if unknown:
        raise InvalidMessage(unknown[0], "is not known here", f"give only {', '.join(model.model_fields)}")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidMessage(*first_problem(error), "correct the request") from None


def query_of(request: Request, model: type[Model]) -> Model:
    """The query's parameters as a model.

    :raises InvalidMessage: naming the parameter that is wrong.
    """
    return modelled(dict(request.query_params), model)

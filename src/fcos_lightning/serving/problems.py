"""What a client is told instead of an answer: one line of JSON, whatever went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fcos_lightning.errors import shown
from fcos_lightning.serving.answers import Refused
from fcos_lightning.serving.guard import GONE
from fcos_lightning.serving.incoming.bodies import Gone

#: What a client may be told instead of an answer.
PROBLEMS = {
    400: "The form or the list cannot be read, or the request is addressed to another host.",
    403: "A page of another site asks.",
    408: "The body arrives too slowly.",
    413: "Too many bytes or pixels.",
    415: "The body is of a kind that is not taken.",
    422: "No image, a damaged one, or a threshold that is none.",
    429: "Too many images wait; Retry-After says when to try again.",
    500: "The detector failed, or memory ended; the server goes on.",
    503: "The server stops, or had no time for this image.",
}


def answer_problems(api: FastAPI) -> None:
    """Have an application answer by this file's lines whatever is raised in it."""
    api.add_exception_handler(Refused, _refused)
    api.add_exception_handler(Gone, _gone)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(Exception, _failed)


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return error.response()


def _gone(_: Request, error: Exception) -> Response:
    return Response(status_code=GONE)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return Refused(422, first_of(error.errors())).response()


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = Refused(error.status_code, str(error.detail)).response()
    answer.headers.update(error.headers or {})
    return answer


def _failed(_: Request, error: Exception) -> JSONResponse:
    return Refused(500, "the server failed; its log says why").response()


def first_of(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return the first thing that is wrong with what was sent, in one line."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part != "query")
    if place == "score_threshold":
        return f"score_threshold={shown(first['input'])}: give 0 to 1"
    if first["type"] == "extra_forbidden":
        return f"{shown(place)}: there is no such parameter"
    return f"{place}: {first['msg']}" if place else str(first["msg"])

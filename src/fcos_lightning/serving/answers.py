"""What a server answers: detections, a list of them, or why not."""

from __future__ import annotations

from typing import Annotated

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from fcos_lightning.printing import message_line
from fcos_lightning.structures import Detections


class Refused(Exception):
    """A request is not answered, and this is why.

    Attributes:
        status: of HTTP.
        reason: one line.
        retry_after_s: when it is worth another try, in whole seconds; None: it is not.
    """

    def __init__(self, status: int, reason: str, retry_after_s: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = message_line(reason)
        self.retry_after_s = retry_after_s

    def response(self) -> JSONResponse:
        """Return it as an answer: ``{"error": "..."}``."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": self.reason}, self.status, headers)


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="One line: what is wrong, and what to do.")


class Size(BaseModel):
    """Of an image, turned as its EXIF orientation says."""

    width: int
    height: int


class Detected(BaseModel):
    """What was found in an image, best first."""

    boxes: list[tuple[float, float, float, float]] = Field(
        description="Left, top, right, bottom of each, in pixels of the image as it was sent."
    )
    scores: list[float] = Field(description="Of each box, 0 to 1.")
    labels: list[int] = Field(description="The class of each box, from 0.")
    names: list[str] | None = Field(
        description="The name of the class of each box; null where the checkpoint has none."
    )
    size: Size
    model: str = Field(description="The name of the checkpoint's file.")
    milliseconds: float = Field(description="From the request's last byte to this answer.")

    @classmethod
    def of(cls, found: Detections, size_hw: tuple[int, int], model: str, took_s: float) -> Detected:
        """Return the answer for an image; numbers are those of the detections, digit by digit."""
        names = found.names
        return cls(
            boxes=found.boxes_xyxy.tolist(),
            scores=found.scores.tolist(),
            labels=found.labels.tolist(),
            names=None if names is None else list(names),
            size=Size(width=size_hw[1], height=size_hw[0]),
            model=model,
            milliseconds=round(took_s * 1000, 3),
        )


class AtAddress(BaseModel):
    """What came of one address: what was found, or why not."""

    url: str
    found: Detected | None = None
    error: str | None = None


class Listed(BaseModel):
    """What came of a list of addresses, in its order."""

    images: list[AtAddress]


class Addresses(BaseModel):
    """Images that the server is to fetch."""

    model_config = ConfigDict(extra="forbid")

    urls: list[str] = Field(min_length=1, max_length=16)


class Asked(BaseModel):
    """What may stand behind the question mark."""

    model_config = ConfigDict(extra="forbid")

    # None stands for no threshold, and cannot be sent: so it has no place in the description.
    score_threshold: Annotated[
        float | None, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})
    ] = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Weaker detections are left out; else that of the server.",
    )

"""Errors that a caller of the API is answered with: a status, a code for programs, one sentence for people.

ApiError
├── NotFound        404
├── Unauthorised    401
├── Forbidden       403
├── Conflict        409
├── Gone            410
├── LengthRequired  411
├── TooLarge        413
├── Unprocessable   422
├── OtherProtocol   426
└── Unavailable     503
"""

from __future__ import annotations

from fedflow.errors import FedFlowError


class ApiError(FedFlowError):
    """Root of the tree. A subclass gives HTTP `status` and `code`; the message is one sentence with the way out."""

    status = 500
    code = "failed"


class NotFound(ApiError):  # noqa: N818 - the API's word
    """There is no such thing, or none that this caller may know of."""

    status = 404
    code = "not_found"


class Unauthorised(ApiError):  # noqa: N818 - the API's word
    """Nobody knows who the caller is: no token, or one that is unknown, expired or revoked."""

    status = 401
    code = "unauthorised"


class Forbidden(ApiError):  # noqa: N818 - the API's word
    """The caller is known and may not do this."""

    status = 403
    code = "forbidden"


class Conflict(ApiError):  # noqa: N818 - the API's word
    """It does not go with what is there already."""

    status = 409
    code = "conflict"


class UnderWay(Conflict):
    """The same request came before, and is not answered yet."""

    code = "under_way"


class AlreadyMade(Conflict):
    """What a form asks for was made when it was sent before, and its secret was told then."""


class Gone(ApiError):  # noqa: N818 - the API's word
    """It was there, and will not come back."""

    status = 410
    code = "gone"


class LengthRequired(ApiError):  # noqa: N818 - the API's word
    """A body whose length nobody says, where one must."""

    status = 411
    code = "length_required"


class TooLarge(ApiError):  # noqa: N818 - the API's word
    """More bytes than the server takes."""

    status = 413
    code = "too_large"


class Unprocessable(ApiError):  # noqa: N818 - the API's word
    """Understood, and its content cannot be used."""

    status = 422
    code = "unprocessable"


class OtherProtocol(ApiError):  # noqa: N818 - the API's word
    """The client speaks another version of the protocol."""

    status = 426
    code = "other_protocol"


class Unavailable(ApiError):  # noqa: N818 - the API's word
    """The server cannot do it now; the same request later may succeed."""

    status = 503
    code = "unavailable"

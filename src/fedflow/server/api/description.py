"""What the routes' signatures do not say of the API: headers, streams, and the methods and statuses of tus."""

from __future__ import annotations

import re
from typing import Any

from flask_openapi3.openapi import OpenAPI

from fedflow.federation.protocol import API
from fedflow.server.api.idempotency import is_idempotent
from fedflow.server.services.upload_writing import CHECKSUMS

Operation = dict[str, Any]

KEY = ("Idempotency-Key", False, "1 to 200 characters, best a random UUID: sent again with it, nothing is done again.")
KEY_NOT_NEEDED = ("Idempotency-Key", False, "May be sent and is not needed: the same update again changes nothing.")
LAST_EVENT = ("Last-Event-ID", False, "For a stream: the number of the last event that came; takes the place of after.")
ACCEPT = ("Accept", False, "application/json for a page, text/event-stream for a stream that lasts up to a minute.")
TUS = ("Tus-Resumable", True, "1.0.0")
LENGTH = ("Upload-Length", True, "Bytes of the whole upload.")
OFFSET = ("Upload-Offset", True, "Where the body begins; the server's own count, else 409.")
CHECKSUM = ("Upload-Checksum", False, f"'ALGORITHM BASE64' of the body; one of {', '.join(CHECKSUMS)}.")
METADATA = ("Upload-Metadata", False, "Comma-separated pairs 'key base64', given back by HEAD.")
OVERRIDE = ("X-HTTP-Method-Override", True, "PATCH or DELETE.")

UPLOADS, UPLOAD = f"{API}/uploads", f"{API}/uploads/{{upload_id}}"
REQUEST_HEADERS = {
    (f"{API}/federations/{{federation_id}}/events", "get"): (ACCEPT, LAST_EVENT),
    (f"{API}/files/{{sha256}}", "get"): (
        ("Range", False, "bytes=FIRST-LAST: a part, answered 206."),
        ("If-Range", False, "The ETag, which is the SHA-256 in quotes: the part if it is still this file's."),
        ("If-None-Match", False, "The ETag: 304 without content, as a file never changes."),
    ),
    (f"{API}/runs/{{run_id}}/rounds/{{number}}/updates", "post"): (KEY_NOT_NEEDED,),
    (UPLOADS, "post"): (TUS, LENGTH, METADATA, CHECKSUM),
    (UPLOAD, "head"): (TUS,),
    (UPLOAD, "patch"): (TUS, OFFSET, CHECKSUM),
    (UPLOAD, "delete"): (TUS,),
    (UPLOAD, "post"): (TUS, OVERRIDE, ("Upload-Offset", False, OFFSET[2]), CHECKSUM),
}

AT = {"Upload-Offset": "Bytes that are on the server's disk."}
EXPIRES = {"Upload-Expires": "When the server forgets the upload, by its own clock; missing where it is whole."}
ANSWER_HEADERS = {
    (UPLOADS, "post", "201"): {"Location": "The upload's address, relative to the server's.", **AT, **EXPIRES},
    (UPLOAD, "head", "200"): {"Upload-Length": LENGTH[2], "Upload-Metadata": "As it was given.", **AT, **EXPIRES},
    (UPLOAD, "patch", "204"): {**AT, **EXPIRES},
    (UPLOAD, "post", "204"): {**AT, **EXPIRES},
}

ALWAYS = frozenset({"426", "500", "503"})
WITH_A_TOKEN = frozenset({"401", "403", "429"})
WITH_JSON = frozenset({"400", "411", "413", "415", "422"})
OF_UPLOADS = frozenset({"400", "408", "409", "410", "413", "415", "429"})
OF_SOME = {
    ("/join", "post"): ("404", "410", "429"),
    ("/sign-ins", "post"): ("429",),
    ("/sign-ins/state", "post"): ("404", "410", "429"),
    ("/devices/challenge", "post"): ("403", "404", "429"),
    ("/devices/token", "post"): ("401", "403", "404", "429"),
    ("/me/invitations", "post"): ("404", "410"),
    ("/me/tokens", "post"): ("404",),
    ("/runs", "post"): ("404",),
    ("/artifacts/{artifact_id}/examples", "put"): ("411", "413", "415"),
    ("/federations/{federation_id}/imports", "post"): ("410",),
    ("/uploads", "post"): ("422",),
    ("/files/{sha256}", "get"): ("416", "429"),
    ("/runs/{run_id}/rounds/{number}/updates", "post"): ("410", "429"),
}
"""Errors of an operation that its parts do not tell."""

TUS_STATUSES = {
    "412": "Another version of tus; Tus-Version names the server's",
    "423": "Another request is at this upload; ask again",
    "460": "The body is not what Upload-Checksum says; nothing of it is kept",
}


class DescribedApi(OpenAPI):
    """The application, with a description that knows the headers too."""

    def generate_spec_json(self) -> None:
        """Make the description from the routes, then add what they do not say."""
        super().generate_spec_json()  # type: ignore[no-untyped-call]
        paths: dict[str, dict[str, Operation]] = self.spec_json["paths"]
        _add_tus(paths)
        keyed = {(path, "post"): (KEY,) for path in self._once_only()}
        for (path, method), headers in (*keyed.items(), *REQUEST_HEADERS.items()):
            parameters = paths[path][method].setdefault("parameters", [])
            parameters.extend(
                {"name": name, "in": "header", "required": required, "description": text, "schema": {"type": "string"}}
                for name, required, text in headers
            )
        for (path, method, status), told in ANSWER_HEADERS.items():
            paths[path][method]["responses"][status]["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in told.items()
            }
        events = paths[f"{API}/federations/{{federation_id}}/events"]["get"]["responses"]["200"]
        events["content"]["text/event-stream"] = {"schema": {"type": "string"}}
        paths[f"{API}/files/{{sha256}}"]["get"]["responses"]["304"] = {"description": "The caller has it."}
        for path, methods in paths.items():
            for method, operation in methods.items():
                if method != "options":
                    _keep_what_may_come(path.removeprefix(API), method, operation)

    def _once_only(self) -> list[str]:
        """The paths of POSTs that are done once however often they are sent with one key."""
        return [
            re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            for rule in self.url_map.iter_rules()
            if "POST" in (rule.methods or ()) and is_idempotent(self.view_functions[rule.endpoint])
        ]


def _keep_what_may_come(path: str, method: str, operation: Operation) -> None:
    """Of the errors that any route may give, leave those of this operation; what has no content has no type."""
    may_come = ALWAYS | set(OF_SOME.get((path, method), ()))
    if operation.get("security"):
        may_come |= WITH_A_TOKEN
    if "{" in path:
        may_come |= {"404"}
    if any(parameter["in"] in ("path", "query") for parameter in operation.get("parameters", [])):
        may_come |= {"422"}
    if "application/json" in operation.get("requestBody", {}).get("content", {}):
        may_come |= WITH_JSON
    if method != "get":
        may_come |= {"409", "507"}
    if path.startswith("/uploads"):
        may_come |= OF_UPLOADS | TUS_STATUSES.keys()
    for status, response in list(operation["responses"].items()):
        if status[0] in "45" and status not in may_come:
            del operation["responses"][status]
        elif all("schema" not in kind for kind in response.get("content", {}).values()) and status in ("201", "204"):
            response.pop("content", None)


def _add_tus(paths: dict[str, dict[str, Operation]]) -> None:
    """The methods that routes cannot describe, the type of the bodies, the statuses of tus."""
    patch = paths[UPLOAD]["patch"]
    answers = patch["responses"]
    shared: Operation = {name: patch[name] for name in ("tags", "security") if name in patch}
    faults = {status: answer for status, answer in answers.items() if status[0] in "45"}
    named = [parameter for parameter in patch.get("parameters", []) if parameter["in"] == "path"]
    paths[UPLOAD]["head"] = {
        **shared,
        "summary": "How far an upload is.",
        "parameters": list(named),
        "responses": {"200": {"description": "How far it is"}, **faults},
    }
    for path, parameters in ((UPLOADS, []), (UPLOAD, named)):
        paths[path]["options"] = {
            "tags": patch.get("tags", []),
            "summary": "What this server can do.",
            "parameters": list(parameters),
            "responses": {"204": {"description": "Told in Tus-Version, Tus-Extension, Tus-Max-Size"}},
        }
    content = {"content": {"application/offset+octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    patch["requestBody"] = {"required": True, **content}
    paths[UPLOADS]["post"]["requestBody"] = {"required": False, **content}
    paths[UPLOAD]["post"]["requestBody"] = {"required": False, **content}
    for path in (UPLOADS, UPLOAD):
        for method in ("post", "patch", "delete", "head"):
            if method in paths[path]:
                own = {status: {**answers["404"], "description": text} for status, text in TUS_STATUSES.items()}
                paths[path][method]["responses"].update(own)

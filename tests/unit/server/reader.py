"""A browser without scripts, as tests of the pages drive it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

PASSWORD = "violet tram eats seven maps"  # noqa: S105 - a test's
OTHER = "seventeen quiet lamps near rome"


@dataclass
class Reader:
    """One browser with its cookies."""

    client: FlaskClient
    base: str = "http://localhost"

    @classmethod
    def of(cls, app: Flask, base: str = "http://localhost") -> Reader:
        return cls(app.test_client(), base)

    def get(self, path: str, **request: object) -> TestResponse:
        return self.client.get(path, base_url=self.base, **request)  # type: ignore[arg-type]

    def post(self, path: str, fields: dict[str, object] | None = None, **request: object) -> TestResponse:
        """A form of ours: with this browser's guard."""
        sent = {"csrf_token": self.guard(), **(fields or {})}
        return self.client.post(path, data=sent, base_url=self.base, **request)  # type: ignore[arg-type]

    def guard(self) -> str:
        found = re.search(r'<meta name="csrf-token" content="(\w+)">', self.get("/forgotten").text)
        assert found is not None
        return found[1]

    def sign_in(self, name: str, password: str = PASSWORD, **fields: object) -> TestResponse:
        return self.post("/sign-in", {"email": f"{name}@example.org", "password": password, **fields})

    def cookie(self, name: str = "fedflow_sign_in") -> str | None:
        host = self.base.partition("//")[2]
        found = self.client.get_cookie(name, domain=host)
        return None if found is None else found.value


def told(answer: TestResponse) -> str:
    """The words of a page, without its tags and what it offers for choice."""
    text = re.sub(r"<(style|script|head|template|select)\b.*?</\1>", " ", answer.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


def text_of(page: str) -> str:
    """All that a page says, what it offers for choice too, without tags, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def faults(answer: TestResponse) -> dict[str, str]:
    """What stands beside each field."""
    found = re.findall(r'<p class="error" id="(?:f-)?([\w.]+)-error">(.*?)</p>', answer.text, re.DOTALL)
    return {name: re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", text))).strip() for name, text in found}


def value_of(answer: TestResponse, field: str) -> str:
    """What a text field of the page holds."""
    found = re.search(rf'<input[^>]* name="{field}"[^>]*>', answer.text)
    assert found is not None, field
    value = re.search(r' value="([^"]*)"', found[0])
    return unescape(value[1]) if value else ""

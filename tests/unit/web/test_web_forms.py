"""Forms from settings: the plan drawn and read back, and every fault at its field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest
from flask import Flask
from pydantic import BaseModel, Field

from fedflow import web
from fedflow.plan import Plan
from fedflow.web.forms import FormField, Kind, describe, messages, places, texts
from fedflow.web.reading import Reading, last_values, read


@pytest.fixture(autouse=True)
def app() -> Iterator[Flask]:
    app = Flask("forms", static_folder=None)
    web.set_up(app, web.Shell("FedFlow", list))
    with app.test_request_context():
        yield app


OTHER = Plan.model_validate(
    {
        "name": "Північ, «друга»",
        "method": "fedit",
        "rounds": 12,
        "clients_per_round": 2,
        "max_change_norm": 0.1,
        "seeds": [3, 1, 2],
        "data": {"clients": ["a, b", "с"], "trigger": "<b>"},
        "lora": {"alpha": 1e-05},
        "training": {"learning_rate": 1 / 3, "flip": False},
        "baselines": {"alone": True},
        "gallery": {"prompts": ['a "red" fox', "& so on"]},
        "network": {"quorum": 2, "deadline_s": 90.5},
    }
)


def fields() -> dict[str, FormField]:
    return {field.name: field for group in describe(Plan) for field in group.fields}


def sent_by_a_browser(app: Flask, plan: Plan) -> dict[str, str]:
    """What the drawn form would send: the values in its HTML, read by rules of our own."""
    source = '{% from "web/components/forms.html" import groups %}{{ groups(described) }}'
    text = app.jinja_env.from_string(source).render(described=describe(Plan, start=plan))
    body = urlencode(_controls(text).sent)
    form = "application/x-www-form-urlencoded"
    with app.test_request_context(method="POST", data=body, content_type=form) as context:
        return last_values(context.request.form)


class Controls(HTMLParser):
    """What of a page's controls a browser sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str]] = []
        self.area: list[str] | None = None
        self.select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "input" and (said["type"] != "checkbox" or "checked" in said):
            self.sent.append((said["name"], said.get("value", "")))
        elif tag == "select":
            self.select = said["name"]
        elif tag == "option" and "selected" in said:
            self.sent.append((self.select, said["value"]))
        elif tag == "textarea":
            self.area = [said["name"], ""]

    def handle_data(self, data: str) -> None:
        if self.area is not None:
            self.area[1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self.area is not None:
            name, value = self.area
            self.sent.append((name, value.removeprefix("\n").replace("\n", "\r\n")))
            self.area = None


def _controls(text: str) -> Controls:
    controls = Controls()
    controls.feed(text)
    return controls


@pytest.mark.parametrize("plan", [Plan(), OTHER], ids=["defaults", "other"])
def test_a_plan_drawn_and_sent_back_is_the_same_plan(app: Flask, plan: Plan) -> None:
    sent = sent_by_a_browser(app, plan)
    assert sent.keys() == dict(places(Plan)).keys()
    reading = read(Plan, sent)
    assert reading.faults == {}
    assert reading.settings == plan


def test_what_a_form_lacks_keeps_its_value() -> None:
    assert read(Plan, {}).settings == Plan()
    assert read(Plan, {"rounds": "5"}, OTHER).settings == OTHER.model_copy(update={"rounds": 5})


def test_fields_say_what_the_settings_say() -> None:
    drawn = fields()
    assert len(drawn) == sum(1 for _ in places(Plan))
    rounds, rank, deadline = drawn["rounds"], drawn["lora.rank"], drawn["network.deadline_s"]
    assert (rounds.label, rounds.kind, rounds.default, rounds.least, rounds.most) == (
        "Rounds",
        Kind.INTEGER,
        "3",
        1,
        10_000,
    )
    assert rounds.help == "Rounds of local training and joining."
    assert (rank.least, rank.most, rank.required) == (1, 1024, True)
    assert (deadline.label, deadline.unit, deadline.default) == ("Deadline", "s", "86400")
    assert drawn["method"].choices == (("fedavg", "fedavg"), ("fedit", "fedit"), ("fedex-lora", "fedex-lora"))
    assert (drawn["network.quorum"].optional, drawn["network.quorum"].required) == (True, False)
    assert (drawn["name"].longest, drawn["name"].required) == (80, True)
    assert (drawn["training.flip"].kind, drawn["training.flip"].default) == (Kind.SWITCH, "on")
    assert drawn["data.clients"].kind is Kind.LINES
    assert drawn["seeds"].kind is Kind.INTEGERS
    assert drawn["lora.alpha"].least is None  # more than 0 is no limit that an input knows


def test_short_ones_are_in_sight_and_the_rest_is_folded() -> None:
    groups = {group.name: group for group in describe(Plan, {"rounds", "lora.rank"})}
    assert [field.name for field in groups[""].short] == ["rounds"]
    assert [field.name for field in groups["lora"].short] == ["lora.rank"]
    assert [field.name for field in groups["lora"].folded] == ["lora.alpha", "lora.text_encoder"]
    assert (groups["lora"].label, groups["lora"].help) == ("LoRA", "The adapter that is trained.")
    with pytest.raises(ValueError, match=r"no field 'lora\.rnak' in Plan"):
        describe(Plan, {"lora.rnak"})


FAULTS = [
    ("rounds", "x", "Write a whole number."),
    ("rounds", "1.5", "Write a whole number."),
    ("rounds", "", "Fill this in."),
    ("rounds", "0", "Must be at least 1."),
    ("rounds", "10001", "Must be at most 10,000."),
    ("rounds", "9" * 5000, "Write a whole number."),
    ("name", "", "Fill this in."),
    ("name", "x" * 81, "Longer than 80 characters."),
    ("method", "fedsgd", "Choose one from the list."),
    ("lora.alpha", "0", "Must be more than 0."),
    ("training.caption_dropout", "1", "Must be less than 1."),
    ("training.learning_rate", "fast", "Write a number."),
    ("training.learning_rate", "1e999", "Write a number that is not infinite."),
    ("training.learning_rate", "nan", "Write a number."),
    ("training.flip", "maybe", "Switch this on or off."),
    ("max_change_norm", "-1", "Must be more than 0."),
    ("seeds", "1 two 3", "Entry 2: Write a whole number."),
    ("seeds", "1, 1", "Whole numbers from 0, each once."),
    ("seeds", " ", "Fill this in."),
    ("data.clients", "", "Fill this in."),
    ("data.clients", "a\r\na", "Every client needs a folder of its own, one is named twice."),
    ("data.clients", "a\r\n.b", "'.b' is no name of a folder inside the root; take out slashes and leading dots."),
    ("data.heldout", "a/b", "'a/b' is no name of a folder inside the root; take out slashes and leading dots."),
    ("clients_per_round", "9", "9 of only 5 clients."),
    ("network.quorum", "9", "9 of only 5 clients of a round."),
]


@pytest.mark.parametrize(("name", "text", "words"), FAULTS)
def test_each_fault_lands_at_its_field(name: str, text: str, words: str) -> None:
    reading: Reading[Plan] = read(Plan, {name: text})
    assert reading.settings is None
    assert reading.faults == {name: [words]}
    assert reading.values[name] == text.replace("\r\n", "\n")


def test_all_faults_are_told_at_once_and_nothing_entered_is_lost(app: Flask) -> None:
    sent = texts(OTHER) | {"rounds": "0", "lora.rank": "many", "evaluation.sampler": "none"}
    reading = read(Plan, sent)
    assert reading.faults.keys() == {"rounds", "lora.rank", "evaluation.sampler"}
    source = '{% from "web/components/forms.html" import groups %}{{ groups(d, v, f) }}'
    template = app.jinja_env.from_string(source)
    text = template.render(d=describe(Plan, {"rounds"}), v=reading.values, f=reading.faults)
    assert 'value="many"' in text
    assert 'value="Північ, «друга»"' in text
    for name in reading.faults:
        control = re.search(rf'<(?:input|select)[^>]*id="f-{re.escape(name)}"[^>]*>', text)
        assert control is not None
        assert 'aria-invalid="true"' in control[0]
        assert f"f-{name}-error" in control[0]
        assert f'id="f-{name}-error"' in text
    folded = re.findall(r"<details[^>]*>", text)
    assert [" open" in one for one in folded] == [False, False, True, False, False, True, False, False]


def test_a_setting_that_no_form_can_show_is_refused_by_name() -> None:
    class Odd(BaseModel):
        parts: dict[str, int] = Field({}, description="No form has this.")

    with pytest.raises(TypeError, match="no form shows a field of type dict"):
        describe(Odd)


def test_every_text_of_the_form_is_given_to_the_translators() -> None:
    said = set(messages(Plan))
    for group in describe(Plan):
        assert {group.label, group.help} - {""} <= said
        assert {text for field in group.fields for text in (field.label, field.help)} <= said

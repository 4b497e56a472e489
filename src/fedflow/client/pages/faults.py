"""What went wrong, or keeps this machine waiting, in the reader's language."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from fedflow.client.pages.dataset_faults import SENTENCES as OF_DATASETS
from fedflow.client.pages.federation_faults import SENTENCES as OF_FEDERATIONS
from fedflow.client.pages.server_faults import SENTENCES as OF_SERVERS
from fedflow.client.pages.work_faults import SENTENCES as OF_WORK
from fedflow.web import reading
from fedflow.web.model_faults import SENTENCES as OF_MODELS
from fedflow.web.phrases import Phrases
from fedflow.web.reading import Reading

Model = TypeVar("Model", bound=BaseModel)

SENTENCES = OF_MODELS | OF_WORK | OF_DATASETS | OF_FEDERATIONS | OF_SERVERS
"""What services, the worker, the participant and the rooms below say, and what the page says of it."""

PHRASES = Phrases(SENTENCES)


def said(text: str) -> str:
    """Why something failed or waits, as a sentence; in our own code's words where nobody wrote others."""
    return PHRASES.said(text)


def reason(text: str) -> str:
    """The same to stand behind a colon, in front of a full stop."""
    return PHRASES.reason(text).removesuffix(".")


def refused(read: Reading[Model], error: Exception) -> Reading[Model]:
    """A form that a service refused, with the reason beside the field that it names, or above the form."""
    return reading.refused(read, str(error), said)

"""A federation that this machine takes part in, and what its server tells of a run."""

from __future__ import annotations

from fedflow.client.database.tables import Membership
from fedflow.client.store import Store
from fedflow.federation.protocol import RunFacts
from fedflow.plan import Plan

MEMBERSHIP = "01a2"


def joined(store: Store, membership_id: str = MEMBERSHIP, federation: str = "Museums", moment: float = 1.0) -> str:
    """Have it joined at that moment; gives its identifier."""
    with store.begin() as session:
        row = Membership(id=membership_id, server="https://x.example", federation=federation, member="studio", said="")
        row.policy, row.always, row.is_paused, row.joined_at = {}, False, False, moment
        row.dataset_id = row.said_at = None
        session.add(row)
    return membership_id


def facts(name: str = "autumn", **plan: object) -> RunFacts:
    """A run of two members under way, in its first round."""
    planned = Plan.model_validate({"name": name, "data": {"clients": ["studio", "museum"]}, **plan})
    return RunFacts(
        id="r1",
        federation_id="f1",
        name=name,
        status="running",
        round=1,
        rounds=planned.rounds,
        plan=planned.model_dump(mode="json"),
        members=("studio", "museum"),
        base_hash="0" * 64,
        base_files=(),
        tensors={"unet.a.lora_A": (4, 8), "unet.a.lora_B": (8, 4)},
        upload_bytes=1000,
        message="",
    )

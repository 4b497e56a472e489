"""A run of three members in its first round, as tests of the services drive it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import torch

from fedflow.federation.protocol import UpdateRequest, Work
from fedflow.lora import Factors
from fedflow.models.adapter_files import adapter_bytes
from fedflow.plan import Plan
from fedflow.server.services import files, jobs, run_facts, runs, updates, uploads
from fedflow.server.services.identity import Caller
from fedflow.server.services.scores import Measured
from fedflow.server.services.upload_writing import Body
from fedflow.server.services.work import work_for
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.main import ROUNDS, carry_out

MODULE = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
MEMBERS = ("a", "b", "c")
DEADLINE_S = 100.0
MEASURED = Measured(
    fid=90.0,
    kid=0.3,
    fid_low=80.0,
    fid_high=100.0,
    kid_low=0.2,
    kid_high=0.4,
    kid_floor=0.001,
    kid_floor_low=-0.01,
    kid_floor_high=0.02,
    extractor="icons-v1",
    resize="as it is",
    num_heldout=200,
    features="",
    prompts=["cat"],
    gallery=[],
    seconds=1.5,
)
"""What a drawing gave, but for the blobs that a test puts into its store."""


def adapter(seed: int, size: float = 0.1) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    A, B = torch.randn(2, 6, generator=generator), torch.randn(5, 2, generator=generator)
    return adapter_bytes({MODULE: Factors(size * A, size * B, 2.0)}, "diffusers", {})


@dataclass
class Setting:
    """A run of three members in its first round."""

    store: Store
    run: str
    callers: dict[str, Caller]

    def work(self, member: str) -> Work:
        return work_for(self.store, self.callers[member])

    def upload(self, member: str, content: bytes) -> str:
        caller = self.callers[member]
        made = uploads.create(self.store, caller, len(content), "", 10**9, 1e6)
        pieces = iter([content, b""])
        body = Body(lambda _: next(pieces), len(content))
        uploads.append(self.store, caller, made.id, 0, body, None, 1e6)
        return made.id

    def hand_in(
        self,
        member: str,
        number: int,
        content: bytes,
        examples: float = 10,
        run: str | None = None,
        metrics: dict[str, float] | None = None,
    ) -> bool:
        request = UpdateRequest(
            upload_id=self.upload(member, content),
            sha256=hashlib.sha256(content).hexdigest(),
            num_examples=examples,
            metrics=metrics or {},
        )
        return updates.hand_in(self.store, self.callers[member], run or self.run, number, request).again

    def aggregate(self) -> None:
        for job_id in jobs.waiting(self.store, ("aggregate", "export")):  # a merge would open the base model
            carry_out(self.store, ServerSettings(folder=self.store.folder), ROUNDS, job_id, "worker")

    def status(self) -> str:
        return run_facts.facts(self.store, self.callers["a"], self.run).status


def plan_of(**settings: object) -> Plan:
    network = {"deadline_s": DEADLINE_S, "quorum": 2}
    base = {"name": "test", "rounds": 2, "data": {"clients": MEMBERS}, "network": network}
    return Plan.model_validate({**base, **settings})


def start(store: Store, federation_id: str, callers: dict[str, Caller], plan: Plan) -> Setting:
    run_id = runs.create(store, federation_id, plan)
    initial = files.put(store, adapter(0), "adapter")
    base = files.put(store, json.dumps([]).encode(), "base")
    prepared = {"tensors": {}, "upload_bytes": 0, "norm": 1.0}
    runs.begin(store, run_id, base=base, base_hash="0" * 64, initial=initial, prepared=prepared)
    for job_id in jobs.waiting(store, jobs.ROUNDS):
        jobs.finish(store, job_id)
    setting = Setting(store, run_id, callers)
    for caller in callers.values():
        runs.consent(store, caller, run_id, accept=True, num_examples=10, reason="")
    return setting

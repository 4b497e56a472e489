"""One round's updates joined into the next global state; every carrier of the rounds calls this."""

from __future__ import annotations

from functools import partial

from fedflow.aggregation import AGGREGATORS, AdapterUpdate, Aggregate, ClientUpdate
from fedflow.federation.exactness import exact_error
from fedflow.federation.exports import stored_adapter
from fedflow.federation.jobs import Committed
from fedflow.federation.rounds import GlobalState, Receipt
from fedflow.models.adapter_files import adapter_bytes
from fedflow.plan import Plan
from fedflow.storage import Blobs
from fedflow.tensors import open_tensors, to_bytes


def join_updates(blobs: Blobs, plan: Plan, receipts: tuple[Receipt, ...], before: GlobalState) -> Committed:
    """Join the updates named by `receipts`, one in memory at a time, and store adapter (or weights) and residual.

    The blobs are stored before this returns, so that whoever notes what was committed refers to what is there.
    Raises UpdateError for updates that do not fit together, StorageError where a blob is missing or the disk full.
    """
    if plan.trains_adapter:
        join = AGGREGATORS[plan.method]
        if plan.max_residual_rank is not None:
            join = partial(join, max_rank=plan.max_residual_rank)
        aggregate: Aggregate = join(
            (AdapterUpdate(r.client, r.num_examples, stored_adapter(blobs, r.update)) for r in receipts),
            plan.weighting,
        )
        assert aggregate.adapter is not None
        adapter = blobs.put(adapter_bytes(aggregate.adapter, "diffusers", {}))
        error = exact_error(
            ((r.num_examples, stored_adapter(blobs, r.update)) for r in receipts), plan.weighting, aggregate
        )
    else:
        aggregate = AGGREGATORS[plan.method](
            (ClientUpdate(r.client, r.num_examples, open_tensors(blobs.get(r.update))) for r in receipts),
            plan.weighting,
        )
        assert aggregate.tensors is not None
        # Clients may send fewer bits; the joint model keeps its own.
        tensors = {
            name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in aggregate.tensors.items()
        }
        adapter, error = blobs.put(to_bytes(tensors, {})), None
    residual = None
    if aggregate.residual is not None:
        residual = blobs.put(adapter_bytes(aggregate.residual, "diffusers", {}))
    fetched = [digest for digest in (before.adapter, *before.residuals[-1:]) if digest is not None]
    return Committed(
        adapter=adapter,
        residual=residual,
        bytes_up=sum(blobs.get(receipt.update).stat().st_size for receipt in receipts),
        bytes_down=len(receipts) * sum(blobs.get(digest).stat().st_size for digest in fetched),
        report=aggregate.report,
        exact_error=error,
    )

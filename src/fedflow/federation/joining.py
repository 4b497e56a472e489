"""One round's updates joined into the next global state; every carrier of the rounds calls this."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from fedflow.aggregation import AGGREGATORS, AdapterUpdate, Aggregate, ClientUpdate, clip_change
from fedflow.federation.exactness import exact_error
from fedflow.federation.exports import stored_adapter
from fedflow.federation.jobs import Committed
from fedflow.federation.rounds import GlobalState, Receipt
from fedflow.models.adapter_files import adapter_bytes
from fedflow.plan import Plan
from fedflow.storage import BlobStore
from fedflow.tensors import open_tensors, to_bytes


def join_updates(blobs: BlobStore, plan: Plan, receipts: tuple[Receipt, ...], before: GlobalState) -> Committed:
    """Join the updates named by `receipts`, one in memory at a time, and store adapter (or weights) and residual.

    The blobs are stored before this returns, so that whoever notes what was committed refers to what is there.
    Raises UpdateError for updates that do not fit together, StorageError where a blob is missing or the disk full.
    """
    if plan.trains_adapter:
        join = AGGREGATORS[plan.method]
        if plan.max_residual_rank is not None:
            join = partial(join, max_rank=plan.max_residual_rank)
        clipped: set[str] = set()
        aggregate: Aggregate = join(_adapters(blobs, plan, receipts, before, clipped), plan.weighting)
        assert aggregate.adapter is not None
        adapter = blobs.put(adapter_bytes(aggregate.adapter, "diffusers", {}))
        updates = _adapters(blobs, plan, receipts, before, clipped)
        error = exact_error(((each.num_examples, each.adapter) for each in updates), plan.weighting, aggregate)
        report = dict(aggregate.report)
        if plan.max_change_norm is not None:
            report["clipped"] = len(clipped)
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
        report = aggregate.report
    residual = None
    if aggregate.residual is not None:
        residual = blobs.put(adapter_bytes(aggregate.residual, "diffusers", {}))
    fetched = [digest for digest in (before.adapter, *before.residuals[-1:]) if digest is not None]
    return Committed(
        adapter=adapter,
        residual=residual,
        bytes_up=sum(blobs.get(receipt.update).stat().st_size for receipt in receipts),
        bytes_down=len(receipts) * sum(blobs.get(digest).stat().st_size for digest in fetched),
        report=report,
        exact_error=error,
    )


def _adapters(
    blobs: BlobStore, plan: Plan, receipts: tuple[Receipt, ...], before: GlobalState, clipped: set[str]
) -> Iterator[AdapterUpdate]:
    """The updates one by one, clipped where the plan says so; names of clients that were go into `clipped`."""
    start = None
    if plan.max_change_norm is not None and before.adapter is not None:
        start = stored_adapter(blobs, before.adapter)
    for receipt in receipts:
        adapter = stored_adapter(blobs, receipt.update)
        if start is not None and plan.max_change_norm is not None:
            adapter, was_clipped = clip_change(adapter, start, plan.max_change_norm)
            if was_clipped:
                clipped.add(receipt.client)
        yield AdapterUpdate(receipt.client, receipt.num_examples, adapter)

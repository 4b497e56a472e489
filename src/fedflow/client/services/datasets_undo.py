"""Undoing and redoing: the newest change first, and only where nothing of it was changed since."""

from __future__ import annotations

from sqlalchemy.orm import Session

from fedflow.client.database.tables import Dataset, Edit
from fedflow.client.services import datasets_asides, datasets_edits
from fedflow.client.services.datasets_edits import ASIDE, LEAVE_OUT, Done, Watch, unwatched
from fedflow.client.store import Store
from fedflow.datasets.tags import Change
from fedflow.errors import MistakeError


def undo(store: Store, dataset: Dataset, edit_id: int, watch: Watch = unwatched) -> Done:
    """Take the newest change back.

    Raises MistakeError where `edit_id` is not that any more; DatasetError where a caption has changed since;
    StorageError where one cannot be written. Nothing is then changed.
    """
    return _turn(store, dataset, edit_id, watch, is_undone=True)


def redo(store: Store, dataset: Dataset, edit_id: int, watch: Watch = unwatched) -> Done:
    """Make the change that was undone last once more. Raises as `undo`."""
    return _turn(store, dataset, edit_id, watch, is_undone=False)


def size(store: Store, edit_id: int) -> int:
    """How many captions a change holds."""
    with store.read() as session:
        row = session.get(Edit, edit_id)
        return 0 if row is None else len(row.after)


def _turn(store: Store, dataset: Dataset, edit_id: int, watch: Watch, *, is_undone: bool) -> Done:
    next_one = (datasets_edits.undoable if is_undone else datasets_edits.redoable)(store, dataset.id)
    if next_one is None or next_one.id != edit_id:
        raise MistakeError(
            "something else was changed meanwhile, perhaps in another window; look at it, then try again"
        )

    def note(session: Session) -> Edit:
        row = session.get_one(Edit, edit_id)
        if row.is_undone is is_undone:
            raise MistakeError("it is done already, perhaps in another window")
        row.is_undone = is_undone
        return row

    if next_one.action == LEAVE_OUT:
        datasets_asides.turn(store, dataset, note, is_undone=is_undone)
        return Done(edit_id, {})
    with store.read() as session:
        row = session.get_one(Edit, edit_id)
    changes = {path: Change(row.before[path], row.after[path]) for path in row.after}
    if is_undone:
        changes = {path: Change(each.after, each.before) for path, each in changes.items()}
    aside = row.facts.get(ASIDE, {})
    captions = datasets_edits.write(store, dataset, changes, note, watch, aside, is_back=is_undone)
    return Done(edit_id, captions)

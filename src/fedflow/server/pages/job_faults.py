"""Why jobs, runs and try-outs failed, updates were refused and members declined, and what pages say of it."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

DAMAGED_UPDATE = lazy_gettext(
    "The update arrived damaged, or is not a safetensors file. Its machine takes part again in the next round by "
    "itself; if it is refused there too, check that machine's disk."
)
OTHER_START = lazy_gettext(
    "The update does not match what the round started with (“%(name)s”). Install the server's version of FedFlow on "
    "its machine and start it again; it then takes part from the next round on."
)
NOT_JOINED = lazy_gettext(
    "The updates cannot be joined: the values of one are too large. Start a new run with a lower learning rate, or "
    "without that member."
)
TOO_FEW = lazy_gettext(
    "Only %(left)s left. The others declined or were removed, and fewer than %(least)s updates are never joined. Ask "
    "them again, or start a new run."
)
NOT_IN_THIS_RUN = lazy_gettext("“%(member)s” is not a member of this run. Start a new one with it.")
HEAD_ALTERED = lazy_gettext("The record of the log's length was altered, or belongs to another server.")

SENTENCES: dict[str, str | LazyString] = {
    # A job.
    "the worker died at it {times} times, perhaps for want of memory; its log says more": lazy_gettext(
        "The worker stopped at this job several times, perhaps for lack of memory. Its log says more."
    ),
    "the worker gave up; its log says more": lazy_gettext("The worker gave up on this job. Its log says more."),
    "{kind}Error: {what}": lazy_gettext(
        "Unexpected fault (%(kind)sError: %(what)s). Try again; the worker's log says more."
    ),
    "the server has no held-out pictures '{name}'; start it with --pictures FOLDER that holds that folder": (
        lazy_gettext(
            "The server has no held-out pictures “%(name)s”. Whoever runs it can start it with --pictures FOLDER, with "
            "that folder inside."
        )
    ),
    "the held-out pictures '{name}' are gone; put the folder back, then try again": lazy_gettext(
        "The server no longer has the held-out pictures “%(name)s”. Put the folder back, then try again."
    ),
    "the held-out pictures '{name}': {what}": lazy_gettext(
        "The held-out pictures “%(name)s” cannot be used (%(what)s)."
    ),
    # A run.
    "only {left} is left, the others declined or were removed, and fewer than {least} updates are never joined; ask "
    "them again with 'fedflow run ask-again MEMBER', or start a new run": TOO_FEW,
    "{left} of its members are left, the others declined or were removed, and fewer than {least} updates are never "
    "joined; ask them again with 'fedflow run ask-again MEMBER', or start a new run": TOO_FEW,
    "none of its members are left, the others declined or were removed, and fewer than {least} updates are never "
    "joined; ask them again with 'fedflow run ask-again MEMBER', or start a new run": lazy_gettext(
        "All its members declined or were removed. Ask them again, or start a new run."
    ),
    "client '{client}': {what}": lazy_gettext(
        "The update of “%(client)s” cannot be joined with the others. Start a new run without that member, or with "
        "another base model or a lower learning rate."
    ),
    "client '{client}': '{module}' changes its weights by up to {bound}, more than float32 holds; the training "
    "diverged: lower its learning rate and train again, or leave this update out": NOT_JOINED,
    "{what} leaves the range of float32, although every update is within; leave out the update with the largest "
    "values: its training diverged": NOT_JOINED,
    "a run over the network has one seed, not {count}; give one in 'seeds'": lazy_gettext(
        "A run has one seed. Write one number."
    ),
    "data.clients: '{member}' is no member of the federation; members are {members}": lazy_gettext(
        "“%(member)s” is not a member of this federation. Choose one of its members."
    ),
    "run '{name}' is running already; 'fedflow run explain' says what it waits for": lazy_gettext(
        "The run is already going."
    ),
    "run '{name}' is being prepared and begins by itself; there is nothing to resume": lazy_gettext(
        "The run is being prepared. It begins by itself."
    ),
    "run '{name}' is done and cannot become paused": lazy_gettext(
        "The run is done already, so there is nothing to pause."
    ),
    "run '{name}' is done and cannot become running": lazy_gettext(
        "The run is done already, so there is nothing to resume."
    ),
    "run '{name}' is done and cannot become stopped": lazy_gettext(
        "The run is done already, so there is nothing to stop."
    ),
    "run '{name}' is stopped and cannot become paused": lazy_gettext(
        "The run was stopped already, so there is nothing to pause."
    ),
    "run '{name}' is stopped and cannot become running": lazy_gettext("The run was stopped for good. Start a new one."),
    "run '{name}' is failed and cannot become paused": lazy_gettext(
        "The run has failed, so there is nothing to pause."
    ),
    "run '{name}' is preparing and cannot become paused": lazy_gettext(
        "The run is being prepared. It can be paused once it is running."
    ),
    "run '{name}' is {status}, round {number} is {phase}; nothing to close": lazy_gettext(
        "No round is taking updates now, so there is none to close."
    ),
    "round {seen} is not under way, round {number} is; look at that one, then close it by its number": lazy_gettext(
        "Nothing was closed: you looked at round %(seen)s, and round %(number)s is under way by now. Look at that one, "
        "then close it if you still want to."
    ),
    "round {number} has {count} yet, and fewer than {least} are never joined; wait for more, or stop the run": (
        lazy_gettext("Fewer than %(least)s updates are never joined. Wait for more, or stop the run.")
    ),
    "run '{name}' is {status}; start a new one": lazy_gettext("The run is over. Start a new one."),
    "run '{name}' is {status}; there is nothing left to consent to": lazy_gettext("The run is over. Start a new one."),
    "run '{name}' was not planned with the member '{member}'": NOT_IN_THIS_RUN,
    "run '{name}' was not planned with a member '{member}'": NOT_IN_THIS_RUN,
    "the member '{member}' was removed; make it a new join code, and let it join, first": lazy_gettext(
        "“%(member)s” was removed. Make it a new join code, and let it join, first."
    ),
    "this member may train on at most {most} pictures and has {count}; ask the coordinator to allow more, or take some "
    "out of the folder": lazy_gettext(
        "This member may train on %(most)s pictures at most and has %(count)s. Its coordinator can allow more."
    ),
    # An update.
    "the update: is not a safetensors file, or is cut off; copy or export it again": DAMAGED_UPDATE,
    "the update: is not a safetensors file (its header is not JSON); copy or export it again": DAMAGED_UPDATE,
    "the update: damaged safetensors header ({why}); copy or export it again": DAMAGED_UPDATE,
    "the update: its header claims {bytes} bytes, {most} are allowed; refused": DAMAGED_UPDATE,
    "the update: cannot be opened ({why}); check the path": DAMAGED_UPDATE,
    "the update: cannot be read ({why}); send it again": DAMAGED_UPDATE,
    "the update: ended while '{name}' was read; send it again": DAMAGED_UPDATE,
    "tensor '{name}' has shape {got}, the round's start has {wanted}": OTHER_START,
    "tensor '{name}' is {got}, the plan wants {wanted}; send it in that format": OTHER_START,
    "'{name}' is {got}, the round's start has {wanted}": OTHER_START,
    "tensor '{name}' is missing ({count} such in all); send what the round started from": OTHER_START,
    "tensor '{name}' is not in the round's start ({count} such in all); leave it out": OTHER_START,
    "metadata {name} is not that of the round's start; send it unchanged": OTHER_START,
    "tensor '{name}' holds NaN or Inf; the training has diverged": lazy_gettext(
        "The update holds values that are not numbers (“%(name)s”): its training has diverged. The coordinator can "
        "stop this run and start one with a lower learning rate."
    ),
    "the update's norm is {norm}, {most} is allowed; train more gently": lazy_gettext(
        "The update's values are too large: their norm is %(norm)s, and the plan allows %(most)s. The coordinator "
        "can stop this run and start one with a lower learning rate."
    ),
    "the example count is {count}; it must be a whole number above 0": lazy_gettext(
        "The update gives %(count)s where the number of pictures should be. Install the server's version of "
        "FedFlow on its machine and start it again; it then takes part from the next round on."
    ),
    "the example count is {count}, {most} is this member's most": lazy_gettext(
        "The update counts %(count)s pictures, and this member may have %(most)s at most. Its coordinator can allow "
        "more."
    ),
    "{most} updates of '{member}' were refused in round {number}; no more are looked at, ask the coordinator": (
        lazy_gettext(
            "Too many updates of “%(member)s” were refused in round %(number)s, so no more are accepted. It takes part "
            "again in the next round. If it is refused there too, ask the coordinator."
        )
    ),
    # A member's answer to a run.
    "the owner of this machine declined": lazy_gettext(
        "The owner of this machine declined. The coordinator can ask again."
    ),
    "the owner's policy does not allow it": lazy_gettext(
        "The owner's policy does not allow it. Once the owner has changed it, the coordinator can ask again."
    ),
    "FedFlow {version} does not know this plan; it is updated there, then it can be asked again": lazy_gettext(
        "FedFlow %(version)s on its machine does not know this plan. Ask again when it is updated there."
    ),
    # The audit log's chain.
    "entry {number} was altered": lazy_gettext("Entry %(number)s was altered."),
    "entry {number} was taken out": lazy_gettext("Entry %(number)s was removed."),
    "entries {first} to {last} were taken off the end": lazy_gettext(
        "Entries %(first)s to %(last)s were removed from the end."
    ),
    "entry {number} is none of the log's: it was put in": lazy_gettext(
        "Entry %(number)s was inserted; it does not belong to the log."
    ),
    "entry {number} is not the one of an earlier look": lazy_gettext(
        "Entry %(number)s is not the one seen at an earlier check: the log was put back to an earlier state."
    ),
    "the log had {before} entries at an earlier look, and has {now}": lazy_gettext(
        "At an earlier check the log had %(before)s entries, and now it has %(now)s: it was put back to an earlier "
        "state."
    ),
    "the log was emptied: an account's making is an entry": lazy_gettext("The log was emptied."),
    "the head was taken out": lazy_gettext("The log's head was removed from the database."),
    "the audit log's head is gone from the database: somebody took it out; restore a back-up": lazy_gettext(
        "The audit log's head is gone from the database: somebody removed it. Restore a backup."
    ),
    "the head was altered, or is another server's": HEAD_ALTERED,
    "what the last look found was altered": lazy_gettext("The record of what the last check found was altered."),
    "and perhaps more": lazy_gettext("There may be more."),
}
"""As `faults.SENTENCES`, which takes them in. One wording stands for all that a reader would mend in the same way."""

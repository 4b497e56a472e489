"""What a federation's server says to this machine, and what the pages say of it. Its sentences are English."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

NEW_CODE = lazy_gettext(
    "The server no longer takes this machine. Ask the coordinator for a new code, and join again with it."
)
NO_CODE = lazy_gettext("The server knows no such code. Check its spelling, or ask the coordinator for another.")
RUN_GONE = lazy_gettext("The server has this run no more, or does not show it to this machine.")
SEND_AGAIN = lazy_gettext("The update was lost on the way. It is sent again.")
TOO_LATE = lazy_gettext("The round no longer takes updates, so this one was not sent.")
FILE_GONE = lazy_gettext("The server does not have this file any more, or does not show it to this machine.")
BUSY = lazy_gettext("The server has too much to do right now. It is asked again.")
NOT_ANSWERING = lazy_gettext(
    "The server has a fault of its own. Try again in a moment; if it stays, tell the coordinator."
)
DISK = lazy_gettext("The server's disk is full. Its administrator must free space; then try again.")
TOO_LARGE = lazy_gettext("The update is larger than the server takes. Ask the coordinator.")
OTHER_UPDATE = lazy_gettext(
    "The update does not match what the round started with. Install the server's version of FedFlow on this machine."
)
DAMAGED_UPDATE = lazy_gettext("The update arrived damaged. Check this machine's disk if that happens again.")
ANSWERED = lazy_gettext("Another machine of “%(member)s” has answered round %(number)s already.")
SIGN_IN_ANEW = lazy_gettext("Nobody has let this machine in within its time. Begin again.")
NOT_ASKED = lazy_gettext("This round goes without you.")

SENTENCES: dict[str, str | LazyString] = {
    # Joining, and who this machine is.
    "there is no such join code; check its spelling or ask the coordinator for another": NO_CODE,
    "the join code was used already; ask the coordinator for another": lazy_gettext(
        "The code was used already. Ask the coordinator for another."
    ),
    "the join code has expired; ask the coordinator for another": lazy_gettext(
        "The code has expired. Ask the coordinator for another."
    ),
    "this machine's key has joined as '{name}' already; start it without a code": lazy_gettext(
        "This machine's key has joined as “%(name)s” already."
    ),
    "device '{device}' was revoked; ask the coordinator for a new join code": NEW_CODE,
    "the device was revoked; ask the coordinator for a new join code": NEW_CODE,
    "there is no device {device}; join with a new code": NEW_CODE,
    "the signature is not by the key of device '{device}'": NEW_CODE,
    "the challenge is unknown, used or expired; ask for a new one": BUSY,
    "the token is unknown; get a new one with the device's key": BUSY,
    "the token has expired; get a new one with the device's key": BUSY,
    "the federation's rule allows at most {most} devices of one member, and '{member}' has {count}; ask its "
    "coordinator to revoke one or to change the rule": lazy_gettext(
        "The federation allows at most %(most)s machines of one member, and “%(member)s” has %(count)s. Ask the "
        "coordinator to revoke one or to change the rule."
    ),
    "this server speaks protocol {own}, the client {spoken}; install the same version of FedFlow on both "
    "sides": lazy_gettext("The server has another version of FedFlow. Install the same one on both sides."),
    "no device waits with this code; begin to sign in anew": SIGN_IN_ANEW,
    "nobody has let this device in within its time; begin to sign in anew": SIGN_IN_ANEW,
    # A server that cannot answer now.
    "too many requests came from you; wait {seconds} seconds, and try again": lazy_gettext(
        "Too many requests came from this machine. Wait %(seconds)s seconds, then try again."
    ),
    "{most} transfers are under way already, which is all there may be; end one first": BUSY,
    "many updates are being looked at; hand it in again in a moment": BUSY,
    "another request hands this upload in; ask again in a moment": BUSY,
    "another request is writing to this upload; ask for its offset again soon": BUSY,
    "the server failed; its log tells why under this request_id": NOT_ANSWERING,
    "the server's database does not answer; try again in a moment": NOT_ANSWERING,
    "the server's store does not answer; try again in a moment": NOT_ANSWERING,
    "the server's disk is full; its coordinator must free space, then try again": DISK,
    "there is nothing at this address; see /openapi for what there is": lazy_gettext(
        "There is no such thing at the server's address. Check that it is of the same version of FedFlow."
    ),
    # A run.
    "there is no run {run}": RUN_GONE,
    "there is no such run": RUN_GONE,
    "run '{run}' was not planned with the member '{member}'": RUN_GONE,
    "the owner of '{member}' has not consented to run '{run}'": lazy_gettext(
        "“%(member)s” has not agreed to “%(run)s”; perhaps another machine of it declined."
    ),
    "run '{run}' is {status} and takes no updates": TOO_LATE,
    "run '{run}' is {status}; there is nothing left to consent to": lazy_gettext(
        "The run is over; there is nothing left to agree to."
    ),
    "round {number} of run '{run}' takes no updates; round {now} is {phase}": TOO_LATE,
    "the member '{member}' was not asked in round {number} of run '{run}'": NOT_ASKED,
    "the member '{member}' answered round {number} already, with other content": ANSWERED,
    "client '{member}' is not selected for round {number}": NOT_ASKED,
    "client '{member}' was not asked in round {number}": NOT_ASKED,
    "client '{member}': answer for round {number}, but round {now} is {phase}": TOO_LATE,
    "client '{member}' answered round {number} already, with other content": ANSWERED,
    "this member may train on at most {most} pictures and has {count}; ask the coordinator to allow more, or take "
    "some out of the folder": lazy_gettext(
        "You may train on at most %(most)s pictures and have %(count)s. Ask the coordinator to allow more, or choose "
        "a smaller dataset."
    ),
    "the run is {status}": lazy_gettext("the run is over"),
    "the run was declined": lazy_gettext("the run was declined"),
    "round {number} is over": lazy_gettext("round %(number)s is over"),
    "another device of '{member}' has sent its update for round {number}": lazy_gettext(
        "another machine of “%(member)s” has sent its update for round %(number)s"
    ),
    "round {number} goes without this member": lazy_gettext("round %(number)s goes without you"),
    # An update.
    "no run of this member's wants more than {most} bytes, this upload has {bytes}": TOO_LARGE,
    "an upload may have {most} bytes, this one has {bytes}; ask the coordinator": TOO_LARGE,
    "this {kind} has {count} uploads already; hand them in or delete one": lazy_gettext(
        "Too many transfers of this machine are unfinished. They disappear by themselves; it is tried again."
    ),
    "this {kind} has no such upload; start it anew": SEND_AGAIN,
    "the upload's bytes are lost; upload the file again": SEND_AGAIN,
    "the upload has expired; start it anew": SEND_AGAIN,
    "another request wrote to this upload; it is at byte {offset}, go on from there": SEND_AGAIN,
    "the upload is at byte {offset}, not {other}; go on from there": SEND_AGAIN,
    "the body broke off; the upload is at byte {offset}, go on from there": SEND_AGAIN,
    "the body has {bytes} bytes, the upload lacks {lacking}; send those": SEND_AGAIN,
    "the body has more bytes than the upload's {length}; send those": SEND_AGAIN,
    "the bytes have another {checksum}; none were kept, send them again": SEND_AGAIN,
    "{folder}: cannot be written ({why}); free space there and send the rest again": NOT_ANSWERING,
    "the upload's bytes are lost; start it anew": SEND_AGAIN,
    "the upload was handed in, or its bytes are lost; start it anew": SEND_AGAIN,
    "the upload has SHA-256 {got}, not {sha256}; upload the file again": SEND_AGAIN,
    "the upload is at byte {offset} of {length}; send the rest first": SEND_AGAIN,
    "there is no file {sha256} for this caller": FILE_GONE,
    "there is no {thing} {identifier}": FILE_GONE,
    "{most} updates of '{member}' were refused in round {number}; no more are looked at, ask the "
    "coordinator": lazy_gettext(
        "Too many updates of “%(member)s” were refused in round %(number)s. Ask the coordinator."
    ),
    "the update: is not a safetensors file, or is cut off; copy or export it again": DAMAGED_UPDATE,
    "the update: is not a safetensors file (its header is not JSON); copy or export it again": DAMAGED_UPDATE,
    "the update: damaged safetensors header ({why}); copy or export it again": DAMAGED_UPDATE,
    "the update: its header claims {bytes} bytes, {most} are allowed; refused": DAMAGED_UPDATE,
    "the update: cannot be read ({why}); send it again": NOT_ANSWERING,
    "the update: ended while '{name}' was read; send it again": DAMAGED_UPDATE,
    "tensor '{name}' has shape {got}, the round's start has {wanted}": OTHER_UPDATE,
    "tensor '{name}' is {got}, the plan wants {wanted}; send it in that format": OTHER_UPDATE,
    "'{name}' is {got}, the round's start has {wanted}": OTHER_UPDATE,
    "tensor '{name}' is missing ({count} such in all); send what the round started from": OTHER_UPDATE,
    "tensor '{name}' is not in the round's start ({count} such in all); leave it out": OTHER_UPDATE,
    "metadata {name} is not that of the round's start; send it unchanged": OTHER_UPDATE,
    "the example count is {count}; it must be a whole number above 0": OTHER_UPDATE,
    "the example count is {count}, {most} is this member's most": lazy_gettext(
        "The update counts %(count)s pictures, and you may have %(most)s at most. Ask the coordinator to allow more."
    ),
    "tensor '{name}' holds NaN or Inf; the training has diverged": lazy_gettext(
        "The update holds values that are not numbers: the training has diverged. Ask the coordinator for a lower "
        "learning rate."
    ),
    "the update's norm is {norm}, {most} is allowed; train more gently": lazy_gettext(
        "The update's values are too large (norm %(norm)s, %(most)s is allowed). Ask the coordinator for a lower "
        "learning rate."
    ),
    # What it says while there is nothing to do.
    "no run wants this member yet": lazy_gettext("No run wants you yet."),
    "you declined run '{run}'; its coordinator can ask again": lazy_gettext(
        "You declined “%(run)s”. The coordinator can ask you again."
    ),
    "run '{run}' asks for consent": lazy_gettext("“%(run)s” asks for your consent."),
    "round {round} of run '{run}'": lazy_gettext("Round %(round)s of “%(run)s”."),
    "round {round} of run '{run}' is held back by this machine": lazy_gettext(
        "Round %(round)s of “%(run)s” is held back by this machine."
    ),
    "round {round} of run '{run}' is being aggregated": lazy_gettext("Round %(round)s of “%(run)s” is being joined."),
    "round {round} of run '{run}' goes without this member": lazy_gettext(
        "Round %(round)s of “%(run)s” goes without you."
    ),
    "round {round} of run '{run}' waits for {names}": lazy_gettext("Round %(round)s of “%(run)s” waits for %(names)s."),
    "round {round} of run '{run}' waits for {names} and {more} more": lazy_gettext(
        "Round %(round)s of “%(run)s” waits for %(names)s and others (%(more)s)."
    ),
    "run '{run}' is being prepared by the server": lazy_gettext("The server is preparing “%(run)s”."),
    "run '{run}' is paused by its coordinator": lazy_gettext("The coordinator has paused “%(run)s”."),
    "run '{run}' has failed: {reason}; its coordinator can resume it": lazy_gettext(
        "“%(run)s” has failed; its coordinator can resume it. %(reason)s"
    ),
    "run '{run}' is done; its joint model is being written": lazy_gettext(
        "“%(run)s” is done; its joint model is being written."
    ),
    "run '{run}' is done": lazy_gettext("“%(run)s” is done."),
    "run '{run}' is stopped": lazy_gettext("“%(run)s” was stopped."),
}
"""As `faults.SENTENCES`, which takes them in."""

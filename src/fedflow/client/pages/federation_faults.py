"""What taking part in federations says of itself and of what goes wrong, and what the pages say of it."""

from __future__ import annotations

from flask_babel import LazyString, lazy_gettext

JOIN_AGAIN = lazy_gettext(
    "This machine's files for the federation are damaged (“%(file)s”). Put them back from a backup, or leave the "
    "federation and join again with a new code."
)
NO_KEY = lazy_gettext("This machine's key for the federation is gone. Leave it, and join again with a new code.")
WRONGLY_NAMED = lazy_gettext(
    "The server named something that cannot be right, so nothing was fetched. Tell the coordinator."
)
OTHER_CONTENT = lazy_gettext(
    "The server sent other content than it should, so nothing of it was kept. Tell the coordinator."
)
NO_FEDFLOW = lazy_gettext(
    "What answers at this address is no FedFlow server of this version; it may be a proxy or a sign-in page. Check "
    "the address, and that this machine is online."
)
TRIED_AGAIN = lazy_gettext("%(reason)s It is tried again and again.")
NO_SPACE = lazy_gettext("“%(file)s” cannot be written (%(why)s). Check the disk; it then goes on by itself.")
BASE_CHANGED = lazy_gettext(
    "The copy of the base model on this machine is damaged or was changed. Remove the folder “%(file)s”; it is then "
    "fetched again."
)

SENTENCES: dict[str, str | LazyString] = {
    "run '{name}', round {number}: nothing is sent, as you take part no more": lazy_gettext(
        "Round %(number)s of “%(name)s”: nothing is sent, as you take part no more."
    ),
    # Reaching a server.
    "'{url}': is no address of a server; give one such as https://example.org": lazy_gettext(
        "“%(url)s” is no address of a server. Write one such as https://example.org."
    ),
    "{url}: the server does not answer ({why}); check the address and the network": lazy_gettext(
        "The server does not answer (%(why)s). Check its address and the network."
    ),
    "{url}: answered '{what}', not as a FedFlow server does; check the address": lazy_gettext(
        "What answers at this address is no FedFlow server (%(what)s). Check the address."
    ),
    "{url}: the answer is no {kind} of protocol {protocol}; does a proxy or a sign-in page answer, or is the server "
    "of another version?": NO_FEDFLOW,
    "upload of {file}: the answer names no offset; does a proxy answer for the server?": NO_FEDFLOW,
    "{url}: the server sent other content than it announced; tell the coordinator": OTHER_CONTENT,
    "{url}: the server sent another range than was asked for; tell the coordinator": OTHER_CONTENT,
    "{url}: the server sends the upload elsewhere ({location}); tell the coordinator": lazy_gettext(
        "The server wants the update sent to another address, so it was not sent. Tell the coordinator."
    ),
    "{what}: no byte moved for {seconds} s ({problem}); try again later": lazy_gettext(
        "Nothing came through for %(seconds)s seconds (%(problem)s). Try again later."
    ),
    "download of {file}: {reason}": "%(reason)s",
    "upload of {file}: {reason}": "%(reason)s",
    "nothing comes through to the server ({problem})": lazy_gettext(
        "Nothing comes through to the server now (%(problem)s)."
    ),
    "the token has run out": lazy_gettext("the sign-in has run out"),
    "the server answered {what}": lazy_gettext("the server answered %(what)s"),
    # Joining, and who this machine is.
    "a code has {least} to {most} letters; copy all of it": lazy_gettext(
        "A code has %(least)s to %(most)s characters. Copy all of it."
    ),
    "this cannot be joined with: {what}": lazy_gettext("The code or this machine's name cannot be used. Check both."),
    "the member's name '{name}' cannot name a file; ask the coordinator for another name": lazy_gettext(
        "The member's name “%(name)s” cannot be used on this machine. Ask the coordinator for another name."
    ),
    "{file}: has not joined a federation; give the server's URL and --code": NO_KEY,
    "this machine's key for it is gone; leave it, and join again with a new code": NO_KEY,
    "{file}: is damaged ({why}); restore it, or join with another --home and a new code": JOIN_AGAIN,
    "{file}: is no Ed25519 key; restore it, or join with another --home and a new code": JOIN_AGAIN,
    "{file}: other users of this machine may read this key; run 'chmod 600 {key}'": lazy_gettext(
        "Other users of this machine may read its key “%(file)s”. Run: chmod 600 “%(key)s”"
    ),
    "{file}: the device's key cannot be kept there ({why})": NO_SPACE,
    "{file}: cannot be written ({why}); choose another folder with --home": NO_SPACE,
    "{file}: cannot be read or written ({why}); check the disk and start again": NO_SPACE,
    "{file}: another fedflow process takes part from here; stop it, or give another --home": lazy_gettext(
        "Another FedFlow process takes part in this federation from here. End that one; it then goes on by itself."
    ),
    "it has no dataset; choose one on its page": lazy_gettext("It has no dataset. Choose one on its page."),
    # A run, and the answer to it.
    "there is no consent to withdraw": lazy_gettext("There is no consent to withdraw."),
    "you have withdrawn your consent": lazy_gettext("you have withdrawn your consent"),
    "you agree to its rounds one by one, and not yet to this one": lazy_gettext(
        "you agree to its rounds one by one, and not yet to this one"
    ),
    "the owner of this machine declined": lazy_gettext("you declined"),
    "FedFlow {version} does not know its plan; update it, and ask the coordinator to ask again": lazy_gettext(
        "FedFlow %(version)s does not know its plan. Update FedFlow, and ask the coordinator to ask again."
    ),
    "run '{run}': its plan is of another version ({what})": lazy_gettext(
        "The plan of “%(run)s” is of another version of FedFlow (%(what)s)."
    ),
    "run '{run}': its plan, base model or tensors are not those you agreed to ({file}); nothing was sent. Ask the "
    "coordinator; remove that file to be asked again": lazy_gettext(
        "The plan, the base model or the tensors of “%(run)s” are not those that you agreed to, so nothing was sent. "
        "Ask the coordinator, and withdraw from the run on its page."
    ),
    "run '{run}': the update holds other tensors than you agreed to; nothing was sent, tell the "
    "coordinator": lazy_gettext(
        "The update for “%(run)s” holds other tensors than you agreed to, so nothing was sent. Tell the coordinator."
    ),
    "the update has {size} MB, and the policy allows {limit} MB; nothing was sent": lazy_gettext(
        "The update has %(size)s MB, and your limits allow %(limit)s MB, so nothing was sent."
    ),
    # What the owner's limits do not allow; it stands behind a colon.
    "the policy does not allow the base model '{model}'": lazy_gettext(
        "the base model %(model)s is not among those that you allow"
    ),
    "the run's method is {method}, and the policy allows {allowed}": lazy_gettext(
        "the run joins updates by %(method)s, and you allow %(allowed)s"
    ),
    "the run has {rounds} rounds, and the policy allows {most}": lazy_gettext(
        "the run has %(rounds)s rounds, and you allow %(most)s"
    ),
    "a round takes {steps} steps here, and the policy allows {most}": lazy_gettext(
        "a round takes %(steps)s steps here, and you allow %(most)s"
    ),
    "the folder holds {pictures} pictures, and the policy allows {most}": lazy_gettext(
        "the dataset has %(pictures)s pictures, and you allow %(most)s"
    ),
    "the run's updates have about {size} MB, and the policy allows {most} MB": lazy_gettext(
        "an update has about %(size)s MB, and you allow %(most)s MB"
    ),
    "the policy wants at least {least} members, and the run has {members}": lazy_gettext(
        "you want at least %(least)s members, and the run has %(members)s"
    ),
    "the policy wants rounds joined of at least {least} updates, and the run allows {allowed}": lazy_gettext(
        "you want rounds joined of at least %(least)s updates, and the run allows %(allowed)s"
    ),
    "the server may draw with each member's update alone, which the policy forbids": lazy_gettext(
        "the server may draw with your update alone, which you do not allow"
    ),
    "the policy wants differential privacy (epsilon at most {epsilon}), and the run has none": lazy_gettext(
        "you want differential privacy (epsilon at most %(epsilon)s), and the run has none"
    ),
    "the policy allows training at {hours}": lazy_gettext("you allow training at %(hours)s"),
    # What this machine lacks.
    "it needs at least {needed} of memory and this machine has {free} free; close other programs, or take part from a "
    "larger machine": lazy_gettext(
        "it needs at least %(needed)s of memory and this machine has %(free)s free; close other programs, or take "
        "part from a larger machine"
    ),
    "this machine has not the memory for it (batch size {size} on '{model}'); close other programs, it is tried "
    "again, or ask the coordinator for a smaller training.batch_size": lazy_gettext(
        "This machine does not have enough memory for it. Close other programs; it is tried again. Or ask the "
        "coordinator for fewer pictures per step than %(size)s."
    ),
    "this machine has not the memory to open '{model}'; close other programs, it is tried again, or take part from a "
    "larger machine": lazy_gettext(
        "This machine does not have enough memory to open “%(model)s”. Close other programs; it is tried again. Or "
        "take part from a larger machine."
    ),
    "{reason}; this machine goes without this round": lazy_gettext("%(reason)s This machine goes without this round."),
    "{who}, round {round}: '{name}' has values beyond {wire}; lower training.learning_rate, or set network.wire to "
    "bfloat16": lazy_gettext(
        "The trained values are larger than %(wire)s can hold. Ask the coordinator for a lower learning rate, or for "
        "bfloat16."
    ),
    # The base model of a run.
    "run '{run}': the server names no base model yet; try again later": lazy_gettext(
        "The server names no base model for “%(run)s” yet. It is asked again."
    ),
    "run '{run}': its base model '{model}' differs from the one in this FedFlow, and the server offers no files of "
    "it; install the coordinator's version": lazy_gettext(
        "The base model “%(model)s” of “%(run)s” differs from the one in this FedFlow, and the server offers no files "
        "of it. Install the coordinator's version of FedFlow."
    ),
    "run '{run}': the files that the server gives are the model {found} and not {named}, which the run names; they "
    "were removed, tell the coordinator": OTHER_CONTENT,
    "the server names a file of the base model {path}; refused": WRONGLY_NAMED,
    "the base model holds {path}; only {kinds} are taken": WRONGLY_NAMED,
    "the server names a base model by {hash}, which is no SHA-256; refused": WRONGLY_NAMED,
    "the server names a run {run}, which cannot name a folder; refused": WRONGLY_NAMED,
    "the server names a file of the model {path}, which no model needs; refused": WRONGLY_NAMED,
    "{file}: is damaged or was changed; remove the folder, and it is fetched again": BASE_CHANGED,
    # Taking a server's model into the library.
    "the federation was left meanwhile; join it again to fetch from its server": lazy_gettext(
        "The federation was left meanwhile. Join it again to fetch from its server."
    ),
    "the server has this version no more; look at its list again": lazy_gettext(
        "The server no longer has this version. Look at its list again."
    ),
    "the server shows this machine no base model of it; ask the coordinator": lazy_gettext(
        "The server does not show this machine its base model. Ask the coordinator."
    ),
    "the server has not written its files yet; try again in a while": lazy_gettext(
        "The server has not written its files yet. Try again in a while."
    ),
    # What the participant says of how it goes.
    "{reason}; trying on": TRIED_AGAIN,
    "upload of {file}: {reason}; trying on": TRIED_AGAIN,
    "download of {file}: {reason}; trying on": TRIED_AGAIN,
    "{reason}; asking again": lazy_gettext("%(reason)s The server is asked again."),
    "run '{run}': no answer yet, as {reason}": lazy_gettext("“%(run)s” has no answer yet. %(reason)s"),
    "run '{run}': waits for your consent": lazy_gettext("“%(run)s” waits for your consent."),
    "run '{run}': you take part": lazy_gettext("You take part in “%(run)s”."),
    "run '{run}': declined: {reason}": lazy_gettext("“%(run)s” is declined. %(reason)s"),
    "run '{run}', round {round}: waiting, as {reason}": lazy_gettext("“%(run)s”, round %(round)s, waits. %(reason)s"),
    "round {round} of {rounds}: training {steps} steps on {pictures} pictures": lazy_gettext(
        "Round %(round)s of %(rounds)s: training on the dataset. Steps: %(steps)s, pictures: %(pictures)s."
    ),
    "round {round}: goes on from step {step}, where it was stopped": lazy_gettext(
        "Round %(round)s goes on from step %(step)s, where it was stopped."
    ),
    "round {round}: training ended early, as {reason}": lazy_gettext(
        "The training for round %(round)s ended early. %(reason)s"
    ),
    "round {round}: trained; its update is being sent": lazy_gettext(
        "Round %(round)s is trained; its update is being sent."
    ),
    "round {round}: loss {first} -> {last} in {seconds} s, sent {size}": lazy_gettext(
        "Round %(round)s is trained and sent (%(size)s). The loss went from %(first)s to %(last)s in %(seconds)s s."
    ),
    "round {round}: the server refuses the update: {reason}": lazy_gettext(
        "The server refuses the update for round %(round)s. %(reason)s"
    ),
    "round {round}: {reason}": lazy_gettext("Round %(round)s: %(reason)s"),
    "the server refused this update for good": lazy_gettext("The server refused this update for good."),
    "the pictures have changed: {pictures} are trained on from now on": lazy_gettext(
        "The pictures have changed. From now on this many are trained on: %(pictures)s."
    ),
    "base model '{model}', {size}: fetching it once": lazy_gettext(
        "The base model “%(model)s” is being fetched (%(size)s); this is done once."
    ),
    "the joint model is here: {path}": lazy_gettext("The joint model has arrived. It is in your library."),
}
"""As `faults.SENTENCES`, which takes them in. What stands for {reason} is a sentence of its own."""

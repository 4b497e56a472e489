"""What went wrong, in the reader's language, for a page of its own or beside the field of a form."""

from __future__ import annotations

from flask_babel import LazyString, gettext, lazy_gettext

from fedflow.server.pages.file_faults import SENTENCES as OF_FILES
from fedflow.server.pages.job_faults import SENTENCES as OF_JOBS
from fedflow.server.pages.registry_faults import SENTENCES as OF_THE_REGISTRY
from fedflow.server.pages.words import ROLES
from fedflow.server.services.tryout_request import TryoutRequest
from fedflow.web.model_faults import OF_ITS_BYTES
from fedflow.web.model_faults import SENTENCES as OF_MODELS
from fedflow.web.phrases import Phrases

FIELDS = frozenset(
    {
        "name",
        "email",
        "password",
        "code",
        "federation",
        "member",
        "role",
        "life",
        "max_examples",
        "scopes",
        "locale",
        "tag",
        "reason",
        "place",
        "kind",
        "base",
        "model",
        "data.heldout",
        "visibility",
    }
    | TryoutRequest.model_fields.keys()
)
"""What a service names in front of its sentence where the fault is one field's."""

SENTENCES: dict[str, str | LazyString] = {
    "there is nothing at this address; see /openapi for what there is": lazy_gettext(
        "There is no page at this address. Check it, or start from the overview."
    ),
    "this address does not take the method {method}; see /openapi for what it takes": lazy_gettext(
        "This address only takes forms. Start from the overview."
    ),
    "the request is larger than the server takes here": lazy_gettext("This is larger than the server accepts here."),
    "the server failed; its log tells why under this request_id": lazy_gettext(
        "The server could not answer. Its log says why; tell an administrator when it happened."
    ),
    "the server's database does not answer; try again in a moment": lazy_gettext(
        "The server's database does not answer. Try again in a moment."
    ),
    "the server's store does not answer; try again in a moment": lazy_gettext(
        "The server's store of files does not answer. Try again in a moment."
    ),
    "the server's disk is full; its coordinator must free space, then try again": lazy_gettext(
        "The server's disk is full. An administrator has to free space; then try again."
    ),
    "a value in it cannot be stored": lazy_gettext("Some of the text cannot be stored. Type it again."),
    "the content holds the character NUL, which no text needs; leave it out": lazy_gettext(
        "Some of the text cannot be stored. Type it again."
    ),
    "{most} transfers are under way already, which is all there may be; end one first": lazy_gettext(
        "Too many people are signing in right now. Try again in a few seconds."
    ),
    "you have {most} event streams open, which is all that one person may have; close one first, or ask for "
    "pages instead": lazy_gettext(
        "Your account already follows %(most)s pages of runs, in all its browsers. Close one, then load this again."
    ),
    "too many requests came from you; wait {seconds} seconds, and try again": lazy_gettext(
        "You have sent too many requests. Wait %(seconds)s seconds, then try again."
    ),
    "you are signed out; sign in, and send it again": lazy_gettext(
        "Nothing was changed. Sign in, go back, and send it again."
    ),
    "the form is not one that this browser was given; go back, load the page again, and send it once more": (
        lazy_gettext("The page was open for too long, and nothing was changed. Go back, reload it, and send it again.")
    ),
    "this is for an administrator of the server": lazy_gettext("This is for an administrator of the server."),
    "this is for a {least}, and your role here is {own}; ask the federation's administrator": lazy_gettext(
        "This needs the role %(least)s, and yours here is %(own)s. Ask the federation's administrator."
    ),
    "your role here is {own}; a {role} is invited by another one, or by an administrator": lazy_gettext(
        "Your role here is %(own)s, so you cannot invite anybody to a higher one."
    ),
    "there is no {thing} {identifier}": lazy_gettext("Nothing has this name, or you may not see it."),
    "this address has an account already; sign in, and open the invitation again": lazy_gettext(
        "This address has an account already. Sign in, and open the link again."
    ),
    "this is not your account's address; type that one to delete the account": lazy_gettext(
        "This is not your account's address. Type that one to delete the account."
    ),
    "this address has an account already; sign in with it": lazy_gettext(
        "This address has an account already. Sign in with it."
    ),
    "another account has this address": lazy_gettext("Another account has this address."),
    "is none of {known}": lazy_gettext("Choose one from the list."),
    "this is your own account; another administrator can shut it": lazy_gettext(
        "This is your own account. Another administrator can shut it."
    ),
    "'{name}' would be left without an administrator; make somebody else one first": lazy_gettext(
        "“%(name)s” would be left without an administrator. Make somebody else one first."
    ),
    "the server would be left without an administrator; make somebody else one first": lazy_gettext(
        "The server would be left without an administrator. Make somebody else one first."
    ),
    "the person {person} has no role in this federation; invite them": lazy_gettext(
        "This person no longer belongs to the federation. Invite them again."
    ),
    "give 1 to {longest} letters in one line": lazy_gettext("Write 1 to %(longest)s characters on one line."),
    "has {count} characters; take at least {least}": lazy_gettext("Has %(count)s characters. Take at least %(least)s."),
    "has {count} characters; take at most {most}": lazy_gettext("Has %(count)s characters. Take at most %(most)s."),
    "is easily guessed; take a longer one, such as four or five unusual words": lazy_gettext(
        "This is easy to guess. Use a longer one, such as four or five unusual words."
    ),
    "the address, the password or the code is wrong, or there were too many tries; wait a while and try again": (
        lazy_gettext(
            "The address, the password or the code is wrong, or there were too many tries. Check them, or wait a while."
        )
    ),
    "this code, or a later one, was used already; wait for the next one that your device shows": lazy_gettext(
        "This code was used already. Wait for the next one that your device shows, at most half a minute."
    ),
    "enter the code that your second device shows, or one of your recovery codes": lazy_gettext(
        "Enter the code that your second device shows, or one of your recovery codes."
    ),
    "the password is wrong, or there were too many tries; wait a while and try again": lazy_gettext(
        "The password is wrong, or there were too many tries. Check it, or wait a while."
    ),
    "there is no such sign-in": lazy_gettext("This browser is signed out already."),
    "this account has a second factor already; take it off first to set up another device": lazy_gettext(
        "A second device is set up already. Take it off first to set up another."
    ),
    "is not the one that your device shows now; check its clock, and try again": lazy_gettext(
        "This is not the code that your device shows now. Check its clock, then try again."
    ),
    "this is another's account": lazy_gettext("This is another person's account."),
    "take some of {scopes}": lazy_gettext("Choose at least one."),
    "'account' reaches beyond one federation; leave it out, or set no limit": lazy_gettext(
        "A token of one federation cannot act on your account. Leave that out, or choose no federation."
    ),
    "at most {days} days": lazy_gettext("Choose 1 to %(days)s days."),
    "a token can make none that may do more than itself": lazy_gettext(
        "A token cannot make another that may do more than itself."
    ),
    "this token ends in {seconds} seconds, and makes none that outlives it; ask for less, or make the other one on "
    "your account's page": lazy_gettext("A token cannot make another that lasts longer than itself."),
    "the token was revoked in this moment; use another one": lazy_gettext("This token was revoked already."),
    "you have {most} tokens; revoke one that you no longer need": lazy_gettext(
        "You have %(most)s tokens. Revoke one that you no longer need."
    ),
    "there is no such token of yours": lazy_gettext("This token was revoked already."),
    "a participant's invitation names the member they act for, and no other's does": lazy_gettext(
        "Name the member for a participant, and leave this empty for other roles."
    ),
    "a participant's role names the member they act for, and no other's does": lazy_gettext(
        "Name the member that this participant acts for."
    ),
    "give 1 to 80 letters without slashes, and no dot at the beginning": lazy_gettext(
        "Write 1 to 80 letters without slashes, and no dot at the beginning."
    ),
    "leave out characters that nobody sees, and those that turn the text's direction": lazy_gettext(
        "Leave out characters that nobody sees, and those that turn the direction of the text."
    ),
    "'{name}' is what a run's table calls one of its own rows; choose another name": lazy_gettext(
        "“%(name)s” is what a run's table calls one of its own rows. Choose another name."
    ),
    "'{given}' is no whole number from 1 on": lazy_gettext("“%(given)s” is not a whole number of at least 1."),
    "no device waits with this code; compare it with the device's, or begin anew there": lazy_gettext(
        "No machine waits with this code. Compare it with the machine's screen, or begin again there."
    ),
    "you may let no device in there; ask its coordinator for a join code": lazy_gettext(
        "You may not let a machine in there. Ask its coordinator for a join code."
    ),
    "name the organisation that the device belongs to": lazy_gettext("Name the organisation that it belongs to."),
    "you act for '{member}' there, and may let in its devices alone": lazy_gettext(
        "You act for “%(member)s” there, and can let in only its machines."
    ),
    "there is no such join code, or it was used": lazy_gettext("This join code was used or withdrawn already."),
    "the federation is closed; its administrators can open it again": lazy_gettext(
        "The federation is closed. Its administrators can open it again."
    ),
    "the run '{name}' is not over; stop it or let it end, and close the federation then": lazy_gettext(
        "The run “%(name)s” is not over. Stop it or let it end, then close the federation."
    ),
    "the federation has members, runs, models or imports; close it instead": lazy_gettext(
        "The federation has members, runs, models or imports. Close it instead."
    ),
    "there is a federation '{name}' already; choose another name": lazy_gettext(
        "There is already a federation “%(name)s”. Choose another name."
    ),
    "give 1 to {most} letters in one line": lazy_gettext("Write 1 to %(most)s characters on one line."),
    "{given} is out of range; give 1 to {most}": lazy_gettext("Give a whole number from 1 to %(most)s."),
    "the federation's rule allows the base models {allowed}, not '{model}'; choose one of them, "
    "or have a coordinator change the rule": lazy_gettext(
        "The federation's rule allows the base models %(allowed)s, not “%(model)s”. Choose one of them, or have a "
        "coordinator change the rule."
    ),
    "the federation's rule allows the methods {allowed}, not '{method}'; choose one of them, "
    "or have a coordinator change the rule": lazy_gettext(
        "The federation's rule allows the methods %(allowed)s, not “%(method)s”. Choose one of them, or have a "
        "coordinator change the rule."
    ),
    "the federation's rule allows at most {most} rounds, and the plan has {planned}; "
    "plan fewer, or have a coordinator change the rule": lazy_gettext(
        "The federation's rule allows at most %(most)s rounds, and the plan has %(planned)s. Plan fewer, or have a "
        "coordinator change the rule."
    ),
    "the federation's rule wants at least {least} members in a run, and the plan has {planned}; "
    "choose more, or have a coordinator change the rule": lazy_gettext(
        "The federation's rule requires at least %(least)s members in a run, and the plan has %(planned)s. Choose "
        "more, or have a coordinator change the rule."
    ),
    "the federation's rule wants at least {least} updates in a round, and this plan joins {planned}; "
    "raise the quorum, or have a coordinator change the rule": lazy_gettext(
        "The federation's rule requires at least %(least)s updates in a round, and this plan joins %(planned)s. Raise "
        "the quorum, or have a coordinator change the rule."
    ),
    "the federation's rule lets nothing be drawn with one member's update alone; switch this off, "
    "or have a coordinator change the rule": lazy_gettext(
        "The federation's rule does not allow drawing with one member's update alone. Switch this off, or have a "
        "coordinator change the rule."
    ),
    "the federation's rule allows at most {most} members, and it has {count}; "
    "ask its coordinator to remove one or to change the rule": lazy_gettext(
        "The federation's rule allows at most %(most)s members, and it has %(count)s. Ask its coordinator to remove "
        "one or to change the rule."
    ),
    "the federation's rule allows at most {most} devices of one member, and '{member}' has {count}; "
    "ask its coordinator to revoke one or to change the rule": lazy_gettext(
        "The federation's rule allows at most %(most)s devices of one member, and “%(member)s” has %(count)s. Ask its "
        "coordinator to revoke one or to change the rule."
    ),
    "the job was not given up; it is done, or will be": lazy_gettext("This job is done or still under way."),
    "a run waits for this job; go on with the run on its page": lazy_gettext(
        "A run waits for this job. Resume the run on its page."
    ),
    "goes with a federation": lazy_gettext("Choose one from the list."),
    "only an administrator of the server may invite another one": lazy_gettext(
        "Only an administrator of the server may invite another one."
    ),
    "there is no such invitation, or it was used": lazy_gettext("This invitation was used or withdrawn already."),
    "there is no such invitation; check the link, or ask for another": lazy_gettext(
        "There is no such invitation. Check that the link is whole, or ask for another."
    ),
    "this invitation was used already; sign in, or ask for another": lazy_gettext(
        "This invitation was used already. Sign in, or ask for another."
    ),
    "this invitation has expired; ask for another": lazy_gettext("This invitation has expired. Ask for another."),
    "this invitation is for another address; sign in or register with the one it was sent to": lazy_gettext(
        "This invitation is for another address. Take the one it was sent to."
    ),
    "the sign-in provider does not answer as it should; try again in a moment, or sign in another way": lazy_gettext(
        "The sign-in provider does not answer as it should. Try again in a moment, or sign in another way."
    ),
    "the sign-in provider's answer does not hold; begin the sign-in again": lazy_gettext(
        "The sign-in provider's answer is not valid. Start the sign-in again."
    ),
    "the sign-in provider did not sign you in; begin again, or sign in another way": lazy_gettext(
        "The sign-in provider did not sign you in. Begin again, or sign in another way."
    ),
    "the sign-in provider does not say that it has confirmed an address of yours; confirm it there": lazy_gettext(
        "The sign-in provider does not say that it has confirmed an address of yours. Confirm it there first."
    ),
    "this sign-in was used, took too long, or was begun in another browser; begin it again": lazy_gettext(
        "This sign-in was already used, took too long, or was started in another browser. Start it again."
    ),
    "this was done in another window already; sign in again": lazy_gettext(
        "This was done in another window already. Sign in again."
    ),
    "an account here has your address and has not confirmed it; sign in with its password, and link the "
    "provider on your account's page": lazy_gettext(
        "An account here has your address and has not confirmed it. Sign in with its password, and link the provider "
        "on your account's page."
    ),
    "another identity of the sign-in provider opens the account with your address; sign in with that one or with the "
    "password, and link this one on your account's page": lazy_gettext(
        "Another identity of the sign-in provider opens the account with your address. Sign in with that one or with "
        "the password, and link this one on your account's page."
    ),
    "nobody here has this identity; ask for an invitation, or link it on your account's page": lazy_gettext(
        "No account here is linked to this identity. Ask for an invitation, or sign in with your password and link it "
        "on your account's page."
    ),
    "this identity signs in another account; unlink it there first": lazy_gettext(
        "This identity signs in another account. Unlink it there first."
    ),
    "your account here is shut; ask an administrator of the server": lazy_gettext(
        "Your account here is shut. Ask an administrator of the server."
    ),
    "this account has no second factor any more; set it up first": lazy_gettext(
        "The second step was switched off meanwhile. Set it up first."
    ),
    "this is your only way to sign in; set a password first": lazy_gettext(
        "This is your only way to sign in. Set a password first."
    ),
    "there is no such identity of yours": lazy_gettext("This identity was unlinked already."),
    "you signed in too long ago for this; sign out, sign in with your provider, and do it then": lazy_gettext(
        "You signed in too long ago for this. Sign out, sign in again with your provider, and repeat it."
    ),
    "this link confirms the address of another account; sign in with that one": lazy_gettext(
        "This link confirms the address of another account. Sign in with that one."
    ),
    "this link was used, has expired or is incomplete; ask for another": lazy_gettext(
        "This link was used, has expired or is incomplete. Ask for another."
    ),
    "the audit log is no file of the kind {kind}; it is one of {kinds}": lazy_gettext(
        "There is no such file of the audit log. Download it from its page."
    ),
    "release '{tag}' was withdrawn; try a newer one": lazy_gettext(
        "Release %(tag)s was withdrawn and should not be used any more. Try a newer one."
    ),
    "release '{tag}' names no base model that it could be drawn with": lazy_gettext(
        "Release %(tag)s names no base model to draw pictures with."
    ),
    "release '{tag}' gave out no file that pictures can be drawn with": lazy_gettext(
        "Release %(tag)s has no file to draw pictures with."
    ),
    "{asked} are asked for, and at most {most} are allowed on this server": lazy_gettext(
        "At most %(most)s on this server."
    ),
    "you have {most} try-outs waiting or being drawn, which is all that one person may have; wait until one is done, "
    "or cancel one": lazy_gettext(
        "You already have %(most)s try-outs waiting or being drawn, the most for one person. Wait until one is done, "
        "or cancel one."
    ),
    "the federation has no model '{name}'": lazy_gettext("The federation has no model “%(name)s”."),
    "this server takes none from the model hub; give 'starter' or 'registry:NAME'": lazy_gettext(
        "This server takes no base models from the model hub. Write “starter” or “registry:NAME”."
    ),
    "give 'starter', 'registry:NAME', or the whole path of a model in the server's folder of imports; other folders "
    "and files are for an administrator of the server": lazy_gettext(
        "Write “starter”, “registry:NAME”, or the whole path of a model in the server's folder of imports. Other "
        "folders and files are for an administrator of the server."
    ),
    "'{model}' is no folder or file on the server's machine, and no hub name (OWNER/NAME); give 'starter', "
    "'registry:NAME', or a folder or file that is there": lazy_gettext(
        "“%(model)s” is neither a folder or file on the server's machine nor a name on the model hub (OWNER/NAME). "
        "Write “starter”, “registry:NAME”, or a folder or file that is there."
    ),
    "{left} pictures are left of the {most} that one person may draw in 24 hours, and {asked} are asked for; ask for "
    "fewer, or come back later": lazy_gettext(
        "One person may have %(most)s pictures in 24 hours. You have %(left)s left and asked for %(asked)s. Ask for "
        "fewer, or come back later."
    ),
    "this try-out is over already; there is nothing to cancel": lazy_gettext("It is already over."),
    "this try-out is {status}; only one that failed or was cancelled is drawn again": lazy_gettext(
        "Only a try-out that failed or was cancelled can be drawn again."
    ),
}
"""What a service says, and what the page says of it. The service's words are the API's, and English."""

PHRASES = Phrases(
    SENTENCES | OF_THE_REGISTRY | OF_JOBS | OF_FILES | OF_MODELS, value=lambda text: str(ROLES.get(text, text))
)


def said(sentence: str) -> str:
    """A service's or worker's sentence in the reader's language; as it is where nobody wrote another."""
    return PHRASES.said(sentence)


def is_in_the_file(sentence: str) -> bool:
    """Whether a worker's sentence blames a file's own bytes, so that the same bytes would fail again."""
    words = PHRASES.words(sentence)
    return any(words is each for each in OF_ITS_BYTES)


def beside(error: Exception, field: str = "") -> dict[str, list[str]]:
    """The fault by the field that the service names in front of it, else by `field`; '' is the whole form's."""
    named, colon, reason = str(error).partition(": ")
    if not colon or named not in FIELDS:
        return {field: [said(str(error))]}
    if named == "email" and PHRASES.words(reason) is None:
        return {named: [gettext("Write an e-mail address with an @, such as name@example.org.")]}
    return {named: [said(reason)]}

"""Accounts, signing in, second factors, invitations, roles, tokens: on both databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyotp
import pytest
from sqlalchemy import select
from tests.unit.server.conftest import Clock

from fedflow.server.database.people import Person
from fedflow.server.errors import Conflict, Forbidden, Gone, NotFound, Unauthorised, Unprocessable
from fedflow.server.services import (
    accounts,
    audit,
    federations,
    identity,
    invitations,
    links,
    own_data,
    passwords,
    role_changes,
    roles,
    second_factor,
    sign_in,
    tokens,
)
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.sign_in import NeedsCode
from fedflow.server.store import Store

PASSWORD = "violet tram eats seven maps"  # noqa: S105 - a test's
OTHER = "seventeen quiet lamps near rome"


def invited(store: Store, federation_id: str, role: roles.RoleName, name: str, member: str | None = None) -> str:
    code = invitations.make(store, SERVER, federation_id, role, member=member)
    return accounts.register(store, name, f"{name}@example.org", PASSWORD, code, "192.0.2.7")


def signed_in(store: Store, name: str, password: str = PASSWORD, code: str = "") -> Caller:
    cookie = sign_in.sign_in(store, f"{name}@example.org", password, code, "Firefox", "192.0.2.7")
    found = sign_in.who(store, cookie, "192.0.2.7")
    assert found is not None
    return found.caller


def actions(store: Store) -> list[str]:
    return [entry.action for entry in reversed(audit.listed(store, before=2**62, limit=100))]


def test_the_first_administrator_comes_by_the_servers_invitation(store: Store) -> None:
    identity.first_coordinator(store)
    code = invitations.first(store)
    assert code is not None
    person = accounts.register(store, "Ada Lovelace", "ADA@Example.org ", PASSWORD, code, "")
    assert person == identity.FIRST
    caller = signed_in(store, "ada")
    assert (caller.is_admin, caller.name, caller.id) == (True, "Ada Lovelace", person)
    assert invitations.first(store) is None
    assert identity.authenticate(store, (store.folder / identity.TOKEN_FILE).read_text().strip()).name == "Ada Lovelace"


def test_each_of_several_servers_tells_a_link_that_holds_until_one_is_taken_up(store: Store, clock: Clock) -> None:
    expired = invitations.first(store)
    clock.now += invitations.LIFE_S
    identity.first_coordinator(store)
    of_first, of_second = invitations.first(store), invitations.first(store)
    assert expired is not None
    assert of_first is not None
    assert of_second is not None
    with pytest.raises(NotFound, match="there is no such invitation"):
        invitations.seen(store, expired)
    assert invitations.seen(store, of_first).is_admin
    assert invitations.seen(store, of_second).is_admin
    accounts.register(store, "Ada Lovelace", "ada@example.org", PASSWORD, of_first, "")
    with pytest.raises(NotFound, match="there is no such invitation"):
        invitations.seen(store, of_second)
    with pytest.raises(NotFound, match="there is no such invitation"):
        accounts.register(store, "Eve", "eve@example.org", PASSWORD, of_second, "")
    assert invitations.listed(store, None) == []
    assert invitations.first(store) is None


def test_an_invitation_gives_one_person_a_role(store: Store, federation_id: str, clock: Clock) -> None:
    code = invitations.make(store, SERVER, federation_id, "participant", member="museum", email="Eve@example.org")
    seen = invitations.seen(store, code)
    assert (seen.federation, seen.role, seen.member, seen.email) == (
        "federation",
        "participant",
        "museum",
        "eve@example.org",
    )
    with pytest.raises(Forbidden, match="for another address"):
        accounts.register(store, "Mallory", "mallory@example.org", PASSWORD, code, "")
    person = accounts.register(store, "Eve", "eve@example.org", PASSWORD, code, "")
    [holder] = roles.holders(store, federation_id)
    [member] = federations.members(store, federation_id)
    assert (holder.person_id, holder.role, holder.member_id, member.name) == (
        person,
        "participant",
        member.id,
        "museum",
    )
    with pytest.raises(Gone, match="was used already"):
        accounts.register(store, "Eve", "eve2@example.org", PASSWORD, code, "")
    late = invitations.make(store, SERVER, federation_id, "viewer")
    clock.now += invitations.LIFE_S
    with pytest.raises(Gone, match="has expired"):
        invitations.seen(store, late)
    assert invitations.listed(store, federation_id) == []


def test_who_has_an_account_takes_an_invitation_up_and_keeps_the_larger_role(store: Store, federation_id: str) -> None:
    invited(store, federation_id, "coordinator", "ada")
    with pytest.raises(Conflict, match="has an account already"):
        invited(store, federation_id, "viewer", "ada")
    ada = signed_in(store, "ada")
    other = federations.create(store, "other")
    for target, role in ((other, "viewer"), (federation_id, "viewer")):
        code = invitations.make(store, SERVER, target, role)
        assert invitations.accept(store, ada, code) == target
    assert roles.role_in(store, ada, federation_id) == "coordinator"
    assert roles.role_in(store, ada, other) == "viewer"


@pytest.mark.parametrize(
    ("name", "email", "password", "message"),
    [
        ("Ada", "ada", PASSWORD, "^email: "),
        ("Ada", "a@b@c.org", PASSWORD, "^email: "),
        ("", "ada@example.org", PASSWORD, "^name: "),
        ("A\x1b[2J", "ada@example.org", PASSWORD, "^name: "),
        ("Ada", "ada@example.org", "short", "at least 12"),
        ("Ada", "ada@example.org", "password1234", "easily guessed"),
        ("Ada Lovelace", "ada@example.org", "lovelaceada1", "easily guessed"),
        ("Ada", "ada@example.org", "x" * 201, "at most 200"),
    ],
)
def test_what_is_no_account_is_refused_and_uses_nothing_up(
    store: Store, federation_id: str, name: str, email: str, password: str, message: str
) -> None:
    code = invitations.make(store, SERVER, federation_id, "viewer")
    with pytest.raises(Unprocessable, match=message):
        accounts.register(store, name, email, password, code, "")
    assert invitations.seen(store, code).role == "viewer"


def test_wrong_tries_wait_longer_and_longer_for_unknown_addresses_too(
    store: Store, federation_id: str, clock: Clock
) -> None:
    invited(store, federation_id, "viewer", "ada")
    for name in ("ada", "nobody"):
        for _ in range(sign_in.FREE_FAILURES):
            with pytest.raises(Unauthorised, match="is wrong, or there were too many tries"):
                signed_in(store, name, OTHER)
    with pytest.raises(Unauthorised):
        signed_in(store, "ada")
    clock.now += sign_in.FIRST_LOCK_S
    signed_in(store, "ada")
    assert actions(store).count("account locked") == 1
    for _ in range(sign_in.FREE_FAILURES + 3):
        with pytest.raises(Unauthorised):
            signed_in(store, "ada", OTHER)
        clock.now += sign_in.LONGEST_LOCK_S
    clock.now -= sign_in.LONGEST_LOCK_S - 100
    with pytest.raises(Unauthorised):
        signed_in(store, "ada")


def tried(store: Store, source: str, password: str = OTHER) -> bool:
    """Whether somebody at `source` gets in as ada."""
    try:
        sign_in.sign_in(store, "ada@example.org", password, "", "", source)
    except Unauthorised:
        return False
    return True


def test_a_stranger_keeps_nobody_out_and_many_together_guess_no_more_than_a_hundred_times(
    store: Store, federation_id: str, clock: Clock
) -> None:
    invited(store, federation_id, "viewer", "ada")
    for minute in range(40):
        clock.now += 60
        assert not tried(store, f"2001:db8::{minute}"), "one household has many addresses"
    assert not tried(store, "2001:db8::1", PASSWORD)
    assert tried(store, "192.0.2.1", PASSWORD), "who has the account is somewhere else"
    for number in range(sign_in.MOST_FAILURES):
        assert not tried(store, f"192.0.2.{number}")
    assert not tried(store, "198.51.100.1", PASSWORD)
    clock.now += sign_in.FIRST_LOCK_S
    assert tried(store, "198.51.100.1", PASSWORD)


def test_a_password_that_was_set_by_a_link_lets_in_at_once_wherever_it_is_used(
    store: Store, federation_id: str
) -> None:
    person = invited(store, federation_id, "viewer", "ada")
    for source in ("192.0.2.1", "192.0.2.2"):
        for _ in range(sign_in.FREE_FAILURES):
            assert not tried(store, source)
        assert not tried(store, source, PASSWORD)
    accounts.reset_password(store, links.make(store, SERVER, person, "password"), OTHER, "192.0.2.3")
    assert all(tried(store, source, OTHER) for source in ("192.0.2.1", "192.0.2.2"))


def test_a_browser_is_signed_in_until_it_ends(store: Store, federation_id: str, clock: Clock) -> None:
    invited(store, federation_id, "viewer", "ada")
    cookie = sign_in.sign_in(store, "ada@example.org", PASSWORD, "", "x" * 500, "192.0.2.7")
    with store.engine.connect() as connection:
        assert cookie not in str(connection.exec_driver_sql("SELECT * FROM sign_in").all())
    first = sign_in.who(store, cookie, "")
    assert first is not None
    assert first.is_fresh
    clock.now += sign_in.FRESH_S
    again = sign_in.who(store, cookie, "192.0.2.8")
    assert again is not None
    assert not again.is_fresh
    second = signed_in(store, "ada")
    assert {(each.address, len(each.agent)) for each in sign_in.browsers(store, second)} == {
        ("192.0.2.7", 7),
        ("192.0.2.8", 200),
    }
    sign_in.end(store, second, first.caller.via.removeprefix("sign-in "))
    assert sign_in.who(store, cookie, "") is None
    with pytest.raises(NotFound):
        sign_in.end(store, second, first.caller.via.removeprefix("sign-in "))
    clock.now += sign_in.IDLE_S
    sign_in.forget(store)
    assert sign_in.browsers(store, second) == []


def test_a_new_password_signs_all_other_browsers_out(store: Store, federation_id: str) -> None:
    invited(store, federation_id, "viewer", "ada")
    here, there = signed_in(store, "ada"), signed_in(store, "ada")
    with pytest.raises(Forbidden, match="the password is wrong"):
        accounts.change_password(store, here, OTHER, OTHER, ends_tokens=True)
    accounts.change_password(store, here, PASSWORD, OTHER, ends_tokens=False)
    [left] = sign_in.browsers(store, here)
    assert f"sign-in {left.id}" == here.via != there.via
    with pytest.raises(Unauthorised):
        signed_in(store, "ada")
    code = links.make(store, SERVER, here.id, "password")
    stale = links.make(store, SERVER, here.id, "password")
    with pytest.raises(Gone, match="ask for another"):
        accounts.reset_password(store, code, PASSWORD, "")
    accounts.reset_password(store, stale, PASSWORD, "")
    assert sign_in.browsers(store, here) == []
    with pytest.raises(Gone):
        accounts.reset_password(store, stale, OTHER, "")
    signed_in(store, "ada")


def test_api_tokens_end_with_the_password(store: Store, federation_id: str) -> None:
    invited(store, federation_id, "viewer", "ada")
    ada = signed_in(store, "ada")

    def ends() -> bool:
        try:
            identity.authenticate(store, token)
        except Unauthorised:
            return True
        return False

    token = tokens.make(store, ada, "script", ("read",), 1000.0)
    accounts.change_password(store, ada, PASSWORD, OTHER, ends_tokens=False)
    assert not ends()
    accounts.change_password(store, ada, OTHER, PASSWORD, ends_tokens=True)
    assert ends()
    token = tokens.make(store, ada, "script", ("read",), 1000.0)
    accounts.reset_password(store, links.make(store, SERVER, ada.id, "password"), OTHER, "")
    assert ends()
    facts = {entry.action: entry.facts for entry in audit.listed(store, actor_id=ada.id, before=2**62, limit=9)}
    assert facts["password set by link"] == {"tokens_ended": 1}


def test_a_password_that_was_set_by_a_link_signs_in_at_once(store: Store, federation_id: str) -> None:
    person = invited(store, federation_id, "viewer", "ada")
    for _ in range(sign_in.FREE_FAILURES + 1):
        with pytest.raises(Unauthorised):
            signed_in(store, "ada", OTHER)
    with pytest.raises(Unauthorised):
        signed_in(store, "ada")
    accounts.reset_password(store, links.make(store, SERVER, person, "password"), OTHER, "")
    assert signed_in(store, "ada", OTHER).id == person


def test_the_servers_own_token_stays_when_the_first_coordinators_password_is_set(store: Store) -> None:
    own = identity.first_coordinator(store)
    assert own is not None
    accounts.reset_password(store, links.make(store, SERVER, identity.FIRST, "password"), OTHER, "")
    assert identity.authenticate(store, own).id == identity.FIRST


def test_a_second_factor_is_asked_for_and_each_code_counts_once(store: Store, federation_id: str, clock: Clock) -> None:
    invited(store, federation_id, "viewer", "ada")
    ada = signed_in(store, "ada")
    begun = second_factor.begin(store, ada)
    assert begun.address.startswith("otpauth://totp/FedFlow:ada%40example.org?secret=")
    device = pyotp.TOTP(begun.secret)
    signed_in(store, "ada")  # it does not count yet
    with pytest.raises(Unprocessable, match="not the one that your device shows"):
        second_factor.confirm(store, ada, "000000")
    for odd in ("\N{FULLWIDTH DIGIT ONE}23456", "12345\N{CYRILLIC SMALL LETTER BE}", "\ud800", "\N{NO-BREAK SPACE}"):
        with pytest.raises(Unprocessable):
            second_factor.confirm(store, ada, odd)
    recovery = second_factor.confirm(store, ada, device.at(clock.now))
    clock.now += 30
    with pytest.raises(NeedsCode):
        signed_in(store, "ada")
    with pytest.raises(Unauthorised):
        signed_in(store, "ada", code="000000")
    now = device.at(clock.now)
    signed_in(store, "ada", code=f"{now[:3]} {now[3:]}")
    for spent in (now, device.at(clock.now - 30)):
        with pytest.raises(Unauthorised, match="was used already; wait for the next one"):
            signed_in(store, "ada", code=spent)
    with pytest.raises(Unauthorised, match="the address, the password or the code is wrong"):
        sign_in.sign_in(store, "ada@example.org", OTHER, now, "", "")  # who lacks the password learns nothing
    with pytest.raises(Unauthorised, match="the address, the password or the code is wrong"):
        signed_in(store, "ada", code=device.at(clock.now - 60))  # of before the window
    signed_in(store, "ada", code=recovery[0].replace("-", " ").upper())
    with pytest.raises(Unauthorised):
        signed_in(store, "ada", code=recovery[0])
    with store.read() as session:
        person = session.get_one(Person, ada.id)
        assert begun.secret not in (person.totp or "")
        assert len(person.recovery) == second_factor.RECOVERY_CODES - 1
    second_factor.take_off(store, ada, ada.id)
    signed_in(store, "ada")
    another = pyotp.TOTP(second_factor.begin(store, ada).secret)
    with pytest.raises(Unprocessable, match="wait for the next one"):
        second_factor.confirm(store, ada, another.at(clock.now))
    second_factor.confirm(store, ada, another.at(clock.now + 30))


def test_roles_hold_one_another_and_an_administrator_stays(store: Store, federation_id: str) -> None:
    boss = invited(store, federation_id, "administrator", "boss")
    viewer = invited(store, federation_id, "viewer", "viewer")
    caller = signed_in(store, "boss")
    role_changes.give(store, caller, federation_id, viewer, "coordinator")
    assert roles.role_in(store, signed_in(store, "viewer"), federation_id) == "coordinator"
    with pytest.raises(Conflict, match="left without an administrator"):
        role_changes.give(store, caller, federation_id, boss, "viewer")
    with pytest.raises(Conflict, match="left without an administrator"):
        role_changes.take(store, caller, federation_id, boss)
    role_changes.take(store, caller, federation_id, viewer)
    with pytest.raises(NotFound, match="invite them"):
        role_changes.give(store, caller, federation_id, viewer, "viewer")
    assert [holder.name for holder in roles.holders(store, federation_id)] == ["boss"]


def test_the_servers_administrator_alone_takes_and_changes_everybodys_roles(store: Store, federation_id: str) -> None:
    """As after the first start: the first administrator has no role of their own."""
    identity.first_coordinator(store)
    accounts.register(store, "Ada", "ada@example.org", PASSWORD, invitations.first(store), "")
    caller = signed_in(store, "ada")
    viewer = invited(store, federation_id, "viewer", "vera")
    boss = invited(store, federation_id, "administrator", "boss")
    role_changes.give(store, caller, federation_id, boss, "coordinator")
    role_changes.give(store, caller, federation_id, viewer, "participant", "Studio")
    role_changes.give(store, caller, federation_id, viewer, "viewer")
    role_changes.take(store, caller, federation_id, viewer)
    assert [(each.name, each.role) for each in roles.holders(store, federation_id)] == [("boss", "coordinator")]
    made = federations.create(store, "another", by=caller)
    alone = invited(store, made, "administrator", "alone")
    accounts.delete_account(store, signed_in(store, "alone"), PASSWORD)
    assert alone not in {each.person_id for each in roles.holders(store, made)}


def test_a_role_of_who_is_no_administrator_is_changed_where_there_is_none(store: Store, federation_id: str) -> None:
    """The server's own token counts for nobody who signs in, and stands in nobody's way."""
    viewer = invited(store, federation_id, "viewer", "vera")
    role_changes.give(store, SERVER, federation_id, viewer, "coordinator")
    role_changes.take(store, SERVER, federation_id, viewer)
    assert roles.holders(store, federation_id) == []


def test_a_participant_acts_for_a_member_and_nobody_else_does(store: Store, federation_id: str) -> None:
    person = invited(store, federation_id, "viewer", "vera")
    with pytest.raises(Unprocessable, match="member: a participant's role names the member"):
        role_changes.give(store, SERVER, federation_id, person, "participant")
    with pytest.raises(Unprocessable, match="no other's does"):
        role_changes.give(store, SERVER, federation_id, person, "viewer", "Studio")
    invited(store, federation_id, "participant", "pat", "Studio")
    role_changes.give(store, SERVER, federation_id, person, "participant", "studio")
    held = [(each.name, each.member) for each in roles.holders(store, federation_id)]
    assert held == [("pat", "Studio"), ("vera", "Studio")]
    role_changes.give(store, SERVER, federation_id, person, "coordinator")
    assert [each.member for each in roles.holders(store, federation_id)] == ["Studio", None]


@pytest.mark.parametrize("act", ["unmake", "shut", "give up"])
def test_two_administrators_at_once_do_not_leave_the_server_to_nobody(store: Store, act: str) -> None:
    identity.first_coordinator(store)
    for name in ("ada", "bob"):
        code = invitations.first(store) or invitations.make(store, SERVER, None, None, is_admin=True)
        accounts.register(store, name, f"{name}@example.org", PASSWORD, code, "")
    both = [signed_in(store, name) for name in ("ada", "bob")]

    def acts(caller: Caller, other: Caller) -> bool:
        start.wait()
        try:
            if act == "shut":
                accounts.disable(store, caller, other.id, disabled=True)
            else:
                accounts.make_admin(store, caller, (other if act == "unmake" else caller).id, is_admin=False)
        except Conflict:
            return False
        return True

    for _ in range(10):
        start = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(acts, both, reversed(both)))
        assert sorted(done) == [False, True]
        with store.begin() as session:
            for person in session.scalars(select(Person).where(Person.id.in_([each.id for each in both]))):
                person.is_admin, person.disabled_at = True, None


def test_a_token_may_do_no_more_than_its_maker_and_ends(store: Store, federation_id: str, clock: Clock) -> None:
    invited(store, federation_id, "viewer", "ada")
    ada = signed_in(store, "ada")
    with pytest.raises(Unprocessable, match="'account' reaches beyond one federation"):
        tokens.make(store, ada, "script", ("read", "account"), 100.0, federation_id)
    text = tokens.make(store, ada, "script", ("read",), 100.0, federation_id)
    caller = identity.authenticate(store, text, "192.0.2.9")
    assert (caller.id, caller.scopes, caller.federation_id) == (ada.id, {"read"}, federation_id)
    assert (caller.via, caller.address) == (f"token {tokens.listed(store, ada)[0].id}", "192.0.2.9")
    with pytest.raises(Forbidden, match="none that may do more than itself"):
        tokens.make(store, caller, "more", ("runs",), 100.0, federation_id)
    with pytest.raises(Forbidden, match="none that may do more than itself"):
        tokens.make(store, caller, "more", ("read",), 100.0)
    clock.now += 100
    with pytest.raises(Unauthorised, match="has expired"):
        identity.authenticate(store, text)
    text = tokens.make(store, ada, "again", ("read",), 100.0)
    tokens.revoke(store, ada, tokens.listed(store, ada)[0].id)
    with pytest.raises(Unauthorised, match="was revoked"):
        identity.authenticate(store, text)


def test_a_token_that_a_token_made_ends_no_later_and_is_revoked_with_it(
    store: Store, federation_id: str, clock: Clock
) -> None:
    invited(store, federation_id, "viewer", "ada")
    ada = signed_in(store, "ada")

    def made(caller: Caller, name: str, life_s: float) -> tuple[str, Caller]:
        text = tokens.make(store, caller, name, ("read", "account"), life_s)
        return text, identity.authenticate(store, text)

    _, first = made(ada, "first", 17.0)
    for life_s in (17.5, 366 * 86_400.0):
        with pytest.raises(Forbidden, match="ends in 17 seconds, and makes none that outlives it"):
            made(first, "for ever", life_s)
    child, second = made(first, "second", 17.0)
    grandchild, third = made(second, "third", 16.0)
    other, _ = made(ada, "other", 100.0)
    tokens.revoke(store, ada, first.via.removeprefix("token "))
    for text in (child, grandchild):
        with pytest.raises(Unauthorised, match="was revoked"):
            identity.authenticate(store, text)
    assert identity.authenticate(store, other).id == ada.id
    with pytest.raises(Unauthorised, match="was revoked"):  # a request that was let in a moment before
        made(third, "late", 1.0)
    assert [entry.action for entry in audit.listed(store, before=2**62, limit=3)] == ["token revoked"] * 3
    assert [each.name for each in tokens.listed(store, ada)] == ["other"]


def test_the_coordinators_own_token_has_no_end_and_makes_others(store: Store, federation_id: str) -> None:
    text = identity.first_coordinator(store)
    assert text is not None
    coordinator = identity.authenticate(store, text)
    made = tokens.make(store, coordinator, "script", ("read",), tokens.LONGEST_LIFE_S)
    tokens.renew_first(store)
    with pytest.raises(Unauthorised, match="was revoked"):
        identity.authenticate(store, made)


def test_a_shut_account_is_out_at_once(store: Store, federation_id: str) -> None:
    person = invited(store, federation_id, "viewer", "ada")
    ada = signed_in(store, "ada")
    text = tokens.make(store, ada, "script", ("read",), 100.0)
    cookie = sign_in.sign_in(store, "ada@example.org", PASSWORD, "", "", "")
    accounts.disable(store, SERVER, person, disabled=True)
    assert sign_in.who(store, cookie, "") is None
    with pytest.raises(Unauthorised, match="was closed"):
        identity.authenticate(store, text)
    with pytest.raises(Unauthorised, match="is wrong, or"):
        signed_in(store, "ada")
    accounts.disable(store, SERVER, person, disabled=False)
    signed_in(store, "ada")
    with pytest.raises(Conflict, match="your own account"):
        accounts.disable(store, ada, person, disabled=True)


def test_a_person_takes_their_data_and_leaves(store: Store, federation_id: str) -> None:
    identity.first_coordinator(store)
    boss = invited(store, federation_id, "administrator", "boss")
    ada = signed_in(store, "boss")
    told = own_data.export(store, ada)
    assert told["account"]["email"] == "boss@example.org"
    assert told["roles"][0]["role"] == "administrator"
    assert [action["action"] for action in told["actions"]] == ["signed in", "invitation taken up", "account made"]
    with pytest.raises(Conflict, match="'federation' would be left without an administrator"):
        accounts.delete_account(store, ada, PASSWORD)
    invited(store, federation_id, "administrator", "other")
    with pytest.raises(Forbidden):
        accounts.delete_account(store, ada, OTHER)
    accounts.delete_account(store, ada, PASSWORD)
    with store.engine.connect() as connection:
        rows = [connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in ("person", "role", "sign_in")]  # noqa: S608
    assert "boss@example.org" not in str(rows)
    assert [holder.name for holder in roles.holders(store, federation_id)] == ["other"]
    with pytest.raises(Unauthorised):
        signed_in(store, "boss")
    assert audit.verify(store).faults == ()
    assert audit.listed(store, actor_id=boss, before=2**62, limit=1)[0].action == "account closed"


def test_nobody_learns_by_the_clock_which_addresses_have_accounts(store: Store, federation_id: str) -> None:
    """Both sorts of address take one argon2 and the same statements; the quickest of some tries tells."""
    invited(store, federation_id, "viewer", "ada")

    def seconds(act: Callable[[], object]) -> float:
        began = time.perf_counter()
        act()
        return time.perf_counter() - began

    def try_as(name: str) -> None:
        with pytest.raises(Unauthorised):
            signed_in(store, name, OTHER)

    tries = range(sign_in.FREE_FAILURES - 1)
    acts = (lambda: try_as("ada"), lambda: try_as("nobody"), lambda: passwords.is_right("x", None))
    taken = [tuple(map(seconds, acts)) for _ in tries]  # in turns, since the machine may be slower for a while
    known, unknown, hashing = (min(times) for times in zip(*taken, strict=True))
    assert 0.5 < known / unknown < 2.0
    assert min(known, unknown) > 0.5 * hashing


def test_addresses_are_for_coordinators_and_their_own(store: Store, federation_id: str) -> None:
    for role, name in (("viewer", "vera"), ("participant", "pam"), ("coordinator", "cora")):
        invited(store, federation_id, role, name, "studio" if role == "participant" else None)
    for name, seen in (("vera", {"vera"}), ("pam", {"pam"}), ("cora", {"vera", "pam", "cora"})):
        found = roles.holders_seen_by(store, signed_in(store, name), federation_id)
        assert {each.name for each in found if each.email is not None} == seen
        assert {"vera", "pam", "cora"} <= {each.name for each in found}

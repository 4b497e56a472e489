"""Who may call what: the table of rights. A route that is not in it cannot be served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedflow.server.database.people import RoleName
from fedflow.server.services import examples
from fedflow.server.services.identity import Scope

SMALL_BYTES = 64_000
"""Most content of a request of anybody's or a device's, uploads apart. A plan, which a person sends, may be larger."""

CARD_BYTES = 700_000
"""A form with a model card or notes: a letter takes up to twelve bytes, as forms send it."""

PIECE_BYTES = 8_000_000
"""Most of a file that the form of imports sends at once."""

PICTURE_BYTES = examples.MOST_BYTES + SMALL_BYTES


@dataclass(frozen=True)
class Right:
    """Who may call a route.

    'reader' is a person who is signed in with their browser; who is not is led to the sign-in page. 'caller' is a
    device or a person. A person needs the `scope` with their token (a browser has all), and at least the `role` in the
    federation that the address, or `federation_id` in the content, names; `admin` wants an administrator of the server.
    With `artifact` it is a model or adapter whose owner and visibility count beside the role; its files (`files`) are
    its participants' and its owner's, or everybody's who sees it where everybody does. What a device may see of
    its federation is the service's to say. A reader's form has `most_bytes` at most.
    """

    who: Literal["anyone", "device", "person", "caller", "reader"]
    role: RoleName | None = None
    scope: Scope = "read"
    admin: bool = False
    artifact: bool = False
    files: bool = False
    most_bytes: int = SMALL_BYTES


ANYONE, DEVICE = Right("anyone"), Right("device")
UPLOADS = Right("caller", scope="registry")
"""A device sends its update, a person a model or adapter; no other's upload is to be seen."""

SEES = Right("caller", "viewer")
LISTS = Right("caller")
"""A list of what the caller may see, whatever that is."""

OWN = Right("person", scope="account")
SEES_ARTIFACT = Right("caller", "viewer", artifact=True)
TAKES_FILES = Right("caller", "participant", artifact=True, files=True)
CHANGES_ARTIFACT = Right("person", "coordinator", "registry", artifact=True)
PLANS = Right("person", "coordinator", "runs")
LETS_IN = Right("person", "coordinator", "members")

OWN_TRYOUT = Right("person")
"""No other's is to be seen, which the service says."""

READER = Right("reader")
INVITES = Right("reader", "coordinator")
RULES = Right("reader", "administrator")
ADMIN = Right("reader", admin=True)
BRINGS_IN = Right("reader", "participant")
READS_ARTIFACT = Right("reader", "viewer", artifact=True)
DOWNLOADS = Right("reader", "participant", artifact=True, files=True)
EDITS = Right("reader", "coordinator", artifact=True)
WRITES_CARD = Right("reader", "coordinator", artifact=True, most_bytes=CARD_BYTES)

RIGHTS: dict[str, Right] = {
    "health.healthz": ANYONE,
    "health.readyz": ANYONE,
    "metrics.metrics": Right("person", admin=True),
    "openapi.openapi": ANYONE,
    "openapi.doc_url": ANYONE,
    "openapi.static": ANYONE,
    "swagger.swagger": ANYONE,
    "swagger.static": ANYONE,
    "swagger.oauth2-redirect": ANYONE,
    "devices.join": ANYONE,
    "devices.challenge": ANYONE,
    "devices.token": ANYONE,
    "devices.begin_sign_in": ANYONE,
    "devices.sign_in_state": ANYONE,
    "devices.me": LISTS,
    "devices.revoke": LETS_IN,
    "federations.create": Right("person", scope="members", admin=True),
    "federations.change": Right("person", "administrator", "members"),
    "federations.delete": Right("person", "administrator", "members"),
    "federations.listed": Right("person"),
    "federations.members": Right("person", "viewer"),
    "federations.new_code": LETS_IN,
    "federations.remove_member": LETS_IN,
    "federations.shows_counts": Right("person", "participant", "members"),
    "federations.counts_shown": Right("person", "viewer"),
    "federations.read_policies": Right("person", "viewer"),
    "federations.set_policies": LETS_IN,
    "federations.open_codes": LETS_IN,
    "federations.withdraw_code": LETS_IN,
    "federations.set_cap": LETS_IN,
    "events.listed": Right("person", "viewer"),
    "files.content": LISTS,
    "pages.entry.sign_in_page": ANYONE,
    "pages.entry.signs_in": ANYONE,
    "pages.entry.signs_out": READER,
    "pages.entry.forgotten": ANYONE,
    "pages.entry.asks_for_link": ANYONE,
    "pages.entry.registration": ANYONE,
    "pages.entry.registers": ANYONE,
    "pages.entry.invitation": ANYONE,
    "pages.entry.takes_up": ANYONE,
    "pages.entry.password_page": ANYONE,
    "pages.entry.sets_password": ANYONE,
    "pages.entry.address_page": READER,
    "pages.entry.confirms_address": READER,
    "pages.provider.leaves": ANYONE,
    "pages.provider.returns": ANYONE,
    "pages.provider.links": READER,
    "pages.provider.unlinks": READER,
    "pages.account.profile": READER,
    "pages.account.saves": READER,
    "pages.account.asks_for_letter": READER,
    "pages.account.changes_address": READER,
    "pages.account.data": READER,
    "pages.account.exported": READER,
    "pages.account.deletes": READER,
    "pages.audit.everything": ADMIN,
    "pages.audit.of_federation": RULES,
    "pages.audit.file": ADMIN,
    "pages.audit.file_of_federation": RULES,
    "pages.audit.chain": ADMIN,
    "pages.audit.chain_of_federation": RULES,
    "pages.audit.looks_again": ADMIN,
    "pages.audit.looks_again_for_federation": RULES,
    "pages.federations.listed": READER,
    "pages.federations.form": ADMIN,
    "pages.federations.makes": ADMIN,
    "pages.federations.one": Right("reader", "viewer"),
    "pages.federations.devices": Right("reader", "viewer"),
    "pages.federation_settings.page": RULES,
    "pages.federation_settings.renames": RULES,
    "pages.federation_settings.closes": RULES,
    "pages.federation_settings.opens": RULES,
    "pages.federation_settings.deletes": RULES,
    "pages.joining.codes": INVITES,
    "pages.joining.makes_code": INVITES,
    "pages.joining.withdraws_code": INVITES,
    "pages.joining.member": Right("reader", "viewer"),
    "pages.joining.sets_cap": INVITES,
    "pages.joining.shows_counts": Right("reader", "participant"),
    "pages.joining.removes": INVITES,
    "pages.joining.revokes": INVITES,
    "pages.device_sign_in.page": READER,
    "pages.device_sign_in.lets_in": READER,
    "pages.device_sign_in.refuses": READER,
    "pages.policies.rules": Right("reader", "viewer"),
    "pages.policies.check": INVITES,
    "pages.policies.changes": INVITES,
    "pages.inviting.form_here": ADMIN,
    "pages.inviting.invites_here": ADMIN,
    "pages.inviting.withdraws_here": ADMIN,
    "pages.inviting.form": INVITES,
    "pages.inviting.invites": INVITES,
    "pages.inviting.withdraws": INVITES,
    "pages.overview.overview": READER,
    "pages.overview.stuck": READER,
    "pages.imports.again": BRINGS_IN,
    "pages.imports.appends": Right("reader", "participant", most_bytes=PIECE_BYTES),
    "pages.imports.asks": BRINGS_IN,
    "pages.imports.begins": BRINGS_IN,
    "pages.imports.form": BRINGS_IN,
    "pages.imports.listed": BRINGS_IN,
    "pages.imports.progress": BRINGS_IN,
    "pages.examples.adds": Right("reader", "coordinator", artifact=True, most_bytes=PICTURE_BYTES),
    "pages.examples.picture": READS_ARTIFACT,
    "pages.examples.takes_down": EDITS,
    "pages.models.describes": WRITES_CARD,
    "pages.models.form": EDITS,
    "pages.models.listed": READER,
    "pages.models.one": READS_ARTIFACT,
    "pages.models.preview": WRITES_CARD,
    "pages.releases.content": DOWNLOADS,
    "pages.releases.form": EDITS,
    "pages.releases.listed": READER,
    "pages.releases.makes": WRITES_CARD,
    "pages.releases.one": READS_ARTIFACT,
    "pages.releases.provenance": READS_ARTIFACT,
    "pages.releases.withdraws": EDITS,
    "pages.versions.asks": Right("reader", "participant", artifact=True),
    "pages.versions.content": DOWNLOADS,
    "pages.versions.deletes": EDITS,
    "pages.versions.one": READS_ARTIFACT,
    "pages.new_run.check": Right("reader", "coordinator"),
    "pages.new_run.form": Right("reader", "coordinator"),
    "pages.new_run.starts": Right("reader", "coordinator"),
    "pages.runs.ask_again": Right("reader", "coordinator"),
    "pages.runs.closes_round": Right("reader", "coordinator"),
    "pages.runs.goes_on": Right("reader", "coordinator"),
    "pages.runs.listed": READER,
    "pages.runs.picture": READER,
    "pages.runs.pauses": Right("reader", "coordinator"),
    "pages.runs.run": Right("reader", "viewer"),
    "pages.runs.stops": Right("reader", "coordinator"),
    "pages.runs.stream": Right("reader", "viewer"),
    "pages.system.system": ADMIN,
    "pages.system.tries_again": ADMIN,
    "pages.tryouts.own": READER,
    "pages.tryouts.page": Right("reader", "viewer", artifact=True),
    "pages.tryouts.asks": Right("reader", "viewer", artifact=True),
    "pages.tryouts.one": READER,
    "pages.tryouts.cancels": READER,
    "pages.tryouts.tries_again": READER,
    "pages.tryouts.deletes": READER,
    "pages.tryouts.picture": READER,
    "pages.people.everybody": ADMIN,
    "pages.people.account": ADMIN,
    "pages.people.shuts": ADMIN,
    "pages.people.opens": ADMIN,
    "pages.people.makes_administrator": ADMIN,
    "pages.people.unmakes_administrator": ADMIN,
    "pages.people.takes_second_factor_off": ADMIN,
    "pages.people.makes_password_link": ADMIN,
    "pages.people.makes_address_link": ADMIN,
    "pages.people.team": Right("reader", "viewer"),
    "pages.people.role": RULES,
    "pages.people.gives_role": RULES,
    "pages.people.takes_role": RULES,
    "pages.security.overview": READER,
    "pages.security.changes_password": READER,
    "pages.security.begins": READER,
    "pages.security.device": READER,
    "pages.security.confirms": READER,
    "pages.security.renews_codes": READER,
    "pages.security.takes_off": READER,
    "pages.security.ends": READER,
    "pages.security.ends_others": READER,
    "pages.tokens.own": READER,
    "pages.tokens.makes": READER,
    "pages.tokens.revokes": READER,
    "people.accept": OWN,
    "people.audited": Right("person", "administrator", "members"),
    "people.audited_everywhere": Right("person", scope="members", admin=True),
    "people.exported": OWN,
    "people.give_role": Right("person", "administrator", "members"),
    "people.holders": Right("person", "viewer"),
    "people.open_invitations": LETS_IN,
    "people.invite": LETS_IN,
    "people.make_token": OWN,
    "people.revoke_token": OWN,
    "people.take_role": Right("person", "administrator", "members"),
    "people.own_tokens": OWN,
    "people.withdraw": LETS_IN,
    "catalogue.delete_version": CHANGES_ARTIFACT,
    "catalogue.describe": CHANGES_ARTIFACT,
    "catalogue.described": SEES_ARTIFACT,
    "catalogue.add_example": CHANGES_ARTIFACT,
    "catalogue.send_example": CHANGES_ARTIFACT,
    "catalogue.example": SEES_ARTIFACT,
    "catalogue.remove_example": CHANGES_ARTIFACT,
    "catalogue.key": ANYONE,
    "catalogue.provenance": SEES_ARTIFACT,
    "catalogue.release": CHANGES_ARTIFACT,
    "catalogue.released": SEES_ARTIFACT,
    "catalogue.released_file": TAKES_FILES,
    "catalogue.withdraw": CHANGES_ARTIFACT,
    "imports.ask": Right("person", "participant", "registry"),
    "imports.listed": Right("person", "participant"),
    "imports.one": Right("person", "participant"),
    "imports.retry": Right("person", "participant", "registry"),
    "imports.layouts": SEES_ARTIFACT,
    "imports.download": Right("person", "participant", "registry", artifact=True),
    "imports.content": TAKES_FILES,
    "registry.models": LISTS,
    "registry.adapters": LISTS,
    "registry.versions": SEES_ARTIFACT,
    "registry.lineage": SEES_ARTIFACT,
    "registry.export": Right("caller", "participant", "registry", artifact=True),
    "runs.create": PLANS,
    "runs.listed": LISTS,
    "runs.facts": SEES,
    "runs.scored": SEES,
    "runs.rounds": SEES,
    "runs.explained": Right("person", "viewer"),
    "runs.refused": Right("caller", "coordinator"),
    "runs.ask_again": PLANS,
    "runs.pause": PLANS,
    "runs.resume": PLANS,
    "runs.stop": PLANS,
    "runs.close_round": PLANS,
    "tryouts.ask": Right("person", "viewer", "registry", artifact=True),
    "tryouts.listed": Right("person", "viewer", artifact=True),
    "tryouts.one": OWN_TRYOUT,
    "tryouts.cancel": Right("person", scope="registry"),
    "tryouts.again": Right("person", scope="registry"),
    "tryouts.delete": Right("person", scope="registry"),
    "tryouts.picture": OWN_TRYOUT,
    "uploads.options": ANYONE,
    "uploads.create": UPLOADS,
    "uploads.offset": UPLOADS,
    "uploads.append": UPLOADS,
    "uploads.terminate": UPLOADS,
    "uploads.overridden": UPLOADS,
    "work.current_work": DEVICE,
    "work.consent": DEVICE,
    "work.hand_in": DEVICE,
    "web.asset": ANYONE,
    "web.preferences": ANYONE,
}

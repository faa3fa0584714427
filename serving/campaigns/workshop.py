"""What the marketing team does in the studio and over the API, from a brief to a launch; pages and routes both call it.

Every method names who does it by the subject of his token. What a plan's directory needs after it was handed in is the
desk's (`serving.campaigns.desk`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from recsys.campaigns.content.fact_guard import validate_variant
from recsys.campaigns.content.variant import Variant
from recsys.campaigns.dressing import ANCHOR, undressed
from recsys.campaigns.handover import read_plan
from recsys.campaigns.measurement import Report
from recsys.campaigns.preview import Preview, preview
from recsys.campaigns.revision import revise_plan
from serving.campaigns.bank import CampaignBank
from serving.campaigns.briefs import check_brief, draft_of, read_brief
from serving.campaigns.desk import CampaignDesk
from serving.campaigns.folders import prune
from serving.campaigns.runner import JobRunner
from serving.engine import Clock, utc_now
from serving.store.campaign_drafts import DraftStore, StoredVariant, Writing
from serving.store.campaign_jobs import Job, JobStore
from serving.store.campaign_states import NEXT_STEPS, CampaignState
from serving.store.campaigns import APPROVED, REJECTED, Campaign, CampaignError, CampaignStore

EDITABLE: Final = ("headline", "body", "cta", "disclaimer", "opt_out")
MOST_TEXT: Final = 2_000


class CheckedVariant(NamedTuple):
    """A variant with what the fact guard says of it."""

    stored: StoredVariant
    findings: tuple[str, ...]

    @property
    def composed(self) -> bool:
        """Whether its words are the campaign's own; else they are the catalogue's."""
        return ANCHOR in self.stored.copy


class NoPlanError(CampaignError):
    """The campaign was not planned yet."""


@dataclass(frozen=True)
class Workshop:
    """Campaigns in the making."""

    desk: CampaignDesk
    bank: CampaignBank
    runner: JobRunner
    salt: str
    """Of the bank's holdouts, where a brief names none."""
    folder: Path
    """Where plans lie."""
    clock: Clock

    @property
    def drafts(self) -> DraftStore:
        """The store of drafts."""
        return DraftStore(self.desk.store)

    @property
    def jobs(self) -> JobStore:
        """The store of jobs."""
        return JobStore(self.desk.store)

    def create(self, values: Any, by: str) -> Campaign:
        """Writes a campaign down.

        Raises:
            InvalidBriefError: its brief cannot be used on this bank.
            CampaignError: there is one of that id.
        """
        brief = read_brief(values, self.salt)
        check_brief(brief, self.bank.open().customers)
        return self.drafts.create(draft_of(brief), by, self.clock())

    def save_brief(self, campaign_id: str, values: Any, by: str, revision: int | None) -> Campaign:
        """Changes a brief; plan, copy and approval are void.

        Raises:
            InvalidBriefError: it cannot be used on this bank.
            CampaignError: it was changed meanwhile, or is on its way.
        """
        before = CampaignStore(self.desk.store).get(campaign_id)
        kept = (before.brief or {}).get("salt", self.salt)
        named = {**values, "campaign_id": campaign_id} if isinstance(values, Mapping) else values
        brief = read_brief(named, kept)
        check_brief(brief, self.bank.open().customers)
        return self.drafts.save_brief(draft_of(brief), Writing(by, self.clock(), revision))

    def preview(self, values: Any) -> Preview:
        """Whom a brief would reach.

        Raises:
            InvalidBriefError: it cannot be used.
            RecsysError: nobody is in its audience.
        """
        named = {"campaign_id": "preview", "name": "preview", **values} if isinstance(values, Mapping) else values
        return preview(read_brief(named, self.salt), self.bank.open().customers)

    def plan(self, campaign_id: str, by: str) -> Job:
        """Has a campaign planned.

        Raises:
            CampaignError: it is being planned, or is on its way already.
        """
        campaign = CampaignStore(self.desk.store).get(campaign_id)
        if campaign.brief is None or campaign.state not in _PLANNABLE:
            raise CampaignError(f"campaign {campaign_id} is {campaign.state}: change its brief, and plan it again then")
        job = self.jobs.ask(campaign_id, by, utc_now())
        self.runner.ensure()
        return job

    def job(self, campaign_id: str) -> Job | None:
        """The last job of a campaign."""
        self.runner.ensure()
        return self.jobs.latest(campaign_id)

    def cancel_job(self, campaign_id: str, job_id: str) -> Job:
        """Stops planning."""
        return self.jobs.cancel(campaign_id, job_id, utc_now())

    def plan_folder(self, campaign: Campaign) -> Path:
        """Where a campaign's plan lies.

        Raises:
            NoPlanError: it has none (any more).
        """
        place = campaign.plan.get("plan")
        if place is None or not Path(place).is_dir():
            raise NoPlanError(f"campaign {campaign.campaign_id} has no plan yet: plan it first")
        return Path(place)

    def plan_summary(self, campaign: Campaign) -> dict[str, Any]:
        """What a plan says: plan.json without what is nobody's to see."""
        file = self.plan_folder(campaign) / "plan.json"
        summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        summary["brief"] = {name: value for name, value in summary["brief"].items() if name not in ("salt", "seed")}
        summary.pop("seed", None)
        return summary

    def variants(self, campaign_id: str) -> list[CheckedVariant]:
        """The variants of a campaign, each checked."""
        products = self.bank.open().products
        names = [facts.name for facts in products.values()]
        return [CheckedVariant(one, self._check(one, names)) for one in self.drafts.variants(campaign_id)]

    def edit(
        self, campaign_id: str, content_id: str, words: Mapping[str, str], seen: str, writing: Writing
    ) -> Campaign:
        """Changes the words of a variant; what the fact guard says of them shows when it is looked at.

        Raises:
            CampaignError: there is no such variant, its words are the catalogue's, or it was changed meanwhile.
        """
        stored = next((one for one in self.drafts.variants(campaign_id) if one.content_id == content_id), None)
        if stored is None:
            raise CampaignError(f"campaign {campaign_id} has no variant {content_id}")
        variant = undressed(stored.copy)
        if variant is None:
            raise CampaignError(f"variant {content_id} is the catalogue's creative: change it in the catalogue")
        kept = {name: " ".join(words[name].split()) for name in EDITABLE if name in words}
        if long := [name for name, text in kept.items() if len(text) > MOST_TEXT]:
            raise CampaignError(f"{', '.join(long)}: more than {MOST_TEXT:,} characters")
        changed = variant.model_copy(update=kept).sealed()
        entry = {**changed.model_dump(mode="json"), ANCHOR: stored.copy[ANCHOR]}
        return self.drafts.edit(campaign_id, entry, seen, writing)

    def validate(self, campaign_id: str, writing: Writing) -> dict[str, tuple[str, ...]]:
        """Asks the fact guard about every variant; where none fails the campaign is validated.

        Returns:
            Content id to findings, of those that fail.
        """
        failing = {one.stored.content_id: one.findings for one in self.variants(campaign_id) if one.findings}
        if not failing:
            self.drafts.validated(campaign_id, writing)
        return failing

    @staticmethod
    def require_valid(failing: Mapping[str, tuple[str, ...]]) -> None:
        """Refuses a campaign of which variants fail.

        Raises:
            CampaignError: some do; it names the first.
        """
        if failing:
            first, findings = next(iter(failing.items()))
            raise CampaignError(
                f"{len(failing)} variant(s) do not pass the fact guard, the first is {first}: {findings[0]}"
            )

    def submit(self, campaign_id: str, writing: Writing) -> Campaign:
        """Hands a campaign in: validated again, with a plan that holds the words as they are now.

        Raises:
            CampaignError: a variant fails, or the campaign is not there yet.
        """
        campaign = CampaignStore(self.desk.store).get(campaign_id)
        folder = self.plan_folder(campaign)
        self.require_valid(self.validate(campaign_id, writing))
        words = [one.copy for one in self.drafts.variants(campaign_id)]
        plan = read_plan(folder)
        if _hashes(words) != _hashes(plan.variants):
            out = self.folder / campaign_id / f"plan-{plan.digest[:8]}-{campaign.revision}"
            if not out.exists():
                revise_plan(folder, words, out)
            plan, folder = read_plan(out), out
        kept = {"name": plan.brief.name, "plan": str(folder), "totals": plan.summary["totals"]}
        handed_in = self.drafts.hand_in(campaign_id, plan.digest, kept, writing)
        prune(folder.parent, folder)
        return handed_in

    def judge(self, campaign_id: str, content_id: str, verdict: str, note: str, writing: Writing) -> None:
        """Says of one variant that it may be sent, or not and why.

        Raises:
            CampaignError: the verdict is none, or the judge has a hand in the campaign.
        """
        if verdict not in (APPROVED, REJECTED):
            raise CampaignError(f"{verdict} is no verdict: say {APPROVED} or {REJECTED}")
        if verdict == REJECTED and not note.strip():
            raise CampaignError("say why the variant is rejected: its author must know what to change")
        self.drafts.judge(campaign_id, content_id, verdict, note.strip() or None, writing)

    def approve(self, campaign_id: str, by: str, digest: str) -> Campaign:
        """Approves what was looked at, which `digest` names."""
        return CampaignStore(self.desk.store).approve(campaign_id, by, digest, self.clock())

    def launch(self, campaign_id: str, by: str) -> tuple[Campaign, int]:
        """Schedules an approved campaign's messages."""
        campaign = CampaignStore(self.desk.store).get(campaign_id)
        if campaign.state != CampaignState.APPROVED:
            raise CampaignError(
                f"campaign {campaign_id} is {campaign.state}: only one whose creatives are approved can be launched; "
                f"{NEXT_STEPS[CampaignState(campaign.state)]}"
            )
        return self.desk.launch(self.plan_folder(campaign), by)

    def picture(self, campaign_id: str, name: str) -> Path:
        """The file of a picture that one of a campaign's variants shows.

        Raises:
            NoPlanError: there is none of that name.
        """
        campaign = CampaignStore(self.desk.store).get(campaign_id)
        shown = {one.copy.get("image") for one in self.drafts.variants(campaign_id)}
        file = self.plan_folder(campaign) / "images" / name
        if name not in shown or not file.is_file():
            raise NoPlanError(f"campaign {campaign_id} has no picture {name}")
        return file

    def report(self, campaign_id: str) -> Report:
        """What a campaign changed until now.

        Raises:
            CampaignError: it was never launched.
        """
        campaign = CampaignStore(self.desk.store).get(campaign_id)
        if campaign.state not in _LAUNCHED:
            raise CampaignError(f"campaign {campaign_id} is {campaign.state}: there are results once it is launched")
        return self.desk.report(self.plan_folder(campaign), self.bank.dataset())

    def _check(self, stored: StoredVariant, names: list[str]) -> tuple[str, ...]:
        variant: Variant | None = undressed(stored.copy)
        if variant is None:
            return ()
        facts = self.bank.open().products.get(variant.product_id)
        if facts is None:
            return (f"product: {variant.product_id} is not in the catalogue any more",)
        others = tuple(name for name in names if name != facts.name)
        return tuple(f"{rule}: {detail}" for rule, detail in validate_variant(variant, facts, others))


_LAUNCHED: Final = (
    CampaignState.SCHEDULED,
    CampaignState.SENDING,
    CampaignState.PAUSED,
    CampaignState.COMPLETED,
    CampaignState.WITHDRAWN,
)
_PLANNABLE: Final = (
    CampaignState.DRAFT,
    CampaignState.GENERATED,
    CampaignState.VALIDATED,
    CampaignState.REJECTED,
)


def _hashes(variants: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(one["content_id"], one["content_hash"]) for one in variants}

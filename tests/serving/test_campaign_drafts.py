"""Drafts of campaigns and their jobs in SQL: what an edit voids, whose eyes count, one worker at a time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from serving.store.campaign_acts import acts_of
from serving.store.campaign_drafts import Draft, DraftStore, StaleError, Writing
from serving.store.campaign_jobs import MOST_ATTEMPTS, SILENCE, JobState, JobStore, Step
from serving.store.campaign_states import CampaignState
from serving.store.campaigns import CampaignError, CampaignStore
from serving.store.database import Store

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DIGEST = "d" * 64
VARIANT = {"content_id": "v1", "product_id": "p1", "content_hash": "h1", "product_version": "v", "headline": "Hello"}


def draft(name: str = "Summer") -> Draft:
    return Draft("x", name, {"name": name}, NOW + timedelta(days=2), NOW + timedelta(days=9))


def submitted(store: Store) -> DraftStore:
    drafts = DraftStore(store)
    drafts.create(draft(), "ann", NOW)
    drafts.generated("x", {"name": "Summer", "plan": "nowhere"}, [VARIANT], Writing("ann", NOW, 1))
    drafts.validated("x", Writing("ann", NOW))
    drafts.hand_in("x", DIGEST, {"name": "Summer"}, Writing("ann", NOW))
    return drafts


def test_create_twice_is_refused_and_says_whose_it_is(store: Store) -> None:
    drafts = DraftStore(store)
    drafts.create(draft(), "ann", NOW)
    with pytest.raises(CampaignError, match="taken since 2026-07-01 by ann"):
        drafts.create(draft("Other"), "bob", NOW)
    assert CampaignStore(store).get("x").plan["name"] == "Summer"


def test_edit_of_approved_words_voids_the_approval(store: Store) -> None:
    drafts, campaigns = submitted(store), CampaignStore(store)
    campaigns.approve("x", "bob", DIGEST, NOW)
    drafts.edit("x", {**VARIANT, "content_hash": "h2"}, "h1", Writing("cleo", NOW))
    after = campaigns.get("x")
    assert (after.state, after.approver, after.digest) == (CampaignState.GENERATED, None, "")
    with pytest.raises(CampaignError, match="only one that is approved"):
        campaigns.launch("x", DIGEST, [], "ann", NOW)
    (variant,) = drafts.variants("x")
    assert (variant.copy["content_hash"], variant.edited_by, variant.verdict) == ("h2", "cleo", None)


def test_edit_of_what_was_changed_meanwhile_is_refused(store: Store) -> None:
    drafts = submitted(store)
    drafts.edit("x", {**VARIANT, "content_hash": "h2"}, "h1", Writing("ann", NOW))
    with pytest.raises(StaleError, match="changed meanwhile"):
        drafts.edit("x", {**VARIANT, "content_hash": "h3"}, "h1", Writing("cleo", NOW))
    with pytest.raises(StaleError, match="changed by ann"):
        drafts.save_brief(draft("Other"), Writing("cleo", NOW, 1))


@pytest.mark.parametrize("person", ["ann", " ANN ", "cleo"])
def test_whoever_has_a_hand_in_it_may_not_judge(store: Store, person: str) -> None:
    drafts, campaigns = submitted(store), CampaignStore(store)
    drafts.edit("x", {**VARIANT, "content_hash": "h2"}, "h1", Writing("cleo", NOW))
    drafts.validated("x", Writing("ann", NOW))
    drafts.hand_in("x", DIGEST, {"name": "Summer"}, Writing("ann", NOW))
    for judge in (
        lambda: campaigns.approve("x", person, DIGEST, NOW),
        lambda: campaigns.reject("x", person, "no", NOW),
        lambda: drafts.judge("x", "v1", "approved", None, Writing(person, NOW)),
    ):
        with pytest.raises(CampaignError, match="somebody else must approve"):
            judge()
    assert campaigns.approve("x", "bob", DIGEST, NOW).state == CampaignState.APPROVED


def test_a_rejected_variant_keeps_the_campaign_from_being_approved(store: Store) -> None:
    drafts, campaigns = submitted(store), CampaignStore(store)
    drafts.judge("x", "v1", "rejected", "too loud", Writing("bob", NOW))
    with pytest.raises(CampaignError, match="1 variant\\(s\\) of campaign x are rejected"):
        campaigns.approve("x", "bob", DIGEST, NOW)
    campaigns.reject("x", "bob", "see the variant", NOW)
    assert campaigns.get("x").note == "see the variant"
    assert [act.act for act in acts_of(store, "x")][:2] == ["rejected", "judged"]


def test_a_plan_of_an_older_brief_is_not_taken_in(store: Store) -> None:
    drafts = DraftStore(store)
    drafts.create(draft(), "ann", NOW)
    drafts.save_brief(draft("Other"), Writing("ann", NOW, 1))
    with pytest.raises(StaleError):
        drafts.generated("x", {"name": "Summer"}, [VARIANT], Writing("ann", NOW, 1))
    assert (CampaignStore(store).get("x").state, drafts.variants("x")) == (CampaignState.DRAFT, [])


def test_jobs_are_done_one_at_a_time_by_one_of_several_workers(store: Store) -> None:
    DraftStore(store).create(draft(), "ann", NOW)
    jobs = JobStore(store)
    jobs.ask("x", "ann", NOW)
    with pytest.raises(CampaignError, match="is being planned"):
        jobs.ask("x", "cleo", NOW)
    with ThreadPoolExecutor(4) as pool:
        claimed = [job for job in pool.map(lambda place: jobs.claim(f"w{place}", NOW), range(4)) if job is not None]
    (job,) = claimed
    assert jobs.beat(job, Step("allocating", 1, 2), NOW)
    assert not jobs.waits(NOW + SILENCE)
    assert jobs.finish(job, JobState.DONE, None, NOW)
    assert jobs.latest("x").state == JobState.DONE  # type: ignore[union-attr]


def test_a_job_of_a_dead_worker_is_taken_up_again_but_not_for_ever(store: Store) -> None:
    DraftStore(store).create(draft(), "ann", NOW)
    jobs = JobStore(store)
    jobs.ask("x", "ann", NOW)
    present = NOW
    for attempt in range(MOST_ATTEMPTS):
        job = jobs.claim(f"w{attempt}", present)
        assert job is not None
        present += SILENCE + timedelta(seconds=1)
        assert jobs.waits(present)
    assert jobs.claim("last", present) is None
    last = jobs.latest("x")
    assert last is not None
    assert (last.state, "worker died" in (last.message or "")) == (JobState.FAILED, True)


def test_a_cancelled_job_is_not_wanted_any_more(store: Store) -> None:
    DraftStore(store).create(draft(), "ann", NOW)
    jobs = JobStore(store)
    jobs.ask("x", "ann", NOW)
    job = jobs.claim("w", NOW)
    assert job is not None
    jobs.cancel("x", job.job_id, NOW)
    assert not jobs.beat(job, Step("allocating", 1, 2), NOW)
    assert not jobs.finish(job, JobState.DONE, None, NOW)
    with pytest.raises(CampaignError, match="cancelled already"):
        jobs.cancel("x", job.job_id, NOW)

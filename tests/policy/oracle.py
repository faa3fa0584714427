"""The rules once more, in plain Python from domain.md, one customer and one product at a time.

It shares nothing with `recsys.policy`: it reads a pack as the mapping that YAML gives, and a world as its rows.
"""

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.policy.worlds import CUSTOMER_SCHEMA, FLAGS, Row, World

FLAG_OF = {
    "VULN_MINOR": "is_minor",
    "VULN_ARREARS": "in_arrears",
    "VULN_BEREAVED": "bereaved",
    "VULN_FRAUD_VICTIM": "fraud_victim",
    "VULN_COMPLAINT": "open_complaint",
}
NOT_ELIGIBILITY = ("SUIT_", "CONSENT_", "CONTACT_", "DATA_", "CRED_STEERING", "ELIG_PENDING", "ELIG_DECLINED")
ZONES = {"Europe/Dublin", "America/New_York", "Asia/Shanghai", "Asia/Kathmandu", "Pacific/Chatham"}


class Oracle:
    """Judges a world by a pack."""

    def __init__(self, pack: Row, world: World) -> None:
        self.pack, self.world = pack, world
        self.rules = [rule for rule in pack["rules"] if _date(rule["effective_from"]) <= world.now.date()]
        self.channel = pack.get("channel_aliases", {}).get(world.channel, world.channel)
        self.pushed = self.channel is not None and self.channel in pack.get("pushed_channels", [])
        self.by_customer: dict[tuple[str, int], list[Row]] = {}
        for name in ("held", "declined", "pending", "consents", "contacts"):
            for row in getattr(world, name):
                self.by_customer.setdefault((name, row["customer"]), []).append(row)
        self._judges = [(rule, self._judge_of(rule["id"])) for rule in self.rules]
        self._strangers: dict[Any, bool] = {}
        self._groups = [self._groups_of(item) for item in world.products]

    def product_rules(self, who: int, what: int) -> list[str]:
        """The ids of all rules that remove a product, in the pack's order."""
        customer, item = self.world.customers[who], self.world.products[what]
        return [rule["id"] for rule, judge in self._judges if judge and judge(rule, who, what, customer, item)]

    def _judge_of(self, rule_id: str) -> Any:
        return self._vulnerable if rule_id in FLAG_OF else getattr(self, "_" + rule_id.lower(), None)

    def content_rules(self, who: int, which: int) -> list[str]:
        """The rules that remove a content: those of its product if there are any, else its own."""
        content = self.world.contents[which]
        about = next(n for n, item in enumerate(self.world.products) if item["product_id"] == content["product_id"])
        inherited = self.product_rules(who, about)
        if inherited:
            return inherited
        own = []
        for rule in self.rules:
            judge = getattr(self, "_of_content_" + rule["id"].lower(), None)
            if judge is not None and judge(rule, who, self.world.customers[who], content, self.world.products[about]):
                own.append(rule["id"])
            if rule["id"] in FLAG_OF and rule.get("contents") and self._flag(FLAG_OF[rule["id"]], who):
                own.append(rule["id"])
            stale = rule["id"] == "DATA_STALE" and self._stale(rule, self.world.customers[who])
            if stale and self._stranger_content(which):
                own.append(rule["id"])
        return own

    def profiling_refused(self, who: int) -> bool:
        """Whether the customer's latest answers about profiling, of whatever channel, are not all yes."""
        if not self.world.consents_kept or not any(rule["id"] == "CONSENT_PROFILING" for rule in self.rules):
            return False
        answers = [row for row in self._rows("consents", who) if row["purpose"] == "profiling"]
        newest = max((row["since"] for row in answers), default=None)
        if newest is None or newest > self.world.now:
            return True
        return not all(row["granted"] for row in answers if row["since"] == newest)

    def stale(self, who: int) -> bool:
        """Whether the customer's facts are too old."""
        return any(rule["id"] == "DATA_STALE" and self._stale(rule, self.world.customers[who]) for rule in self.rules)

    # --- what things are -------------------------------------------------------------------------------------------

    def _rows(self, name: str, who: int) -> list[Row]:
        return self.by_customer.get((name, who), [])

    def _groups_of(self, item: Row) -> set[str]:
        category = item["category"]
        groups = {"all"} if category is None else {"all", category}
        if _risk(item) or category in self.pack.get("investment_categories", []):
            groups.add("investment")
        if item["is_credit"] or category in self.pack.get("credit", {}).get("categories", []):
            groups.add("credit")
        return groups

    def _known(self, column: str, customer: Row) -> Any:
        return customer[column] if column in self.world.kept else None

    def _age(self, customer: Row) -> float | None:
        age, minor = self._known("age", customer), self._known("is_minor", customer)
        if age is None:
            return 18.0 if minor is False else None
        return min(age, 17.0) if minor else age

    def _flag(self, name: str, who: int) -> bool:
        customer = self.world.customers[who]
        value = self._known(name, customer)
        if name == "is_minor":
            age = self._age(customer)
            if age is not None:
                return value is True or age < 18
        return value is True or (value is None and name in self.world.kept)

    def _open(self, row: Row) -> bool:
        return row["since"] <= self.world.now and (row["until"] is None or row["until"] > self.world.now)

    def _ago(self, row: Row, **span: int) -> bool:
        """Whether it began within the last so many days, and not in the future."""
        return self.world.now - timedelta(**span) < row["since"] <= self.world.now

    # --- products --------------------------------------------------------------------------------------------------

    def _life_not_live(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        start, end = item["available_from"], item["available_to"]
        soon, over = start is not None and start > self.world.now, end is not None and end <= self.world.now
        return item["status"] in ("draft", None) or soon or over

    def _life_paused(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return bool(item["status"] == "paused")

    def _life_sold_out(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return bool(item["status"] == "sold_out")

    def _cap_product(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return item["capacity"] is not None and self.world.taken.get(item["product_id"], 0) >= item["capacity"]

    def _elig_held(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        mine = any(row["product"] == what and self._open(row) for row in self._rows("held", who))
        return mine and not self.world.repeatable and not item["repeatable"]

    def _elig_pending(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        mine = [row for row in self._rows("pending", who) if row["product"] == what]
        recent = any(self._ago(row, days=rule["pending_days"]) for row in mine)
        return recent and not self.world.repeatable and not item["repeatable"]

    def _elig_declined(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        mine = [row for row in self._rows("declined", who) if row["product"] == what]
        return any(self._ago(row, days=rule["cool_off_days"]) for row in mine)

    def _elig_prerequisite(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        has = {f"p{row['product']}" for row in self._rows("held", who) if self._open(row)}
        return bool(item["prerequisites"]) and not has & set(item["prerequisites"])

    def _elig_age(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        age = self._age(customer)
        return (item["min_age"] or 0) > (rule["assumed_age"] if age is None else age)

    def _elig_residence(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return bool(item["countries"]) and self._known("country", customer) not in item["countries"]

    def _elig_segment(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return bool(item["segments"]) and self._known("segment", customer) not in item["segments"]

    def _elig_channel(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return self.channel is not None and bool(item["channels"]) and self.channel not in item["channels"]

    def _elig_jurisdiction(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        if "country" not in self.world.kept:
            return False
        country, groups = customer["country"], self._groups[what]
        if country is None and groups & {"investment", "credit"}:
            return True
        barred = any(group in groups and country in names for group, names in rule.get("never", {}).items())
        return barred or any(group in groups and country not in names for group, names in rule.get("only", {}).items())

    def _elig_kyc(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        if "kyc_status" not in self.world.kept or customer["kyc_status"] in rule["verified"]:
            return False
        groups = self._groups[what]
        return bool(groups & {"investment", "credit"}) or item["category"] not in rule["open_categories"]

    def _elig_income(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return self._too_low("income_band", rule["bands"], rule["minimum"], customer, what)

    def _suit_knowledge(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        needed = dict(rule["minimum"])
        for rating, level in rule["minimum_by_risk"].items():
            if _risk(item) == int(rating[1]):
                needed["all"] = level
        return self._too_low("knowledge_level", rule["levels"], needed, customer, what)

    def _too_low(self, column: str, scale: list[str], minimum: dict[str, str], customer: Row, what: int) -> bool:
        needed = [scale.index(name) for group, name in minimum.items() if group in self._groups[what]]
        if column not in self.world.kept or not needed:
            return False
        value = customer[column]
        return (scale.index(value) if value in scale else -1) < max(needed)

    def _suit_missing(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        known = [self._known(name, customer) is not None for name in ("risk_level", "risk_assessed_at")]
        return "investment" in self._groups[what] and not all(known)

    def _suit_expired(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        assessed = self._known("risk_assessed_at", customer)
        if "investment" not in self._groups[what] or assessed is None:
            return False
        return not timedelta(0) <= self.world.now - assessed <= timedelta(days=rule["max_age_days"])

    def _suit_unrated(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return "investment" in self._groups[what] and not _risk(item)

    def _suit_risk(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        level = self._known("risk_level", customer)
        return _risk(item) > (int(level[1]) if level else 0)

    def _suit_horizon(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return self._too_much("horizon_months", "term_months", rule, customer, what)

    def _suit_amount(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return self._too_much("liquid_amount", "min_amount", rule, customer, what)

    def _too_much(self, have: str, need: str, rule: Row, customer: Row, what: int) -> bool:
        if have not in self.world.kept or not self._groups[what] & set(rule["categories"]):
            return False
        return (self.world.products[what][need] or 0) > (customer[have] or 0)

    def _suit_negative_target(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        barred = {name for group, names in rule["segments"].items() if group in self._groups[what] for name in names}
        if "segment" not in self.world.kept or not barred:
            return False
        return customer["segment"] is None or customer["segment"] in barred

    def _cred_arrears(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return "credit" in self._groups[what] and self._flag("in_arrears", who)

    def _vulnerable(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return bool(self._groups[what] & set(rule["suppressed"])) and self._flag(FLAG_OF[rule["id"]], who)

    def _cred_steering(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        if "credit" not in self._groups[what]:
            return False
        for other, rival in enumerate(self.world.products):
            alike = "credit" in self._groups[other] and all(
                item.get(name) == rival.get(name) for name in rule["same_type"]
            )
            if other != what and alike and _cheaper(rival, item, rule) and self._eligible(who, other):
                return True
        return False

    def _eligible(self, who: int, what: int) -> bool:
        customer, item = self.world.customers[who], self.world.products[what]
        return not any(
            judge and judge(rule, who, what, customer, item)
            for rule, judge in self._judges
            if not rule["id"].startswith(NOT_ELIGIBILITY)
        )

    # --- consent and contact ---------------------------------------------------------------------------------------

    def _consent_marketing(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return self.pushed and self._no_marketing(who)

    def _consent_channel(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return self.pushed and self._not_this_way(who)

    def _no_marketing(self, who: int) -> bool:
        if not self.world.consents_kept:
            return False
        return not self._agrees(who, None) and (self.channel is None or not self._agrees(who, self.channel))

    def _not_this_way(self, who: int) -> bool:
        return self.world.consents_kept and self.channel is not None and not self._agrees(who, self.channel)

    def _agrees(self, who: int, channel: str | None) -> bool:
        general, general_time = self._answer(who, None)
        if channel is None:
            return general
        own, own_time = self._answer(who, channel)
        if own_time is None:
            return general
        return own and (general or general_time is None or own_time > general_time)

    def _answer(self, who: int, channel: str | None) -> tuple[bool, datetime | None]:
        asked = [r for r in self._rows("consents", who) if r["purpose"] == "marketing" and r["channel"] == channel]
        if not asked:
            return False, None
        newest = max(row["since"] for row in asked)
        yes = all(row["granted"] for row in asked if row["since"] == newest)
        return yes and newest <= self.world.now, newest

    def _contact_quiet(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        if not self.pushed:
            return False
        zone = self._known("time_zone", customer)
        if zone not in ZONES:
            return True
        wall = self.world.now.astimezone(ZoneInfo(zone)).time()
        return wall >= time.fromisoformat(rule["start"]) or wall < time.fromisoformat(rule["end"])

    def _contact_cap(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        if not self.pushed:
            return False
        start = self.world.now - timedelta(days=rule["window_days"])
        recent = [row for row in self._rows("contacts", who) if row["at"] > start]
        here = [row for row in recent if row["channel"] == self.channel]
        about = [row for row in recent if row["category"] == item["category"]]
        full = len(recent) >= rule["total"] or len(here) >= rule["per_channel"].get(self.channel, 99)
        return full or (item["category"] is not None and len(about) >= rule["default_category"])

    def _contact_cooloff(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        if not self.pushed:
            return False
        refused = [row["product"] for row in self._rows("declined", who) if self._ago(row, days=rule["cool_off_days"])]
        alike = {self.world.products[other]["category"] for other in refused} - {None}
        return what in refused or item["category"] in alike

    # --- contents --------------------------------------------------------------------------------------------------

    def _of_content_elig_channel(self, rule: Row, who: int, customer: Row, content: Row, item: Row) -> bool:
        return self.channel is not None and content["channel"] not in (None, self.channel)

    def _of_content_consent_marketing(self, rule: Row, who: int, customer: Row, content: Row, item: Row) -> bool:
        return self._no_marketing(who)

    def _of_content_consent_channel(self, rule: Row, who: int, customer: Row, content: Row, item: Row) -> bool:
        return self._not_this_way(who)

    def _of_content_content_not_approved(self, rule: Row, who: int, customer: Row, content: Row, item: Row) -> bool:
        approved = content["status"] in ("approved", "scheduled", "sending")
        return not approved or content["content_hash"] != content["approved_hash"]

    def _of_content_content_expired(self, rule: Row, who: int, customer: Row, content: Row, item: Row) -> bool:
        start, end = content["valid_from"], content["valid_to"]
        return (start is not None and start > self.world.now) or (end is not None and end <= self.world.now)

    def _of_content_content_locale(self, rule: Row, who: int, customer: Row, content: Row, item: Row) -> bool:
        wanted, language = self.world.locale or self._known("language", customer), content["language"]
        return bool(wanted) and bool(language) and wanted[:2] != language[:2]

    def _of_content_content_price_mismatch(self, rule: Row, who: int, customer: Row, content: Row, item: Row) -> bool:
        stated = content["headline"].split()[0]
        return stated != "100" and stated not in [
            f"{item[name]:.2f}" for name in ("rate", "fee") if item[name] is not None
        ]

    # --- stale facts -----------------------------------------------------------------------------------------------

    def _data_stale(self, rule: Row, who: int, what: int, customer: Row, item: Row) -> bool:
        return self._stale(rule, customer) and self._stranger_product(what)

    def _stale(self, rule: Row, customer: Row) -> bool:
        stamp = customer["as_of"]
        return stamp is None or self.world.now - stamp > timedelta(hours=rule["max_age_hours"])

    def _stranger_product(self, what: int) -> bool:
        if what not in self._strangers:
            self._strangers[what] = bool(self._stranger().product_rules(0, what))
        return self._strangers[what]

    def _stranger_content(self, which: int) -> bool:
        return bool(self._stranger().content_rules(0, which))

    def _stranger(self) -> "Oracle":
        nobody: Row = dict.fromkeys((*CUSTOMER_SCHEMA, *FLAGS)) | {"as_of": self.world.now}
        world = World(self.world.now, [nobody], self.world.products, self.world.contents)
        world.channel, world.locale, world.taken = self.world.channel, self.world.locale, self.world.taken
        world.repeatable = self.world.repeatable
        return Oracle(self.pack, world)


def _risk(item: Row) -> int:
    return max(int(item[side][1]) if item[side] else 0 for side in ("issuer_risk", "bank_risk"))


def _cheaper(one: Row, other: Row, rule: Row) -> bool:
    rates = [1e300 if item["rate"] is None else item["rate"] for item in (one, other)]
    fees = [1e300 if item["fee"] is None else item["fee"] for item in (one, other)]
    margin = rule.get("rate_tolerance", 0.0)
    if rates[0] < rates[1] - margin:
        return True
    return (
        rates[0] <= rates[1] + margin
        and not rates[1] < rates[0] - margin
        and (fees[0] < fees[1] - rule.get("fee_tolerance", 0.0))
    )


def _date(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)

"""When messages leave: one slot a day, at the brief's hour on the customer's own clock."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recsys.campaigns.brief import Brief


def slot_times(brief: Brief, time_zone: str | None) -> list[datetime]:
    """The slots of the customers of one time zone, in UTC, in order; at least one.

    A campaign that is over before the hour comes has the slot of its start: the rule about quiet hours says whether
    anything may leave then. So has a customer whose zone is not known.
    """
    zone = _zone(time_zone)
    if zone is None:
        return [brief.starts.astimezone(UTC)]
    day, last = brief.starts.astimezone(zone).date(), brief.ends.astimezone(zone).date()
    slots = []
    while day <= last:
        moment = datetime.combine(day, time(brief.send_hour), tzinfo=zone).astimezone(UTC)
        if brief.starts <= moment < brief.ends:
            slots.append(moment)
        day += timedelta(days=1)
    return slots or [brief.starts.astimezone(UTC)]


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None

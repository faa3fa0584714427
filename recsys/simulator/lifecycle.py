"""How products change within the period: rates move, products are launched, paused, sold out."""

from datetime import datetime, timedelta

import numpy as np

from recsys.simulator.config import SimulatorConfig
from recsys.simulator.products import Product


def plan_changes(products: list[Product], config: SimulatorConfig, rng: np.random.Generator) -> None:
    """Draws all changes of a bank's products, into their `changes`."""
    _change_facts(products, config, rng)
    _change_statuses(products, config, rng)


def _change_facts(products: list[Product], config: SimulatorConfig, rng: np.random.Generator) -> None:
    """About one product in eight has its rate changed within the period; its description follows."""
    for product in products:
        rate = product.row["rate"]
        if rate is None or rate < 0.5 or rng.random() > 0.2:
            continue
        day = int(config.days * rng.uniform(0.15, 0.85))
        changed = round(rate + float(rng.choice([-0.25, -0.15, 0.15, 0.25])), 2)
        description = product.row["description"].replace(f"{rate:.2f}", f"{changed:.2f}")
        product.changes.append((day, {"rate": changed, "description": description}))


def _change_statuses(products: list[Product], config: SimulatorConfig, rng: np.random.Generator) -> None:
    """A few products are launched, paused, sold out or still a draft; a small bank has one launch only."""
    count = len(products)
    few = max(1, round(count * 0.04))
    plain = [product for product in products if not product.variant.archetype.limited and product.risk >= 0]
    order = [plain[i] for i in rng.permutation(len(plain))]
    for number, product in enumerate(order[:few]):
        _launch(product, config, round(config.days * (0.45 + 0.42 * number / few)))
    if count >= 20:
        for product in order[few : few + max(1, count // 40)]:
            pause = int(config.days * rng.uniform(0.3, 0.6))
            product.changes.append((pause, {"status": "paused"}))
            product.changes.append((min(pause + 28, config.days - 2), {"status": "live"}))
        order[few + 3].changes.append((int(config.days * 0.87), {"status": "paused"}))
        order[few + 4].row["status"] = "draft"
    for product in products:
        if product.variant.archetype.limited:
            _limit(product, config, rng)
        product.changes.sort(key=lambda change: change[0])


def _launch(product: Product, config: SimulatorConfig, day: int) -> None:
    announced = config.start + timedelta(days=day - 30)
    product.row |= {
        "status": "draft",
        "event_timestamp": announced,
        "available_from": config.start + timedelta(days=day),
    }
    product.changes = [(since, changed) for since, changed in product.changes if since > day]
    product.changes.append((day, {"status": "live"}))


def _limit(product: Product, config: SimulatorConfig, rng: np.random.Generator) -> None:
    day = int(config.days * rng.uniform(0.5, 0.86))
    product.row["available_to"] = _midnight(config.start + timedelta(days=day + 45))
    if rng.random() < 0.6:
        product.changes.append((day, {"status": "sold_out"}))


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)

"""What the policy says in one decision: of each kind of item once, however many placements ask."""

from recsys.decisions.answer import DecisionRequest
from recsys.decisions.catalogue import Catalogue
from recsys.policy.engine import PolicyEngine, PolicyOutcome
from recsys.policy.facts import CustomerFacts
from recsys.schema import Kind


class Judge:
    """Judges the items of a catalogue for the customers of one request.

    Args:
        policy: the rules.
        catalogue: the items.
        facts: of the customers.
        request: when, and where it will be shown.
    """

    def __init__(
        self, policy: PolicyEngine, catalogue: Catalogue, facts: CustomerFacts, request: DecisionRequest
    ) -> None:
        self._policy = policy
        self._catalogue = catalogue
        self._facts = facts
        self._request = request
        self._found: dict[Kind, PolicyOutcome] = {}

    def __call__(self, kind: Kind) -> PolicyOutcome:
        """Of one kind; contents fall with their products, which are judged for both."""
        if kind not in self._found:
            self._found[kind] = self._judge(kind)
        return self._found[kind]

    def _judge(self, kind: Kind) -> PolicyOutcome:
        products, contents = self._catalogue.products, self._catalogue.contents
        now, context = self._request.now, self._request.context
        if kind is Kind.PRODUCTS or contents is None:
            return self._policy.evaluate(self._facts, products, now, context)
        return self._policy.evaluate_contents(self._facts, contents, products, now, context, self(Kind.PRODUCTS))

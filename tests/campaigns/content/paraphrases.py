"""Honest rewrites, as a careful copywriter would put them: other sentences, the same facts."""

from itertools import product

from recsys.campaigns.content.blocks import disclaimer_of, fact_phrases, load_blocks
from recsys.campaigns.content.facts import ProductFacts
from recsys.campaigns.content.variant import Copy

_HEADLINES = {
    "en": ["Take a good look at {name}", "{name}, in simple words", "How about {name}?"],
    "zh": ["认识一下{name}", "{name}，简单明白", "看看{name}怎么样"],
}
_BODIES = {
    "en": [
        "You choose when to begin, and {name} keeps things simple: {fact}. We are happy to help with your questions.",
        "{name} comes with {fact}. Take your time and ask our people.",
        "Looking for something clear? {name} has {fact}. Open the app to see more.",
        "Your plans matter to us. See how {name} fits them: {fact}.",
        "We made {name} easy to understand, with {fact}. Read the details first, then decide.",
    ],
    "zh": [
        "何时开始由您选择，{name}简单清楚：{fact}。有问题随时问我们。",
        "想找一款明白的产品？看看{name}，{fact}。打开手机即可了解。",
        "您的计划我们关心。{name}{fact}，适合您再决定。",
        "先看细节，再做决定：{name}，{fact}。",
        "{name}，{fact}。我们的团队愿意陪您慢慢了解。",
    ],
}


def paraphrases(facts: ProductFacts, language: str) -> list[Copy]:
    blocks = load_blocks(language)
    first = next(iter(fact_phrases(facts, blocks).values()))
    return [
        Copy(
            headline.format(name=facts.name),
            body.format(name=facts.name, fact=fact),
            blocks.calls["factual"][0],
            disclaimer_of(facts, blocks) or "",
            blocks.opt_out_of("email"),
        )
        for headline, body, fact in product(_HEADLINES[language], _BODIES[language], [first[0], first[-1]])
    ]

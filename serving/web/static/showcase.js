// The page of one customer: asks the API as the app would, sends what is done, and shows what the next answer changes.
"use strict";

const PLACEMENTS = [
  { name: "home", kind: "products", limit: 6 },
  { name: "banner", kind: "contents", limit: 3 },
];
const ACTS = ["view", "click", "apply", "dismiss"];
const cards = { products: {}, contents: {} };
let customerToken = null;
let before = null; // the answer that is shown: a map of item to rank, its mode, its titles

async function askAsCustomer(path, method, body) {
  for (const last of [false, true]) {
    if (customerToken === null) {
      const given = { method: "POST", body: JSON.stringify({ customer_id: page.customer }) };
      customerToken = (await (await ask("/page/tokens", page.token, given)).json()).token;
    }
    try {
      return await (await ask(path, customerToken, { method, body: JSON.stringify(body) })).json();
    } catch (error) {
      if (error.status !== 401 || last) throw error;
      customerToken = null; // it lives for minutes only
    }
  }
}

// One answer after another

async function refresh(after = "") {
  const busy = [at("products"), at("contents")];
  busy.forEach((list) => list.setAttribute("aria-busy", "true"));
  try {
    const form = new FormData(at("ask"));
    const body = { placements: PLACEMENTS, channel: form.get("channel"), locale: form.get("locale") };
    if (customerToken === null) await askAsCustomer("/v1/recommendations", "POST", body); // the token is not the answer
    const started = performance.now();
    const answer = await askAsCustomer("/v1/recommendations", "POST", body);
    const took = performance.now() - started;
    await learn(answer);
    const changed = showAnswer(answer, took);
    at("news").className = answer.notice ? "notice bad" : "notice";
    at("news").textContent = [after, say("js.answered", { ms: number(took, 1) }), ...changed].filter(Boolean).join(" ");
    if (answer.notice) at("news").textContent = say("js.unrecorded");
    else await showTrace(answer);
  } catch (error) {
    fail(error);
  } finally {
    busy.forEach((list) => list.removeAttribute("aria-busy"));
  }
}

function fail(error) {
  at("news").className = "notice bad";
  at("news").textContent = error instanceof Refused ? error.message : say("js.unreachable");
  if (!(error instanceof Refused)) throw error;
}

async function learn(answer) {
  const wanted = new URLSearchParams();
  for (const item of answer.placements.flatMap((place) => place.items)) {
    if (!cards.products[item.product_id]) wanted.append("products", item.product_id);
    if (item.content_id && !cards.contents[item.content_id]) wanted.append("contents", item.content_id);
  }
  if (![...wanted].length) return;
  const found = await askAsPage(`/page/items?${wanted}`);
  Object.assign(cards.products, found.products);
  Object.assign(cards.contents, found.contents);
}

const keyOf = (place, item) => `${place.name}/${item.content_id ?? item.product_id}`;

function showAnswer(answer, took) {
  const now = { mode: answer.mode, ranks: new Map(), titles: new Map() };
  const counts = { moved: 0, arrived: 0 };
  const focus = focused();
  for (const place of answer.placements) {
    const kind = PLACEMENTS.find((one) => one.name === place.name).kind;
    const shown = place.items.map((item) => {
      const key = keyOf(place, item);
      now.ranks.set(key, item.rank);
      now.titles.set(key, item.title);
      return itemCard(place, kind, item, movement(before, key, item.rank, counts));
    });
    const nothing = make("li", { class: "empty" }, say(`js.none_${kind}`));
    at(kind).replaceChildren(...(shown.length ? shown : [nothing]));
    showPictures(at(kind));
  }
  focus();
  const gone = before === null ? [] : [...before.titles].filter(([key]) => !now.ranks.has(key));
  showMode(answer, took);
  const news = tell(before, now, counts, gone, answer);
  now.gone = gone;
  before = now;
  return news;
}

// A list that is drawn anew must not take the keyboard away: the same button of the same item has it, or of its place.
function focused() {
  const item = document.activeElement?.closest(".item");
  if (!item) return () => {};
  const list = item.parentElement;
  const { product, content } = item.dataset;
  const act = document.activeElement.dataset.act;
  const place = [...list.children].indexOf(item);
  return () => {
    const items = [...list.children];
    const same = items.find((one) => one.dataset.product === product && one.dataset.content === content);
    (same ?? items[place] ?? items.at(-1))?.querySelector(`[data-act="${act}"]`)?.focus();
  };
}

function movement(old, key, rank, counts) {
  if (old === null) return null;
  if (!old.ranks.has(key)) {
    counts.arrived += 1;
    return { kind: "fresh", badge: "good", text: say("js.new") };
  }
  const by = old.ranks.get(key) - rank;
  if (by === 0) return null;
  counts.moved += 1;
  const up = { kind: "moved", badge: "brand", text: `▲ ${by}`, label: say("js.up", { n: by }) };
  return by > 0 ? up : { ...up, badge: "", text: `▼ ${-by}`, label: say("js.down", { n: -by }) };
}

function tell(old, now, counts, gone, answer) {
  if (old === null) {
    const sizes = PLACEMENTS.map(({ name }) => answer.placements.find((place) => place.name === name).items.length);
    return [say("js.first", { products: sizes[0], contents: sizes[1] })];
  }
  const parts = [];
  if (old.mode !== now.mode)
    parts.push(say("js.mode_changed", { before: say(`mode.${old.mode}`), after: say(`mode.${now.mode}`) }));
  const moves = [["js.moved", counts.moved], ["js.arrived", counts.arrived], ["js.left", gone.length]];
  const told = moves.filter(([, n]) => n).map(([key, n]) => say(key, { n }));
  return [...parts, told.length ? `${told.join(", ")}.` : say("js.same")];
}

function showMode(answer, took) {
  for (const step of document.querySelectorAll(".ladder li")) {
    if (step.dataset.mode === answer.mode) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
  const missing = answer.missing_modalities.map((name) => say(`js.group.${name}`)).join(", ");
  const rows = [
    ["js.latency", `${number(took, 1)} ms`],
    ["js.mode", say(`mode.${answer.mode}`)],
    ...(missing ? [["js.missing", missing]] : []),
    ["js.suitability", say(`suitability.${answer.suitability}`)],
    ["js.policy", answer.versions.policy],
    ["js.model", answer.versions.model],
    ["js.decision", answer.decision_id.slice(0, 12)],
  ];
  at("measures").replaceChildren(
    ...rows.map(([key, value]) => make("div", {}, make("dt", {}, say(key)), make("dd", {}, value))),
  );
}

// One item

function itemCard(place, kind, item, moved) {
  const id = item.content_id ?? item.product_id;
  const card = cards[kind][id] ?? {};
  const product = cards.products[item.product_id] ?? {};
  const badge = moved && make("span", { class: `badge ${moved.badge}`, "aria-label": moved.label ?? null }, moved.text);
  const picture = card.picture
    ? make("img", { "data-picture": `/page/pictures/${kind}/${encodeURIComponent(id)}`, alt: "" })
    : make("span", { class: "no-picture" });
  const heading = make("h3", {}, make("span", {}, make("span", { class: "rank" }, `${item.rank} `), item.title), badge);
  const said = kind === "products" ? productSays(item, card) : creativeSays(item, card, product);
  const reasons = make("ul", { class: "reasons" }, ...item.reasons.map((one) => make("li", { class: "chip" }, one.text)));
  const why = make("div", { class: "why", hidden: true });
  const acts = ACTS.map((type) => actButton(place, item, type));
  const ask = make("button", { class: "button", type: "button", "data-act": "why", "aria-expanded": "false" }, say("js.why"));
  ask.addEventListener("click", () => explain(item, why, ask));
  const row = make("div", { class: "acts", role: "group", "aria-label": item.title }, ...acts, ask);
  const attributes = { class: `item ${moved?.kind ?? ""}`, "data-product": item.product_id, "data-content": item.content_id };
  return make("li", attributes, picture, heading, ...said, reasons, row, why);
}

function actButton(place, item, type) {
  const style = { apply: "button strong", dismiss: "button danger" }[type] ?? "button";
  const press = () => inTurn(() => send(place, item, type));
  return make("button", { class: style, type: "button", "data-act": type, onclick: press }, say(`js.act.${type}`));
}

function productSays(item, card) {
  const money = (value) => `${number(value, value % 1 ? 2 : 0)} ${card.currency ?? ""}`.trim();
  const facts = [
    card.category?.replaceAll("_", " "),
    card.rate === null || card.rate === undefined ? null : `${number(card.rate)} %`,
    card.min_amount ? say("js.from", { amount: money(card.min_amount) }) : null,
    card.term_months ? say("js.months", { n: card.term_months }) : null,
    card.fee ? say("js.fee", { amount: money(card.fee) }) : null,
    card.bank_risk || card.issuer_risk ? say("js.risk", { level: riskier(card) }) : null,
  ];
  return [make("p", { class: "muted small" }, facts.filter(Boolean).join(" · "))];
}

const riskier = (card) => [card.bank_risk, card.issuer_risk].filter(Boolean).sort().at(-1);

function creativeSays(item, card, product) {
  return [
    make("p", { class: "muted small" }, product.name ?? item.product_id),
    make("p", {}, card.body ?? ""),
    card.call_to_action ? make("span", { class: "call" }, card.call_to_action) : null,
    card.disclaimer ? make("p", { class: "disclaimer" }, card.disclaimer) : null,
    card.ai_generated ? make("p", {}, make("span", { class: "badge warn" }, say("js.machine_made"))) : null,
  ];
}

async function send(place, item, type) {
  const event = {
    event_id: crypto.randomUUID(),
    customer_id: page.customer,
    event_type: type,
    event_timestamp: new Date().toISOString(),
    product_id: item.product_id,
    content_id: item.content_id,
    channel: new FormData(at("ask")).get("channel"),
    placement: place.name,
    tracking_token: item.tracking_token,
  };
  try {
    const taken = await askAsCustomer("/v1/events", "POST", { events: [event] });
    if (taken.rejected) throw new Refused(say("js.failed", { detail: taken.results[0].reason }));
    await Promise.all([refresh(say(`js.after.${type}`, { title: item.title })), refreshKnown()]);
  } catch (error) {
    fail(error);
  }
}

async function refreshKnown() {
  const path = `/page/customers/${encodeURIComponent(page.customer)}?lang=${page.language}`;
  at("known").innerHTML = await (await ask(path, page.token)).text(); // the server's own markup, escaped there
  showPictures(at("known"));
}

// Why, and why not

async function explain(item, place, button) {
  place.hidden = !place.hidden;
  button.setAttribute("aria-expanded", String(!place.hidden));
  if (place.hidden || place.childElementCount) return;
  place.textContent = say("js.why_loading");
  const channel = new FormData(at("ask")).get("channel");
  const query = new URLSearchParams({ customer_id: page.customer, product_id: item.product_id, channel });
  try {
    const found = await askAsPage(`/v1/audit/explain?${query}`);
    const values = { score: number(found.score), average: number(found.average) };
    const difference = number(found.score - found.average);
    place.replaceChildren(
      make("p", {}, say("js.why_sum", { ...values, difference: found.score < found.average ? difference : `+${difference}` })),
      ["popular", "safe"].includes(found.mode) ? make("p", { class: "muted" }, say("js.why_popular")) : null ?? "",
      make("h4", {}, say("js.why_parts")), bars(found.contributions),
      ...(found.ranker.length ? [make("h4", {}, say("js.why_ranker")), bars(found.ranker)] : []),
      evidence(item),
    );
  } catch (error) {
    place.textContent = error.message;
  }
}

function bars(parts) {
  const most = Math.max(...parts.map((part) => Math.abs(part.value)), 1e-9);
  const rows = parts.flatMap((part) => {
    const width = (50 * Math.abs(part.value)) / most;
    const picture = draw("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    const place = { x: part.value < 0 ? 50 - width : 50, y: 1, width, height: 8, class: part.value < 0 ? "less" : "more" };
    picture.append(draw("rect", place), draw("line", { x1: 50, x2: 50, y1: 0, y2: 10, class: "axis", "stroke-width": 0.4 }));
    const name = page.words[`js.group.${part.group}`] ?? part.group.replaceAll("_", " ");
    return [make("dt", {}, name), make("dd", {}, picture), make("dd", {}, number(part.value))];
  });
  return make("dl", { class: "bars" }, ...rows);
}

function evidence(item) {
  const rows = item.reasons.filter((reason) => reason.evidence).map((reason) => {
    const { view, feature, value } = reason.evidence;
    return make("li", {}, `${reason.text}: `, make("span", { class: "mono" }, [view, feature, value].filter(Boolean).join(" / ")));
  });
  if (!rows.length) return "";
  return make("div", {}, make("h4", {}, say("js.why_evidence")), make("ul", { class: "small" }, ...rows));
}

async function showTrace(answer) {
  const found = await askAsPage(`/page/decisions/${answer.decision_id}`);
  at("trace-log").textContent = say("js.trace_log", { sequence: found.sequence });
  at("trace").replaceChildren(...found.placements.map(placementTrace));
  showGone(found);
}

function placementTrace(place) {
  const what = say(`js.trace_${place.kind}`);
  const removed = place.removed.reduce((sum, one) => sum + one.times, 0);
  const all = place.candidates;
  const counts = all === null ? what : say("js.trace_counts", { left: all - removed, all, what });
  const most = Math.max(...place.removed.map((one) => one.times));
  const rows = place.removed.map((one) => make("li", {}, ruleRow(one, most)));
  return make("div", {}, make("h3", {}, counts), rows.length ? make("ul", { class: "rules" }, ...rows) : say("js.trace_none"));
}

function ruleRow(one, most) {
  const name = make("span", {}, `${say(`rule.${one.rule}`)} `, make("span", { class: "mono muted" }, one.rule));
  const meter = make("meter", { min: 0, max: most, value: one.times, "aria-hidden": "true" });
  const names = one.items.map((item) => `${item.title} (${item.id})`).join(", ");
  const more = one.times > one.items.length ? say("js.trace_more", { n: one.times - one.items.length }) : "";
  return make("details", {},
    make("summary", {}, name, meter, make("span", { class: "number" }, String(one.times))),
    make("p", { class: "small" }, [names, names && more].filter(Boolean).join(" ")),
    make("p", { class: "small muted" }, one.source));
}

function showGone(found) {
  document.getElementById("gone")?.remove();
  if (!before.gone?.length) return;
  const removedBy = new Map();
  for (const place of found.placements)
    for (const one of place.removed) for (const item of one.items) removedBy.set(`${place.name}/${item.id}`, one.rule);
  const rows = before.gone.map(([key, title]) => {
    const rule = removedBy.get(key);
    const why = rule ? say("js.removed_by", { rule: say(`rule.${rule}`) }) : say("js.outranked");
    return make("li", {}, title, make("span", { class: "muted" }, ` (${why})`));
  });
  const heading = make("h2", {}, say("js.gone"));
  at("news").after(make("section", { id: "gone", class: "stack" }, heading, make("ul", { class: "gone" }, ...rows)));
}

async function askWhyNot(submitted) {
  submitted.preventDefault();
  const channel = new FormData(at("ask")).get("channel");
  const query = new URLSearchParams({ customer_id: page.customer, product_id: at("asked-product").value, channel });
  try {
    const found = await askAsPage(`/v1/audit/why-not?${query}`);
    const rows = found.rules.map((one) => make("li", {}, say(`rule.${one.rule}`), " ",
      make("span", { class: "mono muted" }, one.rule), make("span", { class: "small muted" }, ` ${one.source}`)));
    at("why-not-answer").replaceChildren(
      ...(rows.length ? [make("p", {}, say("js.whynot_rules")), make("ul", {}, ...rows)] : [say("js.whynot_none")]));
  } catch (error) {
    at("why-not-answer").textContent = error.message;
  }
}

async function consent(box) {
  const purpose = say(`consent.${box.value}`);
  try {
    const body = { consents: [{ purpose: box.value, granted: box.checked }] };
    await askAsCustomer(`/v1/customers/${encodeURIComponent(page.customer)}/consents`, "PUT", body);
    await Promise.all([refresh(say(box.checked ? "js.after.granted" : "js.after.refused", { purpose })), refreshKnown()]);
  } catch (error) {
    box.checked = !box.checked;
    fail(error);
  }
}

at("ask").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  inTurn(() => refresh());
});
at("ask").addEventListener("change", ({ target }) => {
  inTurn(() => (target.name === "consent" ? consent(target) : refresh()));
});
at("why-not").addEventListener("submit", askWhyNot);
inTurn(() => refresh()).then(() => showPictures(at("known")));

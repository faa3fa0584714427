// What pages' scripts share: words, elements, and asking the server. A page says what it knows in #page-data.
"use strict";

const page = JSON.parse(document.getElementById("page-data").textContent);
const at = (id) => document.getElementById(id);
const PICTURES_AT_ONCE = 3;
const pictures = new Map(); // path to object URL
let turn = Promise.resolve();

// Words and elements. Text is only ever set as text, never as markup.

function say(key, values = {}) {
  const text = page.words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function draw(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const number = (value, digits = 2) =>
  Number(value).toLocaleString(page.language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

// Asking

class Refused extends Error {}

async function ask(path, token, options = {}) {
  const headers = { Authorization: `Bearer ${token}`, ...(options.body ? { "Content-Type": "application/json" } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch {
    throw new Refused(say("js.unreachable"));
  }
  if (response.ok) return response;
  if (response.status === 401 && token === page.token) throw new Refused(say("js.expired"));
  const problem = await response.json().catch(() => ({}));
  const error = new Refused(say("js.failed", { detail: problem.detail ?? problem.title ?? response.status }));
  error.status = response.status;
  throw error;
}

async function askAsPage(path) {
  return (await ask(path, page.token)).json();
}

async function showPicture(image) {
  const path = image.dataset.picture;
  try {
    if (!pictures.has(path)) pictures.set(path, URL.createObjectURL(await (await ask(path, page.token)).blob()));
    image.src = pictures.get(path);
  } catch {
    image.remove(); // an item without a picture is shown without one
  }
}

// A few at a time: the server refuses who asks for everything at once.
function showPictures(root) {
  const waiting = [...root.querySelectorAll("img[data-picture]:not([src])")];
  const lane = async () => {
    for (let image = waiting.shift(); image; image = waiting.shift()) await showPicture(image);
  };
  return busily(() => Promise.all(Array.from({ length: PICTURES_AT_ONCE }, lane)));
}

// What changes the page happens one after the other, however fast somebody clicks; `html[data-busy]` until it is done.
function inTurn(work) {
  const done = turn.then(() => busily(work));
  turn = done.catch(() => {}); // who comes next does not suffer from it
  return done;
}

async function busily(work) {
  const root = document.documentElement.dataset;
  root.busy = Number(root.busy ?? 0) + 1;
  try {
    return await work();
  } finally {
    if (root.busy > 1) root.busy -= 1;
    else delete root.busy;
  }
}

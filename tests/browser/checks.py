"""What a page owes to everybody, read from the page as the browser has it: names, labels, headings, contrast."""

from playwright.sync_api import Page

_FINDINGS = """() => {
  const found = [];
  const visible = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const name = (element) => (element.getAttribute("aria-label") ?? "") + element.textContent +
    [...(element.labels ?? [])].map((label) => label.textContent).join("");
  for (const element of document.querySelectorAll("button, a[href], input:not([type=hidden]), select, textarea"))
    if (visible(element) && !name(element).trim()) found.push(`no name: ${element.outerHTML.slice(0, 120)}`);
  for (const image of document.querySelectorAll("img:not([alt])")) found.push(`no alt: ${image.outerHTML}`);
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) found.push("not one main");
  let level = 1;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) found.push(`${heading.tagName} after h${level}: ${heading.textContent}`);
    level = own;
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`id twice: ${id}`);
  for (const element of document.querySelectorAll("[aria-labelledby]"))
    if (!document.getElementById(element.getAttribute("aria-labelledby"))) found.push("aria-labelledby points nowhere");
  return found;
}"""

_CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const part = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const seen = element.checkVisibility({ visibilityProperty: true });
    if (!text || !seen || element.closest("script, option, svg, :disabled")) continue;
    const style = getComputedStyle(element);
    const [one, two] = [light(numbers(style.color)), light(ground(element))].sort((a, b) => b - a);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)}: ${element.textContent.trim().slice(0, 60)}`);
  }
  return found;
}"""


def accessibility_findings(page: Page) -> list[str]:
    """What is wrong, in words; WCAG 2.2: 1.1.1, 1.3.1, 2.4.4, 4.1.2, and 1.4.3 for contrast."""
    return [*page.evaluate(_FINDINGS), *page.evaluate(_CONTRAST)]


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

// The studio works without this; with it, numbers follow what is typed and pages follow what happens.
"use strict";

const PAUSE_MS = 600;

function every(selector, act, root = document) {
  root.querySelectorAll(selector).forEach(act);
}

// Whom the brief would reach, as it is written.
every("form[data-preview]", (form) => {
  const place = document.querySelector("#preview");
  let timer = 0;
  let asked = 0;
  const ask = async () => {
    const number = ++asked;
    place.setAttribute("aria-busy", "true");
    try {
      const body = new URLSearchParams(new FormData(form));
      const answer = await fetch(form.dataset.preview, { method: "POST", body, redirect: "manual" });
      const text = await answer.text();
      if (number !== asked) return; // a later question is under way
      if (answer.type === "opaqueredirect") return location.reload();
      place.innerHTML = text; // a piece of page of this server, which escapes everything
    } catch {
      // the server is away; what was there stays
    } finally {
      if (number === asked) place.removeAttribute("aria-busy");
    }
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE_MS);
  };
  form.addEventListener("input", later);
  form.addEventListener("change", later);
  every("[data-preview-button]", (button) => {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      ask();
    });
  }, form);
  if (form.querySelector("fieldset:not([disabled])")) ask();
  const show = () => {
    const mode = form.querySelector("[name=audience_mode]:checked")?.value;
    every("[data-mode]", (part) => (part.hidden = part.dataset.mode !== mode), form);
  };
  form.addEventListener("change", show);
  show();
});

// A choice is made when it is made.
every("[data-submit]", (field) => field.addEventListener("change", () => field.form.requestSubmit()));

// What happens meanwhile: a job's progress, results.
function follow(part) {
  const again = async () => {
    if (document.hidden) return void setTimeout(again, Number(part.dataset.every));
    try {
      const answer = await fetch(part.dataset.refresh, { redirect: "manual" });
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const inner = part.dataset.part;
        if (inner) {
          const fresh = page.querySelector(inner);
          if (fresh) document.querySelector(inner).replaceWith(fresh);
        } else {
          const fresh = page.querySelector("[data-refresh]");
          if (fresh.dataset.state !== "queued" && fresh.dataset.state !== "running") return void location.reload();
          if (!part.contains(document.activeElement)) part.innerHTML = fresh.innerHTML;
        }
      }
    } catch {
      // the server is away; ask again
    }
    setTimeout(again, Number(part.dataset.every));
  };
  setTimeout(again, Number(part.dataset.every));
}

every("[data-refresh]", (part) => {
  if (part.dataset.part || part.dataset.state === "queued" || part.dataset.state === "running") follow(part);
});

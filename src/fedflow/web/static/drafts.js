// What is typed into a form stays in this tab until the server has taken it: a reload, another language or a session
// that has ended loses nothing. Forms with a password are left alone, and nobody finds what another one has typed.
"use strict";

(() => {
  const SENT = "draft sent";
  const READER = "drafts of";
  const TYPED = "input[data-draft], input:not([type=hidden], [type=file], [type=submit]), textarea, select";
  const forms = [...document.querySelectorAll('main form.fields[method="post"], main form.new-run')]
    .filter((form) => !form.querySelector("[type=password]"));
  const keyOf = (form) => `draft ${location.pathname}${location.search} ${new URL(form.action).pathname}`;
  const ticked = (field) => field.type === "checkbox" || field.type === "radio";

  const forget = () => {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith("draft")) sessionStorage.removeItem(key);
  };
  const { reader } = document.documentElement.dataset;
  if (reader) {
    if (sessionStorage.getItem(READER) !== reader) forget();
    sessionStorage.setItem(READER, reader);
  }
  for (const form of document.querySelectorAll("form[data-forgets-drafts]")) form.addEventListener("submit", forget);

  const values = (form) => {
    const found = {};
    for (const field of form.querySelectorAll(TYPED)) {
      if (!field.name) continue;
      found[field.name] ??= [];
      if (!ticked(field) || field.checked) found[field.name].push(field.value);
    }
    return found;
  };

  const restore = (form, kept) => {
    let changed;
    const place = {};
    for (const field of form.querySelectorAll(TYPED)) {
      const known = kept[field.name];
      if (!known) continue;
      if (ticked(field)) {
        const wanted = known.includes(field.value);
        if (field.checked !== wanted) { field.checked = wanted; changed = field; }
        continue;
      }
      place[field.name] = (place[field.name] ?? -1) + 1;
      const value = known[place[field.name]];
      if (value !== undefined && field.value !== value) { field.value = value; changed = field; }
    }
    changed?.dispatchEvent(new Event("change", { bubbles: true })); // what goes by the values is asked for anew
  };

  // A form that went is taken where another page came of it, or a word that it is done: no error, and not the form again.
  const sent = sessionStorage.getItem(SENT);
  sessionStorage.removeItem(SENT);
  const isDone = !document.getElementById("wrong") && document.querySelector("main .notice.done");
  const isBack = document.querySelector("[data-error]") || forms.some((form) => keyOf(form) === sent);
  if (sent && (isDone || !isBack)) sessionStorage.removeItem(sent);

  // The answer to a refused form has what was sent, and the mark of what is there by now: it is the draft from then on.
  const keep = (form) => sessionStorage.setItem(keyOf(form), JSON.stringify(values(form)));
  const isAnswer = (form) => document.getElementById("wrong") && keyOf(form) === sent;
  addEventListener("load", () => {
    for (const form of forms) {
      const kept = sessionStorage.getItem(keyOf(form));
      if (isAnswer(form)) keep(form);
      else if (kept && !form.querySelector('[aria-invalid="true"]')) restore(form, JSON.parse(kept));
    }
  });
  for (const form of forms) {
    form.addEventListener("input", () => keep(form));
    form.addEventListener("change", () => keep(form));
    form.addEventListener("submit", () => sessionStorage.setItem(SENT, keyOf(form)));
    form.addEventListener("kit:unsent", () => sessionStorage.removeItem(SENT)); // the server does not answer
    form.addEventListener("click", (event) => { if (event.target.closest("a")) sessionStorage.removeItem(keyOf(form)); });
  }
})();

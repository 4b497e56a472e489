// What the kit's components do in the browser. Listens on the document, so parts that htmx brings later work too.
"use strict";

(() => {
  const root = document.documentElement;
  const OWN = document.currentScript.src;

  const keep = (name, value) => {
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax${secure}`;
  };

  // The theme changes where one stands; without this script the form brings the page anew.
  const chooseTheme = (button) => {
    keep(button.form.dataset.cookie, button.value);
    root.dataset.theme = button.value;
    for (const other of document.querySelectorAll('button[name="theme"]')) {
      other.setAttribute("aria-pressed", String(other.value === button.value));
    }
  };

  const copy = async (button) => {
    const code = button.closest(".copyable").querySelector("code");
    const told = button.querySelector("[data-told]");
    const before = told.textContent;
    try {
      await navigator.clipboard.writeText(code.textContent);
      told.textContent = button.dataset.copied;
    } catch {
      getSelection().selectAllChildren(code); // no clipboard without https: one key is left to press
      told.textContent = button.dataset.selected;
    }
    setTimeout(() => { told.textContent = before; }, 2000);
  };

  // All or none of a group's boxes: ticked here, so that nothing is lost that is typed until the form has been checked.
  const tick = (button) => {
    for (const box of button.closest("fieldset").querySelectorAll("[type=checkbox]")) box.checked = button.dataset.ticks === "all";
    button.dispatchEvent(new Event("change", { bubbles: true }));
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target instanceof HTMLDialogElement) event.target.close();
    if (!button) return;
    if (button.name === "theme") { event.preventDefault(); chooseTheme(button); }
    if (button.dataset.opens) { event.preventDefault(); document.getElementById(button.dataset.opens)?.showModal(); }
    if ("closes" in button.dataset) { event.preventDefault(); button.closest("dialog").close(); }
    if ("dismiss" in button.dataset) button.closest(".notice").remove();
    if ("copied" in button.dataset) copy(button);
    if ("ticks" in button.dataset) tick(button);
  });

  // A refused form begins at what is wrong with it. Its attribute does so without scripts, but not where an address
  // leads to a part of the page.
  document.getElementById("wrong")?.focus();

  // A question whose answer was refused stands open, which without scripts is all; it begins at the field.
  const askAgain = (dialog) => {
    dialog.close();
    dialog.showModal();
    dialog.querySelector("[aria-invalid]")?.focus();
  };
  for (const dialog of document.querySelectorAll("dialog[open]")) askAgain(dialog);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("#wrong a");
    const dialog = link && document.getElementById(link.hash.slice(1))?.closest("dialog");
    if (dialog) { event.preventDefault(); askAgain(dialog); }
  });

  // The answer to a refused form is kept nowhere: who comes back to it later gets the page of the form instead, with what
  // was typed there. Else the browser has nothing to show.
  if (document.getElementById("wrong")) {
    const from = document.referrer.startsWith(`${location.origin}/`) ? document.referrer : location.href;
    history.replaceState(null, "", from);
  }

  // Whether the server is there: it gives out this script to everybody.
  const PATIENCE_MS = 10000;
  const answers = async () => {
    try {
      const answer = await fetch(OWN, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      return answer.status < 500; // a proxy answers for a server that is gone
    } catch {
      return false;
    }
  };

  // A form goes once the server is known to answer: else the browser would leave the page for one of its own. A second
  // click sends it no second time: the answer to the first one would be lost, and with it what is shown once. After a
  // while it may go again, as where a file came of it and the page stayed.
  const SENT_MS = 30000;
  const isAnswered = new WeakSet();
  const isField = (button, form) => button?.form === form; // it may have been changed meanwhile
  document.addEventListener("submit", async (event) => {
    const { submitter } = event;
    let form = event.target;
    if (event.defaultPrevented || form.getAttribute("method") !== "post") return; // a field may be called "method"
    if (isAnswered.delete(form)) {
      setTimeout(() => { delete form.dataset.sent; }, SENT_MS);
      return;
    }
    event.preventDefault();
    if ("sent" in form.dataset) return;
    form.dataset.sent = "";
    if (await answers()) {
      // The part of the page with the form may have been drawn anew meanwhile, as one that asks for itself is.
      if (!form.isConnected) form = [...document.forms].find((each) => each.action === form.action && each.method === "post") ?? form;
      isAnswered.add(form);
      HTMLFormElement.prototype.requestSubmit.call(form, isField(submitter, form) ? submitter : null);
      if (isAnswered.delete(form)) delete form.dataset.sent; // the browser found a field to be filled in first
      return;
    }
    delete form.dataset.sent;
    form.dispatchEvent(new CustomEvent("kit:unsent"));
    form.closest("dialog")?.close();
    say(document.getElementById("flashes")?.dataset.unsent);
    document.getElementById("flashes")?.scrollIntoView({ block: "nearest" });
  });

  // Relative times go on, and the exact one is told in the reader's own zone.
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const sayTimes = (part = document) => {
    const words = new Intl.RelativeTimeFormat(root.lang, { numeric: "always" });
    const whole = new Intl.DateTimeFormat(root.lang, { dateStyle: "medium", timeStyle: "long" });
    for (const time of part.querySelectorAll("time[data-relative]")) {
      const moment = new Date(time.dateTime);
      const seconds = (moment - Date.now()) / 1000;
      time.title = whole.format(moment);
      if (Math.abs(seconds) < 10 || Math.abs(seconds) >= 30 * 86400) continue; // the server's words are as good
      const [unit, size] = units.find(([, length]) => Math.abs(seconds) >= length);
      time.textContent = words.format(Math.round(seconds / size), unit);
    }
  };
  sayTimes();
  setInterval(sayTimes, 15000);

  // A long line of rounds begins where the run is, and follows it; else it stays as the reader has moved it.
  const shown = new WeakMap();
  const showPresentRound = (part = document) => {
    for (const node of part.querySelectorAll(".rounds > [aria-current]")) {
      if (shown.get(node.parentElement) === node) continue;
      shown.set(node.parentElement, node);
      node.parentElement.scrollLeft = node.offsetLeft - (node.parentElement.clientWidth - node.offsetWidth) / 2;
    }
  };
  showPresentRound();

  // A failed htmx request says so where screen readers hear it. Its token is the page's.
  const say = (text) => {
    const flashes = document.getElementById("flashes");
    if (!flashes) return;
    const before = flashes.querySelector(".notice[data-from-script]");
    if (before?.querySelector("[data-text]").textContent === text) return; // said already, and still so
    const notice = flashes.querySelector("template").content.cloneNode(true);
    notice.querySelector("[data-text]").textContent = text;
    before?.remove();
    flashes.append(notice);
  };
  document.addEventListener("htmx:sendError", (event) => {
    const told = document.getElementById("flashes")?.dataset;
    say(event.detail.requestConfig.verb === "get" ? told?.away : told?.unreachable);
  });
  const unsay = () => document.querySelector("#flashes .notice[data-from-script]")?.remove();
  document.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful) unsay(); });
  // A stream ends now and then, and begins anew by itself; one that ends with its server is told of at once.
  document.addEventListener("htmx:sseError", async () => {
    if (!(await answers())) say(document.getElementById("flashes")?.dataset.away);
  });
  document.addEventListener("htmx:sseOpen", unsay);
  document.addEventListener("htmx:responseError", (event) => {
    say(`${document.getElementById("flashes")?.dataset.refused} (${event.detail.xhr.status})`);
  });
  // What was said of a former state does not stand over the next one.
  const stateNow = () => document.querySelector("#page-state .badge")?.textContent.trim();
  let stateBefore = stateNow();
  const forgetWhatIsPast = () => {
    if (stateNow() === stateBefore) return;
    stateBefore = stateNow();
    for (const notice of document.querySelectorAll("#flashes .notice:not([data-from-script])")) notice.remove();
  };
  document.addEventListener("htmx:afterSettle", (event) => {
    forgetWhatIsPast();
    sayTimes(event.target);
    showPresentRound(event.target);
  });
  document.addEventListener("htmx:configRequest", (event) => {
    const token = document.querySelector('meta[name="csrf-token"]');
    if (token) event.detail.headers["X-CSRFToken"] = token.content;
  });
})();

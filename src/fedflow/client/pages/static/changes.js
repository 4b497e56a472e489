// Changes of captions sent to the app, and what is around the grid as they leave it: tags, undo and redo.

const HEADERS = () => ({
  Accept: "application/json",
  "X-CSRFToken": document.querySelector('meta[name="csrf-token"]').content,
});

// Signs that nobody sees, and that turn the direction of what follows.
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;

export const inSight = (text) => text.replace(TURNS, "\ufffd");

export class Changes {
  constructor({ selection, words, rewrite, reload }) {
    Object.assign(this, { selection, words, rewrite, reload });
    this.form = document.getElementById("bulk");
    this.told = document.getElementById("told");
    const action = this.form.elements.action;
    action.addEventListener("change", () => this.label());
    this.label();
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const { first, second } = this.form.elements;
      this.once(this.form.getAttribute("action"), { // a field is called so too
        action: action.value, first: first.value, second: second.value, pictures: [...this.selection.ids].join(","),
      });
    });
    for (const way of ["undo", "redo"]) {
      document.getElementById(way).addEventListener("submit", (event) => { event.preventDefault(); this.turn(way); });
    }
  }

  label() {
    const { action, first, second } = this.form.elements;
    const chosen = action.selectedOptions[0].dataset;
    for (const [field, word] of [[first, chosen.first ?? first.dataset.label], [second, chosen.second]]) {
      field.parentElement.hidden = !word;
      field.placeholder = word ?? "";
      field.setAttribute("aria-label", word ?? "");
    }
  }

  async turn(way) {
    const form = document.getElementById(way);
    if (!form.hidden) await this.once(form.getAttribute("action"), { edit: form.elements.edit.value }, true);
  }

  // Not while the one before is under way: a key that is held down, or a button clicked twice, means it once.
  async once(...asked) {
    if (this.isBusy) return;
    this.isBusy = true;
    try { await this.send(...asked); } finally { this.isBusy = false; }
  }

  // Gives why it was refused, in words; nothing where it was done.
  async send(address, fields, isWhole = false) {
    let answer;
    try {
      const sent = await fetch(address, { method: "POST", headers: HEADERS(), body: new URLSearchParams(fields) });
      answer = await sent.json();
      if (!sent.ok) {
        this.rewrite(answer.captions ?? {});
        return this.say(answer.told, true);
      }
    } catch {
      return this.say(this.words.unreachable, true);
    }
    this.say(answer.told);
    this.rewrite(answer.captions);
    this.around(answer);
    if (answer.waits) location.reload(); // the page then follows the worker
    else if (isWhole && !Object.keys(answer.captions).length) await this.reload();
    return "";
  }

  say(text, isRefused = false) {
    this.told.textContent = text;
    this.told.classList.toggle("failed", isRefused);
    return text;
  }

  around({ tags, undo, redo }) {
    for (const [way, step] of [["undo", undo], ["redo", redo]]) {
      const form = document.getElementById(way);
      form.hidden = !step;
      form.elements.edit.value = step?.edit ?? "";
      form.querySelector("[data-what]").textContent = step?.what ?? "";
    }
    const list = document.getElementById("tags");
    const number = new Intl.NumberFormat(document.documentElement.lang);
    const chips = tags.map(([tag, count]) => {
      const chip = document.createElement("a");
      chip.className = "tag";
      chip.href = `${list.dataset.address}?${new URLSearchParams({ tag })}`;
      if (tag === list.dataset.tag) chip.setAttribute("aria-current", "true");
      const name = document.createElement("bdi");
      name.textContent = inSight(tag);
      const figure = document.createElement("span");
      figure.className = "count";
      figure.textContent = number.format(count);
      chip.append(name, " ", figure);
      const item = document.createElement("li");
      item.append(chip);
      return item;
    });
    list.replaceChildren(...list.querySelectorAll(".all-tags"), ...chips);
    document.getElementById("known-tags").replaceChildren(...tags.map(([tag]) => {
      const option = document.createElement("option");
      option.value = tag;
      return option;
    }));
  }
}

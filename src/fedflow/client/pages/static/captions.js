// A caption changed where it stands: Enter or leaving it writes it, Escape gives it up; what failed stays to be mended,
// also where its picture is scrolled out of the page and in again.

export class Captions {
  constructor({ rows, words, of, write, done }) {
    Object.assign(this, { rows, words, of, write, done });
    this.texts = new Map(); // by the cell's id, what stands in each open field
  }

  get isOpen() { return this.texts.size > 0; }

  open(place, cell) {
    if (!cell) return;
    if (!this.texts.has(cell.id)) {
      const caption = this.of(place);
      this.texts.set(cell.id, { seen: caption, text: caption, refused: "" });
    }
    const field = this.show(place, cell);
    field.focus({ preventScroll: true });
    this.clear(field.parentElement);
    field.setSelectionRange(field.value.length, field.value.length);
  }

  // Scrolls until nothing lies over the editor.
  clear(editor) {
    this.place(editor);
    this.rows.clear(editor.getBoundingClientRect());
  }

  // Below the picture; over it where the grid ends there, and the bar with what is done to the selection begins.
  place(editor) {
    if (editor.getBoundingClientRect().bottom <= this.rows.root.getBoundingClientRect().bottom) return;
    editor.classList.add("above");
    editor.style.top = "";
  }

  // The field of a cell that is in the page, where it is open.
  show(place, cell) {
    const typed = this.texts.get(cell.id);
    const shown = cell.querySelector(".editor textarea");
    if (!typed || shown) return shown;
    const editor = document.createElement("div");
    editor.className = "editor";
    const field = document.createElement("textarea");
    field.setAttribute("aria-label", this.words.caption);
    field.dir = "auto";
    field.maxLength = 10000;
    field.value = typed.text;
    const error = document.createElement("p");
    error.className = "error";
    error.role = "alert";
    error.textContent = typed.refused;
    editor.append(field, error);
    // To the left where it would leave the grid.
    editor.style.top = `${cell.querySelector("img").offsetHeight + 2}px`;
    const box = cell.getBoundingClientRect();
    if (box.left + 280 > this.rows.root.getBoundingClientRect().right) editor.classList.add("to-left");
    cell.closest(".row").style.zIndex = 5;
    cell.append(editor);
    this.place(editor);

    const close = (takesFocus) => {
      if (!this.texts.delete(cell.id)) return;
      const drawn = document.getElementById(cell.id); // perhaps anew
      drawn?.querySelector(".editor")?.remove();
      if (drawn) drawn.closest(".row").style.zIndex = "";
      if (takesFocus) this.done();
    };
    const write = async (takesFocus) => {
      if (typed.isWriting || !this.texts.has(cell.id)) return;
      if (typed.text.trim() === typed.seen) { close(takesFocus); return; }
      typed.isWriting = true;
      typed.refused = (await this.write(place, typed.text, typed.seen)) ?? "";
      typed.isWriting = false;
      if (!typed.refused) { close(takesFocus); return; }
      typed.tried = typed.text;
      const now = this.of(place);
      if (now !== typed.seen) { // another window was quicker: what it wrote is shown, and Enter once more writes over it
        typed.seen = now;
        typed.refused = `${typed.refused} ${this.words.isNow.replace("{caption}", now || this.words.noCaption)}`;
      }
      const drawn = document.getElementById(cell.id)?.querySelector(".editor");
      if (!drawn) return;
      drawn.querySelector(".error").textContent = typed.refused;
      if (!takesFocus) return;
      drawn.querySelector("textarea").focus({ preventScroll: true });
      this.clear(drawn);
    };
    field.addEventListener("input", () => { typed.text = field.value; this.clear(editor); });
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing) return;
      if (event.key === "Enter") { event.preventDefault(); write(true); }
      if (event.key === "Escape") { event.preventDefault(); close(true); }
    });
    field.addEventListener("blur", () => { if (typed.text !== typed.tried) write(false); });
    return field;
  }
}

// A caption changed where it stands: Enter or leaving it writes it, Escape gives it up; what failed stays to be mended.

export class Captions {
  constructor({ rows, words, of, write, done }) {
    Object.assign(this, { rows, words, of, write, done });
    this.isOpen = false;
  }

  open(place, cell) {
    if (!cell || cell.querySelector(".editor")) return;
    this.isOpen = true;
    const seen = this.of(place);
    const editor = document.createElement("div");
    editor.className = "editor";
    const field = document.createElement("textarea");
    field.setAttribute("aria-label", this.words.caption);
    field.dir = "auto";
    field.maxLength = 10000;
    field.value = seen;
    const error = document.createElement("p");
    error.className = "error";
    error.role = "alert";
    editor.append(field, error);
    // Below the picture, and to the left where it would leave the grid.
    editor.style.top = `${cell.querySelector("img").offsetHeight + 2}px`;
    const box = cell.getBoundingClientRect();
    if (box.left + 280 > this.rows.root.getBoundingClientRect().right) editor.classList.add("to-left");
    cell.closest(".row").style.zIndex = 5;
    cell.append(editor);
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);

    let isWriting = false;
    const close = (takesFocus) => {
      if (!editor.isConnected) return;
      this.isOpen = false;
      cell.closest(".row").style.zIndex = "";
      isWriting = true; // removing the field is no leaving of it
      editor.remove();
      if (takesFocus) this.done();
    };
    const write = async (takesFocus) => {
      if (isWriting) return;
      if (field.value.trim() === seen) { close(takesFocus); return; }
      isWriting = true;
      const refused = await this.write(place, field.value, seen);
      isWriting = false;
      if (refused) { error.textContent = refused; if (takesFocus) field.focus(); } else close(takesFocus);
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing) return;
      if (event.key === "Enter") { event.preventDefault(); write(true); }
      if (event.key === "Escape") { event.preventDefault(); close(true); }
    });
    field.addEventListener("blur", () => write(false));
  }
}

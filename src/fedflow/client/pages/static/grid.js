// A dataset's grid: pictures in one scroll, their selection by mouse and keys, and what is done with their captions.
import { Captions } from "./captions.js";
import { Changes, inSight } from "./changes.js";
import { listen } from "./mouse.js";
import { Rows } from "./rows.js";
import { Selection } from "./selection.js";

const [ID, PATH, CAPTION, FAULTY] = [0, 1, 2, 3];

const root = document.getElementById("grid");
if (root) start();

async function start() {
  const words = root.dataset;
  const element = (id) => document.getElementById(id);
  const address = (id) => words.picture.replace(/0$/, id);
  let pictures = [];

  const draw = (place) => {
    const picture = pictures[place];
    const cell = document.createElement("div");
    cell.className = picture[FAULTY] ? "cell faulty" : "cell";
    cell.role = "gridcell";
    cell.id = `p-${picture[ID]}`;
    cell.dataset.place = place;
    cell.setAttribute("aria-colindex", (place % rows.columns) + 1);
    cell.setAttribute("aria-selected", String(selection.has(place)));
    cell.tabIndex = place === selection.active ? 0 : -1;
    const image = document.createElement("img");
    image.decoding = "async";
    image.alt = picture[PATH];
    image.width = image.height = 160;
    image.draggable = false;
    const caption = document.createElement("p");
    caption.dir = "auto";
    caption.textContent = inSight(picture[CAPTION]) || words.noCaption;
    cell.append(image, caption);
    return cell;
  };
  const fill = (cell) => {
    const place = Number(cell.dataset.place);
    cell.querySelector("img").src = `${address(pictures[place][ID])}/small?v=${words.version}`;
    captions.show(place, cell);
  };
  const drop = (cell) => {
    const image = cell.querySelector("img");
    if (image && !image.complete) image.removeAttribute("src"); // nobody waits for it any more
  };

  const selection = new Selection(() => {
    for (const row of rows.rows.values()) {
      for (const cell of row.children) {
        const place = Number(cell.dataset.place);
        cell.setAttribute("aria-selected", String(selection.has(place)));
        cell.tabIndex = place === selection.active ? 0 : -1;
      }
    }
    say();
  });
  const say = () => {
    const number = new Intl.NumberFormat(document.documentElement.lang);
    element("bulk").hidden = selection.ids.size === 0;
    element("chosen").textContent = words.selected
      .replace("{chosen}", number.format(selection.ids.size)).replace("{all}", number.format(pictures.length));
    const [only] = selection.ids;
    element("open-picture").hidden = selection.ids.size !== 1;
    if (selection.ids.size === 1) element("open-picture").href = address(only);
  };

  // Nothing where the app does not answer, or the page is being left.
  const load = async () => {
    try {
      const answer = await fetch(words.list, { headers: { Accept: "application/json" } });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  };
  const show = (found) => {
    pictures = found.pictures;
    selection.take(pictures);
    element("pictures").hidden = pictures.length === 0 && !location.search;
    root.hidden = pictures.length === 0;
    element("nothing").hidden = pictures.length > 0 || !location.search;
    element("total").textContent = found.told;
    rows.fresh(pictures.length);
    say();
  };

  const found = await load();
  if (!found) {
    element("told").textContent = words.unreachable;
    return;
  }
  root.replaceChildren();
  root.classList.add("live");
  root.role = "grid";
  root.setAttribute("aria-label", words.label);
  root.setAttribute("aria-multiselectable", "true");
  root.setAttribute("aria-describedby", "chosen");
  element("show-keys").hidden = false;
  element("show-keys").addEventListener("click", () => element("keys").showModal());
  element("clear").addEventListener("click", () => { selection.none(); focus(); });

  const rows = new Rows(root, { draw, fill, drop });
  const focus = () => rows.reveal(selection.active)?.focus({ preventScroll: true });
  const rewrite = (captions) => {
    pictures.forEach((picture, place) => {
      const caption = captions[picture[ID]];
      if (caption === undefined) return;
      picture[CAPTION] = caption;
      const shown = rows.element(place)?.querySelector(":scope > p");
      if (shown) shown.textContent = inSight(caption) || words.noCaption;
    });
  };

  const changes = new Changes({ selection, words, rewrite, reload: async () => { const fresh = await load(); if (fresh) show(fresh); } });
  const captions = new Captions({
    rows, words,
    of: (place) => pictures[place][CAPTION],
    write: (place, caption, seen) => changes.send(`${address(pictures[place][ID])}/caption`, { caption, seen }),
    done: focus,
  });
  rows.measure();
  show(found);
  const edit = (place) => { selection.only(place); rows.keep(place); captions.open(place, rows.reveal(place)); };
  listen(root, rows, selection, edit);
  root.addEventListener("dblclick", (event) => {
    const cell = event.target.closest(".cell");
    if (cell && event.target.localName === "img") location.href = address(pictures[Number(cell.dataset.place)][ID]);
  });
  root.addEventListener("focusin", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    rows.keep(Number(cell.dataset.place));
    if (event.target === cell && Number(cell.dataset.place) !== selection.active) {
      selection.active = Number(cell.dataset.place);
      selection.changed();
    }
  });
  root.addEventListener("focusout", () => rows.keep(-1));

  const steps = () => ({
    ArrowLeft: -1, ArrowRight: 1, ArrowUp: -rows.columns, ArrowDown: rows.columns,
    PageUp: -rows.columns * Math.max(1, Math.floor(innerHeight / rows.height)),
    PageDown: rows.columns * Math.max(1, Math.floor(innerHeight / rows.height)),
    Home: -pictures.length, End: pictures.length,
  });
  root.addEventListener("keydown", (event) => {
    if (!event.target.classList.contains("cell") || event.altKey) return;
    const step = steps()[event.key];
    const command = event.ctrlKey || event.metaKey;
    if (step !== undefined) {
      const place = Math.max(0, Math.min(pictures.length - 1, selection.active + step));
      if (event.shiftKey) selection.reach(place, command);
      else { selection.active = place; if (!command) selection.anchor = place; selection.changed(); }
      focus();
    } else if (event.key === " ") selection.toggle(selection.active);
    else if (event.key === "a" && command) selection.all();
    else if (event.key === "Escape") selection.none();
    else if (event.key === "Enter" || event.key === "F2") edit(selection.active);
    else if (event.key === "o" && !command) location.href = address(pictures[selection.active][ID]);
    else if (event.key === "t" && !command && selection.ids.size) element("bulk-first").focus();
    else return;
    event.preventDefault();
  });
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.target.closest?.("input, textarea, select, dialog")) return;
    const command = event.ctrlKey || event.metaKey;
    if (event.key === "?") element("keys").showModal();
    else if (command && event.key.toLowerCase() === "z") changes.turn(event.shiftKey ? "redo" : "undo");
    else if (command && event.key === "y") changes.turn("redo");
    else if (command && event.key === "a" && pictures.length) { selection.all(); focus(); }
    else return;
    event.preventDefault();
  });

  // What the worker has done meanwhile: looked at the folder, or changed captions.
  let seen = element("state-of-pictures").dataset.now;
  document.addEventListener("htmx:afterSettle", async () => {
    const now = element("state-of-pictures")?.dataset.now;
    if (!now || now === seen || captions.isOpen) return;
    const fresh = await load();
    if (!fresh) return; // the next news brings it again
    seen = now;
    words.version = String(parseInt(now, 10));
    show(fresh);
    changes.around(fresh);
  });
  document.documentElement.dataset.grid = "ready";
}

// Selecting by mouse and finger: a click, with Ctrl or Shift, or a rectangle that is drawn over the pictures.

const MOVED = 5;
const EDGE = 40;
const SPEED = 18;

export function listen(root, rows, selection, edit) {
  let band = null;

  const placeOf = (target) => {
    const cell = target.closest?.(".cell");
    return cell ? Number(cell.dataset.place) : -1;
  };
  const inside = (event) => {
    const box = root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  root.addEventListener("click", (event) => {
    const place = placeOf(event.target);
    if (place < 0 || event.target.closest(".editor")) return;
    if (band?.isOver) { band = null; return; } // the end of a rectangle is no click
    if (event.target.localName === "p" && (selection.has(place) || event.pointerType === "touch")) edit(place);
    else if (event.shiftKey) selection.reach(place, event.ctrlKey || event.metaKey);
    else if (event.ctrlKey || event.metaKey || event.pointerType === "touch") selection.toggle(place);
    else selection.only(place);
  });

  root.addEventListener("pointerdown", (event) => {
    band = null;
    if (event.pointerType !== "mouse" || event.button !== 0 || event.target.closest(".editor")) return;
    const [x, y] = inside(event);
    band = { x, y, now: [event.clientX, event.clientY], before: event.shiftKey || event.ctrlKey ? new Set(selection.ids) : new Set(), box: null };
  });

  const draw = () => {
    if (!band?.box) return;
    const box = root.getBoundingClientRect();
    const [x, y] = [band.now[0] - box.left, band.now[1] - box.top];
    const [left, top, right, bottom] = [Math.min(x, band.x), Math.min(y, band.y), Math.max(x, band.x), Math.max(y, band.y)];
    Object.assign(band.box.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    selection.band(rows.within(left, top, right, bottom), band.before);
  };
  const roll = () => {
    if (!band?.box) return;
    const y = band.now[1];
    const by = y < EDGE ? -SPEED : y > innerHeight - EDGE ? SPEED : 0;
    if (by) { scrollBy(0, by); draw(); }
    requestAnimationFrame(roll);
  };
  addEventListener("pointermove", (event) => {
    if (!band || band.isOver) return;
    band.now = [event.clientX, event.clientY];
    const [x, y] = inside(event);
    if (!band.box && Math.hypot(x - band.x, y - band.y) > MOVED) {
      band.box = document.createElement("div");
      band.box.className = "band";
      band.box.role = "presentation";
      root.append(band.box);
      requestAnimationFrame(roll);
    }
    draw();
  });
  const end = () => {
    if (!band) return;
    if (band.box) { band.box.remove(); band = { isOver: true }; setTimeout(() => { band = null; }); } else band = null;
  };
  addEventListener("pointerup", end);
  addEventListener("pointercancel", end);
  root.addEventListener("dragstart", (event) => event.preventDefault());
}

// Thousands of pictures in one scroll: only the rows in sight, and a screen above and below, are in the page.

const GAP = 12;
const NARROWEST = 144;
const FEWEST = 2;
const CAPTION = 24;
const FAST = 4; // pixels in a millisecond: nobody sees pictures that pass so, and they are asked for when it is over
const CALM_MS = 80;

export class Rows {
  constructor(root, { draw, fill, drop }) {
    this.root = root;
    this.draw = draw;
    this.fill = fill;
    this.drop = drop;
    this.count = 0;
    this.kept = -1;
    this.rows = new Map();
    this.top = 0;
    this.at = 0;
    this.isAsked = false;
    const ask = () => {
      if (this.isAsked) return;
      this.isAsked = true;
      requestAnimationFrame(() => { this.isAsked = false; this.show(); });
    };
    addEventListener("scroll", ask, { passive: true });
    new ResizeObserver(() => { this.measure(); ask(); }).observe(root);
  }

  measure() {
    const width = this.root.clientWidth;
    if (width === this.width) return;
    this.width = width;
    this.columns = Math.max(FEWEST, Math.floor((width + GAP) / (NARROWEST + GAP)));
    this.cell = (width - GAP * (this.columns - 1)) / this.columns;
    this.height = Math.ceil(this.cell + CAPTION + GAP);
    this.fresh(this.count);
  }

  // All anew, for so many pictures.
  fresh(count) {
    this.count = count;
    for (const row of this.rows.values()) this.remove(row);
    this.rows.clear();
    this.root.style.height = `${Math.ceil(count / this.columns) * this.height}px`;
    this.root.setAttribute("aria-rowcount", Math.ceil(count / this.columns));
    this.root.setAttribute("aria-colcount", this.columns);
    this.show();
  }

  // The row of the picture `place` stays in the page wherever one scrolls: it has the focus.
  keep(place) { this.kept = place < 0 ? -1 : Math.floor(place / this.columns); }

  show() {
    const top = -this.root.getBoundingClientRect().top;
    const around = innerHeight;
    const first = Math.max(0, Math.floor((top - around) / this.height));
    const last = Math.min(Math.ceil(this.count / this.columns), Math.ceil((top + 2 * around) / this.height)) - 1;
    for (const [number, row] of this.rows) {
      if ((number < first || number > last) && number !== this.kept) {
        this.remove(row);
        this.rows.delete(number);
      }
    }
    const added = [];
    for (let number = first; number <= last; number += 1) if (!this.rows.has(number)) added.push(number);
    if (this.kept >= 0 && this.kept * this.columns < this.count && !this.rows.has(this.kept)) added.push(this.kept);
    for (const number of added) this.add(number);
    const now = performance.now();
    const isFast = Math.abs(top - this.top) / Math.max(now - this.at, 1) > FAST;
    this.top = top;
    this.at = now;
    clearTimeout(this.calm);
    if (isFast) this.calm = setTimeout(() => this.fillAll(), CALM_MS);
    else this.fillAll();
  }

  fillAll() {
    for (const row of this.rows.values()) {
      if (row.dataset.isFull) continue;
      row.dataset.isFull = "true";
      for (const cell of row.children) this.fill(cell);
    }
  }

  add(number) {
    const row = document.createElement("div");
    row.className = "row";
    row.role = "row";
    row.setAttribute("aria-rowindex", number + 1);
    row.style.transform = `translateY(${number * this.height}px)`;
    row.style.gridTemplateColumns = `repeat(${this.columns}, minmax(0, 1fr))`;
    const end = Math.min(this.count, (number + 1) * this.columns);
    for (let place = number * this.columns; place < end; place += 1) row.append(this.draw(place));
    // In their order: who reads the page aloud hears it so.
    const behind = [...this.rows.keys()].filter((each) => each > number);
    this.root.insertBefore(row, behind.length ? this.rows.get(Math.min(...behind)) : null);
    this.rows.set(number, row);
  }

  remove(row) {
    for (const cell of row.children) this.drop(cell);
    row.remove();
  }

  element(place) { return this.rows.get(Math.floor(place / this.columns))?.children[place % this.columns]; }

  // Brings a picture into sight, and gives its cell.
  reveal(place) {
    const top = this.root.getBoundingClientRect().top + Math.floor(place / this.columns) * this.height;
    this.clear({ top, bottom: top + this.height });
    this.show();
    return this.element(place);
  }

  // Scrolls until what is between `top` and `bottom` of the window is clear of what floats over the grid.
  clear({ top, bottom }) {
    const head = (document.getElementById("turns")?.offsetHeight ?? 0) + 8;
    const bar = document.getElementById("bulk")?.offsetHeight ?? 0;
    const foot = innerHeight - bar - (innerWidth < 640 ? 72 : 16); // the rail is below there
    if (top < head) scrollBy(0, top - head);
    else if (bottom > foot) scrollBy(0, Math.min(bottom - foot, top - head));
  }

  // The places of the pictures that a rectangle touches, in the grid's own coordinates.
  within(left, top, right, bottom) {
    const found = [];
    const firstRow = Math.max(0, Math.floor(top / this.height));
    const lastRow = Math.min(Math.ceil(this.count / this.columns) - 1, Math.floor(bottom / this.height));
    for (let row = firstRow; row <= lastRow; row += 1) {
      for (let column = 0; column < this.columns; column += 1) {
        const start = column * (this.cell + GAP);
        const place = row * this.columns + column;
        const isBelow = top > row * this.height + this.height - GAP;
        if (start <= right && start + this.cell >= left && !isBelow && place < this.count) found.push(place);
      }
    }
    return found;
  }
}

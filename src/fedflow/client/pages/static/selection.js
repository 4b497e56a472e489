// Which pictures are selected, by their numbers, as in a file manager: one, a range from the anchor, more of them.

export class Selection {
  constructor(changed) {
    this.ids = new Set();
    this.anchor = 0;
    this.active = 0;
    this.changed = changed;
    this.pictures = [];
  }

  // The pictures in their order; what is gone is selected no longer.
  take(pictures) {
    const known = new Set(pictures.map((each) => each[0]));
    const at = this.pictures[this.active]?.[0];
    this.pictures = pictures;
    for (const id of this.ids) if (!known.has(id)) this.ids.delete(id);
    const place = pictures.findIndex((each) => each[0] === at);
    this.active = place < 0 ? Math.min(this.active, Math.max(pictures.length - 1, 0)) : place;
    this.anchor = this.active;
  }

  has(place) { return this.ids.has(this.pictures[place]?.[0]); }

  only(place) {
    this.ids = new Set([this.pictures[place][0]]);
    this.anchor = this.active = place;
    this.changed();
  }

  toggle(place) {
    const id = this.pictures[place][0];
    if (!this.ids.delete(id)) this.ids.add(id);
    this.anchor = this.active = place;
    this.changed();
  }

  // From the anchor to here; what else was selected goes, unless it is to stay.
  reach(place, stays = false) {
    const [first, last] = [Math.min(this.anchor, place), Math.max(this.anchor, place)];
    if (!stays) this.ids = new Set();
    for (let each = first; each <= last; each += 1) this.ids.add(this.pictures[each][0]);
    this.active = place;
    this.changed();
  }

  // Those places and what was selected before the mouse was moved.
  band(places, before) {
    this.ids = new Set(before);
    for (const place of places) this.ids.add(this.pictures[place][0]);
    this.changed();
  }

  all() {
    this.ids = new Set(this.pictures.map((each) => each[0]));
    this.changed();
  }

  none() {
    this.ids = new Set();
    this.anchor = this.active;
    this.changed();
  }
}

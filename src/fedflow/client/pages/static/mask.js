// The mask over a picture to start from: painted with a brush by pointer or keyboard, kept in the form as a PNG, white
// where it is painted.

const MOST_UNDO = 30;
const STEP = 8;
const FAR = 48;

// The policy lets no page load `data:`, so that text is taken apart here.
const fileOf = async (address) => {
  const [, text] = address.split("base64,");
  if (text !== undefined) return new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type: "image/png" });
  return (await fetch(/^[0-9a-f]{64}$/.test(address) ? `/start/${address}.png` : address)).blob();
};

class MaskEditor {
  constructor(box) {
    const part = box.closest("#start");
    this.box = box;
    this.canvas = box.querySelector("canvas");
    this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
    this.ring = box.querySelector(".brush");
    this.size = part.querySelector("[data-brush-size]");
    this.told = part.querySelector("[data-mask-told]");
    this.field = part.querySelector("[data-mask]");
    this.tools = [...part.querySelectorAll("[data-tool]")];
    this.at = { x: this.canvas.width / 2, y: this.canvas.height / 2 };
    this.frame = box.querySelector("[data-frame]");
    this.cut = part.querySelector("[data-cut]");
    this.isErasing = false;
    this.before = [];
    for (const tool of this.tools) tool.addEventListener("click", () => this.choose(tool.dataset.tool === "erase"));
    part.querySelector("[data-undo]").addEventListener("click", () => this.undo());
    part.querySelector("[data-clear]").addEventListener("click", () => { this.remember(); this.clear(); this.keep(); });
    this.size.addEventListener("input", () => this.showRing());
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => this.end());
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("focus", () => this.showRing());
    this.field.addEventListener("mask:kept", () => { this.load(this.field.value); this.showFrame(); });
    this.load(box.dataset.painted || this.field.value);
    this.showRing();
    this.showFrame();
  }

  // Places are in cells of the canvas, whatever its size on the page.
  place(event) {
    const seen = this.canvas.getBoundingClientRect();
    return { x: (event.clientX - seen.left) * this.canvas.width / seen.width, y: (event.clientY - seen.top) * this.canvas.height / seen.height };
  }

  clear() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  all() {
    return this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  choose(isErasing) {
    this.isErasing = isErasing;
    for (const tool of this.tools) tool.setAttribute("aria-pressed", String((tool.dataset.tool === "erase") === isErasing));
  }

  begin(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.remember();
    this.isDown = true;
    this.at = this.place(event);
    this.stroke(this.at);
    this.showRing();
  }

  move(event) {
    const to = this.place(event);
    if (this.isDown) this.stroke(to);
    this.at = to;
    this.showRing();
  }

  end() {
    if (!this.isDown) return;
    this.isDown = false;
    this.keep();
  }

  stroke(to) {
    const { pen } = this;
    pen.globalCompositeOperation = this.isErasing ? "destination-out" : "source-over";
    pen.strokeStyle = "#e0409a"; // seen over light and dark pictures
    pen.lineWidth = Number(this.size.value);
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(this.at.x, this.at.y);
    pen.lineTo(to.x, to.y + 0.01);
    pen.stroke();
  }

  press(event) {
    const far = event.shiftKey ? FAR : STEP;
    const moves = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] };
    const bounded = (value, most) => Math.min(Math.max(value, 0), most);
    if (moves[event.key]) {
      const [x, y] = moves[event.key];
      this.at = { x: bounded(this.at.x + x, this.canvas.width), y: bounded(this.at.y + y, this.canvas.height) };
    } else if (event.key === " ") {
      this.remember();
      this.stroke(this.at);
      this.keep();
    } else if (event.key === "[" || event.key === "]") {
      this.size.value = String(Number(this.size.value) + (event.key === "]" ? 8 : -8));
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
      this.undo();
    } else if (event.key.toLowerCase() === "e") {
      this.choose(!this.isErasing);
    } else {
      return;
    }
    event.preventDefault();
    this.showRing();
  }

  showRing() {
    const scale = this.canvas.clientWidth / this.canvas.width;
    const width = Number(this.size.value) * scale;
    Object.assign(this.ring.style, {
      width: `${width}px`, height: `${width}px`,
      left: `${this.at.x * scale - width / 2}px`, top: `${this.at.y * scale - width / 2}px`,
    });
  }

  // Of the picture as much is drawn as has the shape asked for, around its middle; a model's own is square.
  showFrame() {
    const { width_pixels: width, height_pixels: height } = this.field.form.elements;
    const isKnown = (width.value === "") === (height.value === "");
    const wanted = (Number(width.value) || 1) / (Number(height.value) || 1);
    const here = this.canvas.width / this.canvas.height;
    const across = Math.min(1, wanted / here);
    const down = Math.min(1, here / wanted);
    Object.assign(this.frame.style, {
      left: `${50 - 50 * across}%`, top: `${50 - 50 * down}%`, width: `${100 * across}%`, height: `${100 * down}%`,
    });
    this.frame.hidden = !isKnown;
    this.cut.hidden = !isKnown || Math.min(across, down) > 0.98;
  }

  remember() {
    this.before.push(this.all());
    if (this.before.length > MOST_UNDO) this.before.shift();
  }

  undo() {
    const last = this.before.pop();
    if (!last) return;
    this.pen.putImageData(last, 0, 0);
    this.keep();
  }

  // What is painted goes into the form, white on black.
  keep() {
    const { data, width, height } = this.all();
    const out = new ImageData(width, height);
    let painted = 0;
    for (let place = 0; place < data.length; place += 4) {
      const value = data[place + 3] > 127 ? 255 : 0;
      painted += value / 255;
      out.data.set([value, value, value, 255], place);
    }
    const sheet = document.createElement("canvas");
    Object.assign(sheet, { width, height });
    sheet.getContext("2d").putImageData(out, 0, 0);
    this.field.value = painted ? sheet.toDataURL("image/png") : "";
    this.say(painted);
    this.field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  say(painted) {
    const percent = Math.max(1, Math.round(100 * painted / this.canvas.width / this.canvas.height));
    this.told.textContent = painted ? this.told.dataset.some.replace("{}", percent) : this.told.dataset.none;
  }

  // A mask of the form: white becomes paint.
  async load(address) {
    this.clear();
    if (!address) { this.say(0); return; }
    let image;
    try {
      image = await createImageBitmap(await fileOf(address));
    } catch {
      return; // the mask is gone; the server says so when the form is sent
    }
    this.pen.globalCompositeOperation = "source-over";
    this.pen.drawImage(image, 0, 0, this.canvas.width, this.canvas.height);
    const painted = this.all();
    let count = 0;
    for (let place = 0; place < painted.data.length; place += 4) {
      const isPainted = painted.data[place] > 127;
      count += isPainted;
      painted.data.set([224, 64, 154, isPainted ? 255 : 0], place);
    }
    this.pen.putImageData(painted, 0, 0);
    this.say(count);
  }
}

let editor = null;
const begin = () => {
  for (const box of document.querySelectorAll("[data-mask-editor]:not([data-ready])")) {
    box.dataset.ready = "";
    editor = new MaskEditor(box);
  }
};
begin();
document.addEventListener("htmx:afterSettle", begin);
document.addEventListener("input", (event) => {
  if (editor?.box.isConnected && ["width_pixels", "height_pixels"].includes(event.target.name)) editor.showFrame();
});

// Sends the chosen file in pieces before the form goes; after a cut it goes on from where the server says it is.

import { paced, request } from "../web/sending.js";

const TRIES = 8;
const LONGEST_PAUSE_MS = 15000;

const ask = async (method, url, body = null, sent = undefined) => {
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const answer = await request(method, url, { "X-CSRFToken": token }, body, sent);
  if (answer.status < 300) return JSON.parse(answer.responseText);
  const text = new DOMParser().parseFromString(answer.responseText, "text/html").querySelector("main p")?.textContent;
  const final = answer.status < 500 && answer.status !== 409 && answer.status !== 423;
  throw Object.assign(new Error(text || String(answer.status)), { final });
};

const importing = () => ({
  source: "",
  far: "",
  waits: "",
  told: "",
  share: 0,
  sending: false,

  init() { this.chooses(); },
  chooses() { this.source = this.$root.source.value; },
  get uploads() { return this.source === "upload"; },
  get elsewhere() { return !this.uploads; },

  async goes(event) {
    const form = this.$root;
    const file = this.$refs.file.files[0];
    if (!this.uploads || !file) return;
    event.preventDefault();
    this.far = "";
    this.told = file.size > Number(form.dataset.most) ? form.dataset.tooLarge : "";
    if (this.told) return;
    this.sending = true;
    try {
      await this.send(file, form);
      form.place.value = file.name;
      form.submit();
    } catch (error) {
      this.waits = "";
      this.told = error.final ? error.message : form.dataset.lost;
      this.sending = false;
    }
  },

  async send(file, form) {
    const { files, piece, cut, arrived } = form.dataset;
    const pace = paced(form.dataset);
    const tell = (done) => {
      this.waits = "";
      this.far = pace.goes(done, file.size);
      this.share = done / file.size * 100;
    };
    const of = `${file.name} ${file.size} ${file.lastModified}`;
    let at;
    if (form.upload.value && form.upload.dataset.of === of) {
      at = await ask("GET", `${files}/${form.upload.value}`);
    } else {
      at = await ask("POST", files, new URLSearchParams({ length: file.size }));
      form.upload.value = at.upload;
      form.upload.dataset.of = of;
    }
    const url = `${files}/${at.upload}`;
    for (let tries = 0; at.offset < file.size;) {
      const { offset } = at;
      const body = file.slice(offset, offset + Number(piece));
      tell(offset);
      try {
        at = await ask("POST", `${url}?offset=${offset}`, body, (sent) => tell(offset + Math.min(sent, body.size)));
        tries = 0;
      } catch (error) {
        if (error.final || ++tries > TRIES) throw error;
        this.waits = cut;
        this.far = pace.stands(offset, file.size);
        await new Promise((done) => setTimeout(done, Math.min(500 * 2 ** tries, LONGEST_PAUSE_MS)));
        try { at = await ask("GET", url); } catch (again) { if (again.final) throw again; }
      }
    }
    this.far = arrived;
    this.share = 100;
  },
});

document.addEventListener("alpine:init", () => Alpine.data("importing", importing));

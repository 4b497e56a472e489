// Sends the chosen file in pieces before the form goes; after a cut it goes on from where the server says it is.
"use strict";

(() => {
  const TRIES = 8;
  const LONGEST_PAUSE_MS = 15000;

  const ask = async (url, options = {}) => {
    const token = document.querySelector('meta[name="csrf-token"]').content;
    const answer = await fetch(url, { ...options, headers: { "X-CSRFToken": token }, credentials: "same-origin" });
    if (answer.ok) return answer.json();
    const text = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main p")?.textContent;
    const final = answer.status < 500 && answer.status !== 409 && answer.status !== 423;
    throw Object.assign(new Error(text || String(answer.status)), { final });
  };

  const megabytes = (bytes) => (bytes / 1e6).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 });

  const importing = () => ({
    source: "",
    told: "",
    share: 0,
    sending: false,

    init() { this.chooses(); },
    chooses() { this.source = this.$root.source.value; },
    get uploads() { return this.source === "upload"; },
    get elsewhere() { return !this.uploads; },

    say(text, share) {
      this.told = text;
      if (share !== undefined) this.share = share * 100;
    },

    async goes(event) {
      const form = this.$root;
      const file = this.$refs.file.files[0];
      if (!this.uploads || !file) return;
      event.preventDefault();
      if (file.size > Number(form.dataset.most)) { this.say(form.dataset.tooLarge, 0); return; }
      this.sending = true;
      try {
        await this.send(file, form);
        form.place.value = file.name;
        form.submit();
      } catch (error) {
        this.say(error.final ? error.message : form.dataset.lost);
        this.sending = false;
      }
    },

    async send(file, form) {
      const { files, piece, cut, arrived } = form.dataset;
      const of = `${file.name} ${file.size} ${file.lastModified}`;
      let at;
      if (form.upload.value && form.upload.dataset.of === of) {
        at = await ask(`${files}/${form.upload.value}`);
      } else {
        at = await ask(files, { method: "POST", body: new URLSearchParams({ length: file.size }) });
        form.upload.value = at.upload;
        form.upload.dataset.of = of;
      }
      const url = `${files}/${at.upload}`;
      for (let tries = 0; at.offset < file.size;) {
        this.say(`${megabytes(at.offset)} / ${megabytes(file.size)} MB`, at.offset / file.size);
        try {
          const body = file.slice(at.offset, at.offset + Number(piece));
          at = await ask(`${url}?offset=${at.offset}`, { method: "POST", body });
          tries = 0;
        } catch (error) {
          if (error.final || ++tries > TRIES) throw error;
          this.say(cut);
          await new Promise((done) => setTimeout(done, Math.min(500 * 2 ** tries, LONGEST_PAUSE_MS)));
          try { at = await ask(url); } catch (again) { if (again.final) throw again; }
        }
      }
      this.say(arrived, 1);
    },
  });

  document.addEventListener("alpine:init", () => Alpine.data("importing", importing));
})();

// Sends the chosen file in pieces before the form goes; after a cut it goes on from where the server says it is.
"use strict";

(() => {
  const form = document.getElementById("import");
  if (!form) return;
  const { files, piece, most, tooLarge, cut, lost, sent } = form.dataset;
  const [chosen, part] = [form.querySelector("#f-file"), form.querySelector('[data-for="upload"]')];
  const progress = part.querySelector("[data-progress]");
  const told = progress.querySelector("[data-told]");
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const TRIES = 8;

  const showSource = () => {
    const uploads = form.source.value === "upload";
    part.hidden = !uploads;
    document.getElementById("f-place-field").hidden = uploads;
  };
  form.source.addEventListener("change", showSource);
  showSource();

  const ask = async (url, options = {}) => {
    const answer = await fetch(url, { ...options, headers: { "X-CSRFToken": token }, credentials: "same-origin" });
    if (answer.ok) return answer.json();
    const text = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main p")?.textContent;
    throw Object.assign(new Error(text || String(answer.status)), { final: answer.status < 500 && answer.status !== 409 && answer.status !== 423 });
  };

  const say = (text, share) => {
    progress.hidden = false;
    told.textContent = text;
    if (share !== undefined) progress.querySelector("progress").value = share * 100;
  };

  const send = async (file) => {
    let at = { offset: 0 };
    if (form.upload.value && form.upload.dataset.of === `${file.name} ${file.size} ${file.lastModified}`) {
      at = await ask(`${files}/${form.upload.value}`);
    } else {
      at = await ask(files, { method: "POST", body: new URLSearchParams({ length: file.size }) });
      form.upload.value = at.upload;
      form.upload.dataset.of = `${file.name} ${file.size} ${file.lastModified}`;
    }
    const url = `${files}/${at.upload}`;
    const megabytes = (bytes) => (bytes / 1e6).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 });
    for (let tries = 0; at.offset < file.size;) {
      say(`${megabytes(at.offset)} / ${megabytes(file.size)} MB`, at.offset / file.size);
      try {
        const body = file.slice(at.offset, at.offset + Number(piece));
        at = await ask(`${url}?offset=${at.offset}`, { method: "POST", body });
        tries = 0;
      } catch (error) {
        if (error.final || ++tries > TRIES) throw error;
        say(cut);
        await new Promise((done) => setTimeout(done, Math.min(500 * 2 ** tries, 15000)));
        try { at = await ask(url); } catch (again) { if (again.final) throw again; }
      }
    }
    say(sent, 1);
  };

  form.addEventListener("submit", async (event) => {
    const file = chosen.files[0];
    if (form.source.value !== "upload" || !file) return;
    event.preventDefault();
    if (file.size > Number(most)) { say(tooLarge, 0); return; }
    const button = form.querySelector("button.primary");
    button.disabled = true;
    try {
      await send(file);
      form.place.value = file.name;
      form.submit();
    } catch (error) {
      say(error.final ? error.message : lost);
      button.disabled = false;
    }
  });
})();

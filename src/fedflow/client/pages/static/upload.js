// Files dropped anywhere on the page or chosen, with how far they are sent. Pictures, folders or a zip of a dataset go at
// once; the one file of a model (`data-one`) waits in its field until the form is sent. All go in pieces before the form.

import { megabytes, paced } from "../web/sending.js";
import { many, one, sendPieces, Cut, Unread } from "./pieces.js";

const form = document.getElementById("bring");
if (form) start();

function start() {
  const words = form.dataset;
  const told = document.getElementById("bring-told");
  const failed = told.dataset.failed;
  const box = document.getElementById("bring-progress");
  const bar = box.querySelector("progress");
  const far = box.querySelector("[data-so-far]");
  const pace = paced(box.dataset);
  const most = Number(words.most);
  const isOne = "one" in words;

  const again = document.getElementById("bring-again");
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const put = (text, done, total) => text.replace("{done}", megabytes(done)).replace("{all}", megabytes(total));

  const refuse = (text) => { told.textContent = text; box.hidden = true; form.removeAttribute("aria-busy"); };
  const tell = (done, total, answers = true) => {
    const how = answers ? pace.goes(done, total) : pace.stands(done, total);
    bar.value = done / Math.max(total, 1);
    if (done >= total) far.textContent = box.dataset.taking;
    else far.textContent = answers ? how : put(box.dataset.again, done, total);
  };

  // Of what is neither picture nor caption the name alone, so that it is told; nothing is spared where nothing else is.
  const isWanted = (name) => words.wanted.split(" ").some((end) => name.toLowerCase().endsWith(end));
  const spared = (files) => {
    if (!files.some(([, name]) => isWanted(name))) return files;
    const empty = (file) => new File([], file.name, { lastModified: file.lastModified });
    return files.map(([file, name]) => [isWanted(name) ? file : empty(file), name]);
  };

  const send = async (all) => {
    if (form.hasAttribute("aria-busy")) return;
    told.textContent = "";
    again.hidden = true;
    const isAlone = all.length === 1 && (isOne || all[0][0].name.toLowerCase().endsWith(".zip"));
    const files = isAlone ? all : spared(all);
    const total = files.reduce((sum, [file]) => sum + file.size, 0);
    if (!files.length) { refuse(words.nothing); return; }
    if (total > most) { refuse(words.large.replace("{size}", megabytes(total))); return; }
    const body = new FormData(form);
    body.delete("files");
    form.setAttribute("aria-busy", "true");
    box.hidden = false;
    tell(0, total);
    pace.stands(0, total); // part of it may be there already
    const parcel = isAlone ? one(files[0][0]) : many(files);
    const arrived = await inPieces(parcel, files, total);
    if (arrived === null) return;
    body.append("arrived", arrived);
    body.append("manifest", parcel.manifest);
    const request = new XMLHttpRequest();
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* told below */ }
      if (answer.place) location.href = answer.place;
      else refuse(answer.told ?? failed);
    });
    request.addEventListener("error", () => refuse(failed));
    request.open("POST", form.getAttribute("action"));
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", token);
    request.send(body);
  };

  // Its identifier with the app; null where it stands still, which is said, with the way on.
  const inPieces = async (parcel, files, total) => {
    let arrived = 0;
    const about = { what: box.dataset.what, dataset: words.dataset ?? "" };
    try {
      return await sendPieces(parcel, about, box.dataset.begin, token, (done, answers) => {
        arrived = done;
        tell(done, total, answers);
      });
    } catch (error) {
      if (error instanceof Cut) refuse(put(told.dataset.cut, arrived, total));
      else refuse(error instanceof Unread ? told.dataset.unread : error.message || failed);
      again.hidden = error instanceof Unread || !arrived;
      again.onclick = () => send(files);
      return null;
    }
  };

  const chosen = () => [...form.elements.files.files].map((file) => [file, file.webkitRelativePath || file.name]);
  form.addEventListener("submit", (event) => {
    if (isOne && !chosen().length) return; // its place was typed
    event.preventDefault();
    send(chosen());
  });

  // Folders that are dropped come as trees.
  const walk = async (entry, found) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
      found.push([file, entry.fullPath.replace(/^\//, "")]);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
      if (!some.length) return;
      for (const each of some) await walk(each, found);
    }
  };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth += 1; form.classList.add("over"); } });
  addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) form.classList.remove("over"); });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    form.classList.remove("over");
    if (isOne) {
      const dropped = event.dataTransfer;
      const isFile = dropped.files.length === 1 && dropped.items[0].webkitGetAsEntry?.()?.isFile !== false;
      if (isFile) form.elements.files.files = dropped.files;
      told.textContent = isFile ? "" : words.one;
      return;
    }
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const found = [];
    try {
      for (const entry of entries) await walk(entry, found);
    } catch {
      refuse(failed);
      return;
    }
    send(found.length ? found : [...event.dataTransfer.files].map((file) => [file, file.name]));
  });
}

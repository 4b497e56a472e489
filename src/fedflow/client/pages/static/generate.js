// The form of a drawing: rows of adapters, files that are dropped on the page, and a draft that outlives a reload.
// Listens on the document: the form is brought anew when a file fills it.

const draftAt = (search) => `generate ${search}`;
const DRAFT = draftAt(location.search);
const NOT_KEPT = new Set(["csrf_token", "settings", "picture"]);
const form = () => document.getElementById("wish");
const rows = () => document.getElementById("adapter-rows");

// Adapters

const addAdapter = (id, weight = "1", isOn = true) => {
  const option = document.querySelector(`[data-add-adapter] option[value="${CSS.escape(id)}"]`);
  if (!id || !option || rows().querySelector(`[data-adapter="${CSS.escape(id)}"]`)) return null;
  const row = document.getElementById("adapter-row").content.firstElementChild.cloneNode(true);
  row.dataset.adapter = id;
  row.dataset.base = option.dataset.base;
  row.dataset.baseHash = option.dataset.baseHash;
  row.querySelector('[name="adapter"]').value = id;
  const active = row.querySelector('[name="active"]');
  active.value = id;
  active.id = `on-${id}`;
  active.checked = isOn;
  row.querySelector("label").htmlFor = active.id;
  for (const field of row.querySelectorAll('[data-slider], [name="weight"]')) field.value = weight;
  for (const each of row.querySelectorAll("[aria-label]")) {
    each.setAttribute("aria-label", each.getAttribute("aria-label").replace("{name}", option.textContent));
  }
  row.querySelector("[data-name]").textContent = option.textContent;
  rows().append(row);
  markMisfits();
  return row;
};

// As pages/generate_form.py's row_of does.
const markMisfits = () => {
  const model = document.getElementById("f-model");
  const hash = model.selectedOptions[0]?.dataset.hash ?? "";
  for (const row of rows().children) {
    const { base, baseHash } = row.dataset;
    const isMisfit = model.value === "starter" ? base !== "" && base !== "starter" : baseHash && hash && baseHash !== hash;
    row.querySelector("[data-misfit]").hidden = !isMisfit;
  }
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("#wish button");
  if (!button) return;
  if ("adds" in button.dataset) {
    const choice = document.querySelector("[data-add-adapter]");
    const row = addAdapter(choice.value);
    choice.value = "";
    row?.querySelector("[data-slider]").focus();
    keep();
  }
  if ("swaps" in button.dataset) {
    const { width_pixels: width, height_pixels: height } = form().elements;
    [width.value, height.value] = [height.value, width.value];
    width.dispatchEvent(new Event("input", { bubbles: true }));
  }
  if ("removes" in button.dataset) {
    button.closest(".adapter").remove();
    document.getElementById("f-add")?.focus();
    keep();
  }
});

document.addEventListener("input", (event) => {
  const row = event.target.closest(".adapter");
  if (row && event.target.matches("[data-slider]")) row.querySelector('[name="weight"]').value = event.target.value;
  if (row && event.target.name === "weight" && event.target.value !== "") row.querySelector("[data-slider]").value = event.target.value;
  if (event.target.id === "f-model") {
    markMisfits();
    document.querySelector("[data-model-gone]").hidden = true;
  }
});

// The draft

const keep = () => {
  const entries = [...new FormData(form())].filter(([name]) => !NOT_KEPT.has(name));
  try {
    sessionStorage.setItem(DRAFT, JSON.stringify(entries));
  } catch { /* no room is left: nothing is kept, and nothing else is lost */ }
};

const restore = (entries) => {
  const kept = new Map(entries);
  const all = (name) => entries.filter(([known]) => known === name).map(([, value]) => value);
  for (const field of form().elements) {
    if (!field.name || NOT_KEPT.has(field.name) || ["adapter", "active", "weight", "start", "mask"].includes(field.name)) continue;
    if (field.type === "checkbox") field.checked = all(field.name).includes(field.value);
    else if (field.type !== "hidden" && kept.has(field.name)) field.value = kept.get(field.name);
  }
  const { model, across_kind: columns } = form().elements;
  document.querySelector("[data-model-gone]").hidden = model.selectedIndex >= 0;
  if (model.selectedIndex < 0) model.value = "";
  if (columns.value) columns.closest("details").open = true;
  const active = new Set(all("active"));
  const weights = all("weight");
  rows().replaceChildren();
  const added = all("adapter").map((id, place) => addAdapter(id, weights[place], active.has(id)));
  document.querySelector("[data-adapter-gone]").hidden = !added.includes(null);
  markMisfits();
  const start = kept.get("start") ?? "";
  const begin = () => {
    const { strength } = form().elements;
    if (strength && kept.has("strength")) strength.value = kept.get("strength");
    const field = document.querySelector("[data-mask]");
    field.value = kept.get("mask") ?? "";
    field.dispatchEvent(new Event("mask:kept"));
    keep();
  };
  if (start === form().elements.start.value) begin();
  else htmx.ajax("GET", `/start?${new URLSearchParams({ start })}`, { target: "#start", swap: "outerHTML" }).then(begin);
};

const draft = sessionStorage.getItem(DRAFT);
if (draft && !document.getElementById("wrong")) addEventListener("load", () => restore(JSON.parse(draft)));

document.addEventListener("input", (event) => { if (event.target.closest("#wish")) keep(); });
document.addEventListener("htmx:afterSettle", (event) => { if (event.target.closest?.("#wish")) keep(); });
// What is sent is the newest drawing, with which the page begins where nothing is named.
document.addEventListener("submit", (event) => {
  if (event.target === form()) for (const key of [DRAFT, draftAt("")]) sessionStorage.removeItem(key);
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-empties]");
  if (link) sessionStorage.removeItem(draftAt(link.search));
});

// Enter draws; with Shift it is a line break, which counts as a space.
document.addEventListener("keydown", (event) => {
  if (event.target.id !== "f-prompt" || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form().requestSubmit();
});

// Files that are dropped: over the part for a start they are one, else their settings are read.

const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

document.addEventListener("dragover", (event) => {
  if (!holdsFile(event)) return;
  event.preventDefault();
  form().classList.add("dropping");
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) form().classList.remove("dropping"); });
document.addEventListener("drop", (event) => {
  if (!holdsFile(event)) return;
  event.preventDefault();
  form().classList.remove("dropping");
  const picture = event.target.closest?.("#start") && document.getElementById("f-picture");
  const field = picture || document.getElementById("f-settings");
  field.files = event.dataTransfer.files;
  field.dispatchEvent(new Event("change", { bubbles: true }));
});

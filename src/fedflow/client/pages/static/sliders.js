// A slider and the number beside it are one weight; the number is what is sent.
document.addEventListener("input", ({ target }) => {
  const row = target.closest("[data-adapter]");
  if (!row) return;
  const [slider, number] = [row.querySelector("[type=range]"), row.querySelector("[type=number]")];
  if (target === slider) number.value = slider.value;
  if (target === number) slider.value = number.value;
  row.classList.toggle("off", !row.querySelector("[type=checkbox]").checked);
});

// An adapter that is chosen is added at once.
document.addEventListener("change", ({ target }) => {
  if (target.name === "add-adapter" && target.value) target.form.requestSubmit();
});

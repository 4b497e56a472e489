// Two pictures of one prompt over each other: the left one beneath, the right one above, as far as the slider says.
"use strict";

(() => {
  const dialog = document.getElementById("compare");
  if (!dialog) return;
  const images = dialog.querySelectorAll("img");
  const choices = dialog.querySelectorAll("select");
  const slider = dialog.querySelector("input");
  let links = [];

  const cut = () => { images[1].style.clipPath = `inset(0 0 0 ${slider.value}%)`; };
  const show = () => {
    choices.forEach((choice, side) => {
      const link = links[choice.value];
      images[side].src = link.href;
      images[side].alt = link.querySelector("img").alt;
    });
  };
  slider.addEventListener("input", cut);
  for (const choice of choices) choice.addEventListener("change", show);

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-compares]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const row = [...link.closest("tr").querySelectorAll("a[data-compares]")];
    if (row.length < 2) return;
    event.preventDefault();
    links = row;
    const clicked = links.indexOf(link);
    const other = clicked === 0 ? links.length - 1 : 0;
    const [left, right] = [Math.min(clicked, other), Math.max(clicked, other)];
    choices.forEach((choice, side) => {
      choice.replaceChildren(...links.map((each, place) => new Option(each.dataset.compares, String(place))));
      choice.value = String(side === 0 ? left : right);
    });
    slider.value = "50";
    show();
    cut();
    dialog.showModal();
  });
})();

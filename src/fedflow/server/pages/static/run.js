// Two pictures of one prompt over each other: the base's beneath, the chosen round's above, as far as the slider says.
"use strict";

(() => {
  const dialog = document.getElementById("compare");
  if (!dialog) return;
  const [under, over] = dialog.querySelectorAll("img");
  const slider = dialog.querySelector("input");
  const show = () => { over.style.clipPath = `inset(0 0 0 ${slider.value}%)`; };
  slider.addEventListener("input", show);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-compares]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const links = [...link.closest("tr").querySelectorAll("a[data-compares]")];
    if (links.length < 2) return;
    event.preventDefault();
    const other = link === links[0] ? links[links.length - 1] : links[0];
    const [first, second] = [other, link].sort((one, two) => links.indexOf(one) - links.indexOf(two));
    for (const [image, from] of [[under, first], [over, second]]) {
      image.src = from.href;
      image.alt = from.querySelector("img").alt;
    }
    slider.value = "50";
    show();
    dialog.showModal();
  });
})();

// Two pictures of one prompt over each other: the left one beneath, the right one above, as far as the slider says.
"use strict";

(() => {
  const comparing = () => ({
    links: [],

    opens(event) {
      const link = event.target.closest("a[data-compares]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const row = [...link.closest("tr").querySelectorAll("a[data-compares]")];
      if (row.length < 2) return;
      event.preventDefault();
      this.links = row;
      const clicked = row.indexOf(link);
      const other = clicked === 0 ? row.length - 1 : 0;
      const { left, right, slider } = this.$refs;
      for (const [choice, place] of [[left, Math.min(clicked, other)], [right, Math.max(clicked, other)]]) {
        choice.replaceChildren(...row.map((each, number) => new Option(each.dataset.compares, String(number))));
        choice.value = String(place);
      }
      this.$refs.prompt.textContent = link.closest("tr").dataset.drawn;
      slider.value = "50";
      this.shows();
      this.cuts();
      this.$root.showModal();
    },

    shows() {
      const { left, right, under, over } = this.$refs;
      for (const [choice, image] of [[left, under], [right, over]]) {
        const link = this.links[choice.value];
        image.src = link.href;
        image.alt = link.querySelector("img").alt;
      }
    },

    cuts() {
      const cut = `${this.$refs.slider.value}%`;
      this.$refs.over.style.clipPath = `inset(0 0 0 ${cut})`;
      this.$refs.over.parentElement.style.setProperty("--cut", cut);
    },
  });

  document.addEventListener("alpine:init", () => Alpine.data("comparing", comparing));
})();

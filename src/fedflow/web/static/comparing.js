// Two pictures of one prompt over each other: the left one beneath, the right one above, as far as the slider says. They
// are links with `data-compares` in something with `data-drawn`; "previous" and "next" walk them, each beside its neighbour.
"use strict";

(() => {
  const comparing = () => ({
    links: [],

    opens(event) {
      const link = event.target.closest("a[data-compares]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const row = [...link.closest("[data-drawn]").querySelectorAll("a[data-compares]")];
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
      this.$refs.prompt.textContent = link.closest("[data-drawn]").dataset.drawn;
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
      this.$refs.previous.disabled = Number(right.value) < 2;
      this.$refs.next.disabled = Number(right.value) === this.links.length - 1;
    },

    walks(event) {
      const { left, right, next } = this.$refs;
      const place = Number(right.value) + (event.target === next ? 1 : -1);
      [left.value, right.value] = [String(place - 1), String(place)];
      this.shows();
    },

    cuts() {
      const cut = `${this.$refs.slider.value}%`;
      this.$refs.over.style.clipPath = `inset(0 0 0 ${cut})`;
      this.$refs.over.parentElement.style.setProperty("--cut", cut);
    },
  });

  document.addEventListener("alpine:init", () => Alpine.data("comparing", comparing));
})();

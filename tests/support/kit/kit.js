document.addEventListener("alpine:init", () => {
  Alpine.data("counter", () => ({ count: 0, add() { this.count += 1; } }));
});

// A part that htmx brings with hx-swap="morph" (its place) or "morph:innerHTML" (what is inside) is changed in place,
// node by node: focus, scroll and what a reader has opened stay as they are. A question that is open is answered as it
// was asked: it stays until it is closed, also where the part has another one by then.
"use strict";

(() => {
  const styles = { morph: "outerHTML", "morph:innerHTML": "innerHTML" };
  const opened = (name, element) => name === "open" && element.localName === "details";
  const isAsked = (node) => node.localName === "dialog" && node.matches(":modal, :popover-open");
  const callbacks = {
    beforeAttributeUpdated: (name, element) => !opened(name, element),
    beforeNodeMorphed: (node) => !isAsked(node),
    beforeNodeRemoved: (node) => !isAsked(node),
  };

  htmx.defineExtension("morph", {
    isInlineSwap: (style) => styles[style] === "outerHTML",
    handleSwap: (style, target, fragment) => {
      const morphStyle = styles[style];
      return morphStyle ? Idiomorph.morph(target, fragment.children, { morphStyle, callbacks }) : false;
    },
  });
})();

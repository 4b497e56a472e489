// A part that htmx brings with hx-swap="morph" (its place) or "morph:innerHTML" (what is inside) is changed in place,
// node by node: focus, scroll and what a reader has opened stay as they are. A question that is open is answered as it
// was asked: it stays until it is closed, also where the part has another one by then. "morph:around" is for a form that
// is checked while one types: what the reader has typed, ticked or chosen there stays as it is by now, and so does the
// mark of a form that was sent.
"use strict";

(() => {
  const styles = { morph: "outerHTML", "morph:innerHTML": "innerHTML", "morph:around": "outerHTML" };
  const opened = (name, element) => name === "open" && element.localName === "details";
  const entered = { input: ["value", "checked"], textarea: ["value"], option: ["selected"], form: ["data-sent"] };
  const isEntered = (name, element) => entered[element.localName]?.includes(name);
  const isAsked = (node) => node.localName === "dialog" && node.matches(":modal, :popover-open");
  const callbacks = {
    beforeAttributeUpdated: (name, element) => !opened(name, element),
    beforeNodeMorphed: (node) => !isAsked(node),
    beforeNodeRemoved: (node) => !isAsked(node),
  };
  const around = {
    ...callbacks,
    beforeAttributeUpdated: (name, element) => !opened(name, element) && !isEntered(name, element),
  };

  htmx.defineExtension("morph", {
    isInlineSwap: (style) => styles[style] === "outerHTML",
    handleSwap: (style, target, fragment) => {
      const morphStyle = styles[style];
      if (!morphStyle) return false;
      return Idiomorph.morph(target, fragment.children, { morphStyle, callbacks: style === "morph:around" ? around : callbacks });
    },
  });
})();

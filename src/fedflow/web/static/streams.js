// A page that nobody sees needs no news: its event stream is closed while it is hidden, since a browser has six
// connections to a server for all its tabs. When it is seen again it is told that something has changed, as it may have.
"use strict";

htmx.createEventSource = (url) => {
  let heard = [];
  let source = null;
  let isOver = false;
  const stream = {
    onopen: null,
    onerror: null,
    get readyState() { return isOver ? EventSource.CLOSED : source?.readyState ?? EventSource.CONNECTING; },
    addEventListener(name, hear) {
      heard.push([name, hear]);
      source?.addEventListener(name, hear);
    },
    removeEventListener(name, hear) {
      heard = heard.filter((each) => each[0] !== name || each[1] !== hear);
      source?.removeEventListener(name, hear);
    },
    close() {
      isOver = true;
      source?.close();
      document.removeEventListener("visibilitychange", turn);
    },
  };
  const open = () => {
    source = new EventSource(url);
    source.onopen = (event) => stream.onopen?.(event);
    source.onerror = (event) => {
      if (source?.readyState === EventSource.CLOSED) stream.close(); // who listens makes another one
      stream.onerror?.(event);
    };
    for (const [name, hear] of heard) source.addEventListener(name, hear);
  };
  const turn = () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      open();
      for (const [name, hear] of [...heard]) if (name === "changed") hear(new MessageEvent(name, { data: "" }));
    }
  };
  document.addEventListener("visibilitychange", turn);
  if (!document.hidden) open();
  return stream;
};

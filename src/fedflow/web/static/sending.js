// Sending large files: a request that tells how much of it has gone, and how far all is in the reader's words.

const STEADY_MS = 2000; // before it the network's buffers take what they are given, and the pace is none
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

const inWords = (value, options) => new Intl.NumberFormat(document.documentElement.lang, options).format(value);
export const megabytes = (bytes) => inWords(bytes / 1e6, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

// The answer, whatever its status; an error where there is none. `sent` hears how many bytes of the body have gone.
export const request = (method, address, headers, body, sent = () => {}) => new Promise((resolve, reject) => {
  const asked = new XMLHttpRequest();
  asked.upload.addEventListener("progress", (event) => sent(event.loaded));
  asked.addEventListener("load", () => resolve(asked));
  asked.addEventListener("error", () => reject(new Error("no answer")));
  asked.open(method, address);
  for (const [header, text] of Object.entries(headers)) asked.setRequestHeader(header, text);
  asked.send(body);
});

// Its two largest units, as the server's own pages say it: "3 min 20 sec".
const duration = (seconds) => {
  let rest = Math.max(1, Math.round(seconds));
  const parts = UNITS.map(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest %= size;
    return [count, unit];
  });
  const first = parts.findIndex(([count]) => count);
  const told = parts.slice(first, first + 2).filter(([count]) => count);
  return told.map(([count, unit]) => inWords(count, { style: "unit", unit, unitDisplay: "short" })).join(" ");
};

// `words` are those of the kit's sending_words. The time left is told as the pace was since it began, or goes on.
export const paced = (words) => {
  let begun = null;
  const far = (done, total) => words.far.replace("{done}", megabytes(done)).replace("{all}", megabytes(total));
  return {
    stands(done, total) {
      begun = null;
      return far(done, total);
    },
    goes(done, total) {
      begun ??= { at: performance.now(), done };
      const [passed, gone] = [performance.now() - begun.at, done - begun.done];
      if (passed < STEADY_MS || gone <= 0 || done >= total) return far(done, total);
      return `${far(done, total)} · ${words.left.replace("{time}", duration(passed / gone * (total - done) / 1000))}`;
    },
  };
};

// One file, or many after each other, in pieces, each acknowledged: what has arrived stays with the app, and the same goes
// on behind it, after a cut, a page that was loaded anew or a new start of the app.

import { request } from "../web/sending.js";

const BEGINNING = 64 * 1024;
const PIECE = 8 * 1024 * 1024;
const PAUSES_S = [0.5, 1, 2, 4, 8, 15];

export class Refused extends Error {}
export class Unread extends Error {}
export class Cut extends Error {}

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
const read = (part) => part.arrayBuffer().catch(() => { throw new Unread(); });
const sleep = (seconds) => new Promise((go) => { setTimeout(go, seconds * 1000); });

export const one = (file) => ({ file, filename: file.name, changed: String(file.lastModified), manifest: "" });

// Many, each a file and its name with folders, as one: nothing is read before its piece is sent. One order and a manifest
// make the same files the same.
export function many(files) {
  const told = files.map(([file, path]) => ({ file, entry: [path, file.size, file.lastModified] }));
  const key = ({ entry }) => JSON.stringify(entry);
  told.sort((one, other) => (key(one) < key(other) ? -1 : 1));
  const manifest = JSON.stringify(told.map(({ entry }) => entry));
  return { file: new Blob(told.map(({ file }) => file)), filename: told[0].entry[0], changed: "", manifest };
}

// The identifier under which the app keeps what `one` or `many` gave, once it is whole; `about` says what it is for. `tell`
// hears how many bytes have arrived, and whether the app answers.
export async function sendPieces({ file, filename, changed, manifest }, about, address, token, tell) {
  const metadata = Object.entries({ ...about, filename, changed });
  const begin = async () => {
    const headers = { "Upload-Length": file.size, "Upload-Metadata": metadata.map(([key, text]) => `${key} ${base64(text)}`).join(",") };
    const answer = await ask("POST", address, headers, new Blob([await read(file.slice(0, BEGINNING)), manifest]), token);
    return [answer.getResponseHeader("Location"), offsetOf(answer)];
  };
  for (let tries = 0, arrived = 0; ; tries += 1) {
    try {
      let [place, offset] = await begin();
      for (;;) {
        if (offset > arrived) tries = 0;
        arrived = offset;
        tell(arrived, true);
        if (arrived === file.size) return place.split("/").pop();
        const piece = await read(file.slice(arrived, arrived + PIECE));
        const answer = await ask("PATCH", place, { "Upload-Offset": arrived }, piece, token, (sent) => tell(arrived + Math.min(sent, piece.byteLength), true));
        offset = offsetOf(answer);
      }
    } catch (error) {
      if (!(error instanceof Cut) || tries >= PAUSES_S.length) throw error;
      tell(arrived, false);
      await sleep(PAUSES_S[tries]);
    }
  }
}

function offsetOf(answer) {
  const text = answer.getResponseHeader("Upload-Offset");
  if (text === null) throw new Refused();
  return Number(text);
}

async function ask(method, address, headers, body, token, sent) {
  const own = { "Content-Type": "application/offset+octet-stream", "X-CSRFToken": token };
  const answer = await request(method, address, { ...headers, ...own }, body, sent).catch(() => { throw new Cut(); });
  if (answer.status < 300 || answer.status === 409) return answer;
  let told;
  try { ({ told } = JSON.parse(answer.responseText)); } catch { /* no words of ours */ }
  if (told) throw new Refused(told);
  throw answer.status === 404 || answer.status >= 500 ? new Cut() : new Refused();
}

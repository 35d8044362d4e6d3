// Showing JSON.
import { make } from './dom.js';

const tokens = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

// showJSON shows a JSON text with line breaks and colours; any other text as it is. Copying gives the text itself.
export function showJSON(into, text) {
  into.dataset.text = text;
  let pretty;
  try {
    pretty = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    into.textContent = text;
    return;
  }
  const parts = [];
  let end = 0;
  for (const found of pretty.matchAll(tokens)) {
    const [whole, string, colon] = found;
    const word = string ?? whole;
    parts.push(pretty.slice(end, found.index), make('span', { class: colon ? 'n' : string ? 's' : 'v' }, word));
    end = found.index + word.length;
  }
  parts.push(pretty.slice(end));
  into.replaceChildren(...parts);
}

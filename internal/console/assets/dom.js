// Small helpers around the document.

// byId is the element of that id; pages and scripts are made together, so a missing one is a mistake of ours.
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

// make makes an element with attributes and children; texts become text, never markup.
export function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

// announce tells people who hear the page what has changed in it.
export function announce(text) {
  byId('announcements').textContent = text;
}

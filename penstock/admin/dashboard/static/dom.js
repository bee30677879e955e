// Building and updating the page. Every text goes through textContent: nothing from the server is ever markup.

export const byId = (id) => document.getElementById(id);

/** An element with properties (class, data-*, aria-*, on*) and children (elements or text). */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function setText(element, text) {
  const wanted = text === null || text === undefined ? "" : String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Keeps children of `parent` in step with `items`, so that focus and hover survive every refresh.
 *  `make(item)` returns {root, update(item)}. */
export function keyed(parent, items, keyOf, make) {
  parent.keyedViews ??= new Map();
  const views = parent.keyedViews;
  const wanted = new Set(items.map(keyOf));
  for (const [key, view] of views) {
    if (!wanted.has(key)) { view.root.remove(); views.delete(key); }
  }
  items.forEach((item, index) => {
    const key = keyOf(item);
    let view = views.get(key);
    if (!view) { view = make(item); views.set(key, view); }
    view.update(item);
    if (parent.children[index] !== view.root) parent.insertBefore(view.root, parent.children[index] ?? null);
  });
}

// What Envoys refused and are not sent any more. The section is there only while there is something in it.

import { byId, h, keyed, setText } from "./dom.js";
import { count, duration, plural, secondsBetween } from "./format.js";

const MOST_SHOWN = 25;
const MOST_NODES_SHOWN = 3;

export function showQuarantine({ items, now }) {
  const shown = items.slice(0, MOST_SHOWN);
  byId("quarantine").hidden = items.length === 0;
  setText(byId("quarantine-summary"), `${plural(items.length, "resource")}${items.length > MOST_SHOWN ? `, the latest ${MOST_SHOWN} shown` : ""}`);
  keyed(byId("quarantine-rows"), shown, (item) => item.id, makeRow);
  for (const item of shown) byId("quarantine-rows").keyedViews.get(item.id).age(item, now);
}

function makeRow(first) {
  const nodes = h("div");
  const since = h("div", { class: "muted small" });
  const message = h("div");
  const origins = h("div", { class: "muted small" });
  const served = h("td", { class: "clip" });
  const root = h("tr", {},
    h("td", { class: "clip" },
      h("div", { class: "name" }, h("span", { class: "tag", "data-tone": "error" }, first.type), first.name),
      h("div", { class: "muted small" }, `${first.group}, version ${first.version}`)),
    h("td", { class: "clip" }, nodes, since),
    h("td", { class: "clip" }, message, origins),
    served,
    h("td", {}, h("code", { class: "small" }, `penstock release ${first.id}`)));
  function update(item) {
    const shown = item.nodes.slice(0, MOST_NODES_SHOWN);
    const more = item.nodeCount - shown.length;
    setText(nodes, shown.join(", ") + (more > 0 ? ` and ${count(more)} more` : ""));
    setText(message, item.message);
    setText(origins, item.origins.join(", "));
    setText(served, servedText(item));
  }
  return { root, update, age: (item, now) => setText(since, `for ${duration(secondsBetween(item.firstAt, now))}`) };
}

function servedText(item) {
  if (item.held) return `All of ${item.group} as it was: a mixture cannot be proven safe (${item.held})`;
  const kept = item.servedInstead ? `Version ${item.servedInstead}` : "Nothing: Envoys keep what they hold";
  return item.heldBack.length ? `${kept}; ${plural(item.heldBack.length, "resource")} that would name it held back` : kept;
}

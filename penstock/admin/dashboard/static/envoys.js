// The Envoys connected now, those in trouble first.

import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { count, duration, plural, secondsBetween } from "./format.js";

export const MOST_SHOWN = 50;

const STATUS = {
  SYNCED: ["✓", "good", "in sync"],
  STALE: ["…", "info", "sent, not yet acknowledged"],
  NACKED: ["✕", "error", "refused"],
  NOT_SENT: ["–", "muted", "nothing sent yet"],
};

export function showEnvoys(nodes) {
  const { connected, byStatus, byGroup } = nodes.summary;
  const groups = Object.entries(byGroup).map(([group, n]) => `${group} ${n}`);
  const cut = nodes.matched > nodes.items.length ? `; the first ${nodes.items.length} shown` : "";
  const refusing = byStatus.NACKED ? `${count(byStatus.NACKED)} refusing configuration, ` : "";
  setText(byId("envoys-summary"), connected ? `${refusing}${count(connected)} connected (${groups.join(", ")})${cut}` : "");
  byId("envoys-empty").hidden = connected > 0;
  keyed(byId("envoys"), nodes.items, (item) => item.stream, makeRow);
  for (const item of nodes.items) byId("envoys").keyedViews.get(item.stream).age(item, nodes.now);
}

function makeRow(first) {
  const group = h("div", { class: "muted small" });
  const chips = h("div", { class: "chips" });
  const errors = h("div", { class: "small" });
  const since = h("td", { class: "num muted small" });
  const root = h("tr", {},
    h("td", { class: "clip" }, h("div", { class: "name" }, first.node), group),
    h("td", { class: "clip" }, chips, errors),
    since);
  function update(item) {
    setText(group, `${item.group}, ${item.variant}, ${item.peer.replace(/^ipv[46]:/, "")}`);
    keyed(chips, item.types, (state) => state.typeUrl, (state) => {
      const chip = h("span", { class: "tag" });
      return {
        root: chip,
        update: (now) => {
          const [sign, tone, words] = STATUS[now.status] ?? ["?", "muted", now.status];
          setText(chip, `${sign} ${now.type}`);
          setAttribute(chip, "data-tone", tone);
          setAttribute(chip, "title", `${now.type}: ${words}; ${plural(now.resources, "resource")}, version ${now.ackedVersion || "none"}`);
          setAttribute(chip, "aria-label", `${now.type} ${words}`);
        },
      };
    });
    const refused = item.types.filter((state) => state.error).map((state) => `${state.type}: ${state.error}`);
    setText(errors, refused.join("; "));
  }
  return { root, update, age: (item, now) => setText(since, duration(secondsBetween(item.connectedAt, now))) };
}

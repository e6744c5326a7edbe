// The notes on the run on screen: one is written on the update on screen, its pinned response or token, and each leads
// back to its place.

const NOTED_ON = ["token", "response", "update"];

function runNotes(board, send) {
  const title = make("h3");
  const place = make("select", { class: "ex-select explorer-note-place" });
  const label = make("input", { class: "ex-input explorer-note-label", type: "text", maxlength: "80", required: true });
  const more = make("input", { class: "ex-input explorer-note-text", type: "text", maxlength: "2000" });
  const add = make("button", { class: "ex-button explorer-note-add", type: "submit" });
  let sent = null; // what was typed stays until it is on the list
  const form = make("form", { class: "ex-note", onsubmit: (event) => {
    event.preventDefault();
    const [response, token] = placeOf(place.value);
    sent = { label: label.value, text: more.value, total: board.get("shelf").notes.total };
    send("note", { update: board.get("batch").update, response, token, label: sent.label, text: sent.text });
  } }, place, label, make("div", { class: "ex-row" }, more, add));
  const none = make("p", { class: "ex-muted explorer-notes-none" });
  const list = make("ul", { class: "ex-notes" });
  const node = make("div", { class: "ex-run-part explorer-notes" }, title, form, none, list);

  const placeOf = (where) => {
    const [response, token] = board.get("pinned");
    return [where === "update" ? null : response, where === "token" ? token : null];
  };

  const paintPlaces = () => {
    const [batch, pinned] = [board.get("batch"), board.get("pinned")];
    const word = batch.tokens?.[pinned[0]]?.[pinned[1]];
    const offered = word === undefined ? ["update"] : NOTED_ON;
    const stamp = JSON.stringify([batch.update, ...(word === undefined ? [] : pinned), word]);
    if (!needsWords(place, board) && place.dataset.stamp === stamp) return;
    const before = place.value;
    place.dataset.stamp = stamp;
    place.replaceChildren(...offered.map((where) => make("option", { value: where, text: say(board, `ui.runs.notes.on.${where}`, {
      update: batch.update, response: (pinned[0] ?? 0) + 1, token: (pinned[1] ?? 0) + 1, word: visible(word ?? ""),
    }) })));
    place.value = offered.includes(before) ? before : offered[0];
  };

  const paintList = (found) => {
    const stamp = JSON.stringify(found);
    if (!needsWords(list, board) && list.dataset.stamp === stamp) return;
    const focused = list.contains(document.activeElement);
    list.dataset.stamp = stamp;
    list.replaceChildren(...found.map((note) => make("li", {}, make("button", {
      class: "ex-note-row", type: "button", title: [note.label, note.text].filter(Boolean).join(": "),
      onclick: () => send("show", { update: note.update, epoch: -1, token: note.response === null ? null : [note.response, note.token ?? 0] }),
    }, make("span", { class: "ex-muted", text: notePlace(board, note) }), make("b", { text: note.label }), note.text ? make("span", { text: shorten(note.text, 120) }) : null))));
    if (focused) list.querySelector("button")?.focus();
  };

  const paint = () => {
    const { found, total, damage, open } = board.get("shelf").notes;
    write(title, say(board, "ui.runs.notes.title"));
    if (sent && total > sent.total) {
      if (label.value === sent.label) label.value = "";
      if (more.value === sent.text) more.value = "";
      sent = null;
    }
    for (const [input, key] of [[place, "place"], [label, "label"], [more, "text"]]) input.setAttribute("aria-label", say(board, `ui.runs.notes.${key}`));
    for (const [input, key] of [[label, "label"], [more, "text"]]) input.placeholder = say(board, `ui.runs.notes.${key}`);
    write(add, say(board, "ui.runs.notes.add"));
    const can = open && hasBatch(board.get("batch"));
    for (const input of [place, label, more, add]) input.disabled = !can;
    paintPlaces();
    const left = total - found.length;
    write(none, damage || (total === 0 ? say(board, "ui.runs.notes.none") : left ? say(board, "ui.runs.notes.left", { left }) : ""));
    none.hidden = none.textContent === "";
    paintList(found);
  };
  return { node, paint };
}

function notePlace(board, { update, response, token }) {
  const where = response === null ? "update" : token === null ? "response" : "token";
  return say(board, `ui.runs.notes.at.${where}`, { update, response: (response ?? 0) + 1, token: (token ?? 0) + 1 });
}

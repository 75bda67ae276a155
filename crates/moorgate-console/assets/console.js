"use strict";
// Copy buttons: without a script they would do nothing.
for (const button of document.querySelectorAll("button.copy")) button.hidden = false;
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const from = document.getElementById(button.dataset.copy);
  if (!from) return;
  try {
    await navigator.clipboard.writeText(from.textContent.trim());
    button.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(from);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected: press Ctrl+C";
  }
});
// The newest of a plot is at its right.
for (const drawn of document.querySelectorAll(".drawn")) drawn.scrollLeft = drawn.scrollWidth;
// What comes through, as it does.
for (const table of document.querySelectorAll("[data-live]")) {
  const events = new EventSource(table.dataset.live);
  events.addEventListener("message", (event) => {
    table.insertAdjacentHTML("afterbegin", event.data);
    while (table.rows.length > 200) table.deleteRow(-1);
  });
  events.addEventListener("error", () => {
    const still = document.getElementById("still");
    if (still && events.readyState === EventSource.CLOSED) still.hidden = false;
  });
}
// What is waited for: asked for again until it has happened.
for (const line of document.querySelectorAll("[data-poll]")) {
  const look = async () => {
    try {
      const answer = await fetch(line.dataset.poll, { headers: { Accept: "application/json" } });
      if (!answer.ok) return;
      const { state, said } = await answer.json();
      if (line.textContent !== said) line.textContent = said;
      line.className = state;
      if (state !== "waiting") return;
    } catch {
      // The gateway may be starting again.
    }
    setTimeout(look, 2000);
  };
  if (line.className === "waiting") setTimeout(look, 1000);
}

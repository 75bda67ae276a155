"use strict";
// Copy buttons.
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

// Keeps the stats page live without losing the reader's place: fetches it again and swaps what is inside <main>.
// Without script the page reloads itself.
"use strict";
const EVERY = 2000;
let answered = Date.now();

function silence() {
  let note = document.getElementById("silence");
  if (!note) {
    note = document.createElement("p");
    note.id = "silence";
    note.className = "note alarm";
    document.querySelector("main").prepend(note);
  }
  const seconds = Math.round((Date.now() - answered) / 1000);
  note.textContent = "The router has not answered for " + seconds + " s. What is below is old.";
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(EVERY * 2) });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // Somebody who is marking text to copy it does not want it swapped away.
    if (getSelection().isCollapsed) {
      document.querySelector("main").replaceWith(page.querySelector("main"));
      document.title = page.title;
    }
    answered = Date.now();
  } catch {
    silence();
  }
  setTimeout(refresh, EVERY);
}

setTimeout(refresh, EVERY);

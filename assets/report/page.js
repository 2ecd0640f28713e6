"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const find = byId("find"), found = byId("found");
  const folds = [...document.querySelectorAll("details")];
  const rows = [...document.querySelectorAll("tbody tr, ul.plain li")];
  const leaves = [...document.querySelectorAll("#modules li[id]")];
  const own = (li) => li.querySelector(".row");
  const text = new Map();
  for (const row of rows) text.set(row, row.textContent.toLowerCase());
  for (const li of leaves) text.set(li, (own(li).textContent + " " + own(li).querySelector("b").title).toLowerCase());
  let before = null;
  const search = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter((word) => word);
    const fits = (row) => words.every((word) => text.get(row).includes(word));
    if (words.length && !before) before = folds.map((fold) => fold.open);
    let count = 0;
    for (const row of rows) {
      row.hidden = !fits(row);
      count += words.length && !row.hidden ? 1 : 0;
    }
    for (const li of leaves) li.hidden = words.length > 0;
    for (const li of leaves) {
      if (!words.length || !fits(li)) continue;
      count += 1;
      li.hidden = false;
      for (let up = li.parentElement.closest("li"); up; up = up.parentElement.closest("li")) {
        up.hidden = false;
        up.querySelector("details").open = true;
      }
    }
    if (!words.length && before) {
      folds.forEach((fold, at) => { fold.open = before[at]; });
      before = null;
    }
    found.textContent = words.length ? `${count} ${count === 1 ? "row" : "rows"}` : "";
  };
  let waiting = 0;
  find.addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(search);
  });
  const all = (open) => folds.forEach((fold) => { fold.open = open; });
  byId("open").addEventListener("click", () => all(true));
  byId("close").addEventListener("click", () => all(false));
  let printed = null;
  addEventListener("beforeprint", () => {
    printed = folds.map((fold) => fold.open);
    all(true);
  });
  addEventListener("afterprint", () => printed && folds.forEach((fold, at) => { fold.open = printed[at]; }));
  const reveal = () => {
    const at = location.hash && byId(location.hash.slice(1));
    for (let up = at && at.closest("details"); up; up = up.parentElement.closest("details")) up.open = true;
    if (at) at.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  byId("tools").hidden = false;
  reveal();
})();

"use strict";
(() => {
  const form = document.getElementById("filter");
  const text = document.getElementById("text");
  const shown = document.getElementById("shown");
  const items = [...document.querySelectorAll("article.item, .proof.item, tr.row")];
  const words = new Map(items.map((item) => [item, item.textContent.toLowerCase() + " " + (item.closest(".file, tbody")?.querySelector("h3, .group")?.textContent ?? "").toLowerCase()]));
  const findings = items.filter((item) => item.matches("article"));

  const filter = () => {
    const kinds = new Set([...form.querySelectorAll("[name=kind]:checked")].map((box) => box.value));
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      item.hidden = !kinds.has(item.dataset.kind) || !wanted.every((word) => words.get(item).includes(word));
    }
    const all = kinds.size === form.querySelectorAll("[name=kind]").length && wanted.length === 0;
    for (const group of document.querySelectorAll(".file, .matrix tbody, .ignored")) {
      group.hidden = !all && !group.querySelector(".item:not([hidden]), .row:not([hidden])");
    }
    const left = findings.filter((item) => !item.hidden).length;
    shown.textContent = all ? "" : left + " of " + findings.length + (findings.length === 1 ? " finding" : " findings");
    document.getElementById("nothing").hidden = all || left > 0;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();

  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !/^(INPUT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      text.focus();
    }
    if (event.key === "Escape" && event.target === text) {
      text.value = "";
      filter();
    }
  });

  for (const button of document.querySelectorAll(".copy")) {
    const code = button.parentElement.querySelector("code");
    button.hidden = false;
    button.setAttribute("aria-label", "Copy: " + code.textContent);
    button.addEventListener("click", async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        getSelection().selectAllChildren(code);
        done = document.execCommand("copy");
      }
      button.textContent = done ? "Copied" : "Select it";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  const open = () => {
    const at = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (at && at.matches("details")) at.open = true;
  };
  addEventListener("hashchange", open);
  open();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
})();

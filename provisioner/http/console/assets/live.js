// Has the part of a page that changes by itself fetched as soon as something happens to its device.
// Without it that part is fetched each second; what it holds is always made by the server.
(() => {
  "use strict";
  // Rows that somebody has ticked stay as they are.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id === "rows" && document.querySelector("#rows input:checked")) event.preventDefault();
  });

  const part = () => document.querySelector("[data-feed]");
  if (!part() || !window.htmx || !window.ReadableStream) return;
  const QUIET = ": still here";
  const STALE = 2000; // ms after which an answer is not waited for any more
  let busy = 0, again = false;

  const look = () => {
    if (busy && Date.now() - busy < STALE) { again = true; return; }
    again = false;
    busy = Date.now();
    htmx.trigger(part(), "look");
  };
  const done = () => {
    busy = 0;
    if (again) look();
  };
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.hasAttribute("data-feed")) busy = Date.now();
  });
  for (const name of ["htmx:afterSettle", "htmx:responseError", "htmx:sendError"])
    document.addEventListener(name, done);

  const follow = async () => {
    let next = 3000;
    try {
      const answer = await fetch(part().dataset.feed, { headers: { Accept: "text/event-stream" } });
      if (!answer.ok) next = answer.status < 500 ? 0 : 15000;
      else {
        const words = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let one = await words.read(); !one.done; one = await words.read())
          if (!one.value.startsWith(QUIET) && !one.value.startsWith("retry:")) look();
      }
    } catch { /* the server has gone, or this page is left: try again later */ }
    if (next) setTimeout(follow, next);
  };
  follow();
})();

// Replaces the page's body whenever the control plane has news. Without this file the page is whole, only not live.
const body = document.getElementById("body");
const source = new EventSource(body.dataset.live);
source.addEventListener("body", (event) => {
  const open = document.activeElement && body.contains(document.activeElement);
  if (!open) body.innerHTML = event.data;
});

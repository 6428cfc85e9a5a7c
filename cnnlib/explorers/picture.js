// A picture to look at and to point at, by mouse, touch or arrow keys. See picture.py.

const STEPS = {
  ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1],
  Home: [0, 0, -Infinity], End: [0, 0, Infinity], PageUp: [-1, 0, 0], PageDown: [1, 0, 0],
};

const forNotebook = (event) =>
  event.ctrlKey || event.metaKey || (event.shiftKey && event.key === "Enter");

// Notebook 7 hears of a key before the explorer does, and leaves it alone if its target has this
// attribute.
function keepShortcutsOut(event) {
  if (!event.target.closest?.(".cnnlib-explorer")) return;
  event.target.toggleAttribute("data-lm-suppress-shortcuts", !forNotebook(event));
}

// Once for each explorer, when it is on the page.
function prepare(el) {
  if (!el.isConnected) return requestAnimationFrame(() => prepare(el));
  const explorer = el.closest(".cnnlib-explorer");
  if (!explorer || explorer.dataset.prepared) return;
  explorer.dataset.prepared = "true";
  // Keys are for the controls: the notebook's shortcuts would select, change or delete cells.
  explorer.addEventListener("keydown", (event) => {
    if (!forNotebook(event)) event.stopPropagation();
  });
  if (!window.cnnlibKeys) window.addEventListener("keydown", keepShortcutsOut, true);
  window.cnnlibKeys = true;
  // ipywidgets gives sliders and players no names that a screen reader could say.
  for (const box of explorer.querySelectorAll(".widget-slider")) {
    const label = box.querySelector(".widget-label")?.textContent ?? "";
    box.querySelector(".noUi-handle")?.setAttribute("aria-label", label);
  }
  for (const player of explorer.querySelectorAll(".widget-play")) {
    const names = ["Play or pause", "Stop", "Repeat"];
    [...player.querySelectorAll("button")].forEach((button, k) => { button.title = names[k]; });
  }
}

function render({ model, el }) {
  el.classList.add("cnnlib-picture");
  el.innerHTML = `<figure>
    <div class="stage"><img draggable="false"><svg class="overlay"></svg><svg class="place"><rect/><rect/></svg></div>
    <figcaption role="status"></figcaption></figure>`;
  const stage = el.querySelector(".stage");
  const image = el.querySelector("img");
  const overlay = el.querySelector(".overlay");
  const place = el.querySelector(".place");
  const caption = el.querySelector("figcaption");

  function showPicture() {
    URL.revokeObjectURL(image.src);
    const bytes = model.get("png");
    image.hidden = bytes.byteLength === 0;
    if (image.hidden) image.removeAttribute("src");
    else image.src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  }

  function showFrame() {
    const [width, height] = model.get("size");
    for (const svg of [overlay, place]) {
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.setAttribute("aria-hidden", "true");
    }
    stage.style.aspectRatio = `${width} / ${height}`;
    el.style.setProperty("--most", model.get("width"));
    image.alt = model.get("alt");
    const pointable = model.get("grids").length > 0;
    stage.classList.toggle("pointable", pointable);
    if (pointable) {
      stage.tabIndex = 0;
      stage.setAttribute("role", "application");
      stage.setAttribute("aria-label", `${model.get("alt")} Arrow keys move the frame.`);
    } else {
      stage.removeAttribute("tabindex");
      stage.setAttribute("role", "img");
      stage.setAttribute("aria-label", model.get("alt"));
    }
  }

  const showOverlay = () => { overlay.innerHTML = model.get("overlay"); };

  function showCaption() {
    caption.textContent = model.get("caption");
    el.classList.toggle("problem", model.get("problem"));
  }

  function showPlace() {
    const [k, row, column] = model.get("at");
    const grid = model.get("grids")[k];
    place.style.display = grid ? "" : "none";
    if (!grid) return;
    for (const rect of place.children) {
      rect.setAttribute("x", grid.left + column * grid.width);
      rect.setAttribute("y", grid.top + row * grid.height);
      rect.setAttribute("width", grid.width);
      rect.setAttribute("height", grid.height);
    }
  }

  // Setting a trait, not sending a message: while the kernel is busy with one value, ipywidgets
  // holds back the next and keeps only the newest, so that nothing queues up.
  function point(at) {
    if (String(at) === String(model.get("at"))) return;
    model.set("at", at);
    model.save_changes();
  }

  function under(event) {
    const box = stage.getBoundingClientRect();
    const [width, height] = model.get("size");
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    for (const [k, grid] of model.get("grids").entries()) {
      const row = Math.floor((y - grid.top) / grid.height);
      const column = Math.floor((x - grid.left) / grid.width);
      if (row >= 0 && row < grid.rows && column >= 0 && column < grid.columns) {
        return [k, row, column];
      }
    }
    return null;
  }

  function onPointer(event) {
    if (event.type === "pointerdown") stage.setPointerCapture(event.pointerId);
    const wanted = event.type === "pointerdown" || event.buttons || model.get("hover");
    const found = wanted && under(event);
    if (found) point(found);
  }

  function onKey(event) {
    const step = STEPS[event.key];
    const grids = model.get("grids");
    if (!step || !grids.length || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault(); // or the page would scroll
    const at = model.get("at");
    if (!at.length) return point([0, 0, 0]);
    const clamp = (value, count) => Math.max(0, Math.min(value, count - 1));
    const k = clamp(at[0] + step[0], grids.length);
    point([k, clamp(at[1] + step[1], grids[k].rows), clamp(at[2] + step[2], grids[k].columns)]);
  }

  stage.addEventListener("pointerdown", onPointer);
  stage.addEventListener("pointermove", onPointer);
  stage.addEventListener("keydown", onKey);

  // A message from Python cannot come any more; the widgets stay on the page.
  function sayRestarted() {
    caption.textContent = "The kernel was restarted: run this cell again.";
    el.classList.add("problem");
  }

  const watch = {
    png: showPicture, overlay: showOverlay, caption: showCaption, problem: showCaption,
    at: showPlace, size: () => { showFrame(); showPlace(); },
    grids: () => { showFrame(); showPlace(); }, alt: showFrame, width: showFrame,
  };
  for (const [name, show] of Object.entries(watch)) model.on(`change:${name}`, show);
  model.on("comm_live_update", sayRestarted);
  prepare(el);
  [showPicture, showFrame, showOverlay, showCaption, showPlace].forEach((show) => show());
  return () => {
    for (const [name, show] of Object.entries(watch)) model.off(`change:${name}`, show);
    model.off("comm_live_update", sayRestarted);
    URL.revokeObjectURL(image.src);
  };
}

export default { render };

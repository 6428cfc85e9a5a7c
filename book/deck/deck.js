// Start reveal.js; what is on the slides needs no script.
const still = window.matchMedia("(prefers-reduced-motion: reduce)");
let runs = 0;

// An animation runs, from its beginning, while its slide is shown; elsewhere stands its still.
function animate() {
  const shown = Reveal.getCurrentSlide();
  for (const image of document.querySelectorAll("img[data-animation]")) {
    const { animation, still: first } = image.dataset;
    const run = shown.contains(image) && !still.matches;
    image.src = run ? `${animation}?${(runs += 1)}` : first;
  }
}

Reveal.on("ready", animate);
Reveal.on("slidechanged", animate);
still.addEventListener("change", animate);
Reveal.initialize({
  width: 1280,
  height: 720,
  margin: 0,
  center: false,
  display: "flex",
  controls: false,
  hash: true,
  navigationMode: "linear", // a clicker has one button, and no slide is left out
  slideNumber: "c/t",
  transition: "none",
  plugins: [RevealNotes],
});

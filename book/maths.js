// Turn formulas into HTML: a line of JSON with TeX comes in, a line of JSON with HTML goes out.
// {} asks for the style sheet of all formulas so far. usage: node maths.js FOLDER-OF-MATHJAX FONTS
const path = require("path");
const readline = require("readline");

const [mathjax, fonts] = process.argv.slice(2);

// Answers may be said on the standard output alone; MathJax speaks there too.
console.log = console.error;
const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");

require(path.join(mathjax, "es5", "node-main.js")).init({
  loader: {
    paths: { mathjax: path.join(mathjax, "es5") },
    load: ["adaptors/liteDOM", "input/tex", "output/chtml", "a11y/assistive-mml"],
  },
  tex: { formatError: (_, error) => { throw error; } },
  chtml: { fontURL: fonts, adaptiveCSS: true },
  startup: { typeset: false },
}).then((MathJax) => {
  const adaptor = MathJax.startup.adaptor;
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const { tex, display } = JSON.parse(line);
    try {
      say(tex === undefined
        ? { css: adaptor.textContent(MathJax.chtmlStylesheet()) }
        : { html: adaptor.outerHTML(MathJax.tex2chtml(tex, { display })) });
    } catch (error) {
      say({ error: error.message });
    }
  });
});

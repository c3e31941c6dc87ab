// Draws the page's figures from the JSON beside them, in the colours of the reader's scheme; its buttons hide lines.
(() => {
  const config = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };
  const figures = [...document.querySelectorAll("figure")].map((root) => ({
    root,
    hidden: new Set(),
    plots: [...root.querySelectorAll(".plot")].map((node) => ({
      node, content: JSON.parse(node.parentElement.querySelector("script").textContent) })),
  }));

  // "var(--c0)" or "var(--c0, 0.2)", a colour of the page's style with an opacity, as Plotly reads it.
  const colour = (text) => {
    const [, name, opacity] = /^var\((--[\w-]+)(?:, ([\d.]+))?\)$/.exec(text);
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    if (!opacity) return hex;
    const long = hex.length === 4 ? [...hex.slice(1)].map((digit) => digit + digit).join("") : hex.slice(1);
    const parts = [0, 2, 4].map((at) => parseInt(long.slice(at, at + 2), 16));
    return `rgba(${parts.join(", ")}, ${opacity})`;
  };
  const resolved = (value) => {
    if (Array.isArray(value)) return value.map(resolved);
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, resolved(each)]));
    return typeof value === "string" && value.startsWith("var(--") ? colour(value) : value;
  };

  const draw = ({ plots, hidden }) => {
    for (const { node, content } of plots) {
      const { data, layout } = resolved(content);
      Plotly.react(node, data.map((trace) => ({ ...trace, visible: !hidden.has(trace.name) })), layout, config);
    }
  };

  if (typeof Plotly === "undefined") {
    for (const { plots } of figures)
      for (const { node } of plots) node.textContent = "Figures need plotly.min.js beside this page; see the numbers below.";
    return;
  }
  for (const figure of figures) {
    draw(figure);
    for (const button of figure.root.querySelectorAll("button[data-line]"))
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") === "true";
        button.setAttribute("aria-pressed", String(!shown));
        if (shown) figure.hidden.add(button.dataset.line);
        else figure.hidden.delete(button.dataset.line);
        draw(figure);
      });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.forEach(draw));
})();

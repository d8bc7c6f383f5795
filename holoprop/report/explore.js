// Draws what a page holds for Plotly as a reader unfolds it, in the colours of the page, light or dark.
for (const details of document.querySelectorAll("details.explore")) {
  const name = details.dataset.name;
  const draw = () => {
    if (!details.open) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (_, word) => style.getPropertyValue("--" + word).trim();
    const text = document.getElementById(name + "-data").textContent;
    const drawn = JSON.parse(text.replace(/var\(--(\w+)\)/g, colour));
    const buttons = ["select2d", "lasso2d"];
    Plotly.react(name + "-plot", drawn.data, drawn.layout, {
      responsive: true, displaylogo: false, modeBarButtonsToRemove: buttons,
    });
  };
  details.addEventListener("toggle", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

({
  // Controls and pictures without a name that a screen reader could say.
  nameless() {
    return [...document.querySelectorAll("button, select, input, canvas, svg[role=img]")]
      .filter((one) => !one.closest("[hidden]"))
      .filter((one) => {
        const text = one.tagName === "BUTTON" ? one.textContent.trim() : one.querySelector("title")?.textContent;
        return !(one.getAttribute("aria-label") || one.labels?.length || text);
      })
      .map((one) => one.id || one.outerHTML);
  },

  // Texts whose contrast to what is behind them is below 4.5, with the ratio of WCAG 2.
  lowContrast() {
    const parsed = (text) => {
      const pen = document.createElement("canvas").getContext("2d");
      pen.fillStyle = text;
      pen.fillRect(0, 0, 1, 1);
      return [...pen.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) =>
      [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => {
        const v = colour[i] / 255;
        return sum + share * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      }, 0);
    const behind = (one) => {
      for (let at = one; at; at = at.parentElement) {
        const colour = parsed(getComputedStyle(at).backgroundColor);
        if (colour[3] === 255) return colour;
      }
      return [255, 255, 255];
    };
    const texts = "h1, h2, p, label, output, select, button, th, td b, figcaption, strong, .button, svg text";
    return [...document.querySelectorAll(texts)]
      .filter((one) => one.getClientRects().length && !one.closest(".hidden"))
      .map((one) => {
        const style = getComputedStyle(one);
        const pair = [light(parsed(one.closest("svg") ? style.fill : style.color)), light(behind(one))];
        return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), `${one.tagName} ${one.textContent.slice(0, 20)}`];
      })
      .filter(([ratio]) => ratio < 4.5);
  },
})

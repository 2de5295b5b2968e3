// A small line with its area, drawn into the two paths of an SVG; the newest value is at the right.

export function drawSpark(svg, values, places) {
  const { width, height } = svg.viewBox.baseVal;
  const top = Math.max(...values, 1) * 1.1;
  const step = width / (places - 1);
  const left = width - step * (values.length - 1);
  const points = values.map((value, i) => {
    const x = left + step * i;
    const y = height - (height * value) / top;
    return `${x.toFixed(2)} ${y.toFixed(2)}`;
  });
  const line = points.join("L");
  svg.querySelector(".edge").setAttribute("d", `M${line}`);
  svg.querySelector(".area").setAttribute("d", `M${left.toFixed(2)} ${height}L${line}L${width} ${height}Z`);
}

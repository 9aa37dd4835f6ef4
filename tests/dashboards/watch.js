// What home shows, about once a second until nobody listens: one line each, with the time at which it was asked.
//
//     node watch.js TEMPO_URL LAB

import { asking, dashboards, drawAll, told } from "./panels.js";

const [tempo, lab] = process.argv.slice(2);
const home = (await dashboards()).filter(({ uid }) => uid === "iw-home");
for (;;) {
  const at = Date.now() / 1000;
  const run = { range: { start: Math.floor(at) - 900, end: Math.floor(at) }, variables: { lab } };
  console.log(JSON.stringify({ at, panels: told(await drawAll(home, run, asking(tempo))) }));
  await new Promise((resolve) => { setTimeout(resolve, 1000 - (Date.now() / 1000 - at) * 1000); });
}

"use strict";
// As much of a browser as the viewer needs, and a record of what it draws.
const fs = require("fs");
const record = { draws: 0, camera: null };
const elements = {};
function element(id) {
  return elements[id] ||= {
    id, textContent: id === "scene" ? fs.readFileSync("scene.json", "utf8") : "", listeners: {}, checked: true,
    clientWidth: 400, clientHeight: 300, width: 0, height: 0,
    addEventListener(kind, act) { this.listeners[kind] = act; },
    setPointerCapture() {},
    getContext() { return gl; },
  };
}
const gl = new Proxy({}, {
  get(_, name) {
    if (name === "drawElements") return () => { record.draws++; };
    if (name === "uniformMatrix4fv") return (place, transposed, values) => { record.camera = Array.from(values); };
    if (name === "getAttribLocation") return () => 0;
    if (name === name.toUpperCase()) return 1;
    return () => ({});
  },
});
globalThis.document = { getElementById: element };
globalThis.window = { addEventListener() {} };
globalThis.devicePixelRatio = 1;
function project(point) {
  const c = record.camera;
  return [0, 1, 3].map((r) => c[r] * point[0] + c[4 + r] * point[1] + c[8 + r] * point[2] + c[12 + r]);
}
function report() {
  const scene = JSON.parse(element("scene").textContent);
  const [x, y, z] = scene.centre;
  const found = { middle: project([x, y, z]), right: project([x + 0.05, y, z]), below: project([x, y + 0.05, z]) };
  const frame = element("frame"), view = element("view");
  frame.value = frame.max;
  frame.listeners.input();
  view.listeners.pointerdown({ pointerId: 1 });
  view.listeners.pointermove({ movementX: 30, movementY: -10 });
  view.listeners.pointerup({});
  view.listeners.wheel({ deltaY: 100, preventDefault() {} });
  if (record.camera.some((value) => !Number.isFinite(value))) throw new Error("camera is not finite");
  console.log(JSON.stringify({ ...found, draws: record.draws, label: element("name").textContent }));
}

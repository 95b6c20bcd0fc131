"use strict";
// An orbitable view of hands and an object through time, with lengths; plain WebGL, no library, no network.
(function () {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const canvas = document.getElementById("view");
  const photo = document.getElementById("photo");
  const slider = document.getElementById("frame");
  const label = document.getElementById("name");
  const play = document.getElementById("play");
  const unseen = document.getElementById("show-unseen");
  const measure = document.getElementById("measure");
  const measured = document.getElementById("length");
  const gl = canvas.getContext("webgl", { antialias: true });
  if (!gl) {
    document.getElementById("message").textContent = "This browser shows no WebGL; the photographs still step.";
  }

  function bytes(text) {
    const raw = atob(text);
    const found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
    return found;
  }
  const array = (text, Type) => new Type(bytes(text).buffer);

  const meshes = scene.meshes.map((mesh) => ({
    name: mesh.name,
    faces: array(mesh.faces, Uint32Array),
    colours: array(mesh.colours, Uint8Array),
    seen: mesh.seen && array(mesh.seen, Uint8Array), // 0 where no photograph shows a vertex
    count: mesh.count,
    steps: array(mesh.steps, Int16Array), // vertices of all shapes, in steps
    step: mesh.step,
    centre: mesh.centre,
    poses: mesh.poses && array(mesh.poses, Float32Array), // 12 per frame, row by row
    shown: true,
  }));

  const VERTEX = `
    attribute vec3 position; attribute vec3 normal; attribute vec3 colour; attribute float seen;
    uniform mat4 camera; uniform mat3 turn; varying vec3 paint; varying vec3 side; varying float known;
    void main() {
      gl_Position = camera * vec4(position, 1.0); gl_PointSize = 10.0;
      side = turn * normal; paint = colour; known = seen;
    }`;
  const FRAGMENT = `
    precision mediump float; varying vec3 paint; varying vec3 side; varying float known;
    uniform float lit; uniform float stripes;
    void main() {
      bool guessed = known < 0.5 && mod(gl_FragCoord.x + gl_FragCoord.y, 12.0) < 6.0;
      vec3 shown = mix(paint, vec3(0.85, 0.2, 0.65), guessed ? 0.6 * stripes : 0.0);
      gl_FragColor = vec4(shown * mix(1.0, 0.35 + 0.65 * abs(normalize(side).z), lit), 1.0);
    }`;

  let program = null;
  const buffers = {};
  if (gl) {
    gl.getExtension("OES_element_index_uint");
    program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    for (const mesh of meshes) {
      buffers[mesh.name] = { position: gl.createBuffer(), normal: gl.createBuffer(),
                             colour: gl.createBuffer(), seen: gl.createBuffer(), faces: gl.createBuffer() };
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers[mesh.name].colour);
      gl.bufferData(gl.ARRAY_BUFFER, mesh.colours, gl.STATIC_DRAW);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers[mesh.name].seen);
      gl.bufferData(gl.ARRAY_BUFFER, mesh.seen || new Uint8Array(mesh.count).fill(1), gl.STATIC_DRAW);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers[mesh.name].faces);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.faces, gl.STATIC_DRAW);
    }
  }

  function vertices(mesh, frame) {
    const start = mesh.poses ? 0 : frame * mesh.count * 3;
    const found = new Float32Array(mesh.count * 3);
    for (let i = 0; i < found.length; i++) found[i] = mesh.steps[start + i] * mesh.step + mesh.centre[i % 3];
    if (!mesh.poses) return found;
    const p = mesh.poses.subarray(frame * 12, frame * 12 + 12);
    for (let i = 0; i < found.length; i += 3) {
      const x = found[i], y = found[i + 1], z = found[i + 2];
      for (let r = 0; r < 3; r++) found[i + r] = p[4 * r] * x + p[4 * r + 1] * y + p[4 * r + 2] * z + p[4 * r + 3];
    }
    return found;
  }

  function normals(mesh, at) {
    const found = new Float32Array(at.length);
    for (let f = 0; f < mesh.faces.length; f += 3) {
      const a = 3 * mesh.faces[f], b = 3 * mesh.faces[f + 1], c = 3 * mesh.faces[f + 2];
      const ux = at[b] - at[a], uy = at[b + 1] - at[a + 1], uz = at[b + 2] - at[a + 2];
      const vx = at[c] - at[a], vy = at[c + 1] - at[a + 1], vz = at[c + 2] - at[a + 2];
      const n = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) found[corner + k] += n[k];
    }
    return found;
  }

  // A length is between two picked points, each on a face of a mesh, so that it follows both through time.
  let picks = [];
  const line = gl && gl.createBuffer();

  function picked(pick) {
    const at = pick.mesh.at;
    return [0, 1, 2].map((k) => pick.corners.reduce((sum, corner, n) => sum + pick.weights[n] * at[3 * corner + k], 0));
  }

  // The nearest face under a pixel: Moeller and Trumbore's test of the ray with every face.
  function pickAt(x, y) {
    const turn = axes(), [fx, fy] = scene.focal;
    const u = (2 * x / canvas.clientWidth - 1) / fx, v = (2 * y / canvas.clientHeight - 1) / fy;
    const ray = [0, 1, 2].map((k) => u * turn[0][k] + v * turn[1][k] + turn[2][k]);
    const eye = centre.map((c, k) => c - distance * turn[2][k]);
    let nearest = null, best = Infinity;
    for (const mesh of meshes) {
      if (!mesh.shown) continue;
      const at = mesh.at, faces = mesh.faces;
      for (let f = 0; f < faces.length; f += 3) {
        const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
        const e1 = [at[b] - at[a], at[b + 1] - at[a + 1], at[b + 2] - at[a + 2]];
        const e2 = [at[c] - at[a], at[c + 1] - at[a + 1], at[c + 2] - at[a + 2]];
        const p = cross(ray, e2), det = dot(e1, p);
        if (Math.abs(det) < 1e-16) continue;
        const from = [eye[0] - at[a], eye[1] - at[a + 1], eye[2] - at[a + 2]];
        const s = dot(from, p) / det, q = cross(from, e1), t = dot(ray, q) / det, depth = dot(e2, q) / det;
        if (s < 0 || t < 0 || s + t > 1 || depth <= 0 || depth >= best) continue;
        best = depth;
        nearest = { mesh, corners: [faces[f], faces[f + 1], faces[f + 2]], weights: [1 - s - t, s, t] };
      }
    }
    return nearest;
  }

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

  function tellLength() {
    if (!measure.checked) measured.textContent = "";
    else if (picks.length < 2) measured.textContent = picks.length ? "tap a second point" : "tap two points";
    else {
      const [a, b] = picks.map(picked);
      measured.textContent = (1000 * Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2])).toFixed(1) + " mm";
    }
  }

  let frame = 0, yaw = 0, pitch = 0, distance = 1, centre = [0, 0, 1];

  function load(next) {
    frame = next;
    slider.value = frame;
    label.textContent = scene.names[frame];
    photo.src = "data:image/webp;base64," + scene.photos[frame];
    if (!gl) return;
    for (const mesh of meshes) {
      const at = mesh.at = vertices(mesh, frame), turned = normals(mesh, at);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers[mesh.name].position);
      gl.bufferData(gl.ARRAY_BUFFER, at, gl.DYNAMIC_DRAW);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers[mesh.name].normal);
      gl.bufferData(gl.ARRAY_BUFFER, turned, gl.DYNAMIC_DRAW);
    }
    draw();
  }

  function reset() {
    centre = scene.centre.slice();
    yaw = pitch = 0;
    distance = Math.max(0.05, centre[2]);
    draw();
  }

  function axes() {
    const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
    return [[cy, 0, sy], [sp * sy, cp, -sp * cy], [-cp * sy, sp, cp * cy]];
  }

  function draw() {
    if (!gl) return;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((size) => Math.round(size * devicePixelRatio));
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0.97, 0.97, 0.97, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    // OpenCV's axes (y down, z forward), turned about the centre.
    const turn = axes();
    const shift = turn.map((row, k) => -(row[0] * centre[0] + row[1] * centre[1] + row[2] * centre[2]) +
                                       (k === 2 ? distance : 0));
    const near = distance / 50, far = distance * 50;
    const a = (far + near) / (far - near), b = -2 * far * near / (far - near);
    const [fx, fy] = scene.focal;
    const rows = [
      [...turn[0].map((v) => v * fx), shift[0] * fx],
      [...turn[1].map((v) => -v * fy), -shift[1] * fy],
      [...turn[2].map((v) => v * a), shift[2] * a + b],
      [...turn[2], shift[2]],
    ];
    const camera = new Float32Array(16), rotation = new Float32Array(9);
    for (let r = 0; r < 4; r++) for (let c = 0; c < 4; c++) camera[4 * c + r] = rows[r][c];
    for (let r = 0; r < 3; r++) for (let c = 0; c < 3; c++) rotation[3 * c + r] = turn[r][c];
    gl.uniformMatrix4fv(gl.getUniformLocation(program, "camera"), false, camera);
    gl.uniformMatrix3fv(gl.getUniformLocation(program, "turn"), false, rotation);
    gl.uniform1f(gl.getUniformLocation(program, "stripes"), unseen.checked ? 1 : 0);
    gl.uniform1f(gl.getUniformLocation(program, "lit"), 1);
    for (const mesh of meshes) {
      if (!mesh.shown) continue;
      for (const [name, size, type, normalised] of [["position", 3, gl.FLOAT, false], ["normal", 3, gl.FLOAT, false],
                                                    ["colour", 3, gl.UNSIGNED_BYTE, true],
                                                    ["seen", 1, gl.UNSIGNED_BYTE, false]]) {
        const place = gl.getAttribLocation(program, name);
        gl.bindBuffer(gl.ARRAY_BUFFER, buffers[mesh.name][name]);
        gl.enableVertexAttribArray(place);
        gl.vertexAttribPointer(place, size, type, normalised, 0, 0);
      }
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers[mesh.name].faces);
      gl.drawElements(gl.TRIANGLES, mesh.faces.length, gl.UNSIGNED_INT, 0);
    }
    tellLength();
    if (!measure.checked || !picks.length) return;
    gl.uniform1f(gl.getUniformLocation(program, "lit"), 0);
    for (const [name, value] of [["colour", [0.8, 0, 0]], ["normal", [0, 0, 1]], ["seen", [1, 0, 0]]]) {
      const place = gl.getAttribLocation(program, name);
      gl.disableVertexAttribArray(place);
      gl.vertexAttrib3f(place, ...value);
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, line);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(picks.flatMap(picked)), gl.DYNAMIC_DRAW);
    gl.vertexAttribPointer(gl.getAttribLocation(program, "position"), 3, gl.FLOAT, false, 0, 0);
    gl.disable(gl.DEPTH_TEST);
    gl.drawArrays(gl.LINES, 0, picks.length === 2 ? 2 : 0);
    gl.drawArrays(gl.POINTS, 0, picks.length);
    gl.enable(gl.DEPTH_TEST);
  }

  // One finger or the mouse turns; two fingers, shift or another button move; two fingers and the wheel zoom.
  const fingers = new Map();
  let timer = null, travel = 0, moves = false;

  function turnBy(right, down) {
    yaw += right;
    pitch = Math.min(1.5, Math.max(-1.5, pitch - down));
  }

  function moveBy(right, down) {
    const step = 2 * distance / (canvas.clientHeight * scene.focal[1]), [x, y] = axes();
    for (let k = 0; k < 3; k++) centre[k] -= step * (right * x[k] + down * y[k]);
  }

  canvas.addEventListener("pointerdown", (event) => {
    moves = event.shiftKey || event.button > 0;
    travel = 0;
    fingers.set(event.pointerId, event);
    canvas.setPointerCapture(event.pointerId);
  });
  const lifted = (event) => {
    const tapped = fingers.size === 1 && travel < 5;
    fingers.delete(event.pointerId);
    if (!gl || !measure.checked || !tapped || event.type !== "pointerup") return;
    const pick = pickAt(event.offsetX, event.offsetY);
    if (pick) picks = picks.length === 2 ? [pick] : [...picks, pick];
    draw();
  };
  canvas.addEventListener("pointerup", lifted);
  canvas.addEventListener("pointercancel", lifted);
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.size) return;
    const right = event.movementX / fingers.size, down = event.movementY / fingers.size;
    travel += Math.abs(right) + Math.abs(down);
    if (fingers.size > 1) {
      const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)[1], before = fingers.get(event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      distance *= apart(before) / Math.max(1, apart(event));
      fingers.set(event.pointerId, event);
    }
    if (moves || fingers.size > 1) moveBy(right, down);
    else turnBy(right * 0.01, down * 0.01);
    draw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    distance *= Math.exp(event.deltaY * 0.001);
    draw();
  }, { passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  slider.max = scene.names.length - 1;
  slider.addEventListener("input", () => load(Number(slider.value)));
  document.getElementById("reset").addEventListener("click", reset);

  function step(by) {
    load((frame + by + scene.names.length) % scene.names.length);
  }

  function toggle() {
    if (timer) clearInterval(timer);
    timer = timer ? null : setInterval(() => step(1), 100);
    play.textContent = timer ? "Pause" : "Play";
  }
  play.addEventListener("click", toggle);
  const boxes = { u: unseen, m: measure };
  for (const box of [unseen, measure]) box.addEventListener("change", draw);
  for (const mesh of meshes) {
    const box = boxes[mesh.name[0]] = document.getElementById("show-" + mesh.name);
    box.addEventListener("change", () => {
      mesh.shown = box.checked;
      draw();
    });
  }
  window.addEventListener("keydown", (event) => {
    const kind = event.target && event.target.type; // the slider and the buttons have keys of their own
    const turn = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (turn && event.shiftKey) turnBy(...turn);
    else if (turn && turn[0] && kind !== "range") step(Math.sign(turn[0]));
    else if (event.key === " " && kind !== "submit" && kind !== "checkbox") toggle();
    else if (event.key === "+" || event.key === "-") distance *= event.key === "+" ? 0.9 : 1 / 0.9;
    else if (event.key === "c") reset();
    else if (boxes[event.key]) boxes[event.key].click();
    else return;
    event.preventDefault();
    draw();
  });
  window.addEventListener("resize", draw);
  load(0);
  reset();
})();

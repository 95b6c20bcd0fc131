"use strict";
// An orbitable view of a hand and an object through time; plain WebGL, no library, no network.
(function () {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const canvas = document.getElementById("view");
  const photo = document.getElementById("photo");
  const slider = document.getElementById("frame");
  const label = document.getElementById("name");
  const play = document.getElementById("play");
  const gl = canvas.getContext("webgl", { antialias: true });
  if (!gl) {
    document.getElementById("message").textContent = "This browser shows no WebGL; the pictures below still step.";
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
    count: mesh.count,
    steps: array(mesh.steps, Int16Array), // vertices of all shapes, in steps
    step: mesh.step,
    centre: mesh.centre,
    poses: mesh.poses && array(mesh.poses, Float32Array), // 12 per frame, row by row
    shown: true,
  }));

  const VERTEX = `
    attribute vec3 position; attribute vec3 normal; attribute vec3 colour;
    uniform mat4 camera; uniform mat3 turn; varying vec3 paint; varying vec3 side;
    void main() { gl_Position = camera * vec4(position, 1.0); side = turn * normal; paint = colour; }`;
  const FRAGMENT = `
    precision mediump float; varying vec3 paint; varying vec3 side;
    void main() { gl_FragColor = vec4(paint * (0.35 + 0.65 * abs(normalize(side).z)), 1.0); }`;

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
                             colour: gl.createBuffer(), faces: gl.createBuffer() };
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers[mesh.name].colour);
      gl.bufferData(gl.ARRAY_BUFFER, mesh.colours, gl.STATIC_DRAW);
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

  let frame = 0, yaw = 0, pitch = 0, distance = 1, centre = [0, 0, 1];

  function load(next) {
    frame = next;
    slider.value = frame;
    label.textContent = scene.names[frame];
    photo.src = "data:image/jpeg;base64," + scene.photos[frame];
    if (!gl) return;
    for (const mesh of meshes) {
      const at = vertices(mesh, frame), turned = normals(mesh, at);
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
    const width = canvas.clientWidth * devicePixelRatio, height = canvas.clientHeight * devicePixelRatio;
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
    for (const mesh of meshes) {
      if (!mesh.shown) continue;
      for (const [name, type, normalised] of [["position", gl.FLOAT, false], ["normal", gl.FLOAT, false],
                                              ["colour", gl.UNSIGNED_BYTE, true]]) {
        const place = gl.getAttribLocation(program, name);
        gl.bindBuffer(gl.ARRAY_BUFFER, buffers[mesh.name][name]);
        gl.enableVertexAttribArray(place);
        gl.vertexAttribPointer(place, 3, type, normalised, 0, 0);
      }
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers[mesh.name].faces);
      gl.drawElements(gl.TRIANGLES, mesh.faces.length, gl.UNSIGNED_INT, 0);
    }
  }

  let held = null, timer = null;
  canvas.addEventListener("pointerdown", (event) => {
    held = event.shiftKey || event.button ? "move" : "turn";
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    if (held === "turn") {
      yaw += event.movementX * 0.01;
      pitch = Math.min(1.5, Math.max(-1.5, pitch - event.movementY * 0.01));
    } else {
      const step = 2 * distance / (canvas.clientHeight * scene.focal[1]), [right, down] = axes();
      for (let k = 0; k < 3; k++) centre[k] -= step * (event.movementX * right[k] + event.movementY * down[k]);
    }
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
  play.addEventListener("click", () => {
    if (timer) { clearInterval(timer); timer = null; play.textContent = "Play"; return; }
    play.textContent = "Pause";
    timer = setInterval(() => load((frame + 1) % scene.names.length), 100);
  });
  for (const mesh of meshes) {
    document.getElementById("show-" + mesh.name).addEventListener("change", (event) => {
      mesh.shown = event.target.checked;
      draw();
    });
  }
  window.addEventListener("resize", draw);
  load(0);
  reset();
})();

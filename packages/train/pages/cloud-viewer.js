// Draws an episode in the page that `minidiff data show` writes: a cloud for each key step, the gripper's path and the
// key poses. Drag turns, Shift and drag moves, the wheel zooms. Own code, as a 3D library weighs more than the data shown.
(() => {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const canvas = document.getElementById("view");
  const gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) {
    canvas.replaceWith("This browser has no WebGL, which the 3D view needs.");
    return;
  }

  const shader = (type, text) => {
    const compiled = gl.createShader(type);
    gl.shaderSource(compiled, text);
    gl.compileShader(compiled);
    return compiled;
  };
  const program = gl.createProgram();
  gl.attachShader(
    program,
    shader(
      gl.VERTEX_SHADER,
      `attribute vec3 at, color; uniform mat4 camera; uniform float size; uniform bool perspective; varying vec3 shade;
       void main() { gl_Position = camera * vec4(at, 1.0); gl_PointSize = perspective ? size / gl_Position.w : size; shade = color; }`,
    ),
  );
  gl.attachShader(
    program,
    shader(
      gl.FRAGMENT_SHADER,
      `precision mediump float; uniform bool round; varying vec3 shade;
       void main() { if (round && length(gl_PointCoord - 0.5) > 0.5) discard; gl_FragColor = vec4(shade, 1.0); }`,
    ),
  );
  gl.linkProgram(program);
  gl.useProgram(program);
  const [at, color] = ["at", "color"].map((name) => gl.getAttribLocation(program, name));
  const uniform = (name) => gl.getUniformLocation(program, name);
  const [cameraAt, sizeAt, perspectiveAt, roundAt] = ["camera", "size", "perspective", "round"].map(uniform);
  gl.enableVertexAttribArray(at);
  gl.enableVertexAttribArray(color);
  gl.enable(gl.DEPTH_TEST);

  const buffer = (data) => {
    const made = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, made);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    return made;
  };
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  // Positions come as shares of the box, 16 bits each.
  const clouds = scene.clouds.map(({ min, extent, positions, colors }) => {
    const shares = new Uint16Array(bytes(positions).buffer);
    const metres = Float32Array.from(shares, (share, i) => min[i % 3] + (share / 65535) * extent[i % 3]);
    return { count: shares.length / 3, at: buffer(metres), color: buffer(bytes(colors)) };
  });
  const drawing = ({ positions, colors }) => ({
    count: positions.length / 3,
    at: buffer(Float32Array.from(positions)),
    color: buffer(Uint8Array.from(colors)),
  });
  const [lines, markers] = [drawing(scene.lines), drawing(scene.markers)];
  const draw = (mode, part) => {
    for (const [location, data, type] of [
      [at, part.at, gl.FLOAT],
      [color, part.color, gl.UNSIGNED_BYTE],
    ]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, data);
      gl.vertexAttribPointer(location, 3, type, type !== gl.FLOAT, 0, 0);
    }
    gl.drawArrays(mode, 0, part.count);
  };

  const view = { azimuth: -0.6, elevation: 0.5, distance: 1.6, target: scene.target, step: 0 };
  // The eye looks at the target with z up; columns of the matrix in WebGL's order.
  const cameraMatrix = () => {
    const [ca, sa, ce, se] = [
      Math.cos(view.azimuth),
      Math.sin(view.azimuth),
      Math.cos(view.elevation),
      Math.sin(view.elevation),
    ];
    const [right, up, back] = [
      [-sa, ca, 0],
      [-ca * se, -sa * se, ce],
      [ca * ce, sa * ce, se],
    ];
    const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    const [focal, aspect, near, far] = [1.8, canvas.width / canvas.height, 0.02, 50];
    const rows = [
      [...right.map((v) => (v * focal) / aspect), (-dot(right, view.target) * focal) / aspect],
      [...up.map((v) => v * focal), -dot(up, view.target) * focal],
    ];
    const depth = [...back, -dot(back, view.target) - view.distance];
    rows.push(depth.map((v, i) => (v * (far + near)) / (near - far) + (i === 3 ? (2 * far * near) / (near - far) : 0)));
    rows.push(depth.map((v) => -v));
    view.right = right;
    view.up = up;
    return [0, 1, 2, 3].flatMap((column) => rows.map((row) => row[column]));
  };

  const labels = scene.labels.map(({ text }) => {
    const label = document.createElement("span");
    label.textContent = text;
    canvas.parentNode.append(label);
    return label;
  });
  const render = () => {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0.96, 0.96, 0.96, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const matrix = cameraMatrix();
    const point = (size, perspective, round) => {
      gl.uniform1f(sizeAt, size);
      gl.uniform1i(perspectiveAt, perspective);
      gl.uniform1i(roundAt, round);
    };
    gl.uniformMatrix4fv(cameraAt, false, matrix);
    // Wide enough that the points of about two square metres of surface close up.
    const cloud = clouds[view.step];
    point(0.9 * canvas.height * Math.sqrt(1.2 / cloud.count), true, false);
    draw(gl.POINTS, cloud);
    // What the gripper does shows through the cloud.
    gl.disable(gl.DEPTH_TEST);
    draw(gl.LINES, lines);
    point(11 * ratio, false, true);
    draw(gl.POINTS, markers);
    gl.enable(gl.DEPTH_TEST);
    scene.labels.forEach(({ position: [x, y, z] }, i) => {
      const [px, py, , pw] = [0, 1, 2, 3].map(
        (row) => matrix[row] * x + matrix[row + 4] * y + matrix[row + 8] * z + matrix[row + 12],
      );
      labels[i].hidden = pw <= 0;
      labels[i].style.left = `${(50 * px) / pw + 50}%`;
      labels[i].style.top = `${50 - (50 * py) / pw}%`;
    });
  };

  canvas.addEventListener("pointerdown", ({ pointerId }) => canvas.setPointerCapture(pointerId));
  canvas.addEventListener("pointermove", ({ buttons, shiftKey, movementX, movementY }) => {
    if (buttons === 0) return;
    if (shiftKey || buttons !== 1) {
      const scale = view.distance / 1.8 / (canvas.clientHeight / 2);
      view.target = view.target.map(
        (v, axis) => v - scale * (movementX * view.right[axis] - movementY * view.up[axis]),
      );
    } else {
      view.azimuth -= movementX / 150;
      view.elevation = Math.max(-1.55, Math.min(1.55, view.elevation + movementY / 150));
    }
    render();
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      view.distance = Math.max(0.1, Math.min(20, view.distance * Math.exp(event.deltaY / 800)));
      render();
    },
    { passive: false },
  );
  for (const radio of document.querySelectorAll("input[name=step]"))
    radio.addEventListener("change", () => {
      view.step = Number(radio.value);
      render();
    });
  window.addEventListener("resize", render);
  render();
})();

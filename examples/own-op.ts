// An op of one's own with its gradient rule, and the check that the rule is right.
import { defineOp, gradcheck, mul, sub, sum, tensor, type Tensor, tanh, square } from "@md/tensor";

/** limit · tanh(x / limit): x for small x, never beyond ±limit (the logit cap of Gemma 2). */
const softCap = defineOp({
  name: "softCap",
  forward: ([x], limit: number) => mul(tanh(mul(x!, 1 / limit)), limit),
  // d/dx limit · tanh(x / limit) = 1 - tanh²(x / limit), and the output is limit · tanh.
  backward: (grad, _inputs, output, limit: number) => [sub(grad, mul(grad, square(mul(output, 1 / limit))))],
});

const cap = (x: Tensor): Tensor => softCap([x], 2);

const x = tensor([-6, -1, 0, 0.5, 9], { dtype: "f64", requiresGrad: true });
gradcheck(cap, [x]);
const loss = sum(cap(x));
loss.backward();
console.log(
  "softCap",
  cap(x)
    .toFlatArray()
    .map((value) => value.toFixed(3))
    .join(" "),
);
console.log(
  "gradient",
  x
    .grad!.toFlatArray()
    .map((value) => value.toFixed(3))
    .join(" "),
);

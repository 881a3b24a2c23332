/** Signal and deviation of x at one noise level: √ᾱ and √(1-ᾱ). λ = ln(signal / deviation). */
export interface NoiseLevel {
  signal: number;
  deviation: number;
  logSnr: number;
}

/** The level of a ᾱ of (0, 1]. */
export function noiseLevel(alphaCumprod: number): NoiseLevel {
  const [signal, deviation] = [Math.sqrt(alphaCumprod), Math.sqrt(1 - alphaCumprod)];
  return { signal, deviation, logSnr: Math.log(signal / deviation) };
}

/** Which equation an update solves, and how it weights the second-order term. */
export interface UpdateRule {
  /** Whether the reverse SDE is followed instead of the probability-flow ODE. */
  stochastic: boolean;
  solverType: "midpoint" | "heun";
}

/** A step as a linear combination: x' = sample·x + Σ originals[k]·x₀ₖ + noise·z, z standard normal. */
export interface Update {
  sample: number;
  /** Weights of the predicted clean samples, the present step's first. */
  originals: number[];
  noise: number;
}

/**
 * One multistep update of DPM-Solver++ (Lu et al., 2022, https://arxiv.org/abs/2211.01095). With h the step in λ, the
 * clean sample x₀(λ) is a polynomial through the last predictions, and the exact solution
 * x' = (σ'/σ)·e^{h-g}·x + α'·∫ k·e^{-k(h-τ)}·x₀(λ+τ) dτ over [0, h] has k = 1, g = h for the ODE (Eq. 8) and
 * k = 2, g = 2h for the SDE. Constant, linear and quadratic parts of x₀ weigh 1 - e^{-g} and what follows from it by
 * parts.
 *
 * The quadratic part has half that weight, as in the authors' code and in diffusers: order 3 is second order in steps;
 * where they are even in λ its error is smaller than that of order 2. In the SDE diffusers has another sign of it, which this does not follow.
 *
 * @param to level after the step
 * @param from levels of the known predictions, the present one first: their count, 1 to 3, is the order
 */
export function dpmSolverUpdate(to: NoiseLevel, from: readonly NoiseLevel[], rule: UpdateRule): Update {
  const [now, before, earlier] = from;
  const h = to.logSnr - now!.logSnr;
  const g = rule.stochastic ? 2 * h : h;
  const constant = -Math.expm1(-g);
  const weights = [constant, 0, 0];
  // Linear and quadratic parts of a step of no length are nothing.
  if (before && g !== 0) {
    const linear = 1 - constant / g;
    const quadratic = 1 / 2 - linear / g;
    // Divided differences of x₀ over λ, as weights of the predictions.
    const [h0, h1] = [now!.logSnr - before.logSnr, earlier ? before.logSnr - earlier.logSnr : NaN];
    const first = [1 / h0, -1 / h0, 0];
    if (earlier) {
      const bend = [first[0]!, first[1]! - 1 / h1, 1 / h1].map((weight) => weight / (h0 + h1));
      bend.forEach((b, k) => (weights[k]! += linear * h * (first[k]! + h0 * b) + quadratic * h * h * b));
    } else {
      const share = rule.solverType === "midpoint" ? constant / 2 : linear;
      first.forEach((weight, k) => (weights[k]! += share * h * weight));
    }
  }
  return {
    sample: (to.deviation / now!.deviation) * (rule.stochastic ? Math.exp(-h) : 1),
    originals: weights.slice(0, from.length).map((weight) => to.signal * weight),
    noise: rule.stochastic ? to.deviation * Math.sqrt(-Math.expm1(-2 * h)) : 0,
  };
}

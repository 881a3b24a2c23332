import { PURPOSE } from "./batch.js";
import { DataError } from "./errors.js";
import { CounterRandom } from "./random.js";

/**
 * How often states of each task are drawn: a task's share of an epoch is its weight over the sum of all weights, however
 * many states it has. Tasks that are not named weigh 1; 0 leaves a task out.
 */
export type TaskWeights = Readonly<Record<string, number>>;

/** Which state is drawn when: a function of (seed, epoch) alone. An epoch has as many draws as there are states. */
export class EpochOrder {
  private readonly shares: TaskShare[] | null;
  private epoch = -1;
  private indices: Int32Array = new Int32Array(0);

  /** @throws DataError when the seed or a weight makes no sense, or a weight is of no task of the data */
  constructor(
    private readonly samples: readonly { task: string }[],
    private readonly seed: number,
    taskWeights?: TaskWeights,
  ) {
    new CounterRandom(seed);
    this.shares = taskWeights ? taskShares(samples, taskWeights) : null;
  }

  /** What is drawn as the `draw`-th of a run, from 0. */
  at(draw: number): { epoch: number; position: number; index: number } {
    const total = this.samples.length;
    const epoch = Math.floor(draw / total);
    const position = draw % total;
    if (epoch !== this.epoch) {
      this.indices = this.shares
        ? weightedOrder(this.shares, total, new CounterRandom(this.seed, [PURPOSE.weightedOrder, epoch, 0]))
        : new CounterRandom(this.seed, [PURPOSE.order, epoch, 0]).permutation(total);
      this.epoch = epoch;
    }
    return { epoch, position, index: this.indices[position] };
  }
}

/** A task that is drawn, and its states. */
interface TaskShare {
  /** Sum of the weights of this task and of those before it. */
  upTo: number;
  states: Int32Array;
}

function taskShares(samples: readonly { task: string }[], weights: TaskWeights): TaskShare[] {
  const states = new Map<string, number[]>();
  samples.forEach(({ task }, index) => {
    const found = states.get(task);
    if (found) found.push(index);
    else states.set(task, [index]);
  });
  for (const [task, weight] of Object.entries(weights)) {
    if (!states.has(task))
      throw new DataError("taskWeights", `names "${task}", expected one of ${[...states.keys()].join(", ")}`);
    if (!(weight >= 0 && weight < Infinity))
      throw new DataError("taskWeights", `gives ${task} ${weight}, expected a finite weight of at least 0`);
  }
  let upTo = 0;
  const shares = [...states].flatMap(([task, indices]) => {
    const weight = Object.hasOwn(weights, task) ? weights[task] : 1;
    upTo += weight;
    return weight > 0 ? [{ upTo, states: Int32Array.from(indices) }] : [];
  });
  if (shares.length === 0) throw new DataError("taskWeights", "are all 0");
  return shares;
}

/** Tasks are drawn by weight; the states of a task in random order, each once before any comes again. */
function weightedOrder(shares: readonly TaskShare[], total: number, random: CounterRandom): Int32Array {
  const left = shares.map((): number[] => []);
  return Int32Array.from({ length: total }, () => {
    const drawn = random.between(0, shares.at(-1)!.upTo);
    const task = shares.findIndex(({ upTo }) => drawn < upTo);
    const { states } = shares[task];
    if (left[task].length === 0) left[task].push(...random.permutation(states.length));
    return states[left[task].pop()!];
  });
}
